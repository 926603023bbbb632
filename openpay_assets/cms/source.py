"""Where CMS files come from: one interface, whatever stands behind ``OPENPAY_CMS``.

A source lists the releases of a partition and opens one. Today: a folder of CMS-named files,
searched recursively.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol

from openpay_assets.cms.names import CODES, DetailFile, parse_name
from openpay_assets.contracts.model import Dataset


class ReleaseNotFoundError(LookupError):
    """The source has no such release; the message says what it has."""


@dataclass(frozen=True)
class Release:
    """One published file of a partition, and where it can be read."""

    file: DetailFile
    location: str
    size: int
    """Bytes, as the publisher states them."""


class CmsSource(Protocol):
    """Something that publishes CMS files."""

    def releases(
        self, dataset: Dataset | None = None, program_year: int | None = None
    ) -> list[Release]:
        """Return what is published, oldest release first, of one partition when asked."""

    def open_path(self, release: Release) -> Path:
        """Return a local path from which the bytes of a release can be read."""


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
        if not self.folder.is_dir():
            raise ReleaseNotFoundError(
                f"OPENPAY_CMS is {self.folder}, which is not a folder. Set it to a folder of CMS "
                f"files, or make one: openpay simulate {self.folder}"
            )
        found = [
            Release(file=name, location=str(path), size=path.stat().st_size)
            for path in sorted(self.folder.rglob("*.[cC][sS][vV]"))
            if (name := parse_name(path.name)) is not None
            and dataset in (None, name.dataset)
            and program_year in (None, name.program_year)
        ]
        return sorted(found, key=lambda x: (x.file.dataset, x.file.program_year, x.file.release))

    def open_path(self, release: Release) -> Path:
        """Return the path of the file itself."""
        return Path(release.location)


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
