"""SQL over the lake: ``staging.*``, ``quarantine.*``, ``curated.*`` and ``marts.*`` by name.

DuckDB reads the files of every table, as they are or as of a release; nothing is copied and
nothing can be changed.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from openpay_assets.lake.tables import LakeTables
from openpay_assets.lake.warehouse import NAME, create_mart_views, create_views

if TYPE_CHECKING:
    import duckdb

    from openpay_assets.settings import Settings

ZONES = ("staging", "quarantine", "curated")


def connect(settings: Settings, release: date | None = None) -> duckdb.DuckDBPyConnection:
    """Return a DuckDB connection with a view for every table of the lake.

    With a release, every table holds of each partition the newest release that is not after
    that day.
    """
    import duckdb

    connection = duckdb.connect(
        config={"memory_limit": settings.memory_limit, "threads": settings.threads}
    )
    connection.execute(f"ATTACH ':memory:' AS {NAME}")
    connection.execute(f"USE {NAME}")
    tables = LakeTables(Path(settings.lake))
    create_views(connection, tables, ZONES, release)
    create_mart_views(connection, tables, release)
    return connection
