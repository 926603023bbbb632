"""Layouts of what CMS publishes beside the payments."""

from __future__ import annotations

import pytest

from openpay_assets.contracts.published import (
    REMOVED_LISTS,
    SUMMARIES,
    dashboard_metrics,
    match_published,
    nature_codes,
    nature_labels,
    published_layouts,
)
from openpay_assets.contracts.registry import REFERENCE_TABLES, UnknownLayoutError, allowed_values

KINDS = (*REFERENCE_TABLES, *SUMMARIES, REMOVED_LISTS)
LAYOUTS = [x for kind in KINDS for x in published_layouts(kind)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda x: x.name)
def test_a_layout_is_recognised_by_its_header(layout: object) -> None:
    header = layout.with_years(["PY_2019", "PY_2020"]).header  # type: ignore[attr-defined]
    found = match_published(layout.kind, header, "a.csv")  # type: ignore[attr-defined]
    assert (found.name, found.header) == (layout.name, header)  # type: ignore[attr-defined]
    assert len(set(found.source_of)) == len(header)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_header_says_what_was_looked_for(kind: str) -> None:
    header = published_layouts(kind)[-1].with_years(["PY_2023"]).header
    with pytest.raises(UnknownLayoutError, match=f"Missing: {header[0]}. Unknown: Something"):
        match_published(kind, ["Something", *header[1:]], "a.csv")
    with pytest.raises(UnknownLayoutError, match="order of the known columns differs"):
        match_published(kind, header[::-1], "a.csv")


def test_a_kind_that_is_none_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        published_layouts("invoices")


def test_only_the_first_layout_of_the_supplement_is_inferred() -> None:
    assert [x.name for x in LAYOUTS if x.inferred] == ["S0"]


def test_every_nature_has_a_code() -> None:
    assert set(allowed_values("nature_of_payment")) == set(nature_codes())
    assert nature_labels()["6"] == "Food and Beverage"
    assert len(nature_labels()) == 19


def test_lines_of_the_dashboard_have_one_meaning_each() -> None:
    meanings = [(x.dataset, x.measure, x.recipient_type, x.disputed) for x in dashboard_metrics()]
    assert len(set(meanings)) == len(meanings)
