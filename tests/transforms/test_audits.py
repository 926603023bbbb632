"""Audits whose answer is a list: which records are in another program year."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ibis
import pytest

from openpay_assets.transforms import audits


@pytest.fixture(scope="module")
def backend() -> Iterator[Any]:
    connected = ibis.duckdb.connect()
    yield connected
    connected.disconnect()


def rows(table: Any) -> list[dict[str, Any]]:
    return list(table.to_pyarrow().to_pylist())


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
