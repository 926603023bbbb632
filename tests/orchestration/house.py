"""A lakehouse in a folder for tests: publish CMS files, run partitions in process, read tables."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import dagster as dg
import duckdb
import ibis
from cms_files import Era, Row, clean_row, write_file

from openpay_assets.contracts.registry import CURATED_TABLES
from openpay_assets.contracts.sql import scan_sql
from openpay_assets.definitions import build_definitions
from openpay_assets.lake.tables import LakeTables, Partition
from openpay_assets.orchestration.jobs import REFERENCES_JOB
from openpay_assets.settings import Settings

RAW, REMOVED, STAGING, QUARANTINE = (
    dg.AssetKey(x) for x in ("raw_files", "removed_list", "staging", "quarantine")
)
CURATED = tuple(dg.AssetKey(["curated", name]) for name in CURATED_TABLES)
UP_TO_CURATED = (RAW, REMOVED, STAGING, QUARANTINE, *CURATED)
"""Every asset below the marts, by name: more may be added above without changing a test."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Run:
    """What one run of a partition did."""

    run_id: str
    success: bool
    checks: Mapping[str, dg.AssetCheckEvaluation]
    """By ``asset:check``."""
    materialized: frozenset[str]
    metadata: Mapping[str, Mapping[str, Any]]
    """Metadata of each materialization, by asset."""
    failures: Mapping[str, str]
    """Message of each failed step."""
    started: frozenset[str]

    def failed_checks(self, *, blocking: bool = True) -> set[str]:
        """Names of the failed checks that block, or of those that warn."""
        severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
        return {k for k, x in self.checks.items() if not x.passed and x.severity == severity}

    def said(self, check: str) -> str:
        """The summary of a check."""
        return self.checks[check].description or ""

    def report(self, check: str) -> dict[str, Any]:
        """The metadata of a check as plain values."""
        return {k: v.value for k, v in self.checks[check].metadata.items()}

    def rules(self, check: str) -> dict[str, Mapping[str, Any]]:
        """The table of broken rules in a check's metadata, by rule."""
        table = self.checks[check].metadata["rules"]
        assert isinstance(table, dg.TableMetadataValue)
        return {str(record.data["rule"]): record.data for record in table.records}


class House:
    """CMS files and a lake in one folder, and the Dagster definitions over them."""

    def __init__(
        self, folder: Path, *, cms: Path | None = None, site: str | None = None, **settings: Any
    ) -> None:
        self.cms = cms or folder / "cms"
        self.root = folder / "lake"
        if cms is None:
            self.cms.mkdir(parents=True)
        chosen = {"threads": 1, "memory_limit": "1GB", **settings}
        self.settings = Settings(lake=str(self.root), cms=site or str(self.cms), **chosen)
        # Not ``ephemeral()`` alone: it leaves its folder to the garbage collector, which warns.
        self._home = tempfile.TemporaryDirectory()
        self.instance = dg.DagsterInstance.ephemeral(tempdir=self._home.name)
        self._duckdb = duckdb.connect()
        self.rebuild()

    def rebuild(self) -> None:
        """Take up the settings as they are now."""
        self.definitions = build_definitions(self.settings)
        self._job = self.definitions.resolve_implicit_global_asset_job_def()

    def emptied(self) -> Self:
        """Return it without files and without a lake.

        A module's tests share one: assembling its definitions takes longer than a run.
        """
        for folder in (self.cms, self.root):
            shutil.rmtree(folder, ignore_errors=True)
        self.cms.mkdir()
        return self

    def close(self) -> None:
        self.instance.dispose()
        self._home.cleanup()
        self._duckdb.close()

    @property
    def tables(self) -> LakeTables:
        """The lake as a new reader sees it."""
        return LakeTables(self.root)

    def publish(self, at: Era, overrides: Iterable[Row] = ({},), **how: Any) -> Path:
        """Publish a file of clean rows, one per mapping of overrides; no two years share an id."""
        first = 345_000_000 + (at.program_year - 2023) * 1_000_000
        rows = [
            clean_row(at, n, {"record_id": str(first + n), **x}) for n, x in enumerate(overrides, 1)
        ]
        return write_file(self.cms, at, rows, **how)

    def run(
        self,
        key: str,
        *,
        release: str | None = None,
        assets: Sequence[dg.AssetKey] = UP_TO_CURATED,
    ) -> Run:
        """Run a partition in process, every asset below the marts unless told otherwise."""
        config: dict[str, Any] = {**QUIET}
        if release is not None:
            config["ops"] = {"raw_files": {"config": {"release": release}}}
        result = self._job.execute_in_process(
            partition_key=key,
            instance=self.instance,
            asset_selection=list(assets),
            run_config=config,
            raise_on_error=False,
        )
        materializations = [
            event.step_materialization_data.materialization
            for event in result.all_events
            if event.is_step_materialization
        ]
        return Run(
            run_id=result.run_id,
            success=result.success,
            checks={
                f"{x.asset_key.to_user_string()}:{x.check_name}": x
                for x in result.get_asset_check_evaluations()
            },
            materialized=frozenset(x.asset_key.to_user_string() for x in materializations),
            metadata={
                x.asset_key.to_user_string(): {k: v.value for k, v in x.metadata.items()}
                for x in materializations
            },
            failures={
                str(event.step_key): _message(event)
                for event in result.all_events
                if event.is_step_failure
            },
            started=frozenset(
                str(event.step_key) for event in result.all_events if event.is_step_start
            ),
        )

    def run_references(self, release: str | None = None) -> Any:
        """Run the job of the references in process."""
        config: dict[str, Any] = {**QUIET}
        if release is not None:
            config["ops"] = {"reference_files": {"config": {"release": release}}}
        job = self.definitions.resolve_job_def(REFERENCES_JOB)
        return job.execute_in_process(
            instance=self.instance, run_config=config, raise_on_error=False
        )

    def rows(self, table: str, key: str) -> list[dict[str, Any]]:
        """Return the rows of a partition that a reader sees, in a total order."""
        return self._rows(self.tables, table, key)

    def contents(self, key: str, *, zones: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Return every row of a partition in every table of some zones."""
        tables = self.tables
        names = [name for zone in zones for name in tables.names(zone)]
        return {name: self._rows(tables, name, key) for name in names}

    def _rows(self, tables: LakeTables, table: str, key: str) -> list[dict[str, Any]]:
        files = tables.files(table, **vars(Partition.parse(key)))
        if not files:
            return []
        columns = ibis.Schema.from_pyarrow(tables.arrow_schema(table))
        cursor = self._duckdb.execute(f"{scan_sql(files, columns)} ORDER BY ALL")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@dataclass(frozen=True)
class Base:
    """A house after the first run of a partition of each dataset, by dataset."""

    house: House
    eras: Mapping[str, Era]
    runs: Mapping[str, Run]
    read: Mapping[str, Mapping[str, list[dict[str, Any]]]]
    """Rows by table, as they were read right after those runs."""


def _message(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    failure = data.user_failure_data.description if data.user_failure_data else None
    return failure or (data.error.to_string() if data.error else "")
