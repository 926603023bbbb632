"""Every table of a partition, computed on an engine as the assets do, and read back by DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq

from openpay_assets.cms.csv import read_header
from openpay_assets.cms.names import parse_name
from openpay_assets.contracts.model import Dataset, Table
from openpay_assets.contracts.registry import (
    curated_table,
    match_header,
    quarantine_table,
    staging_table,
)
from openpay_assets.contracts.rules import PartitionFacts
from openpay_assets.contracts.sql import scan_sql
from openpay_assets.transforms import audits
from openpay_assets.transforms.entities import companies, hospitals, physicians
from openpay_assets.transforms.investigators import investigators
from openpay_assets.transforms.payments import payments
from openpay_assets.transforms.products import payment_products
from openpay_assets.transforms.stage import QUARANTINED, StagingInput, quarantine, stage

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from openpay_assets.orchestration.io_managers import Engine

Row = dict[str, Any]
MONEY = ("amount", "value_of_interest")


@dataclass
class PartitionTables:
    """What an engine made of a file: Parquet files by table, counts of the scan, audit rows."""

    tables: dict[str, Table]
    files: dict[str, list[Path]]
    counted: tuple[int, dict[str, int]]
    audits: dict[str, list[Row]]

    def written(self, name: str) -> list[str]:
        """Columns that the files of a table hold."""
        return pq.read_schema(self.files[name][0]).names if self.files[name] else []

    def rows(self, name: str) -> list[Row]:
        """Rows of a table as readers of the lake see them, by key."""
        table = self.tables[name]
        scan = duckdb.sql(scan_sql(self.files[name], table.to_ibis()))
        found = scan.order(", ".join(row_key(table)))
        assert found.columns == table.column_names
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def row_key(table: Table) -> list[str]:
    """Return what orders the rows of a partition: staged record ids may be missing or repeat."""
    return ["source_row"] if "source_row" in table.column_names else table.key


def staging_input(path: Path, run_id: str = "run") -> StagingInput:
    """Say of a CMS file, by its name and header, what staging must know."""
    name = parse_name(path.name)
    assert name is not None
    layout = match_header(name.dataset, read_header(path), path.name).layout
    facts = PartitionFacts(
        name.dataset, name.program_year, name.release, frozenset(layout.source_of)
    )
    return StagingInput(facts, layout, path.name, run_id)


def partition_tables(
    engine: Engine, path: Path, folder: Path, *, curated: bool = True
) -> PartitionTables:
    """Run every transform of a partition on an engine, or staging alone."""
    source = staging_input(path)
    source_of, dataset = source.layout.source_of, source.facts.dataset
    staging = staging_table(dataset)
    money = [source_of[x] for x in MONEY if x in source_of]
    files: dict[str, list[Path]] = {}
    tables = {staging.name: staging, quarantine_table().name: quarantine_table()}

    with engine.read_raw(path, read_header(path), source_of["record_id"], money) as raw:
        counted = raw.rows, raw.cents
        good, bad = engine.write_split(
            stage(raw.table, source), folder / "staging", staging, QUARANTINED
        )
    files[staging.name] = good
    rejected = engine.read_parquet(bad, staging)
    files[quarantine_table().name] = engine.write(
        quarantine(rejected, source), folder / "quarantine", quarantine_table()
    )
    if not curated:
        return PartitionTables(tables, files, counted, {})
    staged = engine.read_parquet(good, staging)
    made: dict[str, ir.Table] = {}
    for name, transform in _CURATED.items():
        table = curated_table(name)
        written = engine.write(transform(staged, source, made), folder / name, table)
        made[name] = engine.read_parquet(written, table)
        tables[table.name], files[table.name] = table, written
    audited = {
        name: sorted(engine.to_rows(audit), key=lambda row: str(list(row.values())))
        for name, audit in _audits(dataset, staged, rejected, made)
    }
    tails = audits.tails(audited["tail_counts"])
    audited["review_list"] = engine.to_rows(audits.review_list(staged, tails)) if tails else []
    return PartitionTables(tables, files, counted, audited)


Made = Mapping[str, "ir.Table"]
_CURATED: dict[str, Callable[[Any, StagingInput, Made], Any]] = {
    "payments": lambda staged, source, _: payments(staged, source.facts.dataset),
    "payment_products": lambda staged, source, _: payment_products(staged, source.layout),
    "investigators": lambda staged, source, _: investigators(staged, source.layout),
    "physicians": lambda _, __, made: physicians(made["payments"], made["investigators"]),
    "companies": lambda _, __, made: companies(made["payments"]),
    "hospitals": lambda _, __, made: hospitals(made["payments"]),
}


def _audits(
    dataset: Dataset, staged: ir.Table, rejected: ir.Table, made: Made
) -> Iterator[tuple[str, ir.Table]]:
    yield "totals", audits.totals(staged)
    yield "warnings", audits.broken_rules(staged)
    yield "reasons", audits.broken_rules(rejected)
    yield "twins", audits.twins(staged)
    yield "tail_counts", audits.tail_counts(staged)
    yield "ids_elsewhere", audits.ids_elsewhere(staged, staged)
    yield "repeated_keys", audits.repeated_keys(made["payments"], ["record_id"])
    yield "product_shares", audits.product_shares(made["payment_products"])
    yield "with_products", audits.with_products(made["payments"])
    yield "investigator_slots", audits.investigator_slots(made["payments"])
    if dataset is not Dataset.OWNERSHIP:
        yield "npi_fill", audits.npi_fill(staged)


def assert_same(found: PartitionTables, expected: PartitionTables) -> None:
    """Compare two engines' tables row by row, and name the columns that differ."""
    assert found.counted == expected.counted
    for name in expected.tables:
        _assert_same_rows(name, found.rows(name), expected.rows(name))
    for name, rows in expected.audits.items():
        _assert_same_rows(name, found.audits[name], rows)


def _assert_same_rows(name: str, found: Sequence[Row], expected: Sequence[Row]) -> None:
    assert len(found) == len(expected), f"{name}: rows"
    for ours, theirs in zip(found, expected, strict=True):
        differing = {
            column: (ours[column], value)
            for column, value in theirs.items()
            if (ours[column], type(ours[column])) != (value, type(value))
        }
        differing.pop("run_id", None)
        assert not differing, f"{name}, row {theirs.get('source_row') or theirs.get('record_id')}"
