"""Entities of a partition: one row each, with the values seen on the latest record.

Latest means: last day of payment, then highest record id, then lowest investigator slot. The
order is total, so ties cannot change a result between runs or engines. Ownership has no day of
payment; there the record id alone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ibis

from openpay_assets.transforms.shape import as_curated

if TYPE_CHECKING:
    import ibis.expr.types as ir

_PERSON = (
    "npi",
    "first_name",
    "middle_name",
    "last_name",
    "name_suffix",
    "recipient_type",
    "primary_type",
    "specialty",
    "city",
    "state",
    "zip_code",
    "country",
)
_COMPANY = ("company_name", "company_state", "company_country")
_HOSPITAL = ("hospital_ccn", "hospital_name", "city", "state", "zip_code", "country")
_ORDER = "latest_order"
_PARTITION = ("dataset", "program_year", "release")


def physicians(payments: ir.Table, investigators: ir.Table) -> ir.Table:
    """Return ``curated.physicians``: clinicians as recipients and as named investigators."""
    received = _people(payments, slot=ibis.literal(0, "int64"), received=1)
    named = _people(
        investigators.join(
            payments.select("record_id", "date_of_payment"), "record_id", how="inner"
        ),
        slot=None,
        received=0,
    )
    people = received.union(named, distinct=False)
    return _latest(
        people,
        "physicians",
        ["profile_id"],
        _PERSON,
        {
            "records_as_recipient": people.received.sum(),
            "records_as_investigator": (1 - people.received).sum(),
        },
    )


def companies(payments: ir.Table) -> ir.Table:
    """Return ``curated.companies``: every company that paid, or is owned."""
    latest = _with_totals(payments, "companies", "company_id", _COMPANY).drop("company_names")
    named = payments.select("company_id", "company_name").filter(payments.company_name.notnull())
    # Distinct pairs first: collecting distinct names over all records takes far longer.
    pairs = named.distinct()
    names = pairs.group_by("company_id").aggregate(names=pairs.company_name.collect())
    both = latest.left_join(names, "company_id").select(*latest.columns, "names")
    none = ibis.literal([], "array<string>")
    return as_curated(both, "companies", {"company_names": both.names.sort().fill_null(none)})


def hospitals(payments: ir.Table) -> ir.Table:
    """Return ``curated.hospitals``: every teaching hospital that received; none in ownership."""
    return _with_totals(payments, "hospitals", "hospital_id", _HOSPITAL)


def _with_totals(payments: ir.Table, table: str, key: str, attributes: Sequence[str]) -> ir.Table:
    seen = payments.filter(payments[key].notnull()).mutate(
        **{_ORDER: _order(payments, ibis.literal(0, "int64"))}
    )
    totals = {"records": seen.count(), "amount": seen.amount.sum()}
    return _latest(seen, table, [key], attributes, totals)


def _people(t: ir.Table, *, slot: ir.IntegerValue | None, received: int) -> ir.Table:
    named = t.filter(t.profile_id.notnull())
    return named.select(
        *_PARTITION,
        "profile_id",
        *_PERSON,
        "date_of_payment",
        received=ibis.literal(received, "int64"),
        **{_ORDER: _order(named, named.slot if slot is None else slot)},
    )


def _order(t: ir.Table, slot: ir.IntegerValue) -> ir.StringValue:
    """Return a text that sorts as (day, record id as a number, slot from high to low)."""
    day = t.date_of_payment.cast("string").fill_null("")
    digits = t.record_id.length().cast("string").lpad(2, "0")
    return day + "|" + digits + t.record_id + "|" + (9 - slot).cast("string")


def _latest(
    t: ir.Table,
    table: str,
    key: list[str],
    attributes: Sequence[str],
    totals: dict[str, ir.Value],
) -> ir.Table:
    last = t.group_by([*_PARTITION, *key]).aggregate(
        **{_ORDER: t[_ORDER].max(), "last_seen_on": t.date_of_payment.max(), **totals}
    )
    rows = t.select(*key, _ORDER, *attributes)
    joined = last.join(rows, [*key, _ORDER], how="inner")
    return as_curated(joined, table, {})
