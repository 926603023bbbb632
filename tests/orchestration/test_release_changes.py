"""Release changes through the assets: compared, judged, kept; each check made to fire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from cms_files import Era, Row, clean_row, era, write_file
from house import QUARANTINE, RAW, REMOVED, STAGING, House, Run

from openpay_assets.contracts.registry import removed_list_header

CHANGES = dg.AssetKey(["curated", "release_changes"])
ASSETS = (RAW, REMOVED, STAGING, QUARANTINE, CHANGES)
KEY = "ownership|2021"
FIRST, SECOND, THIRD = (era("O4", 2021, x) for x in ("2022-06-30", "2023-01-20", "2023-06-30"))
"""The first three publications of a year; ownership has the fewest columns."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"), max_quarantine_share_ownership="0.5")
    yield house
    house.close()


@pytest.fixture
def house(built: House) -> House:
    return built.emptied()


def record(number: int) -> str:
    return str(345_000_000 + number)


def publish(house: House, at: Era, rows: Mapping[int, Row]) -> None:
    write_file(house.cms, at, [clean_row(at, number, row) for number, row in rows.items()])


def list_removed(
    house: House, at: Era, numbers: Sequence[int], *, lines: Sequence[str] | None = None
) -> Path:
    """Publish a list of removed records; ``lines`` replace what stands in it."""
    told = lines or [
        ",".join(removed_list_header()),
        *(f"DELETED,{at.program_year},Ownership,{record(n)}" for n in numbers),
        f"REMOVED,{at.program_year},General,{record(1)}",
    ]
    path = house.cms / f"OP_REMOVED_DELETED_PGYR{at.program_year}_P{at.release:%m%d%Y}.csv"
    path.write_text("\n".join(told) + "\n")
    return path


def run(house: House, at: Era) -> Run:
    return house.run(KEY, release=str(at.release), assets=ASSETS)


def said(found: Run, check: str) -> str:
    return found.said(f"curated/release_changes:{check}")


def failed(found: Run, *, blocking: bool = False) -> set[str]:
    names = found.failed_checks(blocking=blocking)
    return {x.partition(":")[2] for x in names if x.startswith("curated/release_changes")}


UNCHANGED: Row = {"change_type": "UNCHANGED"}
MANY: dict[int, Row] = {n: {} for n in range(10, 40)}
SAME: dict[int, Row] = dict.fromkeys(MANY, UNCHANGED)


def first_and_second(house: House, old: dict[int, Row], new: dict[int, Row], **how: object) -> Run:
    """Run two releases of which CMS says the truth about the many records they share."""
    publish(house, FIRST, {**MANY, **old})
    publish(house, SECOND, {**SAME, **new})
    assert run(house, FIRST).success
    return run(house, SECOND)


def test_the_first_release_in_the_lake_has_no_changes(house: House) -> None:
    publish(house, FIRST, MANY)
    found = run(house, FIRST)
    assert found.success, found.failures
    assert house.rows("curated.release_changes", KEY) == []
    assert found.failed_checks(blocking=False) == set()
    for check in ("unchanged_is_unchanged", "tombstones_match", "gap_detection"):
        assert "no release of ownership|2021 before 2022-06-30" in said(found, check)
    assert found.metadata["curated/release_changes"]["previous_release"] == "none"
    assert found.metadata["removed_list"]["path"] == "none published"


