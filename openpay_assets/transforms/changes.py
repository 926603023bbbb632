"""What a release changed against the one before it in the lake, record by record.

Record ids and row hashes of both releases are compared first, a scan of two columns each. Only
records that differ are read in full, so the cost follows what changed and not the file.

Decided for records in quarantine: they are part of both releases, since CMS published them. A
record that moves between staging and quarantine is ``changed`` and says in which release it is
set aside, never added or removed. Its columns are not compared, for the quarantined side is text
that could not be typed. A record in quarantine in both releases is not listed. Rows whose record
id is empty cannot be followed and are left out.

Decided for layouts: columns that either layout lacks are compared away. Row hashes then differ
for every record, so a hash over the columns of both layouts takes their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Column, Dataset, Layout
from openpay_assets.contracts.registry import curated_table, source_columns
from openpay_assets.contracts.rules import COMPANY_ID, FIELD_SEPARATOR
from openpay_assets.transforms.shape import recipient_key
from openpay_assets.transforms.stage import NOT_HASHED, normalised

if TYPE_CHECKING:
    import ibis.expr.types as ir

COMPANY_NAME = "applicable_manufacturer_or_applicable_gpo_making_payment_name"
DISPUTE = "dispute_status_for_publication"


class Kind(StrEnum):
    """What happened to a record between two releases."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True)
class ReleaseRows:
    """One release of a partition: rows of staging and of the quarantine, and their layout."""

    staged: ir.Table
    quarantined: ir.Table
    layout: Layout
    release: date


def common_columns(old: Layout, new: Layout) -> list[Column]:
    """Return the business columns that both layouts have: those that can be compared."""
    both = old.source_of.keys() & new.source_of.keys() - NOT_HASHED
    return [column for column in source_columns(new.dataset) if column.name in both]


def release_changes(old: ReleaseRows, new: ReleaseRows, program_year: int) -> ir.Table:
    """Return ``curated.release_changes``: one row per record that differs between two releases.

    Values in ``old_values`` and ``new_values`` are as staged, specialty paths delimited by ``|``.
    ``amount_moved`` counts a record that is not there as zero dollars. A difference in how a
    value is written (``10`` and ``10.00``) is none.
    """
    dataset = new.layout.dataset
    columns = common_columns(old.layout, new.layout)
    differing = _differing(old, new, columns)
    is_compared = (differing.kind == Kind.CHANGED) & differing.quarantined_in.isnull()
    rows = ibis.union(
        _compared(differing.filter(is_compared), old, new, columns),
        _listed(differing.filter(~is_compared), old, new),
        distinct=False,
    )
    has_interest = dataset is Dataset.OWNERSHIP
    values = {
        "dataset": ibis.literal(str(dataset)),
        "program_year": ibis.literal(program_year, "int32"),
        "release": ibis.literal(new.release),
        "previous_release": ibis.literal(old.release),
        "amount_moved": _moved(rows, "amount"),
        "value_of_interest_moved": _moved(rows, "value_of_interest")
        if has_interest
        else ibis.null("decimal(18, 2)"),
    }
    return rows.select(
        **{
            c.name: (values[c.name] if c.name in values else rows[c.name]).cast(c.type.to_ibis())
            for c in curated_table("release_changes").columns
        }
    )


def flagged(staged: ir.Table) -> ir.Table:
    """One row per CMS flag: ``change_type`` and ``rows``."""
    return staged.group_by("change_type").aggregate(rows=staged.count())


def summary(changes: ir.Table) -> ir.Table:
    """One row per kind, CMS flag and side in quarantine: rows and dollars moved.

    ``disputes`` counts the rows in which only the dispute status differs.
    """
    only_dispute = (changes.changed_columns.length() == 1) & changes.changed_columns.contains(
        DISPUTE
    )
    return changes.group_by("kind", "change_type", "quarantined_in").aggregate(
        rows=changes.count(),
        disputes=only_dispute.cast("int64").sum(),
        amount=changes.amount_moved.sum(),
        value_of_interest=changes.value_of_interest_moved.sum(),
    )


def column_counts(changes: ir.Table) -> ir.Table:
    """One row per column that differs in any record: ``column`` and ``rows``."""
    each = changes.select(column=changes.changed_columns.unnest())
    return each.group_by("column").aggregate(rows=each.count())


