"""DuckDB SQL that is written by hand: quoting, and the Parquet files of a table as one relation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt


def sql_text(value: str) -> str:
    """Quote a string literal for SQL."""
    return "'" + value.replace("'", "''") + "'"


def sql_name(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def scan_sql(files: Iterable[Path | str], columns: Mapping[str, dt.DataType]) -> str:
    """Select the columns of a table from its Parquet files, by name; no files, no rows.

    A column that a file lacks is NULL there: the table gained it after the file was written.
    """
    names = ", ".join(sql_name(name) for name in columns)
    listed = ", ".join(sql_text(str(file)) for file in files)
    nothing = f"SELECT {_typed_nulls(columns)} WHERE false"
    if not listed:
        return nothing
    return (
        f"SELECT {names} FROM ({nothing} UNION ALL BY NAME SELECT * "
        f"FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false))"
    )


def _typed_nulls(columns: Mapping[str, dt.DataType]) -> str:
    from ibis.backends.sql.datatypes import DuckDBType

    return ", ".join(
        f"NULL::{DuckDBType.to_string(kind)} AS {sql_name(name)}" for name, kind in columns.items()
    )
