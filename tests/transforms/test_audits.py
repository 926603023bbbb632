"""Audits whose answer is a list: which records are for review, and which are in another year."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import ibis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openpay_assets.contracts.registry import allowed_values
from openpay_assets.transforms import audits
from openpay_assets.transforms.audits import ALL, UNKNOWN_NATURE, Tail

FOOD, ROYALTY = "Food and Beverage", "Royalty or License"


@pytest.fixture(scope="module")
def backend() -> Iterator[Any]:
    connected = ibis.duckdb.connect()
    yield connected
    connected.disconnect()


def staged(backend: Any, sql: str, *, natures: bool = True) -> Any:
    """Return a table as staging has it, from a query of id, amount and nature."""
    nature = f"nature AS {audits.NATURE}" if natures else "nature AS value_of_interest"
    return backend.sql(
        f"SELECT id::VARCHAR AS record_id, id::BIGINT AS source_row, "
        f"amount::DECIMAL(18, 2) AS amount, '100' AS {audits.COMPANY_ID}, {nature} FROM ({sql})"
    )


def review(table: Any, **how: Any) -> list[dict[str, Any]]:
    tails = audits.tails(rows(audits.tail_counts(table)))
    return rows(audits.review_list(table, tails, **how))


def rows(table: Any) -> list[dict[str, Any]]:
    return list(table.to_pyarrow().to_pylist())


def listed(found: Sequence[dict[str, Any]], group: str) -> list[int]:
    return [int(x["record_id"]) for x in found if x["group"] == group]


def test_natures_of_the_contract_are_what_the_tests_say() -> None:
    assert {FOOD, ROYALTY} <= set(allowed_values("nature_of_payment"))


def test_the_largest_of_each_ten_thousand_of_a_nature_are_listed(backend: Any) -> None:
    table = staged(
        backend,
        f"SELECT range AS id, (range * 7919 % 25000) / 100 AS amount, '{FOOD}' AS nature "
        f"FROM range(25000) UNION ALL "
        f"SELECT 30000 + range, 1000 + range, '{ROYALTY}' FROM range(300)",
    )
    found = review(table)
    by_amount = sorted(range(25000), key=lambda n: -(n * 7919 % 25000))
    assert listed(found, FOOD) == by_amount[:3]
    assert listed(found, ROYALTY) == [30299]
    assert {(x["listed"], x["reaching"]) for x in found} == {(4, 0)}
    assert [x["amount"] for x in found] == sorted((x["amount"] for x in found), reverse=True)


def test_every_record_from_ten_million_dollars_is_listed(backend: Any) -> None:
    table = staged(
        backend,
        f"SELECT range AS id, 9999990 + range * 5 AS amount, '{FOOD}' AS nature FROM range(10)",
    )
    found = review(table)
    assert listed(found, FOOD) == [9, 8, 7, 6, 5, 4, 3, 2]
    assert (found[0]["listed"], found[0]["reaching"]) == (8, 8)


def test_no_more_are_shown_than_asked_and_all_are_counted(backend: Any) -> None:
    table = staged(
        backend, f"SELECT range AS id, 20000000 AS amount, '{FOOD}' AS nature FROM range(70)"
    )
    found = review(table)
    assert len(found) == 50
    assert found[0]["listed"] == found[0]["reaching"] == 70
    assert [x["record_id"] for x in found] == sorted(str(n) for n in range(70))[:50]


def test_natures_nobody_knows_are_one_group(backend: Any) -> None:
    table = staged(
        backend,
        "SELECT range AS id, range AS amount, "
        "CASE WHEN range > 0 THEN 'Nature ' || range END AS nature FROM range(900)",
    )
    assert listed(review(table), UNKNOWN_NATURE) == [899]


def test_an_interest_is_as_large_as_the_larger_of_its_measures(backend: Any) -> None:
    table = staged(
        backend,
        "SELECT 1 AS id, 10000000 AS amount, NULL::DECIMAL(18, 2) AS nature UNION ALL "
        "SELECT 2, 0, 30000000 UNION ALL SELECT 3, 5, 6",
        natures=False,
    )
    found = review(table)
    assert listed(found, ALL) == [2, 1]
    assert found[0]["value_of_interest"] == Decimal("30000000.00")


def test_nothing_is_listed_of_an_empty_file(backend: Any) -> None:
    table = staged(backend, f"SELECT 1 AS id, 1 AS amount, '{FOOD}' AS nature WHERE false")
    assert audits.tails(rows(audits.tail_counts(table))) == {}


@given(
    st.lists(
        st.tuples(
            st.decimals(0, 10**10, places=2), st.sampled_from([FOOD, ROYALTY, "Something else"])
        ),
        min_size=1,
        max_size=40,
    )
)
def test_the_list_is_what_ranking_every_record_gives(drawn: list[tuple[Decimal, str]]) -> None:
    counts: dict[tuple[str, int], int] = {}
    for amount, group in drawn:
        step = sum(amount >= x for x in audits.LADDER)
        counts[group, step] = counts.get((group, step), 0) + 1
    found = audits.tails(
        {"group": group, "step": step, "rows": n * 9_999} for (group, step), n in counts.items()
    )
    for group in {group for _, group in drawn}:
        amounts = sorted((a for a, g in drawn for _ in range(9_999) if g == group), reverse=True)
        wanted = -(-len(amounts) // 10_000)
        assert found[group].rows == wanted
        assert amounts[wanted - 1] >= found[group].floor


def test_a_tail_reaches_its_floor_and_no_step_is_left_out() -> None:
    steps = [{"group": ALL, "step": n, "rows": 1} for n in range(len(audits.LADDER) + 1)]
    assert audits.tails(steps) == {ALL: Tail(1, audits.LADDER[-1])}
    assert audits.tails(steps[:1]) == {ALL: Tail(1, 0)}


def test_records_of_other_years_are_counted_and_the_first_of_each_year_named(backend: Any) -> None:
    here = backend.sql("SELECT range::VARCHAR AS record_id FROM range(1, 100)")
    there = backend.sql(
        "SELECT (range * 2)::VARCHAR AS record_id, 2021 + (range % 2)::INTEGER AS program_year "
        "FROM range(1, 1000)"
    )
    found = rows(audits.ids_elsewhere(here, there, shown=2))
    assert found == [
        {"program_year": 2021, "rows": 24, "record_id": "12"},
        {"program_year": 2021, "rows": 24, "record_id": "16"},
        {"program_year": 2022, "rows": 25, "record_id": "10"},
        {"program_year": 2022, "rows": 25, "record_id": "14"},
    ]
