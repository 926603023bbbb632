"""A small CMS site for tests: serves files with ranges, answers JSON, and fails as it is told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LAST_MODIFIED = "Thu, 30 Jan 2025 12:00:00 GMT"


@dataclass
class File:
    """What is served under a path. ``last_modified`` and ``etag`` may be withheld."""

    content: bytes
    etag: str | None = '"1"'
    last_modified: str | None = LAST_MODIFIED
    ranges: bool = True
    slow: float = 0.0
    """Seconds between two blocks of 64 KiB."""

    @property
    def stamps(self) -> dict[str, str]:
        """What tells this content from another, as headers."""
        told = {"ETag": self.etag, "Last-Modified": self.last_modified}
        return {name: value for name, value in told.items() if value}

    def part(self, start: int, end: int) -> dict[str, str]:
        """Headers of a range up to, not including, ``end``."""
        return {**self.stamps, "Content-Range": f"bytes {start}-{end - 1}/{len(self.content)}"}


Fault = Callable[["Handler", File], bool]
"""Answers a request in place of the site; returns whether it did."""


@dataclass
class FaultySite:
    """The state of the server; tests change it while it runs."""

    url: str = ""
    files: dict[str, File] = field(default_factory=dict)
    answers: dict[str, Callable[[dict[str, list[str]]], Any]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    """Each is used up by the request it answers."""
    always: Fault | None = None
    asked: Counter[str] = field(default_factory=Counter)
    connections: int = 0
    """How many were opened."""
    sent: int = 0
    """Bytes of bodies."""
    ranges_asked: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, content: bytes, **how: Any) -> str:
        """Serve a file; return its URL."""
        self.files[path] = File(content, **how)
        return f"{self.url}{path}"

    def answer(self, path: str, value: Any) -> None:
        """Answer a path with JSON."""
        self.answers[path] = value if callable(value) else lambda _: value


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: FaultySite

    def setup(self) -> None:
        super().setup()
        with self.site.lock:
            self.site.connections += 1

    def do_GET(self) -> None:
        site, parts = self.site, urlsplit(self.path)
        file = site.files.get(parts.path, File(b""))
        wanted = self.headers.get("Range", "")
        with site.lock:
            site.asked[parts.path] += 1
            site.agents.add(self.headers["User-Agent"])
            if wanted:
                site.ranges_asked.append(wanted)
            fault = site.always
            # The first byte is asked for to learn of the file; faults are for its bytes.
            if fault is None and site.faults and wanted != "bytes=0-0":
                fault = site.faults.pop(0)
        if fault is not None and fault(self, file):
            return
        if parts.path in site.answers:
            body = json.dumps(site.answers[parts.path](parse_qs(parts.query, True))).encode()
            self.reply(200, body, {"Content-Type": "application/json"})
        elif parts.path not in site.files:
            self.reply(404, b"no such file")
        else:
            self.send(file, wanted)

    def send(self, file: File, wanted: str) -> None:
        """Send a file or a range of it."""
        size = len(file.content)
        found = re.match(r"bytes=(\d+)-(\d+)", wanted)
        condition = self.headers.get("If-Range")
        if not found or not file.ranges or condition not in (None, file.etag, file.last_modified):
            self.reply(200, file.content, file.stamps, file.slow)
        elif int(found[1]) >= size:
            self.reply(416, b"", {**file.stamps, "Content-Range": f"bytes */{size}"})
        else:
            start, end = int(found[1]), min(int(found[2]) + 1, size)
            self.reply(206, file.content[start:end], file.part(start, end), file.slow)

    def reply(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, slow: float = 0.0
    ) -> None:
        self.begin(status, len(body), headers or {})
        for at in range(0, len(body), 65536):
            block = body[at : at + 65536]
            self.wfile.write(block)
            with self.site.lock:
                self.site.sent += len(block)
            if slow:
                time.sleep(slow)

    def begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True


@contextmanager
def serving() -> Iterator[FaultySite]:
    """Run a site on a free port of this machine."""
    site = FaultySite()
    handler = type("SiteHandler", (Handler,), {"site": site})
    with Server(("127.0.0.1", 0), handler) as server:
        site.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()


def status(code: int, **headers: str) -> Fault:
    """Answer with a status and an HTML page."""

    def fault(handler: Handler, _: File) -> bool:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.reply(code, b"<html>no</html>", named)
        return True

    return fault


def reset(handler: Handler, _: File) -> bool:
    """Drop the connection without an answer."""
    handler.close_connection = True
    handler.connection.close()
    return True


def truncated(handler: Handler, file: File) -> bool:
    """State the length of a range and send half of it."""
    start, end = _begun(handler, file)
    handler.wfile.write(file.content[start : (start + end) // 2])
    return True


def too_long(handler: Handler, file: File) -> bool:
    """Send more bytes than were asked for."""
    start, end = _asked(handler, file)
    handler.reply(206, file.content[start:end] + b"more", file.part(start, end))
    return True


def redirected(where: str) -> Fault:
    """Answer that the file is at another address."""

    def fault(handler: Handler, _: File) -> bool:
        handler.reply(302, b"moved", {"Location": where})
        return True

    return fault


def elsewhere(handler: Handler, file: File) -> bool:
    """Send another range than the one asked for."""
    start, end = _asked(handler, file)
    handler.reply(206, file.content[start + 1 : end], file.part(start + 1, end))
    return True


def stalled(seconds: float) -> Fault:
    """Send the head of an answer, and nothing for a while."""

    def fault(handler: Handler, file: File) -> bool:
        _begun(handler, file)
        time.sleep(seconds)
        return True

    return fault


def _begun(handler: Handler, file: File) -> tuple[int, int]:
    """Send the head of the range that was asked for; it is the connection's last answer."""
    start, end = _asked(handler, file)
    handler.begin(206, end - start, file.part(start, end))
    handler.close_connection = True
    return start, end


def _asked(handler: Handler, file: File) -> tuple[int, int]:
    found = re.match(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
    if found is None:
        return 0, len(file.content)
    return int(found[1]), min(int(found[2]) + 1, len(file.content))
