"""Iceberg tables of the lake: engines write Parquet files, the lake commits them.

One transaction replaces a partition: it deletes the old files and adds the new ones, so a
reader sees all of a partition or none of it, and a failed run nothing. What the files came from
stands in the snapshot summary. How earlier releases stay readable: ``history``.
https://py.iceberg.apache.org/api/
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpay_assets.contracts.model import Dataset, Table
from openpay_assets.contracts.registry import all_tables
from openpay_assets.lake import history
from openpay_assets.lake.history import (
    COMMITTED_AT,
    LAYOUT,
    PARTITION,
    RELEASE,
    ROWS,
    RUN_ID,
    WHOLE,
    CommittedPartition,
    Partition,
)
from openpay_assets.lake.schema_versions import record_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table as IcebergTable
    from pyiceberg.table import Transaction
    from tenacity import Retrying

__all__ = [
    "CommittedPartition",
    "LakeTables",
    "Partition",
    "Written",
    "retried",
    "schemas",
    "total_rows",
    "uri",
]

PARTITION_COLUMNS = ("dataset", "program_year")
COMMIT_ATTEMPTS = 30


@dataclass(frozen=True)
class Written:
    """Parquet files that an engine wrote and nothing can see yet.

    ``partition`` is None for a table that is not partitioned.
    """

    table: str
    partition: Partition | None
    files: tuple[Path, ...]
    release: date
    run_id: str
    layout: str = ""


class LakeTables:
    """The Iceberg tables under one lake folder, in a SQLite catalog."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def catalog(self) -> Catalog:
        """The catalog, created on first use."""
        from pyiceberg.catalog.sql import SqlCatalog

        self.root.mkdir(parents=True, exist_ok=True)
        return SqlCatalog(
            "openpay",
            uri=f"sqlite:///{self.root / 'catalog.db'}?timeout=60",
            warehouse=uri(self.root),
        )

    def folder(self, table: str) -> Path:
        """Return the folder of a table: ``<lake>/<zone>/<name>``."""
        return self.root.joinpath(*table.split("."))

    def new_folder(self, table: str, partition: Partition | None, run_id: str) -> Path:
        """Return a folder nobody writes to yet, for the files of one run of one partition."""
        where = (
            f"dataset={partition.dataset}/program_year={partition.program_year}"
            if partition
            else ""
        )
        return self.folder(table) / "data" / where / f"{run_id}-{uuid.uuid4().hex[:8]}"

    def commit(
        self, written: Written, schema: Table, *, rows: int, whole_table: bool = False
    ) -> None:
        """Replace a partition (or the whole table) by the written files, in one transaction.

        Retried when another run committed to the table meanwhile. What columns it has is recorded
        when they are not those of the commit before.
        """
        for attempt in retried():
            with attempt:
                self._commit_once(written, schema, rows, whole_table)
        record_schema(self.root, schema, written.run_id)

    def _commit_once(self, written: Written, schema: Table, rows: int, whole_table: bool) -> None:
        from openpay_assets.lake.transactions import OnceApplied

        table = self._load_or_create(written.table, schema)
        state = {
            RELEASE: str(written.release),
            RUN_ID: written.run_id,
            ROWS: str(rows),
            PARTITION: str(written.partition or WHOLE),
            LAYOUT: written.layout,
            COMMITTED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
        }
        where = _filter(None, None)
        if written.partition is not None and not whole_table:
            where = _partition_filter(written.partition)
        has_old = table.current_snapshot() is not None and any(table.scan(where).plan_files())
        with OnceApplied(table) as transaction:
            _grow(transaction, table, schema)
            if has_old:
                transaction.delete(where, snapshot_properties=state)
            if written.files:
                transaction.add_files(
                    [uri(path) for path in written.files],
                    snapshot_properties=state,
                    check_duplicate_files=False,
                )
            history.record(transaction, written.partition, state, whole_table=whole_table)

    def _load_or_create(self, name: str, schema: Table) -> IcebergTable:
        """Load a table; the first commit creates it, partitioned, as one act.

        Another run may do the same at the same time: whoever is second takes what is there.
        """
        from pyiceberg.exceptions import (
            NamespaceAlreadyExistsError,
            TableAlreadyExistsError,
        )
        from pyiceberg.table import TableProperties
        from pyiceberg.transforms import IdentityTransform
        from sqlalchemy.exc import IntegrityError

        if (found := self._loaded(name)) is not None:
            return found
        # IntegrityError is how the SQL catalog loses that race.
        with suppress(NamespaceAlreadyExistsError, IntegrityError):
            self.catalog.create_namespace(name.split(".")[0])
        with (
            suppress(TableAlreadyExistsError),
            self.catalog.create_table_transaction(
                name,
                schema.to_arrow(),
                location=uri(self.folder(name)),
                # PyIceberg would append again to what another run just put there: two runs of one
                # partition would both stay. ``commit`` starts over instead.
                properties={TableProperties.COMMIT_NUM_RETRIES: "0"},
            ) as creation,
        ):
            if set(PARTITION_COLUMNS) <= set(schema.column_names):
                with creation.update_spec() as spec:
                    for column in PARTITION_COLUMNS:
                        spec.add_field(column, IdentityTransform(), column)
        return self.catalog.load_table(name)

    def exists(self, name: str) -> bool:
        """Whether a table has been created."""
        return bool(self.catalog.table_exists(name))

    def _loaded(self, name: str) -> IcebergTable | None:
        """Return a table as it is now; None when nothing was ever committed to it."""
        from pyiceberg.exceptions import NoSuchTableError

        try:
            return self.catalog.load_table(name)
        except NoSuchTableError:
            return None

    def names(self, zone: str) -> list[str]:
        """Return the tables of a zone, sorted."""
        if (zone,) not in self.catalog.list_namespaces():
            return []
        return sorted(".".join(x) for x in self.catalog.list_tables(zone))

    def files(
        self,
        name: str,
        *,
        dataset: Dataset | None = None,
        program_year: int | None = None,
        release: date | None = None,
    ) -> list[Path]:
        """Return the current files of a table, of one dataset or partition when asked.

        With a release: of each partition the files of its newest release that is not after that
        day, as they were when it was last run. A partition without such a release has none.
        """
        table = self._loaded(name)
        if table is None:
            return []
        where = _filter(dataset, program_year)
        if release is None:
            return _planned(table, where, None)
        found: list[Path] = []
        for partition, states in history.release_states(table.properties).items():
            day = history.newest(states, release)
            if day is None or not states[day].rows:
                continue
            if partition is not None and not _asked(partition, dataset, program_year):
                continue
            part = where if partition is None else _partition_filter(partition)
            found += _planned(table, part, history.tagged_snapshot(table, partition, day))
        return sorted(found)

    def partitions(self, name: str) -> dict[Partition, CommittedPartition]:
        """Return what is committed, by partition."""
        table = self._loaded(name)
        return history.current_states(table.properties) if table else {}

    def whole(self, name: str) -> CommittedPartition | None:
        """Return what is committed of a table that is not partitioned."""
        table = self._loaded(name)
        return history.whole_state(table.properties) if table else None

    def releases(self, name: str, partition: Partition) -> dict[date, CommittedPartition]:
        """Return the readable releases of a partition, oldest first."""
        return self.history(name).get(partition, {})

    def history(self, name: str) -> dict[Partition | None, dict[date, CommittedPartition]]:
        """Return the readable releases of a table by partition; None is the table as a whole."""
        table = self._loaded(name)
        return history.release_states(table.properties) if table else {}

    def arrow_schema(self, name: str) -> pa.Schema:
        """Return the columns of a committed table."""
        return self.catalog.load_table(name).schema().as_arrow()


