"""The warehouse: DuckDB views over the lake's files, current or of a release, by table name.

dbt builds the marts on it and ``openpay query`` reads it. It holds no rows, so it is made anew
each time and is never out of date.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from openpay_assets.contracts.registry import all_tables
from openpay_assets.contracts.sql import scan_sql, sql_name
from openpay_assets.lake.tables import LakeTables
from openpay_assets.lake.whole import write_whole

if TYPE_CHECKING:
    import duckdb

NAME = "warehouse"
"""Name of the database; the compiled SQL of view models refers to it."""


def create_views(
    connection: duckdb.DuckDBPyConnection,
    tables: LakeTables,
    zones: tuple[str, ...],
    release: date | None = None,
) -> None:
    """Create a view for every contracted table of the zones; empty where nothing is committed.

    With a release, each partition is read at its newest release that is not after that day.
    """
    for table in all_tables():
        if table.zone in zones:
            files = tables.files(table.name, release=release)
            _create_view(connection, table.name, scan_sql(files, table.to_ibis()))


def create_mart_views(
    connection: duckdb.DuckDBPyConnection, tables: LakeTables, release: date | None = None
) -> None:
    """Create a view for every committed mart, and the view models of dbt over them."""
    import ibis

    for name in tables.names("marts"):
        files = tables.files(name, release=release)
        columns = ibis.Schema.from_pyarrow(tables.arrow_schema(name))
        _create_view(connection, name, scan_sql(files, columns))
    for name, sql in read_view_models(tables.root).items():
        _create_view(connection, f"marts.{name}", sql)


def _create_view(connection: duckdb.DuckDBPyConnection, table: str, source: str) -> None:
    zone, name = (sql_name(part) for part in table.split("."))
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {zone}")
    connection.execute(f"CREATE OR REPLACE VIEW {zone}.{name} AS {source}")


def _view_models_path(root: Path) -> Path:
    return root / "metadata" / "marts" / "views.json"


def write_view_models(root: Path, views: Mapping[str, str]) -> None:
    """Keep the compiled SQL of dbt's view models beside the marts they read."""
    write_whole(_view_models_path(root), json.dumps(dict(views), indent=2) + "\n")


def read_view_models(root: Path) -> dict[str, str]:
    """Return the compiled SQL of the view models, by name; none before the first marts."""
    path = _view_models_path(root)
    if not path.exists():
        return {}
    views: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return views


@contextmanager
def marts_lock(root: Path) -> Iterator[None]:
    """Let one run at a time build marts on this lake: cross-year models read all partitions.

    The lock is the operating system's, so a killed run leaves none behind.
    """
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".marts.lock"):
        yield


@contextmanager
def marts_workspace(tables: LakeTables, scratch: Path) -> Iterator[Path]:
    """Make a scratch warehouse with views of the curated zone; return its folder."""
    import duckdb

    scratch.mkdir(parents=True)
    (scratch / "marts").mkdir()
    try:
        with duckdb.connect(str(scratch / f"{NAME}.duckdb")) as connection:
            create_views(connection, tables, ("curated",))
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
