"""Jobs: one partition through every zone, one run each; and the references, all at once.

No single-run backfill: crossed ranges resolve wrongly on multi-partitions.
"""

from __future__ import annotations

import dagster as dg

PARTITION_JOB, REFERENCES_JOB = "partition", "references"
REFERENCES = dg.AssetSelection.groups("references")

partition_job = dg.define_asset_job(
    PARTITION_JOB,
    selection=dg.AssetSelection.all() - REFERENCES,
    description="One partition through every zone: raw, staging, curated, marts.",
)

references_job = dg.define_asset_job(
    REFERENCES_JOB,
    selection=REFERENCES,
    description="The newest profiles of clinicians, companies and hospitals, as whole tables.",
)
