"""Staging for tests: rows in, rows out, through a CMS file, the strict parser and DuckDB."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cms_files import Era, Row, clean_row, write_file
from hypothesis import Phase, settings

from openpay_assets.engines.duckdb import DuckDBEngine
from openpay_assets.transforms.changes import ReleaseRows
from openpay_assets.transforms.stage import QUARANTINED, quarantine, stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ibis.expr.types as ir

StagedRow = dict[str, Any]
Transform = Callable[["ir.Table", Era], "ir.Table"]

BATCH = settings(max_examples=8, deadline=None, phases=(Phase.explicit, Phase.generate))
"""For properties over a whole file: a few large examples, and no shrinking, which would stage
hundreds of files to report a smaller one."""


ACCEPTED = "accepted_rows"


class Stager:
    """Stages rows, and runs curated transforms over what it staged.

    What stages an era, and what curates it, is compiled once: for a handful of rows that costs
    far more than running it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = DuckDBEngine(memory_limit="1GB", threads=1, scratch=folder / "scratch")
        self._numbers = itertools.count(1)
        self._compiled: dict[tuple[object, Era], str] = {}

    def close(self) -> None:
        self.engine.close()

    def stage(self, at: Era, rows: Iterable[Row]) -> list[StagedRow]:
        """Return the staged rows, ``quarantined`` among their columns, in file order."""
        with self._staging(at, rows) as sql:
            return sorted(self._fetch(sql), key=lambda row: row["source_row"])

    def stage_each(self, at: Era, overrides: Iterable[Row]) -> list[StagedRow]:
        """Stage one clean row per mapping of overrides."""
        return self.stage(at, _clean_rows(at, overrides))

    def quarantine(self, at: Era, rows: Iterable[Row]) -> list[StagedRow]:
        """Return the rows of ``quarantine.records``."""
        self._stage_as_table(at, rows)
        return self._fetch(self._sql(_rejected, at))

    def release(self, at: Era, rows: Iterable[Row]) -> ReleaseRows:
        """Return the staged and the quarantined rows of a file as two tables."""
        name = f"release_{next(self._numbers)}"
        backend = self.engine.backend
        with self._staging(at, rows) as sql:
            backend.con.execute(f"CREATE TABLE {name} AS {sql}")
        split = backend.table(name)
        return ReleaseRows(
            split.filter(~split[QUARANTINED]), _rejected(split, at), at.layout, at.release
        )

    def rows_of(self, expression: ir.Table) -> list[StagedRow]:
        """Return the rows of an expression over tables of ``release``."""
        return self._fetch(str(self.engine.backend.compile(expression)))

    def curate(
        self, at: Era, overrides: Iterable[Row], transform: Transform, *order: str
    ) -> list[StagedRow]:
        """Return what a transform makes of clean rows with overrides, sorted.

        ``transform`` is a function of a module: its SQL is kept.
        """
        self._stage_as_table(at, _clean_rows(at, overrides))
        aside = self._fetch(f"SELECT warnings FROM {ACCEPTED} WHERE {QUARANTINED}")
        assert not aside, f"rows of this test are quarantined: {aside}"
        found = self._fetch(self._sql(transform, at))
        return sorted(found, key=lambda row: [row[x] for x in order]) if order else found

    def _stage_as_table(self, at: Era, rows: Iterable[Row]) -> None:
        connection = self.engine.backend.con
        with self._staging(at, rows) as sql:
            staged = connection.execute(sql).to_arrow_table()
        connection.register(ACCEPTED, staged)

    def _sql(self, transform: Transform, at: Era) -> str:
        if (transform, at) not in self._compiled:
            backend = self.engine.backend
            expression = transform(backend.table(ACCEPTED), at)
            self._compiled[transform, at] = str(backend.compile(expression))
        return self._compiled[transform, at]

    @contextmanager
    def _staging(self, at: Era, rows: Iterable[Row]) -> Iterator[str]:
        """Write rows as a CMS file, read it as staging does and give the SQL that stages it."""
        path = write_file(self.folder / str(next(self._numbers)), at, rows)
        key = at.layout.source_of["record_id"]
        with self.engine.read_raw(path, at.layout.header, key, []) as raw:
            if (stage, at) not in self._compiled:
                staged = stage(raw.table, at.staging_input())
                self._compiled[stage, at] = str(self.engine.backend.compile(staged))
            yield self._compiled[stage, at]

    def _fetch(self, sql: str) -> list[StagedRow]:
        cursor = self.engine.backend.con.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _clean_rows(at: Era, overrides: Iterable[Row]) -> list[dict[str, str | None]]:
    return [clean_row(at, number, row) for number, row in enumerate(overrides, 1)]


def _rejected(split: ir.Table, at: Era) -> ir.Table:
    return quarantine(split.filter(split[QUARANTINED]), at.staging_input())
