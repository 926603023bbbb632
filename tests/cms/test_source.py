"""Where CMS files come from: what is published, the newest of it, and errors that say what is."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from openpay_assets.cms.names import FileKind
from openpay_assets.cms.source import (
    FolderSource,
    ReleaseNotFoundError,
    find_release,
    source_for,
)
from openpay_assets.contracts.model import Dataset

GENERAL = "OP_DTL_GNRL_PGYR2023_P"
FILES = (
    f"{GENERAL}06282024.csv",
    f"2025/{GENERAL}01302025.csv",
    f"2025/june/{GENERAL}06302025_06162025.CSV",
    "OP_DTL_GNRL_PGYR2022_P01302025.csv",
    "OP_DTL_OWNRSHP_PGYR2023_P01302025.csv",
    "OP_REMOVED_DELETED_PGYR2023_P01302025.csv",
    "README.txt",
    "notes.csv",
)


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    for number, name in enumerate(FILES):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * number)
    return FolderSource(tmp_path)


def test_releases_are_found_below_the_folder_oldest_first(source: FolderSource) -> None:
    releases = source.releases(Dataset.GENERAL, 2023)
    assert [str(x.file.release) for x in releases] == ["2024-06-28", "2025-01-30", "2025-06-30"]
    assert [x.size for x in releases] == [0, 1, 2]


def test_what_is_no_payment_file_is_not_published(source: FolderSource) -> None:
    assert len(source.releases()) == 5
    assert {x.file.dataset for x in source.releases(program_year=2023)} == {"general", "ownership"}


def test_the_newest_release_is_found_when_none_is_asked_for(
    source: FolderSource, tmp_path: Path
) -> None:
    found = find_release(source, Dataset.GENERAL, 2023)
    assert found.file.release == date(2025, 6, 30)
    assert source.fetch(found, tmp_path).read_bytes() == b"xx"


def test_the_release_that_is_asked_for_is_found(source: FolderSource) -> None:
    found = find_release(source, Dataset.GENERAL, 2023, date(2024, 6, 28))
    assert found.file.name == FILES[0]


def test_a_release_that_is_not_there_is_an_error_that_lists_those_that_are(
    source: FolderSource,
) -> None:
    with pytest.raises(ReleaseNotFoundError) as missing:
        find_release(source, Dataset.GENERAL, 2023, date(2024, 1, 17))
    assert str(missing.value) == (
        "No release 2024-01-17 of general 2023. Published: 2024-06-28, 2025-01-30, 2025-06-30."
    )


def test_a_partition_that_is_not_there_is_an_error_that_says_what_was_looked_for(
    source: FolderSource,
) -> None:
    with pytest.raises(ReleaseNotFoundError) as missing:
        find_release(source, Dataset.RESEARCH, 2023)
    said = str(missing.value)
    assert "Nothing published for research 2023" in said
    assert "OP_DTL_RSRCH_PGYR2023_P<MMDDYYYY>.csv" in said
    assert "Published: general 2022, general 2023, ownership 2023." in said


def test_an_empty_folder_publishes_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ReleaseNotFoundError, match=r"Published: nothing\."):
        find_release(FolderSource(tmp_path), Dataset.GENERAL, 2023)


def test_a_folder_that_does_not_exist_is_an_error_that_says_how_to_get_one(
    tmp_path: Path,
) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ReleaseNotFoundError) as error:
        FolderSource(missing).releases()
    assert f"OPENPAY_CMS is {missing}, which is not a folder" in str(error.value)
    assert f"openpay simulate {missing}" in str(error.value)


def test_a_source_is_chosen_by_its_location(tmp_path: Path) -> None:
    source = source_for(str(tmp_path))
    assert isinstance(source, FolderSource)
    assert source.folder == tmp_path


def test_what_stands_beside_the_payments_is_found_by_kind_and_year(source: FolderSource) -> None:
    folder = source.folder
    for name in (
        "OP_REMOVED_DELETED_PGYR2022_P01302025_01212025.csv",
        "PBLCTN_DSHBRD_P06302025_06162025.csv",
        "PBLCTN_DSHBRD_P01302025_01212025.csv",
    ):
        (folder / name).write_bytes(b"")
    assert [str(x.file.release) for x in source.beside(FileKind.DASHBOARD)] == [
        "2025-01-30",
        "2025-06-30",
    ]
    (removed,) = source.beside(FileKind.REMOVED, 2023)
    assert removed.file.program_year == 2023
    assert len(source.beside()) == 4  # one of them stood there before


def test_slices_of_companies_count_only_in_a_folder_of_their_own(source: FolderSource) -> None:
    folder = source.folder / "company_id=100000000204"
    path = folder / "year=2023" / f"{GENERAL}06302026.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert len(source.releases()) == 5
    assert [x.location for x in FolderSource(folder).releases()] == [str(path)]
