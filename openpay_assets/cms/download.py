"""Downloading one file: several ranges at a time, resumed after a kill, whole or not there.

Bytes go to ``<name>.partial``; what of it is on disk stands in ``<name>.partial.json`` with the
size, ETag and Last-Modified that it belongs to. The name itself appears at the end only. One CMS
connection brings about 2 MB/s, eight bring 15 to 39, and any of them may stall, so each piece is
asked for again by itself.
"""

from __future__ import annotations

import email.utils
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from openpay_assets.cms.http import READ, Http, SiteError, TransientError

if TYPE_CHECKING:
    import urllib3

    from openpay_assets.cms.source import Progress

PIECE = 32 * 1024 * 1024
"""Most bytes of one request."""
SMALLEST_PIECE = 1024 * 1024
REDIRECTS = 20
RESTARTS = 3
"""How often a file may change while it is downloaded."""
TICK, SAVE_EVERY, SYNC_EVERY = 0.2, 1.0, 30.0
"""Seconds between two reports of progress, two records of what was written, and two waits for
the disk to have it. Waiting each second halves what a fast connection brings."""
SAVE_AFTER = 64 * 1024 * 1024
"""Bytes written that are recorded however little time has passed: what a killed process loses at
most. A fast connection brings ten times as much in a second."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)\Z")
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)

_watcher: ContextVar[Progress | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(on_progress: Progress) -> Iterator[None]:
    """Report every download that begins inside, whoever begins it."""
    token = _watcher.set(on_progress)
    try:
        yield
    finally:
        _watcher.reset(token)


class ChangedError(Exception):
    """The file on the site is no longer the one of which pieces are on disk."""


class _Stopped(Exception):  # noqa: N818 - no error: another piece failed for good
    """This piece was given up because another one failed."""


@dataclass(frozen=True)
class Offer:
    """What a site says of a file: bytes, what identifies this state of it, and whether in ranges."""

    url: str
    """Where redirects end."""
    size: int
    etag: str | None
    last_modified: str | None
    ranges: bool

    def is_same(self, other: Offer) -> bool:
        """Whether two answers are of the same bytes, as far as the site tells."""
        return (self.size, self.etag, self.last_modified) == (
            other.size,
            other.etag,
            other.last_modified,
        )

    @property
    def condition(self) -> dict[str, str]:
        """The header under which a server sends a range only of this state; weak ETags cannot."""
        if self.etag and not self.etag.startswith("W/"):
            return {"If-Range": self.etag}
        return {"If-Range": self.last_modified} if self.last_modified else {}

    @property
    def modified_at(self) -> float | None:
        """Last-Modified as seconds since 1970."""
        try:
            return email.utils.parsedate_to_datetime(self.last_modified or "").timestamp()
        except ValueError:
            return None


@dataclass
class Piece:
    """Bytes ``start`` to ``end`` (exclusive) of a file, on disk up to ``at``."""

    start: int
    end: int
    at: int


def ask_for(http: Http, url: str) -> Offer:
    """Return what a site says of a file, at the cost of one byte.

    Asks for the first byte and not with HEAD, which says nothing about ranges and which content
    delivery networks refuse; follows redirects. Raises ``NotPublishedError`` and ``SiteError``.
    """

    def ask() -> Offer:
        headers = {"Range": "bytes=0-0", "Accept-Encoding": "identity"}
        at = url
        for _ in range(1 + REDIRECTS):
            with http.body(at, headers) as response:
                if location := response.get_redirect_location():
                    at = urljoin(at, location)
                    continue
                offer = _offer(at, response.status, response.headers)
                if offer.ranges:
                    response.read(1)  # to its end: the first piece comes over this connection
                return offer
        raise SiteError(f"{url} was redirected more than {REDIRECTS} times, at last to {at}.")

    return http.retry(url, ask)


def download(
    http: Http,
    url: str,
    folder: Path,
    name: str,
    *,
    on_progress: Progress = lambda *_: None,
    piece: int = PIECE,
    save_after: int = SAVE_AFTER,
) -> Path:
    """Return ``folder/name``, whole: downloaded, resumed, or found there as the site still has it.

    Two processes that want the same file take turns. Raises ``SiteError`` when the site does not
    give it; the bytes so far stay beside it, and the next call goes on from there.
    """
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    with FileLock(folder / f".{name}.lock"):
        for _ in range(1 + RESTARTS):
            offer = ask_for(http, url)
            if _is_there(target, offer):
                return target
            transfer = _Transfer(http, url, target, offer, _both(on_progress), save_after)
            try:
                if offer.ranges:
                    transfer.in_pieces(piece)
                else:
                    transfer.in_one_stream()
            except ChangedError:
                transfer.forget()
                continue
            return transfer.finish()
    raise SiteError(
        f"{url} changed on the site each of the {1 + RESTARTS} times it was downloaded. Nothing "
        f"was kept; try again when CMS has finished publishing."
    )


def _both(on_progress: Progress) -> Progress:
    watcher = _watcher.get()

    def report(done: int, total: int) -> None:
        on_progress(done, total)
        if watcher is not None:
            watcher(done, total)

    return report


def _is_there(target: Path, offer: Offer) -> bool:
    """Whether an earlier call ended with these bytes: ``finish`` leaves size and time as stated."""
    if not target.exists() or offer.modified_at is None:
        return False
    found = target.stat()
    return found.st_size == offer.size and int(found.st_mtime) == int(offer.modified_at)


def _offer(url: str, status: int, headers: Mapping[str, str]) -> Offer:
    if headers.get("Content-Encoding", "identity") != "identity":
        raise SiteError(
            f"{url}: sent as {headers['Content-Encoding']}, though asked for as it is; "
            f"its size cannot be verified."
        )
    found = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
    stated = found[3] if found else headers.get("Content-Length", "")
    if not stated.isdigit():
        raise SiteError(f"{url}: the site does not state a size, so nothing proves the file whole.")
    return Offer(
        url=url,
        size=int(stated),
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        ranges=found is not None and status in (206, 416),
    )


class _Transfer:
    """One attempt at a file in one of its states."""

    def __init__(
        self,
        http: Http,
        url: str,
        target: Path,
        offer: Offer,
        on_progress: Progress,
        save_after: int,
    ) -> None:
        self.http, self.url, self.target, self.offer = http, url, target, offer
        self.partial = target.with_name(f"{target.name}.partial")
        self.state = target.with_name(f"{target.name}.partial.json")
        self.on_progress = on_progress
        self.stop = threading.Event()
        self.done: list[tuple[int, int]] = []
        """What was on disk when this attempt began."""
        self.pieces: list[Piece] = []
        self.synced: list[tuple[int, int]] = []
        self.saving = threading.RLock()
        self.save_after, self.unsaved, self.saved = save_after, 0, time.monotonic()

    def in_pieces(self, size: int) -> None:
        """Fetch what is missing, several pieces at a time."""
        self.done = self._resume()
        _require_room(self.partial.parent, self.offer.size - _bytes(self.done))
        self.pieces = list(_missing(self.done, self.offer.size, self._piece_size(size)))
        with self._open() as file, ThreadPoolExecutor(self.http.connections) as pool:
            os.ftruncate(file, self.offer.size)
            running = [pool.submit(self._fetch, file, x) for x in self.pieces]
            try:
                self._follow(file, running)
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                self._save()
                raise

    def in_one_stream(self) -> None:
        """Fetch the whole file over one connection; a server without ranges cannot resume."""
        self.forget()
        _require_room(self.partial.parent, self.offer.size)
        with self._open() as file:
            self.http.retry(self.url, lambda: self._stream_all(file))

    def finish(self) -> Path:
        """Give the file its name, and the time that the site states for it."""
        found = self.partial.stat().st_size
        if found != self.offer.size:
            raise SiteError(
                f"{self.url}: {found:,} bytes on disk where the site states {self.offer.size:,}. "
                f"Nothing was kept under {self.target.name}."
            )
        if (modified := self.offer.modified_at) is not None:
            os.utime(self.partial, (modified, modified))
        self.partial.replace(self.target)
        self.state.unlink(missing_ok=True)
        self.on_progress(self.offer.size, self.offer.size)
        return self.target

    def forget(self) -> None:
        """Remove what is on disk of this file."""
        self.partial.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    @contextmanager
    def _open(self) -> Iterator[int]:
        file = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            yield file
        finally:
            os.close(file)

    def _piece_size(self, most: int) -> int:
        share = -(-self.offer.size // (4 * self.http.connections))
        return min(most, max(share, min(most, SMALLEST_PIECE)))

    def _resume(self) -> list[tuple[int, int]]:
        """Return the ranges that are on disk of this state of the file; forget any other state."""
        if self.state.exists() and self.partial.exists():
            try:
                kept = json.loads(self.state.read_text(encoding="utf-8"))
                then = Offer(**kept["offer"])
                # What a killed process wrote is there; what a crashed machine wrote, if it was synced.
                which = "done" if kept["boot"] and kept["boot"] == _boot() else "synced"
                done = [(int(a), int(b)) for a, b in kept[which]]
            except (ValueError, KeyError, TypeError):
                then, done = replace(self.offer, size=-1), []
            # Without a validator nothing says that the bytes on disk are of the same file.
            proven = self.offer.etag or self.offer.last_modified
            if proven and then.is_same(self.offer):
                return done
        self.forget()
        return []

    def _reached(self) -> list[tuple[int, int]]:
        return _merged([*self.done, *((x.start, x.at) for x in self.pieces)])

    def _save(self) -> None:
        """Record what is written."""
        with self.saving:
            self.unsaved, self.saved = 0, time.monotonic()
            record = {
                "url": self.url,
                "offer": asdict(self.offer),
                "done": self._reached(),
                "synced": self.synced,
                "boot": _boot(),
            }
            partial = self.state.with_suffix(".new")
            partial.write_text(json.dumps(record), encoding="utf-8")
            partial.replace(self.state)

    def _follow(self, file: int, running: list[Future[None]]) -> None:
        before, synced = _bytes(self.done), time.monotonic()
        while True:
            ended, pending = wait(running, timeout=TICK, return_when=FIRST_EXCEPTION)
            for future in ended:
                future.result()
            if not pending:
                return
            self.on_progress(before + sum(x.at - x.start for x in self.pieces), self.offer.size)
            if time.monotonic() - synced >= SYNC_EVERY:
                reached = self._reached()
                _sync(file)
                self.synced, synced = reached, time.monotonic()
            if time.monotonic() - self.saved >= SAVE_EVERY:
                self._save()

    def _wrote(self, piece: Piece, count: int) -> None:
        """Count bytes of a piece that are written; record them when they have become many."""
        piece.at += count
        with self.saving:
            self.unsaved += count
            if self.unsaved >= self.save_after:
                self._save()

    def _fetch(self, file: int, piece: Piece) -> None:
        self.http.retry(self.url, lambda: self._fetch_once(file, piece), self.stop)

    def _fetch_once(self, file: int, piece: Piece) -> None:
        """Fetch the rest of a piece over one connection."""
        if self.stop.is_set():
            raise _Stopped
        headers = {
            "Range": f"bytes={piece.at}-{piece.end - 1}",
            "Accept-Encoding": "identity",
            **self.offer.condition,
        }
        with self.http.body(self.offer.url, headers) as response:
            self._require_range(response, piece)
            while data := response.read(READ):
                if len(data) > piece.end - piece.at:
                    raise TransientError(f"more bytes than {headers['Range']} were sent")
                self._wrote(piece, _write(file, data, piece.at))
                if self.stop.is_set():
                    raise _Stopped
        if piece.at < piece.end:
            raise TransientError(f"{piece.end - piece.at:,} of {headers['Range']} were not sent")

    def _require_range(self, response: urllib3.BaseHTTPResponse, piece: Piece) -> None:
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        # 200 answers an If-Range that no longer holds, 416 a range of a file that is now shorter,
        # 3xx a file that was moved.
        if response.status != 206 or not self._is_same(response):
            raise ChangedError
        if found is None or found[1] is None or int(found[1]) != piece.at:
            raise TransientError(
                f"asked for bytes from {piece.at:,} and was sent {response.headers['Content-Range']}"
            )

    def _is_same(self, response: urllib3.BaseHTTPResponse) -> bool:
        return _offer(self.url, response.status, response.headers).is_same(self.offer)

    def _stream_all(self, file: int) -> None:
        os.ftruncate(file, 0)
        at, reported = 0, time.monotonic()
        headers = {"Accept-Encoding": "identity"}
        with self.http.body(self.offer.url, headers) as response:
            if response.status != 200 or not self._is_same(response):
                raise ChangedError
            while data := response.read(READ):
                at += _write(file, data, at)
                if time.monotonic() - reported >= TICK:
                    self.on_progress(at, self.offer.size)
                    reported = time.monotonic()
        if at != self.offer.size:
            raise TransientError(f"{at:,} bytes were sent where {self.offer.size:,} are stated")


def _write(file: int, data: bytes, at: int) -> int:
    """Write all of ``data`` at an offset; return its length."""
    written = os.pwrite(file, data, at)
    while written < len(data):
        written += os.pwrite(file, data[written:], at + written)
    return written


def _missing(done: list[tuple[int, int]], size: int, piece: int) -> Iterator[Piece]:
    """Cut what is not on disk into pieces, in order."""
    at = 0
    for start, end in [*_merged(done), (size, size)]:
        while at < start:
            stop = min(at + piece, start)
            yield Piece(at, stop, at)
            at = stop
        at = end


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(x for x in ranges if x[1] > x[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _boot() -> str:
    """Name this run of the machine; empty where the system does not tell."""
    return BOOT.read_text(encoding="ascii").strip() if BOOT.exists() else ""


def _bytes(ranges: list[tuple[int, int]]) -> int:
    return sum(end - start for start, end in _merged(ranges))


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SiteError(
            f"{needed:,} bytes are to be downloaded to {folder}, where {free:,} are free. "
            f"Make room, or set OPENPAY_LAKE to a larger disk."
        )
