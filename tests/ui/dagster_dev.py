"""A real `dagster dev`, webserver and daemon, on a lake of its own, and its GraphQL API."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from openpay_assets.settings import PROJECT_ROOT


class Server:
    """A running `dagster dev`, its GraphQL endpoint and its lake."""

    def __init__(self, url: str, lake: Path) -> None:
        self.url, self.lake = url, lake

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Send a query; fails on GraphQL errors."""
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def wait(self, query: str, done: Any, seconds: int = 240, **variables: Any) -> dict[str, Any]:
        """Ask until an answer is final."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.ask(query, **variables)
            if done(answer):
                return answer
            assert time.monotonic() < deadline, answer
            time.sleep(1)


@contextmanager
def dagster_dev(folder: Path, **environment: str) -> Iterator[Server]:
    """Run `dagster dev` on the lake in a folder until the block ends."""
    home = folder / "home"
    home.mkdir()
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", home / "dagster.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "OPENPAY_LAKE": str(folder / "lake"),
        **environment,
    }
    dagster = str(Path(sys.executable).with_name("dagster"))
    command = [dagster, "dev", "--workspace", "workspace.yaml", "--host", "127.0.0.1"]
    log = (folder / "dagster.log").open("wb")
    process = subprocess.Popen(
        [*command, "--port", str(port)],
        cwd=PROJECT_ROOT,
        env=seen,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(url, process, folder / "dagster.log")
        yield Server(url, folder / "lake")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.close()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/server_info", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())
