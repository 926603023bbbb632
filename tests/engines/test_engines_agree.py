"""Same input, same output: both engines make the same tables of the same file, to the last value.

The reference is DuckDB on one thread. Against it stand DuckDB on two threads with little memory,
and Spark, whose Parquet files are read back by DuckDB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cms_files import Era, era, write_file
from dirty_files import dirty_file
from on_spark import ON_SPARK
from partition_tables import PartitionTables, assert_same, partition_tables, row_key

from openpay_assets.cms.simulator import simulate
from openpay_assets.contracts.model import Dataset
from openpay_assets.engines.duckdb import DuckDBEngine
from openpay_assets.lake.tables import LakeTables, Partition, Written, total_rows

TablesOf = Callable[[Path], PartitionTables]

REAL = (
    "first_publication_2016/OP_DTL_GNRL_PGYR2016_P06302017.csv",
    "first_publication_2016/OP_DTL_RSRCH_PGYR2016_P06302017.csv",
    "first_publication_2016/OP_DTL_OWNRSHP_PGYR2016_P06302017.csv",
    "republication_2013/OP_DTL_RSRCH_PGYR2013_P06302015.csv",
    "republication_2013/OP_DTL_RSRCH_PGYR2013_P06302016.csv",
    "damaged/OP_DTL_GNRL_PGYR2013_P01152016.csv",
)
DIRTY = [era(layout) for layout in ("G2", "R0", "R4", "O4")]
"""Old and current products, investigators as free text and in fields, both ownership measures."""


def remembered(engine: Any, folder: Path) -> TablesOf:
    """Return the tables of a file on an engine, computed once."""

    @cache
    def tables_of(path: Path) -> PartitionTables:
        return partition_tables(engine, path, folder / f"{path.parent.name}-{path.stem}")

    return tables_of


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TablesOf]:
    """Tables of a file on DuckDB with one thread."""
    folder = tmp_path_factory.mktemp("reference")
    engine = DuckDBEngine(memory_limit="1GB", threads=1, scratch=folder / "scratch")
    yield remembered(engine, folder)
    engine.close()


@pytest.fixture(scope="module")
def found(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> TablesOf:
    """Tables of a file on the engine under test."""
    return remembered(engine, tmp_path_factory.mktemp("found"))


@pytest.fixture(scope="module")
def dirty_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Era], Path]:
    """The dirty file of an era, written once."""
    folder = tmp_path_factory.mktemp("dirty")

    def of(at: Era) -> Path:
        path = folder / at.file_name
        return path if path.exists() else dirty_file(folder, at)

    return of


@pytest.fixture(scope="module")
def simulated_files(tmp_path_factory: pytest.TempPathFactory) -> dict[Dataset, Path]:
    """A dirty simulated partition of each dataset."""
    folder = tmp_path_factory.mktemp("simulated")
    written = simulate(folder, years=[2023], rows=400, seed=7, dirt=0.2)
    return {file.dataset: file.path for file in written}


@pytest.fixture(scope="module")
def found_on_spark(
    spark_session: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TablesOf]:
    """Tables of a file on Spark."""
    from openpay_assets.engines.spark import SparkEngine

    folder = tmp_path_factory.mktemp("spark-found")
    engine = SparkEngine(spark_session, memory_limit="1GB", threads=2, scratch=folder / "scratch")
    yield remembered(engine, folder)
    engine.close()


@pytest.mark.real
@pytest.mark.parametrize("name", [pytest.param(x, marks=ON_SPARK) for x in REAL])
def test_real_files_give_the_same_tables(
    name: str, found_on_spark: TablesOf, reference: TablesOf, real_files: Path
) -> None:
    path = real_files / name

    assert_same(found_on_spark(path), reference(path))


@pytest.mark.parametrize("at", DIRTY, ids=str)
def test_a_file_with_every_column_damaged_gives_the_same_tables(
    at: Era, found: TablesOf, reference: TablesOf, dirty_files: Callable[[Era], Path]
) -> None:
    path = dirty_files(at)

    assert_same(found(path), reference(path))


@pytest.mark.parametrize("dataset", [Dataset.GENERAL, Dataset.OWNERSHIP])
def test_simulated_files_give_the_same_tables(
    dataset: Dataset, found: TablesOf, reference: TablesOf, simulated_files: dict[Dataset, Path]
) -> None:
    path = simulated_files[dataset]

    assert_same(found(path), reference(path))


def test_a_file_without_rows_gives_tables_without_files(found: TablesOf, tmp_path: Path) -> None:
    path = write_file(tmp_path, era("R4"), [])

    assert found(path).counted == (0, {"Total_Amount_of_Payment_USDollars": 0})
    assert not any(found(path).files.values())


@pytest.mark.parametrize("at", DIRTY[-3:], ids=str)
def test_the_lake_commits_the_files_and_readers_see_the_same(
    at: Era,
    found: TablesOf,
    reference: TablesOf,
    dirty_files: Callable[[Era], Path],
    tmp_path: Path,
) -> None:
    path = dirty_files(at)
    lake, made = LakeTables(tmp_path / "lake"), found(path)
    partition = Partition(at.dataset, at.program_year)

    for name, table in made.tables.items():
        files = tuple(made.files[name])
        written = Written(name, partition, files, at.release, "run", at.layout.name)
        lake.commit(written, table, rows=total_rows(files))

    for name, table in made.tables.items():
        committed = lake.catalog.load_table(name).scan().to_arrow()
        rows = committed.sort_by([(x, "ascending") for x in row_key(table)]).to_pylist()
        assert [_plain(row) for row in rows] == reference(path).rows(name), name


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of PyArrow with its maps as DuckDB gives them."""
    is_map = {k for k, v in row.items() if isinstance(v, list) and v and isinstance(v[0], tuple)}
    return {k: dict(v) if k in is_map else v for k, v in row.items()}
