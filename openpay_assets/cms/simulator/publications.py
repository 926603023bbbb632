"""Which release of a program year the simulator writes, and what its files are called."""

from __future__ import annotations

from datetime import date, timedelta

from openpay_assets.cms.names import CODES, FIRST_PROGRAM_YEAR, FileKind, current_stem
from openpay_assets.cms.publications import (
    YEARS_BEFORE_ARCHIVE,
    first_publication,
    publication_days,
)
from openpay_assets.contracts.model import Dataset

__all__ = ["YEARS_BEFORE_ARCHIVE", "default_release", "file_name", "first_publication"]

TWO_STAMPS_SINCE = date(2025, 1, 1)
"""Since this day file names also carry the day on which the data were generated."""

SUMMARIES_SINCE = date(2022, 6, 30)
"""First publication whose summaries and profiles are known to have today's columns."""

_TWO_STAMPS_BESIDE = {FileKind.SUPPLEMENT: date(2024, 6, 28)}
_TWO_STAMPS_SUMMARIES = date(2024, 1, 18)
"""Files beside the payments carried the second stamp earlier."""

_JOINED = {FileKind.NATIONAL_SUMMARY, FileKind.STATE_SUMMARY, FileKind.SPECIALTY_SUMMARY}

USUAL_GENERATION = timedelta(days=14)
"""Between generation and publication, for releases whose generation is not known."""


def publications_of(program_year: int) -> tuple[date, ...]:
    """Return the days on which a program year was published; if none is known, when it is due.

    The last one is the state in which it is archived.
    """
    first = first_publication(program_year)
    archived = date(program_year + YEARS_BEFORE_ARCHIVE, 2, 1)
    return tuple(day for day in publication_days() if first <= day < archived) or (first,)


def default_release(program_year: int) -> date:
    """Return the newest known publication of a program year; if none is known, its first."""
    return publications_of(program_year)[-1]


def file_name(dataset: Dataset, program_year: int, release: date) -> str:
    """Return the name CMS gave, or would give, to the file of a partition at a release."""
    if release.year <= FIRST_PROGRAM_YEAR + 1:
        return f"OPPR_ALL_DTL_{CODES[dataset]}_{release:%m%d%Y}.csv"
    return f"OP_DTL_{CODES[dataset]}_PGYR{program_year}_P{_stamp(release, TWO_STAMPS_SINCE)}.csv"


def beside_name(kind: FileKind, release: date, program_year: int | None = None) -> str:
    """Return the name of a file beside the payments; most cover all program years."""
    if kind is FileKind.SUPPLEMENT and release.year <= FIRST_PROGRAM_YEAR + 1:
        return f"OPPR_SPLMTL_PH_PRFL_{release:%m%d%Y}.csv"
    stem = current_stem(kind)
    if kind is FileKind.SUPPLEMENT and release < SUMMARIES_SINCE:
        stem = "OP_PH_PRFL_SPLMTL"
    detail = kind is FileKind.REMOVED
    since = TWO_STAMPS_SINCE if detail else _TWO_STAMPS_BESIDE.get(kind, _TWO_STAMPS_SUMMARIES)
    year = f"_PGYR{program_year}" if program_year else ""
    joined = "-joined" if kind in _JOINED else ""
    return f"{stem}{year}_P{_stamp(release, since)}{joined}.csv"


def archive_name(program_year: int, release: date) -> str:
    """Return the name of the ZIP file that holds the payment files of a program year."""
    if release >= TWO_STAMPS_SINCE:
        return f"PGYR{program_year}_P{_stamp(release, TWO_STAMPS_SINCE)}.zip"
    return f"PGYR{program_year % 100}_P{release:%m%d%y}.ZIP"


def generation(release: date) -> date:
    """Return the day on which the data of a release were generated."""
    return publication_days().get(release) or release - USUAL_GENERATION


def _stamp(release: date, two_since: date) -> str:
    stamp = f"{release:%m%d%Y}"
    return f"{stamp}_{generation(release):%m%d%Y}" if release >= two_since else stamp
