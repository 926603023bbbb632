"""Staging: CMS text in any layout becomes one typed shape, and every rule is asked, in one pass.

The result holds every row of the file. ``QUARANTINED`` says which side of the split a row
belongs to; for a quarantined row ``warnings`` holds the quarantine rules it breaks and
``source_values`` the whole original row. So a single scan writes both sides, and conservation
holds by construction before it is proven by count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Column, ColumnType, Dataset, Layout
from openpay_assets.contracts.registry import (
    quarantine_table,
    source_columns,
    staging_table,
)
from openpay_assets.contracts.rules import (
    COPIES,
    FIELD_SEPARATOR,
    JOINED,
    PartitionFacts,
    Rule,
    Severity,
    rules_for,
    text_of,
    typed_columns,
)
from openpay_assets.transforms import cleaning

if TYPE_CHECKING:
    import ibis.expr.types as ir

QUARANTINED = "quarantined"
SOURCE_ROW = "source_row"
NOT_HASHED = frozenset({"record_id", "change_type", "payment_publication_date"})
"""Columns that may differ between publications of an unchanged record, and its key."""


@dataclass(frozen=True)
class StagingInput:
    """What staging is told about the file besides its rows."""

    facts: PartitionFacts
    layout: Layout
    source_file: str
    run_id: str


def stage(raw: ir.Table, source: StagingInput) -> ir.Table:
    """Type a CMS file, ask every rule, and say which rows are set aside.

    Args:
        raw: one row per CMS record: every CMS column as text (empty is NULL), ``source_row``
            (1 for the first record) and ``record_id_copies``.
        source: partition, layout and lineage.

    Returns:
        The columns of ``staging_table(dataset)`` and ``quarantined``.
    """
    typed = _typed(_canonical(raw, source.layout), source.layout)
    flags = {rule: _broken(rule) for rule in rules_for(source.facts)}
    judged = typed.mutate(
        **{_flag(rule): broken(typed, source.facts) for rule, broken in flags.items()}
    )
    quarantine = [rule for rule in flags if rule.severity is Severity.QUARANTINE]
    warn = [rule for rule in flags if rule.severity is Severity.WARN]
    split = judged.mutate(
        **{
            QUARANTINED: _any_of([judged[_flag(rule)] for rule in quarantine]),
            "warned": _any_of([judged[_flag(rule)] for rule in warn]),
        }
    )
    return split.select(
        *_staged_columns(split, source, quarantine, warn, raw.columns), split[QUARANTINED]
    )


def quarantine(rejected: ir.Table, source: StagingInput) -> ir.Table:
    """Turn the quarantined side of ``stage`` into rows of ``quarantine.records``."""
    has_interest = source.facts.dataset is Dataset.OWNERSHIP
    interest = rejected.value_of_interest if has_interest else ibis.null("decimal(18, 2)")
    values = {
        "dataset": rejected.dataset,
        "program_year": ibis.literal(source.facts.program_year, "int32"),
        "release": rejected.release,
        "source_file": rejected.source_file,
        SOURCE_ROW: rejected.source_row,
        "record_id": rejected.record_id,
        "amount": rejected.amount,
        "value_of_interest": interest,
        "reasons": rejected.warnings,
        "original": rejected.source_values,
        "row_hash": rejected.row_hash,
        "run_id": rejected.run_id,
    }
    return rejected.select(**{name: values[name] for name in quarantine_table().column_names})


def _canonical(raw: ir.Table, layout: Layout) -> ir.Table:
    """Rename the layout's columns; columns other layouts have are NULL."""
    source_of = layout.source_of
    columns = {
        column.name: raw[source_of[column.name]]
        if column.name in source_of
        else ibis.null("string")
        for column in source_columns(layout.dataset)
    }
    originals = {f"source__{name}": raw[name] for name in raw.columns if name not in _RAW_EXTRAS}
    return raw.select(**columns, **originals, **{name: raw[name] for name in _RAW_EXTRAS})


_RAW_EXTRAS = (SOURCE_ROW, COPIES)


def _typed(t: ir.Table, layout: Layout) -> ir.Table:
    """Type what is not text, keeping the text beside it, and join all text for the hash."""
    columns = typed_columns(layout.dataset)
    return t.mutate(
        **{text_of(c.name): t[c.name] for c in columns},
        **{c.name: _parse(t[c.name], c.type) for c in columns},
        **{JOINED: _joined(t, layout)},
    )


