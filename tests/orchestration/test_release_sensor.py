"""The release sensor: what is new is requested once, a bounded number at a time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from openpay_assets.contracts.registry import staging_table
from openpay_assets.definitions import build_definitions
from openpay_assets.lake.tables import LakeTables, Partition, Written
from openpay_assets.orchestration.jobs import PARTITION_JOB
from openpay_assets.orchestration.resources import CmsResource, LakeResource
from openpay_assets.orchestration.sensors import due, read_cursor, release_sensor, write_cursor
from openpay_assets.settings import Settings

FIRST, SECOND = "P01302025_01212025", "P06302025_06162025"
YEARS = range(2018, 2024)


class Watch:
    """A lake, a folder of CMS files and the sensor over them."""

    def __init__(self, folder: Path, max_runs: int) -> None:
        self.cms, self.lake = folder / "cms", folder / "lake"
        for made in (self.cms, folder / "dagster"):
            made.mkdir()
        self.instance = dg.DagsterInstance.ephemeral(tempdir=str(folder / "dagster"))
        self.cursor: str | None = None
        self.sensor = release_sensor(every_seconds=60, max_runs=max_runs, running=False)

    def publish(self, year: int, stamp: str, code: str = "GNRL") -> None:
        (self.cms / f"OP_DTL_{code}_PGYR{year}_{stamp}.csv").write_bytes(b"")

    def stage(self, key: str, release: str) -> None:
        """Commit an empty partition, as staging does at its end."""
        partition = Partition.parse(key)
        table = staging_table(partition.dataset)
        written = Written(table.name, partition, (), date.fromisoformat(release), "run", "G4")
        LakeTables(self.lake).commit(written, table, rows=0)

    def tick(self, location: str | None = None) -> tuple[list[str], str]:
        """Evaluate the sensor; return the run keys and what it said."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result: Any = self.sensor(
            context,
            cms=CmsResource(location=location or str(self.cms), attempts=1, first_wait=0.0),
            lake_zone=LakeResource(root=str(self.lake)),
        )
        if isinstance(result, dg.SkipReason):
            return [], str(result.skip_message)
        self.cursor = result.cursor
        self.requests: list[dg.RunRequest] = result.run_requests
        said = result.skip_reason.skip_message if result.skip_reason else ""
        return [str(x.run_key) for x in result.run_requests], str(said)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(tmp_path, max_runs=2)
    yield watch
    watch.instance.dispose()


def test_a_new_release_is_requested_once_with_its_partition_and_release(watch: Watch) -> None:
    watch.publish(2023, FIRST)
    assert watch.tick()[0] == ["general|2023@2025-01-30"]
    [request] = watch.requests
    assert request.partition_key == "general|2023"
    assert request.tags["openpay/release"] == "2025-01-30"
    assert request.run_config == {"ops": {"raw_files": {"config": {"release": "2025-01-30"}}}}
    keys, said = watch.tick()
    assert keys == []
    assert said == (
        "1 partitions published, newest release 2025-01-30. "
        "Nothing is newer than what the lake holds or was requested before."
    )


def test_dagster_gives_the_run_the_tags_of_its_partition(watch: Watch) -> None:
    definitions = build_definitions(Settings(lake=str(watch.lake), cms=str(watch.cms)))
    assert "cms_release_sensor" in {x.name for x in definitions.sensors or ()}
    watch.publish(2023, FIRST)
    watch.tick()
    with warnings.catch_warnings():
        # Dagster's own tags of the dimensions break its newer rule for tags.
        warnings.simplefilter("ignore", DeprecationWarning)
        resolved = watch.requests[0].with_resolved_tags_and_config(
            target_definition=definitions.resolve_job_def(PARTITION_JOB),
            dynamic_partitions_requests=[],
            dynamic_partitions_store=None,
        )
    assert resolved.tags["dagster/partition"] == "general|2023"
    assert resolved.tags["dagster/partition/dataset"] == "general"
    assert resolved.tags["dagster/partition/year"] == "2023"


def test_what_the_lake_holds_is_not_requested(watch: Watch) -> None:
    for year in (2022, 2023):
        watch.publish(year, FIRST)
        watch.stage(f"general|{year}", "2025-01-30")
    assert watch.tick()[0] == []
    watch.publish(2022, SECOND)
    assert watch.tick()[0] == ["general|2022@2025-06-30"]


def test_a_second_release_is_requested_for_exactly_the_partitions_that_have_it(
    watch: Watch,
) -> None:
    for year in (2022, 2023):
        watch.publish(year, FIRST)
    assert len(watch.tick()[0]) == 2
    watch.publish(2023, SECOND)
    assert watch.tick()[0] == ["general|2023@2025-06-30"]
    assert watch.tick()[0] == []


def test_many_new_releases_are_requested_a_few_a_tick_newest_years_first(watch: Watch) -> None:
    for year in YEARS:
        watch.publish(year, FIRST)
        watch.publish(year, FIRST, "RSRCH")
    seen = [watch.tick()[0] for _ in range(7)]
    assert seen[0] == ["general|2023@2025-01-30", "research|2023@2025-01-30"]
    assert [len(x) for x in seen] == [2, 2, 2, 2, 2, 2, 0]
    assert len({key for keys in seen for key in keys}) == 12


def test_no_more_runs_wait_than_allowed(watch: Watch) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name=PARTITION_JOB)
    def job() -> None:
        nothing()

    for status in (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED):
        watch.instance.create_run_for_job(job, status=status)
    for year in YEARS:
        watch.publish(year, FIRST)
    keys, said = watch.tick()
    assert keys == []
    assert "Waiting for a tick: 6 (general|2023@2025-01-30" in said
    assert "2 runs are waiting or running." in said


def test_cms_being_down_is_a_reason_to_skip_and_forgets_nothing(watch: Watch) -> None:
    watch.publish(2023, FIRST)
    watch.tick()
    before = watch.cursor
    keys, said = watch.tick("http://127.0.0.1:9")
    assert keys == []
    assert "CMS could not be asked, the next tick asks again. http://127.0.0.1:9/api/1" in said
    assert "ConnectError" in said
    keys, said = watch.tick(str(watch.cms / "missing"))
    assert "is not a folder" in said
    assert watch.cursor == before
    assert watch.tick()[0] == []


def test_a_partition_that_the_lake_does_not_know_is_named(watch: Watch) -> None:
    watch.publish(2099, "P06302100_06152100")
    keys, said = watch.tick()
    assert keys == []
    assert "No partitions of this lake: general|2099." in said


def test_nothing_published_is_nothing_due() -> None:
    decided = due({}, {}, {}, allowed=-1)
    assert (decided.request, decided.wait, decided.unknown) == ({}, {}, ())


def test_the_cursor_is_readable_json() -> None:
    requested = {Partition.parse("general|2023"): date(2025, 1, 30)}
    assert json.loads(write_cursor(requested)) == {"general|2023": "2025-01-30"}
    assert read_cursor(write_cursor(requested)) == requested
    assert read_cursor(None) == {}


def test_the_sensor_can_be_on_from_the_start() -> None:
    on = release_sensor(every_seconds=60, max_runs=1, running=True)
    off = release_sensor(every_seconds=60, max_runs=1, running=False)
    assert on.default_status is dg.DefaultSensorStatus.RUNNING
    assert off.default_status is dg.DefaultSensorStatus.STOPPED
    assert on.minimum_interval_seconds == 60
