"""Jobs: one partition through every zone, one run each; and the references, all at once.

No single-run backfill: crossed ranges resolve wrongly on multi-partitions.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg

PARTITION_JOB, REFERENCES_JOB = "partition", "references"
REFERENCES = dg.AssetSelection.groups("references")

HEALTH_JOB = "health"
HEALTH = dg.AssetSelection.groups("health")
HEALTH_AT = "0 7 * * *"

partition_job = dg.define_asset_job(
    PARTITION_JOB,
    selection=dg.AssetSelection.all() - HEALTH - REFERENCES,
    description="One partition through every zone: raw, staging, curated, marts.",
)

references_job = dg.define_asset_job(
    REFERENCES_JOB,
    selection=REFERENCES,
    description="The newest profiles of clinicians, companies and hospitals, as whole tables.",
)

health_job = dg.define_asset_job(
    HEALTH_JOB, selection=HEALTH, description="Lists partitions that failed or are missing."
)


def health_schedule(*, running: bool) -> dg.ScheduleDefinition:
    """Return the schedule of the health job: each morning."""
    return dg.ScheduleDefinition(
        name="daily_health",
        job=health_job,
        cron_schedule=HEALTH_AT,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING if running else dg.DefaultScheduleStatus.STOPPED
        ),
    )


def release_config(release: date | str | None, asset: str = "raw_files") -> dict[str, Any]:
    """Return the run configuration that asks for a release; the newest when None."""
    return {"ops": {asset: {"config": {"release": str(release)}}}} if release else {}
