"""Products: a row per filled slot; weights and cents sum back to the payment, exactly."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import ibis
import pytest
from cms_files import (
    CATEGORY,
    COVERED,
    KIND,
    LEGACY_DEVICE,
    LEGACY_DRUG,
    LEGACY_NDC,
    NAME,
    NDC,
    PDI,
    Era,
    Row,
    era,
)
from hypothesis import given
from hypothesis import strategies as st
from staged import BATCH, Stager

from openpay_assets.contracts.registry import curated_table
from openpay_assets.transforms.products import ndc_11, payment_products

G4, G2 = era("G4", 2023), era("G2")
MOST = 10**18 - 1
"""Cents of the largest amount that a contract can hold."""


def curate(stager: Stager, at: Era, *overrides: Row) -> list[dict[str, Any]]:
    return stager.curate(at, overrides or ({},), _products, "record_id", "slot")


def _products(staged: ibis.Table, at: Era) -> ibis.Table:
    products = payment_products(staged, at.layout)
    assert list(products.columns) == curated_table("payment_products").column_names
    return products


def slots(*numbers: int) -> dict[str, str | None]:
    """Overrides that fill these product slots by name, and no other."""
    row: dict[str, str | None] = {f"{x}_1": None for x in (NAME, KIND, COVERED, CATEGORY, NDC)}
    return row | {f"{NAME}_{n}": f"Product {n}" for n in numbers}


@BATCH
@given(
    st.lists(
        st.tuples(st.integers(0, MOST) | st.integers(0, 100), st.integers(1, 5)),
        min_size=20,
        max_size=40,
    )
)
def test_weights_sum_to_one_and_cents_to_the_payment(
    stager: Stager, payments: list[tuple[int, int]]
) -> None:
    overrides = [
        slots(*range(1, count + 1)) | {"amount": f"{cents // 100}.{cents % 100:02}"}
        for cents, count in payments
    ]
    found = defaultdict(list)
    for row in curate(stager, G4, *overrides):
        found[row["record_id"]].append(row)
    assert len(found) == len(payments)
    for rows, (cents, count) in zip(found.values(), payments, strict=True):
        shares = [int(row["allocated_amount"] * 100) for row in rows]
        assert len(rows) == count
        assert sum(shares) == cents
        assert max(shares) - min(shares) <= 1
        assert shares == sorted(shares, reverse=True)
        assert sum(row["weight"] for row in rows) == pytest.approx(1, abs=1e-12)


def test_a_payment_without_products_has_no_row(stager: Stager) -> None:
    nothing = slots() | {"related_product_indicator": "No"}
    rows = curate(stager, G4, nothing, {})
    assert [row["record_id"] for row in rows] == ["345000002"]


def test_a_slot_counts_when_anything_in_it_is_filled(stager: Stager) -> None:
    rows = curate(stager, G4, slots(1) | {f"{CATEGORY}_4": "Oncology"})
    assert [(row["slot"], row["product_name"], row["is_named"]) for row in rows] == [
        (1, "Product 1", True),
        (4, None, False),
    ]


def test_a_product_keeps_what_was_reported_about_it(stager: Stager) -> None:
    [row] = curate(stager, G4)
    assert list(row) == curated_table("payment_products").column_names
    expected = {
        "dataset": "general",
        "program_year": 2023,
        "record_id": "345000001",
        "slot": 1,
        "product_name": "Trulicity",
        "is_named": True,
        "product_kind": "Drug",
        "is_covered": True,
        "product_category": "Oncology",
        "ndc": "0002-1433-80",
        "ndc_11": "00002143380",
        "pdi": None,
        "weight": 1.0,
        "allocated_amount": Decimal("90.87"),
        "company_id": "100000000326",
        "recipient_key": "physician:132655",
        "is_disputed": False,
        "release": G4.release,
    }
    assert row == expected


@pytest.mark.parametrize(
    ("said", "covered"), [("Covered", True), ("Non-Covered", False), ("true", None), (None, None)]
)
def test_a_product_is_covered_when_cms_says_so(
    stager: Stager, said: str | None, covered: bool | None
) -> None:
    [row] = curate(stager, G4, {f"{COVERED}_1": said})
    assert row["is_covered"] is covered


@pytest.mark.parametrize("name", ["N/A", "no product specified", "VARIOUS", "-", "7", None])
def test_a_name_that_names_nothing_is_kept_and_marked(stager: Stager, name: str | None) -> None:
    [row] = curate(stager, G4, {f"{NAME}_1": name})
    assert (row["product_name"], row["is_named"]) == (name, False)


@pytest.mark.parametrize("layout", ["G0", "G2n", "R1"])
def test_old_layouts_have_drugs_in_slots_1_to_5_and_devices_in_6_to_10(
    stager: Stager, layout: str
) -> None:
    every = {f"{LEGACY_DRUG}_{n}": f"Drug {n}" for n in range(1, 6)}
    every |= {f"{LEGACY_DEVICE}_{n}": f"Device {n}" for n in range(1, 6)}
    every |= {f"{LEGACY_NDC}_2": "50242-040-62", "amount": "0.12"}
    rows = curate(stager, era(layout), every)
    assert [row["slot"] for row in rows] == list(range(1, 11))
    drugs, devices = rows[:5], rows[5:]
    assert [row["product_name"] for row in drugs] == [f"Drug {n}" for n in range(1, 6)]
    assert [row["product_name"] for row in devices] == [f"Device {n}" for n in range(1, 6)]
    assert {row["product_kind"] for row in drugs} == {"Drug or Biological"}
    assert {row["product_kind"] for row in devices} == {"Device or Medical Supply"}
    assert all(row["is_covered"] for row in rows)
    assert [row["ndc_11"] for row in rows] == ["00002143380", "50242004062", *[None] * 8]
    assert sum(row["allocated_amount"] for row in rows) == Decimal("0.12")
    assert [row["allocated_amount"] for row in rows][:3] == [Decimal("0.02")] * 2 + [
        Decimal("0.01")
    ]


def test_devices_alone_start_at_slot_6(stager: Stager) -> None:
    only = {f"{LEGACY_DRUG}_1": None, f"{LEGACY_NDC}_1": None, f"{LEGACY_DEVICE}_1": "Stent"}
    [row] = curate(stager, G2, only)
    assert (row["slot"], row["weight"], row["ndc"]) == (6, 1.0, None)


@pytest.mark.parametrize("pdi", ["'00370858000041", "  00370858000041", "00370858000041"])
def test_a_device_identifier_loses_what_a_spreadsheet_added(stager: Stager, pdi: str) -> None:
    device = {f"{KIND}_1": "Device", f"{NDC}_1": None, f"{PDI}_1": pdi}
    [row] = curate(stager, G4, device)
    assert row["pdi"] == "00370858000041"


@pytest.mark.parametrize("layout", ["O4", "O0"])
def test_ownership_has_no_products_but_the_columns_of_the_table(
    stager: Stager, layout: str
) -> None:
    assert curate(stager, era(layout)) == []


NDCS = {
    "0002-1433-80": "00002143380",
    "50242-040-62": "50242004062",
    "50242-0040-6": "50242004006",
    "50242-0040-62": "50242004062",
    "50242004062": "50242004062",
    "5024204062": None,
    "0002143380": None,
    "502420-040-62": None,
    "0002-1433": None,
    "N/A": None,
    "": None,
}


def test_a_drug_code_is_written_in_11_digits_when_its_form_says_which_are_missing() -> None:
    t = ibis.memtable({"ndc": list(NDCS)})
    rows = t.select("ndc", eleven=ndc_11(t.ndc)).to_pyarrow().to_pylist()
    assert {row["ndc"]: row["eleven"] for row in rows} == NDCS


@given(st.integers(0, 10**11 - 1))
def test_the_hyphens_of_a_whole_drug_code_are_all_it_loses(number: int) -> None:
    digits = f"{number:011}"
    t = ibis.memtable({"ndc": [f"{digits[:5]}-{digits[5:9]}-{digits[9:]}"]})
    assert ndc_11(t.ndc).to_pyarrow().to_pylist() == [digits]


@pytest.mark.parametrize(("reported", "curated"), [("#N/A", None), ("'Ozempic", "Ozempic")])
def test_what_a_spreadsheet_left_is_cleaned_and_the_slot_stays(
    stager: Stager, reported: str, curated: str | None
) -> None:
    [row] = curate(stager, G4, {f"{NAME}_1": reported, f"{CATEGORY}_1": reported})
    assert (row["product_name"], row["product_category"]) == (curated, curated)
    assert row["is_named"] is (curated is not None)
