"""The health of all partitions together: a standing check, bound to no single one of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import dagster as dg

from openpay_assets.lake.tables import CommittedPartition, Partition
from openpay_assets.orchestration.jobs import PARTITION_JOB
from openpay_assets.orchestration.resources import CmsResource, LakeResource
from openpay_assets.orchestration.sensors import CMS_ERRORS, held_releases, newest_releases

PARTITION_HEALTH = dg.AssetKey("partition_health")
NONE_LEFT = "no_partition_failed_or_missing"
FINISHED_TABLE = "marts.company_years"
"""Committed last of all."""
ENDED_BADLY = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


@dataclass(frozen=True)
class Ailing:
    """A partition that is not as it should be, and what makes it well."""

    partition: Partition
    state: str
    """``failed``, ``missing``, ``outdated`` or ``unfinished``."""
    published: date | None
    held: date | None
    run_id: str = ""
    """The run that failed."""

    @property
    def recovery(self) -> str:
        """The command that runs it again."""
        wanted = f" --release {self.published}" if self.published else ""
        return f"openpay run {self.partition.dataset} {self.partition.program_year}{wanted}"


def find_ailing(
    published: Mapping[Partition, date],
    held: Mapping[Partition, date],
    finished: Mapping[Partition, CommittedPartition],
    failed: Mapping[Partition, str],
) -> list[Ailing]:
    """Compare what is published with what is staged and finished, and with runs that failed.

    ``failed`` gives the run id of partitions whose last run failed.
    """
    ailing = []
    for partition in sorted({*published, *held, *failed}):
        newest, staged = published.get(partition), held.get(partition)
        done = finished.get(partition)
        if partition in failed:
            state = "failed"
        elif staged is None:
            state = "missing"
        elif newest is not None and newest > staged:
            state = "outdated"
        elif done is None or done.release != str(staged):
            state = "unfinished"
        else:
            continue
        ailing.append(Ailing(partition, state, newest, staged, failed.get(partition, "")))
    return ailing


def last_failures(instance: dg.DagsterInstance) -> dict[Partition, str]:
    """Return the run id of each partition whose last run failed or was canceled."""
    last: dict[str, dg.DagsterRun] = {}
    for run in instance.get_runs(dg.RunsFilter(job_name=PARTITION_JOB)):  # newest first
        if key := run.tags.get("dagster/partition"):
            last.setdefault(key, run)
    return {
        Partition.parse(key): run.run_id for key, run in last.items() if run.status in ENDED_BADLY
    }


@dg.asset(
    key=PARTITION_HEALTH,
    group_name="health",
    check_specs=[
        dg.AssetCheckSpec(
            NONE_LEFT,
            asset=PARTITION_HEALTH,
            description="No published partition is missing, outdated or left failed.",
        )
    ],
)
def partition_health(
    context: dg.AssetExecutionContext, cms: CmsResource, lake_zone: LakeResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Partitions that failed or are missing, and the command that recovers each."""
    tables = lake_zone.tables()
    published: dict[Partition, date] = {}
    unasked = ""
    try:
        published = newest_releases(cms.source())
    except CMS_ERRORS as error:
        unasked = f" CMS could not be asked, so what is missing is not known: {error}"
    ailing = find_ailing(
        published,
        held_releases(tables),
        tables.partitions(FINISHED_TABLE),
        last_failures(context.instance),
    )
    listed = "; ".join(f"{x.partition} {x.state}: {x.recovery}" for x in ailing[:5])
    more = f" and {len(ailing) - 5} more" if len(ailing) > 5 else ""
    summary = f"{len(ailing)} of {len(published)} published partitions need a run"
    summary += f": {listed}{more}." if ailing else "."
    yield dg.MaterializeResult(
        metadata={"ailing": len(ailing), "partitions": _table(ailing)},
        check_results=[
            dg.AssetCheckResult(
                check_name=NONE_LEFT,
                passed=not ailing and not unasked,
                severity=dg.AssetCheckSeverity.WARN,
                description=summary + unasked,
                metadata={"ailing": len(ailing), "partitions": _table(ailing)},
            )
        ],
    )


def _table(ailing: list[Ailing]) -> dg.TableMetadataValue:
    names = ("partition", "state", "published", "held", "run_id", "recovery")
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord({name: str(getattr(x, name) or "-") for name in names}) for x in ailing
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, "string") for name in names]),
    )
