"""Partitions from a CMS site: downloaded once, last good state kept, slices apart from them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cms_files import Era, clean_row, era, write_file
from faulty_site import FaultySite, File, Handler, serving, status
from house import QUARANTINE, RAW, STAGING, House

from openpay_assets import cli
from openpay_assets.cms.catalog import ITEMS
from openpay_assets.cms.download import watched
from openpay_assets.cms.http import SiteError
from openpay_assets.cms.names import FileKind
from openpay_assets.cms.site import SiteSource
from openpay_assets.cms.slices import COMPANY
from openpay_assets.cms.source import FolderSource, ReleaseNotFoundError
from openpay_assets.definitions import cms_resource
from openpay_assets.lake.raw import RawZone
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration.assets.raw import log_tenths
from openpay_assets.runs import land_slice
from openpay_assets.settings import Settings

UP_TO_STAGING = (RAW, STAGING, QUARANTINE)
PARTITION = Partition.parse("ownership|2023")


class Published:
    """A site that publishes one partition, also through its datastore."""

    def __init__(self, site: FaultySite, folder: Path) -> None:
        self.site, self.at = site, era("O4", 2023)
        rows = [clean_row(self.at, n) for n in range(1, 4)]
        self.content = write_file(folder / "written", self.at, rows).read_bytes()
        self.path = f"/files/{self.at.file_name}"
        site.put(self.path, self.content)
        site.answer(f"/{ITEMS}", [self.item(self.at)])
        site.answer("/api/1/datastore/query/uuid/0", self.datastore)

    def item(self, at: Era) -> dict[str, Any]:
        return {
            "identifier": "uuid",
            "title": f"{at.program_year} Ownership Payment Data",
            "theme": ["Ownership Payments"],
            "distribution": [{"downloadURL": f"/files/{at.file_name}"}],
        }

    def datastore(self, ask: dict[str, list[str]]) -> dict[str, Any]:
        header, *rows = csv.reader(self.content.decode().splitlines())
        names = [x.lower()[:60] for x in header]
        if "conditions[0][value]" in ask:
            at = header.index(COMPANY)
            rows = [x for x in rows if x[at] == ask["conditions[0][value]"][0]]
        fields = {n: {"description": h} for n, h in zip(names, header, strict=True)}
        return {
            "count": len(rows),
            "results": [dict(zip(names, x, strict=True)) for x in rows],
            "schema": {"dist": {"fields": fields}},
            "query": {"properties": names},
        }

    @property
    def company(self) -> str:
        """The company of the first row."""
        header, row, *_ = csv.reader(self.content.decode().splitlines())
        return row[header.index(COMPANY)]


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    with serving() as site:
        yield Published(site, tmp_path)


@pytest.fixture
def house(tmp_path: Path, published: Published) -> Iterator[House]:
    patience = {"cms_attempts": 2, "cms_first_wait": 0.0, "cms_timeout": 2.0}
    house = House(tmp_path, site=published.site.url, **patience)
    yield house
    house.close()


def test_a_partition_is_downloaded_landed_and_staged(house: House, published: Published) -> None:
    run = house.run("ownership|2023", assets=UP_TO_STAGING)
    assert run.success, run.failures
    assert run.failed_checks() == set()
    assert len(house.rows("staging.ownership", "ownership|2023")) == 3
    zone = RawZone(house.root)
    landed = zone.folder(PARTITION, published.at.release) / published.at.file_name
    assert landed.read_bytes() == published.content
    assert [x.name for x in zone.downloads.iterdir() if x.suffix != ".lock"] == []
    report = run.report("raw_files:bytes_complete")
    assert report["bytes"] == report["published_bytes"] == len(published.content)


def test_a_landed_file_is_not_downloaded_again(house: House, published: Published) -> None:
    assert house.run("ownership|2023", assets=[RAW]).success
    published.site.ranges_asked.clear()
    run = house.run("ownership|2023", assets=[RAW])
    assert run.success
    assert run.metadata["raw_files"]["already_landed"]
    assert published.site.ranges_asked == ["bytes=0-0"]


def test_a_landed_release_runs_again_after_the_site_has_moved_on(
    house: House, published: Published
) -> None:
    first = str(published.at.release)
    assert house.run("ownership|2023", assets=UP_TO_STAGING).success
    newer = replace(published.at, release=date(2026, 1, 23))
    published.site.answer(f"/{ITEMS}", [published.item(newer)])
    run = house.run("ownership|2023", release=first, assets=UP_TO_STAGING)
    assert run.success, run.failures
    assert run.metadata["raw_files"]["release"] == first
    assert run.metadata["raw_files"]["already_landed"]
    never = house.run("ownership|2023", release="2022-06-30", assets=[RAW])
    assert "No release 2022-06-30 of ownership 2023" in never.failures["raw_files"]


def test_other_bytes_under_a_landed_name_stop_the_run_and_change_nothing(
    house: House, published: Published
) -> None:
    assert house.run("ownership|2023", assets=UP_TO_STAGING).success
    published.site.put(published.path, published.content + b"1,2\n", etag='"2"')
    run = house.run("ownership|2023", assets=UP_TO_STAGING)
    assert not run.success
    assert "already landed with other bytes" in run.failures["raw_files"]
    assert len(house.rows("staging.ownership", "ownership|2023")) == 3


def test_a_site_that_fails_stops_the_run_and_the_last_good_state_stays(
    house: House, published: Published
) -> None:
    assert house.run("ownership|2023", assets=UP_TO_STAGING).success
    published.site.always = status(503)
    run = house.run("ownership|2023", assets=UP_TO_STAGING)
    assert not run.success
    assert "status 503" in run.failures["raw_files"]
    assert run.started == {"raw_files"}
    assert len(house.rows("staging.ownership", "ownership|2023")) == 3


def test_a_download_that_breaks_off_lands_nothing(house: House, published: Published) -> None:
    def cut(handler: Handler, _: File) -> bool:
        if handler.headers.get("Range", "bytes=0-0") == "bytes=0-0":
            return False
        handler.connection.close()
        return True

    published.site.always = cut
    assert not house.run("ownership|2023", assets=[RAW]).success
    assert RawZone(house.root).releases(PARTITION) == []
    published.site.always = None
    assert house.run("ownership|2023", assets=[RAW]).success


def test_who_watches_a_run_is_told_of_its_download(house: House, published: Published) -> None:
    told: list[tuple[int, int]] = []
    with watched(lambda *x: told.append(x)):
        assert house.run("ownership|2023", assets=[RAW]).success
    size = len(published.content)
    assert told[-1] == (size, size)


def test_settings_reach_the_source() -> None:
    settings = Settings(
        cms="http://127.0.0.1:9",
        cms_archives="http://127.0.0.1:9/zip",
        connections=3,
        cms_timeout=4,
        cms_attempts=5,
        cms_first_wait=6,
    )
    source = cms_resource(settings).source()
    assert isinstance(source, SiteSource)
    assert source.archive_site == "http://127.0.0.1:9/zip"
    patience = source.http.patience
    assert (source.http.connections, patience.timeout) == (3, 4)
    assert (patience.attempts, patience.first_wait) == (5, 6)
    hurried = cms_resource(settings).impatient_source()
    assert isinstance(hurried, SiteSource)
    assert hurried.http.patience.give_up_after < 60


def test_progress_is_logged_a_tenth_at_a_time() -> None:
    said: list[str] = []
    report = log_tenths(said.append, "file.csv")
    for done in range(101):
        report(done, 100)
    assert len(said) == 10
    assert said[4] == "file.csv: 50 % of 100 bytes downloaded"
    report(0, 0)


def test_a_slice_lies_apart_and_is_a_source_of_its_own(
    house: House, published: Published, tmp_path: Path
) -> None:
    file = land_slice(house.settings, PARTITION, published.company)
    assert file.landed
    folder = house.root / "raw" / f"company_id={published.company}"
    assert Path(file.path).is_relative_to(folder)
    [audit] = RawZone(house.root).audits()
    assert (audit["company_id"], audit["layout"]) == (published.company, "O4")
    assert RawZone(house.root).releases(PARTITION) == []
    assert house.rows("staging.ownership", "ownership|2023") == []
    assert not land_slice(house.settings, PARTITION, published.company).landed
    assert FolderSource(house.root / "raw").releases() == []
    other = House(tmp_path / "other", cms=folder)
    run = other.run("ownership|2023", assets=UP_TO_STAGING)
    assert run.success, run.failures
    assert len(other.rows("staging.ownership", "ownership|2023")) == 3
    other.close()


def test_a_slice_of_a_release_that_the_datastore_lacks_is_refused(
    house: House, published: Published
) -> None:
    with pytest.raises(ReleaseNotFoundError, match=f"it holds release {published.at.release}"):
        land_slice(house.settings, PARTITION, "1", published.at.release.replace(year=2030))
    with pytest.raises(ReleaseNotFoundError, match="it holds none"):
        land_slice(house.settings, Partition.parse("general|2023"), "1")


def test_a_slice_needs_a_site(house: House) -> None:
    folder = house.settings.model_copy(update={"cms": str(house.cms)})
    with pytest.raises(ValueError, match="a folder: one company's rows come from the datastore"):
        land_slice(folder, PARTITION, "1")


def test_the_command_lands_a_slice_and_says_that_no_table_was_touched(
    house: House,
    published: Published,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OPENPAY_CMS", published.site.url)
    monkeypatch.setenv("OPENPAY_LAKE", str(house.root))
    monkeypatch.setenv("OPENPAY_CMS_ATTEMPTS", "1")
    arguments = ["openpay", "run", "ownership", "2023", "--company", published.company]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "landed" in said
    assert "No table was touched" in said
    assert f"OPENPAY_CMS={house.root}/raw/company_id={published.company}" in said
    published.site.always = status(503)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == cli.FAILED
    assert "status 503" in capsys.readouterr().err


def test_what_is_not_published_beside_is_empty(published: Published) -> None:
    from openpay_assets.cms.source import source_for

    assert source_for(published.site.url).beside(FileKind.REMOVED) == []
    published.site.answer(f"/{ITEMS}", json.loads("[]"))
    with pytest.raises(SiteError, match="an empty list"):
        source_for(published.site.url).releases()
