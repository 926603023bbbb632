"""The one strict CSV parser: DuckDB's, with nothing lenient switched on.

Every column by name and as text, strict quoting, line breaks inside quotes accepted, no row
ignored or padded. What does not parse stops the run with the file, the line and the value.
Embedded line breaks are real in CMS files, so a record number is not a line number.
https://duckdb.org/docs/stable/data/csv/overview
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from openpay_assets.contracts.sql import sql_text

MAX_LINE_BYTES = 16 * 1024 * 1024
_LINE = re.compile(r"CSV Error on Line: (\d+)")
_OPEN = re.compile(rb'(?:(?:"(?:[^"]|"")*"|[^",][^,]*)?,)*"(?:[^"]|"")*')
"""A record that goes on in the next line: its last quoted field is well-formed and not closed."""


class StrictParseError(ValueError):
    """A file that is not well-formed CSV; the message names file, line, column and value."""


def read_header(path: Path) -> list[str]:
    """Return the column names of a file: its first record, a byte order mark dropped.

    Raises ``StrictParseError`` when the file is empty or its header is not UTF-8.
    """
    with path.open("rb") as file:
        first_line = file.readline(MAX_LINE_BYTES)
    try:
        names = next(csv.reader([first_line.decode("utf-8-sig")], strict=True), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise StrictParseError(
            f"{path.name}, line 1: the header cannot be read: {error}"
        ) from error
    if not names:
        raise StrictParseError(f"{path.name} is empty: no header.")
    return names


def read_csv_sql(path: Path, columns: Sequence[str]) -> str:
    """Return the table function call that reads a file as text, columns by name."""
    typed = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in columns)
    return (
        f"read_csv({sql_text(str(path))}, columns={{{typed}}}, header=true, auto_detect=false, "
        f"delim=',', quote='\"', escape='\"', strict_mode=true, max_line_size={MAX_LINE_BYTES}, "
        # DuckDB would take sixteen lines' worth of memory, a quarter of a gibibyte.
        f"buffer_size={2 * MAX_LINE_BYTES}, hive_partitioning=false)"
    )


def parse_error(error: Exception, path: Path, columns: Sequence[str]) -> StrictParseError:
    """Explain a DuckDB CSV error in terms of the file: line, column, value, what to do."""
    text = str(error)
    line_number = _LINE.search(text)
    if line_number is None:
        return StrictParseError(f"{path.name} cannot be read as CSV: {text.splitlines()[0]}")
    line, raw = _record(path, int(line_number.group(1)))
    column, value, problem = _diagnose(text, raw, columns)
    return StrictParseError(
        f"{path.name}, line {line}, column {column}: {problem}. Value: {value}\n"
        f"Nothing of this file was loaded. If CMS published it like this, report it; if it was "
        f"copied or edited on the way, fetch it again."
    )


def _record(path: Path, number: int) -> tuple[int, bytes]:
    """Return the line on which a record starts, and its bytes; the header is record 1.

    DuckDB says line and means record, which is not the same after a quoted line break.
    """
    start, line, record = 1, 0, b""
    with path.open("rb") as file:
        for _ in range(number):
            start, record = line + 1, b""
            while part := file.readline(MAX_LINE_BYTES):
                line += 1
                record += part
                if record.count(b'"') % 2 == 0 or not _OPEN.fullmatch(record):
                    break
    return start, record.rstrip(b"\r\n")


def _diagnose(text: str, raw: bytes, columns: Sequence[str]) -> tuple[str, str, str]:
    """Name the column, the value and the problem of a record that DuckDB refused."""
    if "nvalid unicode" in text:
        try:
            raw.decode("utf-8")
            at = 0
        except UnicodeDecodeError as bad:
            at = bad.start
        field = max(len(_fields(raw[:at].decode("utf-8", "replace"))) - 1, 0)
        shown = _fields(raw.decode("utf-8", "backslashreplace"))
        value = shown[field] if field < len(shown) else ""
        problem = f"byte 0x{raw[at]:02x} is not UTF-8" if raw else "a byte is not UTF-8"
        return _name(columns, field), repr(value), problem
    fields = _fields(raw.decode("utf-8", "backslashreplace"))
    last = max(len(fields) - 1, 0)
    value = repr(fields[last][:200]) if fields else "''"
    if "unterminated quote" in text:
        opened = _unterminated(raw.decode("utf-8", "backslashreplace"))
        return _name(columns, opened[0]), repr(opened[1][:200]), "a quote opens and does not close"
    problem = f"{len(fields)} fields where the header has {len(columns)}"
    return _name(columns, min(last, len(columns) - 1)), value, problem


def _fields(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _unterminated(line: str) -> tuple[int, str]:
    """Find the field whose opening quote has no proper end: its index and its text."""
    index, at = 0, 0
    while at < len(line):
        if line[at] != '"':
            end = line.find(",", at)
            if end < 0:
                return index, line[at:]
            index, at = index + 1, end + 1
            continue
        closed = re.compile(r'"(?:[^"]|"")*"(?=,|$)').match(line, at)
        if closed is None:
            return index, line[at:]
        index, at = index + 1, closed.end() + 1
    return index, ""


def _name(columns: Sequence[str], index: int) -> str:
    return f"{index + 1} ({columns[index]})" if index < len(columns) else str(index + 1)
