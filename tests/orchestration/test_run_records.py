"""Records of runs: a manifest for every run that ended, whoever launched it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from cms_files import era
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from house import UP_TO_CURATED, Base, House

from openpay_assets.contracts.registry import curated_table
from openpay_assets.lake.manifest import Manifest, manifest_path, read_manifest, write_manifest
from openpay_assets.lake.openlineage import lineage_events, lineage_path
from openpay_assets.lake.running import running
from openpay_assets.orchestration import records
from openpay_assets.orchestration.jobs import HEALTH_JOB, PARTITION_JOB
from openpay_assets.settings import Settings

KEY = "general|2023"


class Watch:
    """An instance, a lake that its runs are recorded in, and the sensor that does it."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = folder / "lake", instance
        self.sensor = records.records_sensor(Settings(lake=str(self.root), cms=str(folder)))
        self.cursor: str | None = None

    def launch(self, job_name: str = PARTITION_JOB, *, by_dagster: bool = True) -> dg.DagsterRun:
        """Make a run as the UI does, or as the openpay command does."""

        @dg.op
        def nothing() -> None: ...

        @dg.job(name=job_name)
        def job() -> None:
            nothing()

        location = RegisteredCodeLocationOrigin("openpay")
        origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job_name)
        return self.instance.create_run_for_job(
            job,
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": KEY},
            remote_job_origin=origin if by_dagster else None,
        )

    def tick(self) -> str:
        """Evaluate the sensor; return what it said."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, definitions=dg.Definitions()
        )
        said: Any = self.sensor(context)
        self.cursor = context.cursor
        return str(said.skip_message)

    def status(self, run: dg.DagsterRun) -> str | None:
        """Status in the manifest of a run, or None without one."""
        if not manifest_path(self.root, run.run_id).exists():
            return None
        return read_manifest(self.root, run.run_id).status


def left(root: Path, run_id: str) -> None:
    """Leave what a run leaves whose process is killed: its lock file, locked by nobody."""
    path = root / "metadata" / "running" / run_id
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "dagster")) as instance:
        yield Watch(tmp_path, instance)


def manifest_of(house: House, run_id: str) -> Manifest:
    record = house.instance.get_run_record_by_id(run_id)
    assert record is not None
    entries = house.instance.all_logs(run_id, of_type=records.RECORDED_EVENTS)
    return records.build_manifest(record, entries, house.settings)


def test_the_manifest_of_a_run_says_what_was_read_written_and_found(base: Base) -> None:
    run = base.runs["general"]
    manifest = manifest_of(base.house, run.run_id)
    assert (manifest.status, manifest.partition, manifest.error) == ("succeeded", KEY, None)
    assert manifest.release == str(base.eras["general"].release)
    assert manifest.settings["lake"] == str(base.house.root)
    assert set(manifest.assets) == run.materialized
    assert manifest.assets["staging"]["rows_quarantined"] == 1
    assert manifest.assets["curated/payments"]["dagster/partition_row_count"] == 59
    assert len(manifest.checks) == len(run.checks)
    assert "T" in manifest.started_at < manifest.ended_at
    json.dumps(vars(manifest))


def test_the_manifest_of_a_run_says_how_long_each_step_took_and_what_it_made(base: Base) -> None:
    steps = manifest_of(base.house, base.runs["general"].run_id).steps
    assert {x for step in steps.values() for x in step["assets"]} == {
        x.to_user_string() for x in UP_TO_CURATED
    }
    assert sorted(steps["stage"]["assets"]) == ["quarantine", "staging"]
    for step in steps.values():
        assert step["status"] == "succeeded"
        assert step["seconds"] >= 0
        assert step["started_at"] <= step["ended_at"]


def test_the_manifest_of_a_failed_run_names_the_error_and_what_was_never_begun(
    tmp_path: Path,
) -> None:
    house = House(tmp_path)
    path = house.publish(era("O4", 2023))
    path.write_text(path.read_text() + '"broken\n')
    run = house.run("ownership|2023")
    manifest = manifest_of(house, run.run_id)
    house.close()
    assert manifest.status == "failed"
    assert manifest.error is not None
    assert "strict_parse" in manifest.error
    assert [x["name"] for x in manifest.checks if not x["passed"]] == ["strict_parse"]
    statuses = {name: step["status"] for name, step in manifest.steps.items()}
    assert (statuses["raw_files"], statuses["stage"]) == ("succeeded", "failed")
    assert statuses["curated__payments"] == "planned"


@pytest.mark.parametrize("ended", ["succeeded", "failed", "canceled"])
def test_a_run_that_dagster_launched_is_recorded_however_it_ended(watch: Watch, ended: str) -> None:
    run = watch.launch()
    assert "0 runs recorded" in watch.tick()
    assert watch.status(run) is None
    if ended == "succeeded":
        event = dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name)
        watch.instance.report_dagster_event(event, run.run_id)
    elif ended == "failed":
        watch.instance.report_run_failed(run, "The process of the run is gone.")
    else:
        watch.instance.report_run_canceled(run)
    assert "1 runs recorded" in watch.tick()
    manifest = read_manifest(watch.root, run.run_id)
    assert (manifest.status, manifest.partition, manifest.job) == (ended, KEY, PARTITION_JOB)
    assert manifest.error == ("The process of the run is gone." if ended == "failed" else None)
    assert "0 runs recorded" in watch.tick()


def test_runs_that_ended_before_the_sensor_began_are_recorded_too(watch: Watch) -> None:
    run = watch.launch()
    watch.instance.report_run_canceled(run)
    watch.tick()
    assert watch.status(run) == "canceled"


def test_a_run_that_recorded_itself_is_left_alone(watch: Watch) -> None:
    run = watch.launch()
    write_manifest(watch.root, Manifest(run.run_id, KEY, status="succeeded", code_version="mine"))
    watch.instance.report_run_canceled(run)
    watch.tick()
    assert read_manifest(watch.root, run.run_id).code_version == "mine"


def test_what_a_run_read_and_wrote_is_recorded_with_the_tables_of_its_assets(base: Base) -> None:
    manifest = manifest_of(base.house, base.runs["general"].run_id)
    graph = base.house.definitions.resolve_asset_graph()
    reads = records.upstream(manifest, graph)
    assert reads["curated/physicians"] == ["curated/investigators", "curated/payments"]
    ended = {
        x["job"]["name"]: x
        for x in lineage_events(base.house.root, manifest, reads)
        if x["eventType"] == "COMPLETE"
    }
    assert set(ended) == base.runs["general"].materialized | {manifest.job}
    [output] = ended["curated/payments"]["outputs"]
    assert output["name"] == "curated.payments"
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 59
    fields = [x["name"] for x in output["facets"]["schema"]["fields"]]
    assert fields == curated_table("payments").column_names
    assert [x["name"] for x in ended["curated/payments"]["inputs"]] == ["staging.general"]
    [published] = ended["raw_files"]["inputs"]
    assert published["name"] == base.eras["general"].file_name


def test_a_run_whose_lineage_could_not_be_written_is_not_yet_recorded(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = watch.launch()
    watch.instance.report_run_canceled(run)

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(records, "write_lineage", full)
    with pytest.raises(records.RecordsError, match="disk full"):
        watch.tick()
    assert watch.status(run) is None
    monkeypatch.undo()
    watch.tick()
    assert watch.status(run) == "canceled"
    assert lineage_path(watch.root, run.run_id).exists()


def test_an_unfinished_manifest_is_completed(watch: Watch) -> None:
    run = watch.launch()
    write_manifest(watch.root, Manifest(run.run_id, KEY))
    watch.instance.report_run_canceled(run)
    watch.tick()
    assert watch.status(run) == "canceled"


def test_runs_of_the_command_and_of_the_health_job_are_not_the_sensors(watch: Watch) -> None:
    runs = [watch.launch(by_dagster=False), watch.launch(HEALTH_JOB)]
    for run in runs:
        watch.instance.report_run_canceled(run)
    watch.tick()
    assert [watch.status(x) for x in runs] == [None, None]


def test_a_run_that_cannot_be_recorded_fails_the_tick_and_is_tried_again(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, fine = watch.launch(), watch.launch()
    for run in (broken, fine):
        watch.instance.report_run_canceled(run)

    def full(root: Path, manifest: Manifest) -> Path:
        if manifest.run_id == broken.run_id:
            raise OSError("disk full")
        return write_manifest(root, manifest)

    monkeypatch.setattr(records, "write_manifest", full)
    with pytest.raises(records.RecordsError, match=f"1 of 2 .*{broken.run_id}: disk full"):
        watch.tick()
    assert (watch.status(fine), watch.status(broken)) == ("canceled", None)
    monkeypatch.undo()
    assert "1 runs recorded" in watch.tick()
    assert watch.status(broken) == "canceled"


def test_a_run_whose_process_was_killed_is_ended_and_recorded(watch: Watch) -> None:
    killed, alive = watch.launch(by_dagster=False), watch.launch(by_dagster=False)
    with running(watch.root, alive.run_id):
        left(watch.root, killed.run_id)
        assert "1 killed ones ended" in watch.tick()
        assert "0 killed ones ended" in watch.tick()
        found = watch.instance.get_run_by_id(alive.run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.STARTED
        assert watch.status(alive) is None
    manifest = read_manifest(watch.root, killed.run_id)
    assert (manifest.status, manifest.error) == ("failed", records.KILLED)
    ended = watch.instance.get_run_by_id(killed.run_id)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE


def test_a_run_killed_before_it_was_recorded_keeps_how_it_ended(watch: Watch) -> None:
    run = watch.launch(by_dagster=False)
    watch.instance.report_run_canceled(run)
    left(watch.root, run.run_id)
    watch.tick()
    manifest = read_manifest(watch.root, run.run_id)
    assert (manifest.status, manifest.error) == ("canceled", None)


def test_a_run_killed_before_dagster_knew_of_it_says_so_in_its_manifest(watch: Watch) -> None:
    write_manifest(watch.root, Manifest("early", KEY))
    left(watch.root, "early")
    left(watch.root, "earlier")
    assert "2 killed ones ended" in watch.tick()
    manifest = read_manifest(watch.root, "early")
    assert (manifest.status, manifest.error) == ("interrupted", records.KILLED)
    assert not manifest_path(watch.root, "earlier").exists()


def test_a_killed_run_that_cannot_be_recorded_is_tried_again(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = watch.launch(by_dagster=False)
    left(watch.root, run.run_id)

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(records, "write_lineage", full)
    with pytest.raises(OSError, match="disk full"):
        watch.tick()
    monkeypatch.undo()
    assert "1 killed ones ended" in watch.tick()
    assert watch.status(run) == "failed"


def test_many_runs_are_recorded_over_several_ticks(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RUNS_PER_TICK", 2)
    runs = [watch.launch() for _ in range(5)]
    for run in runs:
        watch.instance.report_run_canceled(run)
    assert [watch.tick()[:1] for _ in range(4)] == ["2", "2", "1", "0"]
    assert {watch.status(run) for run in runs} == {"canceled"}
