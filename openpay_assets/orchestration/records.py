"""Records of runs: what every run leaves in the metadata zone, whoever launched it.

A manifest and OpenLineage events are made from the events that the Dagster instance keeps of a run,
by the same functions for every way of launching one. The openpay command writes them as soon as its
run ends; of a run whose process was killed, the next command or the sensor below does. Runs of the
UI, of a backfill or of the release sensor end in processes of Dagster: hooks see steps there, not
runs, and resources are torn down before the status is known, or never in a process that is killed.
So a sensor looks for runs that ended and left no manifest. It needs the daemon, as those runs do,
and comes up to half a minute after them.
https://docs.dagster.io/guides/automate/sensors
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

import openpay_assets
from openpay_assets.lake.manifest import Manifest, manifest_path, read_manifest, write_manifest
from openpay_assets.lake.openlineage import write_lineage
from openpay_assets.lake.running import left_behind
from openpay_assets.orchestration.jobs import HEALTH_JOB
from openpay_assets.settings import Settings

STATUSES = {
    dg.DagsterRunStatus.SUCCESS: "succeeded",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
}
INTERRUPTED = "interrupted"
"""Status of a run that its process left before it ended."""
KILLED = (
    "The process of this run ended before the run did: it was killed, or the machine went down."
)
RECORDED_EVENTS = {
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
}
EVERY_SECONDS = 30
RUNS_PER_TICK = 50
OVERLAP = timedelta(minutes=10)
"""How far a tick looks back behind the last run it recorded: clocks and commits may be out of order."""


class RecordsError(RuntimeError):
    """Records of runs that could not be written, with the reason for each."""


@dataclass(frozen=True)
class CheckReport:
    """One evaluated check of a run."""

    asset: str
    name: str
    passed: bool
    blocking: bool
    summary: str
    metadata: dict[str, Any] = field(default_factory=dict)


def record_run(
    record: dg.RunRecord,
    instance: dg.DagsterInstance,
    graph: BaseAssetGraph[Any],
    settings: Settings,
) -> Manifest:
    """Write what a run that ended leaves behind, the manifest last; return it.

    ``graph`` says which assets each asset reads. A run counts as recorded once its manifest is
    there, so that what could not be written before it is written by the next attempt.
    """
    entries = instance.all_logs(record.dagster_run.run_id, of_type=RECORDED_EVENTS)
    manifest = build_manifest(record, entries, settings)
    root = Path(settings.lake)
    write_lineage(root, manifest, upstream(manifest, graph))
    write_manifest(root, manifest)
    return manifest


def end_left_behind(
    instance: dg.DagsterInstance, graph: BaseAssetGraph[Any], settings: Settings
) -> list[str]:
    """End and record the runs of the openpay command whose process was killed; return their ids.

    Until then Dagster shows them as running: nobody is left to say otherwise. Of a run that was
    killed before Dagster knew of it there is nothing to end but its manifest.
    """
    root = Path(settings.lake)
    ended = []
    for run_id in left_behind(root):
        run = instance.get_run_by_id(run_id)
        if run and not run.is_finished:
            instance.report_run_failed(run, KILLED)
        if record := instance.get_run_record_by_id(run_id):
            record_run(record, instance, graph, settings)
        elif manifest_path(root, run_id).exists():
            manifest = read_manifest(root, run_id)
            manifest.status, manifest.error = INTERRUPTED, KILLED
            write_manifest(root, manifest)
        ended.append(run_id)
    return ended


def upstream(manifest: Manifest, graph: BaseAssetGraph[Any]) -> dict[str, list[str]]:
    """Return the assets that each asset of a run reads."""
    assets = [asset for step in manifest.steps.values() for asset in step["assets"]]
    keys = {asset: dg.AssetKey.from_user_string(asset) for asset in assets}
    return {
        asset: sorted(x.to_user_string() for x in graph.get(key).parent_keys)
        for asset, key in keys.items()
        # An asset that was renamed since its run is not in the graph.
        if graph.has(key)
    }


def new_manifest(run_id: str, job: str, partition: str | None, settings: Settings) -> Manifest:
    """Return the manifest of a run that begins; a job without partitions stands in for one."""
    return Manifest(
        run_id=run_id,
        partition=partition or job,
        job=job,
        started_at=_iso(datetime.now(UTC).timestamp()),
        code_version=openpay_assets.__version__,
        settings=settings.model_dump(mode="json"),
    )


def build_manifest(
    record: dg.RunRecord, entries: Sequence[dg.EventLogEntry], settings: Settings
) -> Manifest:
    """Make the manifest of a run that ended from its events."""
    run = record.dagster_run
    manifest = new_manifest(run.run_id, run.job_name, run.tags.get("dagster/partition"), settings)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    manifest.status = STATUSES.get(run.status, INTERRUPTED)
    manifest.started_at = _iso(record.start_time)
    manifest.ended_at = _iso(record.end_time)
    manifest.steps = _steps(entries)
    manifest.assets = _assets(events)
    manifest.release = next(
        (str(x["release"]) for x in manifest.assets.values() if "release" in x), None
    )
    manifest.checks = [
        vars(_check(event.asset_check_evaluation_data))
        for event in events
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ]
    manifest.error = next(_errors(events), None)
    return manifest


def _steps(entries: Sequence[dg.EventLogEntry]) -> dict[str, dict[str, Any]]:
    """Return of each step its assets and, once it began, when, for how long and how it ended."""
    steps: dict[str, dict[str, Any]] = {}
    for entry in entries:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        step = steps.setdefault(event.step_key, {"assets": [], "status": "planned"})
        kind = event.event_type
        if kind is dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED and event.asset_key:
            step["assets"].append(event.asset_key.to_user_string())
        elif kind is dg.DagsterEventType.STEP_START:
            step |= {"status": "started", "started_at": _iso(entry.timestamp)}
        elif kind in _ENDED_STEP:
            began = datetime.fromisoformat(step.get("started_at", _iso(entry.timestamp)))
            seconds = round(entry.timestamp - began.timestamp(), 3)
            step |= {"status": _ENDED_STEP[kind], "ended_at": _iso(entry.timestamp)}
            step["seconds"] = seconds
    return steps


_ENDED_STEP = {
    dg.DagsterEventType.STEP_SUCCESS: "succeeded",
    dg.DagsterEventType.STEP_FAILURE: "failed",
}


def _assets(events: Iterable[dg.DagsterEvent]) -> dict[str, dict[str, Any]]:
    return {
        event.asset_key.to_user_string(): {
            k: _plain(v)
            for k, v in event.step_materialization_data.materialization.metadata.items()
        }
        for event in events
        if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key
    }


def _check(data: Any) -> CheckReport:
    return CheckReport(
        asset=data.asset_key.to_user_string(),
        name=data.check_name,
        passed=data.passed,
        blocking=data.severity is dg.AssetCheckSeverity.ERROR,
        summary=data.description or "",
        metadata={k: _plain(v) for k, v in data.metadata.items()},
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dg.TableMetadataValue):
        return [dict(record.data) for record in value.records]
    inner = getattr(value, "value", value)
    if isinstance(inner, dg.TableColumnLineage):
        return {
            column: [[*dep.asset_key.path, dep.column_name] for dep in deps]
            for column, deps in inner.deps_by_column.items()
        }
    return inner if isinstance(inner, str | int | float | bool | list | dict | None) else str(inner)


def _errors(events: Iterable[dg.DagsterEvent]) -> Iterator[str]:
    """Yield what went wrong, steps first: the failure of the run only repeats which they were."""
    failed = [x for x in events if x.event_type in (_STEP_FAILED, dg.DagsterEventType.RUN_FAILURE)]
    for event in sorted(failed, key=lambda x: x.event_type is not _STEP_FAILED):
        yield _reason(event) if event.event_type is _STEP_FAILED else str(event.message)


_STEP_FAILED = dg.DagsterEventType.STEP_FAILURE


def _reason(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    found = data.error
    while found is not None and found.cause is not None:
        found = found.cause
    return f"{event.step_key}: {found.message.strip() if found else 'failed'}"


def _iso(timestamp: float | None) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat() if timestamp is not None else ""


def unrecorded(records: Iterable[dg.RunRecord], root: Path) -> list[dg.RunRecord]:
    """Return the runs among those that ended which left no manifest, or an unfinished one.

    Runs of the health job touch no table. Runs without a code location were made by the openpay
    command, perhaps on another lake of the same instance; it records them itself.
    """
    return [
        record
        for record in records
        if record.dagster_run.remote_job_origin is not None
        and record.dagster_run.job_name != HEALTH_JOB
        and not _is_recorded(root, record.dagster_run.run_id)
    ]


def _is_recorded(root: Path, run_id: str) -> bool:
    try:
        return read_manifest(root, run_id).status in STATUSES.values()
    except FileNotFoundError:
        return False


def records_sensor(settings: Settings) -> dg.SensorDefinition:
    """Return the sensor that records the runs of a lake which did not record themselves.

    Not a run status sensor: one would be needed for each way to end, it begins with the runs that
    end after its first tick, and it goes on past a run that it failed to record. This one tries
    such a run again, and its tick fails as long as one is left.
    """

    @dg.sensor(
        name="run_records",
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes the manifest of each run that ended without one.",
    )
    def run_records(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        graph = _graph(context)
        since = datetime.fromisoformat(context.cursor) - OVERLAP if context.cursor else None
        ended = context.instance.get_run_records(
            dg.RunsFilter(statuses=list(STATUSES), updated_after=since),
            order_by="update_timestamp",
            ascending=True,
        )
        due = unrecorded(ended, Path(settings.lake))
        now = due[:RUNS_PER_TICK]
        failed = _record_each(now, context.instance, graph, settings)
        if failed:
            listed = "; ".join(f"{run_id}: {error}" for run_id, error in failed.items())
            raise RecordsError(f"{len(failed)} of {len(now)} runs could not be recorded. {listed}")
        last = now[-1] if len(due) > len(now) else (ended[-1] if ended else None)
        if last is not None:
            context.update_cursor(last.update_timestamp.astimezone(UTC).isoformat())
        killed = end_left_behind(context.instance, graph, settings)
        return dg.SkipReason(
            f"{len(now)} runs recorded, {len(due) - len(now)} left for later, "
            f"{len(killed)} killed ones ended."
        )

    return run_records


def _graph(context: dg.SensorEvaluationContext) -> BaseAssetGraph[Any]:
    if context.repository_def is None:
        raise RecordsError("The sensor is evaluated outside a code location: no asset is known.")
    return context.repository_def.asset_graph


def _record_each(
    records: Iterable[dg.RunRecord],
    instance: dg.DagsterInstance,
    graph: BaseAssetGraph[Any],
    settings: Settings,
) -> Mapping[str, Exception]:
    """Record runs; one that fails must not keep the others from it. Return what failed."""
    failed: dict[str, Exception] = {}
    for record in records:
        try:
            record_run(record, instance, graph, settings)
        except Exception as error:
            failed[record.dagster_run.run_id] = error
    return failed
