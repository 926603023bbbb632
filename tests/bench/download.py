"""Measure a download over loopback against curl with the same number of connections.

Both fetch the same file in ranges from the same server (a process of its own), in turns; the
fastest of each is compared. Prints MB/s and the ratio, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = "OP_DTL_GNRL_PGYR2023_P01302025_01212025.csv"


class Files(BaseHTTPRequestHandler):
    """Serves one file with ranges, by sendfile."""

    protocol_version = "HTTP/1.1"
    path_on_disk: Path

    def do_GET(self) -> None:
        size = self.path_on_disk.stat().st_size
        first, _, last = self.headers.get("Range", f"bytes=0-{size - 1}")[6:].partition("-")
        start, end = int(first), min(int(last or size - 1), size - 1)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(end - start + 1))
        self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.flush()
        with self.path_on_disk.open("rb") as file:
            while start <= end:
                start += os.sendfile(
                    self.connection.fileno(), file.fileno(), start, end + 1 - start
                )

    def handle(self) -> None:
        """Serve a connection; who ends it is free to."""
        with suppress(ConnectionResetError):
            super().handle()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server whose queue takes all connections at once."""

    request_queue_size = 128


def serve(path: Path) -> None:
    """Serve a file on a port that is printed, until killed."""
    Files.path_on_disk = path
    server = Server(("127.0.0.1", 0), Files)
    print(server.server_port, flush=True)
    server.serve_forever()


def with_curl(url: str, folder: Path, connections: int, size: int) -> None:
    """Fetch a file with one curl process per connection, each an equal range into its own file."""
    share = -(-size // connections)
    spans = [f"{n * share}-{min((n + 1) * share, size) - 1}" for n in range(connections)]
    running = [
        subprocess.Popen(["curl", "-s", "-r", span, "-o", str(folder / f"part{n}"), url])
        for n, span in enumerate(spans)
    ]
    assert [x.wait() for x in running] == [0] * connections


def with_openpay(url: str, folder: Path, connections: int) -> None:
    """Fetch a file in a process of its own, imports included."""
    code = (
        "import sys; from pathlib import Path; from openpay_assets.cms.download import download;"
        "from openpay_assets.cms.http import Http;"
        "download(Http(connections=int(sys.argv[3])), sys.argv[1], Path(sys.argv[2]), 'file')"
    )
    subprocess.run([sys.executable, "-c", code, url, str(folder), str(connections)], check=True)


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", type=Path)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = folder / NAME
        with source.open("wb") as file:
            for _ in range(asked.megabytes):
                file.write(os.urandom(1 << 20))
        size = source.stat().st_size
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(source)], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/{NAME}"
        seconds: dict[str, list[float]] = {"curl": [], "openpay": []}
        try:
            for _ in range(asked.rounds):
                for tool, times in seconds.items():
                    target = folder / tool
                    target.mkdir()
                    began = time.perf_counter()
                    if tool == "curl":
                        with_curl(url, target, asked.connections, size)
                    else:
                        with_openpay(url, target, asked.connections)
                    times.append(time.perf_counter() - began)
                    shutil.rmtree(target)
        finally:
            server.terminate()
            server.wait()
    speed = {tool: size / min(times) / 1e6 for tool, times in seconds.items()}
    print(
        json.dumps(
            {
                "megabytes": asked.megabytes,
                "connections": asked.connections,
                "mb_per_second": {tool: round(x) for tool, x in speed.items()},
                "ratio_to_curl": round(speed["openpay"] / speed["curl"], 2),
            }
        )
    )


if __name__ == "__main__":
    main()
