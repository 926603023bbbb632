"""Names of CMS files: what a file claims to be, of which program year and release.

Three generations of names: ``OPPR_ALL_DTL_GNRL_09302014.csv`` (2014),
``OP_DTL_GNRL_PGYR2016_P06302017.csv``, and since 2025 with a second stamp, the day the data
were generated: ``OP_DTL_GNRL_PGYR2024_P06302025_06162025.csv``. Beside the payments CMS publishes
the ids of removed records, profiles of recipients, companies and hospitals, and summaries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from openpay_assets.contracts.model import Dataset

CODES = {
    Dataset.GENERAL: "GNRL",
    Dataset.RESEARCH: "RSRCH",
    Dataset.OWNERSHIP: "OWNRSHP",
}
_DATASETS = {code: dataset for dataset, code in CODES.items()}
_CURRENT = re.compile(
    r"^OP_DTL_(?P<code>GNRL|RSRCH|OWNRSHP)_PGYR(?P<year>\d{4})_P(?P<release>\d{8})"
    r"(?:_(?P<generated>\d{8}))?\.csv\Z",
    re.IGNORECASE | re.ASCII,
)
_FIRST = re.compile(
    r"^OPPR_ALL_DTL_(?P<code>GNRL|RSRCH|OWNRSHP)_(?P<release>\d{8})\.csv\Z",
    re.IGNORECASE | re.ASCII,
)
FIRST_PROGRAM_YEAR = 2013


class FileKind(StrEnum):
    """What CMS publishes beside the payments."""

    REMOVED = "removed"
    """Ids of records that were deleted or became ineligible since the release before."""
    SUPPLEMENT = "supplement"
    PROFILE_MAPPING = "profile_mapping"
    ENTITY_PROFILES = "entity_profiles"
    HOSPITAL_PROFILES = "hospital_profiles"
    DASHBOARD = "dashboard"
    NATIONAL_SUMMARY = "national_summary"
    STATE_SUMMARY = "state_summary"
    SPECIALTY_SUMMARY = "specialty_summary"
    ENTITY_NATURE_SUMMARY = "entity_nature_summary"
    ENTITY_SUMMARY = "entity_summary"
    PHYSICIAN_SUMMARY = "physician_summary"
    HOSPITAL_SUMMARY = "hospital_summary"


_STEMS = {
    "OP_REMOVED_DELETED": FileKind.REMOVED,
    "OP_CVRD_RCPNT_PRFL_SPLMTL": FileKind.SUPPLEMENT,
    "OP_PH_PRFL_SPLMTL": FileKind.SUPPLEMENT,
    "OPPR_SPLMTL_PH_PRFL": FileKind.SUPPLEMENT,
    "PBLCTN_PRVDR_PRFL_MAPPING": FileKind.PROFILE_MAPPING,
    "PBLCTN_RPTG_ORG_PRFL_SRCH": FileKind.ENTITY_PROFILES,
    "PBLCTN_TH_PRFL_SRCH": FileKind.HOSPITAL_PROFILES,
    "PBLCTN_DSHBRD": FileKind.DASHBOARD,
    "PBLCTN_NTNL_SMRY": FileKind.NATIONAL_SUMMARY,
    "PBLCTN_STATE_SMRY": FileKind.STATE_SUMMARY,
    "PBLCTN_SPLTY_SMRY": FileKind.SPECIALTY_SUMMARY,
    "PBLCTN_SMRY_BY_AMGPO_BY_NTR_OF_PYMT": FileKind.ENTITY_NATURE_SUMMARY,
    "PBLCTN_RPTG_ORG_SMRY": FileKind.ENTITY_SUMMARY,
    "PBLCTN_PHYSN_NON_PHYSN_PRCTNR_SMRY": FileKind.PHYSICIAN_SUMMARY,
    "PBLCTN_TH_SMRY": FileKind.HOSPITAL_SUMMARY,
}
"""How the names of each kind begin; the current stem before earlier ones."""
_BESIDE = re.compile(
    r"^(?P<stem>[A-Z_]+?)(?:_PGYR(?P<year>\d{4}))?_P?(?P<release>\d{8})(?:_(?P<generated>\d{8}))?"
    r"(?:-joined)?\.csv\Z",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True, order=True)
class BesideFile:
    """What the name of a file beside the payments says; most cover all program years."""

    kind: FileKind
    program_year: int | None
    release: date
    name: str


@dataclass(frozen=True, order=True)
class DetailFile:
    """What the name of a payment file says. ``release`` is the day of publication."""

    dataset: Dataset
    program_year: int
    release: date
    name: str


def parse_name(name: str) -> DetailFile | None:
    """Read a file name; None when it is not the name of a payment file."""
    found = _CURRENT.match(name) or _FIRST.match(name)
    if found is None:
        return None
    parts = found.groupdict()
    release = _day(parts["release"])
    if release is None:
        return None
    return DetailFile(
        dataset=_DATASETS[parts["code"].upper()],
        program_year=int(parts.get("year") or FIRST_PROGRAM_YEAR),
        release=release,
        name=name,
    )


def parse_beside_name(name: str) -> BesideFile | None:
    """Read the name of a file beside the payments; None when it is none that openpay uses.

    Files of all years together (``PGYRALL``) only add up what the yearly files say; they are None.
    """
    found = _BESIDE.match(name)
    kind = _STEMS.get(found["stem"].upper()) if found else None
    release = _day(found["release"]) if found else None
    if found is None or kind is None or release is None:
        return None
    year = int(found["year"]) if found["year"] else None
    return BesideFile(kind=kind, program_year=year, release=release, name=name)


def current_stem(kind: FileKind) -> str:
    """Return how CMS begins the names of a kind of file now."""
    return next(stem for stem, named in _STEMS.items() if named is kind)


def _day(stamp: str) -> date | None:
    try:
        return datetime.strptime(stamp, "%m%d%Y").date()
    except ValueError:
        return None
