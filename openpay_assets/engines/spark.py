"""The Spark engine: the same expressions on a SparkSession, local or Spark Connect.

CSV is not read here: DuckDB's strict parser writes it as text Parquet, which Spark reads, so both
engines see the same rows. Where Spark would compute or write otherwise than DuckDB is settled in
``session_config`` and ``spark_compiler``, so that transforms need not know.
"""

from __future__ import annotations

import re
import shutil
import string
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import ibis

from openpay_assets.contracts.model import Column, Table
from openpay_assets.engines.duckdb import DuckDBEngine, RawRows
from openpay_assets.engines.unfilled import written_columns

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from ibis.backends.pyspark import Backend
    from pyspark.sql import DataFrame, SparkSession

LOCAL_FOLDER = "spark.local.dir"
SMALLEST_HEAP = 512 * 1024**2
"""Bytes. Spark refuses to start with less than 450 MiB."""

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{x}B": 1000**n for n, x in enumerate("KMGT", start=1)},
    **{f"{x}IB": 1024**n for n, x in enumerate("KMGT", start=1)},
}


def session_config(memory_limit: str, threads: int, scratch: Path) -> dict[str, str]:
    """Return the configuration of a local session that computes and writes as DuckDB does.

    Everything stays on the loopback interface and in ``scratch``. The memory limit, written as
    DuckDB does (``2GB``), bounds the heap of the one JVM; it counts when the JVM starts.
    https://spark.apache.org/docs/4.0.0/configuration.html
    Raises ``ValueError`` on a memory limit that is no size.
    """
    return {
        "spark.app.name": "openpay",
        "spark.master": f"local[{threads}]",
        "spark.driver.memory": f"{max(_bytes(memory_limit), SMALLEST_HEAP) // 1024**2}m",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        LOCAL_FOLDER: str(scratch / "spark"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.catalogImplementation": "in-memory",
        # Two hundred shuffle partitions, the default, are for clusters.
        "spark.sql.shuffle.partitions": str(threads),
        # Inferring filters from filters over a hundred derived columns takes Spark longer than
        # any file; the joins here are on columns that are never NULL.
        "spark.sql.constraintPropagation.enabled": "false",
        # As in DuckDB, a cast that fails is an error and only try_cast gives NULL.
        "spark.sql.ansi.enabled": "true",
        "spark.sql.session.timeZone": "UTC",
        # What PyIceberg and DuckDB read: INT64 decimals, three-level lists, Gregorian days
        # (CMS files hold dates such as 11/30/0002, which Spark would otherwise refuse to write).
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.parquet.writeLegacyFormat": "false",
        "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
        "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
        # Both sides of a split are open at once; one writer would sort every row by side.
        "spark.sql.maxConcurrentOutputFileWriters": "2",
        "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    }


@cache
def spark_compiler() -> Any:
    """Return Ibis's compiler for Spark, changed so that it gives the values DuckDB gives."""
    from ibis.backends.sql.compilers.pyspark import PySparkCompiler
    from sqlglot import expressions as sge

    class DuckDBLike(PySparkCompiler):  # type: ignore[misc]
        """Ibis's compiler, and the functions in which Spark differs from DuckDB."""

        __slots__ = ()
        SIMPLE_OPS: ClassVar[dict[Any, str]] = {}  # inherited; given again they would win

        def visit_LStrip(self, _: Any, *, arg: Any) -> Any:  # noqa: N802
            """Strip tabs and line breaks as well as spaces."""
            blanks = sge.convert(string.whitespace)
            return sge.Trim(this=arg, expression=blanks, position="LEADING")

        def visit_Lowercase(self, _: Any, *, arg: Any) -> Any:  # noqa: N802
            """Turn the dotted capital I into one letter, not into a letter and a dot."""
            return self.f.lower(self.f.replace(arg, "\u0130", "i"))

        def visit_RegexReplace(  # noqa: N802
            self, _: Any, *, arg: Any, pattern: Any, replacement: Any
        ) -> Any:
            """Name a group by a dollar sign, where others use a backslash."""
            named = re.sub(r"\\(\d)", r"$\1", replacement.this.replace("$", r"\$"))
            return self.f.regexp_replace(arg, pattern, sge.convert(named))

    return DuckDBLike()


class SparkEngine:
    """Runs Ibis expressions on a SparkSession and writes Parquet."""

    name = "spark"

    def __init__(
        self, session: SparkSession, *, memory_limit: str, threads: int, scratch: Path
    ) -> None:
        self._session = session
        self._memory_limit = memory_limit
        self._threads = threads
        self._scratch = scratch
        self._views: list[str] = []

    @cached_property
    def backend(self) -> Backend:
        """The Ibis backend, connected on first use."""
        backend = ibis.pyspark.connect(self._session)
        backend.compiler = spark_compiler()
        return backend

    def close(self) -> None:
        """Drop the views and remove the scratch; a session that lives in the scratch ends with it."""
        for view in self._views:
            self._session.catalog.dropTempView(view)
        self._views.clear()
        if self._lives_in_scratch():
            self._session.stop()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _lives_in_scratch(self) -> bool:
        context = getattr(self._session, "_sc", None)  # Spark Connect has none
        if context is None:
            return False
        folder = context.getConf().get(LOCAL_FOLDER, "")
        return bool(folder) and Path(folder).is_relative_to(self._scratch)

    @contextmanager
    def read_raw(
        self, path: Path, header: Sequence[str], record_id: str, money: Sequence[str]
    ) -> Iterator[RawRows]:
        """Read a CMS file as text with ``source_row`` and ``record_id_copies``.

        DuckDB parses, numbers and measures it and writes text Parquet; Spark reads that. The
        rows carry their order as a number: sorting them would cost a quarter more, or a spill.
        Raises ``StrictParseError`` on a file that is not well-formed.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        text = self._scratch / "text.parquet"
        parser = DuckDBEngine(
            memory_limit=self._memory_limit,
            threads=self._threads,
            scratch=self._scratch / "parser",
        )
        try:
            with closing(parser), parser.read_raw(path, header, record_id, money) as raw:
                parser.backend.to_parquet(raw.table, text)
            yield RawRows(self._view(self._parquet([text])), raw.rows, raw.cents)
        finally:
            text.unlink(missing_ok=True)

    def read_text(self, path: Path, header: Sequence[str], columns: Sequence[str]) -> RawRows:
        """Read columns of a CMS file as text, by name, through DuckDB's parser.

        Raises ``StrictParseError`` on a file that is not well-formed.
        """
        self._scratch.mkdir(parents=True, exist_ok=True)
        parser = DuckDBEngine(
            memory_limit=self._memory_limit,
            threads=self._threads,
            scratch=self._scratch / "parser",
        )
        with closing(parser):
            text, rows = parser.parse_text(path, header, columns)
            kept = text.rename(self._scratch / text.name)
        return RawRows(self._view(self._parquet([kept])), rows, {})

    def read_parquet(self, files: Sequence[Path | str], table: Table) -> ir.Table:
        """Bind a table of the lake to its files; without files it is empty, with its columns."""
        if files:
            return self._view(self._parquet(files, _schema(table)))
        # Not createDataFrame: it would start Python workers to make no rows.
        nothing = _typed(table.columns, lambda _: "NULL")
        return self._view(self._session.sql(f"{nothing} WHERE false"))

    def write(self, expression: ir.Table, folder: Path, table: Table) -> list[Path]:
        """Run an expression and write Parquet files in a folder; no file for no rows."""
        with self._written(self._frame(expression, table), folder) as written:
            return _gather(written, folder)

    def write_split(
        self, expression: ir.Table, folder: Path, table: Table, by: str
    ) -> tuple[list[Path], list[Path]]:
        """Write in one pass the rows where a boolean column is false, and those where it is true."""
        with self._written(self._frame(expression, table, by), folder, by) as written:
            return (
                _gather(written / f"{by}=false", folder),
                _gather(written / f"{by}=true", folder / by),
            )

    def to_rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Run an expression whose result is small and return its rows."""
        # Straight from Spark: Ibis would go through pandas, which has no exact decimals.
        rows = self._session.sql(self.backend.compile(expression)).collect()
        return [row.asDict() for row in rows]

    def _parquet(self, files: Sequence[Path | str], schema: Any = None) -> DataFrame:
        reader = self._session.read
        if schema is not None:
            reader = reader.schema(schema)
        # Otherwise folders named dataset=general would be taken for columns.
        return reader.option("recursiveFileLookup", "true").parquet(*map(_location, files))

    def _view(self, frame: DataFrame) -> ir.Table:
        view = f"openpay_{uuid.uuid4().hex}"
        frame.createOrReplaceTempView(view)
        self._views.append(view)
        return self.backend.table(view)

    def _frame(self, expression: ir.Table, table: Table, *more: str) -> DataFrame:
        """Return an expression in the types of the contract: Spark has its own for literals."""
        # As one text: a hundred columns made one by one are a thousand calls into the JVM.
        typed = _typed(written_columns(expression, table), _quoted)
        columns = ", ".join([typed, *map(_quoted, more)])
        return self._session.sql(f"{columns} FROM ({self.backend.compile(expression)})")

    @contextmanager
    def _written(self, frame: DataFrame, folder: Path, *split_by: str) -> Iterator[Path]:
        """Write a frame to a folder inside a folder, which is gone afterwards."""
        written = folder / "_spark"
        try:
            frame.write.partitionBy(*split_by).parquet(_location(written))
            yield written
        finally:
            shutil.rmtree(written, ignore_errors=True)


def _gather(written: Path, target: Path) -> list[Path]:
    """Name the files plainly, as DuckDB's are; of no rows Spark writes a file, which is left."""
    import pyarrow.parquet as pq

    target.mkdir(parents=True, exist_ok=True)
    filled = [x for x in sorted(written.glob("*.parquet")) if pq.read_metadata(x).num_rows]
    return [path.rename(target / f"part-{n}.parquet") for n, path in enumerate(filled)]


def _location(file: Path | str) -> str:
    """Return where a file is for Spark: a plain path could be taken for one on HDFS."""
    return file if isinstance(file, str) and "://" in file else f"file://{file}"


def _typed(columns: Iterable[Column], value: Callable[[str], str]) -> str:
    """Select a value for each column, in the type of the contract."""
    selected = (
        f"CAST({value(c.name)} AS {_spark_type(c).simpleString()}) AS {_quoted(c.name)}"
        for c in columns
    )
    return f"SELECT {', '.join(selected)}"


def _quoted(name: str) -> str:
    return f"`{name}`"


def _spark_type(column: Column) -> Any:
    from ibis.backends.pyspark.datatypes import PySparkType

    return PySparkType.from_ibis(column.type.to_ibis())


def _schema(table: Table) -> Any:
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(c.name, _spark_type(c)) for c in table.columns])


def _bytes(memory_limit: str) -> int:
    size = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", memory_limit.strip())
    unit = _UNITS.get(size.group(2).upper()) if size else None
    if size is None or unit is None:
        raise ValueError(
            f"{memory_limit!r} is no memory limit. Write a number and a unit, such as 2GB or 512MiB."
        )
    return int(float(size.group(1)) * unit)
