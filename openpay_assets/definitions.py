"""Everything Dagster knows, listed in one place."""

from __future__ import annotations

import dagster as dg

from openpay_assets.contracts.model import Dataset
from openpay_assets.orchestration.io_managers import (
    DuckDBIOManager,
    LakeIOManager,
    PySparkIOManager,
)
from openpay_assets.orchestration.resources import CmsResource, LakeResource, Thresholds
from openpay_assets.settings import EngineName, Settings


def build_definitions(settings: Settings, **resource_overrides: object) -> dg.Definitions:
    """Assemble assets, checks, jobs and resources for an environment.

    ``resource_overrides`` replace resources by key, so that a test swaps a single part.
    """
    from openpay_assets.orchestration.assets.curated import CURATED_ASSETS
    from openpay_assets.orchestration.assets.marts import marts_asset
    from openpay_assets.orchestration.assets.raw import raw_files
    from openpay_assets.orchestration.assets.reconciliation import RECONCILIATION_ASSETS
    from openpay_assets.orchestration.assets.references import REFERENCE_ASSETS, reference_files
    from openpay_assets.orchestration.assets.staging import staging
    from openpay_assets.orchestration.jobs import partition_job, references_job

    return dg.Definitions(
        assets=[
            raw_files,
            staging,
            *CURATED_ASSETS,
            *RECONCILIATION_ASSETS,
            reference_files,
            *REFERENCE_ASSETS,
            marts_asset(),
        ],
        jobs=[partition_job, references_job],
        resources={**resources(settings), **resource_overrides},
        executor=dg.in_process_executor,
    )


def resources(settings: Settings) -> dict[str, object]:
    """Return the resources of an environment by key."""
    from openpay_assets.orchestration.assets.beside import BesideIOManager
    from openpay_assets.orchestration.assets.marts import dbt_resource
    from openpay_assets.orchestration.assets.raw import RawFileIOManager

    return {
        "beside_io": BesideIOManager(root=settings.lake),
        "cms": CmsResource(location=settings.cms, allow_new_columns=settings.allow_new_columns),
        "dbt": dbt_resource(),
        "lake": lake_io_manager(settings),
        "lake_zone": LakeResource(root=settings.lake),
        "raw_io": RawFileIOManager(root=settings.lake),
        "thresholds": Thresholds(
            max_quarantine_share={str(d): float(settings.max_quarantine_share(d)) for d in Dataset},
            max_wrong_year_share=float(settings.max_wrong_year_share),
        ),
    }


def lake_io_manager(settings: Settings) -> LakeIOManager:
    """Return the IO manager of the engine that the settings name."""
    managers = {EngineName.DUCKDB: DuckDBIOManager, EngineName.SPARK: PySparkIOManager}
    return managers[settings.engine](
        root=settings.lake, memory_limit=settings.memory_limit, threads=settings.threads
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the environment that the ``OPENPAY_*`` variables describe."""
    return build_definitions(Settings())
