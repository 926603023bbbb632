"""Downloads: in ranges, resumed, whole or not there, whatever the site does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_site import (
    FaultySite,
    File,
    Handler,
    elsewhere,
    redirected,
    reset,
    stalled,
    status,
    too_long,
    truncated,
)

from openpay_assets.cms import download as module
from openpay_assets.cms.download import Piece, ask_for, download, watched
from openpay_assets.cms.http import Http, NotPublishedError, SiteError
from openpay_assets.settings import PROJECT_ROOT

NAME = "OP_DTL_GNRL_PGYR2023_P01302025_01212025.csv"
PATH = f"/openpayments/{NAME}"
CONTENT = os.urandom(300_000)
PIECE = 50_000


def leftovers(folder: Path) -> list[str]:
    """Files that are neither the download nor its lock."""
    return sorted(x.name for x in folder.iterdir() if x.name != NAME and x.suffix != ".lock")


def test_a_file_is_downloaded_in_ranges_whole_and_with_the_time_the_site_states(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    path = download(http, site.put(PATH, CONTENT), tmp_path, NAME, piece=PIECE)
    assert path == tmp_path / NAME
    assert path.read_bytes() == CONTENT
    assert int(path.stat().st_mtime) == 1738238400
    assert len(site.ranges_asked) == 1 + 6
    assert leftovers(tmp_path) == []
    assert all(x.startswith("openpay/") for x in site.agents)


def test_what_is_there_as_the_site_has_it_is_not_downloaded_again(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url = site.put(PATH, CONTENT)
    download(http, url, tmp_path, NAME)
    asked = site.asked[PATH]
    download(http, url, tmp_path, NAME)
    assert site.asked[PATH] == asked + 1
    site.put(PATH, CONTENT[::-1], last_modified="Fri, 31 Jan 2025 12:00:00 GMT")
    assert download(http, url, tmp_path, NAME).read_bytes() == CONTENT[::-1]


def test_an_empty_file_is_downloaded(site: FaultySite, http: Http, tmp_path: Path) -> None:
    assert download(http, site.put(PATH, b""), tmp_path, NAME).read_bytes() == b""


@pytest.mark.parametrize(
    "fault",
    [
        reset,
        truncated,
        too_long,
        elsewhere,
        stalled(1.0),
        status(429, Retry_After="0"),
        status(403),
        status(503),
    ],
    ids=["reset", "truncated", "too_long", "elsewhere", "stalled", "429", "403", "503"],
)
def test_a_piece_that_fails_is_asked_for_again(
    site: FaultySite, http: Http, tmp_path: Path, fault: object
) -> None:
    url = site.put(PATH, CONTENT)
    site.faults += [fault, fault]  # type: ignore[list-item]
    assert download(http, url, tmp_path, NAME, piece=PIECE).read_bytes() == CONTENT
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (reset, "ProtocolError"),
        (truncated, "IncompleteRead"),
        (stalled(1.0), "timed out"),
        (status(429), "status 429"),
        (elsewhere, "asked for bytes from"),
        (too_long, "more bytes than"),
    ],
    ids=["reset", "truncated", "stalled", "429", "elsewhere", "too_long"],
)
def test_a_fault_that_stays_is_an_error_with_url_cause_and_attempts_and_no_file(
    site: FaultySite, http: Http, tmp_path: Path, fault: object, said: str
) -> None:
    url = site.put(PATH, CONTENT)
    site.faults += [fault] * 100  # type: ignore[list-item]
    with pytest.raises(SiteError) as failed:
        download(http, url, tmp_path, NAME, piece=PIECE)
    for part in (url, said, "3 attempts"):
        assert part in str(failed.value)
    assert not (tmp_path / NAME).exists()
    assert leftovers(tmp_path) == [f"{NAME}.partial", f"{NAME}.partial.json"]


def test_what_was_downloaded_before_a_failure_is_not_downloaded_again(
    site: FaultySite, tmp_path: Path, http: Http
) -> None:
    url, served = site.put(PATH, CONTENT), []

    def fail_late(handler: Handler, _: File) -> bool:
        wanted = handler.headers["Range"]
        if wanted.startswith("bytes=250000-"):
            handler.reply(503, b"")
            return True
        served.append(wanted)
        return False

    site.always = fail_late
    with pytest.raises(SiteError):
        download(Http(http.patience, 1), url, tmp_path, NAME, piece=PIECE)
    site.always = None
    site.ranges_asked.clear()
    assert download(http, url, tmp_path, NAME, piece=PIECE).read_bytes() == CONTENT
    assert site.ranges_asked == ["bytes=0-0", "bytes=250000-299999"]


def test_a_file_that_changes_midway_is_downloaded_anew(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url, changed = site.put(PATH, CONTENT), CONTENT[::-1] + b"and more"

    def change(*_: object) -> bool:
        site.put(PATH, changed, etag='"2"')
        return False

    site.faults += [lambda *_: False, lambda *_: False, change]
    assert download(http, url, tmp_path, NAME, piece=PIECE).read_bytes() == changed


def test_a_file_that_changed_since_it_was_left_is_downloaded_anew(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url = site.put(PATH, CONTENT)
    site.faults += [lambda *_: False, *[status(503)] * 100]
    with pytest.raises(SiteError):
        download(Http(http.patience, 1), url, tmp_path, NAME, piece=PIECE)
    site.faults.clear()
    site.put(PATH, CONTENT[::-1], etag='"2"')
    assert download(http, url, tmp_path, NAME, piece=PIECE).read_bytes() == CONTENT[::-1]


def test_a_file_without_validators_is_never_resumed(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url = site.put(PATH, CONTENT, etag=None, last_modified=None)
    site.faults += [lambda *_: False, *[status(503)] * 100]
    with pytest.raises(SiteError):
        download(Http(http.patience, 1), url, tmp_path, NAME, piece=PIECE)
    site.faults.clear()
    site.put(PATH, CONTENT[::-1], etag=None, last_modified=None)
    assert download(http, url, tmp_path, NAME, piece=PIECE).read_bytes() == CONTENT[::-1]


def test_a_file_that_changes_all_the_time_is_a_clear_error(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url = site.put(PATH, CONTENT)

    def change(*_: object) -> bool:
        site.files[PATH].etag = f'"{time.monotonic_ns()}"'
        return False

    site.always = change
    with pytest.raises(SiteError, match=r"changed on the site each of the 4 times"):
        download(http, url, tmp_path, NAME, piece=PIECE)
    assert leftovers(tmp_path) == []


def test_a_server_without_ranges_sends_one_stream_from_the_start(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url = site.put(PATH, CONTENT, ranges=False)
    site.faults += [reset]
    assert download(http, url, tmp_path, NAME, piece=PIECE).read_bytes() == CONTENT
    assert site.ranges_asked == ["bytes=0-0"]


def test_a_stream_that_always_breaks_off_is_an_error_and_no_file(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url = site.put(PATH, CONTENT, ranges=False)

    def break_off(handler: Handler, file: File) -> bool:
        stated = {"Content-Length": str(len(CONTENT)), "ETag": '"1"'}
        stated["Last-Modified"] = file.last_modified or ""
        handler.reply(200, CONTENT[:1000], stated)
        handler.close_connection = True
        return True

    site.faults += [break_off] * 10
    with pytest.raises(SiteError, match="3 attempts"):
        download(http, url, tmp_path, NAME)
    assert not (tmp_path / NAME).exists()


def test_a_missing_file_is_said_to_be_missing_at_once(site: FaultySite, http: Http) -> None:
    with pytest.raises(NotPublishedError, match="status 404"):
        ask_for(http, f"{site.url}/nowhere.csv")
    assert site.asked["/nowhere.csv"] == 1


def test_a_file_that_was_moved_is_downloaded_from_where_it_is(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    site.put(PATH, CONTENT)
    moves = {"/before": redirected(f"{site.url}/between"), "/between": redirected(PATH)}
    site.always = lambda handler, file: handler.path in moves and moves[handler.path](handler, file)
    assert ask_for(http, f"{site.url}/before").url == f"{site.url}{PATH}"
    path = download(http, f"{site.url}/before", tmp_path, NAME, piece=PIECE)
    assert path.read_bytes() == CONTENT


def test_a_file_that_is_only_ever_elsewhere_is_an_error(site: FaultySite, http: Http) -> None:
    site.always = redirected(PATH)
    with pytest.raises(SiteError, match=r"redirected more than 20 times, at last to http.*"):
        ask_for(http, f"{site.url}/files/{NAME}")


def test_what_is_no_web_address_is_not_asked_for(http: Http) -> None:
    with pytest.raises(SiteError, match="cannot be asked for"):
        ask_for(http, f"gopher://127.0.0.1{PATH}")


def test_a_small_file_costs_one_connection(site: FaultySite, http: Http, tmp_path: Path) -> None:
    download(http, site.put(PATH, CONTENT), tmp_path, NAME)
    assert (site.asked[PATH], site.connections) == (2, 1)


def test_a_download_loads_no_library_that_only_the_catalog_needs(
    site: FaultySite, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from openpay_assets.cms.download import download;"
        "from openpay_assets.cms.http import Http;"
        "download(Http(), sys.argv[1], Path(sys.argv[2]), 'file'); print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, site.put(PATH, CONTENT), str(tmp_path)]
    loaded = subprocess.run(command, cwd=PROJECT_ROOT, check=True, capture_output=True, text=True)
    assert "urllib3" in loaded.stdout.split()
    assert "httpx" not in loaded.stdout.split()


def test_a_size_that_is_not_stated_or_packed_is_refused(site: FaultySite, http: Http) -> None:
    def unstated(handler: Handler, _: File) -> bool:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        return True

    def packed(handler: Handler, _: File) -> bool:
        handler.reply(200, b"x", {"Content-Encoding": "gzip"})
        return True

    for fault, said in ((unstated, "does not state a size"), (packed, "sent as gzip")):
        site.always = fault
        with pytest.raises(SiteError, match=said):
            ask_for(http, site.put(PATH, CONTENT))


def test_a_full_disk_is_said_before_anything_is_downloaded(
    site: FaultySite, http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Full)
    with pytest.raises(SiteError, match=r"300,000 bytes .* where 1,000 are free"):
        download(http, site.put(PATH, CONTENT), tmp_path, NAME)


def test_bytes_that_a_crash_of_the_machine_may_have_lost_are_downloaded_again(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    url = site.put(PATH, CONTENT)
    site.faults += [*[lambda *_: False] * 3, *[status(503)] * 100]
    with pytest.raises(SiteError):
        download(Http(http.patience, 1), url, tmp_path, NAME, piece=PIECE)
    site.faults.clear()
    state = tmp_path / f"{NAME}.partial.json"
    kept = json.loads(state.read_text())
    assert kept["done"] == [[0, 150_000]]
    state.write_text(json.dumps({**kept, "boot": "another", "synced": [[0, 50_000]]}))
    site.ranges_asked.clear()
    assert download(http, url, tmp_path, NAME, piece=PIECE).read_bytes() == CONTENT
    assert len(site.ranges_asked) == 1 + 5


@pytest.mark.parametrize("state", ["", "[]", '{"offer": {}}'])
def test_a_state_that_cannot_be_read_is_forgotten(
    site: FaultySite, http: Http, tmp_path: Path, state: str
) -> None:
    (tmp_path / f"{NAME}.partial").write_bytes(b"x" * len(CONTENT))
    (tmp_path / f"{NAME}.partial.json").write_text(state)
    assert download(http, site.put(PATH, CONTENT), tmp_path, NAME).read_bytes() == CONTENT


def test_progress_ends_with_all_bytes_and_is_told_to_who_watches(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    seen: list[tuple[int, int]] = []
    url = site.put(PATH, CONTENT, slow=0.1)
    with watched(lambda *x: seen.append(x)):
        download(http, url, tmp_path, NAME, on_progress=lambda *x: told.append(x))
    assert told == seen
    assert told[-1] == (300_000, 300_000)
    assert len(told) > 1


def test_pieces_cover_exactly_what_is_missing() -> None:
    done = [(0, 10), (20, 30), (25, 40)]
    assert list(module._missing(done, 55, 10)) == [
        Piece(10, 20, 10),
        Piece(40, 50, 40),
        Piece(50, 55, 50),
    ]


def kill_midway(call: str, url: str, folder: Path, when: Callable[[], bool]) -> int:
    """Begin a download in a process of its own and kill it; return the bytes it has recorded."""
    code = (
        "import sys; from pathlib import Path; from openpay_assets.cms import download as module;"
        "from openpay_assets.cms.http import Http;"
        f"http, url, folder, name = Http(connections=2), sys.argv[1], Path(sys.argv[2]), '{NAME}';"
    )
    process = subprocess.Popen([sys.executable, "-c", code + call, url, folder], cwd=PROJECT_ROOT)
    try:
        deadline = time.monotonic() + 60
        while not when():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (folder / NAME).exists()
    state = json.loads((folder / f"{NAME}.partial.json").read_text())
    return sum(end - start for start, end in state["done"])


def test_a_slow_download_that_is_killed_goes_on_with_what_the_last_second_recorded(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    content = os.urandom(6_000_000)
    url = site.put(PATH, content, slow=0.05)
    state = tmp_path / f"{NAME}.partial.json"
    kept = kill_midway("module.download(http, url, folder, name)", url, tmp_path, state.exists)
    assert 0 < kept < len(content)
    site.files[PATH].slow = 0.0
    site.ranges_asked.clear()
    assert download(http, url, tmp_path, NAME).read_bytes() == content
    asked = [x.removeprefix("bytes=").split("-") for x in site.ranges_asked[1:]]
    assert sum(int(end) + 1 - int(start) for start, end in asked) == len(content) - kept


def test_a_fast_download_that_is_killed_goes_on_with_all_but_the_last_few_bytes(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    content, go_on = os.urandom(6_000_000), threading.Event()
    held: list[Handler] = []
    url = site.put(PATH, content)

    def hold(handler: Handler, _: File) -> bool:
        """Send nothing after 40 %; who asks for more has written what it got before."""
        if site.sent < 0.4 * len(content):
            return False
        held.append(handler)
        go_on.wait(60)
        handler.close_connection = True
        return True

    site.always = hold
    call = (
        "module.SAVE_EVERY = float('inf');"
        "module.download(http, url, folder, name, piece=200_000, save_after=500_000)"
    )
    kept = kill_midway(call, url, tmp_path, lambda: len(held) == 2)
    sent, site.always = site.sent, None
    go_on.set()
    assert sent - 500_000 <= kept <= sent
    path = download(http, url, tmp_path, NAME)
    assert site.sent - sent == 1 + len(content) - kept  # 1 to ask what the site has
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    assert digest == hashlib.sha256(content).hexdigest()
