"""Program years that left the catalog: one ZIP each, frozen in the state of its last January.

Their names cannot be derived, so they are pinned in ``data/archives.csv``: program year, release,
ZIP, the stamp in the names of its members, whether a list of removed records is among them, and
how it is known. CMS packs what is larger than 2 GB as Deflate64, which Python cannot read; a
system tool then does.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO

from openpay_assets.cms.download import ask_for
from openpay_assets.cms.http import Http, SiteError
from openpay_assets.cms.names import (
    CODES,
    BesideFile,
    DetailFile,
    FileKind,
    parse_beside_name,
    parse_name,
)
from openpay_assets.contracts.model import Dataset

BLOCK = 1024 * 1024
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
"""What Python's zipfile reads; Deflate64 is 9."""
TOOLS = {"7z": ("e", "-so"), "7zz": ("e", "-so"), "unzip": ("-p",)}
"""Commands that write a member to standard output, and how they are told to."""


class ArchiveError(SiteError):
    """A ZIP that cannot be read or does not hold what it should; the message says what to do."""


@dataclass(frozen=True)
class Archive:
    """The last state of a program year."""

    program_year: int
    release: date
    container: str
    stamp: str
    removed_list: bool

    @property
    def payments(self) -> list[DetailFile]:
        """The payment files inside."""
        return [
            DetailFile(
                dataset,
                self.program_year,
                self.release,
                f"OP_DTL_{CODES[dataset]}_PGYR{self.program_year}_{self.stamp}.csv",
            )
            for dataset in Dataset
        ]

    @property
    def removed(self) -> BesideFile | None:
        """The list of removed records inside, if there is one."""
        if not self.removed_list:
            return None
        name = f"OP_REMOVED_DELETED_PGYR{self.program_year}_{self.stamp}.csv"
        return BesideFile(FileKind.REMOVED, self.program_year, self.release, name)


@cache
def archives() -> tuple[Archive, ...]:
    """Return the pinned archives, oldest program year first."""
    text = resources.files(__package__).joinpath("data/archives.csv").read_text(encoding="utf-8")
    return tuple(
        Archive(
            program_year=int(row["program_year"]),
            release=date.fromisoformat(row["release"]),
            container=row["container"],
            stamp=row["stamp"],
            removed_list=row["removed_list"] == "yes",
        )
        for row in csv.DictReader(io.StringIO(text))
    )


class RemoteFile(io.RawIOBase):
    """A file on a site as something to seek and read in, one range a read."""

    def __init__(self, http: Http, url: str) -> None:
        self._http, self._offer = http, ask_for(http, url)
        self._at = 0
        if not self._offer.ranges:
            raise io.UnsupportedOperation(f"{url}: the site serves no ranges")

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it can be sought in."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; costs nothing."""
        self._at = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._offer.size}[whence]
        )
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return bytes from here; all of the rest when ``size`` is negative."""
        end = self._offer.size if size < 0 else min(self._at + size, self._offer.size)
        if end <= self._at:
            return b""
        headers = {"Range": f"bytes={self._at}-{end - 1}", "Accept-Encoding": "identity"}

        def ask() -> bytes:
            with self._http.body(self._offer.url, headers) as response:
                if response.status != 206:
                    raise ArchiveError(f"{self._offer.url} no longer serves ranges; try again.")
                return response.read()

        data = self._http.retry(self._offer.url, ask)
        self._at += len(data)
        return data


def stated_size(http: Http, url: str, name: str) -> int | None:
    """Return the bytes of a member as the ZIP's directory states them, without downloading it.

    None when the site serves no ranges. Raises ``ArchiveError`` when it is not in there.
    """
    try:
        with _open(RemoteFile(http, url), url) as file:
            return _member(file, url, name).file_size
    except io.UnsupportedOperation:
        return None


def extract(container: Path, name: str, target: Path) -> Path:
    """Write a member of a ZIP to ``target``, streamed, size and CRC verified.

    The file has its name only when it is whole. Raises ``ArchiveError``.
    """
    partial = target.with_name(f"{target.name}.partial")
    try:
        with container.open("rb") as raw, _open(raw, container.name) as file:
            member = _member(file, container.name, name)
            with partial.open("wb") as out:
                size, crc = _copy(file, container, member, out)
        if (size, crc) != (member.file_size, member.CRC):
            raise ArchiveError(
                f"{container.name}: {member.filename} unpacks to {size:,} bytes with CRC {crc:08x}; "
                f"the ZIP states {member.file_size:,} bytes with CRC {member.CRC:08x}. Remove "
                f"{container} and run again to download it anew."
            )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


@contextmanager
def _open(file: IO[bytes] | io.RawIOBase, name: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as opened:
            yield opened
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ArchiveError(
            f"{name} cannot be read as a ZIP: {error}. Remove it from the folder .downloads of "
            f"the lake, if it is there, and run again to download it anew."
        ) from error


def _member(file: zipfile.ZipFile, container: str, name: str) -> zipfile.ZipInfo:
    """Find a member by what its name says, so that its folder and its case do not matter."""
    wanted = _says(name)
    for member in file.infolist():
        if _says(Path(member.filename).name) == wanted:
            return member
    raise ArchiveError(
        f"{container} holds no {name}. It holds: {', '.join(file.namelist()) or 'nothing'}."
    )


def _says(name: str) -> tuple[object, ...] | None:
    if detail := parse_name(name):
        return detail.dataset, detail.program_year, detail.release
    if beside := parse_beside_name(name):
        return beside.kind, beside.program_year, beside.release
    return None


def _copy(
    file: zipfile.ZipFile, container: Path, member: zipfile.ZipInfo, out: IO[bytes]
) -> tuple[int, int]:
    """Unpack a member; return how many bytes it has and their CRC."""
    if member.compress_type in METHODS:
        with file.open(member) as packed:
            return _pour(packed, out)
    tool = next((x for x in TOOLS if shutil.which(x)), None)
    if tool is None:
        raise ArchiveError(
            f"{container.name}: {member.filename} is packed with method {member.compress_type} "
            f"(9 is Deflate64), which Python cannot unpack. Looked for {', '.join(TOOLS)} and found "
            f"none: install 7-Zip (p7zip-full, 7zip) or unzip and run again."
        )
    command = [tool, *TOOLS[tool], str(container), member.filename]
    with subprocess.Popen(  # noqa: S603 - a known tool, arguments as a list
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("pipes were asked for")
        poured = _pour(process.stdout, out)
        said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode != 0:
        raise ArchiveError(
            f"{' '.join(command)} ended with {process.returncode}: {said[-300:] or 'no message'}"
        )
    return poured


def _pour(packed: IO[bytes], out: IO[bytes]) -> tuple[int, int]:
    size = crc = 0
    while block := packed.read(BLOCK):
        out.write(block)
        size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc
