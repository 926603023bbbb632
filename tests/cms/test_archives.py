"""Archived program years: pinned names, members streamed out, nothing that is not whole."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import zipfile
import zlib
from datetime import date
from pathlib import Path

import pytest
from faulty_site import FaultySite

from openpay_assets.cms import archives as module
from openpay_assets.cms.archives import ArchiveError, archives, extract, stated_size
from openpay_assets.cms.http import Http
from openpay_assets.cms.names import parse_beside_name, parse_name
from openpay_assets.contracts.model import Dataset

NAME = "OP_DTL_GNRL_PGYR2013_P01222021.csv"
CONTENT = b"Record_ID,Amount\n" + os.urandom(5000).hex().encode()


@pytest.fixture
def container(tmp_path: Path) -> Path:
    path = tmp_path / "PGYR13_P012221.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("OP_PGYR2013_README_P01222021.txt", "read me")
        file.writestr(f"folder/{NAME.upper()}", CONTENT)
    return path


def deflate64(path: Path) -> Path:
    """Write a ZIP of method 9: Deflate without any match is Deflate64 as well."""
    packer = zlib.compressobj(wbits=-15, strategy=zlib.Z_HUFFMAN_ONLY)
    packed = packer.compress(CONTENT) + packer.flush()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr(NAME, packed)
    data = bytearray(path.read_bytes())
    for signature, method, sizes in ((b"PK\3\4", 8, 14), (b"PK\1\2", 10, 16)):
        at = data.index(signature)
        data[at + method] = 9
        for n, value in enumerate((zlib.crc32(CONTENT), len(packed), len(CONTENT))):
            data[at + sizes + 4 * n : at + sizes + 4 * n + 4] = value.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def fake_tool(folder: Path, code: str) -> None:
    """Put a 7z into a folder that is all there is on the path."""
    folder.mkdir()
    tool = folder / "7z"
    tool.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)


def test_every_archive_names_files_of_its_year_and_release() -> None:
    assert [x.program_year for x in archives()] == list(range(2013, 2019))
    for archive in archives():
        assert {x.dataset for x in archive.payments} == set(Dataset)
        for file in archive.payments:
            assert parse_name(file.name) == file
        assert archive.release.month == 1
        assert archive.release.year == archive.program_year + 8
        assert (archive.removed is not None) == (archive.program_year >= 2016)
        if archive.removed:
            assert parse_beside_name(archive.removed.name) == archive.removed
    containers = {x.program_year: x.container for x in archives()}
    assert containers[2013] == "PGYR13_P012221.ZIP"
    assert containers[2018] == "PGYR2018_P01232026_01102026.zip"
    assert archives()[-1].release == date(2026, 1, 23)


def test_a_member_is_written_whole_whatever_its_folder_and_case(
    container: Path, tmp_path: Path
) -> None:
    path = extract(container, NAME, tmp_path / NAME)
    assert path.read_bytes() == CONTENT
    assert not list(tmp_path.glob("*.partial"))


def test_a_member_that_is_not_there_is_an_error_that_lists_what_is(
    container: Path, tmp_path: Path
) -> None:
    other = "OP_DTL_RSRCH_PGYR2013_P01222021.csv"
    with pytest.raises(ArchiveError, match=rf"holds no {other}.*README.*{NAME.upper()}"):
        extract(container, other, tmp_path / other)


def test_a_damaged_member_is_no_file(container: Path, tmp_path: Path) -> None:
    data = bytearray(container.read_bytes())
    at = data.index(b"README") + 2000
    data[at : at + 8] = b"\0" * 8
    container.write_bytes(data)
    with pytest.raises(ArchiveError, match="cannot be read as a ZIP"):
        extract(container, NAME, tmp_path / NAME)
    assert sorted(x.name for x in tmp_path.iterdir()) == [container.name]


def test_what_is_no_zip_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "page.zip"
    path.write_bytes(b"<html>")
    with pytest.raises(ArchiveError, match="cannot be read as a ZIP"):
        extract(path, NAME, tmp_path / NAME)


def test_deflate64_is_unpacked_by_a_tool_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = deflate64(tmp_path / "big.zip")
    (tmp_path / "content").write_bytes(CONTENT)
    code = (
        f"assert sys.argv[1:] == ['e', '-so', {str(container)!r}, {NAME!r}]\n"
        f"sys.stdout.buffer.write(open({str(tmp_path / 'content')!r}, 'rb').read())"
    )
    fake_tool(tmp_path / "bin", code)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert extract(container, NAME, tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("tool", [x for x in module.TOOLS if shutil.which(x)])
def test_deflate64_is_unpacked_by_the_tools_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    monkeypatch.setattr(module, "TOOLS", {tool: module.TOOLS[tool]})
    container = deflate64(tmp_path / "big.zip")
    assert extract(container, NAME, tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('half')", "unpacks to 5 bytes"),
        ("sys.exit('wrong method')", "ended with 1: wrong method"),
    ],
)
def test_a_tool_that_fails_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    container = deflate64(tmp_path / "big.zip")
    fake_tool(tmp_path / "bin", code)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(ArchiveError, match=said):
        extract(container, NAME, tmp_path / NAME)
    assert not (tmp_path / NAME).exists()
    assert not list(tmp_path.glob("*.partial"))


def test_without_a_tool_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArchiveError, match=r"Deflate64.*install 7-Zip"):
        extract(deflate64(tmp_path / "big.zip"), NAME, tmp_path / NAME)


def test_the_size_of_a_member_is_read_from_the_site_without_the_archive(
    site: FaultySite, http: Http, tmp_path: Path
) -> None:
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("OP_DTL_RSRCH_PGYR2013_P01222021.csv", os.urandom(2_000_000))
        file.writestr(NAME, CONTENT)
    url = site.put("/large.zip", path.read_bytes())
    assert stated_size(http, url, NAME) == len(CONTENT)
    spans = [x.removeprefix("bytes=").split("-") for x in site.ranges_asked]
    assert sum(int(b) + 1 - int(a) for a, b in spans) < 200_000
    site.put("/large.zip", path.read_bytes(), ranges=False)
    assert stated_size(http, url, NAME) is None
