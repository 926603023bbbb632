"""Running partitions outside the UI: the same job, instance and checks.

A run is executed in this process with the Dagster instance of the lake, so the UI shows it like
any other. Its manifest is written whether it succeeds, fails or raises.
"""

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from filelock import FileLock

from openpay_assets.cms.download import watched
from openpay_assets.cms.names import FIRST_PROGRAM_YEAR
from openpay_assets.cms.source import SLICE, Progress, ReleaseNotFoundError
from openpay_assets.lake.manifest import Manifest, write_manifest
from openpay_assets.lake.raw import RawFile, RawZone
from openpay_assets.lake.running import running
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration.records import (
    STATUSES,
    CheckReport,
    end_left_behind,
    new_manifest,
    record_run,
)
from openpay_assets.settings import PROJECT_ROOT, Settings

if TYPE_CHECKING:
    from datetime import date

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunReport:
    """What a run did: rows and dollars, checks, and the error that stopped it.

    ``partition`` is None for the references, which have none.
    """

    run_id: str
    partition: Partition | None
    success: bool
    release: str | None
    assets: dict[str, dict[str, Any]]
    checks: tuple[CheckReport, ...]
    error: str | None
    manifest: Path

    @property
    def failed_checks(self) -> list[CheckReport]:
        """Checks that failed, blocking ones first."""
        return sorted((c for c in self.checks if not c.passed), key=lambda c: not c.blocking)


