"""Names of CMS files: what dataset, program year and release a file claims to be.

Three generations of names: ``OPPR_ALL_DTL_GNRL_09302014.csv`` (2014),
``OP_DTL_GNRL_PGYR2016_P06302017.csv``, and since 2025 with a second stamp, the day the data
were generated: ``OP_DTL_GNRL_PGYR2024_P06302025_06162025.csv``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

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
    try:
        release = datetime.strptime(parts["release"], "%m%d%Y").date()
    except ValueError:
        return None
    return DetailFile(
        dataset=_DATASETS[parts["code"].upper()],
        program_year=int(parts.get("year") or FIRST_PROGRAM_YEAR),
        release=release,
        name=name,
    )
