"""The words and numbers that simulated records are made of, from the files in ``data``.

Every name is made up; cities, ZIP prefixes and specialties are public facts. ``amounts.csv``
holds, for each kind of payment, how often it occurs and the quantiles of its amount in US
dollars.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from itertools import accumulate
from typing import TYPE_CHECKING

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import allowed_values
from openpay_assets.contracts.sql import sql_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

QUANTILES = ("smallest", "p25", "median", "p75", "p90", "p99", "p999", "largest")
NATURE_CELLS = 65536
"""Resolution of the choice of a nature."""

PRACTITIONERS_SINCE = 2021
"""First program year in which payments to non-physician practitioners are reported."""

SPACED_RENTAL_SINCE = date(2021, 1, 1)
"""Until then CMS wrote ``facility fees(teaching hospital only)`` without a space."""


@cache
def read_data(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a data file of the simulator."""
    text = files("openpay_assets.cms.simulator").joinpath("data", name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines(keepends=True)))


@cache
def read_sql(name: str) -> str:
    """Return a SQL file of the simulator."""
    return files("openpay_assets.cms.simulator").joinpath("sql", name).read_text(encoding="utf-8")


def sql_literal(value: object) -> str:
    """Write a value as SQL. Parameters would do, but their first use imports pandas (a second).

    Raises ``TypeError`` on anything but None, booleans, whole numbers, days, texts and lists.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value}::BIGINT"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return sql_text(value)
    if isinstance(value, Sequence):
        return f"[{', '.join(sql_literal(item) for item in value)}]"
    raise TypeError(f"no SQL literal for {type(value).__name__}")


def set_variables(connection: DuckDBPyConnection, **values: object) -> None:
    """Set DuckDB variables, which the SQL files read with ``getvariable``."""
    for name, value in values.items():
        connection.execute(f"SET VARIABLE {name} = {sql_literal(value)}")


def fill_table(
    connection: DuckDBPyConnection, table: str, rows: Iterable[dict[str, object]], **types: str
) -> None:
    """Create or replace a small table; ``types`` gives its columns in order."""
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns})")
    values = [f"({', '.join(sql_literal(row[name]) for name in types)})" for row in rows]
    if values:
        connection.execute(f"INSERT INTO {table} VALUES {', '.join(values)}")


def load_vocabulary(connection: DuckDBPyConnection) -> None:
    """Put words into variables, one list each; cities, places and specialties into tables."""
    words: dict[str, list[str]] = defaultdict(list)
    for row in read_data("words.csv"):
        words[row["list"]].append(row["word"])
    cities, places = read_data("cities.csv"), read_data("places_abroad.csv")
    specialties = _specialties()
    set_variables(
        connection,
        **words,
        cities=len(cities),
        places_abroad=len(places),
        physician_specialties=sum(x["recipient"] == "physician" for x in specialties),
        practitioner_specialties=sum(x["recipient"] == "practitioner" for x in specialties),
        expenditure_category=allowed_values("expenditure_category"),
    )
    fill_table(
        connection,
        "cities",
        _numbered(cities),
        key="BIGINT",
        city="VARCHAR",
        state="VARCHAR",
        zip3="VARCHAR",
    )
    fill_table(
        connection,
        "places_abroad",
        _numbered(places),
        key="BIGINT",
        city="VARCHAR",
        country="VARCHAR",
        province="VARCHAR",
        postal_code="VARCHAR",
    )
    fill_table(
        connection,
        "specialties",
        specialties,
        recipient="VARCHAR",
        key="BIGINT",
        primary_type="VARCHAR",
        specialty="VARCHAR",
        next_specialty="VARCHAR",
    )


def _numbered(rows: Sequence[dict[str, str]]) -> list[dict[str, object]]:
    """Give each row a key from 0; an empty value becomes None."""
    return [
        {"key": key, **{name: value or None for name, value in row.items()}}
        for key, row in enumerate(rows)
    ]


def _specialties() -> list[dict[str, object]]:
    """Repeat each specialty as often as its weight says, numbered per kind of recipient."""
    result: list[dict[str, object]] = []
    for kind in ("physician", "practitioner"):
        rows = [row for row in read_data("specialties.csv") if row["recipient"] == kind]
        following = [*rows[1:], rows[0]]
        weighted = [
            (row, after)
            for row, after in zip(rows, following, strict=True)
            for _ in range(int(row["weight"]))
        ]
        result += [
            {
                "recipient": kind,
                "key": key,
                "primary_type": row["primary_type"],
                "specialty": row["specialty"],
                "next_specialty": (
                    after["specialty"] if after["primary_type"] == row["primary_type"] else None
                ),
            }
            for key, (row, after) in enumerate(weighted)
        ]
    return result


@dataclass(frozen=True)
class _Kind:
    """A row of ``amounts.csv`` in force, numbered."""

    number: int
    row: dict[str, str]

    @property
    def cents(self) -> list[int]:
        return [int(Decimal(self.row[quantile]) * 100) for quantile in QUANTILES]


def _kinds(dataset: Dataset, program_year: int, release: date) -> list[_Kind]:
    rows = [row for row in read_data("amounts.csv") if row["dataset"] == dataset]
    if dataset is Dataset.GENERAL:
        natures = natures_of(program_year, release)
        rows = [row for row in rows if row["kind"] in natures]
    return [_Kind(number, row) for number, row in enumerate(rows)]


def natures_of(program_year: int, release: date) -> tuple[str, ...]:
    """Natures of payment of a program year, the one with two spellings as the release wrote it."""
    natures = allowed_values("nature_of_payment", program_year)
    rental = [nature for nature in natures if nature.startswith("Space rental")]
    without_space = [nature for nature in rental if "fees(" in nature]
    with_space = [nature for nature in rental if nature not in without_space]
    unused = with_space if without_space and release < SPACED_RENTAL_SINCE else without_space
    return tuple(nature for nature in natures if nature not in unused)


def load_amounts(
    connection: DuckDBPyConnection, dataset: Dataset, program_year: int, release: date
) -> None:
    """Put the kinds of payment of a program year into tables.

    ``kinds``: one row per nature of payment (or measure), with its shares in percent.
    ``kind_cells``: one row per cell of ``NATURE_CELLS``, so that a uniform draw finds a kind.
    ``amount_steps``: one row per kind and part of its distribution, in cents.
    """
    kinds = _kinds(dataset, program_year, release)
    percents = ("hospital_percent", "practitioner_percent", "in_kind_percent", "equity_percent")
    fill_table(
        connection,
        "kinds",
        (
            {
                "kind": kind.number,
                "name": kind.row["kind"],
                "first_cell": first,
                "cells": cells,
                **{percent: int(kind.row[percent]) for percent in percents},
            }
            for kind, (first, cells) in zip(kinds, _cells(kinds), strict=True)
        ),
        kind="BIGINT",
        name="VARCHAR",
        first_cell="BIGINT",
        cells="BIGINT",
        **dict.fromkeys(percents, "BIGINT"),
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE kind_cells AS "
        "SELECT unnest(range(first_cell, first_cell + cells)) AS cell, kind FROM kinds"
    )
    fill_table(
        connection,
        "amount_steps",
        (
            {"kind": k.number, "step": step, "low": low, "high": high}
            for k in kinds
            for step, (low, high) in enumerate(zip(k.cents, k.cents[1:], strict=False))
        ),
        kind="BIGINT",
        step="BIGINT",
        low="BIGINT",
        high="BIGINT",
    )
    forms = allowed_values("form_of_payment", program_year)
    set_variables(
        connection,
        nature_cells=NATURE_CELLS,
        equity_forms=[x for x in forms if x.startswith(("Stock", "Any other ownership"))],
    )


def _cells(kinds: Sequence[_Kind]) -> list[tuple[int, int]]:
    """Share the cells out by weight: first cell and count; the first kind takes what is left."""
    total = sum(int(kind.row["weight"]) for kind in kinds)
    others = [max(1, round(int(x.row["weight"]) * NATURE_CELLS / total)) for x in kinds[1:]]
    counts = [NATURE_CELLS - sum(others), *others]
    return list(zip(accumulate(counts, initial=0), counts, strict=False))
