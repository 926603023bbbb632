"""A simulated site, clean and dirty: its totals equal ours to the cent in every control."""

from __future__ import annotations

from pathlib import Path

import pytest
from house import CURATED, QUARANTINE, RAW, REMOVED, STAGING, House
from test_reconciliation import CHECK, PUBLISHED, RECONCILIATION, SUMMARIES

from openpay_assets.cms.simulator import simulate
from openpay_assets.contracts.model import Dataset

ASSETS = (RAW, REMOVED, STAGING, QUARANTINE, *CURATED, SUMMARIES, PUBLISHED, RECONCILIATION)


@pytest.mark.parametrize("dirt", [0.0, 0.1], ids=["clean", "dirty"])
def test_every_total_of_a_simulated_site_equals_ours(tmp_path: Path, dirt: float) -> None:
    simulate(tmp_path / "site", years=[2023], rows=200, seed=3, dirt=dirt, beside=True)
    shares = {f"max_quarantine_share_{x}": "0.9" for x in Dataset}
    house = House(tmp_path, cms=tmp_path / "site", max_wrong_year_share="0.9", **shares)
    try:
        for dataset in Dataset:
            done = house.run(f"{dataset}|2023", assets=ASSETS)
            assert done.success, done.failures
            for name in ("dashboard", "entity_nature", "others"):
                assert done.checks[CHECK.format(name)].passed, done.said(CHECK.format(name))
            rows = house.rows("curated.reconciliation", f"{dataset}|2023")
            assert rows
            assert all(x["difference"] == 0 for x in rows)
            assert {x["level"] for x in rows} == {"total"}
    finally:
        house.close()