def test_a_release_is_compared_with_the_one_before_and_cms_told_the_truth(house: House) -> None:
    list_removed(house, SECOND, [2])
    found = first_and_second(
        house,
        {1: {}, 2: {"amount": "5.00"}, 3: {}},
        {
            1: {"change_type": "CHANGED", "value_of_interest": "400.00"},
            3: {"change_type": "CHANGED", "dispute_status_for_publication": "Yes"},
            4: {"change_type": "NEW"},
            5: {"change_type": "ADD"},
        },
    )
    assert found.success, found.failures
    assert failed(found) == failed(found, blocking=True) == set()
    rows = {x["record_id"]: x for x in house.rows("curated.release_changes", KEY)}
    assert {k: x["kind"] for k, x in rows.items()} == {
        record(1): "changed",
        record(2): "removed",
        record(3): "changed",
        record(4): "added",
        record(5): "added",
    }
    assert rows[record(1)]["changed_columns"] == ["value_of_interest"]
    assert rows[record(1)]["value_of_interest_moved"] == Decimal("70.00")
    assert rows[record(2)]["amount_moved"] == Decimal("-5.00")
    metadata = found.metadata["curated/release_changes"]
    assert (metadata["added"], metadata["changed"], metadata["removed"]) == (2, 2, 1)
    assert (metadata["unchanged"], metadata["previous_release"]) == (30, "2022-06-30")
    assert metadata["removed_dollars"] == "-5.00"
    assert "In 1 only the dispute status differs" in said(found, "changed_differs")
    assert "Nothing was published between" in said(found, "gap_detection")
    assert "Both releases are in layout O4" in said(found, "layout_translation")
    landed = house.root / "raw/beside=removed/year=2021/release=2023-01-20"
    assert [x.name for x in landed.iterdir()] == ["OP_REMOVED_DELETED_PGYR2021_P01202023.csv"]


@pytest.mark.parametrize(
    ("check", "old", "new", "words"),
    [
        ("unchanged_is_unchanged", {}, {**UNCHANGED, "recipient_city": "La Jolla"}, "1 differ"),
        ("unchanged_is_unchanged", None, UNCHANGED, "1 were not there before"),
        ("changed_differs", {}, {"change_type": "CHANGED"}, "1 do not differ"),
        ("changed_differs", None, {"change_type": "CHANGED"}, "1 were not there before"),
        ("new_add_absent_before", {}, {"change_type": "NEW"}, "1 were there before as they are"),
        (
            "new_add_absent_before",
            {},
            {"change_type": "ADD", "recipient_city": "La Jolla"},
            "1 were there before and differ",
        ),
    ],
)
def test_a_flag_that_is_not_true_is_warned_about_with_the_record(
    house: House, check: str, old: Row | None, new: Row, words: str
) -> None:
    found = first_and_second(house, {} if old is None else {1: old}, {1: new})
    assert found.success, found.failures
    assert failed(found) == {check}
    assert words in said(found, check)
    report = found.report(f"curated/release_changes:{check}")
    assert (report["rows"], report["sample"]) == (1, [record(1)])
    assert 0 < report["share"] <= 1
    assert Decimal(report["dollars_moved"]) == 0
    assert "curated.release_changes" in report["next_step"]


def test_a_record_of_a_first_publication_that_is_not_new_is_warned_about(house: House) -> None:
    publish(house, FIRST, {1: {}, 2: UNCHANGED})
    found = run(house, FIRST)
    assert failed(found) == {"change_type_domain"}
    assert "1 of 2 records of a first publication are not flagged NEW" in said(
        found, "change_type_domain"
    )


def test_a_record_in_or_out_of_quarantine_is_not_held_against_its_flag(house: House) -> None:
    bad: Row = {"amount": "1E+05"}
    found = first_and_second(house, {1: {}, 2: bad}, {1: {**UNCHANGED, **bad}, 2: UNCHANGED})
    assert found.success, found.failures
    assert failed(found) == set()
    rows = {x["record_id"]: x for x in house.rows("curated.release_changes", KEY)}
    assert {k: (x["kind"], x["quarantined_in"]) for k, x in rows.items()} == {
        record(1): ("changed", "this"),
        record(2): ("changed", "previous"),
    }
    assert found.metadata["curated/release_changes"]["unchanged"] == 30


