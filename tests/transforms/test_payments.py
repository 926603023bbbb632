"""Payments: one row per record of any dataset and layout, one meaning per column."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import ibis
import pytest
from cms_files import ALL_ERAS, COMPANY, NPI, Era, Row, clean_row, entity, era, hospital
from staged import Stager

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import curated_table
from openpay_assets.contracts.rules import PRACTITIONER
from openpay_assets.transforms.payments import payments

TABLE = curated_table("payments")


def curate(stager: Stager, at: Era, *overrides: Row) -> list[dict[str, Any]]:
    return stager.curate(at, overrides or ({},), _payments, "source_row")


def _payments(staged: ibis.Table, at: Era) -> ibis.Table:
    return payments(staged, at.dataset)


def filled(row: dict[str, Any]) -> set[str]:
    return {name for name, value in row.items() if value is not None}


LINEAGE = {
    "dataset": "",
    "program_year": 0,
    "record_id": "345000001",
    "release": None,
    "source_file": "",
    "source_row": 1,
    "row_hash": "",
    "warnings": [],
}
SHARED = {
    "change_type": "NEW",
    "city": "San Diego",
    "state": "CA",
    "zip_code": "92123-1234",
    "country": "United States",
    "company_id": "100000000326",
    "company_name": "DFINE, Inc",
    "company_state": "CA",
    "company_country": "United States",
    "submitting_company_name": "DFINE, Inc",
    "is_disputed": False,
}
PHYSICIAN = {
    "recipient_key": "physician:132655",
    "recipient_type": "physician",
    "recipient_name": "ALZATE, GREGG",
    "profile_id": "132655",
    "npi": NPI,
    "first_name": "GREGG",
    "middle_name": "D",
    "last_name": "ALZATE",
    "primary_type": "Medical Doctor",
    "specialty": "Allopathic & Osteopathic Physicians|Radiology|Diagnostic Radiology",
    "amount": Decimal("90.87"),
    "date_of_payment": date(2016, 11, 12),
    "form_of_payment": "Cash or cash equivalent",
    "related_product": "Yes",
    "product_count": 1,
}
GENERAL = {
    "number_of_payments": 1,
    "nature_of_payment": "Consulting Fee",
    "physician_ownership": False,
    "third_party_recipient": "No Third Party Payment",
    "third_party_is_charity": False,
    "contextual_information": "Advisory board",
    "investigator_count": 0,
}
RESEARCH = {
    "is_preclinical": False,
    "expenditure_categories": "Patient Care",
    "study_name": "A study of bones",
    "clinicaltrials_id": "NCT01234567",
    "investigator_count": 1,
}
OWNERSHIP = {
    "recipient_key": "physician:1156082",
    "recipient_name": "Azagury, Dan",
    "profile_id": "1156082",
    "npi": NPI,
    "first_name": "Dan",
    "last_name": "Azagury",
    "primary_type": "Medical Doctor",
    "specialty": "Allopathic & Osteopathic Physicians|Surgery",
    "amount": Decimal("0.00"),
    "value_of_interest": Decimal("330.00"),
    "terms_of_interest": "Common Stock shareholder",
    "interest_holder": "Physician Covered Recipient",
    "product_count": 0,
    "investigator_count": 0,
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("G4", SHARED | PHYSICIAN | GENERAL),
        ("R4", SHARED | PHYSICIAN | RESEARCH),
        ("O4", SHARED | OWNERSHIP),
    ],
)
def test_a_record_has_these_values_and_no_others(
    stager: Stager, name: str, expected: dict[str, Any]
) -> None:
    at = era(name, 2016)
    [row] = curate(stager, at)
    assert list(row) == TABLE.column_names
    assert {k: row[k] for k in expected} == expected
    assert filled(row) == set(expected) | set(LINEAGE)


@pytest.mark.parametrize("at", ALL_ERAS, ids=str)
def test_every_layout_gives_the_same_payment(stager: Stager, at: Era) -> None:
    [row] = curate(stager, at)
    expected = SHARED | (OWNERSHIP if at.dataset is Dataset.OWNERSHIP else PHYSICIAN)
    differs = {"change_type", "npi", "date_of_payment", "related_product"}
    same = {k: v for k, v in expected.items() if k not in differs}
    assert {k: row[k] for k in same} == same
    assert row["npi"] == (NPI if {"covered_recipient_npi", "physician_npi"} & at.columns else None)
    assert row["change_type"] == ("NEW" if "change_type" in at.columns else None)
    if at.dataset is not Dataset.OWNERSHIP:
        modern = "related_product_indicator" in at.columns
        assert row["related_product"] == ("Yes" if modern else "Covered")
        assert row["date_of_payment"] == date(at.program_year, 11, 12)


@pytest.mark.parametrize("name", ["G4", "G1", "R4"])
def test_a_hospital_is_the_recipient_by_its_id_and_has_no_person(stager: Stager, name: str) -> None:
    at = era(name, 2014 if name == "G1" else 2016)
    [row] = curate(stager, at, hospital(at, covered_recipient_middle_name=None))
    assert row["recipient_key"] == "hospital:2001"
    assert row["recipient_type"] == "teaching_hospital"
    assert row["recipient_name"] == row["hospital_name"] == "Stanford Health Care"
    assert row["hospital_id"] == "2001"
    assert row["hospital_ccn"] == (None if name == "G1" else "050441")
    assert row["profile_id"] is None


def test_an_entity_is_the_recipient_by_its_name_in_upper_case(stager: Stager) -> None:
    at = era("R4")
    individual = {"covered_recipient_type": "Non-covered Recipient Individual"}
    nameless = entity(at, noncovered_recipient_entity_name=None) | individual
    one, other = curate(stager, at, entity(at, covered_recipient_middle_name=None), nameless)
    assert one["recipient_key"] == "entity:IOWA RESEARCH INSTITUTE"
    assert one["recipient_type"] == "noncovered_entity"
    assert one["noncovered_recipient_name"] == "Iowa Research Institute"
    assert other["recipient_key"] == "individual:not named"
    assert other["recipient_type"] == "noncovered_individual"


def test_a_practitioner_has_a_type_of_its_own(stager: Stager) -> None:
    [row] = curate(stager, era("G4", 2023), {"covered_recipient_type": PRACTITIONER})
    assert row["recipient_type"] == "non_physician_practitioner"
    assert row["recipient_key"] == "physician:132655"


@pytest.mark.parametrize("name", ["US", "usa", "United States", "UNITED STATES", "united states"])
def test_the_united_states_have_one_name(stager: Stager, name: str) -> None:
    at = era("O4")
    [row] = curate(stager, at, {"recipient_country": name, f"{COMPANY}_country": name})
    assert (row["country"], row["company_country"]) == ("United States", "United States")


def test_another_country_stays_as_reported(stager: Stager) -> None:
    [row] = curate(stager, era("O4"), {"recipient_country": "Great Britain (Uk)"})
    assert row["country"] == "Great Britain (Uk)"


def test_an_invalid_npi_is_left_empty_and_a_missing_one_too(stager: Stager) -> None:
    rows = curate(stager, era("O4"), *({"physician_npi": x} for x in (NPI, "042697983", None)))
    assert [row["npi"] for row in rows] == [NPI, None, None]


def test_yes_and_no_are_booleans_and_anything_else_is_empty(stager: Stager) -> None:
    said = ("Yes", "No", "true", None)
    rows = curate(stager, era("O4"), *({"dispute_status_for_publication": x} for x in said))
    assert [row["is_disputed"] for row in rows] == [True, False, None, None]


def test_a_product_indicator_has_one_spelling(stager: Stager) -> None:
    [row] = curate(stager, era("G2"), {"legacy_product_indicator": "Non-covered"})
    assert row["related_product"] == "Non-Covered"


def test_a_nature_has_one_spelling(stager: Stager) -> None:
    at, column = era("G4"), "nature_of_payment_or_transfer_of_value"
    spellings = ("fees (teaching", "fees(teaching")
    natures = [f"Space rental or facility {x} hospital only)" for x in spellings]
    rows = curate(stager, at, *(hospital(at) | {column: x} for x in natures))
    assert {row["nature_of_payment"] for row in rows} == {natures[0]}


def test_third_parties_and_travel_are_taken_over(stager: Stager) -> None:
    travel = {
        "nature_of_payment_or_transfer_of_value": "Travel and Lodging",
        "city_of_travel": "Paris",
        "state_of_travel": "CA",
        "country_of_travel": "France",
        "third_party_payment_recipient_indicator": "Entity",
        "name_of_third_party_entity_receiving_payment_or_transfer_of_value": "A Charity",
        "charity_indicator": "Yes",
        "third_party_equals_covered_recipient_indicator": "No",
    }
    [row] = curate(stager, era("G4"), travel)
    assert (row["travel_city"], row["travel_state"], row["travel_country"]) == (
        "Paris",
        "CA",
        "France",
    )
    assert (row["third_party_recipient"], row["third_party_name"]) == ("Entity", "A Charity")
    assert (row["third_party_is_charity"], row["third_party_is_covered_recipient"]) == (True, False)


def test_expenditure_categories_are_listed_in_order(stager: Stager) -> None:
    categories = {"expenditure_category1": None, "expenditure_category2": "Overhead"}
    one, none = curate(
        stager,
        era("R4"),
        categories | {"expenditure_category6": "Other"},
        {"expenditure_category1": None},
    )
    assert one["expenditure_categories"] == "Overhead|Other"
    assert none["expenditure_categories"] is None


@pytest.mark.parametrize(
    ("last", "first", "name"),
    [("DOE", "ANN", "DOE, ANN"), ("DOE", None, "DOE"), (None, "ANN", "ANN"), (None, None, None)],
)
def test_a_person_is_named_by_what_there_is(
    stager: Stager, last: str | None, first: str | None, name: str | None
) -> None:
    names = {"physician_last_name": last, "physician_first_name": first}
    [row] = curate(stager, era("O1"), names)
    assert row["recipient_name"] == name


def test_both_measures_of_ownership_are_kept_apart(stager: Stager) -> None:
    pairs = [("100.00", "5.00"), ("0.00", "7.25")]
    overrides = [{"amount": a, "value_of_interest": v} for a, v in pairs]
    rows = curate(stager, era("O4"), *overrides)
    assert sum(row["amount"] for row in rows) == Decimal("100.00")
    assert sum(row["value_of_interest"] for row in rows) == Decimal("12.25")


def test_records_alike_but_for_their_id_are_all_kept(stager: Stager) -> None:
    rows = curate(stager, era("O4"), {}, {}, {})
    assert len(rows) == 3
    assert len({row["row_hash"] for row in rows}) == 1
    assert len({row["record_id"] for row in rows}) == 3


def test_warnings_stay_with_the_payment(stager: Stager) -> None:
    [row] = curate(stager, era("O4"), {"recipient_state": "0R"})
    assert row["warnings"] == ["state_known"]
    assert row["state"] == "0R"
    assert clean_row(era("O4"))["recipient_state"] == "CA"


@pytest.mark.parametrize(
    ("reported", "curated"),
    [
        ("#N/A", None),
        ("'#REF!", None),
        ("-- SELECT --", None),
        ("'DAVID", "DAVID"),
        ("\tDAVID", "DAVID"),
        ('"DAVID"', "DAVID"),
        ("'", None),
    ],
)
def test_what_a_spreadsheet_left_is_cleaned_where_staging_warned(
    stager: Stager, reported: str, curated: str | None
) -> None:
    typed = {"covered_recipient_first_name": reported, "recipient_city": reported}
    [row] = curate(stager, era("G4"), typed)
    assert (row["first_name"], row["city"]) == (curated, curated)
    last = row["last_name"]
    assert row["recipient_name"] == (f"{last}, {curated}" if curated else last)
    assert "no_spreadsheet_debris" in row["warnings"]


def test_quotes_and_apostrophes_within_a_value_stay(stager: Stager) -> None:
    typed = {"covered_recipient_last_name": "O'NEIL", "contextual_information": 'the "Day" of it'}
    [row] = curate(stager, era("G4"), typed)
    assert (row["last_name"], row["contextual_information"]) == ("O'NEIL", 'the "Day" of it')
