"""Payment products: one row per filled product slot, the payment divided over them.

CMS names up to five products (before PY2016 five drugs and five devices) and does not split the
payment. The division here is even, to the cent, and sums back to the payment exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import ibis
from ibis import _

from openpay_assets.contracts.model import Layout
from openpay_assets.contracts.rules import COMPANY_ID, filled, is_placeholder, product_slots
from openpay_assets.transforms import cleaning
from openpay_assets.transforms.shape import as_curated, recipient_key, union_all

if TYPE_CHECKING:
    import ibis.expr.types as ir

NAME = "payment_products"
FILLED = "filled_slots"
Slot = tuple[int, tuple[str, ...]]
"""The number of a product slot, and its columns."""
LEGACY_KINDS = {True: "Drug or Biological", False: "Device or Medical Supply"}


def payment_products(staged: ir.Table, layout: Layout) -> ir.Table:
    """Return ``curated.payment_products`` of one staged partition in its layout.

    Most records name one product, in the first slot: they are taken as they are. Each of the others
    is repeated for its filled slots and takes the values of the slot, which are derived before,
    where most columns are still dictionaries. Ownership has no products: the table is empty.
    """
    slots = product_slots(frozenset(layout.source_of))
    if not slots:
        return union_all([], staged, NAME)
    (_, first), *others = slots
    further = filled(staged, [name for _number, fields in others for name in fields])
    parts = [
        _only_first(staged.filter(filled(staged, first) & ~further), slots),
        _several(staged.filter(further), slots),
    ]
    return union_all([_as_products(part, layout) for part in parts], staged, NAME)


def _as_products(t: ir.Table, layout: Layout) -> ir.Table:
    t = cleaning.without_debris(t.mutate(**_keys(t, layout)))
    return as_curated(t, NAME, {"is_named": t.is_named & t.product_name.notnull()})


def _only_first(t: ir.Table, slots: Sequence[Slot]) -> ir.Table:
    """Give each payment to the product in its first slot, whole."""
    number, fields = slots[0]
    return t.mutate(
        **_product(t, fields),
        slot=ibis.literal(number, "int64"),
        weight=ibis.literal(1.0, "float64"),
        allocated_amount=t.amount,
    )


def _several(staged: ir.Table, slots: Sequence[Slot]) -> ir.Table:
    """Repeat each payment for its filled slots, and divide it over them."""
    products = [_product(staged, fields) for _number, fields in slots]
    derived = {
        _at(name, position): value
        for position, product in enumerate(products)
        for name, value in product.items()
    }
    positions = [
        filled(staged, fields).ifelse(position, ibis.null("int64"))
        for position, (_number, fields) in enumerate(slots)
    ]
    filled_slots = ibis.array(positions).filter(lambda x: x.notnull())
    t = _shared(staged.mutate(**derived, **{FILLED: filled_slots}))
    t = t.mutate(position=_[FILLED].unnest())
    return t.mutate(**_shares(t), **_of_slot(t, slots, products))


def _shared(t: ir.Table) -> ir.Table:
    """Divide each payment once, before it is repeated: what each slot gets, and what is left."""
    # The filter keeps no row with a count of zero, yet an engine may divide before it filters.
    # Of 18 digits there is no room for two more.
    t = t.mutate(
        count=t[FILLED].length().nullif(0),
        cents=(t.amount.cast("decimal(20, 2)") * 100).cast("int64"),
    )
    # Division goes through a float; what it is off by beyond 2^53 cents is put right.
    t = t.mutate(rough=t.cents // t["count"])
    t = t.mutate(even=t.rough + (t.cents - t.rough * t["count"]) // t["count"])
    return t.mutate(left=t.cents % t["count"], weight=1 / t["count"].cast("float64"))


def _shares(t: ir.Table) -> dict[str, ir.Value]:
    rank = t[FILLED].index(t.position) + 1
    share = t.even + (rank <= t.left).cast("int64")
    return {
        "weight": t.weight,
        "allocated_amount": share.cast("decimal(20, 0)") * Decimal("0.01"),
    }


def _of_slot(
    t: ir.Table, slots: Sequence[Slot], products: list[dict[str, ir.Value]]
) -> dict[str, ir.Value]:
    """Take the values of the slot at hand."""
    values = {
        name: _chosen(
            t, [(n, t[_at(name, n)]) for n, product in enumerate(products) if name in product]
        )
        for name in dict.fromkeys(name for product in products for name in product)
    }
    numbers = [(n, ibis.literal(number, "int64")) for n, (number, _fields) in enumerate(slots)]
    return {**values, "slot": _chosen(t, numbers)}


def _chosen(t: ir.Table, by_position: list[tuple[int, ir.Value]]) -> ir.Value:
    return ibis.cases(*((t.position == n, value) for n, value in by_position))


def _keys(t: ir.Table, layout: Layout) -> dict[str, ir.Value]:
    return {
        "company_id": t[COMPANY_ID],
        "recipient_key": recipient_key(t, layout.dataset),
        "is_disputed": cleaning.yes(t.dispute_status_for_publication),
    }


def _at(name: str, position: int) -> str:
    return f"{name}__{position}"


def _product(t: ir.Table, fields: tuple[str, ...]) -> dict[str, ir.Value]:
    values = _reported(t, fields)
    is_named = ~is_placeholder(values["product_name"]).fill_null(True)
    return {**values, "is_named": is_named}


def _reported(t: ir.Table, fields: tuple[str, ...]) -> dict[str, ir.Value]:
    by_prefix = {name.rsplit("_", 1)[0]: t[name] for name in fields}

    def field(prefix: str) -> ir.Value:
        return by_prefix.get(prefix, ibis.null("string"))

    if "legacy" in fields[0]:
        is_drug = "drug" in fields[0]
        ndc = field("legacy_ndc_of_associated_covered_drug_or_biological")
        return {
            "product_name": t[fields[0]],
            "product_kind": ibis.literal(LEGACY_KINDS[is_drug]),
            "is_covered": ibis.literal(True),
            "ndc": ndc,
            "ndc_11": ndc_11(ndc),
        }
    covered = field("covered_or_noncovered_indicator")
    ndc = field("associated_drug_or_biological_ndc")
    return {
        "product_name": field("name_of_drug_or_biological_or_device_or_medical_supply"),
        "product_kind": field("indicate_drug_or_biological_or_device_or_medical_supply"),
        "is_covered": ibis.cases(
            (covered == "Covered", True),
            (covered == "Non-Covered", False),
            else_=ibis.null("boolean"),
        ),
        "product_category": field("product_category_or_therapeutic_area"),
        "ndc": ndc,
        "ndc_11": ndc_11(ndc),
        "pdi": field("associated_device_or_medical_supply_pdi").lstrip().replace("'", ""),
    }


def ndc_11(ndc: ir.StringValue) -> ir.StringValue:
    """Write a National Drug Code as 11 digits.

    A zero goes where a hyphenated group is one short of 5-4-2. Ten digits without hyphens do
    not say which group is short, so they stay empty, as does what is no NDC.
    https://www.fda.gov/drugs/drug-approvals-and-databases/national-drug-code-database-background-information
    """
    plain = ndc.replace("-", "")
    return ibis.cases(
        (ndc.re_search("^[0-9]{4}-[0-9]{4}-[0-9]{2}\\z"), "0" + plain),
        (
            ndc.re_search("^[0-9]{5}-[0-9]{3}-[0-9]{2}\\z"),
            plain.substr(0, 5) + "0" + plain.substr(5, 5),
        ),
        (
            ndc.re_search("^[0-9]{5}-[0-9]{4}-[0-9]\\z"),
            plain.substr(0, 9) + "0" + plain.substr(9, 1),
        ),
        (ndc.re_search("^([0-9]{5}-[0-9]{4}-[0-9]{2}|[0-9]{11})\\z"), plain),
        else_=ibis.null("string"),
    )