def instance_of(settings: Settings) -> dg.DagsterInstance:
    """Return the Dagster instance of a lake, creating its folder and configuration if needed."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists() and (PROJECT_ROOT / "dagster.yaml").exists():
        shutil.copyfile(PROJECT_ROOT / "dagster.yaml", config)
    os.environ["DAGSTER_HOME"] = str(home)
    # Several first runs at once would create the same databases, and all but one would fail.
    with FileLock(home / ".instance.lock"):
        instance = dg.DagsterInstance.get()
        instance.all_asset_keys()
    return instance


def run_partition(
    settings: Settings,
    partition: Partition,
    release: date | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    on_bytes: Progress = lambda *_: None,
) -> RunReport:
    """Run one partition through every zone and return what happened.

    ``on_step`` is called with the key of each step as it ends, ``on_bytes`` with what is
    downloaded and what there is of it. Raises ``ValueError`` on a program year that has not ended.
    """
    from openpay_assets.orchestration.jobs import PARTITION_JOB
    from openpay_assets.orchestration.partitions import all_partitions, is_partition

    if not is_partition(partition):
        last = max(x.program_year for x in all_partitions())
        raise ValueError(
            f"There is no partition {partition}: program years are {FIRST_PROGRAM_YEAR} to {last}, "
            f"the last one that has ended."
        )
    return _run(settings, PARTITION_JOB, partition, "raw_files", release, on_step, on_bytes)


def run_references(
    settings: Settings,
    release: date | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> RunReport:
    """Land the newest reference files, or those of a release, and replace their tables."""
    from openpay_assets.orchestration.jobs import REFERENCES_JOB

    return _run(settings, REFERENCES_JOB, None, "reference_files", release, on_step)


def _run(
    settings: Settings,
    job_name: str,
    partition: Partition | None,
    first_asset: str,
    release: date | None,
    on_step: Callable[[str], None],
    on_bytes: Callable[[int, int], None] = lambda *_: None,
) -> RunReport:
    """Run a job; the release is told to the asset that lands its files."""
    from openpay_assets.definitions import build_definitions
    from openpay_assets.orchestration.jobs import release_config

    job = build_definitions(settings).resolve_job_def(job_name)
    config: dict[str, Any] = {**QUIET, **release_config(release, first_asset)}
    run_id = str(uuid.uuid4())
    key = str(partition) if partition else None
    root = Path(settings.lake)
    graph = job.asset_layer.asset_graph
    with instance_of(settings) as instance:
        end_left_behind(instance, graph, settings)
        with running(root, run_id):
            path = write_manifest(root, new_manifest(run_id, job_name, key, settings))
            # dbt prints every model and test; the run keeps that beside its manifest.
            log = path.with_name("stdout.log")
            try:
                with (
                    _Watched(instance, run_id, on_step),
                    log.open("w", encoding="utf-8") as stdout,
                    redirect_stdout(stdout),
                    watched(on_bytes),
                ):
                    job.execute_in_process(
                        partition_key=key,
                        instance=instance,
                        run_config=config,
                        run_id=run_id,
                        raise_on_error=False,
                    )
            finally:
                # Also when it was interrupted; a run that was refused left nothing to record.
                if record := instance.get_run_record_by_id(run_id):
                    manifest = record_run(record, instance, graph, settings)
        return _report(manifest, partition, path)


def land_slice(
    settings: Settings,
    partition: Partition,
    company_id: str,
    release: date | None = None,
    on_rows: Progress = lambda *_: None,
) -> RawFile:
    """Land one company's rows of a partition under ``raw/company_id=…/``, and audit them.

    Nothing else is touched: staging and what follows hold whole partitions only. The datastore
    serves the release that the catalog names and no other. Raises ``ValueError`` without a site,
    ``ReleaseNotFoundError``, ``SiteError`` and ``UnknownLayoutError``.
    """
    from openpay_assets.cms.csv import read_header
    from openpay_assets.cms.site import SiteSource
    from openpay_assets.cms.slices import write_slice
    from openpay_assets.contracts.registry import match_header
    from openpay_assets.definitions import cms_resource

    source = cms_resource(settings).source()
    if not isinstance(source, SiteSource):
        raise ValueError(
            f"OPENPAY_CMS is {settings.cms}, a folder: one company's rows come from the datastore of "
            f"a site. Set it to the URL of one, such as https://openpaymentsdata.cms.gov."
        )
    published = source.datastore(partition.dataset, partition.program_year)
    if published is None or release not in (None, published[1].release):
        held = f"it holds release {published[1].release}" if published else "it holds none"
        raise ReleaseNotFoundError(
            f"The datastore of {settings.cms} has no {f'release {release}' if release else 'release'} of {partition}: {held}. "
            f"Archived years and earlier releases are there as whole files only."
        )
    dataset_id, file = published
    zone = RawZone(Path(settings.lake))
    run_id = str(uuid.uuid4())
    target = zone.downloads / f"{SLICE}{company_id}-{file.name}"
    write_slice(source.http, source.site, dataset_id, company_id, target, on_rows)
    layout = match_header(
        partition.dataset, read_header(target), file.name, allow_new_columns=False
    ).layout
    landed = zone.land(target, partition, file.release, file.name, company_id=company_id)
    zone.audit(landed, run_id, layout.name)
    return landed


def _report(manifest: Manifest, partition: Partition | None, path: Path) -> RunReport:
    return RunReport(
        run_id=manifest.run_id,
        partition=partition,
        success=manifest.status == STATUSES[dg.DagsterRunStatus.SUCCESS],
        release=manifest.release,
        assets=manifest.assets,
        checks=tuple(CheckReport(**check) for check in manifest.checks),
        error=manifest.error,
        manifest=path,
    )


_STEP_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_SKIPPED,
}


class _Watched:
    """Follow a run's event log from a thread and report each step that ends."""

    def __init__(
        self, instance: dg.DagsterInstance, run_id: str, on_step: Callable[[str], None]
    ) -> None:
        self._instance, self._run_id, self._on_step = instance, run_id, on_step
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        # Only what is new: to add up all steps from all events each time took as long as a step.
        cursor = None
        while not self._done.wait(0.5):
            found = self._instance.get_records_for_run(self._run_id, cursor, _STEP_ENDS)
            cursor = found.cursor
            for record in found.records:
                if record.event_log_entry.step_key is not None:
                    self._on_step(record.event_log_entry.step_key)
