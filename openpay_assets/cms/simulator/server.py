"""CMS on this machine: a simulated site behind HTTP, with its catalog, its query API and its files.

Bound to 127.0.0.1. Files come as the kernel can send them (``sendfile``), with ranges, ETag and
Last-Modified. What a test may want to happen while it runs is told through ``/admin``: publish
another release, go wrong in a chosen way.
https://dkan.readthedocs.io/en/latest/apis/
"""

from __future__ import annotations

import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from openpay_assets.cms.simulator import site
from openpay_assets.cms.simulator.datastore import (
    QueryError,
    dictionary,
    from_parameters,
    run_query,
)
from openpay_assets.cms.simulator.faults import Fault, FaultKind, Faults

API = "/api/1"
ITEMS = f"{API}/metastore/schemas/dataset/items"
ADMIN = "/admin"
FAULT_HEADER = "X-Fault"
ANY_DAY = "newest"
_QUERY = re.compile(rf"{API}/datastore/query/(?P<id>[0-9a-f-]+)(?:/0)?\Z")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")
_STATUSES = {
    FaultKind.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    FaultKind.BROKEN: HTTPStatus.INTERNAL_SERVER_ERROR,
    FaultKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True)
class Request:
    """A request that was answered: what was asked, and the range if one was."""

    method: str
    path: str
    range: str | None


