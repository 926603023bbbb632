"""Pandera schemas made from contracts: each way to break a table is found, at full depth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import ibis
import pandera.ibis as pandera
import pyarrow as pa
import pytest
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaError

from openpay_assets.contracts.model import ColumnType, Table
from openpay_assets.contracts.registry import all_tables, curated_table, quarantine_table
from openpay_assets.contracts.schema import Violation, pandera_schema, violations

FIXED = {"dataset": "general", "program_year": 2023}
SAMPLES: dict[ColumnType, Any] = {
    ColumnType.TEXT: "1",
    ColumnType.MONEY: Decimal("1.00"),
    ColumnType.SIGNED_MONEY: Decimal("-1.00"),
    ColumnType.DATE: date(2023, 6, 30),
    ColumnType.INTEGER: 1,
    ColumnType.YEAR: 2023,
    ColumnType.NUMBER: 1.0,
    ColumnType.BOOLEAN: True,
    ColumnType.TEXTS: ["a"],
    ColumnType.TEXT_MAP: {"a": "b"},
}


def _rows(table: Table, count: int = 2) -> ibis.Table:
    row = {c.name: SAMPLES[c.type] for c in table.columns} | {"dataset": "general"}
    values = {c.name: pa.array([row[c.name]] * count, c.type.to_arrow()) for c in table.columns}
    return ibis.memtable(pa.table(values), schema=table.to_ibis())


def _broken(table: Table, change: Callable[[ibis.Table], ibis.Table]) -> list[Violation]:
    changed = change(_rows(table))
    written = ibis.memtable(changed.to_pyarrow(), schema=changed.schema())
    return violations(table, written, 2, FIXED)


COMPANIES, PAYMENTS = curated_table("companies"), curated_table("payments")


@pytest.mark.parametrize("table", all_tables(), ids=lambda x: x.name)
def test_a_table_as_contracted_has_no_violations(table: Table) -> None:
    assert violations(table, _rows(table), 2, FIXED) == []


@pytest.mark.parametrize("table", all_tables(), ids=lambda x: x.name)
def test_of_an_empty_table_the_schema_is_judged(table: Table) -> None:
    empty = _rows(table).limit(0)
    assert violations(table, empty, 0, FIXED) == []
    assert violations(table, empty.drop(table.column_names[0]), 0, FIXED)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        pytest.param(lambda t: t.mutate(records=t.records.cast("string")), "records", id="type"),
        pytest.param(lambda t: t.mutate(amount=t.amount.cast("float64")), "amount", id="float"),
        pytest.param(
            lambda t: t.mutate(amount=t.amount.cast("decimal(18, 4)")), "amount", id="scale"
        ),
        pytest.param(lambda t: t.mutate(company_id=ibis.null("string")), "company_id", id="null"),
        pytest.param(
            lambda t: t.mutate(amount=ibis.literal(Decimal("-0.01"), "decimal(18, 2)")),
            "amount",
            id="negative-money",
        ),
        pytest.param(
            lambda t: t.mutate(program_year=ibis.literal(2022, "int32")),
            "program_year",
            id="wrong-year",
        ),
        pytest.param(
            lambda t: t.mutate(dataset=ibis.literal("research")), "dataset", id="wrong-dataset"
        ),
        pytest.param(lambda t: t.drop("amount"), "amount", id="missing-column"),
        pytest.param(lambda t: t.mutate(extra=1), "extra", id="extra-column"),
    ],
)
def test_a_broken_table_is_found_out_and_its_column_named(
    change: Callable[[ibis.Table], ibis.Table], column: str
) -> None:
    found = _broken(COMPANIES, change)
    assert found
    assert any(column in (x.column + x.check + " ".join(x.sample)) for x in found)


def test_columns_in_another_order_are_found_out() -> None:
    assert _broken(COMPANIES, lambda t: t.select("program_year", "dataset", *t.columns[2:]))


def test_one_bad_row_among_good_ones_is_found_out_and_shown() -> None:
    def one_negative(t: ibis.Table) -> ibis.Table:
        amount = (t.company_id == "2").ifelse(Decimal("-5.00"), Decimal("5.00"))
        return t.mutate(amount=amount.cast("decimal(18, 2)"))

    rows = ibis.union(_rows(COMPANIES), _rows(COMPANIES, 1).mutate(company_id=ibis.literal("2")))
    [found] = violations(COMPANIES, one_negative(rows), 3, FIXED)
    assert found.column == "amount"
    assert "-5.00" in " ".join(found.sample)


@pytest.mark.parametrize("value", ["1E+11", "12a", "", "1" * 39])
def test_an_id_that_is_not_digits_is_found_out(value: str) -> None:
    [table] = [x for x in all_tables() if x.name == "staging.general"]
    found = _broken(table, lambda t: t.mutate(record_id=ibis.literal(value)))
    assert [x.column for x in found] == ["record_id"]


def test_every_violation_is_reported_and_not_just_the_first() -> None:
    found = _broken(
        COMPANIES,
        lambda t: t.mutate(company_id=ibis.null("string"), records=ibis.null("int64")),
    )
    assert {x.column for x in found} == {"company_id", "records"}


def test_an_optional_column_may_be_empty() -> None:
    optional = [c.name for c in PAYMENTS.columns if not c.required]
    nothing = {name: ibis.null(PAYMENTS.column(name).type.to_ibis()) for name in optional}
    assert _broken(PAYMENTS, lambda t: t.mutate(**nothing).select(*PAYMENTS.column_names)) == []


@pytest.mark.parametrize("table", all_tables(), ids=lambda x: x.name)
def test_every_required_column_left_empty_is_found_out(table: Table) -> None:
    required = [c for c in table.columns if c.required]
    nothing = {c.name: ibis.null(c.type.to_ibis()) for c in required}
    found = _broken(table, lambda t: t.mutate(**nothing).select(*table.column_names))
    assert {c.name for c in required} <= {x.column for x in found}


def test_data_is_checked_whatever_depth_is_configured_outside() -> None:
    broken = _rows(COMPANIES).mutate(company_id=ibis.null("string"))
    with config_context(validation_depth=ValidationDepth.SCHEMA_ONLY):
        assert violations(COMPANIES, broken, 2, FIXED)
    with config_context(validation_enabled=False):
        assert violations(COMPANIES, broken, 2, FIXED)


def test_the_environment_cannot_switch_the_checks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANDERA_VALIDATION_ENABLED", "False")
    monkeypatch.setenv("PANDERA_VALIDATION_DEPTH", "SCHEMA_ONLY")
    broken = _rows(COMPANIES).mutate(company_id=ibis.null("string"))
    assert violations(COMPANIES, broken, 2, FIXED)


def test_the_schema_is_a_pandera_schema_that_others_can_use() -> None:
    schema = pandera_schema(quarantine_table())
    assert isinstance(schema, pandera.DataFrameSchema)
    assert list(schema.columns) == quarantine_table().column_names
    with pytest.raises(SchemaError):
        schema.validate(_rows(quarantine_table()).drop("reasons"))
