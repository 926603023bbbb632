"""Investigators: one row per filled principal investigator slot of a research payment.

The payment went to the recipient; investigators are associated with all of it and received none
of it by being named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Dataset, Layout
from openpay_assets.contracts.rules import (
    COMPANY_ID,
    INVESTIGATOR_SLOTS,
    filled,
    investigator_fields,
)
from openpay_assets.transforms import cleaning
from openpay_assets.transforms.shape import as_curated, recipient_key, union_all

if TYPE_CHECKING:
    import ibis.expr.types as ir


def investigators(staged: ir.Table, layout: Layout) -> ir.Table:
    """Return ``curated.investigators`` of one staged partition; empty outside research."""
    is_research = layout.dataset is Dataset.RESEARCH
    rows = [_slot(staged, slot) for slot in INVESTIGATOR_SLOTS] if is_research else []
    return union_all(rows, staged, "investigators")


def _slot(staged: ir.Table, slot: int) -> ir.Table:
    prefix = f"principal_investigator_{slot}_"
    with_any = staged.filter(filled(staged, investigator_fields(slot)))
    t = cleaning.with_npi(with_any, f"{prefix}npi")
    values = {
        **{
            column: t[f"{prefix}{column}"]
            for column in (
                "profile_id",
                "first_name",
                "middle_name",
                "last_name",
                "name_suffix",
                "city",
                "state",
                "zip_code",
            )
        },
        "slot": ibis.literal(slot, "int64"),
        "npi": t.npi,
        "full_name": t[f"legacy_{prefix}full_name"],
        "recipient_type": cleaning.recipient_type(t[f"{prefix}covered_recipient_type"]),
        "country": cleaning.country(t[f"{prefix}country"]),
        "primary_type": t[f"{prefix}primary_type_1"],
        "specialty": cleaning.taxonomy_path(t[f"{prefix}specialty_1"]),
        "associated_amount": t.amount,
        "company_id": t[COMPANY_ID],
        "recipient_key": recipient_key(t, Dataset.RESEARCH),
    }
    t = cleaning.without_debris(t.mutate(**values))
    name = ibis.coalesce(cleaning.person_name(t.last_name, t.first_name), t.full_name)
    return as_curated(t, "investigators", {"full_name": name})