@pytest.mark.parametrize("listed", [[2], [1, 2, 3]])
def test_more_than_a_thousandth_off_the_removed_list_blocks_and_names_the_records(
    house: House, listed: list[int]
) -> None:
    list_removed(house, SECOND, listed)
    gone: dict[int, Row] = {1: {}, 2: {}}
    found = first_and_second(house, gone, {})
    assert not found.success
    assert failed(found, blocking=True) == {"tombstones_match"}
    report = found.report("curated/release_changes:tombstones_match")
    assert report["not_listed"] == ([record(1)] if listed == [2] else [])
    assert report["not_removed"] == ([record(3)] if 3 in listed else [])
    assert "of them are not on CMS's list" in found.failures["curated__release_changes"]
    assert house.rows("curated.release_changes", KEY) == []
    assert len(house.rows("staging.ownership", KEY)) == 30


def test_less_than_a_thousandth_off_the_removed_list_is_a_warning(house: House) -> None:
    many: dict[int, Row] = {n: {} for n in range(10, 1400)}
    publish(house, FIRST, {1: {}, **many})
    publish(house, SECOND, dict.fromkeys(many, UNCHANGED))
    assert run(house, FIRST).success
    found = run(house, SECOND)
    assert found.success, found.failures
    assert failed(found) == {"tombstones_match"}
    assert "1 of them are not on CMS's list" in said(found, "tombstones_match")


def test_without_a_removed_list_what_left_is_a_warning_however_much_it_is(house: House) -> None:
    found = first_and_second(house, {1: {}, 2: {}}, {})
    assert found.success, found.failures
    assert failed(found) == {"tombstones_match"}
    assert "No list was found beside the release." in said(found, "tombstones_match")
    assert found.report("curated/release_changes:tombstones_match")["share"] > 0.001


def test_a_record_that_is_listed_as_removed_and_still_there_blocks(house: House) -> None:
    list_removed(house, SECOND, [1, 10])
    found = first_and_second(house, {1: {}}, {})
    assert not found.success
    assert "tombstone_not_live" in failed(found, blocking=True)
    assert record(10) in said(found, "tombstone_not_live")


def test_a_record_listed_as_removed_that_is_in_quarantine_is_still_there(house: House) -> None:
    list_removed(house, SECOND, [1])
    found = first_and_second(house, {1: {}}, {1: {**UNCHANGED, "amount": "1E+05"}})
    assert "tombstone_not_live" in failed(found, blocking=True)


def test_a_skipped_publication_makes_the_flags_not_applicable_and_is_named(house: House) -> None:
    publish(house, FIRST, {**MANY, 1: {}})
    publish(house, THIRD, {**SAME, 2: UNCHANGED})
    assert run(house, FIRST).success
    found = run(house, THIRD)
    assert found.success, found.failures
    assert failed(found) == set()
    assert found.report("curated/release_changes:gap_detection")["skipped"] == ["2023-01-20"]
    for check in ("unchanged_is_unchanged", "new_add_absent_before", "tombstones_match"):
        assert said(found, check).startswith("Not applicable. CMS published 2023-01-20 between")
    rows = house.rows("curated.release_changes", KEY)
    assert {x["kind"] for x in rows} == {"added", "removed"}


def test_a_publication_nobody_knew_of_is_recognised_when_the_source_offers_it(
    house: House,
) -> None:
    between = era("O4", 2021, "2022-09-01")
    publish(house, FIRST, MANY)
    publish(house, between, SAME)
    publish(house, SECOND, SAME)
    assert run(house, FIRST).success
    found = run(house, SECOND)
    assert found.report("curated/release_changes:gap_detection")["skipped"] == ["2022-09-01"]


def test_going_back_to_an_older_release_compares_it_with_the_one_before_it(house: House) -> None:
    for at, rows in ((FIRST, {1: {}}), (SECOND, {2: {}}), (THIRD, {3: {}})):
        publish(house, at, rows)
    list_removed(house, SECOND, [1])
    list_removed(house, THIRD, [2])
    for at in (FIRST, SECOND, THIRD):
        assert run(house, at).success
    found = run(house, SECOND)
    assert found.success, found.failures
    rows = house.rows("curated.release_changes", KEY)
    assert {(x["record_id"], x["kind"]) for x in rows} == {
        (record(1), "removed"),
        (record(2), "added"),
    }
    assert {str(x["previous_release"]) for x in rows} == {"2022-06-30"}
    history = house.tables.history("staging.ownership")
    assert [[str(day) for day in x] for x in history.values()] == [
        ["2022-06-30", "2023-01-20", "2023-06-30"]
    ]
    assert "against 1 of release 2022-06-30" in found.said("staging:volume")


