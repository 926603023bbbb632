"""Partitions of the lake: one per dataset and program year.

Defined here and nowhere else. What a partition contains is the contract's business. The years
are a time window, so a program year appears by itself once it has ended.
https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from openpay_assets.cms.names import FIRST_PROGRAM_YEAR
from openpay_assets.contracts.model import Dataset
from openpay_assets.lake.tables import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable

PROGRAM_YEARS = dg.TimeWindowPartitionsDefinition(
    start=str(FIRST_PROGRAM_YEAR), fmt="%Y", cron_schedule="0 0 1 1 *"
)
DATASET_YEARS = dg.MultiPartitionsDefinition(
    {"dataset": dg.StaticPartitionsDefinition([str(d) for d in Dataset]), "year": PROGRAM_YEARS}
)


def partition_of(key: str) -> Partition:
    """Return the partition that a Dagster key names; the key is written the same way."""
    return Partition.parse(key)


def is_partition(partition: Partition) -> bool:
    """Whether Dagster knows a partition today: its program year has ended."""
    return DATASET_YEARS.has_partition_key(str(partition))


def all_partitions() -> Iterable[Partition]:
    """Return every partition that Dagster knows today."""
    return (partition_of(key) for key in DATASET_YEARS.get_partition_keys())
