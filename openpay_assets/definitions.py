"""Everything Dagster knows, listed in one place."""

from __future__ import annotations

import dagster as dg

from openpay_assets.contracts.model import Dataset
from openpay_assets.garbage import collect_less
from openpay_assets.orchestration.io_managers import (
    DuckDBIOManager,
    LakeIOManager,
    PySparkIOManager,
)
from openpay_assets.orchestration.resources import CmsResource, LakeResource, Thresholds
from openpay_assets.settings import EngineName, Settings


def build_definitions(settings: Settings, **resource_overrides: object) -> dg.Definitions:
    """Assemble assets, checks, jobs, sensors and resources for an environment.

    ``resource_overrides`` replace resources by key, so that a test swaps a single part.
    """
    from openpay_assets.orchestration.assets.marts import marts_asset
    from openpay_assets.orchestration.jobs import (
        health_job,
        health_schedule,
        partition_job,
        references_job,
    )
    from openpay_assets.orchestration.records import records_sensor
    from openpay_assets.orchestration.sensors import release_sensor

    return dg.Definitions(
        assets=[*assets_before_marts(), marts_asset()],
        jobs=[partition_job, references_job, health_job],
        schedules=[health_schedule(running=settings.watch_cms)],
        sensors=[
            release_sensor(
                every_seconds=settings.watch_seconds,
                max_runs=settings.watch_max_runs,
                running=settings.watch_cms,
            ),
            records_sensor(settings),
        ],
        resources={**resources(settings), **resource_overrides},
        executor=dg.in_process_executor,
    )


def assets_before_marts() -> list[dg.AssetsDefinition]:
    """Return every asset but the marts, which dbt must parse first."""
    from openpay_assets.orchestration.assets.changes import release_changes
    from openpay_assets.orchestration.assets.curated import CURATED_ASSETS
    from openpay_assets.orchestration.assets.health import partition_health
    from openpay_assets.orchestration.assets.raw import raw_files
    from openpay_assets.orchestration.assets.reconciliation import RECONCILIATION_ASSETS
    from openpay_assets.orchestration.assets.references import REFERENCE_ASSETS, reference_files
    from openpay_assets.orchestration.assets.removed import removed_list
    from openpay_assets.orchestration.assets.staging import staging

    return [
        raw_files,
        removed_list,
        staging,
        *CURATED_ASSETS,
        release_changes,
        *RECONCILIATION_ASSETS,
        reference_files,
        *REFERENCE_ASSETS,
        partition_health,
    ]


def resources(settings: Settings) -> dict[str, object]:
    """Return the resources of an environment by key."""
    from openpay_assets.orchestration.assets.beside import BesideIOManager
    from openpay_assets.orchestration.assets.marts import dbt_resource
    from openpay_assets.orchestration.assets.raw import RawFileIOManager
    from openpay_assets.orchestration.assets.removed import RemovedListIOManager

    return {
        "beside_io": BesideIOManager(root=settings.lake),
        "cms": cms_resource(settings),
        "dbt": dbt_resource(),
        "lake": lake_io_manager(settings),
        "lake_zone": LakeResource(root=settings.lake),
        "raw_io": RawFileIOManager(root=settings.lake),
        "removed_io": RemovedListIOManager(root=settings.lake),
        "thresholds": Thresholds(
            max_quarantine_share={str(d): float(settings.max_quarantine_share(d)) for d in Dataset},
            max_wrong_year_share=float(settings.max_wrong_year_share),
        ),
    }


def cms_resource(settings: Settings) -> CmsResource:
    """Return the CMS source that the settings name."""
    return CmsResource(
        location=settings.cms,
        allow_new_columns=settings.allow_new_columns,
        archive_site=settings.cms_archives,
        connections=settings.connections,
        timeout=settings.cms_timeout,
        attempts=settings.cms_attempts,
        first_wait=settings.cms_first_wait,
    )


def lake_io_manager(settings: Settings) -> LakeIOManager:
    """Return the IO manager of the engine that the settings name."""
    managers = {EngineName.DUCKDB: DuckDBIOManager, EngineName.SPARK: PySparkIOManager}
    return managers[settings.engine](
        root=settings.lake, memory_limit=settings.memory_limit, threads=settings.threads
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the environment that the ``OPENPAY_*`` variables describe."""
    collect_less()
    return build_definitions(Settings())
