"""The contracts as data: headers, layouts, eras, columns and lists of values."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from importlib.resources import files
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openpay_assets.contracts.model import ColumnType, Dataset, Layout, Table
from openpay_assets.contracts.registry import (
    CURATED_TABLES,
    RECONCILIATION_TABLES,
    REFERENCE_TABLES,
    UnknownLayoutError,
    all_tables,
    allowed_values,
    curated_table,
    layout_of,
    layouts,
    lineage_columns,
    match_header,
    source_columns,
    staging_table,
)
from openpay_assets.contracts.rules import PRACTITIONER

LAYOUTS = [layout for dataset in Dataset for layout in layouts(dataset)]
every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)


def _layout(name: str) -> Layout:
    [found] = [x for x in LAYOUTS if x.name == name]
    return found


# --- headers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "columns", "fingerprint"),
    [
        ("G0", 63, "327f12e4f7dfdb91"),
        ("G1", 63, "c2594120ba33cff8"),
        ("G2", 65, "435dfd18605a3da1"),
        ("G2n", 66, "1683d5e99af44b1a"),
        ("G3", 75, "d7d50fad60377c9e"),
        ("G4", 91, "0bdb808ee002eb5e"),
        ("R0", 68, "7210dbc018171929"),
        ("R1", 164, "5e090bc358ef197a"),
        ("R2", 166, "20e725da7d20f657"),
        ("R2n", 172, "9a3350987c361842"),
        ("R3", 176, "a3f8cccc49f9f7b5"),
        ("R4", 252, "7047d9fe8e574236"),
        ("O0", 28, "607f09216198c841"),
        ("O1", 28, "53a64c955c200245"),
        ("O2", 29, "59950754d9b4c7b9"),
        ("O4", 30, "01598d0cf0075a9d"),
    ],
)
def test_a_header_is_the_one_that_cms_publishes(name: str, columns: int, fingerprint: str) -> None:
    header = _layout(name).header
    assert len(header) == columns
    assert hashlib.sha256("\n".join(header).encode()).hexdigest()[:16] == fingerprint


def test_no_layout_is_forgotten_in_the_fingerprints() -> None:
    assert len(LAYOUTS) == 16


@every_layout
def test_every_layout_is_recognised_by_its_exact_header(layout: Layout) -> None:
    match = match_header(layout.dataset, layout.header, "file.csv")
    assert (match.layout, match.new_columns) == (layout, ())


@every_layout
def test_a_layout_is_recognised_in_its_own_dataset_only(layout: Layout) -> None:
    for dataset in set(Dataset) - {layout.dataset}:
        with pytest.raises(UnknownLayoutError):
            match_header(dataset, layout.header, "file.csv")


@every_layout
def test_a_header_in_another_order_is_refused(layout: Layout) -> None:
    first, second, *rest = layout.header
    header = [second, first, *rest]
    for allow in (False, True):
        with pytest.raises(UnknownLayoutError) as refused:
            match_header(layout.dataset, header, "file.csv", allow_new_columns=allow)
        said = str(refused.value)
        assert f"{layout.dataset} {layout.name}" in said
        assert "Missing: none. Unknown: none. The order of the known columns differs." in said


@every_layout
def test_a_header_without_a_column_is_refused_and_the_column_named(layout: Layout) -> None:
    header = [x for x in layout.header if x != "Program_Year"]
    with pytest.raises(UnknownLayoutError) as refused:
        match_header(layout.dataset, header, "file.csv", allow_new_columns=True)
    assert f"Nearest: {layout.dataset} {layout.name}" in str(refused.value)
    assert "Missing: Program_Year. Unknown: none." in str(refused.value)


@every_layout
def test_a_header_with_an_unknown_column_is_refused_with_what_to_do(layout: Layout) -> None:
    header = [*layout.header, "Foo_1", "Foo_2"]
    with pytest.raises(UnknownLayoutError) as refused:
        match_header(layout.dataset, header, "OP_DTL.csv")
    said = str(refused.value)
    assert f"header of OP_DTL.csv ({len(header)} columns)" in said
    assert "Missing: none. Unknown: Foo_1, Foo_2." in said
    assert "OPENPAY_ALLOW_NEW_COLUMNS=1" in said
    assert "contracts/data/layouts.csv" in said


@every_layout
def test_new_columns_are_let_in_and_named_when_allowed(layout: Layout) -> None:
    header = ["Foo_1", *layout.header, "Foo_2"]
    match = match_header(layout.dataset, header, "file.csv", allow_new_columns=True)
    assert (match.layout, match.new_columns) == (layout, ("Foo_1", "Foo_2"))


@pytest.mark.parametrize("allow", [False, True])
def test_a_column_twice_is_refused(allow: bool) -> None:
    header = [*_layout("O4").header, "Record_ID"]
    with pytest.raises(UnknownLayoutError, match="Some names repeat"):
        match_header(Dataset.OWNERSHIP, header, "file.csv", allow_new_columns=allow)


def test_a_name_in_another_case_is_unknown() -> None:
    header = ["change_type", *_layout("O4").header[1:]]
    with pytest.raises(UnknownLayoutError, match=r"Missing: Change_Type\. Unknown: change_type\."):
        match_header(Dataset.OWNERSHIP, header, "file.csv", allow_new_columns=True)


def test_many_missing_columns_are_counted_rather_than_listed() -> None:
    with pytest.raises(UnknownLayoutError, match=r"and \d+ more"):
        match_header(Dataset.GENERAL, ["Record_ID"], "file.csv")


@given(st.sampled_from(LAYOUTS), st.data())
def test_any_change_of_order_is_seen(layout: Layout, data: st.DataObject) -> None:
    header = data.draw(st.permutations(layout.header))
    if header == layout.header:
        return
    with pytest.raises(UnknownLayoutError):
        match_header(layout.dataset, header, "file.csv", allow_new_columns=True)


# --- eras ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "year", "release", "name"),
    [
        ("general", 2013, "2014-09-30", "G0"),
        ("general", 2013, "2014-12-19", "G0"),
        ("general", 2013, "2015-06-30", "G1"),
        ("general", 2014, "2016-01-15", "G1"),
        ("general", 2014, "2016-06-30", "G2"),
        ("general", 2013, "2022-01-21", "G2"),
        ("general", 2015, "2022-06-30", "G2n"),
        ("general", 2015, "2022-01-21", "G2"),
        ("general", 2016, "2017-06-30", "G3"),
        ("general", 2016, "2022-06-30", "G4"),
        ("general", 2025, "2026-06-30", "G4"),
        ("research", 2013, "2015-06-30", "R1"),
        ("research", 2013, "2016-06-30", "R2"),
        ("research", 2020, "2022-01-21", "R3"),
        ("research", 2020, "2022-06-30", "R4"),
        ("ownership", 2013, "2014-09-30", "O0"),
        ("ownership", 2016, "2017-06-30", "O2"),
        ("ownership", 2015, "2022-06-30", "O4"),
    ],
)
def test_a_layout_depends_on_program_year_and_release(
    dataset: str, year: int, release: str, name: str
) -> None:
    assert layout_of(Dataset(dataset), year, release).name == name


@pytest.mark.parametrize(("year", "release"), [(2016, "2016-06-30"), (2012, "2022-06-30")])
def test_a_release_no_layout_covers_is_an_error_that_lists_the_known_ones(
    year: int, release: str
) -> None:
    with pytest.raises(UnknownLayoutError) as refused:
        layout_of(Dataset.GENERAL, year, release)
    said = str(refused.value)
    assert f"No layout of general covers program year {year} at release {release}" in said
    assert "G4 (program years 2016 to now, releases 2022-06-30 to now)" in said


def test_no_two_layouts_cover_the_same_year_and_release() -> None:
    days = ["2014-09-30", "2015-06-30", "2016-06-30", "2017-06-30", "2022-01-21", "2022-06-30"]
    for dataset in Dataset:
        for one, other in combinations(layouts(dataset), 2):
            both = [
                (year, day)
                for year in range(2013, 2026)
                for day in [*days, "2026-06-30"]
                if one.covers(year, day) and other.covers(year, day)
            ]
            assert not both, (one.name, other.name)


@every_layout
def test_every_layout_says_how_it_is_known(layout: Layout) -> None:
    assert layout.evidence


# --- columns ---------------------------------------------------------------------------------


@every_layout
def test_every_column_of_a_layout_is_a_column_of_the_contract_once(layout: Layout) -> None:
    contracted = {column.name for column in source_columns(layout.dataset)}
    canonical = [name for _, name in layout.columns]
    assert set(canonical) <= contracted
    assert len(set(canonical)) == len(canonical)
    assert len(set(layout.header)) == len(layout.header)


@pytest.mark.parametrize("dataset", Dataset)
def test_every_column_of_the_contract_comes_from_some_layout(dataset: Dataset) -> None:
    reported = {name for layout in layouts(dataset) for _, name in layout.columns}
    assert {column.name for column in source_columns(dataset)} == reported


@every_layout
def test_every_required_column_is_in_every_layout(layout: Layout) -> None:
    required = {c.name for c in source_columns(layout.dataset) if c.required}
    assert required <= set(layout.source_of)


@pytest.mark.parametrize("name", ["G4", "R4", "O4"])
def test_a_canonical_name_is_the_current_cms_name_in_lower_case_but_for_the_amount(
    name: str,
) -> None:
    for source, canonical in _layout(name).columns:
        assert canonical in {source.lower(), "amount"}


def test_a_slot_keeps_its_number_from_source_to_contract() -> None:
    for layout in LAYOUTS:
        for source, canonical in layout.columns:
            if source[-1].isdigit():
                number = "".join(x for x in source if x.isdigit())
                assert "".join(x for x in canonical if x.isdigit()) == number, (source, canonical)


TABLES = all_tables()


@pytest.mark.parametrize("table", TABLES, ids=lambda x: x.name)
def test_every_column_has_a_type_a_description_and_one_place(table: Table) -> None:
    for column in table.columns:
        assert isinstance(column.type, ColumnType)
        assert column.description.endswith("."), column.name
        assert "{" not in column.name + column.description
    assert len(set(table.column_names)) == len(table.columns)
    assert table.key


def test_a_column_name_has_one_type_in_every_table() -> None:
    types: dict[str, set[ColumnType]] = defaultdict(set)
    for table in TABLES:
        for column in table.columns:
            types[column.name].add(column.type)
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}


def test_money_is_decimal_and_never_a_float() -> None:
    for table in TABLES:
        for column in table.columns:
            if "amount" in column.name and "number_of" not in column.name:
                may_be_negative = column.name.endswith("_moved")
                money = ColumnType.SIGNED_MONEY if may_be_negative else ColumnType.MONEY
                assert column.type is money, (table.name, column.name)
    assert str(ColumnType.MONEY.to_arrow()) == "decimal128(18, 2)"
    assert str(ColumnType.MONEY.to_ibis()) == "decimal(18, 2)"


@pytest.mark.parametrize("kind", ColumnType)
def test_every_type_means_the_same_in_ibis_and_arrow(kind: ColumnType) -> None:
    assert kind.to_ibis().to_pyarrow().equals(kind.to_arrow()) or kind in {
        ColumnType.TEXTS,
        ColumnType.TEXT_MAP,
    }


def test_a_staged_table_is_dataset_source_columns_and_lineage() -> None:
    for dataset in Dataset:
        names = staging_table(dataset).column_names
        source = [column.name for column in source_columns(dataset)]
        lineage = [column.name for column in lineage_columns()]
        assert names == [lineage[0], *source, *lineage[1:]]
        assert set(staging_table(dataset).key) == {"record_id", "program_year"}


def test_every_table_knows_its_zone() -> None:
    assert {table.zone for table in TABLES} == {"staging", "quarantine", "curated"}
    curated = (*CURATED_TABLES, *REFERENCE_TABLES, *RECONCILIATION_TABLES)
    assert len(TABLES) == 3 + 1 + len(curated)


def test_a_table_that_is_not_contracted_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        curated_table("invoices")
    with pytest.raises(KeyError):
        curated_table("payments").column("invoice")


@pytest.mark.parametrize("table", TABLES, ids=lambda x: x.name)
def test_arrow_and_ibis_schemas_have_the_columns_of_the_contract(table: Table) -> None:
    assert table.to_arrow().names == list(table.to_ibis().names) == table.column_names


# --- values ----------------------------------------------------------------------------------


def test_values_belong_to_their_program_years() -> None:
    def has(name: str, value: str, year: int | None) -> bool:
        return value in allowed_values(name, year)

    split = "Stock, stock option, or any other ownership interest"
    assert has("form_of_payment", split, 2015)
    assert not has("form_of_payment", split, 2016)
    assert not has("form_of_payment", "Stock option", 2015)
    assert has("form_of_payment", "Stock option", 2016)
    assert not has("nature_of_payment", "Debt forgiveness", 2020)
    assert has("nature_of_payment", "Debt forgiveness", 2021)
    assert has("nature_of_payment", "Debt forgiveness", None)
    assert not has("covered_recipient_type", PRACTITIONER, 2020)
    assert has("covered_recipient_type", PRACTITIONER, 2021)


def test_a_list_that_does_not_exist_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="colours"):
        allowed_values("colours")


@pytest.mark.parametrize("dataset", Dataset)
def test_every_list_that_a_column_names_exists(dataset: Dataset) -> None:
    for column in source_columns(dataset):
        if column.values:
            assert allowed_values(column.values)


def test_no_list_holds_a_value_twice() -> None:
    text = files("openpay_assets.contracts").joinpath("data", "values.csv").read_text("utf-8")
    rows = [(row["list"], row["value"]) for row in csv.DictReader(text.splitlines())]
    assert len(set(rows)) == len(rows)
