"""A site as a source: releases, archives and what stands beside them, sized, fetched, not twice."""

from __future__ import annotations

import io
import zipfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from faulty_site import FaultySite

from openpay_assets.cms.catalog import ITEMS
from openpay_assets.cms.http import Http, SiteError
from openpay_assets.cms.names import FileKind
from openpay_assets.cms.site import CMS_ARCHIVES, SiteSource
from openpay_assets.cms.source import ReleaseNotFoundError, find_release, source_for
from openpay_assets.contracts.model import Dataset

STAMP = "P01302025_01212025"
CONTENT = b"Record_ID\n1\n2\n"
ARCHIVED = "OP_DTL_GNRL_PGYR2016_P01182024.csv"
REMOVED = "OP_REMOVED_DELETED_PGYR2016_P01182024.csv"


def listed(code: str, dataset: str, year: int) -> dict[str, Any]:
    name = f"OP_DTL_{code}_PGYR{year}_{STAMP}.csv"
    return {
        "identifier": f"{dataset}-{year}",
        "title": f"{year} {dataset.title()} Payment Data",
        "theme": [f"{dataset.title()} Payments"],
        "modified": "2025-01-30",
        "distribution": [{"downloadURL": f"/files/PGYR{year}_{STAMP}/{name}"}],
    }


@pytest.fixture
def source(site: FaultySite, http: Http) -> SiteSource:
    items = [listed("GNRL", "general", 2023), listed("GNRL", "general", 2022)]
    items.append(listed("RSRCH", "research", 2023))
    url = f"/files/PHPRFL_{STAMP}/OP_CVRD_RCPNT_PRFL_SPLMTL_{STAMP}.csv"
    items.append({"title": "Supplement", "distribution": [{"downloadURL": url}]})
    site.answer(f"/{ITEMS}", items)
    site.put(f"/files/PGYR2022_{STAMP}/OP_REMOVED_DELETED_PGYR2022_{STAMP}.csv", b"gone")
    site.put(f"/files/PGYR2023_{STAMP}/OP_DTL_GNRL_PGYR2023_{STAMP}.csv", CONTENT)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(ARCHIVED, CONTENT)
        file.writestr(REMOVED, b"gone as well")
    site.put("/archives/PGYR16_P011824.ZIP", packed.getvalue())
    return SiteSource(site.url, archive_site=f"{site.url}/archives/", http=http)


def test_a_source_is_chosen_by_its_location() -> None:
    cms = source_for("https://openpaymentsdata.cms.gov/")
    assert isinstance(cms, SiteSource)
    assert cms.archive_site == CMS_ARCHIVES
    other = source_for("http://127.0.0.1:8000")
    assert isinstance(other, SiteSource)
    assert other.archive_site is None
    with pytest.raises(ValueError, match=r"OPENPAY_CMS is s3://bucket/cms\. Set it to a folder"):
        source_for("s3://bucket/cms")


def test_current_and_archived_years_stand_side_by_side(
    source: SiteSource, site: FaultySite
) -> None:
    found = {(x.file.dataset, x.file.program_year): x.file.release for x in source.releases()}
    archived = {(d, year) for d in Dataset for year in range(2013, 2019)}
    current = {(Dataset.GENERAL, 2022), (Dataset.GENERAL, 2023), (Dataset.RESEARCH, 2023)}
    assert set(found) == archived | current
    assert found[Dataset.GENERAL, 2013] == date(2021, 1, 22)
    assert len(source.releases(Dataset.GENERAL)) == 8
    assert len(source.releases(program_year=2023)) == 2
    assert site.asked[f"/{ITEMS}"] == 1


def test_a_year_in_the_catalog_is_not_taken_from_its_archive(site: FaultySite, http: Http) -> None:
    name = "OP_DTL_GNRL_PGYR2016_P01182024.csv"
    url = f"/files/{name}"
    site.answer(
        f"/{ITEMS}",
        [{"title": "2016 General Payment Data", "distribution": [{"downloadURL": url}]}],
    )
    source = SiteSource(site.url, archive_site=f"{site.url}/archives", http=http)
    [release] = source.releases(Dataset.GENERAL, 2016)
    assert release.location == f"{site.url}{url}"


