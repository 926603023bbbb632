"""Entities of a partition: one row each, with the values seen on the latest record.

Latest means: last day of payment, then highest record id, then lowest investigator slot. The
order is total, so ties cannot change a result between runs or engines. Ownership has no day of
payment; there the record id alone decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ibis
from ibis import _

from openpay_assets.transforms.shape import as_curated

if TYPE_CHECKING:
    import ibis.expr.types as ir

_PERSON = (
    "npi",
    "first_name",
    "middle_name",
    "last_name",
    "name_suffix",
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

    def seen(columns: Sequence[str]) -> ir.Table:
        named = investigators.join(
            payments.select("record_id", "date_of_payment"), "record_id", how="inner"
        )
        received = _seen(payments, "profile_id", columns, ibis.literal(0, "int64"))
        return received.mutate(received=ibis.literal(1, "int64")).union(
            _seen(named, "profile_id", columns, named.slot).mutate(
                received=ibis.literal(0, "int64")
            ),
            distinct=False,
        )

    totals = {
        "records_as_recipient": _.received.sum(),
        "records_as_investigator": (1 - _.received).sum(),
        # Ownership gives none, nor do investigators before PY2021: of the last record that does.
        "recipient_type": _.recipient_type.argmax(_[_ORDER], where=_.recipient_type.notnull()),
    }
    last = _last(seen(["recipient_type"]), ["profile_id"], totals)
    return _latest(last, seen(_PERSON), "physicians", ["profile_id"], _PERSON)


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

    def seen(columns: Sequence[str]) -> ir.Table:
        return _seen(payments, key, columns, ibis.literal(0, "int64"))

    totals = {"records": _.count(), "amount": _.amount.sum()}
    last = _last(seen(["amount"]), [key], totals)
    return _latest(last, seen(attributes), table, [key], attributes)


def _seen(t: ir.Table, key: str, columns: Sequence[str], slot: ir.IntegerValue) -> ir.Table:
    """Select columns of the records that name an entity, with their order.

    Columns first: what two selections would share, DuckDB keeps in memory or on disk, with every
    column of every record.
    """
    t = t.select(*_PARTITION, key, "date_of_payment", "record_id", *columns, slot=slot)
    named = t.filter(t[key].notnull())
    return named.mutate(**{_ORDER: _order(named, named.slot)}).drop("record_id", "slot")


def _order(t: ir.Table, slot: ir.IntegerValue) -> ir.StringValue:
    """Return a text that sorts as (day, record id as a number, slot from high to low)."""
    day = t.date_of_payment.cast("string").fill_null("")
    digits = t.record_id.length().cast("string").lpad(2, "0")
    return day + "|" + digits + t.record_id + "|" + (9 - slot).cast("string")


def _last(seen: ir.Table, key: list[str], totals: Mapping[str, ir.Deferred]) -> ir.Table:
    return seen.group_by([*_PARTITION, *key]).aggregate(
        **{_ORDER: _[_ORDER].max(), "last_seen_on": _.date_of_payment.max(), **totals}
    )


def _latest(
    last: ir.Table, seen: ir.Table, table: str, key: list[str], attributes: Sequence[str]
) -> ir.Table:
    """Take the attributes of the last record of each entity."""
    joined = last.join(seen.select(*key, _ORDER, *attributes), [*key, _ORDER], how="inner")
    return as_curated(joined, table, {})
