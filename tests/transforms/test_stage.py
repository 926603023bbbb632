"""Staging: text in any layout becomes one typed shape; nothing is lost, nothing silently NULL."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal

import pytest
from cms_files import ALL_ERAS, COMPANY, Era, clean_row, era
from hypothesis import given
from hypothesis import strategies as st
from staged import BATCH, Stager

from openpay_assets.contracts.model import ColumnType, Dataset
from openpay_assets.contracts.registry import quarantine_table, source_columns, staging_table
from openpay_assets.contracts.rules import typed_columns
from openpay_assets.transforms.stage import NOT_HASHED, QUARANTINED

G4, R4, O4 = era("G4"), era("R4"), era("O4")
CURRENT = (G4, R4, O4)


# --- typing ----------------------------------------------------------------------------------

amounts = st.one_of(
    st.decimals(0, Decimal("9" * 16 + ".99"), places=2).map(str),
    st.integers(0, 10**17).map(str),
    st.from_regex(re.compile(r"[0-9]{0,18}[.]?[0-9]{0,3}", re.ASCII), fullmatch=True),
    st.text("0123456789.,-+eE $\n\t٣", max_size=12),
)


@BATCH
@given(st.lists(amounts, min_size=20, max_size=40))
def test_an_amount_is_typed_exactly_or_its_row_is_set_aside(
    stager: Stager, texts: list[str]
) -> None:
    for text, row in zip(texts, stager.stage_each(O4, [{"amount": x} for x in texts]), strict=True):
        if re.fullmatch(r"[0-9]{1,16}([.][0-9]{1,2})?", text):
            assert (row["amount"], row["quarantined"]) == (Decimal(text), False), text
        else:
            assert row["amount"] is None
            assert row["warnings"] == ["amount_valid"], text


days = st.one_of(
    st.dates(date(1, 1, 1), date(9999, 12, 31)).map(
        lambda x: f"{x.month:02}/{x.day:02}/{x.year:04}"
    ),
    st.builds(
        "{:02}/{:02}/{:04}".format,
        st.integers(0, 13),
        st.integers(0, 32),
        st.sampled_from([0, 1, 1900, 2000, 2015, 2016, 9999]),
    ),
    st.builds("{}/{}/{}".format, st.integers(1, 12), st.integers(1, 31), st.integers(1, 99999)),
    st.text("0123456789/- ٣", max_size=11),
)


def _day(text: str) -> date | None:
    if re.fullmatch(r"[0-9]{2}/[0-9]{2}/[0-9]{4}", text) is None:
        return None
    try:
        return datetime.strptime(text, "%m/%d/%Y").date()
    except ValueError:
        return None


@BATCH
@given(st.lists(days, min_size=20, max_size=40))
def test_an_optional_day_is_typed_exactly_or_kept_as_text_beside_a_warning(
    stager: Stager, texts: list[str]
) -> None:
    staged = stager.stage_each(O4, [{"payment_publication_date": x} for x in texts])
    for text, row in zip(texts, staged, strict=True):
        assert not row["quarantined"]
        assert row["payment_publication_date"] == _day(text), text
        kept = {"Payment_Publication_Date": text} if text and _day(text) is None else None
        assert row["source_values"] == kept
        expected = [] if _day(text) == O4.release else ["publication_date_matches"]
        assert row["warnings"] == expected


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("amount", "5", Decimal("5.00")),
        ("amount", "0000000000000005.1", Decimal("5.10")),
        ("amount", "9" * 16 + ".99", Decimal("9" * 16 + ".99")),
        ("date_of_payment", "02/29/2016", date(2016, 2, 29)),
        ("number_of_payments_included_in_total_amount", "007", 7),
        ("number_of_payments_included_in_total_amount", "9" * 18, 10**18 - 1),
        ("program_year", "2016", 2016),
    ],
)
def test_a_value_keeps_its_meaning(stager: Stager, column: str, text: str, value: object) -> None:
    [row] = stager.stage_each(G4, [{column: text}])
    assert (row[column], row["quarantined"]) == (value, False)


@pytest.mark.parametrize("at", CURRENT, ids=str)
def test_no_text_is_changed_on_the_way(stager: Stager, at: Era) -> None:
    odd = ' O\'Brien, "Ann"\n\t(né|e) 日本 '
    texts = [c.name for c in source_columns(at.dataset) if c.type is ColumnType.TEXT]
    columns = [x for x in texts if x in at.columns]
    staged = stager.stage_each(at, [{name: odd} for name in columns])
    assert [row[name] for name, row in zip(columns, staged, strict=True)] == [odd] * len(columns)


@pytest.mark.parametrize("dataset", Dataset)
def test_the_publication_date_is_the_only_optional_column_that_is_typed(dataset: Dataset) -> None:
    assert [c.name for c in typed_columns(dataset) if not c.required] == [
        "payment_publication_date"
    ]


# --- shape and lineage -----------------------------------------------------------------------


@pytest.mark.parametrize("at", ALL_ERAS, ids=str)
def test_every_layout_becomes_the_one_shape_of_its_dataset(stager: Stager, at: Era) -> None:
    [row] = stager.stage(at, [clean_row(at)])
    assert list(row) == [*staging_table(at.dataset).column_names, QUARANTINED]
    for column in source_columns(at.dataset):
        if column.name not in at.columns:
            assert row[column.name] is None
    texts = {c.name for c in source_columns(at.dataset) if c.type is ColumnType.TEXT}
    given_texts = {k: v for k, v in clean_row(at).items() if k in texts}
    assert {k: row[k] for k in given_texts} == given_texts


def test_a_staged_row_says_where_it_comes_from(stager: Stager) -> None:
    staged = stager.stage_each(G4, [{"recipient_city": "two\nlines"}, {}, {}])
    assert [row["source_row"] for row in staged] == [1, 2, 3]
    for row in staged:
        assert (row["dataset"], row["release"]) == ("general", G4.release)
        assert (row["source_file"], row["run_id"]) == (G4.file_name, "test-run")
        assert row["source_values"] is None


def test_source_rows_are_right_also_when_record_ids_repeat_or_are_missing(stager: Stager) -> None:
    ids = ["7", None, "7", "8", None]
    staged = stager.stage_each(O4, [{"record_id": x} for x in ids])
    assert [(row["source_row"], row["record_id"]) for row in staged] == list(enumerate(ids, 1))
    assert [row["warnings"] for row in staged] == [
        ["record_id_unique"],
        ["record_id_valid"],
        ["record_id_unique"],
        [],
        ["record_id_valid"],
    ]


@pytest.mark.parametrize("at", [G4, R4, O4, era("G0"), era("R0"), era("O0")], ids=str)
def test_a_quarantined_row_is_kept_whole_as_it_stands_in_the_file(stager: Stager, at: Era) -> None:
    row = clean_row(at, overrides={f"{COMPANY}_id": "1E+11", "recipient_city": "two\nlines"})
    [aside] = stager.quarantine(at, [row, clean_row(at, 2)])
    assert list(aside) == quarantine_table().column_names
    assert aside["original"] == {source: row[name] for source, name in at.layout.columns}
    assert aside["reasons"] == ["company_id_valid"]
    assert (aside["record_id"], aside["source_row"]) == (row["record_id"], 1)
    assert aside["amount"] == Decimal(str(row["amount"]))
    interest = Decimal("330.00") if at.dataset is Dataset.OWNERSHIP else None
    assert aside["value_of_interest"] == interest


def test_a_quarantined_row_is_filed_under_the_partition_it_was_found_in(stager: Stager) -> None:
    [aside] = stager.quarantine(O4, [clean_row(O4, overrides={"program_year": "1999"})])
    assert aside["program_year"] == O4.program_year
    assert aside["original"]["Program_Year"] == "1999"


# --- the hash --------------------------------------------------------------------------------


@pytest.mark.parametrize("at", CURRENT, ids=str)
def test_every_business_column_changes_the_hash_and_no_other_does(stager: Stager, at: Era) -> None:
    columns = [c.name for c in source_columns(at.dataset) if c.name in at.columns]
    changed = {name: clean_row(at, 1, {name: "77"}) for name in columns}
    staged = stager.stage(at, [clean_row(at, 1), *changed.values()])
    original, *others = (row["row_hash"] for row in staged)
    hashes = dict(zip(columns, others, strict=True))
    assert {name for name, found in hashes.items() if found == original} == NOT_HASHED
    business = [found for name, found in hashes.items() if name not in NOT_HASHED]
    assert len(set(business)) == len(business)


def test_a_value_in_the_next_column_is_another_record(stager: Stager) -> None:
    first, middle = "covered_recipient_first_name", "covered_recipient_middle_name"
    one, other = stager.stage_each(G4, [{first: "ANN", middle: None}, {first: None, middle: "ANN"}])
    assert one["row_hash"] != other["row_hash"]


@pytest.mark.parametrize(
    "names", [("G0", "G1", "G2"), ("R1", "R2"), ("O0", "O1", "O2")], ids="-".join
)
def test_the_same_record_hashes_alike_in_every_layout_and_with_either_specialty_delimiter(
    stager: Stager, names: tuple[str, ...]
) -> None:
    specialties, hashes = set(), set()
    for name in names:
        at = era(name)
        [row] = stager.stage(at, [clean_row(at)])
        hashes.add(row["row_hash"])
        specialties.add(row.get("covered_recipient_specialty_1"))
    assert len(hashes) == 1
    if not names[0].startswith("O"):
        assert len(specialties) == 2


def test_what_cms_merely_spelled_otherwise_does_not_change_the_hash(stager: Stager) -> None:
    at = era("G2")
    nature = "nature_of_payment_or_transfer_of_value"
    spelled = (
        (nature, "Space rental or facility fees(teaching hospital only)"),
        (nature, "Space rental or facility fees (teaching hospital only)"),
        ("legacy_product_indicator", "Non-covered"),
        ("legacy_product_indicator", "Non-Covered"),
    )
    rows = stager.stage_each(at, [{column: value} for column, value in spelled])
    hashes = [x["row_hash"] for x in rows]
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


def test_research_without_investigators_hashes_alike_in_the_first_and_the_second_layout(
    stager: Stager,
) -> None:
    hashes = set()
    for at in (era("R0"), era("R1")):
        nobody = {x: None for x in at.columns if "principal_investigator" in x}
        [row] = stager.stage_each(at, [nobody])
        hashes.add(row["row_hash"])
    assert len(hashes) == 1


def test_a_column_that_a_later_layout_adds_empty_does_not_change_the_hash(stager: Stager) -> None:
    hashes = set()
    for at in (era("G2", 2015), era("G2n")):
        row = clean_row(at, 1, {"covered_recipient_npi": None} if at.layout.name == "G2n" else {})
        [staged] = stager.stage(at, [row])
        hashes.add(staged["row_hash"])
    assert len(hashes) == 1
