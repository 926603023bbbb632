"""Dagster's event log with connections that stay open: the same log, from several sides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from openpay_assets.orchestration.event_log import OPEN_DATABASES, LakeEventLogStorage
from openpay_assets.settings import PROJECT_ROOT


@dg.asset
def counted() -> int:
    """An asset with something to log."""
    return 1


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_bytes((PROJECT_ROOT / "dagster.yaml").read_bytes())
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_the_instance_of_a_lake_uses_it_and_keeps_dagsters_folders(
    home: Path, instance: dg.DagsterInstance
) -> None:
    assert isinstance(instance.event_log_storage, LakeEventLogStorage)
    dg.materialize([counted], instance=instance)
    assert (home / "history" / "runs" / "index.db").exists()
    assert yaml.safe_load((home / "dagster.yaml").read_text())["telemetry"] == {"enabled": False}


def test_what_one_instance_writes_another_reads(home: Path, instance: dg.DagsterInstance) -> None:
    first = dg.materialize([counted], instance=instance)
    with dg.DagsterInstance.get() as reader:
        event = reader.get_latest_materialization_event(dg.AssetKey("counted"))
        assert event is not None
        assert event.run_id == first.run_id
        second = dg.materialize([counted], instance=instance)
        event = reader.get_latest_materialization_event(dg.AssetKey("counted"))
        assert event is not None
        assert event.run_id == second.run_id
        assert len(reader.all_logs(second.run_id)) == len(instance.all_logs(second.run_id)) > 5


def test_more_runs_than_open_databases_lose_no_event(instance: dg.DagsterInstance) -> None:
    runs = [dg.materialize([counted], instance=instance).run_id for _ in range(OPEN_DATABASES + 2)]
    counts = {len(instance.all_logs(run)) for run in runs}
    assert len(counts) == 1
    assert isinstance(instance.event_log_storage, LakeEventLogStorage)
    assert len(instance.event_log_storage._engines) == OPEN_DATABASES


def test_disposing_closes_every_connection(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        dg.materialize([counted], instance=instance)
        storage = instance.event_log_storage
    assert isinstance(storage, LakeEventLogStorage)
    assert not storage._engines
