"""Schema versions: a new one when a table's columns change, and only then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from openpay_assets.contracts.model import Column, ColumnType, Table
from openpay_assets.contracts.registry import staging_table
from openpay_assets.lake.schema_versions import read_versions, record_schema
from openpay_assets.lake.tables import LakeTables, Partition, Written

NAME = "curated.things"
ID = Column("thing_id", ColumnType.TEXT, required=True, description="Its id.", is_key=True)
PAID = Column("paid", ColumnType.MONEY, required=False, description="US dollars.")
FIRST, WIDER = Table(NAME, (ID,)), Table(NAME, (ID, PAID))


def test_the_first_commit_of_a_table_is_its_first_version(tmp_path: Path) -> None:
    record_schema(tmp_path, FIRST, "run-1")
    [version] = read_versions(tmp_path, NAME)
    assert (version.version, version.run_id) == (1, "run-1")
    assert version.columns == [{"name": "thing_id", "type": "text", "required": True}]
    assert version.at.endswith("+00:00")
    assert (tmp_path / "metadata/schema_versions/curated.things.json").exists()


def test_the_same_columns_again_are_not_a_version(tmp_path: Path) -> None:
    record_schema(tmp_path, FIRST, "run-1")
    described = Table(NAME, (replace(ID, description="Said better.", pattern="digits"),))
    record_schema(tmp_path, described, "run-2")
    assert [x.run_id for x in read_versions(tmp_path, NAME)] == ["run-1"]


@pytest.mark.parametrize(
    "other",
    [
        WIDER,
        Table(NAME, (replace(ID, name="id"),)),
        Table(NAME, (replace(ID, type=ColumnType.INTEGER),)),
        Table(NAME, (replace(ID, required=False),)),
    ],
)
def test_other_columns_are_a_version_that_names_the_run(tmp_path: Path, other: Table) -> None:
    for run, table in (("run-1", FIRST), ("run-2", other), ("run-3", other), ("run-4", FIRST)):
        record_schema(tmp_path, table, run)
    versions = read_versions(tmp_path, NAME)
    assert [(x.version, x.run_id) for x in versions] == [(1, "run-1"), (2, "run-2"), (3, "run-4")]
    assert versions[0].fingerprint == versions[2].fingerprint != versions[1].fingerprint


def test_runs_that_commit_at_once_add_one_version(tmp_path: Path) -> None:
    record_schema(tmp_path, FIRST, "run-1")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record_schema(tmp_path, WIDER, f"run-{n}"), range(2, 18)))
    assert [x.version for x in read_versions(tmp_path, NAME)] == [1, 2]


def test_a_version_that_cannot_be_written_is_an_error_and_leaves_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_schema(tmp_path, FIRST, "run-1")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        record_schema(tmp_path, WIDER, "run-2")
    monkeypatch.undo()
    assert [x.version for x in read_versions(tmp_path, NAME)] == [1]


def test_a_commit_records_the_columns_it_brought(tmp_path: Path) -> None:
    partition = Partition.parse("general|2023")
    table = staging_table(partition.dataset)
    written = Written(table.name, partition, (), date(2024, 6, 28), "run-1", "G4")
    LakeTables(tmp_path).commit(written, table, rows=0)
    [version] = read_versions(tmp_path, table.name)
    assert version.run_id == "run-1"
    assert [x["name"] for x in version.columns] == table.column_names
