"""Partitions: a dataset and a program year, which appears by itself once it has ended."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from openpay_assets.contracts.model import Dataset
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration.partitions import (
    DATASET_YEARS,
    PROGRAM_YEARS,
    all_partitions,
    partition_of,
)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        (datetime(2024, 12, 31, 23, 59, tzinfo=UTC), "2023"),
        (datetime(2025, 1, 1, 0, 1, tzinfo=UTC), "2024"),
        (datetime(2025, 6, 30, tzinfo=UTC), "2024"),
    ],
)
def test_a_program_year_appears_when_it_has_ended(now: datetime, last: str) -> None:
    years = PROGRAM_YEARS.get_partition_keys(current_time=now)
    assert (years[0], years[-1]) == ("2013", last)
    assert len(years) == int(last) - 2012


def test_every_dataset_has_every_program_year() -> None:
    years = PROGRAM_YEARS.get_partition_keys()
    expected = {Partition(dataset, int(year)) for dataset in Dataset for year in years}
    assert set(all_partitions()) == expected
    assert len(list(all_partitions())) == len(expected)


def test_a_dagster_key_is_written_as_a_partition_is() -> None:
    for key in DATASET_YEARS.get_partition_keys():
        assert str(partition_of(key)) == key
