"""The Dagster UI as its users drive it: a real `dagster dev`, through its GraphQL API."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from openpay_assets.cms.simulator import simulate
from openpay_assets.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

YEAR = 2022
LOCATION = {"repositoryLocationName": "openpay", "repositoryName": "__repository__"}
LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}"""
BACKFILL_STATUS = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status error { message } } } }"""
RUN_STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
CHECKS = """
query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetChecksOrError { ... on AssetChecks { checks {
      name blocking
      executionForLatestMaterialization { status evaluation {
        success description metadataEntries { label __typename } } } } } } } }
}"""
PARTITIONS = """
query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionStats { numMaterialized numFailed } } }
}"""


class Server:
    """A running `dagster dev` and its GraphQL endpoint."""

    def __init__(self, url: str) -> None:
        self.url = url

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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ui")
    simulate(folder / "cms", years=[YEAR], rows=60, seed=9)
    home = folder / "home"
    home.mkdir()
    shutil.copyfile(PROJECT_ROOT / "dagster.yaml", home / "dagster.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "OPENPAY_LAKE": str(folder / "lake"),
        "OPENPAY_CMS": str(folder / "cms"),
    }
    command = [
        str(Path(sys.executable).with_name("dagster")),
        "dev",
        "--workspace",
        "workspace.yaml",
    ]
    log = (folder / "dagster.log").open("wb")
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        cwd=PROJECT_ROOT,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(url, process, folder / "dagster.log")
        yield Server(url)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=30)
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


def test_a_partition_is_materialized_and_its_checks_show_their_metadata(server: Server) -> None:
    tags = {
        "dagster/partition": f"general|{YEAR}",
        "dagster/partition/dataset": "general",
        "dagster/partition/year": str(YEAR),
    }
    launched = server.ask(
        LAUNCH,
        params={
            "selector": {**LOCATION, "pipelineName": "partition"},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in tags.items()]},
        },
    )["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    final = {"SUCCESS", "FAILURE", "CANCELED"}
    ended = server.wait(RUN_STATUS, lambda a: a["runOrError"]["status"] in final, id=run_id)
    assert ended["runOrError"]["status"] == "SUCCESS"

    node = server.ask(CHECKS, key={"path": ["staging"]})["assetNodeOrError"]
    checks = {c["name"]: c for c in node["assetChecksOrError"]["checks"]}
    conservation = checks["conservation"]
    assert conservation["blocking"]
    evaluation = conservation["executionForLatestMaterialization"]["evaluation"]
    assert evaluation["success"]
    assert "60 rows read = 60 staged + 0 quarantined" in evaluation["description"]
    labels = {entry["label"] for entry in evaluation["metadataEntries"]}
    assert {"rows_read", "amount_difference"} <= labels


def test_a_backfill_of_several_partitions_runs_each_on_its_own(server: Server) -> None:
    names = [f"research|{YEAR}", f"ownership|{YEAR}"]
    assets = ["raw_files", "staging", "quarantine"]
    launched = server.ask(
        BACKFILL,
        params={"assetSelection": [{"path": [x]} for x in assets], "partitionNames": names},
    )["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    backfill = launched["backfillId"]
    final = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"}
    ended = server.wait(
        BACKFILL_STATUS, lambda a: a["partitionBackfillOrError"]["status"] in final, id=backfill
    )
    assert ended["partitionBackfillOrError"]["status"] == "COMPLETED_SUCCESS", ended
    stats = server.ask(PARTITIONS, key={"path": ["staging"]})["assetNodeOrError"]["partitionStats"]
    assert stats["numMaterialized"] >= 2
    assert stats["numFailed"] == 0
