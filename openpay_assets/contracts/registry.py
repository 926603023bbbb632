"""The contracts as read from ``contracts/data``: the one place that opens those files.

``columns`` of a dataset stand in ``<dataset>.csv``, one line for a group of numbered slots;
``layouts.csv`` gives every CMS header in order; ``layout_eras.csv`` when each was in use;
``tables.csv`` the lineage columns, the quarantine and the curated tables; ``values.csv`` the
lists of allowed values with the program years they belong to.
"""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from openpay_assets.contracts.model import Column, ColumnType, Dataset, Layout, Table

ALLOW_NEW_COLUMNS = "OPENPAY_ALLOW_NEW_COLUMNS"

CURATED_TABLES = (
    "payments",
    "payment_products",
    "investigators",
    "physicians",
    "companies",
    "hospitals",
    "release_changes",
)
REFERENCE_TABLES = ("supplement", "profile_mapping", "entity_profiles", "hospital_profiles")
"""Curated tables of what CMS publishes once for all partitions."""
RECONCILIATION_TABLES = ("published_totals", "reconciliation")


class UnknownLayoutError(ValueError):
    """A header that no layout has; the message says which layout is nearest and what differs."""


@dataclass(frozen=True)
class HeaderMatch:
    """The layout of a file, and the columns beyond it that were let in."""

    layout: Layout
    new_columns: tuple[str, ...] = ()


def rows_of(name: str) -> Iterator[dict[str, str]]:
    """Read a file of ``contracts/data``, one mapping a line."""
    text = files("openpay_assets.contracts").joinpath("data", name).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _expand(repeat: str) -> Iterator[dict[str, int]]:
    ranges = dict(part.split("=") for part in repeat.split(";")) if repeat else {}
    for slots in itertools.product(*(range(1, int(n) + 1) for n in ranges.values())):
        yield dict(zip(ranges, slots, strict=True))


@cache
def source_columns(dataset: Dataset) -> tuple[Column, ...]:
    """Canonical columns of a dataset over all its layouts, slots written out."""
    return tuple(
        Column(
            name=row["column"].format(**slots),
            type=ColumnType(row["type"]),
            required=row["required"] == "yes",
            description=row["description"].format(**slots),
            pattern=row["pattern"],
            values=row["values"],
            is_key=row["column"] in {"record_id", "program_year"},
        )
        for row in rows_of(f"{dataset}.csv")
        for slots in _expand(row["repeat"])
    )


@cache
def _tables() -> dict[str, tuple[Column, ...]]:
    tables: dict[str, list[Column]] = defaultdict(list)
    for row in rows_of("tables.csv"):
        tables[row["table"]].append(
            Column(
                name=row["column"],
                type=ColumnType(row["type"]),
                required=row["required"] == "yes",
                description=row["description"],
                is_key=row["key"] == "key",
            )
        )
    return {name: tuple(columns) for name, columns in tables.items()}


def lineage_columns() -> tuple[Column, ...]:
    """Columns that say where a staged row comes from."""
    return _tables()["lineage"]


def staging_table(dataset: Dataset) -> Table:
    """``staging.<dataset>``: one row per accepted CMS record, every layout in one shape."""
    dataset_column, *lineage = lineage_columns()
    return Table(f"staging.{dataset}", (dataset_column, *source_columns(dataset), *lineage))


def quarantine_table() -> Table:
    """``quarantine.records``: one row per record set aside, whole, with its reasons."""
    return Table("quarantine.records", _tables()["quarantine.records"])


def curated_table(name: str) -> Table:
    """Return a table of the curated zone; ``KeyError`` when there is none of that name."""
    return Table(f"curated.{name}", _tables()[f"curated.{name}"])


def all_tables() -> list[Table]:
    """Every table that the lake commits, marts aside."""
    return [
        *(staging_table(dataset) for dataset in Dataset),
        quarantine_table(),
        *(
            curated_table(name)
            for name in (*CURATED_TABLES, *REFERENCE_TABLES, *RECONCILIATION_TABLES)
        ),
    ]


