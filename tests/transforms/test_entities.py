"""Entities: one row each, with the values of the latest record; ties cannot change a result."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import ibis
import pytest
from cms_files import COMPANY, Era, Row, era, hospital
from hypothesis import given
from hypothesis import strategies as st
from staged import BATCH, Stager

from openpay_assets.contracts.registry import curated_table
from openpay_assets.contracts.rules import PRACTITIONER
from openpay_assets.transforms import entities
from openpay_assets.transforms.investigators import investigators
from openpay_assets.transforms.payments import payments

G4, R4, O4 = era("G4"), era("R4"), era("O4")
FIRST = "covered_recipient_first_name"


def _physicians(staged: ibis.Table, at: Era) -> ibis.Table:
    received = payments(staged, at.dataset)
    found = entities.physicians(received, investigators(staged, at.layout))
    assert list(found.columns) == curated_table("physicians").column_names
    return found


def _companies(staged: ibis.Table, at: Era) -> ibis.Table:
    return entities.companies(payments(staged, at.dataset))


def _hospitals(staged: ibis.Table, at: Era) -> ibis.Table:
    return entities.hospitals(payments(staged, at.dataset))


def physicians(stager: Stager, at: Era, *rows: Row) -> list[dict[str, Any]]:
    return stager.curate(at, rows, _physicians, "profile_id")


def companies(stager: Stager, at: Era, *rows: Row) -> list[dict[str, Any]]:
    return stager.curate(at, rows, _companies, "company_id")


def hospitals(stager: Stager, at: Era, *rows: Row) -> list[dict[str, Any]]:
    return stager.curate(at, rows, _hospitals, "hospital_id")


def test_a_physician_is_as_on_the_latest_day(stager: Stager) -> None:
    [row] = physicians(
        stager,
        G4,
        {"date_of_payment": "03/01/2016", FIRST: "OLD", "recipient_city": "Reno"},
        {"date_of_payment": "11/30/2016", FIRST: "NEW", "recipient_city": None},
        {"date_of_payment": "07/01/2016", FIRST: "MIDDLE"},
    )
    assert (row["first_name"], row["city"]) == ("NEW", None)
    assert row["last_seen_on"] == date(2016, 11, 30)
    assert (row["records_as_recipient"], row["records_as_investigator"]) == (3, 0)


@pytest.mark.parametrize("ids", [("9", "10"), ("10", "9"), ("99", "100"), ("2", "1" * 38)])
def test_on_one_day_the_highest_record_id_wins_as_a_number(
    stager: Stager, ids: tuple[str, str]
) -> None:
    [row] = physicians(stager, G4, *({"record_id": x, FIRST: f"OF {x}"} for x in ids))
    assert row["first_name"] == f"OF {max(ids, key=int)}"


def test_in_ownership_the_record_id_alone_decides(stager: Stager) -> None:
    first = "physician_first_name"
    rows = ({"record_id": x, first: f"OF {x}"} for x in ("9", "10"))
    [row] = physicians(stager, O4, *rows)
    assert (row["first_name"], row["last_seen_on"]) == ("OF 10", None)
    assert row["records_as_recipient"] == 2


def test_a_clinician_is_counted_as_recipient_and_as_investigator(stager: Stager) -> None:
    profile = "principal_investigator_{}_profile_id"
    rows = physicians(
        stager,
        R4,
        {profile.format(1): "132655", profile.format(2): "5002"},
        {profile.format(1): "5002", profile.format(2): "5002"},
    )
    counts = {
        x["profile_id"]: (x["records_as_recipient"], x["records_as_investigator"]) for x in rows
    }
    assert counts == {"132655": (2, 1), "5002": (0, 3)}


def test_the_type_is_that_of_the_last_record_that_says_it(stager: Stager) -> None:
    r3 = era("R3")
    received = {"date_of_payment": "01/02/2016", "covered_recipient_profile_id": "5001"}
    named = {"date_of_payment": "05/01/2016", "principal_investigator_1_last_name": "LATER"}
    found = {x["profile_id"]: x for x in physicians(stager, r3, received, named)}
    assert found["5001"]["last_name"] == "LATER"
    assert found["5001"]["recipient_type"] == "physician"
    kinds = [{"covered_recipient_type": PRACTITIONER, "date_of_payment": "12/31/2016"}, {}]
    [row] = physicians(stager, G4, *kinds)
    assert row["recipient_type"] == "non_physician_practitioner"


def test_named_twice_on_one_record_the_first_slot_wins_and_the_recipient_before_both(
    stager: Stager,
) -> None:
    slot, last = "principal_investigator_{}_profile_id", "principal_investigator_{}_last_name"
    twice = {slot.format(n): "7" for n in (1, 2)} | {last.format(n): f"SLOT {n}" for n in (1, 2)}
    recipient = {slot.format(n): "132655" for n in (1, 2)}
    found = {x["profile_id"]: x["last_name"] for x in physicians(stager, R4, twice, recipient)}
    assert found == {"7": "SLOT 1", "132655": "ALZATE"}


def test_an_investigator_without_profile_is_no_entity(stager: Stager) -> None:
    assert [x["profile_id"] for x in physicians(stager, era("R0"), {})] == ["132655"]


def test_a_company_is_as_on_its_latest_record_with_its_sums(stager: Stager) -> None:
    name, other = f"{COMPANY}_name", {f"{COMPANY}_id": "7", f"{COMPANY}_name": "Other"}
    rows = companies(
        stager,
        G4,
        {name: "NOVARTIS", "date_of_payment": "01/02/2016", "amount": "0.01"},
        {name: "Novartis", "date_of_payment": "01/03/2016", "amount": "0.02"},
        other,
    )
    found = {x["company_id"]: x for x in rows}
    novartis = found["100000000326"]
    assert (novartis["company_name"], novartis["records"]) == ("Novartis", 2)
    assert (novartis["amount"], novartis["last_seen_on"]) == (Decimal("0.03"), date(2016, 1, 3))
    assert (found["7"]["company_name"], found["7"]["records"]) == ("Other", 1)


def test_a_hospital_is_as_on_its_latest_record_and_people_are_none(stager: Stager) -> None:
    rows = hospitals(
        stager,
        G4,
        hospital(G4, date_of_payment="01/02/2016", teaching_hospital_name="Old Name"),
        hospital(G4, date_of_payment="01/03/2016"),
        {},
    )
    assert [(x["hospital_id"], x["hospital_name"], x["records"]) for x in rows] == [
        ("2001", "Stanford Health Care", 2)
    ]
    assert rows[0]["hospital_ccn"] == "050441"


def test_ownership_has_companies_and_no_hospitals(stager: Stager) -> None:
    assert hospitals(stager, O4, {}) == []
    [company] = companies(stager, O4, {"amount": "5.00"})
    assert (company["amount"], company["last_seen_on"]) == (Decimal("5.00"), None)


@BATCH
@given(st.permutations(range(6)))
def test_the_order_of_the_rows_changes_nothing(stager: Stager, order: list[int]) -> None:
    rows = [
        {
            "record_id": str(100 + n),
            "physician_first_name": f"NAME {n}",
            f"{COMPANY}_name": f"COMPANY {n}",
            "physician_profile_id": str(1 + n % 2),
        }
        for n in range(6)
    ]
    rows = [rows[n] for n in order]
    assert [(x["profile_id"], x["first_name"]) for x in physicians(stager, O4, *rows)] == [
        ("1", "NAME 4"),
        ("2", "NAME 5"),
    ]
    [company] = companies(stager, O4, *rows)
    assert company["company_name"] == "COMPANY 5"
