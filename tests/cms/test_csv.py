"""The strict CSV parser: what is well-formed is read as it is, all else is named to the value."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openpay_assets.cms.csv import (
    StrictParseError,
    parse_error,
    read_csv_sql,
    read_header,
)
from openpay_assets.contracts.sql import sql_name, sql_text

COLUMNS = ["A", "B", "C", "D"]
HEADER = b"A,B,C,D\n"
ROW = b'"1","x",2.00,"z"\n'
BROKEN_LINES = b'"1","x\ny ""q""\nw",2.00,"z"\n'
"""A record on three lines: CMS files have those."""


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 2}) as connection:
        yield connection


Rows = list[tuple[str | None, ...]]


def read(connection: duckdb.DuckDBPyConnection, path: Path, content: bytes) -> Rows:
    path.write_bytes(content)
    query = f"SELECT * FROM {read_csv_sql(path, COLUMNS)}"
    try:
        return connection.execute(query).fetchall()
    except duckdb.InvalidInputException as error:
        raise parse_error(error, path, COLUMNS) from error


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(HEADER + ROW * 2, id="unix"),
        pytest.param((HEADER + ROW * 2).replace(b"\n", b"\r\n"), id="windows"),
        pytest.param(HEADER + ROW + ROW[:-1], id="no-last-line-break"),
        pytest.param(b"\xef\xbb\xbf" + HEADER + ROW * 2, id="byte-order-mark"),
        pytest.param(b'"A","B","C","D"\n' + b"1,x,2.00,z\n" * 2, id="other-quoting"),
    ],
)
def test_what_is_well_formed_is_read_as_text(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "file.csv"
    assert read(connection, path, content) == [("1", "x", "2.00", "z")] * 2
    assert read_header(path) == COLUMNS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b'"two\nlines"', "two\nlines"),
        (b'"two\r\nlines"', "two\r\nlines"),
        (b'"a ""quoted"" word"', 'a "quoted" word'),
        (b'"a,b"', "a,b"),
        (b"", None),
        (b'"#N/A"', "#N/A"),
        (b"NULL", "NULL"),
        (b'"  padded  "', "  padded  "),
        (b"0012", "0012"),
        (b"1E+11", "1E+11"),
        ("\u00e9\u65e5".encode(), "\u00e9\u65e5"),
        (b"'apostrophe", "'apostrophe"),
    ],
)
def test_a_value_is_read_as_it_stands(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, field: bytes, value: str | None
) -> None:
    rows = read(connection, tmp_path / "file.csv", HEADER + b"1," + field + b",2.00,z\n" + ROW)
    assert rows[0] == ("1", value, "2.00", "z")
    assert len(rows) == 2


fields = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[fields] * 4), min_size=1, max_size=8))
def test_any_rows_that_python_writes_are_read_back(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, rows: list[tuple[str, ...]]
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    found = read(connection, tmp_path / "file.csv", text.getvalue().encode())
    assert sorted(tuple(x or "" for x in row) for row in found) == sorted(rows)


MALFORMED = [
    pytest.param(
        b'"1","x"\n', "column 2 (B): 2 fields where the header has 4. Value: 'x'", id="fewer-fields"
    ),
    pytest.param(
        b'"1","x",2.00,"z","extra"\n',
        "column 4 (D): 5 fields where the header has 4. Value: 'extra'",
        id="more-fields",
    ),
    pytest.param(
        b'"1","x,2.00,"z"\n',
        'column 2 (B): a quote opens and does not close. Value: \'"x,2.00,"z"\'',
        id="unbalanced-quote",
    ),
    pytest.param(
        b'"1","x"y,2.00,"z"\n',
        'column 2 (B): a quote opens and does not close. Value: \'"x"y,2.00,"z"\'',
        id="text-after-a-quote",
    ),
    pytest.param(
        b'"1","caf\xe9",2.00,"z"\n', "column 2 (B): byte 0xe9 is not UTF-8. Value: ", id="not-utf8"
    ),
    pytest.param(
        b'\xe9,"x",2.00,"z"\n', "column 1 (A): byte 0xe9 is not UTF-8. Value: ", id="first-byte"
    ),
    pytest.param(
        b'"1","x\ny",2.00\n',
        "column 3 (C): 3 fields where the header has 4. Value: '2.00'",
        id="fewer-fields-on-two-lines",
    ),
]


@pytest.mark.parametrize(("bad", "said"), MALFORMED)
@pytest.mark.parametrize(
    ("before", "line"),
    [
        pytest.param(b"", 2, id="first"),
        pytest.param(ROW * 3, 5, id="after-three"),
        pytest.param(BROKEN_LINES * 5 + ROW * 3, 20, id="after-line-breaks"),
        pytest.param(ROW + b"\n\n" + ROW, 6, id="after-blank-lines"),
        pytest.param(ROW * 5000, 5002, id="far-down"),
    ],
)
def test_a_malformed_record_is_named_by_file_line_column_and_value(
    connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    before: bytes,
    line: int,
    bad: bytes,
    said: str,
) -> None:
    with pytest.raises(StrictParseError) as refused:
        read(connection, tmp_path / "OP.csv", HEADER + before + bad + ROW * 3)
    assert f"OP.csv, line {line}, {said}" in str(refused.value)
    assert "Nothing of this file was loaded" in str(refused.value)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (b'"1","x"', "line 3, column 2 (B): 2 fields"),
        (b'"1","x",2.00,"las', "line 3, column 4 (D): a quote opens and does not close"),
        (b'"1","x",', "line 3, column 3 (C): 3 fields"),
        (b'"1', "line 3, column 1 (A): a quote opens and does not close"),
    ],
)
def test_a_file_that_breaks_off_is_never_read_as_whole(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, last: bytes, said: str
) -> None:
    with pytest.raises(StrictParseError) as refused:
        read(connection, tmp_path / "OP.csv", HEADER + ROW + last)
    assert f"OP.csv, {said}" in str(refused.value)


def test_an_error_without_a_line_still_names_the_file(tmp_path: Path) -> None:
    error = parse_error(RuntimeError("out of memory\nmore"), tmp_path / "OP.csv", COLUMNS)
    assert str(error) == "OP.csv cannot be read as CSV: out of memory"


def test_a_file_without_records_has_none(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert read(connection, tmp_path / "file.csv", HEADER) == []


def test_an_empty_file_has_no_header(tmp_path: Path) -> None:
    path = tmp_path / "OP.csv"
    path.touch()
    with pytest.raises(StrictParseError, match="OP.csv is empty: no header"):
        read_header(path)


@pytest.mark.parametrize("header", [b"A,B,\xff\n", b'A,"B,C\n', b'"A"B,C\n'])
def test_a_header_that_cannot_be_read_is_named(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "OP.csv"
    path.write_bytes(header + ROW)
    with pytest.raises(StrictParseError, match="OP.csv, line 1: the header cannot be read"):
        read_header(path)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20))
def test_any_text_can_be_a_literal_or_a_name_in_sql(text: str) -> None:
    query = f"SELECT {sql_text(text)} AS {sql_name(text)}"
    cursor = duckdb.execute(query)
    assert cursor.fetchall() == [(text,)]
    assert cursor.description[0][0] == text


def test_a_path_with_a_quote_can_be_read(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    assert len(read(connection, tmp_path / "it's.csv", HEADER + ROW)) == 1
