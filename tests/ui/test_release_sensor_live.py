"""The release sensor as it runs: a served CMS site in one process, Dagster's daemon in another."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from dagster_dev import Server, dagster_dev

from openpay_assets.cms.simulator import simulate
from openpay_assets.contracts.model import Dataset
from openpay_assets.query import connect
from openpay_assets.settings import PROJECT_ROOT, Settings

pytestmark = pytest.mark.slow

FIRST, SECOND = "2024-06-28", "2025-01-30"
RUNS = """
query { runsOrError { ... on Runs { results {
  runId status pipelineName tags { key value } } } } }"""
TICKS = """
query($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
  sensorState { status ticks(limit: 20) { status skipReason runIds timestamp } } } } }"""
SENSOR = {
    "repositoryLocationName": "openpay",
    "repositoryName": "__repository__",
    "sensorName": "cms_release_sensor",
}
FINAL = {"SUCCESS", "FAILURE", "CANCELED"}


@contextmanager
def served(site: Path, as_of: str) -> Iterator[str]:
    """Serve a site in a process of its own; yields its address."""
    command = [sys.executable, "-m", "openpay_assets.cli", "serve", str(site), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--as-of", as_of],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), line
        yield line.split()[0]
    finally:
        process.terminate()
        process.communicate()


def runs(server: Server) -> dict[str, str]:
    """Status of every run, by ``partition@release``."""
    found = {}
    for run in server.ask(RUNS)["runsOrError"]["results"]:
        tags = {x["key"]: x["value"] for x in run["tags"]}
        found[f"{tags['dagster/partition']}@{tags['openpay/release']}"] = run["status"]
    return found


def wait_for(server: Server, expected: set[str], seconds: int = 400) -> None:
    """Wait until exactly these runs are there and have succeeded."""
    deadline = time.monotonic() + seconds
    while True:
        found = runs(server)
        assert set(found) <= expected, found
        if set(found) == expected and set(found.values()) <= FINAL:
            assert set(found.values()) == {"SUCCESS"}, found
            return
        assert time.monotonic() < deadline, found
        time.sleep(1)


def next_tick(server: Server) -> dict[str, Any]:
    """Wait for a tick that begins from now on, and return it."""
    now = time.time()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        state = server.ask(TICKS, sensor=SENSOR)["sensorOrError"]["sensorState"]
        later = [x for x in state["ticks"] if x["timestamp"] > now and x["status"] != "STARTED"]
        if later:
            tick: dict[str, Any] = later[-1]
            return tick
        time.sleep(1)
    raise AssertionError("no tick came")


def test_a_new_release_runs_once_and_only_what_changed_runs_again(tmp_path: Path) -> None:
    site = tmp_path / "site"
    simulate(
        site,
        years=[2022, 2023],
        rows=60,
        seed=9,
        datasets=(Dataset.OWNERSHIP,),
        release=SECOND,
        releases=2,
        beside=True,
    )
    for unchanged in site.rglob("OP_*PGYR2022_P01302025*"):
        unchanged.unlink()
    lake = Settings(lake=str(tmp_path / "lake"), cms=str(site))
    with (
        served(site, FIRST) as url,
        dagster_dev(
            tmp_path, OPENPAY_CMS=url, OPENPAY_WATCH_CMS="1", OPENPAY_WATCH_SECONDS="5"
        ) as server,
    ):
        first = {f"ownership|{year}@{FIRST}" for year in (2022, 2023)}
        wait_for(server, first)
        with connect(lake) as connection:
            built = connection.execute(
                "SELECT program_year, count(*) FROM marts.fct_payments GROUP BY 1 ORDER BY 1"
            ).fetchall()
            [compared, apart] = connection.execute(
                "SELECT count(*), max(abs(difference)) FROM curated.reconciliation"
            ).fetchall()[0]
        assert (compared > 0, apart) == (True, 0)
        assert [year for year, count in built if count > 0] == [2022, 2023]

        tick = next_tick(server)
        assert (tick["status"], tick["runIds"]) == ("SKIPPED", [])
        assert "Nothing is newer" in tick["skipReason"]

        httpx.put(f"{url}/admin/as-of/{SECOND}").raise_for_status()
        wait_for(server, first | {f"ownership|2023@{SECOND}"})
        tick = next_tick(server)
        assert (tick["status"], tick["runIds"]) == ("SKIPPED", [])
