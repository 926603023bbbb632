"""The raw zone: CMS files as published, byte for byte, each landed once and never edited."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from itertools import cycle
from pathlib import Path
from typing import Any

from openpay_assets.cms.names import BesideFile, FileKind, parse_name
from openpay_assets.cms.source import SLICE, Release
from openpay_assets.lake.tables import Partition

CHUNK = 1024 * 1024
"""Bytes per read: small enough to stay in cache between hashing and writing."""


class RawFileConflictError(RuntimeError):
    """CMS bytes under a name that is already landed with other bytes."""


@dataclass(frozen=True)
class RawFile:
    """A landed file: where it is, what it claims to be, and its fingerprint.

    ``size`` in bytes; ``landed`` is false when the same bytes were already there.
    """

    path: str
    dataset: str
    program_year: int
    release: str
    name: str
    size: int
    sha256: str
    landed: bool
    source: str
    company_id: str | None = None
    """Set when these are the rows of one company only."""

    @property
    def partition(self) -> Partition:
        """The partition that the file fills."""
        return Partition.parse(f"{self.dataset}|{self.program_year}")

    @property
    def release_date(self) -> date:
        """The day of publication."""
        return date.fromisoformat(self.release)


@dataclass(frozen=True)
class RawBeside:
    """A landed file beside the payments; ``program_year`` is empty when it covers all years.

    ``size`` and ``published_size`` in bytes, the latter empty when the site does not say;
    ``landed`` is false when it was already there.
    """

    path: str
    kind: str
    program_year: int | None
    release: str
    name: str
    size: int
    published_size: int | None
    sha256: str
    landed: bool
    source: str

    @property
    def release_date(self) -> date:
        """The day of publication."""
        return date.fromisoformat(self.release)


class RawZone:
    """Files under ``raw/dataset=D/year=Y/release=R/`` and the audit of their landing.

    One company's rows lie under ``raw/company_id=C/`` in the same way, where nothing that reads
    whole partitions looks.
    What CMS publishes beside the payments lies under ``raw/beside=KIND/[year=Y/]release=R/``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def downloads(self) -> Path:
        """Folder of what is on its way into the zone."""
        return self.root / ".downloads"

    @contextmanager
    def landing(self, name: str) -> Iterator[None]:
        """Let one run at a time fetch and land a file.

        Several partitions want the same summaries, and landing moves what was downloaded: a
        second run would find its download gone. The lock is the operating system's, so a killed
        run leaves none behind.
        """
        from filelock import FileLock

        self.downloads.mkdir(parents=True, exist_ok=True)
        with FileLock(self.downloads / f".{name}.landing.lock"):
            yield

    def folder(self, partition: Partition, release: date, company_id: str | None = None) -> Path:
        """Return the folder of one release of a partition, or of one company's rows of it."""
        return self.root.joinpath(
            "raw",
            *([f"{SLICE}{company_id}"] if company_id else []),
            f"dataset={partition.dataset}",
            f"year={partition.program_year}",
            f"release={release}",
        )

    def land(
        self,
        source: Path,
        partition: Partition,
        release: date,
        name: str,
        *,
        company_id: str | None = None,
    ) -> RawFile:
        """Put a file into the zone and hash it; the same bytes again are skipped.

        The file appears under its name only when it is complete. A download of this lake is
        moved, anything else is copied. Raises ``RawFileConflictError`` when other bytes already
        lie there.
        """
        target = self.folder(partition, release, company_id) / name
        digest, is_new = self._land(source, target, release)
        return RawFile(
            path=str(target),
            dataset=str(partition.dataset),
            program_year=partition.program_year,
            release=str(release),
            name=name,
            size=target.stat().st_size,
            sha256=digest,
            landed=is_new,
            source=str(source),
            company_id=company_id,
        )

    def beside_path(self, file: BesideFile) -> Path:
        """Return where a file beside the payments lies, or will."""
        year = () if file.program_year is None else (f"year={file.program_year}",)
        folder = self.root.joinpath("raw", f"beside={file.kind}", *year, f"release={file.release}")
        return folder / file.name

    def land_beside(self, source: Path, file: BesideFile, published_size: int | None) -> RawBeside:
        """Copy a file beside the payments into the zone, as ``land`` does.

        Raises ``RawFileConflictError`` when other bytes already lie there.
        """
        target = self.beside_path(file)
        digest, is_new = self._land(source, target, file.release)
        return _beside(file, target, published_size, digest, str(source), landed=is_new)

    def landed_beside(self, file: BesideFile, published_size: int | None) -> RawBeside | None:
        """Return a file that is already landed with the published size, without reading it.

        Its fingerprint is the one that was audited when it landed. None when it must be fetched.
        """
        target = self.beside_path(file)
        if not target.exists() or published_size not in (None, target.stat().st_size):
            return None
        for audit in self._audits(str(file.kind)):
            if audit["path"] == str(target):
                digest, source = str(audit["sha256"]), str(audit["source"])
                return _beside(file, target, published_size, digest, source, landed=False)
        return None

    def landed(self, partition: Partition, release: date) -> Release | None:
        """Return a release of a partition as it landed, wherever it came from; None without it."""
        for path in sorted(self.folder(partition, release).glob("*.csv")):
            if name := parse_name(path.name):
                return Release(name, str(path), path.stat().st_size)
        return None

    def landed_with(self, kind: FileKind, release: date, program_year: int) -> list[RawBeside]:
        """Return the landed files of a kind that tell about a program year of a release."""
        found = {
            str(x["path"]): x
            for x in self._audits(str(kind))
            if x["release"] == str(release) and x["program_year"] in (None, program_year)
        }
        return [
            RawBeside(**{x.name: audit[x.name] for x in fields(RawBeside)} | {"landed": False})
            for path, audit in sorted(found.items())
            if Path(path).exists()
        ]

    def _land(self, source: Path, target: Path, release: date) -> tuple[str, bool]:
        """Move a download of this lake, copy anything else, or find the same bytes in place.

        Return the sha256 and whether the file is new.
        """
        is_download = source.is_relative_to(self.downloads)
        if not target.exists():
            if not is_download:
                return _copy(source, target), True
            digest = _sha256(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
            return digest, True
        digest = _sha256(target)
        offered = digest if source.samefile(target) else _sha256(source)
        if offered != digest:
            raise RawFileConflictError(
                f"{target.name} of release {release} is already landed with other bytes "
                f"({target}, sha256 {digest[:12]}; offered {offered[:12]}). Raw files "
                f"are never replaced: publish a correction under its own release, or remove "
                f"the landed file by hand if it is known to be wrong."
            )
        if is_download:
            source.unlink()
        return digest, False

    def audit(self, file: RawFile | RawBeside, run_id: str, layout: str | None) -> None:
        """Append what landed to the file audits, one JSON object a line."""
        audits = self.root / "metadata" / "file_audits"
        audits.mkdir(parents=True, exist_ok=True)
        entry = {
            **asdict(file),
            "layout": layout,
            "run_id": run_id,
            "at": datetime.now(UTC).isoformat(),
        }
        name = file.kind if isinstance(file, RawBeside) else f"{file.dataset}-{file.program_year}"
        with (audits / f"{name}.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")

    def audits(self) -> Iterator[dict[str, object]]:
        """Read back every audit line."""
        return self._audits("*")

    def _audits(self, name: str) -> Iterator[dict[str, Any]]:
        for path in sorted((self.root / "metadata" / "file_audits").glob(f"{name}.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)

    def partitions(self) -> list[Partition]:
        """Return the partitions of which any release is landed."""
        found = {
            Partition.parse(f"{_value(year.parent)}|{_value(year)}")
            for year in self.root.glob("raw/dataset=*/year=*")
        }
        return sorted(x for x in found if self.releases(x))

    def releases(self, partition: Partition) -> list[date]:
        """Return the releases of a partition that are landed, oldest first."""
        folder = self.folder(partition, date.min).parent
        return sorted(
            date.fromisoformat(path.name.removeprefix("release="))
            for path in folder.glob("release=*")
            if any(path.glob("*.csv"))
        )


def stated(size: int | None) -> str:
    """Write a published size in bytes.

    Only a member of a ZIP on a site without ranges has none; its CRC was verified.
    """
    return "an unstated number" if size is None else f"{size:,}"


def _value(folder: Path) -> str:
    return folder.name.partition("=")[2]


def _beside(
    file: BesideFile,
    path: Path,
    published_size: int | None,
    sha256: str,
    source: str,
    *,
    landed: bool,
) -> RawBeside:
    return RawBeside(
        path=str(path),
        kind=str(file.kind),
        program_year=file.program_year,
        release=str(file.release),
        name=file.name,
        size=path.stat().st_size,
        published_size=published_size,
        sha256=sha256,
        landed=landed,
        source=source,
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    digest = hashlib.sha256()
    # Two of them: one is hashed while the other is filled and written.
    buffers = cycle([memoryview(bytearray(CHUNK)), memoryview(bytearray(CHUNK))])
    try:
        with (
            source.open("rb", buffering=0) as read,
            partial.open("wb", buffering=0) as write,
            ThreadPoolExecutor(1) as hasher,
        ):
            hashed = hasher.submit(digest.update, b"")
            while size := read.readinto(buffer := next(buffers)):
                hashed.result()
                hashed = hasher.submit(digest.update, buffer[:size])
                write.write(buffer[:size])
            hashed.result()
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return digest.hexdigest()
