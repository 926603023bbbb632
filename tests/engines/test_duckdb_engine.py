"""The DuckDB engine: strict parsing told in terms of the file, record numbers, memory, Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cms_files import Era, clean_row, csv_line, era, write_file

from openpay_assets.cms.csv import StrictParseError
from openpay_assets.contracts.registry import curated_table
from openpay_assets.engines.duckdb import DuckDBEngine

AT = era("O4")
HEADER = AT.layout.header
RECORD_ID = AT.layout.source_of["record_id"]
AMOUNT = AT.layout.source_of["amount"]
INTEREST = AT.layout.source_of["value_of_interest"]


@pytest.fixture
def duckdb_engine(tmp_path: Path) -> Iterator[DuckDBEngine]:
    engine = DuckDBEngine(memory_limit="500MB", threads=2, scratch=tmp_path / "scratch")
    yield engine
    engine.close()


def read(engine: DuckDBEngine, path: Path, *columns: str) -> list[dict[str, Any]]:
    """Return the records of a file, sorted by their number."""
    with engine.read_raw(path, HEADER, RECORD_ID, [AMOUNT, INTEREST]) as raw:
        rows = engine.to_rows(raw.table.select(*columns, "source_row", "record_id_copies"))
    return sorted(rows, key=lambda row: row["source_row"])


def lines_of(at: Era, count: int) -> list[str]:
    return [csv_line(at, clean_row(at, n)) for n in range(1, count + 1)]


def write_bytes(folder: Path, content: bytes) -> Path:
    path = folder / AT.file_name
    path.write_bytes(",".join(HEADER).encode() + b"\n" + content)
    return path


def refused(engine: DuckDBEngine, path: Path) -> str:
    """Return the message with which a file is refused."""
    with pytest.raises(StrictParseError) as refusal:
        read(engine, path, *HEADER)
    return str(refusal.value)


def test_a_truncated_last_line_is_refused_with_its_line_column_and_value(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    *whole, last = lines_of(AT, 3)
    cut = last[: last.index(',"Azagury"') + len(',"Azagury"')]
    path = write_bytes(tmp_path, "\n".join([*whole, cut]).encode())

    message = refused(duckdb_engine, path)

    column = AT.layout.source_of["physician_last_name"]
    at = HEADER.index(column) + 1
    assert f"{path.name}, line 4, column {at} ({column})" in message
    assert f"{at} fields where the header has {len(HEADER)}" in message
    assert "Value: 'Azagury'" in message


def test_a_file_cut_inside_quotes_is_refused_with_the_quote_that_does_not_close(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    *whole, last = lines_of(AT, 3)
    cut = last[: last.index("Azagury") + 4]
    path = write_bytes(tmp_path, "\n".join([*whole, cut]).encode())

    message = refused(duckdb_engine, path)

    column = AT.layout.source_of["physician_last_name"]
    at = HEADER.index(column) + 1
    assert f"{path.name}, line 4, column {at} ({column})" in message
    assert "a quote opens and does not close" in message
    assert "Azag" in message


def test_an_unbalanced_quote_is_refused_with_its_line_and_value(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    lines = lines_of(AT, 3)
    lines[1] = lines[1].replace('"Azagury"', '"Aza"gury"')
    path = write_bytes(tmp_path, ("\n".join(lines) + "\n").encode())

    message = refused(duckdb_engine, path)

    column = AT.layout.source_of["physician_last_name"]
    assert f"{path.name}, line 3, column {HEADER.index(column) + 1} ({column})" in message
    assert "Aza" in message


def test_a_record_with_too_many_fields_is_refused_with_their_number(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    lines = lines_of(AT, 3)
    lines[0] += ",surplus"
    path = write_bytes(tmp_path, ("\n".join(lines) + "\n").encode())

    message = refused(duckdb_engine, path)

    assert f"{path.name}, line 2" in message
    assert f"{len(HEADER) + 1} fields where the header has {len(HEADER)}" in message
    assert "'surplus'" in message


def test_bytes_that_are_not_utf_8_are_refused_with_the_byte_and_its_column(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    lines = lines_of(AT, 3)
    lines[2] = lines[2].replace("Azagury", "Azágury")
    path = write_bytes(tmp_path, ("\n".join(lines) + "\n").encode("latin-1"))

    message = refused(duckdb_engine, path)

    column = AT.layout.source_of["physician_last_name"]
    assert f"{path.name}, line 4, column {HEADER.index(column) + 1} ({column})" in message
    assert "byte 0xe1 is not UTF-8" in message


def test_records_are_numbered_in_file_order_whatever_line_they_stand_on(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    rows = [
        clean_row(AT, n, {"terms_of_interest": "One\nTwo\r\nThree" if n % 3 else 'a "quote"'})
        for n in range(1, 5001)
    ]
    path = write_file(tmp_path, AT, rows)

    found = read(duckdb_engine, path, RECORD_ID)

    assert [row["source_row"] for row in found] == list(range(1, 5001))
    assert [row[RECORD_ID] for row in found] == [row["record_id"] for row in rows]
    assert {row["record_id_copies"] for row in found} == {1}


def test_records_whose_id_repeats_or_is_missing_keep_their_number_and_their_own_values(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    ids = ["7", "8", None, "7", None, "9", "7"]
    rows = [
        clean_row(AT, n, {"record_id": x, "terms_of_interest": f"row\n{n}"})
        for n, x in enumerate(ids, 1)
    ]
    path = write_file(tmp_path, AT, rows)
    terms = AT.layout.source_of["terms_of_interest"]

    found = read(duckdb_engine, path, RECORD_ID, terms)

    assert [(row["source_row"], row[RECORD_ID], row[terms]) for row in found] == [
        (n, x, f"row\n{n}") for n, x in enumerate(ids, 1)
    ]
    assert [row["record_id_copies"] for row in found if row[RECORD_ID]] == [3, 1, 3, 1, 3]


def test_the_scan_counts_records_and_exact_cents_and_nothing_else(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    amounts = ["0.10", "0.20", "1E+5", "-1", "12.345", ".50", None, "9999999999999999.99", "7"]
    path = write_file(
        tmp_path, AT, [clean_row(AT, n, {"amount": x}) for n, x in enumerate(amounts)]
    )

    with duckdb_engine.read_raw(path, HEADER, RECORD_ID, [AMOUNT, INTEREST]) as raw:
        assert raw.rows == len(amounts)
        assert raw.cents == {AMOUNT: 30 + 700 + 999_999_999_999_999_999, INTEREST: 9 * 33_000}


def test_memory_threads_and_spilling_are_bounded_as_configured(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    setting = "SELECT current_setting(?)"
    names = ("memory_limit", "threads", "temp_directory")

    memory, threads, spill = (
        duckdb_engine.backend.con.execute(setting, [name]).fetchone()[0] for name in names
    )

    assert memory == "476.8 MiB"
    assert threads == 2
    assert Path(spill).is_relative_to(tmp_path / "scratch")


@pytest.mark.slow
def test_a_sort_larger_than_the_memory_limit_spills_and_finishes(
    duckdb_engine: DuckDBEngine, tmp_path: Path
) -> None:
    text = "repeat(hash(range)::VARCHAR, 10)"
    rows = duckdb_engine.backend.sql(
        f"SELECT 'general' AS dataset, 2023 AS program_year, range::VARCHAR AS company_id, "
        f"{text} AS company_name, {text} AS company_state, {text} AS company_country, "
        "['ACME'] AS company_names, "
        f"1 AS records, 1 AS amount, NULL::DATE AS last_seen_on, NULL::DATE AS release "
        f"FROM range(1_000_000)"
    )
    table = curated_table("companies")

    files = duckdb_engine.write(rows.order_by("company_name"), tmp_path / "out", table)

    assert pq.read_metadata(files[0]).num_rows == 1_000_000


def test_closing_removes_what_the_engine_left(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    engine = DuckDBEngine(memory_limit="300MB", threads=1, scratch=scratch)
    path = write_file(tmp_path, AT, [clean_row(AT)])
    read(engine, path)

    engine.close()

    assert not scratch.exists()