def flagged_ids(
    staged: ir.Table, changes: ir.Table, flags: Sequence[str], kinds: Sequence[Kind | None]
) -> ir.Table:
    """Return ids of records with some CMS flags that are of some kinds; None is unchanged."""
    listed = changes.filter(
        changes.change_type.isin(flags)
        & changes.kind.isin([str(kind) for kind in kinds if kind])
        & changes.quarantined_in.isnull()
    ).select("record_id")
    if None not in kinds:
        return listed
    asked = staged.filter(staged.change_type.isin(flags)).select("record_id")
    return ibis.union(listed, asked.anti_join(changes, "record_id"), distinct=False)


def unlisted(changes: ir.Table, tombstones: ir.Table) -> ir.Table:
    """Return ids of removed records that CMS's list of removed records lacks."""
    gone = changes.filter(changes.kind == Kind.REMOVED).select("record_id")
    return gone.anti_join(tombstones, "record_id")


def unremoved(changes: ir.Table, tombstones: ir.Table) -> ir.Table:
    """Return ids that CMS lists as removed and that did not leave between the two releases."""
    gone = changes.filter(changes.kind == Kind.REMOVED).select("record_id")
    return tombstones.select("record_id").anti_join(gone, "record_id")


def alive(tombstones: ir.Table, new: ReleaseRows) -> ir.Table:
    """Return ids that CMS lists as removed though the release still holds them."""
    held = ibis.union(
        new.staged.select("record_id"), new.quarantined.select("record_id"), distinct=False
    )
    return tombstones.select("record_id").semi_join(held, "record_id")


def _differing(old: ReleaseRows, new: ReleaseRows, columns: list[Column]) -> ir.Table:
    """One row per record that is not the same in both: ``record_id, kind, quarantined_in``."""
    has_one_layout = old.layout.name == new.layout.name
    before = _hashes(old, None if has_one_layout else columns)
    after = _hashes(new, None if has_one_layout else columns).select(
        new_id="record_id", new_hash="hash"
    )
    both = before.outer_join(after, before.record_id == after.new_id)
    was, is_now = both.record_id.notnull(), both.new_id.notnull()
    # No hash means quarantine; without one on both sides nothing can be said.
    same = was & is_now & both["hash"].identical_to(both.new_hash)
    found = both.filter(~same)
    was, is_now = found.record_id.notnull(), found.new_id.notnull()
    return found.select(
        record_id=ibis.coalesce(found.record_id, found.new_id),
        kind=ibis.cases(
            (~was, str(Kind.ADDED)), (~is_now, str(Kind.REMOVED)), else_=str(Kind.CHANGED)
        ),
        quarantined_in=ibis.cases(
            (was & found["hash"].isnull(), "previous"),
            (is_now & found.new_hash.isnull(), "this"),
            else_=ibis.null("string"),
        ),
    )


def _hashes(rows: ReleaseRows, columns: list[Column] | None) -> ir.Table:
    staged = rows.staged
    value = (
        staged.row_hash
        if columns is None
        else ibis.literal(FIELD_SEPARATOR)
        .join([_text(staged, column).fill_null("") for column in columns])
        .hexdigest("md5")
    )
    aside = rows.quarantined.filter(rows.quarantined.record_id.notnull())
    return ibis.union(
        staged.select("record_id", hash=value),
        aside.select("record_id").distinct().mutate(hash=ibis.null("string")),
        distinct=False,
    )


def _text(staged: ir.Table, column: Column) -> ir.StringValue:
    return normalised(staged[column.name].cast("string"), column)


def _compared(
    differing: ir.Table, old: ReleaseRows, new: ReleaseRows, columns: list[Column]
) -> ir.Table:
    """Compare the columns of records that are staged in both releases."""
    before = _wide(old, differing, columns, "old")
    after = _wide(new, differing, columns, "new").rename(new_id="record_id")
    both = before.join(after, before.record_id == after.new_id)
    names = ibis.array([column.name for column in columns])
    differences = names.zip(both.old_texts, both.new_texts).filter(
        lambda x: ~x.f2.identical_to(x.f3)
    )
    named = both.mutate(differences=differences)
    found = named.mutate(changed_columns=named.differences.map(lambda x: x.f1))
    changed = found.filter(found.changed_columns.length() > 0)
    return changed.select(
        record_id=changed.record_id,
        kind=ibis.literal(str(Kind.CHANGED)),
        change_type=changed.new_change_type,
        quarantined_in=ibis.null("string"),
        changed_columns=changed.changed_columns,
        old_values=ibis.map(changed.changed_columns, changed.differences.map(lambda x: x.f2)),
        new_values=ibis.map(changed.changed_columns, changed.differences.map(lambda x: x.f3)),
        **_money(changed),
        **{name: changed[f"new_{name}"] for name in WHO},
    )


