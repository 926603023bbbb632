"""Jobs: one partition through every zone, one run each.

No single-run backfill: crossed ranges resolve wrongly on multi-partitions.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import dagster as dg

PARTITION_JOB = "partition"

partition_job = dg.define_asset_job(
    PARTITION_JOB,
    selection=dg.AssetSelection.all(),
    description="One partition through every zone: raw, staging, curated, marts.",
)


def release_config(release: date | str | None) -> dict[str, Any]:
    """Return the run configuration that asks for a release; the newest when None."""
    return {"ops": {"raw_files": {"config": {"release": str(release)}}}} if release else {}
