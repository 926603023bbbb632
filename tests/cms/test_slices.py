"""One company's rows through the datastore: whole, of that company, in the CMS layout."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty_site import FaultySite

from openpay_assets.cms.http import Http
from openpay_assets.cms.slices import COMPANY, PAGE, SliceError, write_slice

ID = "100000000204"
LONG = "Name_of_Third_Party_Entity_Receiving_Payment_or_Transfer_of_Value"
HEADER = ["Change_Type", COMPANY, LONG, "Record_ID"]
NAMES = [x.lower()[:60] for x in HEADER]
Ask = dict[str, list[str]]


class Datastore:
    """A datastore of one dataset, which answers as DKAN does."""

    def __init__(self, rows: list[list[str | None]]) -> None:
        self.rows = rows
        self.asked: list[Ask] = []
        self.spoil: Callable[[Ask, dict[str, Any]], None] = lambda *_: None

    def __call__(self, ask: Ask) -> dict[str, Any]:
        self.asked.append(ask)
        assert int(ask["limit"][0]) in range(1, PAGE + 1)
        rows = self.rows
        if "conditions[0][property]" in ask:
            assert ask["conditions[0][operator]"] == ["="]
            at = NAMES.index(ask["conditions[0][property]"][0])
            rows = [x for x in rows if x[at] == ask["conditions[0][value]"][0]]
        if "sorts[0][property]" in ask:
            at = NAMES.index(ask["sorts[0][property]"][0])
            rows = sorted(rows, key=lambda x: str(x[at]))
        first = int(ask.get("offset", ["0"])[0])
        page = rows[first : first + int(ask["limit"][0])]
        fields = {
            name: {"type": "text", "description": header}
            for name, header in reversed(list(zip(NAMES, HEADER, strict=True)))
        }
        answer: dict[str, Any] = {
            "count": len(rows),
            "schema": {"dist": {"fields": {"record_number": {"type": "serial"}, **fields}}},
            "query": {"properties": ["record_number", *NAMES]},
        }
        if ask.get("results") != ["false"]:
            answer["results"] = [dict(zip(NAMES, x, strict=True)) for x in page]
        self.spoil(ask, answer)
        return answer


@pytest.fixture
def datastore(site: FaultySite) -> Datastore:
    rows: list[list[str | None]] = [["NEW", ID, 'a "b", c', f"{n:06}"] for n in range(1201)]
    rows[7][2] = None
    rows += [["NEW", "100000000999", "x", f"{n:06}"] for n in range(2000, 2005)]
    store = Datastore(rows[::-1])
    site.answer("/api/1/datastore/query/uuid/0", store)
    return store


def test_every_row_of_the_company_is_written_with_the_cms_header(
    site: FaultySite, http: Http, datastore: Datastore, tmp_path: Path
) -> None:
    target = tmp_path / "slice.csv"
    assert write_slice(http, site.url, "uuid", ID, target) == 1201
    with target.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == HEADER
    assert rows[0] == ["NEW", ID, 'a "b", c', "000000"]
    assert rows[7][2] == ""
    assert [x[3] for x in rows] == [f"{n:06}" for n in range(1201)]
    pages = [x for x in datastore.asked if "sorts[0][property]" in x]
    assert [x.get("offset", ["0"]) for x in pages] == [["0"], ["500"], ["1000"]]
    assert list(tmp_path.iterdir()) == [target]


def test_a_company_without_rows_is_an_empty_slice(
    site: FaultySite, http: Http, datastore: Datastore, tmp_path: Path
) -> None:
    assert write_slice(http, site.url, "uuid", "5", tmp_path / "slice.csv") == 0
    assert (tmp_path / "slice.csv").read_text().splitlines() == [",".join(HEADER)]


def test_a_datastore_that_is_empty_is_a_fault(
    site: FaultySite, http: Http, datastore: Datastore, tmp_path: Path
) -> None:
    datastore.rows = []
    with pytest.raises(SliceError, match="counts no rows at all"):
        write_slice(http, site.url, "uuid", ID, tmp_path / "slice.csv")


def _loses_rows(_: Ask, answer: dict[str, Any]) -> None:
    answer["results"] = answer.get("results", [])[:-1]


def _repeats_rows(_: Ask, answer: dict[str, Any]) -> None:
    answer["results"] = [answer["results"][0]] * 2 if answer.get("results") else []


def _ignores_conditions(_: Ask, answer: dict[str, Any]) -> None:
    for row in answer.get("results", []):
        row[NAMES[1]] = "100000000999"


def _lacks_a_column(_: Ask, answer: dict[str, Any]) -> None:
    for row in answer.get("results", []):
        del row[NAMES[2]]


def _is_no_datastore(_: Ask, answer: dict[str, Any]) -> None:
    answer.clear()
    answer["message"] = "validation failed"


def _has_no_results(_: Ask, answer: dict[str, Any]) -> None:
    answer.pop("results", None)


def _has_no_count(_: Ask, answer: dict[str, Any]) -> None:
    del answer["count"]


def _has_no_company(_: Ask, answer: dict[str, Any]) -> None:
    answer["schema"]["dist"]["fields"][NAMES[1]]["description"] = "Other"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_loses_rows, "1,198 rows of company .* where 1,201 were counted before and 1,201 after"),
        (_repeats_rows, "000000 came twice"),
        (_ignores_conditions, "the site ignores conditions"),
        (_lacks_a_column, f"without {NAMES[2]}"),
        (_is_no_datastore, "no answer of a datastore"),
        (_has_no_results, "no list of results"),
        (_has_no_count, "has no count"),
        (_has_no_company, f"no column {COMPANY}. It has: Change_Type, Other"),
    ],
)
def test_a_slice_that_is_not_whole_is_not_kept(
    site: FaultySite,
    http: Http,
    datastore: Datastore,
    tmp_path: Path,
    spoil: Callable[[Ask, dict[str, Any]], None],
    said: str,
) -> None:
    datastore.spoil = spoil
    with pytest.raises(SliceError, match=said):
        write_slice(http, site.url, "uuid", ID, tmp_path / "slice.csv")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_company_id_is_refused(http: Http, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'\.\./x' is no company id"):
        write_slice(http, "http://127.0.0.1:9", "uuid", "../x", tmp_path / "slice.csv")