def _grow(transaction: Transaction, table: IcebergTable, schema: Table) -> None:
    """Give a table of an earlier version the columns it lacks; rows that are there have none of them.

    Columns the schema no longer has stay, and new rows are empty there.
    """
    if not set(schema.column_names) <= set(table.schema().column_names):
        with transaction.update_schema() as update:
            update.union_by_name(schema.to_arrow())


def retried() -> Retrying:
    """Return attempts at a commit: again when another run committed to the table meanwhile."""
    from pyiceberg.exceptions import CommitFailedException
    from sqlalchemy.exc import OperationalError
    from tenacity import (
        Retrying,
        retry_if_exception_type,
        stop_after_attempt,
        wait_random_exponential,
    )

    return Retrying(
        retry=retry_if_exception_type((CommitFailedException, OperationalError)),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        stop=stop_after_attempt(COMMIT_ATTEMPTS),
        reraise=True,
    )


def _asked(partition: Partition, dataset: Dataset | None, program_year: int | None) -> bool:
    return dataset in (None, partition.dataset) and program_year in (None, partition.program_year)


def _planned(table: IcebergTable, where: BooleanExpression, snapshot: int | None) -> list[Path]:
    tasks = table.scan(row_filter=where, snapshot_id=snapshot).plan_files()
    return sorted(history.local(task.file.file_path) for task in tasks)


def _filter(dataset: Dataset | None, program_year: int | None) -> BooleanExpression:
    from pyiceberg.expressions import AlwaysTrue, And, EqualTo

    terms: list[Any] = []
    if dataset is not None:
        terms.append(EqualTo("dataset", value=str(dataset)))  # type: ignore[misc]
    if program_year is not None:
        terms.append(EqualTo("program_year", value=program_year))  # type: ignore[misc]
    if not terms:
        return AlwaysTrue()
    return And(*terms) if len(terms) > 1 else terms[0]


def _partition_filter(partition: Partition) -> BooleanExpression:
    return _filter(partition.dataset, partition.program_year)


def uri(path: Path) -> str:
    """Return a path as PyIceberg writes it: with its scheme and without any escaping."""
    return f"file://{path}"


def schemas() -> dict[str, Table]:
    """Return every table that contracts describe, by name."""
    return {table.name: table for table in all_tables()}


def total_rows(files: Sequence[Path]) -> int:
    """Add up the rows of Parquet files from their footers."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in files)
