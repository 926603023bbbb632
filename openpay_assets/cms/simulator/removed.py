"""The list of records that a release removes: one file per program year, for all its datasets."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from openpay_assets.cms.names import FileKind
from openpay_assets.cms.simulator.publications import beside_name
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.sql import sql_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FIRST_PROGRAM_YEAR = 2016
"""First program year whose releases come with such a list."""

HEADER = ("Change_Type", "Program_Year", "Payment_Type", "Record_ID")


def write_removed(
    connection: DuckDBPyConnection, folder: Path, program_year: int, release: date
) -> Path:
    """Write the records of the table ``removed``; of first publications there is no such file."""
    path = folder / beside_name(FileKind.REMOVED, release, program_year)
    types = " ".join(
        f"WHEN {sql_text(dataset)} THEN {sql_text(dataset.title())}" for dataset in Dataset
    )
    partial = path.with_name(f".{path.name}.part")
    connection.execute(
        f"COPY (SELECT change_type AS {HEADER[0]}, '{program_year}' AS {HEADER[1]}, "
        f"CASE dataset {types} END AS {HEADER[2]}, record_id::VARCHAR AS {HEADER[3]} "
        f"FROM removed ORDER BY dataset, n) TO {sql_text(str(partial))} "
        "(FORMAT csv, HEADER true, FORCE_QUOTE *)"
    )
    partial.replace(path)
    return path
