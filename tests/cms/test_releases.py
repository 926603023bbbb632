"""Several releases of a simulated site: what they say of each other is what a comparison finds."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest

from openpay_assets.cms.csv import read_csv_sql
from openpay_assets.cms.names import FileKind, parse_beside_name
from openpay_assets.cms.simulator import (
    SimulatedFile,
    expected_changes,
    publications,
    simulate,
    writer,
)
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import layout_of
from openpay_assets.contracts.sql import sql_name

NOT_CONTENT = {"change_type", "payment_publication_date"}
UNREADABLE = ("record_id_valid", "record_id_unique", "change_type_known")
"""Dirt that a comparison by record id cannot see through."""


@dataclass(frozen=True)
class Partition:
    """A partition of the simulated site, its releases oldest first."""

    files: tuple[SimulatedFile, ...]

    def __str__(self) -> str:
        return f"{self.files[0].dataset}-{self.files[0].program_year}"


@dataclass(frozen=True)
class Record:
    """A record of a file: what it says of its life, and the rest."""

    change_type: str
    content: tuple[str, ...]
    cents: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("releases")


@pytest.fixture(scope="module")
def site(folder: Path) -> list[Partition]:
    """Two program years with three releases: one changes its layout, one begins."""
    files = []
    for year, last in ((2019, "2022-06-30"), (2022, "2024-06-28")):
        files += simulate(
            folder,
            years=[year],
            rows=300,
            releases=3,
            release=last,
            dirt=0.1,
            without=UNREADABLE,
            threads=1,
        )
    return [
        Partition(tuple(x for x in files if (x.program_year, x.dataset) == (year, dataset)))
        for year in (2019, 2022)
        for dataset in Dataset
    ]


def _records(file: SimulatedFile, columns: list[str] | None = None) -> dict[str, Record]:
    """Read the records of a file by id; content is the columns asked for, by canonical name."""
    layout = layout_of(file.dataset, file.program_year, file.release.isoformat())
    wanted = columns or [name for _, name in layout.columns if name not in NOT_CONTENT]
    of = layout.source_of
    content = ", ".join(f"coalesce({sql_name(of[name])}, '')" for name in wanted)
    amount = sql_name(of["amount"])
    exact = f"regexp_matches({amount}, '^[0-9]+([.][0-9]{{1,2}})?$')"
    change_type = sql_name(of["change_type"]) if "change_type" in of else "''"
    query = (
        f"SELECT {sql_name(of['record_id'])}, {change_type}, [{content}], "
        f"CASE WHEN {exact} THEN ({amount}::DECIMAL(18, 2) * 100)::BIGINT ELSE 0 END "
        f"FROM {read_csv_sql(file.path, layout.header)}"
    )
    with duckdb.connect(config={"threads": 1}) as connection:
        rows = connection.execute(query).fetchall()
    found = {key: Record(kind, tuple(values), cents) for key, kind, values, cents in rows}
    assert len(found) == len(rows), "record ids are unique"
    return found


def _common_columns(old: SimulatedFile, new: SimulatedFile) -> list[str]:
    named = [
        [name for _, name in layout_of(x.dataset, x.program_year, x.release.isoformat()).columns]
        for x in (old, new)
    ]
    return [name for name in named[1] if name in named[0] and name not in NOT_CONTENT]


def _compare(old: SimulatedFile, new: SimulatedFile) -> dict[str, object]:
    """Find what differs between two files, as the expected JSON says it."""
    columns = _common_columns(old, new)
    before, after = _records(old, columns), _records(new, columns)
    added, removed = after.keys() - before.keys(), before.keys() - after.keys()
    both = before.keys() & after.keys()
    changed = {key for key in both if before[key].content != after[key].content}
    unchanged = both - changed
    return {
        "since": old.release.isoformat(),
        "added": _sums(added, cents=after),
        "changed": _sums(changed, cents_before=before, cents_after=after),
        "removed": _sums(removed, cents=before),
        "unchanged": _sums(unchanged, cents=after),
    }


def _sums(keys: set[str], **sides: dict[str, Record]) -> dict[str, int]:
    sums = {name: sum(records[key].cents for key in keys) for name, records in sides.items()}
    return {"rows": len(keys), **sums}


def _listed(folder: Path, file: SimulatedFile) -> list[dict[str, str]] | None:
    """Return what a release lists as removed from a partition; None when it has no list."""
    for path in folder.glob("OP_REMOVED_DELETED_*.csv"):
        name = parse_beside_name(path.name)
        assert name is not None
        assert name.kind is FileKind.REMOVED
        if (name.program_year, name.release) == (file.program_year, file.release):
            with path.open(newline="", encoding="ascii") as lines:
                rows = list(csv.DictReader(lines, strict=True))
            return [row for row in rows if row["Payment_Type"] == file.dataset.title()]
    return None


def _without_interest(changes: dict[str, dict[str, int]]) -> dict[str, object]:
    """Drop what ``_compare`` does not measure."""
    skipped = {"value_of_interest_cents", "staged_rows", "staged_cents"}
    return {
        kind: {name: x for name, x in sums.items() if name not in skipped}
        if isinstance(sums, dict)
        else sums
        for kind, sums in changes.items()
    }


def test_releases_follow_the_publications(site: list[Partition]) -> None:
    days = {str(p): [x.release.isoformat() for x in p.files] for p in site}
    assert days["general-2019"] == ["2021-06-30", "2022-01-21", "2022-06-30"]
    assert days["ownership-2022"] == ["2023-06-30", "2024-01-18", "2024-06-28"]
    assert [x.layout for x in site[0].files] == ["G3", "G3", "G4"]


def test_a_release_differs_from_the_one_before_as_it_is_said_beside_it(
    site: list[Partition],
) -> None:
    removed = 0
    for partition in site:
        for old, new in pairwise(partition.files):
            expected = new.expected["changes"]
            assert _compare(old, new) == _without_interest(expected), str(partition)
            assert expected["added"]["rows"] >= 2
            assert expected["changed"]["rows"] >= 1
            removed += expected["removed"]["rows"]
            unchanged = expected["unchanged"]
            quarantined = new.expected["quarantined_rows"]
            assert unchanged["rows"] - unchanged["staged_rows"] == quarantined
    assert removed > len(site)


def test_differences_are_drawn_for_any_two_releases(folder: Path, site: list[Partition]) -> None:
    for partition in site:
        dataset, year = partition.files[0].dataset, partition.files[0].program_year
        first, second, third = partition.files
        drawn = expected_changes(folder, dataset, year, first.release, third.release)
        assert _compare(first, third) == _without_interest(drawn), str(partition)
        next_to_it = expected_changes(folder, dataset, year, second.release, third.release)
        assert next_to_it == third.expected["changes"]


def test_a_record_may_change_and_change_back_while_nobody_looks(tmp_path: Path) -> None:
    first, second, third = simulate(
        tmp_path,
        years=[2022],
        rows=9000,
        releases=3,
        release="2024-06-28",
        datasets=[Dataset.GENERAL],
    )
    contents = [_records(x) for x in (first, second, third)]
    back = [
        key
        for key in contents[0].keys() & contents[2].keys()
        if contents[0][key].content == contents[2][key].content != contents[1][key].content
    ]
    assert back
    assert {contents[2][key].change_type for key in back} == {"CHANGED"}
    drawn = expected_changes(tmp_path, Dataset.GENERAL, 2022, first.release, third.release)
    assert _compare(first, third) == _without_interest(drawn)


def test_change_types_tell_the_truth(site: list[Partition]) -> None:
    for partition in site:
        for old, new in pairwise(partition.files):
            columns = _common_columns(old, new)
            before, after = _records(old, columns), _records(new, columns)
            for key, record in after.items():
                if key not in before:
                    assert record.change_type in {"NEW", "ADD"}
                elif record.content != before[key].content:
                    assert record.change_type == "CHANGED"
                else:
                    assert record.change_type == "UNCHANGED"
            counted = Counter(record.change_type for record in after.values())
            assert counted["NEW"] >= 1
            assert counted["ADD"] >= 1


def test_changes_are_of_an_amount_a_dispute_or_text(site: list[Partition]) -> None:
    columns = ["amount", "dispute_status_for_publication", "contextual_information"]
    seen: Counter[str] = Counter()
    old, new = site[3].files[:2]
    before, after = _records(old, columns), _records(new, columns)
    for key in before.keys() & after.keys():
        pairs = zip(columns, before[key].content, after[key].content, strict=True)
        seen.update(name for name, x, y in pairs if x != y)
    assert set(seen) == set(columns)


def test_everything_is_new_at_first_and_nothing_is_removed(
    folder: Path, site: list[Partition]
) -> None:
    for partition in site[3:]:
        first = partition.files[0]
        assert first.expected["changes"] is None
        assert {x.change_type for x in _records(first).values()} == {"NEW"}
        assert _listed(folder, first) is None


def test_the_list_of_removed_records_is_what_is_gone(folder: Path, site: list[Partition]) -> None:
    kinds = set()
    for partition in site:
        for old, new in pairwise(partition.files):
            listed = _listed(folder, new)
            assert listed is not None
            gone = _records(old).keys() - _records(new).keys()
            assert {row["Record_ID"] for row in listed} == gone
            assert {row["Program_Year"] for row in listed} <= {str(new.program_year)}
            kinds |= {row["Change_Type"] for row in listed}
    assert kinds == {"DELETED", "REMOVED"}


def test_program_years_before_2016_have_no_list_of_removed_records(tmp_path: Path) -> None:
    _, new = simulate(
        tmp_path, years=[2015], rows=100, releases=2, lies=1, datasets=[Dataset.GENERAL], threads=1
    )
    assert new.expected["changes"]["removed"]["rows"] > 0
    assert new.expected["lies"] == {
        "changed_but_marked_unchanged": 1,
        "removed_but_not_listed": 0,
        "listed_but_not_removed": 0,
    }
    assert list(tmp_path.glob("OP_REMOVED*")) == []


def test_a_release_has_the_same_bytes_whichever_are_written_with_it(
    tmp_path: Path, folder: Path, site: list[Partition], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHUNK_ROWS", 97)
    files = simulate(
        tmp_path,
        years=[2022],
        rows=300,
        releases=1,
        release="2024-06-28",
        dirt=0.1,
        without=UNREADABLE,
        threads=2,
    )
    assert len(files) == 3
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_an_unchanged_record_has_the_same_bytes(site: list[Partition]) -> None:
    old, new = site[3].files[1:]

    def lines(file: SimulatedFile) -> Counter[str]:
        text = file.path.read_text(encoding="ascii")
        text = re.sub(r'^"(NEW|ADD|CHANGED|UNCHANGED)"', "", text, flags=re.MULTILINE)
        return Counter(text.replace(f"{file.release:%m/%d/%Y}", "").splitlines())

    same = lines(old) & lines(new)
    differing = (
        new.expected["changes"]["added"]["rows"] + new.expected["changes"]["changed"]["rows"]
    )
    # Dirt in the day of publication differs as well: the day before, or written otherwise.
    others = sum((lines(new) - same).values())
    assert differing <= others <= differing + 5


def test_lies_are_told_as_often_as_is_said(tmp_path: Path) -> None:
    told: Counter[str] = Counter()
    files = simulate(
        tmp_path, years=[2022], rows=400, releases=2, release="2024-01-18", lies=2, threads=1
    )
    for old, new in zip(files[:3], files[3:], strict=True):
        before, after = _records(old), _records(new)
        listed = {row["Record_ID"] for row in _listed(tmp_path, new) or []}
        unmarked = [
            key
            for key in before.keys() & after.keys()
            if before[key].content != after[key].content and after[key].change_type == "UNCHANGED"
        ]
        found = {
            "changed_but_marked_unchanged": len(unmarked),
            "removed_but_not_listed": len(before.keys() - after.keys() - listed),
            "listed_but_not_removed": len(listed & after.keys()),
        }
        assert found == new.expected["lies"]
        assert _compare(old, new) == _without_interest(new.expected["changes"])
        told.update(found)
        assert set(old.expected["lies"].values()) == {0}
    assert all(count >= 3 for count in told.values()), told


def test_dirty_rows_stay_dirty_in_the_same_way(site: list[Partition]) -> None:
    for partition in site:
        found = [(x.expected["quarantined"], x.expected["warned"]) for x in partition.files]
        assert found[0] == found[1] == found[2]
        assert found[0][0]


def test_archived_program_years_have_their_last_releases(tmp_path: Path) -> None:
    files = simulate(
        tmp_path, years=[2016], rows=60, releases=2, datasets=[Dataset.OWNERSHIP], threads=1
    )
    assert [x.release for x in files] == list(publications.publications_of(2016)[-2:])
    assert files[-1].release == date(2024, 1, 18)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"releases": 0}, "releases is 0; it must be at least 1"),
        ({"lies": 1}, "only releases can lie"),
        ({"releases": 2, "lies": -1}, "lies is -1"),
        ({"releases": 2, "rows": 15_000_001}, "with releases at most 15,000,000"),
        ({"releases": 2, "release": "2023-01-01"}, "was first published on 2023-06-30"),
    ],
    ids=lambda x: str(x),
)
def test_arguments_that_make_no_story_are_refused(
    tmp_path: Path, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        simulate(tmp_path, **{"years": [2022], "rows": 50, **arguments})  # type: ignore[arg-type]


def test_differences_are_drawn_only_for_what_has_a_story(
    tmp_path: Path, folder: Path, site: list[Partition]
) -> None:
    simulate(tmp_path, years=[2022], rows=50, datasets=[Dataset.OWNERSHIP], release="2024-01-18")
    day, other = date(2023, 6, 30), date(2024, 1, 18)
    with pytest.raises(ValueError, match="not simulated as one of several releases"):
        expected_changes(tmp_path, Dataset.OWNERSHIP, 2022, day, other)
    with pytest.raises(ValueError, match="2023-06-30 does not follow 2024-01-18"):
        expected_changes(folder, Dataset.OWNERSHIP, 2022, other, day)
    with pytest.raises(ValueError, match="was not published on 2023-07-01; known: 2023-06-30"):
        expected_changes(folder, Dataset.OWNERSHIP, 2022, date(2023, 7, 1), other)
    with pytest.raises(FileNotFoundError):
        expected_changes(folder, Dataset.OWNERSHIP, 2022, day, date(2026, 6, 30))
