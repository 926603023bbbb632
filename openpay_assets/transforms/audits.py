"""Audits: small aggregate tables that say whether written data is what it must be.

Each is an expression over files that are already written, so it judges what readers will see.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.rules import COMPANY_ID

if TYPE_CHECKING:
    import ibis.expr.types as ir

WEIGHT_TOLERANCE = 1e-9
REVIEW_AMOUNT = 10_000_000
"""US dollars from which a single record goes on the review list."""


def totals(t: ir.Table) -> ir.Table:
    """One row: ``rows``, ``amount`` and, where the table has it, ``value_of_interest``."""
    measures = {"rows": t.count(), "amount": t.amount.sum()}
    if "value_of_interest" in t.columns:
        measures["value_of_interest"] = t.value_of_interest.sum()
    return t.aggregate(**measures)


def broken_rules(t: ir.Table, names: str = "warnings") -> ir.Table:
    """One row per rule that any row breaks: ``rule``, ``rows``, ``amount``, ``first_row``."""
    each = t.select("amount", "source_row", rule=t[names].unnest())
    return each.group_by("rule").aggregate(
        rows=each.count(), amount=each.amount.sum(), first_row=each.source_row.min()
    )


def repeated_keys(t: ir.Table, key: list[str]) -> ir.Table:
    """One row: ``repeated``, how many rows share their key with an earlier one."""
    each = t.group_by(key).aggregate(copies=t.count())
    return each.aggregate(repeated=(each.copies - 1).sum().fill_null(0))


def product_shares(products: ir.Table) -> ir.Table:
    """One row: ``off``, payments whose weights do not sum to 1; ``rows`` and ``amount``."""
    each = products.group_by("record_id").aggregate(
        weight=products.weight.sum(), rows=products.count(), amount=products.allocated_amount.sum()
    )
    off = ((each.weight - 1).abs() > WEIGHT_TOLERANCE).cast("int64")
    return each.aggregate(off=off.sum(), rows=each["rows"].sum(), amount=each.amount.sum())


def with_products(payments: ir.Table) -> ir.Table:
    """One row: ``rows``, filled product slots; ``amount`` of the payments that have any."""
    has_any = payments.product_count > 0
    return payments.aggregate(
        rows=payments.product_count.sum(), amount=payments.amount.sum(where=has_any)
    )


def investigator_slots(payments: ir.Table) -> ir.Table:
    """One row: ``rows``, filled investigator slots of the payments."""
    return payments.aggregate(rows=payments.investigator_count.sum())


def npi_fill(staged: ir.Table) -> ir.Table:
    """One row: ``people``, rows whose recipient is a clinician; ``filled``, those with an NPI."""
    person = staged.covered_recipient_profile_id.notnull()
    filled = person & staged.covered_recipient_npi.notnull()
    return staged.aggregate(people=person.cast("int64").sum(), filled=filled.cast("int64").sum())


def twins(staged: ir.Table) -> ir.Table:
    """One row: ``groups`` of records alike in all but their id, and the ``rows`` in them.

    Twins are real (a fifth of research) and never removed; ``row_hash`` is their group.
    """
    each = staged.group_by("row_hash").aggregate(copies=staged.count())
    several = each.filter(each.copies > 1)
    return several.aggregate(groups=several.count(), rows=several.copies.sum().fill_null(0))


def ids_elsewhere(staged: ir.Table, others: ir.Table, shown: int = 5) -> ir.Table:
    """Records that other program years hold too: up to ``shown`` per year, the first by id.

    Columns: ``program_year`` (the other one), ``rows`` (how many it shares), ``record_id``.
    """
    both = staged.select("record_id").inner_join(
        others.select("record_id", "program_year"), "record_id"
    )
    of_year = ibis.window(group_by="program_year")
    ranked = both.mutate(
        rows=both.count().over(of_year),
        place=ibis.row_number().over(ibis.window(group_by="program_year", order_by="record_id")),
    )
    first = ranked.filter(ranked.place < shown)
    return first.select("program_year", "rows", "record_id").order_by("program_year", "record_id")


def review_list(staged: ir.Table, limit: int = 10) -> ir.Table:
    """Largest records from ten million US dollars, for a person to look at."""
    large = staged.filter(staged.amount >= REVIEW_AMOUNT)
    return (
        large.select("record_id", "source_row", "amount", company_id=large[COMPANY_ID])
        .order_by(ibis.desc("amount"), "record_id")
        .limit(limit)
    )
