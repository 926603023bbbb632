"""What a simulated site publishes beside the payments, over HTTP: landed once, read, compared."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from house import QUARANTINE, RAW, REMOVED, STAGING, House
from test_reconciliation import PUBLISHED, RECONCILIATION, SUMMARIES

from openpay_assets.cms.names import FileKind
from openpay_assets.cms.simulator import simulate
from openpay_assets.cms.simulator.server import SiteServer
from openpay_assets.cms.site import SiteSource
from openpay_assets.cms.source import FolderSource
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.published import SUMMARIES as SUMMARY_KINDS
from openpay_assets.contracts.registry import REFERENCE_TABLES
from openpay_assets.lake.raw import RawZone
from openpay_assets.orchestration.assets import beside
from openpay_assets.orchestration.assets.reconciliation import summaries_of
from openpay_assets.orchestration.checks import FILE_CHECKS

KEY = "ownership|2021"
ASSETS = (RAW, REMOVED, STAGING, QUARANTINE, SUMMARIES, PUBLISHED, RECONCILIATION)
RELEASE = date(2023, 1, 20)
ASKED_ONLY = "bytes=0-0"
"""The range by which a file's size is asked for."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteServer]:
    folder = tmp_path_factory.mktemp("site")
    simulate(
        folder,
        years=[2021],
        rows=60,
        datasets=(Dataset.OWNERSHIP,),
        release=str(RELEASE),
        releases=2,
        beside=True,
    )
    with SiteServer(folder) as server:
        yield server


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, site: SiteServer) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"), site=site.url, cms_first_wait=0.0)
    yield house
    house.close()


@pytest.fixture
def house(built: House) -> House:
    return built.emptied()


def sizes(house: House, site: SiteServer, pattern: str) -> dict[str, int]:
    """Sizes of the landed files, each the same bytes as on the site."""
    landed = sorted((house.root / "raw").rglob(pattern))
    for path in landed:
        [published] = site.folder.rglob(path.name)
        assert path.read_bytes() == published.read_bytes()
    return {x.name: x.stat().st_size for x in landed}


def test_a_partition_lands_and_compares_what_its_site_publishes_beside_it(
    house: House, site: SiteServer
) -> None:
    done = house.run(KEY, assets=ASSETS)
    assert done.success, done.failures
    assert done.failed_checks() == set()
    summaries = sizes(house, site, "PBLCTN_*.csv")
    published = summaries_of(FolderSource(site.folder), RELEASE, 2021)
    assert summaries.keys() == {x.file.name for x in published}
    assert len(summaries) == len(SUMMARY_KINDS) - 1  # natures are those of general payments
    for name, size in summaries.items():
        said = f"{name}: {size:,} bytes landed, {size:,} published."
        assert said in done.said("summary_files:bytes_complete")
    [(name, size)] = sizes(house, site, "OP_REMOVED_*.csv").items()
    assert f"{name}: {size:,} bytes landed, {size:,} published." in done.said(
        "removed_list:bytes_complete"
    )
    assert "totals equal CMS's" in done.said("curated/reconciliation:rec_dashboard")
    assert all(x["difference"] == 0 for x in house.rows("curated.reconciliation", KEY))
    assert [x.name for x in (house.root / ".downloads").iterdir() if x.suffix != ".lock"] == []


def test_what_is_landed_is_not_downloaded_again(house: House, site: SiteServer) -> None:
    assert house.run(KEY, assets=ASSETS).success
    site.requests.clear()
    again = house.run(KEY, assets=ASSETS)
    assert again.success, again.failures
    assert {x.range for x in site.requests if x.path.endswith(".csv")} == {ASKED_ONLY}
    assert again.metadata["removed_list"]["already_landed"]


def test_references_are_landed_from_a_site(house: House, site: SiteServer) -> None:
    done = house.run_references()
    failures = [x.step_failure_data.error for x in done.all_events if x.is_step_failure]
    assert done.success, failures
    said = {x.check_name: x.passed for x in done.get_asset_check_evaluations()}
    assert said["bytes_complete"]
    for kind in REFERENCE_TABLES:
        assert len(sizes(house, site, f"beside={kind}/*/*.csv")) == 1
        held = house.tables.whole(f"curated.{kind}")
        assert held is not None
        assert held.release == str(RELEASE)


def test_two_runs_at_once_land_a_summary_once(
    tmp_path: Path, site: SiteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone, both = RawZone(tmp_path), Barrier(2)
    fetch = SiteSource.fetch

    def fetch_together(*asked: Any, **how: Any) -> Path:
        path = fetch(*asked, **how)
        with suppress(BrokenBarrierError):
            both.wait(timeout=0.5)
        return path

    monkeypatch.setattr(SiteSource, "fetch", fetch_together)

    def land(run_id: str) -> bool:
        source = SiteSource(site.url)
        [landed] = beside.land(source.beside(FileKind.DASHBOARD)[-1:], source, zone, run_id)
        return landed.landed

    with ThreadPoolExecutor(2) as runs:
        assert sorted(runs.map(land, ("first", "second"))) == [False, True]
    assert len(list(zone.audits())) == 1


def test_a_file_whose_size_the_site_does_not_state_is_taken_as_it_came(
    tmp_path: Path, site: SiteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SiteSource, "sized", lambda _, published: published)
    source, zone = SiteSource(site.url), RawZone(tmp_path)
    files = beside.land(source.beside(FileKind.DASHBOARD)[-1:], source, zone, "run")
    outcomes = beside.judge(files)
    assert all(outcomes[check.name].passed for check in FILE_CHECKS)
    assert "an unstated number published" in outcomes["bytes_complete"].summary
