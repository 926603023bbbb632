"""Release changes are the same on both engines, to the last value, and the pair is a real one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cms_files import era
from dirty_files import dirty_file
from partition_tables import PartitionTables, partition_tables, staging_input

from openpay_assets.contracts.registry import curated_table, quarantine_table, staging_table
from openpay_assets.contracts.sql import scan_sql
from openpay_assets.engines.duckdb import DuckDBEngine
from openpay_assets.transforms import changes
from openpay_assets.transforms.changes import ReleaseRows, release_changes

TABLE = curated_table("release_changes")


@pytest.fixture(scope="module")
def real_pair(real_files: Path) -> list[Path]:
    folder = real_files / "republication_2013"
    return [folder / f"OP_DTL_RSRCH_PGYR2013_P0630{year}.csv" for year in (2015, 2016)]


@pytest.fixture(scope="module")
def dirty_pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two layouts of a year, every column damaged in some row of each."""
    folder = tmp_path_factory.mktemp("pair")
    eras = era("G1", 2014, "2015-06-30"), era("G2", 2014, "2016-06-30")
    return [dirty_file(folder, at) for at in eras]


def rows_of(engine: Any, path: Path, made: PartitionTables) -> ReleaseRows:
    source = staging_input(path)
    staging, aside = staging_table(source.facts.dataset), quarantine_table()
    return ReleaseRows(
        engine.read_parquet(made.files[staging.name], staging),
        engine.read_parquet(made.files[aside.name], aside),
        source.layout,
        source.facts.release,
    )


def changes_on(engine: Any, made: Sequence[tuple[Path, PartitionTables]], folder: Path) -> Any:
    """Return the rows of the changes and of their summaries."""
    old, new = (rows_of(engine, *x) for x in made)
    year = staging_input(made[0][0]).facts.program_year
    files = engine.write(release_changes(old, new, year), folder, TABLE)
    written = engine.read_parquet(files, TABLE)
    found = duckdb.sql(scan_sql(files, TABLE.to_ibis())).order("record_id")
    assert found.columns == TABLE.column_names
    asked = changes.summary(written), changes.column_counts(written), changes.flagged(new.staged)
    return found.fetchall(), [sorted(map(str, engine.to_rows(x))) for x in asked]


@pytest.mark.parametrize("pair", ["dirty_pair", pytest.param("real_pair", marks=pytest.mark.real)])
def test_both_engines_find_the_same_changes(
    pair: str, engine: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    paths = request.getfixturevalue(pair)
    reference = DuckDBEngine(memory_limit="1GB", threads=1, scratch=tmp_path / "scratch")
    made = [(x, partition_tables(reference, x, tmp_path / x.stem, curated=False)) for x in paths]
    expected = changes_on(reference, made, tmp_path / "expected")
    assert expected[0]
    assert changes_on(engine, made, tmp_path / "found") == expected
    reference.close()
