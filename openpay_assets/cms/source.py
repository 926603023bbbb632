"""Where CMS files come from: one interface, whatever stands behind ``OPENPAY_CMS``.

A source lists what is published, payments and what stands beside them, and fetches one file:
a folder of CMS-named files, searched recursively, or a CMS site (``cms/site.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, TypeVar

from openpay_assets.cms.names import (
    CODES,
    BesideFile,
    DetailFile,
    FileKind,
    parse_beside_name,
    parse_name,
)
from openpay_assets.contracts.model import Dataset

if TYPE_CHECKING:
    from openpay_assets.cms.http import Http


class ReleaseNotFoundError(LookupError):
    """The source has no such release; the message says what it has."""


Progress: TypeAlias = Callable[[int, int], None]
"""Called with bytes so far and bytes in all, a few times a second."""
SLICE = "company_id="
"""How a folder begins that holds one company's rows only."""

File = TypeVar("File", DetailFile, BesideFile, covariant=True)


@dataclass(frozen=True)
class Published(Generic[File]):
    """One published file, and where it can be read."""

    file: File
    location: str
    size: int | None
    """Bytes, as the publisher states them; None from a site until ``CmsSource.sized`` asked it."""


Release: TypeAlias = Published[DetailFile]
"""A published payment file: one release of a partition."""
Beside: TypeAlias = Published[BesideFile]
"""A published file beside the payments."""


class CmsSource(Protocol):
    """Something that publishes CMS files."""

    def releases(
        self, dataset: Dataset | None = None, program_year: int | None = None
    ) -> list[Release]:
        """Return what is published, oldest release first, of one partition when asked."""

    def beside(self, kind: FileKind | None = None, program_year: int | None = None) -> list[Beside]:
        """Return what is published beside the payments, oldest release first."""

    def sized(self, published: Published[File]) -> Published[File]:
        """Return it with the size that the publisher states; None if the publisher states none."""

    def fetch(
        self,
        published: Release | Beside,
        folder: Path,
        *,
        landed: Path | None = None,
        on_progress: Progress = ...,
    ) -> Path:
        """Return a local path of the whole file; what must be downloaded goes to ``folder``.

        ``landed`` is where the file may lie already: what has the stated size is not downloaded
        again. ``on_progress`` is told bytes so far and in all.
        """


class FolderSource:
    """A folder of CMS-named files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def releases(
        self, dataset: Dataset | None = None, program_year: int | None = None
    ) -> list[Release]:
        """Return the payment files below the folder, oldest release first.

        Raises ``ReleaseNotFoundError`` when the folder does not exist.
        """
        found = [
            Release(file=name, location=str(path), size=path.stat().st_size)
            for path in self._files()
            if (name := parse_name(path.name)) is not None
            and dataset in (None, name.dataset)
            and program_year in (None, name.program_year)
        ]
        return sorted(found, key=lambda x: (x.file.dataset, x.file.program_year, x.file.release))

    def beside(self, kind: FileKind | None = None, program_year: int | None = None) -> list[Beside]:
        """Return the files beside the payments, oldest release first."""
        found = [
            Beside(file=name, location=str(path), size=path.stat().st_size)
            for path in self._files()
            if (name := parse_beside_name(path.name)) is not None
            and kind in (None, name.kind)
            and program_year in (None, name.program_year)
        ]
        return sorted(found, key=lambda x: (x.file.kind, x.file.program_year or 0, x.file.release))

    def sized(self, published: Published[File]) -> Published[File]:
        """Return it as it is: a folder knows the sizes of its files."""
        return published

    def fetch(
        self,
        published: Release | Beside,
        folder: Path,  # noqa: ARG002
        *,
        landed: Path | None = None,  # noqa: ARG002
        on_progress: Progress = lambda *_: None,  # noqa: ARG002
    ) -> Path:
        """Return the path of the file itself, also when it is landed: its bytes are compared."""
        return Path(published.location)

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            raise ReleaseNotFoundError(
                f"OPENPAY_CMS is {self.folder}, which is not a folder. Set it to a folder of CMS "
                f"files, or make one: openpay simulate {self.folder}"
            )
        # A slice carries the name of the whole file: it counts only in a folder of its own.
        return sorted(
            path
            for path in self.folder.rglob("*.[cC][sS][vV]")
            if not any(x.startswith(SLICE) for x in path.relative_to(self.folder).parts[:-1])
        )


def source_for(
    location: str, *, archive_site: str | None = None, http: Http | None = None
) -> CmsSource:
    """Return the source behind ``OPENPAY_CMS``: a folder, or a site by its URL.

    ``archive_site`` is where the ZIPs of archived program years lie, if not at CMS.
    Raises ``ValueError`` on a location that is neither.
    """
    if location.startswith(("http://", "https://")):
        from openpay_assets.cms.site import SiteSource

        return SiteSource(location, archive_site=archive_site, http=http)
    if "://" in location:
        raise ValueError(
            f"OPENPAY_CMS is {location}. Set it to a folder of CMS-named files, or to the URL of a "
            f"CMS site such as https://openpaymentsdata.cms.gov."
        )
    return FolderSource(Path(location))


def find_release(
    source: CmsSource, dataset: Dataset, program_year: int, release: date | None = None
) -> Release:
    """Return the newest release of a partition, or the one of a given day, with its size.

    Raises ``ReleaseNotFoundError`` naming what was looked for and what is there.
    """
    published = source.releases(dataset, program_year)
    wanted = [x for x in published if release in (None, x.file.release)]
    if wanted:
        return source.sized(wanted[-1])
    example = f"OP_DTL_{CODES[dataset]}_PGYR{program_year}_P<MMDDYYYY>.csv"
    if published:
        known = ", ".join(str(x.file.release) for x in published)
        raise ReleaseNotFoundError(
            f"No release {release} of {dataset} {program_year}. Published: {known}."
        )
    others = sorted({f"{x.file.dataset} {x.file.program_year}" for x in source.releases()})
    raise ReleaseNotFoundError(
        f"Nothing published for {dataset} {program_year}: no file named like {example}. "
        f"Published: {', '.join(others) or 'nothing'}."
    )
