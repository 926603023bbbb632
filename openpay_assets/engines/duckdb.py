"""The DuckDB engine: in this process, streaming, memory bounded, spilling to disk."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import ibis

from openpay_assets.cms.csv import parse_error, read_csv_sql
from openpay_assets.contracts.model import Column, Table
from openpay_assets.contracts.sql import scan_sql, sql_name, sql_text
from openpay_assets.engines.unfilled import written_columns

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend


_PARQUET = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, DICTIONARY_SIZE_LIMIT 10000"
"""Level 1 takes an eighth less time than the default, dictionaries of at most 10,000 values instead
of 24,000 another quarter; neither makes files larger."""
_TEXT_GROUP = 61_440
"""Rows. Groups wait for their turn when order is kept; of half the usual size they wait less."""


@dataclass(frozen=True)
class RawRows:
    """A CMS file as text, and what a scan of its own counted.

    ``cents`` adds up each money column; a value that is not an exact amount counts as zero.
    """

    table: ir.Table
    rows: int
    cents: dict[str, int]


@cache
def duckdb_compiler() -> Any:
    """Return Ibis's compiler for DuckDB, where DuckDB does the same faster said otherwise."""
    from ibis.backends.sql.compilers.duckdb import DuckDBCompiler
    from sqlglot import expressions as sge

    class FastCompiler(DuckDBCompiler):  # type: ignore[misc]
        """Ibis's compiler for DuckDB.

        ``concat`` takes NULL for empty, so it needs no coalesce per column. Selects stay nested:
        fused into one, an expression is repeated wherever it is used, for Ibis to compile and for
        DuckDB to compute.
        """

        __slots__ = ()
        SIMPLE_OPS: ClassVar[dict[Any, str]] = {}  # inherited; given again they would win

        def translate(self, op: Any, *, params: Any) -> Any:
            """Translate an operation, each of its selects as one of its own."""
            fused, ibis.options.sql.fuse_selects = ibis.options.sql.fuse_selects, False
            try:
                return super().translate(op, params=params)
            finally:
                ibis.options.sql.fuse_selects = fused

        def visit_StringJoin(self, op: Any, *, sep: Any, arg: Any) -> Any:  # noqa: N802
            """Join texts that are never NULL by ``concat``; others as Ibis does."""
            texts = [x.this if _is_filled(x) else x for x in arg]
            if not all(_is_filled(x) or isinstance(x, sge.Literal) for x in arg):
                return super().visit_StringJoin(op, sep=sep, arg=arg)
            pieces = [piece for text in texts for piece in (sep, text)][1:]
            return sge.Anonymous(this="concat", expressions=pieces)

    return FastCompiler()


def _is_filled(text: Any) -> bool:
    from sqlglot import expressions as sge

    empty = sge.convert("")
    return isinstance(text, sge.Coalesce) and text.expressions == [empty]


