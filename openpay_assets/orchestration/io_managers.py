"""IO managers: they run an asset's Ibis expression on an engine and commit what it wrote.

Writing and committing are two steps, with the asset's blocking checks in between: ``write`` runs
the expression and leaves Parquet files that nothing can see; when the checks pass the asset
yields them and ``handle_output`` commits them to the Iceberg table. So a failed check changes
nothing that anyone can read. ``load_input`` gives the next asset a lazy table.
Assets that land files are remembered by what they landed, in the metadata zone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from abc import abstractmethod
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import dagster as dg
from pydantic import PrivateAttr

from openpay_assets.contracts.model import Table
from openpay_assets.contracts.registry import staging_table
from openpay_assets.lake.tables import LakeTables, Partition, Written, schemas, total_rows
from openpay_assets.lake.whole import write_whole
from openpay_assets.orchestration.partitions import partition_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import ibis.expr.types as ir

    from openpay_assets.engines.duckdb import RawRows


class Engine(Protocol):
    """What an engine offers; the same operations on each."""

    name: str

    def read_raw(
        self, path: Path, header: Sequence[str], record_id: str, money: Sequence[str]
    ) -> AbstractContextManager[RawRows]:
        """Read a CMS file as text."""

    def read_text(self, path: Path, header: Sequence[str], columns: Sequence[str]) -> RawRows:
        """Read some columns of a CMS file as text."""

    def read_parquet(self, files: Sequence[Path | str], table: Table) -> ir.Table:
        """Bind a table to files."""

    def write(self, expression: ir.Table, folder: Path, table: Table) -> list[Path]:
        """Run an expression and write Parquet."""

    def write_split(
        self, expression: ir.Table, folder: Path, table: Table, by: str
    ) -> tuple[list[Path], list[Path]]:
        """Run an expression and write two sides of it."""

    def to_rows(self, expression: ir.Table) -> list[dict[str, Any]]:
        """Run an expression with a small result."""

    def close(self) -> None:
        """Let go of what the engine holds."""


@dataclass(frozen=True)
class Target:
    """What an asset writes for: the partition (None: the whole table), and what rows come from."""

    partition: Partition | None
    release: date
    run_id: str
    layout: str


@dataclass(frozen=True)
class Pending:
    """Files that an asset wrote and that its checks may read before they are committed."""

    written: Written
    table: Table
    rows: ir.Table
    count: int


class LakeIOManager(dg.ConfigurableIOManager):
    """What the IO managers of all engines share: where tables are, and commits."""

    root: str
    memory_limit: str
    threads: int
    _engine: Any = PrivateAttr(default=None)

    @abstractmethod
    def new_engine(self, scratch: Path) -> Engine:
        """Return the engine that runs the expressions."""

    @property
    def engine(self) -> Engine:
        """The engine, started on first use."""
        if self._engine is None:
            base = Path(self.root) / ".scratch"
            base.mkdir(parents=True, exist_ok=True)
            _remove_left_behind(base)
            self._engine = self.new_engine(
                Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))
            )
        engine: Engine = self._engine
        return engine

    @cached_property
    def tables(self) -> LakeTables:
        """The Iceberg tables."""
        return LakeTables(Path(self.root))

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Stop the engine and remove its scratch files."""
        self.close_engine()

    def close_engine(self) -> None:
        """Let go of memory and scratch files; what is asked next starts the engine again."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def write(self, table: Table, expression: ir.Table, target: Target) -> Pending:
        """Run an expression on the engine; nothing is visible yet."""
        folder = self.tables.new_folder(table.name, target.partition, target.run_id)
        return self.pending(table, self.engine.write(expression, folder, table), target)

    def pending(self, table: Table, files: Sequence[Path], target: Target) -> Pending:
        """Describe files that the engine wrote."""
        return Pending(
            written=Written(table.name, files=tuple(files), **vars(target)),
            table=table,
            rows=self.engine.read_parquet(files, table),
            count=total_rows(files),
        )

    def load(self, table: Table, partition: Partition) -> ir.Table:
        """Return what is committed of a partition, lazily."""
        files = self.tables.files(
            table.name, dataset=partition.dataset, program_year=partition.program_year
        )
        return self.engine.read_parquet(files, table)

    def load_whole(self, table: Table) -> ir.Table:
        """Return what is committed of a table that is not partitioned, lazily."""
        return self.engine.read_parquet(self.tables.files(table.name), table)

    def handle_output(self, context: dg.OutputContext, obj: Pending | None) -> None:
        """Commit what the asset wrote, in one Iceberg transaction; None leaves what is there."""
        if obj is None:
            return
        self.tables.commit(obj.written, obj.table, rows=obj.count)
        context.add_output_metadata(
            {
                "dagster/partition_row_count": obj.count,
                "table": obj.table.name,
                "release": str(obj.written.release),
                "files": [str(path) for path in obj.written.files],
                "engine": self.engine.name,
            }
        )

    def load_input(self, context: dg.InputContext) -> ir.Table:
        """Return the partition of the upstream asset as a lazy table on this engine."""
        partition = partition_of(context.asset_partition_key)
        return self.load(table_of(context.asset_key, partition), partition)


def table_of(asset: dg.AssetKey, partition: Partition) -> Table:
    """Return the table in which an asset keeps a partition."""
    name = ".".join(asset.path)
    if name == "staging":
        return staging_table(partition.dataset)
    if name == "quarantine":
        return schemas()["quarantine.records"]
    return schemas()[name]


class DuckDBIOManager(LakeIOManager):
    """Runs transforms on DuckDB in this process; the default."""

    def new_engine(self, scratch: Path) -> Engine:
        """Return a DuckDB engine, memory bounded."""
        from openpay_assets.engines.duckdb import DuckDBEngine

        return DuckDBEngine(memory_limit=self.memory_limit, threads=self.threads, scratch=scratch)


class PySparkIOManager(LakeIOManager):
    """Runs the same transforms on a local SparkSession."""

    def new_engine(self, scratch: Path) -> Engine:
        """Return a Spark engine on the session of dagster-pyspark."""
        from dagster_pyspark import LazyPySparkResource

        from openpay_assets.engines.spark import SparkEngine, session_config

        config = session_config(self.memory_limit, self.threads, scratch)
        session = LazyPySparkResource(spark_config=config).spark_session
        return SparkEngine(
            session, memory_limit=self.memory_limit, threads=self.threads, scratch=scratch
        )


class MetadataIOManager(dg.ConfigurableIOManager):
    """Remembers what an asset was last run from, as JSON in the metadata zone."""

    root: str

    @abstractmethod
    def file_name(self, asset: dg.AssetKey, partition: str | None) -> str:
        """Return the file of an asset and partition below the metadata zone, without its ending."""

    @abstractmethod
    def restored(self, found: Any) -> Any:
        """Return what an asset yielded from the JSON of it."""

    def _path(self, context: dg.OutputContext | dg.InputContext) -> Path:
        partition = context.asset_partition_key if context.has_asset_partitions else None
        name = self.file_name(context.asset_key, partition and partition.replace("|", "-"))
        return Path(self.root) / "metadata" / f"{name}.json"

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Write dataclasses, one or a list, whole or not at all."""
        text = json.dumps(obj, indent=2, default=asdict)
        write_whole(self._path(context), f"{text}\n")

    def load_input(self, context: dg.InputContext) -> Any:
        """Read it back; fails with what to materialize when that never was."""
        path = self._path(context)
        if not path.exists():
            asset = context.asset_key.to_user_string()
            of = f" of {context.asset_partition_key}" if context.has_asset_partitions else ""
            raise dg.Failure(
                f"{asset}{of} was never materialized. Materialize {asset} first.",
                allow_retries=False,
            )
        return self.restored(json.loads(path.read_text(encoding="utf-8")))


def _remove_left_behind(base: Path) -> None:
    """Remove scratch folders of processes that are gone: a killed run cannot clean up."""
    for folder in base.iterdir():
        pid = folder.name.split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)
