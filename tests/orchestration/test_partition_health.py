"""The standing check: which partitions failed or are missing, and the command that recovers each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from cms_files import era
from house import House

from openpay_assets.contracts.model import Column, ColumnType, Table
from openpay_assets.lake.tables import CommittedPartition, Partition, Written
from openpay_assets.orchestration.assets.health import (
    FINISHED_TABLE,
    Ailing,
    find_ailing,
    last_failures,
    partition_health,
)
from openpay_assets.orchestration.jobs import PARTITION_JOB
from openpay_assets.orchestration.resources import CmsResource, LakeResource

A, B = Partition.parse("general|2022"), Partition.parse("general|2023")
OLD, NEW = date(2024, 6, 28), date(2025, 1, 30)


def done(release: date) -> CommittedPartition:
    return CommittedPartition(str(release), "run", 1, "", "G4")


@pytest.mark.parametrize(
    ("published", "held", "finished", "failed", "state"),
    [
        ({A: NEW}, {A: NEW}, {A: done(NEW)}, {}, None),
        ({}, {A: NEW}, {A: done(NEW)}, {}, None),
        ({A: OLD}, {A: NEW}, {A: done(NEW)}, {}, None),
        ({A: NEW}, {}, {}, {}, "missing"),
        ({A: NEW}, {A: OLD}, {A: done(OLD)}, {}, "outdated"),
        ({A: NEW}, {A: NEW}, {A: done(OLD)}, {}, "unfinished"),
        ({A: NEW}, {A: NEW}, {}, {}, "unfinished"),
        ({A: NEW}, {A: NEW}, {A: done(NEW)}, {A: "run-1"}, "failed"),
        ({}, {}, {}, {A: "run-1"}, "failed"),
    ],
)
def test_a_partition_is_well_when_its_newest_release_went_all_the_way(
    published: dict[Partition, date],
    held: dict[Partition, date],
    finished: dict[Partition, CommittedPartition],
    failed: dict[Partition, str],
    state: str | None,
) -> None:
    assert [x.state for x in find_ailing(published, held, finished, failed)] == [state][
        : state is not None
    ]


def test_recovery_is_the_exact_command() -> None:
    assert (
        Ailing(B, "missing", NEW, None).recovery == "openpay run general 2023 --release 2025-01-30"
    )
    assert Ailing(B, "failed", None, None).recovery == "openpay run general 2023"


def test_only_the_last_run_of_a_partition_counts(tmp_path: Path) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name=PARTITION_JOB)
    def job() -> None:
        nothing()

    def ran(partition: Partition, status: dg.DagsterRunStatus) -> str:
        tags = {"dagster/partition": str(partition)}
        return instance.create_run_for_job(job, status=status, tags=tags).run_id

    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        ran(A, dg.DagsterRunStatus.FAILURE)
        ran(A, dg.DagsterRunStatus.SUCCESS)
        ran(B, dg.DagsterRunStatus.SUCCESS)
        failed = ran(B, dg.DagsterRunStatus.CANCELED)
        assert last_failures(instance) == {B: failed}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def check(house: House, location: str | None = None) -> dg.AssetCheckEvaluation:
    result = dg.materialize(
        [partition_health],
        instance=house.instance,
        resources={
            "cms": CmsResource(location=location or str(house.cms), attempts=1, first_wait=0.0),
            "lake_zone": LakeResource(root=str(house.root)),
        },
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    [evaluation] = result.get_asset_check_evaluations()
    return evaluation


def test_the_check_lists_what_is_missing_until_it_is_run(house: House) -> None:
    at = era("O4", 2023)
    house.publish(at)
    found = check(house)
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    command = f"openpay run ownership 2023 --release {at.release}"
    assert found.description == (
        f"1 of 1 published partitions need a run: ownership|2023 missing: {command}."
    )
    [record] = found.metadata["partitions"].records  # type: ignore[union-attr]
    assert record.data["recovery"] == command
    assert house.run("ownership|2023").success
    assert "ownership|2023 unfinished: " in (check(house).description or "")
    mart = Table(FINISHED_TABLE, (Column("dataset", ColumnType.TEXT, True, ""),))
    built = Written(mart.name, Partition.parse("ownership|2023"), (), at.release, "run", "O4")
    house.tables.commit(built, mart, rows=0)
    found = check(house)
    assert (found.passed, found.description) == (
        True,
        "0 of 1 published partitions need a run.",
    )


def test_without_cms_the_check_does_not_pass_and_says_why(house: House) -> None:
    found = check(house, "http://127.0.0.1:9")
    assert not found.passed
    assert "CMS could not be asked, so what is missing is not known" in (found.description or "")
