"""The raw zone: CMS files as published, byte for byte, each landed once and never edited."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from openpay_assets.lake.tables import Partition

CHUNK = 256 * 1024
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

    @property
    def partition(self) -> Partition:
        """The partition that the file fills."""
        return Partition.parse(f"{self.dataset}|{self.program_year}")

    @property
    def release_date(self) -> date:
        """The day of publication."""
        return date.fromisoformat(self.release)


class RawZone:
    """Files under ``raw/dataset=D/year=Y/release=R/`` and the audit of their landing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def downloads(self) -> Path:
        """Folder of what is on its way into the zone."""
        return self.root / ".downloads"

    def folder(self, partition: Partition, release: date) -> Path:
        """Return the folder of one release of a partition."""
        return self.root.joinpath(
            "raw",
            f"dataset={partition.dataset}",
            f"year={partition.program_year}",
            f"release={release}",
        )

    def land(self, source: Path, partition: Partition, release: date, name: str) -> RawFile:
        """Copy a file into the zone, hashing it on the way; the same bytes again are skipped.

        The file appears under its name only when it is complete.
        Raises ``RawFileConflictError`` when other bytes already lie there.
        """
        target = self.folder(partition, release) / name
        is_new = not target.exists()
        if not is_new:
            digest = _sha256(source)
            if digest != _sha256(target):
                raise RawFileConflictError(
                    f"{name} of release {release} is already landed with other bytes "
                    f"({target}, sha256 {_sha256(target)[:12]}; offered {digest[:12]}). Raw files "
                    f"are never replaced: publish a correction under its own release, or remove "
                    f"the landed file by hand if it is known to be wrong."
                )
        else:
            digest = _copy(source, target)
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
        )

    def audit(self, file: RawFile, run_id: str, layout: str | None) -> None:
        """Append what landed to the file audits, one JSON object a line."""
        audits = self.root / "metadata" / "file_audits"
        audits.mkdir(parents=True, exist_ok=True)
        entry = {
            **asdict(file),
            "layout": layout,
            "run_id": run_id,
            "at": datetime.now(UTC).isoformat(),
        }
        with (audits / f"{file.dataset}-{file.program_year}.jsonl").open(
            "a", encoding="utf-8"
        ) as out:
            out.write(json.dumps(entry) + "\n")

    def audits(self) -> Iterator[dict[str, object]]:
        """Read back every audit line."""
        for path in sorted((self.root / "metadata" / "file_audits").glob("*.jsonl")):
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


def _value(folder: Path) -> str:
    return folder.name.partition("=")[2]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> str:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(CHUNK))
    try:
        with source.open("rb", buffering=0) as read, partial.open("wb", buffering=0) as write:
            while size := read.readinto(buffer):
                digest.update(buffer[:size])
                write.write(buffer[:size])
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return digest.hexdigest()
