"""Where CMS files come from: one interface, whatever stands behind ``OPENPAY_CMS``.

A source lists what is published, payments and what stands beside them, and fetches one file.
Today: a folder of CMS-named files, searched recursively.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Generic, Protocol, TypeAlias, TypeVar

from openpay_assets.cms.names import (
    CODES,
    BesideFile,
    DetailFile,
    FileKind,
    parse_beside_name,
    parse_name,
)
from openpay_assets.contracts.model import Dataset


class ReleaseNotFoundError(LookupError):
    """The source has no such release; the message says what it has."""


File = TypeVar("File", DetailFile, BesideFile, covariant=True)


@dataclass(frozen=True)
class Published(Generic[File]):
    """One published file, and where it can be read."""

    file: File
    location: str
    size: int
    """Bytes, as the publisher states them."""


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

    def fetch(self, published: Release | Beside, folder: Path) -> Path:
        """Return a local path of the whole file; what must be downloaded goes to ``folder``."""


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

    def fetch(self, published: Release | Beside, folder: Path) -> Path:  # noqa: ARG002
        """Return the path of the file itself."""
        return Path(published.location)

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            raise ReleaseNotFoundError(
                f"OPENPAY_CMS is {self.folder}, which is not a folder. Set it to a folder of CMS "
                f"files, or make one: openpay simulate {self.folder}"
            )
        return sorted(self.folder.rglob("*.[cC][sS][vV]"))


def source_for(location: str) -> CmsSource:
    """Return the source behind ``OPENPAY_CMS``.

    Raises ``ValueError`` on anything but a folder.
    """
    if "://" in location:
        raise ValueError(
            f"OPENPAY_CMS is {location}; reading from a site is not available yet. "
            f"Set it to a folder of CMS-named files."
        )
    return FolderSource(Path(location))


def find_release(
    source: CmsSource, dataset: Dataset, program_year: int, release: date | None = None
) -> Release:
    """Return the newest release of a partition, or the one of a given day.

    Raises ``ReleaseNotFoundError`` naming what was looked for and what is there.
    """
    published = source.releases(dataset, program_year)
    wanted = [x for x in published if release in (None, x.file.release)]
    if wanted:
        return wanted[-1]
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