def test_the_newest_release_is_found_with_its_size_and_fetched(
    source: SiteSource, tmp_path: Path
) -> None:
    release = find_release(source, Dataset.GENERAL, 2023)
    assert (release.file.release, release.size) == (date(2025, 1, 30), len(CONTENT))
    assert source.sized(release) is release
    path = source.fetch(release, tmp_path)
    assert (path.name, path.read_bytes()) == (release.file.name, CONTENT)


def test_a_partition_that_is_not_published_is_said_not_to_be(source: SiteSource) -> None:
    with pytest.raises(ReleaseNotFoundError, match="Nothing published for ownership 2023"):
        find_release(source, Dataset.OWNERSHIP, 2023)


def test_an_archived_file_is_found_with_its_size_and_fetched_from_its_zip(
    source: SiteSource, site: FaultySite, tmp_path: Path
) -> None:
    release = find_release(source, Dataset.GENERAL, 2016)
    assert (release.file.release, release.size) == (date(2024, 1, 18), len(CONTENT))
    assert source.fetch(release, tmp_path).read_bytes() == CONTENT
    asked = site.asked["/archives/PGYR16_P011824.ZIP"]
    [removed] = source.beside(FileKind.REMOVED, 2016)
    assert source.fetch(removed, tmp_path).read_bytes() == b"gone as well"
    assert site.asked["/archives/PGYR16_P011824.ZIP"] == asked + 1  # is it still the same?


def test_a_landed_file_of_the_stated_size_is_not_downloaded(
    source: SiteSource, site: FaultySite, tmp_path: Path
) -> None:
    release = find_release(source, Dataset.GENERAL, 2023)
    landed = tmp_path / "raw.csv"
    landed.write_bytes(CONTENT)
    before = site.asked.total()
    assert source.fetch(release, tmp_path / "downloads", landed=landed) == landed
    assert site.asked.total() == before
    landed.write_bytes(CONTENT + b"3\n")
    assert source.fetch(release, tmp_path / "downloads", landed=landed) != landed


def test_removed_lists_are_found_beside_the_payments_and_asked_for_once(
    source: SiteSource, site: FaultySite
) -> None:
    [removed] = source.beside(FileKind.REMOVED, 2022)
    assert removed.file.name == f"OP_REMOVED_DELETED_PGYR2022_{STAMP}.csv"
    assert removed.size == 4
    assert source.beside(FileKind.REMOVED, 2023) == []
    source.beside(FileKind.REMOVED)
    path = "/files/PGYR{0}_" + STAMP + "/OP_REMOVED_DELETED_PGYR{0}_" + STAMP + ".csv"
    assert (site.asked[path.format(2022)], site.asked[path.format(2023)]) == (1, 1)


def test_a_first_publication_is_not_asked_for_a_removed_list(site: FaultySite, http: Http) -> None:
    name = "/files/OP_DTL_GNRL_PGYR2023_P06282024.csv"
    item = {"title": "2023 General Payment Data", "distribution": [{"downloadURL": name}]}
    site.answer(f"/{ITEMS}", [item])
    assert SiteSource(site.url, http=http).beside(FileKind.REMOVED) == []
    assert list(site.asked) == [f"/{ITEMS}"]


def test_other_files_beside_the_payments_are_those_of_the_catalog(source: SiteSource) -> None:
    [supplement] = source.beside(FileKind.SUPPLEMENT)
    assert supplement.size is None
    assert {x.file.kind for x in source.beside()} == {FileKind.SUPPLEMENT, FileKind.REMOVED}


def test_a_site_that_is_down_is_an_error(http: Http) -> None:
    with pytest.raises(SiteError, match="127.0.0.1:9"):
        SiteSource("http://127.0.0.1:9", http=http).releases()


def test_problems_of_the_catalog_are_there_to_be_reported(site: FaultySite, http: Http) -> None:
    site.answer(f"/{ITEMS}", [{"title": "2023 General Payment Data"}])
    [problem] = SiteSource(site.url, http=http).problems
    assert "no download URL" in str(problem)
