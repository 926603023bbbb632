"""Kill a download at full speed, begin it again, and see what is fetched a second time.

Serves a simulated site in a process of its own (``openpay serve``), downloads its largest payment
file in another, ends that with SIGKILL once it wrote a share of the file, and downloads again.
Prints, as JSON: bytes written and recorded at the kill, bytes of the file that the server sent
after it as the kernel counted them, and whether the sha256 is the one of the file on the site.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOWNLOAD = """
import sys
from pathlib import Path
from openpay_assets.cms.download import download
from openpay_assets.cms.http import Http
download(Http(), sys.argv[1], Path(sys.argv[2]), sys.argv[3])
"""
OPENPAY = [sys.executable, "-m", "openpay_assets.cli"]


def written_by(process: int) -> int:
    """Return the bytes that a process wrote to files, or sent from them (Linux)."""
    counts = Path(f"/proc/{process}/io").read_text(encoding="ascii")
    return int(counts.partition("wchar: ")[2].split()[0])


def sha256(path: Path) -> str:
    """Return the digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def largest(site: str) -> tuple[str, str]:
    """Return URL and name of the largest payment file in the catalog of a site."""
    from openpay_assets.cms.site import SiteSource

    source = SiteSource(site)
    release = max(map(source.sized, source.releases()), key=lambda x: x.size or 0)
    return release.location, release.file.name


def measure(
    site: str, server: int, original: Path, folder: Path, kill_at: float
) -> dict[str, object]:
    """Download, kill and download again; return what was counted."""
    url, name = largest(site)
    on_site = next(original.rglob(name))
    size, command = on_site.stat().st_size, [sys.executable, "-c", DOWNLOAD, url, str(folder), name]
    began = time.perf_counter()
    first = subprocess.Popen(command)
    while (written := written_by(first.pid)) < kill_at * size:
        if first.poll() is not None:
            sys.exit("The download ended before it could be killed.")
        time.sleep(0.001)
    first.kill()
    first.wait()
    seconds = time.perf_counter() - began
    time.sleep(0.5)  # for the server to notice that nobody listens
    state = folder / f"{name}.partial.json"
    done = json.loads(state.read_text(encoding="utf-8"))["done"] if state.exists() else []
    sent = written_by(server)
    subprocess.run(command, check=True)
    return {
        "file": name,
        "bytes": size,
        "killed_after_seconds": round(seconds, 2),
        "written_at_kill": written,
        "recorded_at_kill": sum(end - start for start, end in done),
        "sent_after_restart": written_by(server) - sent,
        "sha256_equal": sha256(folder / name) == sha256(on_site),
    }


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("site", type=Path, help="a folder that openpay simulate wrote")
    parser.add_argument("--kill-at", type=float, default=0.4, help="share of the file")
    asked = parser.parse_args()
    server = subprocess.Popen(
        [*OPENPAY, "serve", str(asked.site), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[0]
        with tempfile.TemporaryDirectory() as folder:
            counted = measure(url, server.pid, asked.site, Path(folder), asked.kill_at)
    finally:
        server.terminate()
        server.wait()
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
