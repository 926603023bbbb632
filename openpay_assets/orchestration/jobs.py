"""Jobs: one partition through every zone, one run each.

No single-run backfill: crossed ranges resolve wrongly on multi-partitions.
"""

from __future__ import annotations

import dagster as dg

PARTITION_JOB = "partition"

partition_job = dg.define_asset_job(
    PARTITION_JOB,
    selection=dg.AssetSelection.all(),
    description="One partition through every zone: raw, staging, curated, marts.",
)
