"""A simulated site: which files are published at a day, where, and what its catalog says.

The catalog is CMS's, with its habits: one distribution per dataset, days where others have
timestamps, a period that lags behind, a wrong title, nothing on removed records and on archived
program years. Those are published as ZIP files alone, whose names follow from no catalog.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from hashlib import md5
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from openpay_assets.cms.names import BesideFile, DetailFile, FileKind
from openpay_assets.cms.simulator import publications
from openpay_assets.cms.simulator.vocabulary import read_data
from openpay_assets.cms.source import FolderSource
from openpay_assets.contracts.model import Dataset

ROOT = "/openpayments"
"""Below this path the site has its files."""

PUBLISHER = "openpaymentsdata.cms.gov"
DICTIONARIES = "/api/1/metastore/schemas/data-dictionary/items"


@dataclass(frozen=True)
class PublishedFile:
    """A file of the site: its name, the folder CMS put it in, and the local file."""

    name: DetailFile | BesideFile
    path: Path

    @property
    def kind(self) -> str:
        """The dataset of a payment file, the kind of another."""
        return self.name.dataset if isinstance(self.name, DetailFile) else self.name.kind

    @property
    def url_path(self) -> str:
        """Where the site has the file."""
        return f"{ROOT}/{_container(self.name)}/{self.name.name}"

    @property
    def dataset_id(self) -> str:
        """CMS's identifier of the dataset, the same at every release."""
        year = self.name.program_year
        known = _identifiers().get((self.kind, year))
        return known or str(uuid5(NAMESPACE_URL, f"{PUBLISHER}/{self.kind}/{year}"))

    @property
    def distribution_id(self) -> str:
        """Identifier of the file in the catalog."""
        return str(uuid5(NAMESPACE_URL, self.name.name))


def published_files(folder: Path, as_of: date | None = None) -> list[PublishedFile]:
    """Return the newest release of each file up to a day, archived program years left out.

    Removed lists are among them: the site has them, though the catalog does not say so.
    """
    newest: dict[tuple[str, int | None], PublishedFile] = {}
    for file in _all_files(folder):
        known = newest.get((file.kind, file.name.program_year))
        if (as_of is None or file.name.release <= as_of) and (
            known is None or known.name.release < file.name.release
        ):
            newest[file.kind, file.name.program_year] = file
    today = max((x.name.release for x in newest.values()), default=date.min)
    return [
        file
        for _, file in sorted(newest.items(), key=lambda x: (x[0][0], x[0][1] or 0))
        if not _is_archived(file.name.program_year, today)
    ]


def archives(folder: Path, as_of: date | None = None) -> dict[str, list[PublishedFile]]:
    """Return the ZIP files of archived program years: the path of each on the site, its files."""
    files = [x for x in _all_files(folder) if as_of is None or x.name.release <= as_of]
    today = max((x.name.release for x in files), default=date.min)
    years = {x.name.program_year for x in files if _is_archived(x.name.program_year, today)}
    found = {}
    for year in sorted(y for y in years if y is not None):
        last = publications.publications_of(year)[-1]
        members = [
            x
            for x in files
            if x.name.program_year == year
            and x.name.release == last
            and x.kind != FileKind.ENTITY_NATURE_SUMMARY
        ]
        if members:
            found[f"{ROOT}/{publications.archive_name(year, last)}"] = members
    return found


def write_archive(path: Path, members: list[PublishedFile]) -> None:
    """Write a ZIP file of payment files with a README, the same bytes every time."""
    first = members[0].name
    readme = f"OP_PGYR{first.program_year}_README_P{first.release:%m%d%Y}.txt"
    partial = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member in members:
            with (
                member.path.open("rb") as content,
                archive.open(_entry(member.name.name), "w", force_zip64=True) as target,
            ):
                shutil.copyfileobj(content, target)
        archive.writestr(_entry(readme), f"Open Payments, program year {first.program_year}.\n")
    partial.replace(path)


def catalog(
    folder: Path,
    base_url: str,
    as_of: date | None = None,
    *,
    show_reference_ids: bool = False,
) -> list[dict[str, Any]]:
    """Return CMS's catalog of a simulated site: one item per dataset, its newest release.

    Args:
        folder: a folder that ``simulate`` wrote.
        base_url: of the site, without a slash at the end.
        as_of: the day to look at it; by default after the last publication.
        show_reference_ids: whether parts come wrapped with their identifiers.
    """
    files = published_files(folder, as_of)
    years = sorted({x.name.program_year for x in files if isinstance(x.name, DetailFile)})
    items = (_item(x, base_url, years) for x in files if x.kind != FileKind.REMOVED)
    return [_with_reference_ids(x) if show_reference_ids else x for x in items]


