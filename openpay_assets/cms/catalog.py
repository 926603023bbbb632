"""The catalog of a CMS site: what is published, and where, from its metastore API.

One JSON array of datasets, with or without reference ids. What a dataset says of itself is
partly stale or wrong (``title``, ``temporal``, ``modified``), so partition and release come from
the file name in its download URL; title and theme must not contradict it.
https://openpaymentsdata.cms.gov/api
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any, Generic
from urllib.parse import unquote, urljoin, urlsplit

from openpay_assets.cms.http import Http, SiteError
from openpay_assets.cms.names import BesideFile, DetailFile, parse_beside_name, parse_name
from openpay_assets.cms.source import File
from openpay_assets.contracts.model import Dataset

ITEMS = "api/1/metastore/schemas/dataset/items"
_TITLE = re.compile(r"^(\d{4}) (General|Research|Ownership) Payment Data$", re.ASCII)
_THEME = re.compile(r"^(General|Research|Ownership) Payments$")


@dataclass(frozen=True)
class Listed(Generic[File]):
    """A file in the catalog that openpay knows how to use."""

    file: File
    url: str
    dataset_id: str
    """Names the dataset in the datastore API."""
    title: str
    modified: date | None
    """As the catalog states it; nothing depends on it."""


@dataclass(frozen=True)
class Problem:
    """An item of the catalog that is not what it should be, and what became of it."""

    title: str
    identifier: str
    why: str

    def __str__(self) -> str:
        return (
            f"{self.title or 'an item without a title'} ({self.identifier or 'no id'}): {self.why}"
        )


@dataclass(frozen=True)
class Catalog:
    """What a site publishes. ``unused`` are names of files that openpay has no use for."""

    payments: tuple[Listed[DetailFile], ...]
    beside: tuple[Listed[BesideFile], ...]
    unused: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_catalog(http: Http, site: str) -> Catalog:
    """Ask a site for its catalog.

    Raises ``SiteError`` when it gives none or an empty one, which is a fault and not a catalog.
    """
    url = urljoin(f"{site.rstrip('/')}/", ITEMS)
    items = http.json(url)
    if not isinstance(items, list) or not items:
        raise SiteError(
            f"{url}: a catalog is a list of datasets, and the answer is "
            f"{'an empty list' if items == [] else type(items).__name__}. Try again later."
        )
    return parse_catalog(items, site)


def parse_catalog(items: Sequence[Any], site: str) -> Catalog:
    """Read the items of a catalog, in either shape; relative URLs are the site's own."""
    payments: dict[str, Listed[DetailFile]] = {}
    beside: dict[str, Listed[BesideFile]] = {}
    unused: list[str] = []
    problems: list[Problem] = []
    for item in items:
        title, identifier = _text(item, "title"), _text(item, "identifier")
        modified, wrong = _modified(item)
        notes = [wrong] if wrong else []
        for stated in _urls(item) or [""]:
            url = urljoin(f"{site.rstrip('/')}/", stated) if stated else ""
            file, why = _judge(item, title, url)
            if why:
                notes.append(why)
            if file is None:
                continue
            if isinstance(file, str):
                unused.append(file)
            elif file.name in payments or file.name in beside:
                notes.append(f"{file.name} is in the catalog more than once; the first is used")
            elif isinstance(file, DetailFile):
                payments[file.name] = Listed(file, url, identifier, title, modified)
            else:
                beside[file.name] = Listed(file, url, identifier, title, modified)
        problems += [Problem(title, identifier, why) for why in notes]
    return Catalog(tuple(payments.values()), tuple(beside.values()), tuple(unused), tuple(problems))


def _judge(item: Any, title: str, url: str) -> tuple[DetailFile | BesideFile | str | None, str]:
    """Return the file of an item, or the name of one without use, and what is wrong with it."""
    if not url:
        return None, "it has no download URL; left out"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None, f"{url} is no web address; left out"
    name = PurePosixPath(unquote(parts.path)).name
    expected = _expected(title, _themes(item))
    payments = parse_name(name)
    if payments is None:
        if expected:
            return None, (
                f"payment data by its {expected[0][0]}, and {name} is no name of a payment file "
                f"that is known; left out. If CMS names files anew, cms/names.py must learn it"
            )
        return parse_beside_name(name) or name, ""
    for source, dataset, year in expected:
        if dataset != payments.dataset or year not in (None, payments.program_year):
            said = f"{dataset} {year}" if year else f"{dataset}"
            return None, f"its {source} says {said} and its file is {name}; left out"
    if not _TITLE.match(title):
        return payments, f"no title of payment data; taken by its file name {name}"
    return payments, ""


def _expected(title: str, themes: list[str]) -> list[tuple[str, Dataset, int | None]]:
    """Return what title and themes say of payment data: dataset, and program year if any."""
    said: list[tuple[str, Dataset, int | None]] = []
    if found := _TITLE.match(title):
        said.append(("title", Dataset(found[2].lower()), int(found[1])))
    said += [
        ("theme", Dataset(found[1].lower()), None) for x in themes if (found := _THEME.match(x))
    ]
    return said


def _urls(item: Any) -> list[str]:
    """Return the download URLs of an item, whose distributions may be wrapped in references."""
    distributions = item.get("distribution") if isinstance(item, dict) else None
    found = [_text(_plain(x), "downloadURL") for x in distributions or []]
    return [x for x in found if x]


def _themes(item: Any) -> list[str]:
    themes = [_plain(x) for x in item.get("theme") or []]
    return [x for x in themes if isinstance(x, str)]


def _plain(value: Any) -> Any:
    """Unwrap a reference: ``{"identifier": ..., "data": ...}``."""
    return value["data"] if isinstance(value, dict) and "data" in value else value


def _text(value: Any, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _modified(item: Any) -> tuple[date | None, str]:
    """Read ``2025-06-30`` or ``2025-06-30T04:00:00+00:00``."""
    stated = _text(item, "modified")
    try:
        return (datetime.fromisoformat(stated).date() if stated else None), ""
    except ValueError:
        return None, f"modified is {stated!r}, which is no date; nothing depends on it"