def test_a_republication_in_another_layout_is_compared_on_what_both_have(house: House) -> None:
    old, new = era("O2", 2018, "2022-01-21"), era("O4", 2018, "2022-06-30")
    publish(house, old, {n: {} for n in range(1, 9)})
    publish(house, new, {n: {**UNCHANGED, "recipient_city": "Reno"} for n in range(1, 9)})
    key = "ownership|2018"
    assert house.run(key, release="2022-01-21", assets=ASSETS).success
    found = house.run(key, release="2022-06-30", assets=ASSETS)
    assert found.success, found.failures
    assert failed(found) == {"layout_translation", "unchanged_is_unchanged"}
    report = found.report("curated/release_changes:layout_translation")
    assert report["compared_away"] == ["physician_npi"]
    assert report["differing"] == {"recipient_city": 8}
    assert "in too many to be news: recipient_city" in said(found, "layout_translation")


@pytest.mark.parametrize(
    ("lines", "check", "words"),
    [
        (
            ["Change_Type,Record_ID,Program_Year,Payment_Type"],
            "header_known",
            "expected Change_Type",
        ),
        ([""], "header_known", "no header"),
        ([*removed_list_header()], "header_known", "expected"),
    ],
)
def test_a_removed_list_with_another_header_blocks(
    house: House, lines: list[str], check: str, words: str
) -> None:
    publish(house, FIRST, MANY)
    list_removed(house, FIRST, [], lines=lines)
    found = run(house, FIRST)
    assert not found.success
    assert f"removed_list:{check}" in found.failed_checks()
    assert words in found.said(f"removed_list:{check}")
    assert "curated/release_changes" not in found.materialized


@pytest.mark.parametrize(
    "line",
    [
        "GONE,2021,Ownership,1",
        "DELETED,2020,Ownership,1",
        "DELETED,2021,Dividends,1",
        "DELETED,2021,Ownership,1E+11",
        "DELETED,2021,Ownership,",
        "DELETED,2021,Ownership",
        'DELETED,2021,"Ownership,1',
    ],
)
def test_a_removed_list_with_a_row_that_is_not_understood_blocks(house: House, line: str) -> None:
    publish(house, FIRST, MANY)
    list_removed(house, FIRST, [], lines=[",".join(removed_list_header()), line])
    found = run(house, FIRST)
    assert not found.success
    assert found.failed_checks() == {"removed_list:rows_known"}


def test_a_removed_list_cut_off_on_the_way_blocks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openpay_assets.lake.raw import RawZone

    land = RawZone.land_beside
    monkeypatch.setattr(
        RawZone, "land_beside", lambda self, source, file, size: land(self, source, file, size + 1)
    )
    publish(house, FIRST, MANY)
    list_removed(house, FIRST, [])
    found = run(house, FIRST)
    assert found.failed_checks() == {"removed_list:bytes_complete"}


def test_a_list_of_another_release_is_not_compared(house: House) -> None:
    publish(house, FIRST, MANY)
    publish(house, SECOND, SAME)
    assert run(house, FIRST).success
    found = house.run(KEY, release=str(SECOND.release), assets=(RAW, STAGING, QUARANTINE, CHANGES))
    assert found.success, found.failures
    assert "belongs to release 2022-06-30, not to 2023-01-20" in said(found, "tombstones_match")


def test_changes_without_a_removed_list_say_what_to_materialize(house: House) -> None:
    publish(house, FIRST, MANY)
    found = house.run(KEY, assets=(RAW, STAGING, QUARANTINE, CHANGES))
    assert not found.success
    assert "Materialize removed_list first" in "".join(found.failures.values())
