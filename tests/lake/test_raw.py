"""The raw zone: bytes land once, whole, as they are, and are never edited."""

from __future__ import annotations

import hashlib
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openpay_assets.lake.raw import CHUNK, RawFileConflictError, RawZone
from openpay_assets.lake.tables import Partition

PARTITION = Partition.parse("general|2023")
RELEASE = date(2024, 6, 28)
NAME = "OP_DTL_GNRL_PGYR2023_P06282024.csv"


@pytest.fixture
def zone(tmp_path: Path) -> RawZone:
    return RawZone(tmp_path / "lake")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "site" / NAME
    path.parent.mkdir()
    path.write_bytes(b"a,b\r\n\xef\xbb\xbf\xff\x00\n")
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=2000), repeat=st.sampled_from([1, CHUNK // 1000, CHUNK]))
def test_a_file_lands_byte_for_byte_with_its_size_and_sha256(
    tmp_path: Path, content: bytes, repeat: int
) -> None:
    content = (content * repeat)[: CHUNK * 3 + 1]
    digest = hashlib.sha256(content).hexdigest()
    source = tmp_path / "source"
    source.write_bytes(content)
    file = RawZone(tmp_path / digest).land(source, PARTITION, RELEASE, NAME)
    landed = Path(file.path)
    assert landed.read_bytes() == content
    assert (file.size, file.sha256) == (len(content), digest)


def test_a_file_lies_under_its_dataset_year_and_release(zone: RawZone, source: Path) -> None:
    file = zone.land(source, PARTITION, RELEASE, NAME)
    where = Path("raw/dataset=general/year=2023/release=2024-06-28") / NAME
    assert Path(file.path) == zone.root / where
    assert (file.partition, file.release_date, file.name) == (PARTITION, RELEASE, NAME)
    assert file.landed


def test_the_same_bytes_again_are_skipped(zone: RawZone, source: Path) -> None:
    first = zone.land(source, PARTITION, RELEASE, NAME)
    os.utime(first.path, (1, 1))
    second = zone.land(source, PARTITION, RELEASE, NAME)
    assert not second.landed
    assert second.sha256 == first.sha256
    assert Path(first.path).stat().st_mtime == 1


def test_other_bytes_under_a_landed_name_are_refused_and_nothing_changes(
    zone: RawZone, source: Path
) -> None:
    file = zone.land(source, PARTITION, RELEASE, NAME)
    before = Path(file.path).read_bytes()
    source.write_bytes(before + b"one more row\n")
    with pytest.raises(RawFileConflictError) as refused:
        zone.land(source, PARTITION, RELEASE, NAME)
    assert Path(file.path).read_bytes() == before
    for said in (NAME, "2024-06-28", file.path, file.sha256[:12], "own release"):
        assert said in str(refused.value)


def test_a_copy_that_breaks_off_leaves_nothing_that_looks_whole(
    zone: RawZone, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("connection lost")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="connection lost"):
        zone.land(source, PARTITION, RELEASE, NAME)
    monkeypatch.undo()
    assert [x for x in zone.root.rglob("*") if x.is_file()] == []
    assert zone.releases(PARTITION) == []
    assert zone.land(source, PARTITION, RELEASE, NAME).landed


def test_what_a_killed_run_left_is_no_file_and_is_not_in_the_way(
    zone: RawZone, source: Path
) -> None:
    folder = zone.folder(PARTITION, RELEASE)
    folder.mkdir(parents=True)
    (folder / f"{NAME}.99999.partial").write_bytes(b"a,")
    assert zone.releases(PARTITION) == []
    assert zone.land(source, PARTITION, RELEASE, NAME).landed
    assert zone.releases(PARTITION) == [RELEASE]


def test_landed_releases_are_listed_oldest_first(zone: RawZone, source: Path) -> None:
    for release in (date(2025, 1, 30), RELEASE):
        zone.land(source, PARTITION, release, NAME)
    assert zone.releases(PARTITION) == [RELEASE, date(2025, 1, 30)]
    assert zone.releases(Partition.parse("general|2022")) == []


def test_every_landing_is_audited_also_of_bytes_already_there(zone: RawZone, source: Path) -> None:
    for run_id in ("first", "second"):
        file = zone.land(source, PARTITION, RELEASE, NAME)
        zone.audit(file, run_id, "G4")
    first, second = zone.audits()
    assert (first["run_id"], first["landed"]) == ("first", True)
    assert (second["run_id"], second["landed"]) == ("second", False)
    assert first["sha256"] == second["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (first["layout"], first["release"], first["size"]) == ("G4", "2024-06-28", 11)
    assert first["source"] == str(source)


def test_a_lake_without_files_has_no_audits(zone: RawZone) -> None:
    assert list(zone.audits()) == []


def test_a_download_of_the_lake_is_moved_and_not_copied(zone: RawZone, source: Path) -> None:
    zone.downloads.mkdir(parents=True)
    content = source.read_bytes()
    download = source.rename(zone.downloads / NAME)
    inode = download.stat().st_ino
    file = zone.land(download, PARTITION, RELEASE, NAME)
    assert not download.exists()
    assert Path(file.path).stat().st_ino == inode
    assert (file.landed, file.sha256) == (True, hashlib.sha256(content).hexdigest())


def test_a_download_of_what_is_landed_is_removed(zone: RawZone, source: Path) -> None:
    first = zone.land(source, PARTITION, RELEASE, NAME)
    zone.downloads.mkdir(parents=True)
    download = source.rename(zone.downloads / NAME)
    assert not zone.land(download, PARTITION, RELEASE, NAME).landed
    assert not download.exists()
    assert Path(first.path).exists()


def test_the_landed_file_itself_may_be_offered(zone: RawZone, source: Path) -> None:
    first = zone.land(source, PARTITION, RELEASE, NAME)
    second = zone.land(Path(first.path), PARTITION, RELEASE, NAME)
    assert (second.landed, second.sha256) == (False, first.sha256)
    assert Path(first.path).exists()


def test_a_slice_lies_apart_and_is_no_release_of_the_partition(zone: RawZone, source: Path) -> None:
    file = zone.land(source, PARTITION, RELEASE, NAME, company_id="204")
    where = Path("raw/company_id=204/dataset=general/year=2023/release=2024-06-28") / NAME
    assert Path(file.path) == zone.root / where
    assert zone.releases(PARTITION) == []
    zone.audit(file, "run", "G4")
    assert next(zone.audits())["company_id"] == "204"
