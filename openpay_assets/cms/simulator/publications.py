"""Which release of a program year the simulator writes, and what its files are called."""

from __future__ import annotations

from datetime import date, timedelta

from openpay_assets.cms.names import CODES, FIRST_PROGRAM_YEAR
from openpay_assets.cms.publications import (
    YEARS_BEFORE_ARCHIVE,
    first_publication,
    publication_days,
)
from openpay_assets.contracts.model import Dataset

__all__ = ["default_release", "file_name", "first_publication"]

TWO_STAMPS_SINCE = date(2025, 1, 1)
"""Since this day file names also carry the day on which the data were generated."""

USUAL_GENERATION = timedelta(days=14)
"""Between generation and publication, for releases whose generation is not known."""


def default_release(program_year: int) -> date:
    """Return the newest known publication of a program year; if none is known, its first."""
    first = first_publication(program_year)
    archived = date(program_year + YEARS_BEFORE_ARCHIVE, 2, 1)
    return max((day for day in publication_days() if first <= day < archived), default=first)


def file_name(dataset: Dataset, program_year: int, release: date) -> str:
    """Return the name CMS gave, or would give, to the file of a partition at a release."""
    stamp = f"{release:%m%d%Y}"
    if release.year <= FIRST_PROGRAM_YEAR + 1:
        return f"OPPR_ALL_DTL_{CODES[dataset]}_{stamp}.csv"
    if release >= TWO_STAMPS_SINCE:
        generated = publication_days().get(release) or release - USUAL_GENERATION
        stamp = f"{stamp}_{generated:%m%d%Y}"
    return f"OP_DTL_{CODES[dataset]}_PGYR{program_year}_P{stamp}.csv"
