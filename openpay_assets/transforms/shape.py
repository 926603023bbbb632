"""Shapes shared by the curated transforms: columns of a contract, keys, unions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import curated_table
from openpay_assets.transforms import cleaning

if TYPE_CHECKING:
    import ibis.expr.types as ir


def as_curated(t: ir.Table, name: str, values: Mapping[str, ir.Value]) -> ir.Table:
    """Select the columns of a curated table: given, taken over by name, or empty."""
    columns = {}
    for column in curated_table(name).columns:
        if column.name in values:
            value = values[column.name]
        elif column.name in t.columns:
            value = t[column.name]
        else:
            value = ibis.null()
        columns[column.name] = value.cast(column.type.to_ibis())
    return t.select(**columns)


def union_all(rows: Sequence[ir.Table], source: ir.Table, name: str) -> ir.Table:
    """Put tables of one curated shape together; without any, an empty one of that shape."""
    if not rows:
        return as_curated(source, name, {}).filter(ibis.literal(False))
    return rows[0] if len(rows) == 1 else ibis.union(*rows, distinct=False)


def recipient_key(staged: ir.Table, dataset: Dataset) -> ir.StringValue:
    """Say who received: ``physician:PROFILE``, ``hospital:ID`` or ``entity:NAME``.

    Names of entities are compared in upper case. An individual who is not covered is not named
    by CMS.
    """
    if dataset is Dataset.OWNERSHIP:
        return "physician:" + staged.physician_profile_id
    keys = [
        "physician:" + staged.covered_recipient_profile_id,
        "hospital:" + staged.teaching_hospital_id,
    ]
    if dataset is Dataset.RESEARCH:
        keys.append("entity:" + cleaning.upper(staged.noncovered_recipient_entity_name))
    return ibis.coalesce(*keys, ibis.literal("individual:not named"))
