"""Release history: earlier releases stay readable until somebody expires them by name."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lake_files import TABLE, commit, replace, visible, write

from openpay_assets.contracts.model import Dataset
from openpay_assets.lake import expiry
from openpay_assets.lake.tables import LakeTables, Partition

A, B, C = (Partition.parse(key) for key in ("general|2022", "general|2023", "research|2023"))
FIRST, SECOND, THIRD = date(2023, 6, 30), date(2024, 1, 18), date(2024, 6, 28)


@pytest.fixture
def lake(tmp_path: Path) -> LakeTables:
    return LakeTables(tmp_path / "lake")


def as_of(lake: LakeTables, release: date, partition: Partition | None = None) -> list[str]:
    """Return the company ids that a reader of a release sees."""
    asked = {} if partition is None else vars(partition)
    return sorted(
        company_id
        for path in LakeTables(lake.root).files(TABLE.name, release=release, **asked)
        for company_id in pq.ParquetFile(path).read(["company_id"])["company_id"].to_pylist()
    )


def readable(lake: LakeTables, partition: Partition = A) -> list[date]:
    return list(LakeTables(lake.root).releases(TABLE.name, partition))


def rebuild(lake: LakeTables, partition: Partition, company: str, release: date) -> None:
    """Commit a whole table that a run of a partition rebuilt."""
    commit(lake, write(lake, partition, [company], release=release), 1, whole_table=True)


def test_a_release_reads_the_same_after_a_newer_one_is_committed(lake: LakeTables) -> None:
    replace(lake, A, ["1", "2"], release=FIRST)
    before = as_of(lake, FIRST)
    replace(lake, A, ["3"], release=SECOND)
    assert as_of(lake, FIRST) == before == ["1", "2"]
    assert as_of(lake, SECOND) == visible(lake) == ["3"]


def test_a_day_between_releases_reads_each_partition_at_the_newest_before_it(
    lake: LakeTables,
) -> None:
    replace(lake, A, ["1"], release=FIRST)
    replace(lake, B, ["2"], release=SECOND)
    replace(lake, C, ["3"], release=FIRST)
    replace(lake, A, ["4"], release=THIRD)
    assert as_of(lake, date(2023, 6, 29)) == []
    assert as_of(lake, date(2023, 12, 31)) == ["1", "3"]
    assert as_of(lake, SECOND) == ["1", "2", "3"]
    assert as_of(lake, date(2030, 1, 1)) == ["2", "3", "4"]
    assert as_of(lake, SECOND, B) == ["2"]
    assert LakeTables(lake.root).files(TABLE.name, dataset=Dataset.OWNERSHIP, release=THIRD) == []
    [file] = LakeTables(lake.root).files(TABLE.name, program_year=2022, release=SECOND)
    assert pq.ParquetFile(file).read()["company_id"].to_pylist() == ["1"]


def test_running_a_release_again_replaces_it_and_no_other(lake: LakeTables) -> None:
    replace(lake, A, ["1"], release=FIRST)
    replace(lake, A, ["2"], release=SECOND)
    replace(lake, A, ["3"], release=FIRST)
    assert visible(lake) == ["3"]
    assert (as_of(lake, FIRST), as_of(lake, SECOND)) == (["3"], ["2"])
    assert readable(lake) == [FIRST, SECOND]
    assert lake.partitions(TABLE.name)[A].release == str(FIRST)


def test_a_release_without_rows_is_readable_and_empty(lake: LakeTables) -> None:
    replace(lake, A, [], release=FIRST)
    replace(lake, A, ["1"], release=SECOND)
    replace(lake, A, [], release=THIRD)
    assert (as_of(lake, FIRST), as_of(lake, SECOND), as_of(lake, THIRD)) == ([], ["1"], [])
    assert readable(lake) == [FIRST, SECOND, THIRD]
    replace(lake, A, [], release=SECOND)
    assert as_of(lake, SECOND) == []


def test_the_tag_names_partition_and_release_for_every_iceberg_reader(lake: LakeTables) -> None:
    replace(lake, A, ["1"], release=FIRST)
    replace(lake, A, ["2"], release=SECOND)
    table = lake.catalog.load_table(TABLE.name)
    snapshot = table.snapshot_by_name("general-2022-2023-06-30")
    assert snapshot is not None
    rows = table.scan(snapshot_id=snapshot.snapshot_id).to_arrow()
    assert rows["company_id"].to_pylist() == ["1"]


def test_a_tag_that_another_tool_removed_is_an_error_and_not_an_empty_release(
    lake: LakeTables,
) -> None:
    replace(lake, A, ["1"], release=FIRST)
    table = lake.catalog.load_table(TABLE.name)
    table.manage_snapshots().remove_tag("general-2022-2023-06-30").commit()
    with pytest.raises(LookupError, match=r"general-2022-2023-06-30 is gone. Run that release"):
        as_of(lake, FIRST)


def test_a_whole_table_is_read_at_the_newest_release_in_it(lake: LakeTables) -> None:
    rebuild(lake, A, "1", FIRST)
    rebuild(lake, B, "2", THIRD)
    rebuild(lake, C, "3", FIRST)
    assert as_of(lake, SECOND) == ["1"]
    assert as_of(lake, THIRD) == visible(lake) == ["3"]
    assert lake.history(TABLE.name).keys() == {None}


def test_going_back_to_an_older_release_leaves_a_whole_table_of_the_newer_as_it_was(
    lake: LakeTables,
) -> None:
    rebuild(lake, A, "1", SECOND)
    rebuild(lake, B, "2", SECOND)
    rebuild(lake, A, "3", FIRST)
    assert visible(lake) == ["3"]
    assert as_of(lake, SECOND) == ["2"]
    assert as_of(lake, FIRST) == []
    assert lake.partitions(TABLE.name)[A].release == str(FIRST)


def test_a_table_that_does_not_exist_has_no_history(lake: LakeTables) -> None:
    assert lake.files(TABLE.name, release=FIRST) == []
    assert lake.history(TABLE.name) == {}
    assert lake.releases(TABLE.name, A) == {}


def files_of(lake: LakeTables) -> set[Path]:
    return set(lake.folder(TABLE.name).rglob("*.parquet"))


def test_expiry_drops_all_but_the_newest_releases_and_their_files(lake: LakeTables) -> None:
    for company, release in (("1", FIRST), ("2", SECOND), ("3", THIRD)):
        replace(lake, A, [company], release=release)
    replace(lake, B, ["4"], release=FIRST)
    raw = lake.root / "raw" / "file.csv"
    raw.parent.mkdir()
    raw.write_text("kept")
    assert len(files_of(lake)) == 4
    [planned] = expiry.plan(lake, 2)
    assert planned.releases == ((A, FIRST),)
    assert {x for x in planned.files if x.suffix == ".parquet"} <= files_of(lake)
    assert planned.size == sum(x.stat().st_size for x in planned.files) > 0
    assert len(files_of(lake)) == 4

    assert expiry.expire(lake, 2) == [planned]
    assert readable(lake) == [SECOND, THIRD]
    assert as_of(lake, FIRST) == ["4"]
    assert (as_of(lake, SECOND), as_of(lake, THIRD)) == (["2", "4"], ["3", "4"])
    assert visible(lake) == ["3", "4"]
    assert len(files_of(lake)) == 3
    assert not any(path.exists() for path in planned.files)
    assert raw.read_text() == "kept"
    assert expiry.plan(lake, 2) == []


def test_expiry_keeps_what_is_current_even_when_it_is_old(lake: LakeTables) -> None:
    replace(lake, A, ["2"], release=SECOND)
    replace(lake, A, ["3"], release=THIRD)
    replace(lake, A, ["1"], release=FIRST)
    expiry.expire(lake, 1)
    assert readable(lake) == [FIRST, THIRD]
    assert visible(lake) == ["1"]
    assert as_of(lake, THIRD) == ["3"]


def test_expiry_of_one_dataset_leaves_the_others_alone(lake: LakeTables) -> None:
    for company, release in (("1", FIRST), ("2", SECOND)):
        replace(lake, A, [company], release=release)
        replace(lake, C, [f"{company}0"], release=release)
    expiry.expire(lake, 1, Dataset.RESEARCH)
    assert (readable(lake, A), readable(lake, C)) == ([FIRST, SECOND], [SECOND])
    assert as_of(lake, FIRST) == ["1"]
    assert visible(lake) == ["2", "20"]


def test_what_a_rerun_replaced_goes_with_expiry(lake: LakeTables) -> None:
    replace(lake, A, ["1"], release=FIRST)
    replace(lake, A, ["2"], release=FIRST, run_id="again")
    assert len(files_of(lake)) == 2
    expiry.expire(lake, 1)
    assert len(files_of(lake)) == 1
    assert visible(lake) == as_of(lake, FIRST) == ["2"]


def test_a_whole_table_keeps_its_newest_releases(lake: LakeTables) -> None:
    rebuild(lake, A, "1", FIRST)
    rebuild(lake, A, "2", SECOND)
    expiry.expire(lake, 1)
    assert as_of(lake, FIRST) == []
    assert as_of(lake, SECOND) == visible(lake) == ["2"]


def test_a_lake_goes_on_after_expiry(lake: LakeTables) -> None:
    replace(lake, A, ["1"], release=FIRST)
    replace(lake, A, ["2"], release=SECOND)
    expiry.expire(lake, 1)
    replace(lake, A, ["3"], release=THIRD)
    replace(lake, B, ["4"], release=THIRD)
    assert visible(lake) == ["3", "4"]
    assert as_of(lake, SECOND) == ["2"]


def test_expiry_of_every_release_is_refused(lake: LakeTables) -> None:
    with pytest.raises(ValueError, match="at least the newest release"):
        expiry.plan(lake, 0)


def age(paths: Iterable[Path], days: float) -> None:
    """Make files look as old as that."""
    then = time.time() - days * 86_400
    for path in paths:
        os.utime(path, (then, then))


def left_behind(lake: LakeTables) -> list[Path]:
    """Return every data file and manifest below the table that no snapshot refers to."""
    table = lake.catalog.load_table(TABLE.name)
    referred = expiry._files(table, [x.snapshot_id for x in table.metadata.snapshots])
    folder = lake.folder(TABLE.name)
    return sorted({*folder.rglob("*.parquet"), *folder.rglob("*.avro")} - referred)


def test_files_that_a_killed_expiry_left_behind_go_with_the_next_one(
    lake: LakeTables, monkeypatch: pytest.MonkeyPatch
) -> None:
    for company, release in (("1", FIRST), ("2", SECOND)):
        replace(lake, A, [company], release=release)
    raw = lake.root / "raw" / "file.csv"
    raw.parent.mkdir()
    raw.write_text("kept")
    everything = [x for x in lake.root.rglob("*") if x.is_file() and x.name != "catalog.db"]

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(expiry, "_remove", killed)
        with pytest.raises(KeyboardInterrupt):
            expiry.expire(lake, 1)
    assert readable(lake) == [SECOND]
    orphans = left_behind(lake)
    assert {x.suffix for x in orphans} == {".parquet", ".avro"}

    age(everything, days=2)
    [planned] = expiry.plan(lake, 1)
    assert (planned.releases, planned.files, list(planned.orphans)) == ((), (), orphans)
    assert planned.size == sum(x.stat().st_size for x in orphans) > 0
    assert expiry.expire(lake, 1) == [planned]
    assert left_behind(lake) == []
    assert visible(lake) == as_of(lake, SECOND) == ["2"]
    assert raw.read_text() == "kept"
    assert expiry.plan(lake, 1) == []
    replace(lake, A, ["3"], release=THIRD)
    assert visible(lake) == ["3"]


def test_files_of_a_run_that_has_not_committed_yet_are_not_left_behind(lake: LakeTables) -> None:
    replace(lake, A, ["1"], release=FIRST)
    written = write(lake, A, ["2"], release=SECOND)
    age(written.files, days=0.9)
    assert expiry.expire(lake, 1) == []
    commit(lake, written, 1)
    assert visible(lake) == ["2"]


def test_a_run_whose_files_were_taken_for_left_behind_changes_nothing(lake: LakeTables) -> None:
    replace(lake, A, ["1"], release=FIRST)
    written = write(lake, A, ["2"], release=SECOND)
    age(written.files, days=1.1)
    [dropped] = expiry.expire(lake, 1)
    assert dropped.orphans == written.files
    assert not any(x.exists() or x.parent.exists() for x in written.files)
    with pytest.raises(FileNotFoundError):
        commit(lake, written, 1)
    assert visible(lake) == as_of(lake, FIRST) == ["1"]
    assert readable(lake) == [FIRST]


def test_what_is_left_behind_of_another_dataset_stays(lake: LakeTables) -> None:
    replace(lake, A, ["1"], release=FIRST)
    mine, other = (write(lake, x, ["2"], run_id="blocked") for x in (C, A))
    age([*mine.files, *other.files], days=2)
    [dropped] = expiry.expire(lake, 1, Dataset.RESEARCH)
    assert dropped.orphans == mine.files
    assert all(x.exists() for x in other.files)


def test_a_lake_opened_by_another_path_has_nothing_left_behind(
    lake: LakeTables, tmp_path: Path
) -> None:
    replace(lake, A, ["1"], release=FIRST)
    age(files_of(lake), days=2)
    link = tmp_path / "link"
    link.symlink_to(lake.root)
    assert expiry.expire(LakeTables(link), 1) == []
    replace(LakeTables(link), B, ["2"], release=FIRST)
    age(files_of(lake), days=2)
    assert expiry.expire(lake, 1) == []
    assert visible(lake) == ["1", "2"]