class SiteServer:
    """A simulated site on a port of 127.0.0.1; a context manager that stops it.

    ``as_of`` is the day at which one looks at the site: later releases are not published yet.
    """

    def __init__(
        self, folder: Path, port: int = 0, faults: Sequence[str] = (), as_of: date | None = None
    ) -> None:
        if not folder.is_dir():
            raise ValueError(f"{folder} is not a folder. Make one: openpay simulate {folder}")
        self.folder = folder
        self.as_of = as_of
        self.faults = Faults([Fault.parse(spec) for spec in faults])
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self.changed: set[str] = set()
        """Paths of files that are to look newer than they are."""
        self._scratch = TemporaryDirectory(prefix="site-")
        self._zipping = threading.Lock()
        self._http = _HttpServer(("127.0.0.1", port), _Handler)
        self._http.site = self
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the site is, without a slash at the end."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> SiteServer:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._http.shutdown()
        if self._thread is not None:
            self._thread.join()
        self.close()

    def serve(self) -> None:
        """Answer requests until interrupted."""
        try:
            self._http.serve_forever()
        finally:
            self.stopping.set()
            self.close()

    def close(self) -> None:
        """Free the port and drop the ZIP files made on demand."""
        self._http.server_close()
        self._scratch.cleanup()

    def publish(self, as_of: date | None) -> None:
        """Show the site as of another day; None for after its last release."""
        self.as_of = as_of

    def file_at(self, path: str) -> Path | None:
        """Return the local file behind a path of the site, None when nothing is published there."""
        for file in site.published_files(self.folder, self.as_of):
            if file.url_path == path:
                return file.path
        members = site.archives(self.folder, self.as_of).get(path)
        if members is None:
            return None
        local = Path(self._scratch.name) / path.rsplit("/", 1)[-1]
        with self._zipping:
            if not local.exists():
                site.write_archive(local, members)
        return local

    def file_with(self, identifier: str) -> site.PublishedFile | None:
        """Return the file of a dataset or distribution of the catalog."""
        for file in site.published_files(self.folder, self.as_of):
            if identifier in (file.dataset_id, file.distribution_id):
                return file
        return None


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    site: SiteServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that hang up; anything else is a defect and is shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: the site remembers its requests."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer()

    def do_HEAD(self) -> None:
        """Answer a HEAD: the headers of a GET."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a query in JSON, or do what the administrator says."""
        self._answer()

    def do_PUT(self) -> None:
        """Do what the administrator says."""
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        path = unquote(urlsplit(self.path).path)
        here = self.server.site
        if path.startswith(ADMIN):
            self._administer(path)
            return
        here.requests.append(Request(self.command, self.path, self.headers.get("Range")))
        asked = self.headers.get(FAULT_HEADER)
        fault = FaultKind(asked) if asked else here.faults.take(path)
        if fault in _STATUSES:
            headers = {"Retry-After": "1"} if fault is not FaultKind.BROKEN else {}
            self._say(_STATUSES[fault], {"message": "The site is in trouble."}, headers)
        elif path.startswith(API):
            self._answer_api(path, body, fault)
        else:
            self._answer_file(path, fault)

    # --- the catalog and the query API ----------------------------------------------------------

    def _answer_api(self, path: str, body: bytes, fault: FaultKind | None) -> None:
        parameters = parse_qsl(urlsplit(self.path).query, keep_blank_values=True)
        here = self.server.site
        queried = _QUERY.match(path)
        try:
            if path == ITEMS or path.startswith(f"{ITEMS}/"):
                # Present is enough: CMS wraps for show-reference-ids=false too.
                wrapped = any(name == "show-reference-ids" for name, _ in parameters)
                host = self.headers.get("Host")
                base = f"http://{host}" if host else here.url
                items = site.catalog(here.folder, base, here.as_of, show_reference_ids=wrapped)
                found: Any = items
                if path != ITEMS:
                    found = next((x for x in items if path.endswith(x["identifier"])), None)
            elif path.startswith(f"{site.DICTIONARIES}/"):
                found = dictionary(path.rsplit("/", 1)[-1])
            elif queried is not None:
                file = here.file_with(queried["id"])
                given = json.loads(body) if body else from_parameters(parameters)
                found = run_query(file, given) if file else None
            else:
                found = None
        except (QueryError, json.JSONDecodeError) as error:
            self._say(HTTPStatus.BAD_REQUEST, {"message": str(error), "status": 400})
            return
        if found is None:
            self._say(HTTPStatus.NOT_FOUND, {"message": f"Nothing at {path}", "status": 404})
        else:
            self._say(HTTPStatus.OK, found, fault=fault)

    def _administer(self, path: str) -> None:
        """Do ``/admin/as-of/DAY`` (or ``newest``), ``/admin/fault/SPEC``, ``/admin/no-faults``."""
        here = self.server.site
        command, _, argument = path.removeprefix(f"{ADMIN}/").partition("/")
        try:
            if command == "as-of":
                here.publish(None if argument == ANY_DAY else date.fromisoformat(argument))
            elif command == "fault":
                here.faults.add(Fault.parse(argument))
            elif command == "no-faults":
                here.faults.clear()
                here.changed.clear()
            else:
                raise ValueError(f"No such command: {command}. Known: as-of, fault, no-faults.")
        except ValueError as error:
            self._say(HTTPStatus.BAD_REQUEST, {"message": str(error)})
            return
        self._say(HTTPStatus.OK, {"as_of": str(here.as_of or ANY_DAY)})

    def _say(
        self,
        status: HTTPStatus,
        content: Any,
        headers: dict[str, str] | None = None,
        fault: FaultKind | None = None,
    ) -> None:
        body = json.dumps(content).encode()
        headers = {"Content-Type": "application/json", **(headers or {})}

        def send(first: int, count: int) -> None:
            self.wfile.write(body[first : first + count])

        self._send(status, headers, len(body), fault, send)

    # --- files ----------------------------------------------------------------------------------

    def _answer_file(self, path: str, fault: FaultKind | None) -> None:
        here = self.server.site
        local = here.file_at(path)
        if local is None:
            self._say(HTTPStatus.NOT_FOUND, {"message": f"Nothing at {path}", "status": 404})
            return
        if fault is FaultKind.CHANGED:
            here.changed.add(path)
        size, etag, modified = _validators(local, path in here.changed)
        headers = {
            "Content-Type": "application/zip" if path.lower().endswith(".zip") else "text/csv",
            "ETag": etag,
            "Last-Modified": formatdate(modified, usegmt=True),
        }
        if fault is not FaultKind.NO_RANGE:
            headers["Accept-Ranges"] = "bytes"
        if self.headers.get("If-None-Match") == etag:
            self._send(HTTPStatus.NOT_MODIFIED, headers, 0, None, _nothing)
            return
        span = None if fault is FaultKind.NO_RANGE else self._span(size, etag, modified)
        if span is not None and span[0] >= span[1]:
            headers["Content-Range"] = f"bytes */{size}"
            status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
            self._send(status, headers, 0, None, _nothing)
            return
        first, last = span or (0, size)
        if span is not None:
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{size}"

        def send(skipped: int, count: int) -> None:
            with local.open("rb") as source:
                self.connection.sendfile(source, first + skipped, count)

        status = HTTPStatus.OK if span is None else HTTPStatus.PARTIAL_CONTENT
        self._send(status, headers, last - first, fault, send)

    def _span(self, size: int, etag: str, modified: float) -> tuple[int, int] | None:
        """Return the bytes asked for, None for all; several ranges at once are answered by all."""
        found = _RANGE.match(self.headers.get("Range") or "")
        if found is None or found.groups() == ("", ""):
            return None
        condition = self.headers.get("If-Range")
        if condition and condition != etag and not _is_same_moment(condition, modified):
            return None
        first, last = found.groups()
        if not first:
            return max(size - int(last), 0), size
        return int(first), min(int(last) + 1, size) if last else size

    def _send(
        self,
        status: HTTPStatus,
        headers: dict[str, str],
        length: int,
        fault: FaultKind | None,
        send: Callable[[int, int], None],
    ) -> None:
        """Send an answer of ``length`` bytes, which ``send(first, count)`` writes, or part of it."""
        half = length // 2
        stated = half if fault is FaultKind.SHORT else length
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status is not HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(stated))
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault not in (FaultKind.STALL, FaultKind.RESET, FaultKind.TRUNCATED):
            if stated:
                send(0, stated)
            return
        if half:
            send(0, half)
        self.close_connection = True
        if fault is FaultKind.STALL:
            self.server.site.stopping.wait()
        elif fault is FaultKind.RESET:
            # Closing with nothing to linger for sends RST in place of FIN.
            now = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            self.connection.close()


def _nothing(first: int, count: int) -> None:
    """Send no body."""


def _validators(path: Path, looks_newer: bool) -> tuple[int, str, float]:
    """Return the size of a file, its ETag and when it was last modified."""
    status = path.stat()
    later = 3600 * 24 if looks_newer else 0
    tag = f'"{status.st_size:x}-{status.st_mtime_ns + later:x}"'
    return status.st_size, tag, status.st_mtime + later


def _is_same_moment(text: str, moment: float) -> bool:
    try:
        return int(parsedate_to_datetime(text).timestamp()) == int(moment)
    except ValueError:
        return False
