"""Definitions: what Dagster is told about, and where settings end up."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
from house import UP_TO_CURATED

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import (
    CURATED_TABLES,
    curated_table,
    quarantine_table,
    staging_table,
)
from openpay_assets.definitions import build_definitions, lake_io_manager, resources
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration.assets.health import PARTITION_HEALTH
from openpay_assets.orchestration.io_managers import DuckDBIOManager, PySparkIOManager, table_of
from openpay_assets.orchestration.jobs import PARTITION_JOB, REFERENCES_JOB
from openpay_assets.orchestration.partitions import DATASET_YEARS
from openpay_assets.orchestration.resources import CmsResource, Thresholds
from openpay_assets.settings import EngineName, Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("definitions")
    return Settings(lake=str(folder / "lake"), cms=str(folder / "cms"))


@pytest.fixture(scope="module")
def definitions(settings: Settings) -> dg.Definitions:
    return build_definitions(settings)


def test_every_asset_is_partitioned_by_dataset_and_year_and_described(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    assert set(UP_TO_CURATED) <= set(graph.get_all_asset_keys())
    for key in UP_TO_CURATED:
        assert graph.get(key).partitions_def == DATASET_YEARS
    for name in CURATED_TABLES:
        assert graph.get(dg.AssetKey(["curated", name])).description


def test_every_asset_is_checked(definitions: dg.Definitions) -> None:
    checked = {key.asset_key for key in definitions.resolve_asset_graph().asset_check_keys}
    assert set(UP_TO_CURATED) <= checked


def test_every_asset_is_run_by_the_partition_job_or_that_of_the_references(
    definitions: dg.Definitions,
) -> None:
    jobs = [definitions.resolve_job_def(x) for x in (PARTITION_JOB, REFERENCES_JOB)]
    partitioned, whole = (set(job.asset_layer.executable_asset_keys) for job in jobs)
    assert jobs[0].partitions_def == DATASET_YEARS
    standing = {PARTITION_HEALTH}
    assert partitioned | whole | standing == set(
        definitions.resolve_asset_graph().executable_asset_keys
    )
    assert partitioned & whole == set()


def test_the_marts_wait_for_the_reconciliation(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["marts", "reconciliation"])).parent_keys
    assert parents == {dg.AssetKey(["curated", "reconciliation"])}


def test_zones_follow_each_other(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()

    def parents(*path: str) -> set[str]:
        return {x.to_user_string() for x in graph.get(dg.AssetKey(list(path))).parent_keys}

    assert parents("staging") == parents("quarantine") == {"raw_files"}
    assert parents("curated", "payments") == {"staging"}
    assert parents("curated", "physicians") == {"curated/payments", "curated/investigators"}
    assert parents("curated", "companies") == {"curated/payments"}


def test_a_resource_can_be_swapped_by_its_key(settings: Settings) -> None:
    other = CmsResource(location="/elsewhere")
    swapped = build_definitions(settings, cms=other)
    assert swapped.resources is not None
    assert swapped.resources["cms"] is other


def test_limits_reach_the_checks(settings: Settings) -> None:
    thresholds = resources(settings)["thresholds"]
    assert isinstance(thresholds, Thresholds)
    assert set(thresholds.max_quarantine_share) == {str(x) for x in Dataset}
    assert thresholds.max_quarantine_share["ownership"] == 0.05
    assert thresholds.max_wrong_year_share == 0.0001


@pytest.mark.parametrize(
    ("engine", "manager"),
    [(EngineName.DUCKDB, DuckDBIOManager), (EngineName.SPARK, PySparkIOManager)],
)
def test_the_engine_of_the_settings_runs_the_transforms(
    settings: Settings, engine: EngineName, manager: type
) -> None:
    chosen = lake_io_manager(settings.model_copy(update={"engine": engine}))
    assert type(chosen) is manager
    assert chosen.root == settings.lake
    assert chosen.memory_limit == settings.memory_limit


def test_a_column_of_a_curated_table_is_shown_with_its_meaning(definitions: dg.Definitions) -> None:
    metadata = definitions.resolve_asset_graph().get(dg.AssetKey(["curated", "payments"])).metadata
    columns = metadata["dagster/column_schema"].columns
    assert [x.name for x in columns] == curated_table("payments").column_names
    by_name = {x.name: x for x in columns}
    assert by_name["amount"].type == "money"
    assert "US dollars" in str(by_name["amount"].description)
    assert by_name["amount"].constraints.nullable is False


@pytest.mark.parametrize("dataset", Dataset)
def test_an_asset_keeps_a_partition_in_the_table_of_its_dataset(dataset: Dataset) -> None:
    partition = Partition(dataset, 2023)
    assert table_of(dg.AssetKey("staging"), partition) == staging_table(dataset)
    assert table_of(dg.AssetKey("quarantine"), partition) == quarantine_table()
    payments = table_of(dg.AssetKey(["curated", "payments"]), partition)
    assert payments == curated_table("payments")


def test_scratch_of_a_run_that_was_killed_is_removed_and_of_a_living_one_kept(
    tmp_path: Path,
) -> None:
    gone, alive = tmp_path / ".scratch" / "999999999-x", tmp_path / ".scratch" / f"{os.getpid()}-y"
    for folder in (gone, alive):
        folder.mkdir(parents=True)
    manager = DuckDBIOManager(root=str(tmp_path), memory_limit="100MB", threads=1)
    engine = manager.engine
    assert not gone.exists()
    assert alive.exists()
    assert manager.engine is engine
    manager.teardown_after_execution(dg.build_init_resource_context())
    assert [x.name for x in (tmp_path / ".scratch").iterdir()] == [alive.name]
