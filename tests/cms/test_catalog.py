"""The catalog: what CMS says it publishes, in both shapes, with what it gets wrong."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from faulty_site import FaultySite

from openpay_assets.cms.catalog import ITEMS, Catalog, parse_catalog, read_catalog
from openpay_assets.cms.http import Http, SiteError
from openpay_assets.cms.names import FileKind
from openpay_assets.contracts.model import Dataset

SITE = "https://openpaymentsdata.cms.gov"
FOLDER = "https://download.cms.gov/openpayments/PGYR2023_P01302025_01212025"
NAME = "OP_DTL_GNRL_PGYR2023_P01302025_01212025.csv"


def item(**changes: Any) -> dict[str, Any]:
    """An item as CMS writes it without reference ids."""
    return {
        "identifier": "fb3a65aa-c901-4a38-a813-b04b00dfa2a9",
        "title": "2023 General Payment Data",
        "theme": ["General Payments"],
        "keyword": ["2023"],
        "modified": "2025-01-30T05:00:00+00:00",
        "temporal": "2017-01-01/2017-12-31",
        "distribution": [{"title": "wrong", "downloadURL": f"{FOLDER}/{NAME}"}],
        **changes,
    }


def with_references(plain: dict[str, Any]) -> dict[str, Any]:
    """The same item as the site writes it when asked for reference ids."""
    wrapped = {
        key: [{"identifier": f"{key}-{n}", "data": x} for n, x in enumerate(plain[key])]
        for key in ("theme", "keyword", "distribution")
    }
    return {**plain, **wrapped}


def parse(*items: Any) -> Catalog:
    return parse_catalog(items, SITE)


def without_references(catalog: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(x) for x in value]
        return value["data"] if isinstance(value, dict) and "data" in value else value

    return [{key: plain(value) for key, value in x.items()} for x in catalog]


@pytest.mark.parametrize("unwrap", [False, True], ids=["with references", "without"])
def test_the_real_catalog_gives_every_payment_file_with_its_url_and_release(
    real_files: Path, unwrap: bool
) -> None:
    items = json.loads((real_files / "catalog/dataset_items_2024-01.json").read_text())
    catalog = parse_catalog(without_references(items) if unwrap else items, SITE)
    found = {(x.file.dataset, x.file.program_year): x for x in catalog.payments}
    assert set(found) == {(d, year) for d in Dataset for year in range(2016, 2023)}
    assert {x.file.release for x in catalog.payments} == {date(2024, 1, 18)}
    assert {x.modified for x in catalog.payments} == {date(2024, 1, 18)}
    general = found[Dataset.GENERAL, 2022]
    assert general.url == (
        "https://download.cms.gov/openpayments/PGYR22_P011824/OP_DTL_GNRL_PGYR2022_P01182024.csv"
    )
    assert general.dataset_id == "df01c2f8-dc1f-4e79-96cb-8208beaf143c"
    assert catalog.problems == ()
    kinds = {x.file.kind for x in catalog.beside}
    assert kinds == set(FileKind) - {FileKind.REMOVED}
    entity_nature = {
        x.file.program_year for x in catalog.beside if x.file.kind == FileKind.ENTITY_NATURE_SUMMARY
    }
    assert entity_nature == set(range(2016, 2023))
    assert len(catalog.payments) + len(catalog.beside) + len(catalog.unused) == len(items) == 74


@pytest.mark.parametrize("shape", [dict, with_references])
def test_both_shapes_say_the_same_whatever_title_and_temporal_of_the_file_say(shape: Any) -> None:
    [listed] = parse(shape(item())).payments
    assert (listed.file.dataset, listed.file.program_year) == (Dataset.GENERAL, 2023)
    assert listed.file.release == date(2025, 1, 30)
    assert listed.modified == date(2025, 1, 30)
    assert listed.url == f"{FOLDER}/{NAME}"


def test_a_new_program_year_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "/files/OP_DTL_RSRCH_PGYR2031_P06302032_06122032.csv"
    catalog = parse(
        item(
            title="2031 Research Payment Data",
            theme=["Research Payments"],
            modified="2032-06-30",
            distribution=[{"downloadURL": url}],
        )
    )
    [listed] = catalog.payments
    assert (listed.file.program_year, listed.file.release) == (2031, date(2032, 6, 30))
    assert listed.url == f"{SITE}{url}"
    assert catalog.problems == ()


@pytest.mark.parametrize(
    ("changes", "said", "is_used"),
    [
        ({"distribution": []}, "no download URL; left out", False),
        ({"distribution": [{"data": {}}]}, "no download URL; left out", False),
        ({"distribution": [{"downloadURL": f"ftp://x/{NAME}"}]}, "no web address", False),
        ({"title": "2022 General Payment Data"}, "its title says general 2022", False),
        ({"theme": ["Research Payments"]}, "its theme says research", False),
        (
            {"distribution": [{"downloadURL": f"{FOLDER}/OP_NEW_NAME_2023.csv"}]},
            "OP_NEW_NAME_2023.csv is no name of a payment file",
            False,
        ),
        ({"title": "General 2023"}, "taken by its file name", True),
        ({"modified": "soon"}, "'soon', which is no date", True),
        ({"theme": [], "title": ""}, "taken by its file name", True),
    ],
)
def test_an_item_that_is_not_what_it_should_be_is_reported(
    changes: dict[str, Any], said: str, is_used: bool
) -> None:
    catalog = parse(item(**changes))
    [problem] = catalog.problems
    assert said in str(problem)
    assert problem.identifier == item()["identifier"]
    assert bool(catalog.payments) is is_used


@pytest.mark.parametrize("broken", [None, "text", 1, []])
def test_what_is_no_item_is_reported(broken: Any) -> None:
    [problem] = parse(broken).problems
    assert "an item without a title" in str(problem)


def test_a_file_that_is_listed_twice_is_used_once_and_reported() -> None:
    catalog = parse(item(), item())
    assert len(catalog.payments) == 1
    assert "more than once" in str(catalog.problems[0])


def test_files_without_use_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{FOLDER}/all-entities-profile-search.csv"
    catalog = parse(
        item(title="Profile Information", theme=["Summary"], distribution=[{"downloadURL": url}])
    )
    assert catalog.unused == ("all-entities-profile-search.csv",)
    assert catalog.problems == ()


def test_a_catalog_is_asked_from_a_site(site: FaultySite, http: Http) -> None:
    site.answer(f"/{ITEMS}", [item()])
    assert len(read_catalog(http, f"{site.url}/").payments) == 1


@pytest.mark.parametrize(("answer", "said"), [([], "an empty list"), ({"message": 1}, "dict")])
def test_an_empty_or_wrong_catalog_is_a_fault(
    site: FaultySite, http: Http, answer: Any, said: str
) -> None:
    site.answer(f"/{ITEMS}", answer)
    with pytest.raises(SiteError, match=said):
        read_catalog(http, site.url)
