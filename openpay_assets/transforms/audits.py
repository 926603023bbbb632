"""Audits: small aggregate tables that say whether written data is what it must be.

Each is an expression over files that are already written, so it judges what readers will see.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

from openpay_assets.contracts.registry import allowed_values
from openpay_assets.contracts.rules import COMPANY_ID

if TYPE_CHECKING:
    import ibis.expr.types as ir

WEIGHT_TOLERANCE = 1e-9
REVIEW_AMOUNT = 10_000_000
"""US dollars from which a single record goes on the review list."""
REVIEW_ONE_IN = 10_000
"""Of so many records of a nature of payment, the largest one goes on the review list: 0.01 %."""
LADDER = tuple(digit * 10**power for power in range(9) for digit in (1, 2, 5))
"""US dollars that divide records by size, to find the largest without sorting all of them."""
NATURE = "nature_of_payment_or_transfer_of_value"
ALL, UNKNOWN_NATURE = "all records", "unknown natures"


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


@dataclass(frozen=True)
class Tail:
    """The largest records of a group: how many there are to be, and an amount all of them reach."""

    rows: int
    floor: int


def tail_counts(staged: ir.Table) -> ir.Table:
    """How many rows of each group lie in each step of the ladder: ``group``, ``step``, ``rows``.

    The group is the nature of payment, known natures only, so that there are few whatever the file
    holds; datasets without natures are one group.
    """
    size = _size(staged)
    step = ibis.cases(*((size < top, n) for n, top in enumerate(LADDER)), else_=len(LADDER))
    each = staged.select(group=_group(staged), step=step.cast("int64"))
    return each.group_by("group", "step").aggregate(rows=each.count())


def tails(counts: Iterable[Mapping[str, Any]]) -> dict[str, Tail]:
    """Return the tail of each group from the rows of ``tail_counts``: one in 10,000, at least one."""
    groups: dict[str, dict[int, int]] = defaultdict(dict)
    for row in counts:
        groups[row["group"]][int(row["step"])] = int(row["rows"])
    return {group: _tail(steps) for group, steps in sorted(groups.items())}


def _tail(steps: Mapping[int, int]) -> Tail:
    wanted = -(-sum(steps.values()) // REVIEW_ONE_IN)
    found = 0
    for step in sorted(steps, reverse=True):
        found += steps[step]
        if found >= wanted:
            break
    return Tail(wanted, LADDER[step - 1] if step else 0)


def review_list(staged: ir.Table, largest: Mapping[str, Tail], limit: int = 50) -> ir.Table:
    """Records for a person to look at: from ten million US dollars, and the tail of each group.

    At most ``limit`` rows, the largest first; on each, ``listed`` is how many there are in all and
    ``reaching`` how many of them reach ten million. Only what reaches the floor of its group is
    ranked: ranking every record would sort the whole file.
    """
    t = staged.select(
        "record_id",
        "source_row",
        "amount",
        *(x for x in ("value_of_interest",) if x in staged.columns),
        company_id=staged[COMPANY_ID],
        group=_group(staged),
        size=_size(staged),
    )
    reaching = t.size >= REVIEW_AMOUNT
    candidates = t.filter(
        ibis.or_(
            reaching, *((t.group == name) & (t.size >= x.floor) for name, x in largest.items())
        )
    )
    in_order = ibis.window(group_by="group", order_by=[ibis.desc("size"), "record_id"])
    wanted = ibis.cases(
        *((candidates.group == name, x.rows) for name, x in largest.items()), else_=0
    )
    ranked = candidates.mutate(place=ibis.row_number().over(in_order), wanted=wanted)
    kept = ranked.filter((ranked.place < ranked.wanted) | (ranked.size >= REVIEW_AMOUNT))
    every = ibis.window()
    counted = kept.mutate(
        listed=kept.count().over(every),
        reaching=(kept.size >= REVIEW_AMOUNT).cast("int64").sum().over(every),
    )
    return (
        counted.order_by(ibis.desc("size"), "record_id")
        .limit(limit)
        .drop("size", "place", "wanted")
    )


def _group(staged: ir.Table) -> ir.StringValue:
    if NATURE not in staged.columns:
        return ibis.literal(ALL)
    nature = staged[NATURE]
    known = nature.isin(allowed_values("nature_of_payment")).fill_null(False)
    return known.ifelse(nature, ibis.literal(UNKNOWN_NATURE))


def _size(staged: ir.Table) -> ir.DecimalValue:
    """Return the US dollars by which a record is large: the larger of ownership's two measures."""
    if "value_of_interest" not in staged.columns:
        return staged.amount.fill_null(0)
    return ibis.greatest(staged.amount.fill_null(0), staged.value_of_interest.fill_null(0))
