"""Reconciliation: our totals over every row of a partition beside those that CMS publishes.

Ours counts staged and quarantined rows: CMS's totals include the bad ones. Values are taken as
the file has them, since that is what CMS adds up. A row whose key is missing is counted under an
empty key, and in the dashboard as any other; an amount that is no number adds a record and no
dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Dataset, Layout
from openpay_assets.contracts.published import nature_codes
from openpay_assets.contracts.registry import curated_table
from openpay_assets.contracts.rules import COMPANY_ID, HOSPITAL, PHYSICIAN, PRACTITIONER
from openpay_assets.transforms import cleaning
from openpay_assets.transforms.totals import KEYS, measured, union

if TYPE_CHECKING:
    import ibis.expr.types as ir

DASHBOARD, ENTITY_NATURE = "dashboard", "entity_nature"
DATASETS = {
    DASHBOARD: tuple(Dataset),
    ENTITY_NATURE: (Dataset.GENERAL,),
    "entity": tuple(Dataset),
    "state": (Dataset.GENERAL, Dataset.RESEARCH),
    "specialty": (Dataset.GENERAL, Dataset.RESEARCH),
    "national": (Dataset.GENERAL, Dataset.RESEARCH),
    "physician": tuple(Dataset),
    "hospital": (Dataset.GENERAL, Dataset.RESEARCH),
}
"""Datasets that each control covers."""
TOTAL, KEY = "total", "key"
_MONEY = "decimal(18, 2)"
_COMPANY = "applicable_manufacturer_or_applicable_gpo_making_payment"


def all_rows(staged: ir.Table, quarantined: ir.Table, dataset: Dataset, layout: Layout) -> ir.Table:
    """Return every record of a partition with the columns that controls use, and its dollars.

    Columns: ``KEYS``, ``company_name``, ``amount`` and ``value_of_interest``.
    """
    originals = layout.source_of
    aside = quarantined.original

    def staged_value(name: str) -> ir.Value:
        return staged[name]

    def original_value(name: str) -> ir.Value:
        if name not in originals:
            return ibis.null("string")
        return aside.get(originals[name], ibis.null("string"))

    has_interest = dataset is Dataset.OWNERSHIP
    sides = [(staged, staged_value), (quarantined, original_value)]
    return ibis.union(
        *(
            t.select(
                **{k: v.cast("string") for k, v in _keys(value, dataset).items()},
                amount=t.amount,
                value_of_interest=t.value_of_interest if has_interest else ibis.null(_MONEY),
            )
            for t, value in sides
        ),
        distinct=False,
    )


def _keys(value: Callable[[str], ir.Value], dataset: Dataset) -> dict[str, ir.Value]:
    none = ibis.null("string")
    disputed = (value("dispute_status_for_publication") == "Yes").fill_null(False)
    shared = {
        "company_id": value(COMPANY_ID),
        "company_name": value(f"{_COMPANY}_name"),
        "nature_code": none,
        "country": value("recipient_country"),
        "state": value("recipient_state"),
        "disputed": disputed.ifelse("Yes", "No"),
    }
    if dataset is Dataset.OWNERSHIP:
        absent = dict.fromkeys(("specialty", "hospital_ccn", "recipient_type"), none)
        return {**shared, **absent, "profile_id": value("physician_profile_id")}
    people = {
        "specialty": cleaning.taxonomy_path(value("covered_recipient_specialty_1")),
        "profile_id": value("covered_recipient_profile_id"),
        "hospital_ccn": value("teaching_hospital_ccn"),
        "recipient_type": value("covered_recipient_type"),
    }
    if dataset is Dataset.GENERAL:
        nature = value("nature_of_payment_or_transfer_of_value")
        shared["nature_code"] = nature.cases(*nature_codes().items(), else_=none)
    return {**shared, **people}


def our_totals(rows: ir.Table, dataset: Dataset, controls: Collection[str]) -> ir.Table:
    """Return our totals of some controls: ``control``, ``KEYS``, ``measure``, ``name``, ``value``."""
    amount = "amount_invested" if dataset is Dataset.OWNERSHIP else "amount"
    measures = ["records", amount]
    if dataset is Dataset.OWNERSHIP:
        measures.append("value_of_interest")
    wide = union(
        _grouped(rows.filter(only(rows)), control, keys, measures, amount)
        for control in controls
        for only, keys in _GROUPINGS[control]
    )
    return measured(wide, measures, "value")


Only = Callable[["ir.Table"], "ir.BooleanValue"]


def _every(_: ir.Table) -> ir.BooleanValue:
    return ibis.literal(True)


def _of_types(*types: str) -> Only:
    return lambda rows: rows.recipient_type.isin(types)


_PEOPLE, _COVERED = _of_types(PHYSICIAN, PRACTITIONER), _of_types(PHYSICIAN, PRACTITIONER, HOSPITAL)
_GROUPINGS: Mapping[str, Sequence[tuple[Only, tuple[str, ...]]]] = {
    DASHBOARD: (
        (_every, ()),
        (_every, ("disputed",)),
        (lambda rows: rows.recipient_type.notnull(), ("recipient_type",)),
    ),
    ENTITY_NATURE: ((_every, ("company_id", "nature_code")),),
    "entity": ((_every, ("company_id",)),),
    "state": ((_COVERED, ("country", "state", "recipient_type")),),
    "specialty": ((_PEOPLE, ("specialty", "recipient_type")),),
    "national": ((_PEOPLE, ("recipient_type",)),),
    "physician": ((lambda rows: rows.profile_id.notnull(), ("profile_id",)),),
    "hospital": ((lambda rows: rows.hospital_ccn.notnull(), ("hospital_ccn",)),),
}
"""Which rows each control adds up, by which columns."""


def _grouped(
    rows: ir.Table, control: str, keys: tuple[str, ...], measures: list[str], amount: str
) -> ir.Table:
    sums = {"records": rows.count(), amount: rows.amount.sum()}
    if "value_of_interest" in measures:
        sums["value_of_interest"] = rows.value_of_interest.sum()
    if "company_id" in keys:
        sums["name"] = rows.company_name.max()
    grouped = rows.group_by(keys).aggregate(**sums) if keys else rows.aggregate(**sums)
    none = ibis.null("string")
    return grouped.select(
        control=ibis.literal(control),
        **{key: grouped[key] if key in keys else none for key in KEYS},
        name=grouped.name if "name" in sums else none,
        **{measure: grouped[measure].fill_null(0).cast(_MONEY) for measure in measures},
    )


def compare(ours: ir.Table, published: ir.Table) -> ir.Table:
    """Return every key of either side: ``control``, ``KEYS``, ``measure``, both and their difference.

    The dashboard has a line for some keys only; where it has none there is nothing to compare.
    """
    key = ["control", *KEYS, "measure"]
    none = ibis.null(_MONEY)
    sides = ibis.union(
        ours.select(*key, "name", ours="value", published=none),
        published.select(*key, "name", ours=none, published="value"),
        distinct=False,
    )
    both = sides.group_by(key).aggregate(
        name=ibis.coalesce(sides.name.max(where=sides.published.notnull()), sides.name.max()),
        ours=sides.ours.sum().cast(_MONEY),
        published=sides.published.sum().cast(_MONEY),
    )
    both = both.filter((both.control != DASHBOARD) | both.published.notnull())
    difference = both.ours.fill_null(0) - both.published.fill_null(0)
    return both.mutate(difference=difference.cast(_MONEY))


def reconciliation(
    compared: ir.Table, dataset: Dataset, program_year: int, release: date
) -> ir.Table:
    """Return ``curated.reconciliation``: a total per control and measure, and each key that is off."""
    off = compared["difference"] != 0
    keys = compared.filter(off).mutate(
        level=ibis.literal(KEY), keys_compared=ibis.literal(1), keys_off=ibis.literal(1)
    )
    # Lines of the dashboard overlap: of all of them only the one over everything is a total.
    adds = (compared.control != DASHBOARD) | ~reduce(
        or_, (compared[key].notnull() for key in ("recipient_type", "disputed"))
    )
    totals = compared.group_by(["control", "measure"]).aggregate(
        ours=compared.ours.sum(where=adds),
        published=compared.published.sum(where=adds),
        difference=compared["difference"].sum(where=adds),
        keys_compared=compared.count(),
        keys_off=off.cast("int64").sum(),
    )
    totals = totals.mutate(level=ibis.literal(TOTAL), difference=totals["difference"].fill_null(0))
    columns = curated_table("reconciliation").columns
    lineage = {
        "dataset": ibis.literal(str(dataset)),
        "program_year": ibis.literal(program_year),
        "release": ibis.literal(release),
    }

    def shaped(t: ir.Table) -> ir.Table:
        values = {
            c.name: lineage.get(c.name, t[c.name] if c.name in t.columns else ibis.null())
            for c in columns
        }
        return t.select(**{c.name: values[c.name].cast(c.type.to_ibis()) for c in columns})

    return ibis.union(shaped(totals), shaped(keys), distinct=False)


def largest_differences(reconciled: ir.Table, controls: Collection[str], limit: int) -> ir.Table:
    """Return the keys of some controls that are off by most."""
    found = reconciled.filter((reconciled.level == KEY) & reconciled.control.isin(sorted(controls)))
    order = ["control", *KEYS, "measure"]
    return found.order_by(ibis.desc(found["difference"].abs()), *order).limit(limit)
