"""When CMS published a program year, and what the files of a release are called.

The days stand in ``data/publications.csv``. A program year first appears in the June after it
(the first one in September 2014), is republished every January and June, and is archived in the
state of the January seven years later.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

from openpay_assets.cms.names import CODES, FIRST_PROGRAM_YEAR
from openpay_assets.cms.simulator.vocabulary import read_data
from openpay_assets.contracts.model import Dataset

TWO_STAMPS_SINCE = date(2025, 1, 1)
"""Since this day file names also carry the day on which the data were generated."""

USUAL_GENERATION = timedelta(days=14)
"""Between generation and publication, for releases whose generation is not known."""

YEARS_BEFORE_ARCHIVE = 8
"""From a program year to the January of its last publication."""


@cache
def _publications() -> dict[date, date | None]:
    """Return the day on which the data were generated, by day of publication, oldest first."""
    return {
        date.fromisoformat(row["release"]): (
            date.fromisoformat(row["generated"]) if row["generated"] else None
        )
        for row in read_data("publications.csv")
    }


def first_publication(program_year: int) -> date:
    """Return the day on which a program year was, or is due to be, published first."""
    due = date(program_year + 1, 6, 1)
    known = (day for day in _publications() if day >= due)
    return next(known, date(program_year + 1, 6, 30))


def default_release(program_year: int) -> date:
    """Return the newest known publication of a program year; if none is known, its first."""
    first = first_publication(program_year)
    archived = date(program_year + YEARS_BEFORE_ARCHIVE, 2, 1)
    return max((day for day in _publications() if first <= day < archived), default=first)


def file_name(dataset: Dataset, program_year: int, release: date) -> str:
    """Return the name CMS gave, or would give, to the file of a partition at a release."""
    stamp = f"{release:%m%d%Y}"
    if release.year <= FIRST_PROGRAM_YEAR + 1:
        return f"OPPR_ALL_DTL_{CODES[dataset]}_{stamp}.csv"
    if release >= TWO_STAMPS_SINCE:
        generated = _publications().get(release) or release - USUAL_GENERATION
        stamp = f"{stamp}_{generated:%m%d%Y}"
    return f"OP_DTL_{CODES[dataset]}_PGYR{program_year}_P{stamp}.csv"
