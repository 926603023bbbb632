"""The Dagster UI as its users drive it: a real `dagster dev`, through its GraphQL API."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from dagster_dev import Server, dagster_dev

from openpay_assets.cms.simulator import simulate
from openpay_assets.contracts.model import Dataset
from openpay_assets.lake.manifest import manifest_path, read_manifest
from openpay_assets.lake.openlineage import lineage_path

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
ENDED_RUNS = """
query { runsOrError(filter: {statuses: [SUCCESS]}) { ... on Runs { results { runId jobName } } } }"""
PARTITIONS = """
query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionStats { numMaterialized numFailed } } }
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("ui")
    simulate(folder / "cms", years=[YEAR], rows=60, seed=9)
    with dagster_dev(folder, OPENPAY_CMS=str(folder / "cms")) as server:
        yield server


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


def test_every_run_leaves_a_manifest(server: Server) -> None:
    """Last, so that the sensor had its time while the tests before ran."""
    runs = server.ask(ENDED_RUNS)["runsOrError"]["results"]
    jobs = {run["runId"]: run["jobName"] for run in runs}
    assert sorted(jobs.values()) == ["__ASSET_JOB", "__ASSET_JOB", "partition"]
    deadline = time.monotonic() + 90
    while not all(manifest_path(server.lake, x).exists() for x in jobs):
        assert time.monotonic() < deadline, "no manifest"
        time.sleep(0.5)
    read = [read_manifest(server.lake, run_id) for run_id in jobs]
    assert {x.partition for x in read} == {f"{name}|{YEAR}" for name in Dataset}
    [whole] = [x for x in read if x.job == "partition"]
    assert whole.assets["curated/payments"]["dagster/partition_row_count"] == 60
    assert whole.assets["marts/company_years"]["dagster/partition_row_count"] > 0
    for manifest in read:
        assert lineage_path(server.lake, manifest.run_id).exists()
        assert manifest.status == "succeeded"
        assert manifest.assets["staging"]["rows_staged"] > 0
        assert {"conservation", "quarantine_share"} <= {x["name"] for x in manifest.checks}