class DuckDBEngine:
    """Runs Ibis expressions on DuckDB and writes Parquet."""

    name = "duckdb"

    def __init__(self, *, memory_limit: str, threads: int, scratch: Path) -> None:
        self._config: dict[str, Any] = {
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(scratch / "spill"),
            "preserve_insertion_order": False,
        }
        self._scratch = scratch
        self._backend: Backend | None = None
        self._raw: _RawText | None = None

    @property
    def backend(self) -> Backend:
        """The Ibis backend, connected on first use."""
        if self._backend is None:
            self._scratch.mkdir(parents=True, exist_ok=True)
            self._backend = ibis.duckdb.connect(**self._config)
            self._backend.compiler = duckdb_compiler()
        return self._backend

    def close(self) -> None:
        """Disconnect and remove what spilled."""
        if self._backend is not None:
            self._backend.disconnect()
            self._backend = None
        shutil.rmtree(self._scratch, ignore_errors=True)

    @contextmanager
    def read_raw(
        self, path: Path, header: Sequence[str], record_id: str, money: Sequence[str]
    ) -> Iterator[RawRows]:
        """Read a CMS file as text with ``source_row`` and ``record_id_copies``.

        The file is parsed once, in its order, into text Parquet: position is number, which no
        parallel scan of a CSV could tell, and most columns come back as dictionaries, on which
        rules are asked once per value rather than per row. Records are counted and money is
        added up there, before any rule, which is what conservation is proven against.
        Raises ``StrictParseError`` on a file that is not well-formed.
        """
        connection = self.backend.con
        text = self.parse_text(path, header, header, in_order=True)[0]
        try:
            rows, cents = self._measure(text, money)
            self._raw = _RawText(text, sql_name(record_id))
            self._raw.has_repeated = bool(
                connection.execute(f"FROM {self._raw.repeated} LIMIT 1").fetchone()
            )
            connection.execute(f"CREATE OR REPLACE TEMP VIEW raw_rows AS {self._raw.rows()}")
            yield RawRows(self.backend.table("raw_rows", database=("temp", "main")), rows, cents)
        finally:
            self._raw = None
            connection.execute("DROP VIEW IF EXISTS raw_rows")
            text.unlink(missing_ok=True)

    def read_text(self, path: Path, header: Sequence[str], columns: Sequence[str]) -> RawRows:
        """Read columns of a CMS file as text, by name; empty fields are NULL.

        The file is parsed once, into scratch, so that what is not well-formed shows here.
        Raises ``StrictParseError`` on a file that is not well-formed.
        """
        text, rows = self.parse_text(path, header, columns)
        return RawRows(self.backend.read_parquet(text), rows, {})

    def parse_text(
        self, path: Path, header: Sequence[str], columns: Sequence[str], *, in_order: bool = False
    ) -> tuple[Path, int]:
        """Write columns of a CMS file as text Parquet into scratch; return it and its rows."""
        connection = self.backend.con
        target = self._scratch / f"text-{uuid.uuid4().hex}.parquet"
        names = ", ".join(sql_name(name) for name in columns)
        connection.execute(f"SET preserve_insertion_order = {in_order}")
        try:
            with explained(path, header):
                row = connection.execute(
                    f"COPY (SELECT {names} FROM {read_csv_sql(path, header)}) "
                    f"TO {sql_text(str(target))} ({_PARQUET}, ROW_GROUP_SIZE {_TEXT_GROUP})"
                ).fetchone()
        finally:
            connection.execute("SET preserve_insertion_order = false")
        return target, int(row[0]) if row else 0

    def _measure(self, text: Path, money: Sequence[str]) -> tuple[int, dict[str, int]]:
        sums = [
            f"coalesce(sum(CASE WHEN regexp_matches({sql_name(c)}, '^[0-9]{{1,16}}([.][0-9]{{1,2}})?\\z') "
            f"THEN TRY_CAST({sql_name(c)} AS DECIMAL(18, 2)) END), 0) * 100"
            for c in money
        ]
        row = self.backend.con.execute(
            f"SELECT {', '.join(['count(*)', *sums])} FROM {sql_text(str(text))}"
        ).fetchone()
        if row is None:
            raise RuntimeError("counting the records returned nothing")
        return int(row[0]), {c: int(v) for c, v in zip(money, row[1:], strict=True)}

    def read_parquet(self, files: Sequence[Path | str], table: Table) -> ir.Table:
        """Bind a table of the lake to its files; without files it is empty, with its columns."""
        return self.backend.sql(scan_sql(files, table.to_ibis()))

    def write(self, expression: ir.Table, folder: Path, table: Table) -> list[Path]:
        """Run an expression and stream it to one Parquet file in a folder; no file for no rows."""
        sql = str(self.backend.compile(expression))
        return self._copy(sql, folder, written_columns(expression, table))

    def write_split(
        self, expression: ir.Table, folder: Path, table: Table, by: str
    ) -> tuple[list[Path], list[Path]]:
        """Write the rows where a boolean column is false, and those where it is true.

        The expression is over the rows of ``read_raw``. DuckDB writes to one place at a time, and
        letting it split by partition costs three quarters of a bare conversion. Few rows are ever
        set aside, so the others are written first, and then what they leave over.
        """
        if self._raw is None:
            raise RuntimeError("write_split is for rows that read_raw is reading")
        # Compiled once: a hundred columns and forty rules take Ibis longer than DuckDB a small file.
        sql = f"SELECT * FROM ({self.backend.compile(expression)}) WHERE"
        columns = written_columns(expression, table)
        good = self._copy(f"{sql} NOT {sql_name(by)}", folder, columns)
        left = self._raw.without(good)
        connection = self.backend.con
        connection.execute(f"CREATE OR REPLACE TEMP TABLE raw_left AS {left}")
        if connection.execute("SELECT count(*) FROM raw_left").fetchone() == (0,):
            return good, []
        connection.execute(f"CREATE OR REPLACE TEMP VIEW raw_rows AS {self._raw.rows('raw_left')}")
        return good, self._copy(f"{sql} {sql_name(by)}", folder / by, columns)

    def to_rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Run an expression whose result is small and return its rows."""
        # Straight from DuckDB: Ibis would import pandas to convert a handful of rows.
        cursor = self.backend.con.execute(str(self.backend.compile(expression)))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _copy(self, sql: str, folder: Path, written: Sequence[Column]) -> list[Path]:
        """Copy to Parquet in the types of the contract: DuckDB narrows literals on its own."""
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "part-0.parquet"
        columns = ", ".join(
            f"{sql_name(c.name)}::{_sql_type(c)} AS {sql_name(c.name)}" for c in written
        )
        row = self.backend.con.execute(
            f"COPY (SELECT {columns} FROM ({sql})) TO {sql_text(str(target))} ({_PARQUET})"
        ).fetchone()
        if row == (0,):
            target.unlink()
            return []
        return [target]


@dataclass
class _RawText:
    """The SQL that reads a parsed CMS file: text Parquet in the order of the records."""

    text: Path
    key: str
    has_repeated: bool = False

    @property
    def repeated(self) -> str:
        """A subquery of the record ids that repeat or are missing, and how often each occurs."""
        return (
            f"(SELECT {self.key} AS record_id, count(*) AS copies FROM {sql_text(str(self.text))} "
            f"GROUP BY ALL HAVING copies > 1 OR record_id IS NULL)"
        )

    def rows(self, only: str | None = None) -> str:
        """Select every record with its number, or those whose number is in a table."""
        numbered = f"(SELECT *, file_row_number + 1 AS source_row FROM {self._numbered})"
        if only:
            numbered = f"(FROM {numbered} SEMI JOIN {only} USING (file_row_number))"
        if not self.has_repeated:
            return (
                f"SELECT * EXCLUDE file_row_number, 1::BIGINT AS record_id_copies FROM {numbered}"
            )
        return (
            f"SELECT c.* EXCLUDE file_row_number, coalesce(r.copies, 1) AS record_id_copies "
            f"FROM {numbered} c LEFT JOIN {self.repeated} r ON c.{self.key} = r.record_id"
        )

    def without(self, written: Sequence[Path]) -> str:
        """Select the ``file_row_number`` of every record that is not in the written files."""
        everything = f"SELECT file_row_number FROM {self._numbered}"
        if not written:
            return everything
        listed = ", ".join(sql_text(str(path)) for path in written)
        return (
            f"{everything} ANTI JOIN (SELECT source_row - 1 AS file_row_number "
            f"FROM read_parquet([{listed}], hive_partitioning=false)) USING (file_row_number)"
        )

    @property
    def _numbered(self) -> str:
        return f"read_parquet({sql_text(str(self.text))}, file_row_number = true)"


@contextmanager
def explained(path: Path, header: Sequence[str]) -> Iterator[None]:
    """Turn a DuckDB CSV error into a ``StrictParseError`` about the file."""
    try:
        yield
    except duckdb.InvalidInputException as error:
        if re.search(r"CSV Error|nvalid unicode", str(error)):
            raise parse_error(error, path, header) from error
        raise


def _sql_type(column: Column) -> str:
    from ibis.backends.sql.datatypes import DuckDBType

    return str(DuckDBType.to_string(column.type.to_ibis()))
