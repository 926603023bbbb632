"""SQL over the lake: ``staging.*``, ``quarantine.*``, ``curated.*`` and ``marts.*`` by name.

DuckDB reads the current files of every table; nothing is copied and nothing can be changed.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from openpay_assets.lake.tables import LakeTables
from openpay_assets.lake.warehouse import NAME, create_mart_views, create_views

if TYPE_CHECKING:
    import duckdb

    from openpay_assets.settings import Settings

ZONES = ("staging", "quarantine", "curated")


def connect(settings: Settings) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection with a view for every table of the lake."""
    import duckdb

    connection = duckdb.connect(
        config={"memory_limit": settings.memory_limit, "threads": settings.threads}
    )
    connection.execute(f"ATTACH ':memory:' AS {NAME}")
    connection.execute(f"USE {NAME}")
    tables = LakeTables(Path(settings.lake))
    create_views(connection, tables, ZONES)
    create_mart_views(connection, tables)
    return connection
