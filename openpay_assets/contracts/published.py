"""Layouts of what CMS publishes beside the payments: references, summaries, removed records.

``references.csv`` gives the columns of each reference file in each of its layouts, and
``reference_layouts.csv`` when each was in use; ``summaries.csv`` the columns of the summaries,
in which ``{year}`` stands for one column per program year of the window; ``removed_list.csv``
those of the lists of removed records. ``nature_codes.csv``
labels the codes that summaries use for natures of payment and ``dashboard_metrics.csv`` says
what each line of the dashboard counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from openpay_assets.contracts.model import OrderedHeader
from openpay_assets.contracts.registry import (
    REFERENCE_TABLES,
    UnknownLayoutError,
    difference,
    listed,
    removed_list_header,
    rows_of,
)

SUMMARIES = (
    "dashboard",
    "entity_nature_summary",
    "entity_summary",
    "state_summary",
    "specialty_summary",
    "national_summary",
    "physician_summary",
    "hospital_summary",
)
"""Kinds of summaries, which reconciliation compares with."""
REMOVED_LISTS = "removed"
"""Kind of the lists of removed records."""
YEAR = "{year}"


@dataclass(frozen=True)
class PublishedLayout(OrderedHeader):
    """A header of a file beside the payments; ``inferred`` when no real file of it was seen."""

    kind: str
    name: str
    columns: tuple[tuple[str, str], ...]
    inferred: bool
    evidence: str = ""

    def with_years(self, header: Sequence[str]) -> PublishedLayout:
        """Write the column per year out for the years that a header has."""
        return replace(self, columns=tuple(self._written_out(header)))

    def _written_out(self, header: Sequence[str]) -> Iterator[tuple[str, str]]:
        for source, canonical in self.columns:
            if YEAR not in source:
                yield source, canonical
                continue
            year = re.compile(re.escape(source).replace(re.escape(YEAR), r"(\d{4})") + r"\Z")
            found = [match for name in header if (match := year.match(name))]
            if not found:
                yield source, canonical
            for match in found:
                yield match[0], canonical.replace(YEAR, match[1])


@dataclass(frozen=True)
class Metric:
    """What a line of the dashboard counts.

    ``dataset`` is empty for lines over all datasets, ``recipient_type`` and ``disputed`` for
    lines over all of theirs. ``measure`` is records, amount, value_of_interest, or a number of
    distinct parties.
    """

    metric: str
    dataset: str
    measure: str
    recipient_type: str
    disputed: str


@cache
def published_layouts(kind: str) -> tuple[PublishedLayout, ...]:
    """Return every known layout of a kind of file, oldest first; ``KeyError`` on another kind."""
    return {**_references(), **_summaries(), REMOVED_LISTS: (_removed_list(),)}[kind]


@cache
def _references() -> dict[str, tuple[PublishedLayout, ...]]:
    columns: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in rows_of("references.csv"):
        columns[row["kind"], row["layout"]].append((row["source_column"], row["column"]))
    layouts: dict[str, list[PublishedLayout]] = defaultdict(list)
    for row in rows_of("reference_layouts.csv"):
        layouts[row["kind"]].append(
            PublishedLayout(
                kind=row["kind"],
                name=row["layout"],
                columns=tuple(columns[row["kind"], row["layout"]]),
                inferred=row["inferred"] == "yes",
                evidence=row["evidence"],
            )
        )
    return {kind: tuple(found) for kind, found in layouts.items()}


@cache
def _summaries() -> dict[str, tuple[PublishedLayout, ...]]:
    columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    inferred: dict[str, bool] = defaultdict(bool)
    for row in rows_of("summaries.csv"):
        columns[row["kind"]].append((row["source_column"], row["column"]))
        inferred[row["kind"]] |= row["inferred"] == "yes"
    return {
        kind: (PublishedLayout(kind, kind, tuple(found), inferred[kind]),)
        for kind, found in columns.items()
    }


def _removed_list() -> PublishedLayout:
    columns = tuple((name, name.lower()) for name in removed_list_header())
    return PublishedLayout(REMOVED_LISTS, REMOVED_LISTS, columns, inferred=False)


def match_published(kind: str, header: Sequence[str], file_name: str) -> PublishedLayout:
    """Recognise a file by its exact ordered header.

    Raises ``UnknownLayoutError`` with the nearest layout and what differs.
    """
    names = list(header)
    candidates = [layout.with_years(names) for layout in published_layouts(kind)]
    for layout in candidates:
        if layout.header == names:
            return layout
    nearest = max(candidates, key=lambda x: len(set(x.header) & set(names)))
    raise UnknownLayoutError(
        f"No layout of {kind} matches the header of {file_name} ({len(names)} columns).\n"
        f"Nearest: {nearest.name} ({len(nearest.header)} columns); expected "
        f"{listed(nearest.header)}. "
        f"{difference(nearest.header, names)}\n"
        f"If CMS changed the file, describe it in contracts/data/{_described_in(kind)}."
    )


def _described_in(kind: str) -> str:
    if kind in REFERENCE_TABLES:
        return "references.csv and reference_layouts.csv"
    return "removed_list.csv" if kind == REMOVED_LISTS else "summaries.csv"


@cache
def nature_codes() -> dict[str, str]:
    """Return the code of each nature of payment, by every spelling of it."""
    return {row["nature"]: row["code"] for row in rows_of("nature_codes.csv")}


@cache
def nature_labels() -> dict[str, str]:
    """Return the first spelling of each nature of payment, by code."""
    labels: dict[str, str] = {}
    for nature, code in nature_codes().items():
        labels.setdefault(code, nature)
    return labels


@cache
def dashboard_metrics() -> tuple[Metric, ...]:
    """Return what each line of the dashboard counts."""
    return tuple(
        Metric(
            metric=row["metric"],
            dataset=row["dataset"],
            measure=row["measure"],
            recipient_type=row["recipient_type"],
            disputed=row["disputed"],
        )
        for row in rows_of("dashboard_metrics.csv")
    )
