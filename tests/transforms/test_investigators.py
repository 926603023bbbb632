"""Investigators: a row per filled slot in every layout, the whole payment beside each."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import ibis
import pytest
from cms_files import NPI, Era, Row, era, hospital
from staged import Stager

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import curated_table, layouts
from openpay_assets.transforms.investigators import investigators

TABLE = curated_table("investigators")
SHARED = {
    "dataset": "research",
    "record_id": "345000001",
    "slot": 1,
    "associated_amount": Decimal("90.87"),
    "company_id": "100000000326",
    "recipient_key": "physician:132655",
}


def curate(stager: Stager, at: Era, *overrides: Row) -> list[dict[str, Any]]:
    return stager.curate(at, overrides or ({},), _investigators, "record_id", "slot")


def _investigators(staged: ibis.Table, at: Era) -> ibis.Table:
    found = investigators(staged, at.layout)
    assert list(found.columns) == TABLE.column_names
    return found


@pytest.mark.parametrize("name", [x.name for x in layouts(Dataset.RESEARCH)][1:])
def test_an_investigator_is_read_in_every_layout(stager: Stager, name: str) -> None:
    at = era(name)
    [row] = curate(stager, at)
    assert list(row) == TABLE.column_names
    expected = SHARED | {
        "program_year": at.program_year,
        "profile_id": "5001",
        "full_name": "CURIE, MARIA",
        "first_name": "MARIA",
        "last_name": "CURIE",
        "city": "Iowa City",
        "state": "IA",
        "zip_code": "52242",
        "country": "United States",
        "primary_type": "Medical Doctor",
        "npi": NPI if "principal_investigator_1_npi" in at.columns else None,
        "recipient_type": "physician" if name == "R4" else None,
    }
    assert {k: row[k] for k in expected} == expected


def test_the_first_layout_has_names_in_free_text_and_no_profile(stager: Stager) -> None:
    at = era("R0")
    more = {"legacy_principal_investigator_2_full_name": "Niels Bohr, M.D."}
    first, second = curate(stager, at, more)
    assert (first["slot"], first["full_name"]) == (1, "Maria Curie")
    assert (second["slot"], second["full_name"]) == (2, "Niels Bohr, M.D.")
    assert {first["profile_id"], first["last_name"], first["npi"]} == {None}


def test_every_filled_slot_is_a_row_with_the_whole_payment(stager: Stager) -> None:
    others = {f"principal_investigator_{n}_profile_id": f"500{n}" for n in range(2, 6)}
    rows = curate(stager, era("R4"), others)
    assert [(row["slot"], row["profile_id"]) for row in rows] == [
        (n, f"500{n}") for n in range(1, 6)
    ]
    assert {row["associated_amount"] for row in rows} == {Decimal("90.87")}


def test_a_slot_counts_when_anything_in_it_is_filled(stager: Stager) -> None:
    rows = curate(stager, era("R4"), {"principal_investigator_2_zip_code": "52242"})
    assert [(row["slot"], row["zip_code"]) for row in rows] == [(1, "52242"), (2, "52242")]


def test_a_payment_without_investigators_has_no_row(stager: Stager) -> None:
    at = era("R4")
    nobody = {x: None for x in at.columns if "principal_investigator" in x}
    assert curate(stager, at, nobody) == []


def test_the_money_went_to_the_recipient(stager: Stager) -> None:
    at = era("R4")
    [row] = curate(stager, at, hospital(at, covered_recipient_middle_name=None))
    assert (row["recipient_key"], row["profile_id"]) == ("hospital:2001", "5001")


def test_an_invalid_npi_of_an_investigator_is_left_empty(stager: Stager) -> None:
    [row] = curate(stager, era("R4"), {"principal_investigator_1_npi": "1234567890"})
    assert row["npi"] is None


def test_a_specialty_path_has_one_delimiter(stager: Stager) -> None:
    path = "Allopathic & Osteopathic Physicians/ Surgery"
    [row] = curate(stager, era("R1"), {"principal_investigator_1_specialty_1": path})
    assert row["specialty"] == "Allopathic & Osteopathic Physicians|Surgery"


@pytest.mark.parametrize("name", ["G4", "O4"])
def test_only_research_has_investigators(stager: Stager, name: str) -> None:
    assert curate(stager, era(name)) == []


def test_what_a_spreadsheet_left_in_a_name_is_cleaned(stager: Stager) -> None:
    typed = {"principal_investigator_1_first_name": "'MARIA"}
    [row] = curate(stager, era("R4"), typed)
    assert (row["first_name"], row["full_name"]) == ("MARIA", "CURIE, MARIA")
    [row] = curate(stager, era("R0"), {"legacy_principal_investigator_1_full_name": "'Maria Curie"})
    assert row["full_name"] == "Maria Curie"
