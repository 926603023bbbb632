"""When CMS published a program year.

A program year first appears in the June after it (the first one in September 2014), is
republished every January and June, and is archived in the state of the January seven years later.
The days stand in ``contracts/data/publications.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from importlib.resources import files

YEARS_BEFORE_ARCHIVE = 8
"""From a program year to the January of its last publication."""


@cache
def publication_days() -> Mapping[date, date | None]:
    """Return the day on which the data were generated, by day of publication, oldest first."""
    path = files("openpay_assets.contracts").joinpath("data", "publications.csv")
    return {
        date.fromisoformat(row["release"]): (
            date.fromisoformat(row["generated"]) if row["generated"] else None
        )
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    }


def first_publication(program_year: int) -> date:
    """Return the day on which a program year was, or is due to be, published first."""
    due = date(program_year + 1, 6, 1)
    known = (day for day in publication_days() if day >= due)
    return next(known, date(program_year + 1, 6, 30))


def published_between(
    program_year: int, after: date, before: date, offered: Iterable[date] = ()
) -> list[date]:
    """Return the publications of a program year between two of its releases, oldest first.

    ``offered`` are releases that the source lists; they count whether or not the day is known.
    """
    first = first_publication(program_year)
    known = {day for day in publication_days() if day >= first} | set(offered)
    return sorted(day for day in known if after < day < before)