WHO = ("company_id", "company_name", "recipient_key")
_DETAILS = ("change_type", "amount", "value_of_interest", *WHO)


def _money(t: ir.Table) -> dict[str, ir.Value]:
    return {
        f"{measure}_{when}": t[f"{side}_{measure}"]
        for measure in ("amount", "value_of_interest")
        for when, side in (("before", "old"), ("after", "new"))
    }


def _wide(rows: ReleaseRows, wanted: ir.Table, columns: list[Column], side: str) -> ir.Table:
    few = rows.staged.semi_join(wanted, "record_id")
    texts = ibis.array([_text(few, column) for column in columns])
    details = {f"{side}_{name}": x for name, x in _staged_details(few, rows.layout).items()}
    return few.select("record_id", **details, **{f"{side}_texts": texts})


def _listed(differing: ir.Table, old: ReleaseRows, new: ReleaseRows) -> ir.Table:
    """Describe records of which at most one release has typed columns."""
    before, after = _details(old, differing, "old"), _details(new, differing, "new")
    rows = differing.left_join(before, differing.record_id == before.old_id)
    rows = rows.left_join(after, rows.record_id == after.new_id)
    return rows.select(
        record_id=rows.record_id,
        kind=rows.kind,
        change_type=rows.new_change_type,
        quarantined_in=rows.quarantined_in,
        changed_columns=ibis.literal([], "array<string>"),
        old_values=ibis.null("map<string, string>"),
        new_values=ibis.null("map<string, string>"),
        **_money(rows),
        **{name: ibis.coalesce(rows[f"new_{name}"], rows[f"old_{name}"]) for name in WHO},
    )


def _details(rows: ReleaseRows, wanted: ir.Table, side: str) -> ir.Table:
    """Return what is told of a record whose columns are not compared, from either table."""
    staged = rows.staged.semi_join(wanted, "record_id")
    aside = rows.quarantined.semi_join(wanted, "record_id")
    told = ibis.union(
        staged.select("record_id", **_typed(_staged_details(staged, rows.layout))),
        _once(aside.select("record_id", **_typed(_quarantined_details(aside, rows.layout)))),
        distinct=False,
    )
    return told.select(
        **{f"{side}_id": told.record_id}, **{f"{side}_{name}": told[name] for name in _DETAILS}
    )


def _typed(details: dict[str, ir.Value]) -> dict[str, ir.Value]:
    money = ("amount", "value_of_interest")
    return {k: x.cast("decimal(18, 2)" if k in money else "string") for k, x in details.items()}


def _once(aside: ir.Table) -> ir.Table:
    """Make one row of a record id that repeats, which is why such rows are in quarantine."""
    money = ("amount", "value_of_interest")
    return aside.group_by("record_id").aggregate(
        **{
            name: aside[name].sum().cast("decimal(18, 2)") if name in money else aside[name].min()
            for name in _DETAILS
        }
    )


def _staged_details(staged: ir.Table, layout: Layout) -> dict[str, ir.Value]:
    has_interest = layout.dataset is Dataset.OWNERSHIP
    return {
        "change_type": staged.change_type,
        "amount": staged.amount,
        "value_of_interest": staged.value_of_interest
        if has_interest
        else ibis.null("decimal(18, 2)"),
        "company_id": staged[COMPANY_ID],
        "company_name": staged[COMPANY_NAME],
        "recipient_key": recipient_key(staged, layout.dataset),
    }


def _quarantined_details(aside: ir.Table, layout: Layout) -> dict[str, ir.Value]:
    def reported(column: str) -> ir.Value:
        name = layout.source_of.get(column)
        return ibis.null("string") if name is None else aside.original.get(name)

    return {
        "change_type": reported("change_type"),
        "amount": aside.amount,
        "value_of_interest": aside.value_of_interest,
        "company_id": reported(COMPANY_ID),
        "company_name": reported(COMPANY_NAME),
        "recipient_key": ibis.null("string"),
    }


def _moved(rows: ir.Table, measure: str) -> ir.Value:
    zero = ibis.literal(0, "decimal(18, 2)")
    return rows[f"{measure}_after"].fill_null(zero) - rows[f"{measure}_before"].fill_null(zero)