def _item(file: PublishedFile, base_url: str, window: list[int]) -> dict[str, Any]:
    row = _items()[file.kind]
    release = file.name.release
    first_day = release
    if file.name.program_year:
        first_day = publications.first_publication(file.name.program_year)
    year = file.name.program_year or window[-1]
    is_general = file.kind == Dataset.GENERAL
    title = row["distribution_title"].format(year=year)
    distribution = {
        "title": title,
        "mediaType": "text/csv",
        "format": "csv",
        "downloadURL": f"{base_url}{file.url_path}",
    }
    if row["dictionary"]:
        distribution |= {
            "describedBy": f"{base_url}{DICTIONARIES}/{row['dictionary']}",
            "describedByType": "application/vnd.tableschema+json",
        }
    # The period of tables over all years lags behind by one.
    periods = {
        "year": f"{year}-01-01/{year}-12-31",
        "window": f"{window[0] - 1}-01-01/{window[-1] - 1}-12-31",
    }
    period = periods.get(row["temporal"])
    return {
        **({"@type": "dcat:Dataset"} if is_general else {}),
        "bureauCode": ["009:38"],
        "programCode": ["009:000"],
        "accessLevel": "public",
        "keyword": [row["keyword"].format(year=year)],
        "contactPoint": {"fn": "Open Payments", "hasEmail": "mailto:openpayments@cms.hhs.gov"},
        **({} if is_general else {"dataQuality": True}),
        "description": row["description"].format(year=year),
        "distribution": [distribution],
        "identifier": file.dataset_id,
        "title": row["title"].format(year=year),
        "issued": _moment(first_day) if is_general else first_day.isoformat(),
        "modified": _moment(release) if is_general else release.isoformat(),
        **({"temporal": period} if period else {}),
        "publisher": {"name": PUBLISHER},
        "license": "https://www.usa.gov/government-works",
        "theme": [row["theme"]],
    }


def _with_reference_ids(item: dict[str, Any]) -> dict[str, Any]:
    """Wrap what CMS stores apart, each part with its identifier."""
    [distribution] = item["distribution"]
    url = distribution["downloadURL"]
    resource = md5(url.encode(), usedforsecurity=False).hexdigest()
    day = date.fromisoformat(item["modified"][:10])
    version = str(int(datetime.combine(day, time(), UTC).timestamp()))
    downloads = {
        "identifier": f"{resource}__{version}__source",
        "data": {
            "filePath": url,
            "identifier": resource,
            "mimeType": "text/csv",
            "perspective": "source",
            "version": version,
            "checksum": None,
        },
    }
    name = url.rsplit("/", 1)[-1]
    return {
        **item,
        "keyword": [_reference("keyword", x) for x in item["keyword"]],
        "distribution": [
            {
                "identifier": str(uuid5(NAMESPACE_URL, name)),
                "data": {**distribution, "%Ref:downloadURL": [downloads]},
            }
        ],
        "publisher": _reference("publisher", item["publisher"]),
        "theme": [_reference("theme", x) for x in item["theme"]],
        "%modified": f"{day.isoformat()}T02:33:46+0000",
    }


def _reference(schema: str, data: Any) -> dict[str, Any]:
    return {"identifier": str(uuid5(NAMESPACE_URL, f"{schema}/{data}")), "data": data}


def _moment(day: date) -> str:
    return f"{day.isoformat()}T04:00:00+00:00"


def _all_files(folder: Path) -> Iterator[PublishedFile]:
    source = FolderSource(folder)
    for release in source.releases():
        yield PublishedFile(release.file, Path(release.location))
    for beside in source.beside():
        yield PublishedFile(beside.file, Path(beside.location))


def _is_archived(program_year: int | None, today: date) -> bool:
    """Whether a program year has left the window; tables over all years never do."""
    if program_year is None:
        return False
    return today >= date(program_year + publications.YEARS_BEFORE_ARCHIVE, 2, 1)


def _container(name: DetailFile | BesideFile) -> str:
    """Return the folder of a file on the site."""
    two = name.release >= publications.TWO_STAMPS_SINCE
    stamp = f"P{name.release:%m%d%y}"
    if two:
        stamp = f"P{name.release:%m%d%Y}_{publications.generation(name.release):%m%d%Y}"
    kind = None if isinstance(name, DetailFile) else name.kind
    if kind is None or kind is FileKind.REMOVED:
        year = str(name.program_year)
        return f"PGYR{year if two else year[-2:]}_{stamp}"
    if kind is FileKind.SUPPLEMENT:
        return f"PHPRFL_{stamp}"
    return f"SMRY_RPTS_{stamp}" if two else f"SMRY_P{name.release:%m%d%Y}"


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


@cache
def _items() -> dict[str, dict[str, str]]:
    return {row["kind"]: row for row in read_data("catalog_items.csv")}


@cache
def _identifiers() -> dict[tuple[str, int | None], str]:
    return {
        (row["kind"], int(row["program_year"]) if row["program_year"] else None): row["identifier"]
        for row in read_data("catalog_ids.csv")
    }