@cache
def layouts(dataset: Dataset) -> tuple[Layout, ...]:
    """Every known layout of a dataset, oldest first."""
    columns: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows_of("layouts.csv"):
        if row["dataset"] == dataset:
            columns[row["layout"]].append((row["source_column"], row["column"]))
    return tuple(
        Layout(
            dataset=dataset,
            name=row["layout"],
            columns=tuple(columns[row["layout"]]),
            first_program_year=int(row["first_program_year"]),
            last_program_year=int(row["last_program_year"]) if row["last_program_year"] else None,
            first_release=row["first_release"],
            last_release=row["last_release"] or None,
            inferred=row["inferred"] == "yes",
            evidence=row["evidence"],
        )
        for row in rows_of("layout_eras.csv")
        if row["dataset"] == dataset
    )


def layout_of(dataset: Dataset, program_year: int, release: str) -> Layout:
    """Return the layout in which CMS published a partition at a release (ISO day).

    Raises ``UnknownLayoutError`` when no layout covers it, for instance a release that precedes
    the program year.
    """
    for layout in layouts(dataset):
        if layout.covers(program_year, release):
            return layout
    known = "; ".join(
        f"{x.name} (program years {x.first_program_year} to {x.last_program_year or 'now'}, "
        f"releases {x.first_release} to {x.last_release or 'now'})"
        for x in layouts(dataset)
    )
    raise UnknownLayoutError(
        f"No layout of {dataset} covers program year {program_year} at release {release}. "
        f"Known: {known}."
    )


def match_header(
    dataset: Dataset, header: Sequence[str], file_name: str, *, allow_new_columns: bool = False
) -> HeaderMatch:
    """Recognise a file by its exact ordered header.

    With ``allow_new_columns`` a header that only adds columns to a known layout is let in and
    the additions are returned, for the caller to warn about.
    Raises ``UnknownLayoutError`` otherwise, with the nearest layout and what differs.
    """
    names = list(header)
    for layout in layouts(dataset):
        if layout.header == names:
            return HeaderMatch(layout)
    nearest = max(layouts(dataset), key=lambda x: len(set(x.header) & set(names)))
    known = set(nearest.header)
    unknown = [name for name in names if name not in known]
    only_adds = [x for x in names if x in known] == nearest.header
    if allow_new_columns and only_adds and len(set(names)) == len(names):
        return HeaderMatch(nearest, tuple(unknown))
    raise UnknownLayoutError(
        f"No layout matches the header of {file_name} ({len(names)} columns).\n"
        f"Nearest: {dataset} {nearest.name} ({len(nearest.header)} columns, program years "
        f"{nearest.first_program_year} onward). {difference(nearest.header, names)}\n"
        f"Add a layout to contracts/data/layouts.csv and layout_eras.csv, or set "
        f"{ALLOW_NEW_COLUMNS}=1 to land a file that only adds columns."
    )


def difference(expected: Sequence[str], names: Sequence[str]) -> str:
    """Say in words how a header differs from an expected one."""
    known, found = set(expected), set(names)
    missing = [name for name in expected if name not in found]
    unknown = [name for name in names if name not in known]
    same_order = [name for name in names if name in known] == list(expected)
    order = "" if same_order or missing else " The order of the known columns differs."
    repeats = " Some names repeat." if len(found) != len(names) else ""
    return f"Missing: {listed(missing)}. Unknown: {listed(unknown)}.{order}{repeats}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Write the first names of a header, and how many there are more."""
    shown = ", ".join(names[:most]) or "none"
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


@cache
def removed_list_header() -> list[str]:
    """Return the columns of CMS's lists of removed records, in order."""
    return [row["source_column"] for row in rows_of("removed_list.csv")]


@cache
def allowed_values(name: str, program_year: int | None = None) -> tuple[str, ...]:
    """Values of a list in ``values.csv``; with a program year, those that belong to it.

    Raises ``KeyError`` when there is no such list.
    """
    found = [row for row in rows_of("values.csv") if row["list"] == name]
    if not found:
        raise KeyError(name)
    return tuple(
        row["value"]
        for row in found
        if program_year is None
        or int(row["first_program_year"] or 0)
        <= program_year
        <= int(row["last_program_year"] or 9999)
    )
