"""Small Parquet files of ``curated.companies`` for tests of commits, and what readers see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from openpay_assets.contracts.model import Table
from openpay_assets.contracts.registry import curated_table
from openpay_assets.lake.tables import LakeTables, Partition, Written

TABLE = curated_table("companies")
RELEASE = date(2023, 6, 30)


def write(
    lake: LakeTables,
    partition: Partition,
    company_ids: Sequence[str],
    *,
    run_id: str = "run",
    release: date = RELEASE,
    table: Table = TABLE,
) -> Written:
    """Write companies of a partition to a file that nothing can see yet; no file for none."""
    folder = lake.new_folder(TABLE.name, partition, run_id)
    files: tuple[Path, ...] = ()
    if company_ids:
        folder.mkdir(parents=True)
        files = (folder / "part-0.parquet",)
        rows = [_row(partition, company_id, release) for company_id in company_ids]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.to_arrow()), files[0])
    return Written(TABLE.name, partition, files, release, run_id, "G4")


def commit(lake: LakeTables, written: Written, rows: int, **options: bool) -> None:
    """Commit what ``write`` wrote."""
    lake.commit(written, TABLE, rows=rows, **options)


def replace(
    lake: LakeTables, partition: Partition, company_ids: Sequence[str], **how: object
) -> None:
    """Write and commit."""
    commit(lake, write(lake, partition, company_ids, **how), len(company_ids))  # type: ignore[arg-type]


def commit_at_barrier(root: Path, partition: Partition, number: int, barrier: Barrier) -> None:
    """Commit three companies from a process of its own, at the moment all others do."""
    lake = LakeTables(root)
    written = write(lake, partition, [f"{number}{n}" for n in range(3)], run_id=f"run-{number}")
    barrier.wait(timeout=60)
    commit(lake, written, 3)


def visible(lake: LakeTables, partition: Partition | None = None) -> list[str]:
    """Return the company ids that a reader of a fresh lake sees, of one partition when asked."""
    fresh = LakeTables(lake.root)
    asked = {} if partition is None else vars(partition)
    return sorted(
        company_id
        for path in fresh.files(TABLE.name, **asked)
        for company_id in pq.ParquetFile(path).read(["company_id"])["company_id"].to_pylist()
    )


def _row(partition: Partition, company_id: str, release: date) -> dict[str, object]:
    return {
        "dataset": str(partition.dataset),
        "program_year": partition.program_year,
        "company_id": company_id,
        "records": 1,
        "amount": Decimal("1.00"),
        "release": release,
    }
