"""The sensor of new releases: CMS publishes, runs are requested, a bounded number at a time.

What is due is a pure function of what is published, what the lake holds and what was requested
before (the cursor). A partition and release are requested once, whatever becomes of the run:
``partition_health`` lists those that failed.
https://docs.dagster.io/guides/automate/sensors
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import dagster as dg

from openpay_assets.cms.http import SiteError
from openpay_assets.cms.source import CmsSource, ReleaseNotFoundError
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import staging_table
from openpay_assets.lake.tables import LakeTables, Partition
from openpay_assets.orchestration.jobs import PARTITION_JOB, release_config
from openpay_assets.orchestration.partitions import all_partitions
from openpay_assets.orchestration.resources import CmsResource, LakeResource

RELEASE_TAG = "openpay/release"
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
CMS_ERRORS = (SiteError, ReleaseNotFoundError)
"""What asking a source for its releases may end in when the source is at fault."""


@dataclass(frozen=True)
class Due:
    """Partitions whose newest release the lake does not hold, and what was decided of them."""

    request: dict[Partition, date]
    wait: dict[Partition, date]
    """For a later tick: as many runs as allowed are waiting or running."""
    unknown: tuple[Partition, ...]
    """Published, and no partition of this lake, such as a program year that has not ended."""


def newest_releases(source: CmsSource) -> dict[Partition, date]:
    """Return the newest published release of each partition."""
    # Oldest first, so the newest of a partition is what stays.
    return {
        Partition(x.file.dataset, x.file.program_year): x.file.release for x in source.releases()
    }


def held_releases(tables: LakeTables) -> dict[Partition, date]:
    """Return the release that the lake has staged of each partition."""
    return {
        partition: date.fromisoformat(committed.release)
        for dataset in Dataset
        for partition, committed in tables.partitions(staging_table(dataset).name).items()
    }


def due(
    published: Mapping[Partition, date],
    held: Mapping[Partition, date],
    requested: Mapping[Partition, date],
    allowed: int,
) -> Due:
    """Decide what to request now: newest program years first, at most ``allowed``."""
    known = set(all_partitions())
    newer = {
        partition: release
        for partition, release in published.items()
        if release > max(held.get(partition, date.min), requested.get(partition, date.min))
    }
    order = sorted(newer.keys() & known, key=lambda x: (-x.program_year, x.dataset))
    return Due(
        request={x: newer[x] for x in order[: max(allowed, 0)]},
        wait={x: newer[x] for x in order[max(allowed, 0) :]},
        unknown=tuple(sorted(newer.keys() - known)),
    )


def read_cursor(cursor: str | None) -> dict[Partition, date]:
    """Read which release of which partition was requested last."""
    stated = json.loads(cursor) if cursor else {}
    return {Partition.parse(key): date.fromisoformat(day) for key, day in stated.items()}


def write_cursor(requested: Mapping[Partition, date]) -> str:
    """Write which release of which partition was requested last."""
    return json.dumps({str(key): str(requested[key]) for key in sorted(requested)})


def run_request(partition: Partition, release: date) -> dg.RunRequest:
    """Return the request of a run of one partition at one release."""
    return dg.RunRequest(
        run_key=f"{partition}@{release}",
        partition_key=dg.MultiPartitionKey(
            {"dataset": str(partition.dataset), "year": str(partition.program_year)}
        ),
        run_config=release_config(release),
        tags={RELEASE_TAG: str(release)},
    )


def release_sensor(*, every_seconds: int, max_runs: int, running: bool) -> dg.SensorDefinition:
    """Return the sensor; ``max_runs`` of its job may be waiting or running at once."""

    @dg.sensor(
        name="cms_release_sensor",
        job_name=PARTITION_JOB,
        minimum_interval_seconds=every_seconds,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED
        ),
        description="Requests a run of each partition of which CMS has published a newer release.",
    )
    def cms_release_sensor(
        context: dg.SensorEvaluationContext, cms: CmsResource, lake_zone: LakeResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            source = cms.impatient_source()
            published = newest_releases(source)
        except CMS_ERRORS as error:
            return dg.SkipReason(f"CMS could not be asked, the next tick asks again. {error}")
        for problem in getattr(source, "problems", ()):
            context.log.warning(f"In the catalog: {problem}")
        requested = read_cursor(context.cursor)
        unfinished = context.instance.get_runs_count(
            dg.RunsFilter(job_name=PARTITION_JOB, statuses=UNFINISHED)
        )
        decided = due(
            published, held_releases(lake_zone.tables()), requested, max_runs - unfinished
        )
        said = _report(published, decided, unfinished)
        context.log.info(said)
        requests = [run_request(x, day) for x, day in decided.request.items()]
        return dg.SensorResult(
            run_requests=requests,
            skip_reason=None if requests else dg.SkipReason(said),
            cursor=write_cursor({**requested, **decided.request}),
        )

    return cms_release_sensor


def _report(published: Mapping[Partition, date], decided: Due, unfinished: int) -> str:
    newest = max(published.values(), default=None)
    parts = [f"{len(published)} partitions published, newest release {newest or 'none'}."]
    for what, found in (("Requested", decided.request), ("Waiting for a tick", decided.wait)):
        if found:
            listed = ", ".join(f"{x}@{day}" for x, day in found.items())
            parts.append(f"{what}: {len(found)} ({listed}).")
    if unfinished:
        parts.append(f"{unfinished} runs are waiting or running.")
    if not decided.request and not decided.wait:
        parts.append("Nothing is newer than what the lake holds or was requested before.")
    if decided.unknown:
        parts.append(f"No partitions of this lake: {', '.join(map(str, decided.unknown))}.")
    return " ".join(parts)