def _parse(text: ir.StringValue, kind: ColumnType) -> ir.Value:
    """Parse text strictly; anything else than the exact CMS form is NULL."""
    if kind is ColumnType.MONEY:
        exact = text.re_search("^[0-9]{1,16}([.][0-9]{1,2})?\\z")
        return exact.ifelse(text, ibis.null("string")).try_cast("decimal(18, 2)")
    if kind is ColumnType.DATE:
        # One replacement takes a quarter of the time of a test and a day put together from its
        # parts. What it leaves as it was is no CMS date. There is no year 0: engines name it
        # differently and Python cannot hold it.
        year = "[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9]"
        iso = text.re_replace(f"^([0-9]{{2}})/([0-9]{{2}})/({year})\\z", r"\3-\1-\2")
        return iso.nullif(text).try_cast("date")
    digits, target = {
        ColumnType.INTEGER: ("^[0-9]{1,18}\\z", "int64"),
        ColumnType.YEAR: ("^[0-9]{4}\\z", "int32"),
    }[kind]
    return text.re_search(digits).ifelse(text, ibis.null("string")).try_cast(target)


def _joined(t: ir.Table, layout: Layout) -> ir.StringValue:
    """Join the normalised business columns: one md5 over one text costs far less than many.

    Normalised means one spelling of what CMS wrote otherwise in other years: until January 2016
    ``/ `` delimited specialty paths, which alone would make most rows of a republication look
    changed. A column that the layout lacks counts as empty, so that equal records hash alike in
    every layout.
    """
    parts: list[ir.StringValue] = [ibis.literal("")]
    skipped = ""
    for column in source_columns(layout.dataset):
        if column.name in NOT_HASHED:
            continue
        if column.name not in layout.source_of:
            skipped += FIELD_SEPARATOR
            continue
        if skipped:
            parts.append(ibis.literal(skipped[1:]))
            skipped = ""
        parts.append(normalised(t[column.name], column).fill_null(""))
    if skipped:
        parts.append(ibis.literal(skipped[1:]))
    return ibis.literal(FIELD_SEPARATOR).join(parts)


def normalised(value: ir.StringValue, column: Column) -> ir.StringValue:
    """Return the text of a column as releases are compared: format-only churn removed."""
    if column.pattern == "taxonomy_path":
        return cleaning.taxonomy_path(value)
    spelling = {
        "nature_of_payment": cleaning.nature,
        "product_indicator": cleaning.product_indicator,
    }.get(column.values)
    return spelling(value) if spelling else value


def _flag(rule: Rule) -> str:
    return f"broken__{rule.name}"


def _broken(rule: Rule) -> Callable[[ir.Table, PartitionFacts], ir.BooleanValue]:
    """Ask a rule; what is unknown stays NULL, and is not broken."""
    return lambda t, facts: ~rule.holds(t, facts)


def _any_of(flags: Sequence[ir.BooleanValue]) -> ir.BooleanValue:
    return reduce(or_, flags, ibis.literal(False)).fill_null(False)


def _staged_columns(
    t: ir.Table,
    source: StagingInput,
    quarantine_rules: Sequence[Rule],
    warn_rules: Sequence[Rule],
    raw_columns: Sequence[str],
) -> list[ir.Value]:
    names_broken = ibis.cases(
        (t[QUARANTINED], _names(t, quarantine_rules)),
        (t.warned, _names(t, warn_rules)),
        else_=ibis.literal([], "array<string>"),
    )
    lineage = {
        "dataset": ibis.literal(str(source.facts.dataset)),
        "release": ibis.literal(source.facts.release),
        "source_file": ibis.literal(source.source_file),
        "run_id": ibis.literal(source.run_id),
        "row_hash": t[JOINED].hexdigest("md5"),
        "warnings": names_broken,
        "source_values": _source_values(t, source, raw_columns),
    }
    table = staging_table(source.facts.dataset)
    return [
        (lineage[c.name] if c.name in lineage else t[c.name]).cast(c.type.to_ibis()).name(c.name)
        for c in table.columns
    ]


def _names(t: ir.Table, rules: Sequence[Rule]) -> ir.ArrayValue:
    """Return the names of the rules a row breaks; built only for the few rows that break one."""
    named = [t[_flag(rule)].ifelse(rule.name, ibis.null("string")) for rule in rules]
    return ibis.array(named).filter(lambda name: name.notnull())


def _source_values(t: ir.Table, source: StagingInput, raw_columns: Sequence[str]) -> ir.MapValue:
    """Return the whole row when it is set aside, else the values that could not be typed."""
    originals = [name for name in raw_columns if name not in _RAW_EXTRAS]
    whole = ibis.map(ibis.array(originals), ibis.array([t[f"source__{x}"] for x in originals]))
    cases = [(t[QUARANTINED], whole)]
    for column in typed_columns(source.facts.dataset):
        if not column.required and column.name in source.layout.source_of:
            text = t[text_of(column.name)]
            untyped = text.notnull() & t[column.name].isnull()
            name = source.layout.source_of[column.name]
            cases.append((untyped, ibis.map(ibis.array([name]), ibis.array([text]))))
    return ibis.cases(*cases, else_=ibis.null("map<string, string>"))
