"""A CMS site as a source: its catalog, its downloads, and the archives of older program years."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urljoin, urlsplit

from filelock import FileLock

from openpay_assets.cms.archives import Archive, archives, extract, stated_size
from openpay_assets.cms.catalog import Catalog, Listed, Problem, read_catalog
from openpay_assets.cms.download import ask_for, download
from openpay_assets.cms.http import Http, NotPublishedError
from openpay_assets.cms.names import BesideFile, DetailFile, FileKind
from openpay_assets.cms.source import Beside, File, Progress, Published, Release
from openpay_assets.contracts.model import Dataset

CMS_HOST = "openpaymentsdata.cms.gov"
CMS_ARCHIVES = "https://download.cms.gov/openpayments"
MEMBER = "#"
"""Between the URL of a ZIP and the name of a member, in a location."""


class SiteSource:
    """What a site publishes, asked once per source; ``archives`` is where its ZIPs lie, if any."""

    def __init__(
        self, site: str, *, archive_site: str | None = None, http: Http | None = None
    ) -> None:
        self.site = site.rstrip("/")
        self.http = http or Http()
        is_cms = urlsplit(self.site).hostname == CMS_HOST
        self.archive_site = archive_site or (CMS_ARCHIVES if is_cms else None)
        self._asked: dict[str, Beside | None] = {}

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog as it was when it was first needed."""
        return read_catalog(self.http, self.site)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Items of the catalog that are not what they should be."""
        return self.catalog.problems

    def releases(
        self, dataset: Dataset | None = None, program_year: int | None = None
    ) -> list[Release]:
        """Return the payment files of the catalog and the archives, oldest release first.

        Sizes are not known before ``sized`` asks for them. Raises ``SiteError``.
        """
        found = {
            (x.file.dataset, x.file.program_year, x.file.release): Release(x.file, x.url, None)
            for x in self.catalog.payments
        }
        for archive, url in self._archives():
            for file in archive.payments:
                # What is still in the catalog is not yet archived, whatever the list says.
                found.setdefault(
                    (file.dataset, file.program_year, file.release),
                    Release(file, f"{url}{MEMBER}{file.name}", None),
                )
        return [
            found[key]
            for key in sorted(found)
            if dataset in (None, key[0]) and program_year in (None, key[1])
        ]

    def beside(self, kind: FileKind | None = None, program_year: int | None = None) -> list[Beside]:
        """Return what is published beside the payments, oldest release first.

        The lists of removed records are not in the catalog: they lie beside the payment files,
        or nowhere, which costs a question per program year. Raises ``SiteError``.
        """
        found = [Beside(x.file, x.url, None) for x in self.catalog.beside]
        if kind in (None, FileKind.REMOVED):
            found += self._removed_lists(program_year, {x.file for x in found})
        wanted = [
            x
            for x in found
            if kind in (None, x.file.kind) and program_year in (None, x.file.program_year)
        ]
        return sorted(wanted, key=lambda x: (x.file.kind, x.file.program_year or 0, x.file.release))

    def sized(self, published: Published[File]) -> Published[File]:
        """Return it with its size, as the site states it: one small request.

        The size stays None for a member of a ZIP on a site without ranges.
        """
        if published.size is not None:
            return published
        return replace(published, size=self._size(published.location))

    def fetch(
        self,
        published: Release | Beside,
        folder: Path,
        *,
        landed: Path | None = None,
        on_progress: Progress = lambda *_: None,
    ) -> Path:
        """Download a file to ``folder``, or return ``landed`` when that has the stated size.

        A ZIP stays in the folder, because three datasets are in it; it may be deleted any time.
        Raises ``SiteError``.
        """
        if landed is not None and landed.exists():
            size = published.size or self._size(published.location)
            if size == landed.stat().st_size:
                return landed
        url, member = _split(published.location)
        if not member:
            return download(self.http, url, folder, published.file.name, on_progress=on_progress)
        container = download(
            self.http, url, folder, PurePosixPath(urlsplit(url).path).name, on_progress=on_progress
        )
        target = folder / published.file.name
        with FileLock(folder / f".{target.name}.lock"):
            return extract(container, member, target)

    def datastore(self, dataset: Dataset, program_year: int) -> tuple[str, DetailFile] | None:
        """Return the id of a partition in the datastore API, and the newest file it stands for."""
        found = [
            (x.dataset_id, x.file)
            for x in self.catalog.payments
            if (x.file.dataset, x.file.program_year) == (dataset, program_year)
        ]
        return max(found, key=lambda x: x[1].release, default=None)

    def _size(self, location: str) -> int | None:
        url, member = _split(location)
        return stated_size(self.http, url, member) if member else ask_for(self.http, url).size

    def _archives(self) -> Iterable[tuple[Archive, str]]:
        if self.archive_site:
            for archive in archives():
                yield archive, f"{self.archive_site.rstrip('/')}/{archive.container}"

    def _removed_lists(self, program_year: int | None, listed: set[BesideFile]) -> list[Beside]:
        """Return the lists of removed records that are published, whether or not listed."""
        found = [
            Beside(archive.removed, f"{url}{MEMBER}{archive.removed.name}", None)
            for archive, url in self._archives()
            if archive.removed and archive.removed not in listed
        ]
        seen = {
            (x.program_year, x.release)
            for x in (*listed, *(y.file for y in found))
            if x.kind == FileKind.REMOVED
        }
        for payments in self.catalog.payments:
            file = payments.file
            key = (file.program_year, file.release)
            if key in seen or program_year not in (None, file.program_year):
                continue
            seen.add(key)
            if published := self._removed_beside(payments):
                found.append(published)
        return found

    def _removed_beside(self, payments: Listed[DetailFile]) -> Beside | None:
        """Ask for the list in the folder of a payment file; a first publication has none."""
        file = payments.file
        if file.release < _second_release(file.program_year):
            return None
        if file.name not in self._asked:
            name = f"OP_REMOVED_DELETED_{file.name[file.name.upper().index('PGYR') :]}"
            url = urljoin(payments.url, quote(name))
            beside = BesideFile(FileKind.REMOVED, file.program_year, file.release, name)
            try:
                self._asked[file.name] = Beside(beside, url, ask_for(self.http, url).size)
            except NotPublishedError:
                self._asked[file.name] = None
        return self._asked[file.name]


def _second_release(program_year: int) -> date:
    """Return the first day on which a program year can have been published a second time."""
    return date(program_year + 2, 1, 1)


def _split(location: str) -> tuple[str, str]:
    url, _, member = location.partition(MEMBER)
    return url, member
