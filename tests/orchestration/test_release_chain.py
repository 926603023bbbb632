"""A simulated chain of releases through the assets: found are exactly the changes it was given."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
from house import QUARANTINE, RAW, REMOVED, STAGING, House

from openpay_assets.cms.simulator import expected_changes, simulate
from openpay_assets.contracts.model import Dataset

CHANGES = dg.AssetKey(["curated", "release_changes"])
ASSETS = (RAW, REMOVED, STAGING, QUARANTINE, CHANGES)
YEAR = 2022
RELEASES = ("2023-06-30", "2024-01-18", "2024-06-28")
ROWS = 600
DATASETS = (Dataset.GENERAL, Dataset.OWNERSHIP)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first three publications of a year, with dirt."""
    folder = tmp_path_factory.mktemp("cms")
    simulate(
        folder,
        years=[YEAR],
        rows=ROWS,
        seed=11,
        dirt=0.05,
        datasets=DATASETS,
        release=RELEASES[-1],
        releases=len(RELEASES),
        without={"program_year_matches"},
    )
    return folder


@pytest.fixture(params=["every release", "one skipped"])
def house(
    request: pytest.FixtureRequest, site: Path, tmp_path: Path
) -> Iterator[tuple[House, tuple[str, ...]]]:
    settings = {f"max_quarantine_share_{x}": "0.5" for x in DATASETS}
    house = House(tmp_path, cms=site, **settings)
    yield house, RELEASES if request.param == "every release" else RELEASES[::2]
    house.close()


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_changes_found_are_those_of_the_chain(
    dataset: Dataset, house: tuple[House, tuple[str, ...]], site: Path
) -> None:
    lake, releases = house
    key = f"{dataset}|{YEAR}"
    for n, release in enumerate(releases):
        run = lake.run(key, release=release, assets=ASSETS)
        assert run.success, run.failures
        if n == 0:
            assert lake.rows("curated.release_changes", key) == []
            continue
        since = releases[n - 1]
        truth = expected_changes(
            site, dataset, YEAR, date.fromisoformat(since), date.fromisoformat(release)
        )
        rows = lake.rows("curated.release_changes", key)
        assert {str(x["previous_release"]) for x in rows} == {since}
        found = {
            kind: [x for x in rows if x["kind"] == kind] for kind in ("added", "changed", "removed")
        }
        assert {k: len(v) for k, v in found.items()} == {k: truth[k]["rows"] for k in found}
        moved = {k: sum(int((x["amount_moved"] or 0) * 100) for x in v) for k, v in found.items()}
        assert moved == {
            "added": truth["added"]["cents"],
            "changed": truth["changed"]["cents_after"] - truth["changed"]["cents_before"],
            "removed": -truth["removed"]["cents"],
        }
        assert all(found.values())
        between = [x for x in RELEASES if since < x < release]
        assert run.report("curated/release_changes:gap_detection").get("skipped") == between
