"""A small dirty site and a lake with one partition of it, for each file of tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import Lenient, OpenPay

from openpay_assets.cms.simulator import simulate
from openpay_assets.contracts.model import Dataset

YEAR = 2023


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cms")
    simulate(
        folder,
        years=[YEAR],
        rows=400,
        seed=3,
        dirt=0.05,
        datasets=(Dataset.GENERAL,),
        without={"program_year_matches"},
    )
    return folder


@pytest.fixture(scope="module")
def finished(site: Path, tmp_path_factory: pytest.TempPathFactory) -> OpenPay:
    """A lake with one partition run undisturbed; quarantine allowed."""
    openpay = Lenient(tmp_path_factory.mktemp("lake"), site)
    done = openpay("run", "general", str(YEAR))
    assert done.returncode == 0, done.stdout + done.stderr
    return openpay
