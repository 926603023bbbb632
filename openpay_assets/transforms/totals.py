"""Published totals: CMS's summaries as one long table, a row for each key and measure.

Rows that add up others (``ALL`` in place of a year, a state or a type) are left out: they would
count everything twice. A control is what CMS adds up; its key is in the columns that it uses,
the others are empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.published import Metric, PublishedLayout, dashboard_metrics
from openpay_assets.contracts.registry import curated_table
from openpay_assets.contracts.rules import HOSPITAL, PHYSICIAN, PRACTITIONER

if TYPE_CHECKING:
    import ibis.expr.types as ir

KEYS = (
    "company_id",
    "nature_code",
    "country",
    "state",
    "specialty",
    "profile_id",
    "hospital_ccn",
    "recipient_type",
    "disputed",
)
"""Columns that a key may use."""
RECIPIENTS = {PHYSICIAN: "physicians", PRACTITIONER: "practitioners", HOSPITAL: "hospitals"}
"""Recipient types that summaries tell apart, and how their columns end."""
MEASURES = {
    Dataset.GENERAL: {"records": "general_records", "amount": "general_amount"},
    Dataset.RESEARCH: {"records": "research_records", "amount": "research_amount"},
    Dataset.OWNERSHIP: {
        "amount_invested": "invested_amount",
        "value_of_interest": "interest_amount",
    },
}
"""Columns of the summaries that have one per dataset, by measure."""
MEASURE_NAMES = ("records", "amount", "amount_invested", "value_of_interest")
ROLL_UP = "ALL"
TEXT = "text"


@dataclass(frozen=True)
class SummaryInput:
    """A landed summary, as text, and the partition whose totals are wanted from it."""

    kind: str
    rows: ir.Table
    layout: PublishedLayout
    source_file: str


def control_of(kind: str) -> str:
    """Return the control that a kind of summary gives: its kind without the word."""
    return kind.removesuffix("_summary")


def published_totals(
    summaries: Sequence[SummaryInput], dataset: Dataset, program_year: int, release: date
) -> ir.Table:
    """Return ``curated.published_totals`` of one partition, with each value's ``text`` beside it.

    A text that is no number leaves ``value`` empty; the caller says so and stops.
    """
    rows = _without_roll_ups(
        union(_READERS[summary.kind](summary, dataset, program_year) for summary in summaries)
    )
    long = measured(rows, MEASURE_NAMES, TEXT)
    filled = long.filter(long[TEXT].notnull())
    lineage = {
        "dataset": ibis.literal(str(dataset)),
        "program_year": ibis.literal(program_year),
        "release": ibis.literal(release),
        "value": number(filled[TEXT]),
    }
    columns = curated_table("published_totals").columns
    values = {c.name: lineage[c.name] if c.name in lineage else filled[c.name] for c in columns}
    return filled.select(
        **{c.name: values[c.name].cast(c.type.to_ibis()) for c in columns}, text=filled[TEXT]
    )


def union(parts: Iterable[ir.Table]) -> ir.Table:
    """Put tables of one shape together."""
    listed = list(parts)
    return listed[0] if len(listed) == 1 else ibis.union(*listed, distinct=False)


def measured(wide: ir.Table, measures: Sequence[str], value: str) -> ir.Table:
    """Turn a column per measure into a row per measure: ``measure`` and the value."""
    kept = [name for name in wide.columns if name not in measures]
    return union(
        wide.select(*kept, measure=ibis.literal(measure), **{value: wide[measure]})
        for measure in measures
    )


def _without_roll_ups(rows: ir.Table) -> ir.Table:
    is_roll_up = [rows[key].strip().upper() == ROLL_UP for key in KEYS]
    return rows.filter(~ibis.or_(*(x.fill_null(False) for x in is_roll_up)))


def number(text: ir.StringValue) -> ir.DecimalValue:
    """Read records or dollars as the summaries write them; NULL when it is no number."""
    bare = text.strip().replace("$", "").replace(",", "")
    exact = bare.re_search("^-?[0-9]{1,16}([.][0-9]{1,2})?0*\\z")
    return exact.ifelse(bare, ibis.null("string")).try_cast("decimal(18, 2)")


def unknown_lines(dashboard: SummaryInput) -> ir.Table:
    """Return the lines of the dashboard whose meaning is not known: ``metric``."""
    metric = _column(dashboard, "metric")
    lines = dashboard.rows.select(metric=metric)
    known = [folded(x.metric) for x in dashboard_metrics()]
    return lines.filter(~_folded(lines.metric).isin(known))


def _column(summary: SummaryInput, name: str) -> ir.StringValue:
    return summary.rows[summary.layout.source_of[name]]


def folded(text: str) -> str:
    """Write a label without what may differ between releases: letter case and blanks."""
    return re.sub(" +", " ", text.strip().lower())


def _folded(text: ir.StringValue) -> ir.StringValue:
    return text.strip().lower().re_replace(" +", " ")


def _rows(
    summary: SummaryInput,
    t: ir.Table,
    keys: Mapping[str, ir.Value],
    measures: Mapping[str, ir.Value],
    name: ir.Value | None = None,
) -> ir.Table:
    """Return rows of a summary in one shape: control, every key, name, a text per measure."""
    none = ibis.null("string")
    return t.select(
        control=ibis.literal(control_of(summary.kind)),
        source_file=ibis.literal(summary.source_file),
        **{key: keys.get(key, none).cast("string") for key in KEYS},
        name=(none if name is None else name).cast("string"),
        **{measure: measures.get(measure, none).cast("string") for measure in MEASURE_NAMES},
    )


def _nothing(summary: SummaryInput) -> ir.Table:
    """Return no rows: the summary says nothing about the dataset."""
    return _rows(summary, summary.rows.filter(ibis.literal(False)), {}, {})


def _of_year(summary: SummaryInput, program_year: int) -> SummaryInput:
    year = _column(summary, "program_year").strip()
    return SummaryInput(
        summary.kind,
        summary.rows.filter(year == str(program_year)),
        summary.layout,
        summary.source_file,
    )


def _dashboard(summary: SummaryInput, dataset: Dataset, program_year: int) -> ir.Table:
    """Return the lines of the dashboard that count records or dollars of the dataset."""
    year = f"program_year_{program_year}"
    lines = {
        folded(x.metric): (_measure(x), x)
        for x in dashboard_metrics()
        if x.dataset == dataset and _measure(x) in MEASURE_NAMES
    }
    if year not in summary.layout.source_of or not lines:
        return _nothing(summary)
    metric = _folded(_column(summary, "metric"))
    t = summary.rows.filter(metric.isin(list(lines)))

    def said(values: Mapping[str, str]) -> ir.Value:
        filled = [(line, value) for line, value in values.items() if value]
        return metric.cases(*filled, else_=ibis.null("string")) if filled else ibis.null("string")

    return _rows(
        summary,
        t,
        {
            "recipient_type": said({line: x.recipient_type for line, (_, x) in lines.items()}),
            "disputed": said({line: x.disputed for line, (_, x) in lines.items()}),
        },
        {
            measure: metric.isin([line for line, (m, _) in lines.items() if m == measure]).ifelse(
                _column(summary, year), ibis.null("string")
            )
            for measure in {m for m, _ in lines.values()}
        },
        _column(summary, "metric"),
    )


def _measure(line: Metric) -> str:
    invested = line.dataset == Dataset.OWNERSHIP and line.measure == "amount"
    return "amount_invested" if invested else line.measure


def _entity_nature(summary: SummaryInput, dataset: Dataset, _: int) -> ir.Table:
    """Return the rows of a company and nature each; the file is of one year, general only."""
    if dataset is not Dataset.GENERAL:
        return _nothing(summary)
    return _rows(
        summary,
        summary.rows,
        {name: _column(summary, name) for name in ("company_id", "nature_code")},
        {name: _column(summary, name) for name in ("records", "amount")},
        _column(summary, "company_name"),
    )


def _per_dataset(
    key: str, name: str, ownership_records: str = ""
) -> Callable[[SummaryInput, Dataset, int], ir.Table]:
    """Return the reader of a summary with one row per key and columns for each dataset."""

    def read(summary: SummaryInput, dataset: Dataset, program_year: int) -> ir.Table:
        columns = dict(MEASURES[dataset])
        if dataset is Dataset.OWNERSHIP:
            if not ownership_records:
                return _nothing(summary)
            columns["records"] = ownership_records
        found = _of_year(summary, program_year)
        measures = {measure: _column(found, column) for measure, column in columns.items()}
        return _rows(
            summary, found.rows, {key: _column(found, key)}, measures, _column(found, name)
        )

    return read


def _per_type(
    recipients: Sequence[str], keys: Callable[[SummaryInput], Mapping[str, ir.Value]]
) -> Callable[[SummaryInput, Dataset, int], ir.Table]:
    """Return the reader of a summary with a row per payment type and recipient type."""

    def read(summary: SummaryInput, dataset: Dataset, program_year: int) -> ir.Table:
        found = _of_year(summary, program_year)
        kind = _folded(_column(found, "recipient_type"))
        asked = _folded(_column(found, "payment_type")).startswith(str(dataset))
        rows = found.rows.filter(asked & kind.isin([x.lower() for x in recipients]))
        types = [(x.lower(), x) for x in recipients]
        return _rows(
            summary,
            rows,
            {**keys(found), "recipient_type": kind.cases(*types, else_=ibis.null("string"))},
            {
                measure: kind.cases(
                    *(
                        (x.lower(), _column(found, f"{measure}_{RECIPIENTS[x]}"))
                        for x in recipients
                    ),
                    else_=ibis.null("string"),
                )
                for measure in ("records", "amount")
            },
        )

    return read


def _specialty(summary: SummaryInput) -> ir.StringValue:
    levels = [_column(summary, x) for x in ("provider_type", "classification", "specialization")]
    return ibis.array(levels).filter(lambda x: x.notnull()).join("|").nullif("")


_PEOPLE = (PHYSICIAN, PRACTITIONER)
_READERS: Mapping[str, Callable[[SummaryInput, Dataset, int], ir.Table]] = {
    "dashboard": _dashboard,
    "entity_nature_summary": _entity_nature,
    "entity_summary": _per_dataset("company_id", "company_name", "ownership_records"),
    "physician_summary": _per_dataset("profile_id", "last_name", "invested_records"),
    "hospital_summary": _per_dataset("hospital_ccn", "hospital_name"),
    "state_summary": _per_type(
        tuple(RECIPIENTS),
        lambda x: {"country": _column(x, "country_name"), "state": _column(x, "state_code")},
    ),
    "specialty_summary": _per_type(_PEOPLE, lambda x: {"specialty": _specialty(x)}),
    "national_summary": _per_type(_PEOPLE, lambda _: {}),
}


def columns_needed(layout: PublishedLayout, program_year: int) -> list[str]:
    """Return the CMS columns of a summary that the totals of a year are read from."""
    wanted = {
        "metric",
        f"program_year_{program_year}",
        "program_year",
        "payment_type",
        "recipient_type",
        "company_id",
        "company_name",
        "nature_code",
        "country_name",
        "state_code",
        "provider_type",
        "classification",
        "specialization",
        "profile_id",
        "last_name",
        "hospital_ccn",
        "hospital_name",
        "records",
        "amount",
        "ownership_records",
        "invested_records",
        *(column for measures in MEASURES.values() for column in measures.values()),
        *(f"{x}_{ending}" for x in ("records", "amount") for ending in RECIPIENTS.values()),
    }
    return [source for source, name in layout.columns if name in wanted]
