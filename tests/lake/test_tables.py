"""Iceberg tables: a commit replaces a partition, whole or not at all, whoever else commits."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from dataclasses import replace as replaced
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from lake_files import RELEASE, TABLE, commit, commit_at_barrier, replace, visible, write
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Transaction

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import all_tables
from openpay_assets.lake.tables import LakeTables, Partition, Written, schemas, total_rows
from openpay_assets.lake.warehouse import create_views

A, B, C = (Partition.parse(key) for key in ("general|2022", "general|2023", "research|2023"))


@pytest.fixture
def lake(tmp_path: Path) -> LakeTables:
    return LakeTables(tmp_path / "lake")


def test_a_commit_replaces_its_partition_and_no_other(lake: LakeTables) -> None:
    replace(lake, A, ["1", "2"])
    replace(lake, B, ["3"])
    replace(lake, C, ["4"])
    replace(lake, B, ["5", "6"], run_id="again")
    assert visible(lake, A) == ["1", "2"]
    assert visible(lake, B) == ["5", "6"]
    assert visible(lake, C) == ["4"]


def test_files_can_be_asked_of_a_table_a_dataset_or_a_partition(lake: LakeTables) -> None:
    for partition, company in ((A, "1"), (B, "2"), (C, "3")):
        replace(lake, partition, [company])
    assert len(lake.files(TABLE.name)) == 3
    assert len(lake.files(TABLE.name, dataset=Dataset.GENERAL)) == 2
    assert len(lake.files(TABLE.name, program_year=2023)) == 2
    [file] = lake.files(TABLE.name, dataset=Dataset.RESEARCH, program_year=2023)
    assert total_rows([file]) == 1


def test_a_lake_from_before_a_column_gains_it_empty_with_its_next_commit(lake: LakeTables) -> None:
    older = replaced(TABLE, columns=tuple(c for c in TABLE.columns if c.name != "amount"))
    lake.commit(write(lake, A, ["1"], table=older), older, rows=1)
    assert amounts(lake) == [("1", None)]
    replace(lake, B, ["2"])
    assert amounts(lake) == [("1", None), ("2", Decimal("1.00"))]
    assert "amount" in lake.arrow_schema(TABLE.name).names
    replace(lake, A, ["3"], run_id="again")
    assert amounts(lake) == [("2", Decimal("1.00")), ("3", Decimal("1.00"))]


def test_a_column_that_the_contract_dropped_stays_in_the_lake_and_new_rows_are_empty_there(
    lake: LakeTables,
) -> None:
    replace(lake, A, ["1"])
    newer = replaced(TABLE, columns=tuple(c for c in TABLE.columns if c.name != "amount"))
    lake.commit(write(lake, B, ["2"], table=newer), newer, rows=1)
    assert amounts(lake) == [("1", Decimal("1.00")), ("2", None)]


def amounts(lake: LakeTables) -> list[tuple[str, Decimal | None]]:
    with duckdb.connect() as connection:
        create_views(connection, lake, ("curated",))
        return connection.sql(
            "SELECT company_id, amount FROM curated.companies ORDER BY company_id"
        ).fetchall()


def test_files_nobody_committed_are_invisible(lake: LakeTables) -> None:
    replace(lake, A, ["1"])
    written = write(lake, A, ["2"], run_id="later")
    assert visible(lake) == ["1"]
    commit(lake, written, 1)
    assert visible(lake) == ["2"]


def test_a_commit_that_fails_while_adding_leaves_the_old_state_readable(
    lake: LakeTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(lake, A, ["1"])
    before = lake.partitions(TABLE.name)

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Transaction, "add_files", fail)
    with pytest.raises(OSError, match="disk full"):
        replace(lake, A, ["2"], run_id="failing")
    monkeypatch.undo()
    assert visible(lake) == ["1"]
    assert LakeTables(lake.root).partitions(TABLE.name) == before


def test_a_commit_of_a_file_that_is_gone_leaves_the_old_state_readable(lake: LakeTables) -> None:
    replace(lake, A, ["1"])
    written = write(lake, A, ["2"])
    written.files[0].unlink()
    with pytest.raises(FileNotFoundError):
        commit(lake, written, 1)
    assert visible(lake) == ["1"]


def test_a_commit_that_loses_to_another_is_tried_again(
    lake: LakeTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []
    once = LakeTables._commit_once

    def lose_twice(self: LakeTables, *arguments: Any) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise CommitFailedException("another run was first")
        once(self, *arguments)

    monkeypatch.setattr(LakeTables, "_commit_once", lose_twice)
    replace(lake, A, ["1"])
    assert visible(lake) == ["1"]
    assert len(attempts) == 3


def _commit_at_once(root: Path, partitions: list[Partition]) -> None:
    context = multiprocessing.get_context("forkserver")
    # Imported once for all processes: that is most of what they would spend their time on.
    context.set_forkserver_preload(["lake_files", "pyiceberg.catalog.sql", "tenacity"])
    barrier = context.Barrier(len(partitions))
    processes = [
        context.Process(target=commit_at_barrier, args=(root, partition, number, barrier))
        for number, partition in enumerate(partitions)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_four_runs_that_commit_at_once_to_a_new_table_lose_nothing(lake: LakeTables) -> None:
    partitions = [Partition(Dataset.GENERAL, year) for year in range(2013, 2017)]
    _commit_at_once(lake.root, partitions)
    for number, partition in enumerate(partitions):
        assert visible(lake, partition) == [f"{number}{n}" for n in range(3)]
    fresh = LakeTables(lake.root)
    assert {p: x.run_id for p, x in fresh.partitions(TABLE.name).items()} == {
        partition: f"run-{number}" for number, partition in enumerate(partitions)
    }
    fields = fresh.catalog.load_table(TABLE.name).spec().fields
    assert [field.name for field in fields] == ["dataset", "program_year"]


def test_of_two_runs_that_commit_one_partition_at_once_one_stays_and_never_both(
    lake: LakeTables,
) -> None:
    _commit_at_once(lake.root, [A, A])
    winner = LakeTables(lake.root).partitions(TABLE.name)[A].run_id
    number = winner.removeprefix("run-")
    assert visible(lake) == [f"{number}{n}" for n in range(3)]


def test_a_partition_without_rows_is_committed_and_known(lake: LakeTables) -> None:
    replace(lake, A, [])
    assert visible(lake, A) == []
    assert lake.partitions(TABLE.name)[A].rows == 0
    replace(lake, B, ["1"])
    replace(lake, B, [], run_id="emptied")
    assert visible(lake) == []
    emptied = lake.partitions(TABLE.name)[B]
    assert (emptied.rows, emptied.run_id) == (0, "emptied")


def test_partitions_say_what_the_current_state_came_from(lake: LakeTables) -> None:
    replace(lake, A, ["1"], run_id="first")
    replace(lake, B, ["2", "3"], run_id="second", release=date(2024, 1, 17))
    replace(lake, A, ["4", "5", "6"], run_id="third", release=date(2024, 6, 28))
    found = lake.partitions(TABLE.name)
    assert {str(p): (x.release, x.run_id, x.rows, x.layout) for p, x in found.items()} == {
        "general|2022": ("2024-06-28", "third", 3, "G4"),
        "general|2023": ("2024-01-17", "second", 2, "G4"),
    }


def test_the_snapshot_of_a_commit_says_where_its_rows_came_from(lake: LakeTables) -> None:
    replace(lake, A, ["1"], run_id="first")
    snapshot = lake.catalog.load_table(TABLE.name).current_snapshot()
    assert snapshot is not None
    assert snapshot.summary is not None
    summary = snapshot.summary.additional_properties
    assert summary["openpay.release"] == str(RELEASE)
    assert summary["openpay.run_id"] == "first"
    assert summary["openpay.rows"] == "1"
    assert summary["openpay.partition"] == str(A)


def test_an_earlier_snapshot_stays_readable_after_its_partition_is_replaced(
    lake: LakeTables,
) -> None:
    replace(lake, A, ["1"])
    table = lake.catalog.load_table(TABLE.name)
    earlier = table.current_snapshot()
    assert earlier is not None
    replace(lake, A, ["2"], run_id="later")
    rows = lake.catalog.load_table(TABLE.name).scan(snapshot_id=earlier.snapshot_id).to_arrow()
    assert rows["company_id"].to_pylist() == ["1"]


def test_a_whole_table_can_be_replaced_at_once(lake: LakeTables) -> None:
    replace(lake, A, ["1"])
    replace(lake, B, ["2"])
    commit(lake, write(lake, C, ["3"], run_id="rebuilt"), 1, whole_table=True)
    assert visible(lake) == ["3"]


def test_a_lake_without_tables_has_no_files_and_no_partitions(lake: LakeTables) -> None:
    assert not lake.exists(TABLE.name)
    assert lake.files(TABLE.name) == []
    assert lake.partitions(TABLE.name) == {}
    assert lake.names("curated") == []


def test_tables_of_a_zone_are_listed(lake: LakeTables) -> None:
    replace(lake, A, ["1"])
    assert lake.names("curated") == [TABLE.name]
    assert lake.names("staging") == []


def test_two_writers_of_one_partition_never_share_a_folder(lake: LakeTables) -> None:
    folders = {lake.new_folder(TABLE.name, A, "run") for _ in range(20)}
    assert len(folders) == 20
    assert all(folder.is_relative_to(lake.folder(TABLE.name)) for folder in folders)


@pytest.mark.parametrize("name", sorted(schemas()))
def test_every_contract_can_be_an_iceberg_table(name: str, tmp_path: Path) -> None:
    lake = LakeTables(tmp_path)
    lake.commit(Written(name, A, (), RELEASE, "run"), schemas()[name], rows=0)
    columns = lake.catalog.load_table(name).schema().column_names
    assert [x for x in columns if "." not in x] == schemas()[name].column_names


def test_every_contract_has_a_schema_by_its_name() -> None:
    assert list(schemas()) == [table.name for table in all_tables()]


@pytest.mark.parametrize("key", ["general|2023", "ownership|2013"])
def test_a_partition_is_written_as_it_is_read(key: str) -> None:
    assert str(Partition.parse(key)) == key


@pytest.mark.parametrize("key", ["general", "physicians|2023", "general|", "general|abcd", ""])
def test_what_is_no_partition_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="."):
        Partition.parse(key)


@pytest.fixture(autouse=True)
def _quiet_retries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Retry at once: how long a commit waits is of no interest here."""
    import tenacity

    waiting: Callable[..., Any] = lambda *_, **__: tenacity.wait_none()  # noqa: E731
    monkeypatch.setattr(tenacity, "wait_random_exponential", waiting)
    yield
