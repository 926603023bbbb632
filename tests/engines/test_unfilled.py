"""Columns that an expression never fills, told without running it."""

from __future__ import annotations

import ibis
import pytest

from openpay_assets.contracts.model import Column, ColumnType, Dataset, Table
from openpay_assets.contracts.registry import curated_table, staging_table
from openpay_assets.engines.unfilled import written_columns
from openpay_assets.transforms.payments import payments

ROWS = ibis.table({"kind": "string", "amount": "decimal(18, 2)"}, name="rows")
NOTHING = ibis.null("string")


def written(value: ibis.Value, *, required: bool = False) -> bool:
    column = Column("value", ColumnType.TEXT, required=required, description="")
    expression = ROWS.mutate(value=value).select("value")
    return written_columns(expression, Table("curated.example", (column,))) == [column]


@pytest.mark.parametrize(
    "value",
    [
        NOTHING,
        ibis.null().cast("string"),
        NOTHING.replace("/ ", "|"),
        NOTHING.lower().re_replace("^x", ""),
        ROWS.kind.isnull().ifelse(NOTHING, NOTHING.lstrip()),
        ibis.cases((ROWS.kind == "a", NOTHING), else_=NOTHING),
        ibis.coalesce(NOTHING, NOTHING),
        ibis.literal("12")
        .cast("int64")
        .nullif(12)
        .cast("string")
        .isnull()
        .ifelse(NOTHING, NOTHING),
    ],
)
def test_a_column_that_is_null_whatever_the_rows_are_is_not_written(value: ibis.Value) -> None:
    assert not written(value)


@pytest.mark.parametrize(
    "value",
    [
        ROWS.kind,
        ROWS.kind.lower(),
        ibis.literal(""),
        NOTHING.fill_null("x"),
        ROWS.kind.isnull().ifelse(NOTHING, ROWS.kind),
        ibis.cases((ROWS.kind == "a", "A"), else_=NOTHING),
        ibis.coalesce(NOTHING, ROWS.kind),
        NOTHING.isnull().cast("string"),
    ],
)
def test_a_column_that_may_hold_a_value_is_written(value: ibis.Value) -> None:
    assert written(value)


def test_a_column_that_must_be_filled_is_written_so_that_its_check_can_fail() -> None:
    assert written(NOTHING, required=True)


def test_what_only_other_datasets_report_is_left_out_of_payments() -> None:
    staged = ibis.table(staging_table(Dataset.GENERAL).to_ibis(), name="staged")
    table = curated_table("payments")

    kept = {c.name for c in written_columns(payments(staged, Dataset.GENERAL), table)}

    left_out = set(table.column_names) - kept
    assert {"study_name", "value_of_interest", "terms_of_interest"} <= left_out
    assert not {"nature_of_payment", "hospital_name", "npi", "investigator_count"} & left_out


def test_a_column_that_one_of_several_parts_fills_is_written() -> None:
    column = Column("value", ColumnType.TEXT, required=False, description="")
    parts = ROWS.select(value=NOTHING), ROWS.select(value=ROWS.kind)
    for together in (ibis.union(*parts), ibis.union(*reversed(parts)).select("value")):
        assert written_columns(together, Table("curated.example", (column,))) == [column]
