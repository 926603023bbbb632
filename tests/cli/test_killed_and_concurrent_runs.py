"""Runs that are killed, and runs that meet: what is read is whole, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from command import Lenient, OpenPay

from openpay_assets.cms.simulator import simulate
from openpay_assets.contracts.model import Dataset
from openpay_assets.orchestration.records import KILLED
from openpay_assets.runs import instance_of
from openpay_assets.settings import Settings

YEAR = 2023


@pytest.mark.slow
def test_runs_killed_at_every_stage_change_nothing_and_the_last_ends_as_an_undisturbed_one(
    finished: OpenPay, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = tmp_path / "lake"
    openpay = Lenient(lake, site)
    complete = finished.hashes()
    signs = {
        "raw": lake / "raw",
        "staging": lake / "staging",
        "curated": lake / "curated" / "payments" / "metadata",
        "marts": lake / "marts",
    }
    for stage, sign in signs.items():
        process = openpay.start("run", "general", str(YEAR))
        while not sign.exists() and process.poll() is None:
            time.sleep(0.02)
        assert process.poll() is None, f"the run ended before {stage}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for name, content in openpay.hashes().items():
            assert content in {complete[name], "0:0"}, f"{name} is half written after {stage}"
    assert openpay("run", "general", str(YEAR)).returncode == 0
    # By now staging and the curated tables have been committed over themselves: same contents.
    assert openpay.hashes() == complete
    assert len(complete) > 20
    manifests = [json.loads(x.read_text()) for x in lake.glob("metadata/runs/*/manifest.json")]
    assert sorted(x["status"] for x in manifests) == ["failed"] * len(signs) + ["succeeded"]
    assert {x["error"] for x in manifests} == {KILLED, None}
    monkeypatch.setenv("DAGSTER_HOME", str(lake / ".dagster"))
    with instance_of(Settings(lake=str(lake))) as instance:
        assert {x.is_finished for x in instance.get_runs()} == {True}


@pytest.mark.slow
def test_four_partitions_at_once_lose_nothing(tmp_path: Path) -> None:
    site = tmp_path / "cms"
    years = [2020, 2021, 2022, 2023]
    files = simulate(site, years=years, rows=120, seed=5, datasets=(Dataset.GENERAL,))
    openpay = OpenPay(tmp_path / "lake", site)
    running = [openpay.start("run", "general", str(year)) for year in years]
    assert [process.wait() for process in running] == [0, 0, 0, 0]
    for table in ("staging.general", "curated.payments", "marts.fct_payments"):
        found = openpay.rows(f"select program_year, count(*) as n from {table} group by all")
        assert {int(x["program_year"]): int(x["n"]) for x in found} == dict.fromkeys(years, 120)
    (row,) = openpay.rows(
        "select count(distinct company_id) as here, (select count(*) from marts.dim_companies) as there from curated.payments"
    )
    assert row["here"] == row["there"]
    assert len(files) == 4
