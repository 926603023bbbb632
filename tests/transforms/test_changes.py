"""Release changes: what differs between two releases, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from cms_files import COMPANY, Era, Row, clean_row, era, is_before_june_2016
from staged import Stager

from openpay_assets.contracts.registry import curated_table
from openpay_assets.transforms.changes import common_columns, flagged, release_changes, summary

Changes = dict[str, dict[str, Any]]
OLD = era("G4", 2021, "2023-06-30")
NEW = era("G4", 2021, "2024-01-18")


def record(number: int) -> str:
    return str(345_000_000 + number)


def rows_of(at: Era, overrides: dict[int, Row]) -> list[dict[str, str | None]]:
    """Rows by number; a row that is not given is not in the release."""
    return [clean_row(at, number, row) for number, row in overrides.items()]


def compare(
    stager: Stager,
    old: dict[int, Row],
    new: dict[int, Row],
    *,
    eras: tuple[Era, Era] = (OLD, NEW),
) -> Changes:
    """Return the changes by number of the row."""
    before, after = (
        stager.release(at, rows_of(at, x)) for at, x in zip(eras, (old, new), strict=True)
    )
    found = stager.rows_of(release_changes(before, after, eras[1].program_year))
    assert all(list(row) == curated_table("release_changes").column_names for row in found)
    return {str(int(row["record_id"]) - 345_000_000): row for row in found}


def kinds(changes: Changes) -> dict[str, str]:
    return {number: row["kind"] for number, row in changes.items()}


def test_added_changed_and_removed_records_are_found_and_unchanged_ones_are_not(
    stager: Stager,
) -> None:
    changes = compare(
        stager,
        {1: {}, 2: {}, 3: {"amount": "10.00"}},
        {1: {"change_type": "UNCHANGED"}, 3: {"amount": "12.50"}, 4: {"amount": "7.00"}},
    )
    assert kinds(changes) == {"2": "removed", "3": "changed", "4": "added"}
    assert {k: x["amount_moved"] for k, x in changes.items()} == {
        "2": Decimal("-90.87"),
        "3": Decimal("2.50"),
        "4": Decimal("7.00"),
    }
    removed, added = changes["2"], changes["4"]
    assert (removed["amount_before"], removed["amount_after"]) == (Decimal("90.87"), None)
    assert (added["amount_before"], added["amount_after"]) == (None, Decimal("7.00"))
    assert removed["change_type"] is None
    for row in changes.values():
        assert (row["dataset"], row["program_year"]) == ("general", 2021)
        assert (row["previous_release"], row["release"]) == (OLD.release, NEW.release)
        assert (row["company_id"], row["company_name"]) == ("100000000326", "DFINE, Inc")
        assert row["recipient_key"] == "physician:132655"
        assert row["quarantined_in"] is None


def test_a_changed_record_names_its_columns_with_both_values(stager: Stager) -> None:
    before: Row = {"amount": "10.00", "recipient_city": "San Diego"}
    after: Row = {
        "change_type": "CHANGED",
        "amount": "12.50",
        "recipient_city": None,
        "date_of_payment": "11/13/2021",
        "charity_indicator": None,
        "contextual_information": 'a, "b" | c',
    }
    [row] = compare(stager, {1: before}, {1: after}).values()
    assert row["change_type"] == "CHANGED"
    assert dict(row["old_values"]) == {
        "recipient_city": "San Diego",
        "amount": "10.00",
        "date_of_payment": "2021-11-12",
        "charity_indicator": "No",
        "contextual_information": "Advisory board",
    }
    assert dict(row["new_values"]) == {
        "recipient_city": None,
        "amount": "12.50",
        "date_of_payment": "2021-11-13",
        "charity_indicator": None,
        "contextual_information": 'a, "b" | c',
    }
    assert row["changed_columns"] == list(dict(row["new_values"]))


def test_flag_and_publication_date_and_spelling_of_numbers_are_no_change(stager: Stager) -> None:
    old: dict[int, Row] = {1: {"amount": "10.00"}, 2: {"amount": "10"}}
    new: dict[int, Row] = {
        1: {"amount": "10.0", "change_type": "CHANGED"},
        2: {"amount": "10.00", "number_of_payments_included_in_total_amount": "01"},
    }
    assert compare(stager, old, new) == {}


def test_ownership_moves_in_both_measures(stager: Stager) -> None:
    eras = era("O4", 2021, "2023-06-30"), era("O4", 2021, "2024-01-18")
    changes = compare(
        stager,
        {1: {"amount": "5.00"}, 2: {}},
        {1: {"value_of_interest": "1000.00"}},
        eras=eras,
    )
    moved = {k: (x["amount_moved"], x["value_of_interest_moved"]) for k, x in changes.items()}
    assert moved == {
        "1": (Decimal("-5.00"), Decimal("670.00")),
        "2": (Decimal("0.00"), Decimal("-330.00")),
    }
    assert changes["1"]["value_of_interest_before"] == Decimal("330.00")
    assert changes["1"]["value_of_interest_after"] == Decimal("1000.00")


def test_datasets_without_interest_have_none(stager: Stager) -> None:
    [row] = compare(stager, {1: {}}, {}).values()
    assert row["value_of_interest_before"] is None
    assert row["value_of_interest_moved"] is None


BAD: Row = {"amount": "1E+05"}


@pytest.mark.parametrize(
    ("old", "new", "kind", "where", "moved"),
    [
        ({}, BAD, "changed", "this", "-90.87"),
        (BAD, {}, "changed", "previous", "90.87"),
        (None, BAD, "added", "this", "0.00"),
        (BAD, None, "removed", "previous", "0.00"),
    ],
)
def test_a_record_that_moves_in_or_out_of_quarantine_is_followed(
    stager: Stager, old: Row | None, new: Row | None, kind: str, where: str, moved: str
) -> None:
    before: dict[int, Row] = {1: {}} | ({} if old is None else {2: old})
    after: dict[int, Row] = {1: {}} | ({} if new is None else {2: new})
    changes = compare(stager, before, after)
    assert kinds(changes) == {"2": kind}
    row = changes["2"]
    assert row["quarantined_in"] == where
    assert row["amount_moved"] == Decimal(moved)
    assert (row["changed_columns"], row["old_values"], row["new_values"]) == ([], None, None)
    assert row["company_id"] == "100000000326"
    assert row["change_type"] == (None if kind == "removed" else "NEW")


def test_a_record_in_quarantine_in_both_releases_is_not_listed(stager: Stager) -> None:
    assert compare(stager, {1: BAD}, {1: {"amount": "2E+05"}}) == {}


def test_a_record_id_that_repeats_is_one_record(stager: Stager) -> None:
    def twice(at: Era) -> list[dict[str, str | None]]:
        return [clean_row(at, 1), clean_row(at, 1, {f"{COMPANY}_name": "Other"})]

    before = stager.release(OLD, [clean_row(OLD, 1)])
    after = stager.release(NEW, twice(NEW))
    [row] = stager.rows_of(release_changes(before, after, 2021))
    assert (row["kind"], row["quarantined_in"]) == ("changed", "this")
    assert row["amount_after"] == Decimal("181.74")


def test_rows_without_a_record_id_are_left_out(stager: Stager) -> None:
    lost: Row = {"record_id": None}
    assert compare(stager, {1: {}, 2: lost}, {1: {}, 2: lost, 3: lost}) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (era("G3", 2018, "2022-01-21"), era("G4", 2018, "2022-06-30")),
        (era("R1", 2013, "2015-06-30"), era("R2", 2013, "2016-06-30")),
        (era("R3", 2018, "2022-01-21"), era("R4", 2018, "2022-06-30")),
        (era("O2", 2018, "2022-01-21"), era("O4", 2018, "2022-06-30")),
        (era("G4", 2018, "2022-06-30"), era("G3", 2018, "2022-01-21")),
    ],
    ids=lambda x: x.layout.name,
)
def test_a_republication_in_another_layout_changes_only_what_differs(
    stager: Stager, old: Era, new: Era
) -> None:
    changed: Row = {"recipient_city": "La Jolla"}
    changes = compare(stager, {1: {}, 2: {}, 3: {}}, {1: {}, 2: changed, 4: {}}, eras=(old, new))
    assert kinds(changes) == {"2": "changed", "3": "removed", "4": "added"}
    assert changes["2"]["changed_columns"] == ["recipient_city"]


def test_a_column_that_one_layout_lacks_is_compared_away(stager: Stager) -> None:
    eras = era("G3", 2018, "2022-01-21"), era("G4", 2018, "2022-06-30")
    only_new = {c for c in eras[1].columns - eras[0].columns if "primary_type_2" in c}
    assert only_new
    changes = compare(stager, {1: {}}, {1: dict.fromkeys(only_new, "Dentist")}, eras=eras)
    assert changes == {}
    compared = {c.name for c in common_columns(eras[0].layout, eras[1].layout)}
    assert not compared & {"record_id", "change_type", "payment_publication_date", *only_new}


def test_a_specialty_path_that_is_only_delimited_anew_is_no_change(stager: Stager) -> None:
    old, new = era("G1", 2014, "2015-06-30"), era("G2", 2014, "2016-06-30")
    assert is_before_june_2016(old)
    assert not is_before_june_2016(new)
    assert compare(stager, {1: {}}, {1: {}}, eras=(old, new)) == {}


def test_releases_without_rows_compare(stager: Stager) -> None:
    assert compare(stager, {}, {}) == {}
    assert kinds(compare(stager, {1: {}}, {})) == {"1": "removed"}
    assert kinds(compare(stager, {}, {1: {}})) == {"1": "added"}


def test_money_is_counted_by_kind_and_flag(stager: Stager) -> None:
    dispute: Row = {"dispute_status_for_publication": "Yes", "change_type": "CHANGED"}
    before = stager.release(OLD, rows_of(OLD, {1: {}, 2: {}, 3: {}, 4: {}}))
    unchanged: Row = {"change_type": "UNCHANGED"}
    after = stager.release(
        NEW,
        rows_of(NEW, {1: dispute, 2: {"amount": "1.00", **unchanged}, 3: unchanged, 5: {}}),
    )
    found = stager.rows_of(summary(release_changes(before, after, 2021)))
    counted = {
        (x["kind"], x["change_type"]): (x["rows"], x["disputes"], x["amount"]) for x in found
    }
    assert counted == {
        ("changed", "CHANGED"): (1, 1, Decimal("0.00")),
        ("changed", "UNCHANGED"): (1, 0, Decimal("-89.87")),
        ("removed", None): (1, 0, Decimal("-90.87")),
        ("added", "NEW"): (1, 0, Decimal("90.87")),
    }
    flags = {x["change_type"]: x["rows"] for x in stager.rows_of(flagged(after.staged))}
    assert flags == {"CHANGED": 1, "UNCHANGED": 2, "NEW": 1}


def test_the_release_is_the_one_compared_and_not_the_day_in_the_rows(stager: Stager) -> None:
    before = stager.release(OLD, rows_of(OLD, {1: {}}))
    after = replace(stager.release(NEW, []), release=date(2030, 1, 1))
    [row] = stager.rows_of(release_changes(before, after, 2021))
    assert row["release"] == date(2030, 1, 1)
