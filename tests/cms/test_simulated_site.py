"""The simulated site: its catalog is shaped like CMS's, and serves what is published."""

from __future__ import annotations

import json
import socket
import zipfile
from collections.abc import Iterator
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from openpay_assets.cms.csv import read_header
from openpay_assets.cms.names import parse_beside_name, parse_name
from openpay_assets.cms.simulator import catalog, simulate
from openpay_assets.cms.simulator.faults import Fault, FaultKind
from openpay_assets.cms.simulator.server import ITEMS, SiteServer
from openpay_assets.cms.simulator.site import archives, published_files
from openpay_assets.contracts.model import Dataset

BASE = "https://example.org"
GENERAL_2022 = "df01c2f8-dc1f-4e79-96cb-8208beaf143c"
TIMEOUT = httpx.Timeout(30, read=0.3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a program year that is archived, one that goes on and one that begins."""
    folder = tmp_path_factory.mktemp("site")
    simulate(
        folder,
        years=[2016, 2021, 2022],
        rows=120,
        releases=3,
        release="2024-06-28",
        beside=True,
        threads=1,
    )
    return folder


@pytest.fixture
def site(folder: Path) -> Iterator[SiteServer]:
    with SiteServer(folder) as server:
        yield server


def _file_of(item: dict[str, Any]) -> str:
    [distribution] = item["distribution"]
    url = distribution.get("data", distribution)["downloadURL"]
    return str(url.rsplit("/", 1)[-1])


def _url(site: SiteServer, title: str = "2022 General Payment Data") -> str:
    items = httpx.get(f"{site.url}{ITEMS}").json()
    [item] = [x for x in items if x["title"] == title]
    return str(item["distribution"][0]["downloadURL"])


def _bytes(folder: Path, url: str) -> bytes:
    return (folder / url.rsplit("/", 1)[-1]).read_bytes()


# --- the catalog ----------------------------------------------------------------------------------


@pytest.mark.real
def test_the_catalog_has_the_shape_of_the_real_one(folder: Path, real_files: Path) -> None:
    text = (real_files / "catalog" / "dataset_items_2024-01.json").read_text(encoding="utf-8")
    real = {item["identifier"]: item for item in json.loads(text)}
    simulated = catalog(folder, BASE, date(2024, 1, 18), show_reference_ids=True)
    assert len(simulated) == 23
    matched = [item for item in simulated if item["identifier"] in real]
    assert len(matched) == len(simulated), "every dataset is a real one"
    for item in simulated:
        theirs = real[item["identifier"]]
        # The general items gained a type and lost their quality after January 2024.
        assert set(item) - {"@type"} == set(theirs) - (
            {"dataQuality"} if "@type" in item else set()
        )
        assert item["title"] == theirs["title"]
        assert [x["data"] for x in item["theme"]] == [x["data"] for x in theirs["theme"]]
        assert [x["data"] for x in item["keyword"]] == [x["data"] for x in theirs["keyword"]]
        ours, others = (x["distribution"][0] for x in (item, theirs))
        assert set(ours) == set(others)
        assert set(ours["data"]) == set(others["data"])
        assert ours["data"]["title"] == others["data"]["title"]
        [file], [their_file] = (x["data"]["%Ref:downloadURL"] for x in (ours, others))
        assert set(file) == set(their_file)
        assert set(file["data"]) == set(their_file["data"])
        path = ours["data"]["downloadURL"].removeprefix(BASE)
        theirs_path = others["data"]["downloadURL"].removeprefix("https://download.cms.gov")
        assert path == theirs_path


def test_the_catalog_names_the_newest_release_of_each_file(folder: Path) -> None:
    for day, at_2021, at_2022 in (
        (None, "06282024", "06282024"),
        (date(2024, 1, 18), "01182024", "01182024"),
        (date(2024, 3, 1), "01182024", "01182024"),
        (date(2023, 6, 30), "06302023", "06302023"),
    ):
        names = {_file_of(x) for x in catalog(folder, BASE, day)}
        assert f"OP_DTL_GNRL_PGYR2021_P{at_2021}.csv" in names
        assert f"OP_DTL_GNRL_PGYR2022_P{at_2022}.csv" in names
    assert catalog(folder, BASE, date(2014, 1, 1)) == []


def test_the_catalog_is_silent_on_archives_and_removed_records(folder: Path) -> None:
    now = catalog(folder, BASE)
    assert not any("2016" in _file_of(x) for x in now)
    assert not any("REMOVED" in _file_of(x) for x in now)
    assert any("2016" in _file_of(x) for x in catalog(folder, BASE, date(2024, 1, 18)))
    published = [x.name.name for x in published_files(folder)]
    assert "OP_REMOVED_DELETED_PGYR2022_P06282024.csv" in published
    assert list(archives(folder)) == ["/openpayments/PGYR16_P011824.ZIP"]
    assert archives(folder, date(2024, 1, 18)) == {}


def test_the_catalog_has_the_habits_of_the_real_one(folder: Path) -> None:
    items = {x["title"]: x for x in catalog(folder, BASE)}
    general, research = items["2022 General Payment Data"], items["2022 Research Payment Data"]
    assert general["identifier"] == GENERAL_2022
    assert general["@type"] == "dcat:Dataset"
    assert "dataQuality" not in general
    assert general["modified"] == "2024-06-28T04:00:00+00:00"
    assert general["issued"].startswith("2023-06-30")
    assert research["modified"] == "2024-06-28"
    assert research["temporal"] == "2022-01-01/2022-12-31"
    dashboard = items["Summary Dashboard - all years"]
    assert dashboard["temporal"] == "2020-01-01/2021-12-31", "a year behind"
    assert "temporal" not in items["Teaching Hospital profile information"]
    assert "describedBy" in research["distribution"][0]
    assert "describedBy" not in dashboard["distribution"][0]
    supplement = items["Physician Profile Supplement"]
    assert supplement["distribution"][0]["title"] == "Summary Dashboard - all years", "as at CMS"


def test_reference_ids_wrap_what_is_stored_apart(folder: Path) -> None:
    plain, wrapped = (catalog(folder, BASE, show_reference_ids=wanted) for wanted in (False, True))
    for one, other in zip(plain, wrapped, strict=True):
        assert other["theme"][0]["data"] == one["theme"][0]
        assert other["publisher"]["data"] == one["publisher"]
        data = dict(other["distribution"][0]["data"])
        assert data.pop("%Ref:downloadURL")[0]["data"]["filePath"] == data["downloadURL"]
        assert data == one["distribution"][0]
    assert len({x["distribution"][0]["identifier"] for x in wrapped}) == len(wrapped)


@pytest.mark.parametrize(
    ("day", "folders"),
    [
        ("2024-01-18", {"PGYR22_P011824", "SMRY_P01182024", "PHPRFL_P011824"}),
        (
            "2026-06-30",
            {
                "PGYR2022_P06302026_06032026",
                "SMRY_RPTS_P06302026_06032026",
                "PHPRFL_P06302026_06032026",
            },
        ),
    ],
)
def test_files_lie_where_cms_puts_them(tmp_path: Path, day: str, folders: set[str]) -> None:
    simulate(
        tmp_path,
        years=[2022],
        rows=40,
        release=day,
        datasets=[Dataset.OWNERSHIP],
        beside=True,
        threads=1,
    )
    assert {x.url_path.split("/")[2] for x in published_files(tmp_path)} == folders


# --- the server: catalog and query API --------------------------------------------------------------


def test_the_catalog_is_served_in_both_forms(site: SiteServer) -> None:
    plain = httpx.get(f"{site.url}{ITEMS}").json()
    assert plain == catalog(site.folder, site.url)
    for parameter in ("show-reference-ids", "show-reference-ids=true", "show-reference-ids=false"):
        wrapped = httpx.get(f"{site.url}{ITEMS}?{parameter}").json()
        assert wrapped == catalog(site.folder, site.url, show_reference_ids=True)
    one = httpx.get(f"{site.url}{ITEMS}/{GENERAL_2022}").json()
    assert one["title"] == "2022 General Payment Data"
    assert httpx.get(f"{site.url}{ITEMS}/nothing").status_code == 404
    assert httpx.get(f"{site.url}/api/1/unknown").status_code == 404


def test_a_dictionary_describes_the_current_layout(site: SiteServer) -> None:
    [item] = [
        x
        for x in httpx.get(f"{site.url}{ITEMS}").json()
        if x["title"] == "2022 General Payment Data"
    ]
    answer = httpx.get(item["distribution"][0]["describedBy"]).json()
    header = read_header(site.folder / _file_of(item))
    assert [x["name"] for x in answer["data"]["fields"]] == header
    assert httpx.get(f"{item['distribution'][0]['describedBy']}0").status_code == 404


def _query(site: SiteServer, query: str, identifier: str = f"{GENERAL_2022}/0") -> httpx.Response:
    return httpx.get(f"{site.url}/api/1/datastore/query/{identifier}?{query}")


def test_the_query_api_counts_rows_and_names_columns(site: SiteServer) -> None:
    answer = _query(site, "results=false&count=true&schema=true&limit=1").json()
    name = "OP_DTL_GNRL_PGYR2022_P06282024.csv"
    expected = json.loads((site.folder / f"{name}.expected.json").read_text(encoding="utf-8"))
    assert answer["count"] == expected["rows"]
    assert "results" not in answer
    [distribution] = answer["schema"]
    assert answer["query"]["resources"][0]["id"] == distribution
    fields = answer["schema"][distribution]["fields"]
    assert [x["description"] for x in fields.values()] == read_header(site.folder / name)
    assert set(fields) == {x["description"].lower() for x in fields.values()}
    again = _query(site, "results=false&schema=false", distribution).json()
    assert again["count"] == expected["rows"]
    assert "schema" not in again


def test_the_query_api_filters_sorts_and_pages(site: SiteServer) -> None:
    changed = (
        "properties[0]=record_id&properties[1]=change_type&conditions[0][property]=change_type"
        "&conditions[0][value]=UNCHANGED&conditions[0][operator]=<>&sorts[0][property]=record_id"
    )
    rows = _query(site, changed).json()
    assert rows["count"] == len(rows["results"]) > 3
    assert {x["change_type"] for x in rows["results"]} <= {"NEW", "ADD", "CHANGED"}
    ids = [x["record_id"] for x in rows["results"]]
    assert ids == sorted(ids)
    page = _query(site, f"{changed}&limit=2&offset=1").json()
    assert [x["record_id"] for x in page["results"]] == ids[1:3]
    down = _query(site, f"{changed}&sorts[0][order]=desc&limit=1").json()
    assert down["results"][0]["record_id"] == ids[-1]
    bare = _query(site, f"{changed}&keys=false&limit=1").json()
    assert bare["results"][0][0] == ids[0]


@pytest.mark.parametrize(
    ("operator", "value", "kept"),
    [
        ("=", "NEW", {"NEW"}),
        ("like", "%CHANGED", {"CHANGED", "UNCHANGED"}),
        ("in", ["NEW", "ADD"], {"NEW", "ADD"}),
        ("not in", ["UNCHANGED", "CHANGED"], {"NEW", "ADD"}),
        ("between", ["A", "B"], {"ADD"}),
        (">", "CHANGED", {"NEW", "UNCHANGED"}),
    ],
)
def test_the_query_api_compares_text(
    site: SiteServer, operator: str, value: object, kept: set[str]
) -> None:
    condition = {"property": "change_type", "value": value, "operator": operator}
    body = {"conditions": [condition], "properties": ["change_type"]}
    posted = httpx.post(f"{site.url}/api/1/datastore/query/{GENERAL_2022}/0", json=body).json()
    assert {x["change_type"] for x in posted["results"]} == kept
    values = (
        [("conditions[0][value][]", x) for x in value]
        if isinstance(value, list)
        else [("conditions[0][value]", str(value))]
    )
    parameters = httpx.QueryParams(
        [
            ("conditions[0][property]", "change_type"),
            ("conditions[0][operator]", operator),
            ("properties[0]", "change_type"),
            *values,
        ]
    )
    assert _query(site, str(parameters)).json()["results"] == posted["results"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=501",
        "limit=0",
        "limit=many",
        "offset=-1",
        "properties[0]=unknown",
        "conditions[0][property]=record_id&conditions[0][value]=1&conditions[0][operator]=contains",
        "conditions[0][property]=record_id&conditions[0][value]=1&conditions[0][operator]=between",
        "sorts[0][property]=record_id&sorts[0][order]=up",
        "conditions[[0]=1",
    ],
)
def test_the_query_api_refuses_what_cms_refuses(site: SiteServer, query: str) -> None:
    answer = _query(site, query)
    assert answer.status_code == 400
    assert answer.json()["message"]


def test_the_query_api_knows_only_what_is_published(site: SiteServer) -> None:
    assert _query(site, "limit=1", "00000000-0000-0000-0000-000000000000/0").status_code == 404
    bad = httpx.post(f"{site.url}/api/1/datastore/query/{GENERAL_2022}/0", content="{")
    assert bad.status_code == 400


# --- the server: files ----------------------------------------------------------------------------


def test_a_file_comes_whole_with_its_validators(site: SiteServer, folder: Path) -> None:
    url = _url(site)
    answer = httpx.get(url)
    assert answer.content == _bytes(folder, url)
    assert answer.headers["Accept-Ranges"] == "bytes"
    head = httpx.head(url)
    assert head.content == b""
    for name in ("Content-Length", "ETag", "Last-Modified"):
        assert head.headers[name] == answer.headers[name]
    same = httpx.get(url, headers={"If-None-Match": answer.headers["ETag"]})
    assert same.status_code == 304
    assert httpx.get(f"{url}x").status_code == 404


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=7-", 7, None),
        ("bytes=-5", -5, None),
        ("bytes=3-9999999", 3, None),
    ],
)
def test_a_range_of_a_file(
    site: SiteServer, folder: Path, asked: str, first: int, last: int | None
) -> None:
    url = _url(site)
    whole = _bytes(folder, url)
    answer = httpx.get(url, headers={"Range": asked})
    assert answer.status_code == 206
    assert answer.content == whole[first:last]
    start = first % len(whole)
    end = start + len(answer.content) - 1
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(whole)}"


def test_ranges_that_cannot_be_answered(site: SiteServer, folder: Path) -> None:
    url = _url(site)
    whole = _bytes(folder, url)
    beyond = httpx.get(url, headers={"Range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole)}"
    for several in ("bytes=0-1,5-6", "bytes=-", "lines=1-2"):
        assert httpx.get(url, headers={"Range": several}).content == whole


def test_a_range_depends_on_the_file_being_the_same(site: SiteServer, folder: Path) -> None:
    url = _url(site)
    head = httpx.head(url).headers
    for condition in (head["ETag"], head["Last-Modified"]):
        answer = httpx.get(url, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert answer.status_code == 206
    for condition in ('"another"', "Wed, 01 Jan 2014 00:00:00 GMT", "no day"):
        answer = httpx.get(url, headers={"Range": "bytes=0-9", "If-Range": condition})
        assert answer.status_code == 200
        assert answer.content == _bytes(folder, url)


def test_an_archived_program_year_is_a_zip_file(site: SiteServer, folder: Path) -> None:
    url = f"{site.url}/openpayments/PGYR16_P011824.ZIP"
    answer = httpx.get(url)
    with zipfile.ZipFile(BytesIO(answer.content)) as archive:
        names = archive.namelist()
        for name in names:
            if name.endswith(".csv"):
                assert archive.read(name) == (folder / name).read_bytes()
    detail = [name for name in names if parse_name(name)]
    assert sorted(detail) == [
        f"OP_DTL_{x}_PGYR2016_P01182024.csv" for x in ("GNRL", "OWNRSHP", "RSRCH")
    ]
    assert [x for x in names if parse_beside_name(x)] == [
        "OP_REMOVED_DELETED_PGYR2016_P01182024.csv"
    ]
    assert "OP_PGYR2016_README_P01182024.txt" in names
    with SiteServer(folder) as other:
        again = httpx.get(f"{other.url}/openpayments/PGYR16_P011824.ZIP")
    assert again.content == answer.content


def test_a_release_can_be_published_while_the_site_runs(folder: Path) -> None:
    with SiteServer(folder, as_of=date(2024, 1, 18)) as site:
        old = _url(site)
        assert old.endswith("_P01182024.csv")
        assert httpx.put(f"{site.url}/admin/as-of/2024-06-28").json() == {"as_of": "2024-06-28"}
        assert _url(site).endswith("_P06282024.csv")
        assert httpx.get(old).status_code == 404, "CMS replaces what it published"
        assert httpx.post(f"{site.url}/admin/as-of/newest").json() == {"as_of": "newest"}
        for wrong in ("as-of/tomorrow", "fault/fire", "unknown"):
            assert httpx.put(f"{site.url}/admin/{wrong}").status_code == 400


def test_the_site_remembers_what_was_asked(site: SiteServer) -> None:
    url = _url(site)
    site.requests.clear()
    httpx.get(url, headers={"Range": "bytes=0-9"})
    httpx.head(url)
    assert [(x.method, x.range) for x in site.requests] == [("GET", "bytes=0-9"), ("HEAD", None)]
    assert site.requests[0].path == url.removeprefix(site.url)


# --- the server: faults -----------------------------------------------------------------------------


def test_too_many_requests_and_broken_servers(folder: Path) -> None:
    with SiteServer(folder, faults=["429", "500:2", "503@/api/"]) as site:
        assert httpx.get(f"{site.url}{ITEMS}").status_code == 503
        url = _url(site)
        answers = [httpx.get(url) for _ in range(4)]
        assert [x.status_code for x in answers] == [429, 500, 500, 200]
        assert answers[0].headers["Retry-After"] == "1"
        assert "Retry-After" not in answers[1].headers


def test_a_connection_that_ends_too_early(site: SiteServer) -> None:
    url = _url(site)
    for spec, error in (
        ("truncated", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("stall", httpx.ReadTimeout),
    ):
        httpx.put(f"{site.url}/admin/fault/{spec}@GNRL")
        with pytest.raises(error):
            httpx.get(url, timeout=TIMEOUT)
        assert httpx.get(url).status_code == 200


def test_a_stalled_connection_does_not_keep_the_site_from_stopping(folder: Path) -> None:
    with SiteServer(folder) as site, pytest.raises(httpx.ReadTimeout):
        httpx.get(_url(site), headers={"X-Fault": "stall"}, timeout=TIMEOUT)


def test_half_a_file_that_looks_whole(site: SiteServer, folder: Path) -> None:
    url = _url(site)
    answer = httpx.get(url, headers={"X-Fault": "short"})
    whole = _bytes(folder, url)
    assert answer.status_code == 200
    assert answer.content == whole[: len(whole) // 2]


def test_a_site_without_ranges(site: SiteServer, folder: Path) -> None:
    url = _url(site)
    answer = httpx.get(url, headers={"X-Fault": "no-range", "Range": "bytes=0-9"})
    assert answer.status_code == 200
    assert "Accept-Ranges" not in answer.headers
    assert answer.content == _bytes(folder, url)


def test_a_file_that_changes_between_two_ranges(site: SiteServer) -> None:
    url = _url(site)
    first = httpx.get(url, headers={"Range": "bytes=0-9"})
    site.faults.add(Fault(FaultKind.CHANGED))
    asked = {"Range": "bytes=10-19", "If-Range": first.headers["ETag"]}
    second = httpx.get(url, headers=asked)
    assert second.status_code == 200, "all of the other file"
    assert second.headers["ETag"] != first.headers["ETag"]
    assert second.headers["Last-Modified"] != first.headers["Last-Modified"]
    assert httpx.head(url).headers["ETag"] == second.headers["ETag"], "it stays changed"
    httpx.put(f"{site.url}/admin/no-faults")
    assert httpx.head(url).headers["ETag"] == first.headers["ETag"]


def test_a_fault_may_last(site: SiteServer) -> None:
    url = _url(site)
    site.faults.add(Fault.parse("503:*@GNRL"))
    assert {httpx.get(url).status_code for _ in range(4)} == {503}
    assert httpx.get(_url(site, "2022 Research Payment Data")).status_code == 200


@pytest.mark.parametrize("spec", ["fire", "reset:", "reset:x", ""])
def test_an_unknown_fault_names_the_known_ones(spec: str) -> None:
    with pytest.raises(ValueError, match="Kinds: stall, reset, 429, 500, 503, truncated"):
        Fault.parse(spec)


def test_the_port_is_free_once_the_site_stopped(folder: Path) -> None:
    with SiteServer(folder) as site:
        port = int(site.url.rsplit(":", 1)[-1])
    with socket.socket() as probe:
        probe.settimeout(1)
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_site_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="openpay simulate"):
        SiteServer(tmp_path / "missing")
