"""How long comparing two releases takes, as a ratio to the floor, both measured in one run.

The floor is DuckDB converting the CSV of the newer release to Parquet and nothing else. Both
releases are staged first, which is not measured: a release is staged once, by its own run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from datetime import date
from pathlib import Path

from bench import FLOOR, ROOT, YEAR, Measured, measure, simulated

SHARES = {"changed": 0.02, "removed": 0.005, "added": 0.01}
"""Of the rows, about what CMS moves between two publications of a year."""
COMPARE = """
import sys
from datetime import date
from pathlib import Path
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import (
    curated_table, layout_of, quarantine_table, staging_table
)
from openpay_assets.engines.duckdb import DuckDBEngine
from openpay_assets.transforms.changes import ReleaseRows, release_changes

folder, year, threads = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
engine = DuckDBEngine(memory_limit="2GB", threads=threads, scratch=folder / "scratch")
layout = layout_of(Dataset.GENERAL, year, "2024-06-28")

def release(name, day):
    staged = engine.read_parquet([folder / f"{name}.parquet"], staging_table(Dataset.GENERAL))
    return ReleaseRows(staged, engine.read_parquet([], quarantine_table()), layout, day)

old, new = release("old", date(2024, 6, 28)), release("new", date(2025, 1, 30))
engine.write(release_changes(old, new, year), folder / "changes", curated_table("release_changes"))
engine.close()
"""


def staged(csv: Path, folder: Path) -> None:
    """Stage the file once, and derive from it a release before with known differences."""
    from openpay_assets.cms.csv import read_header
    from openpay_assets.cms.names import parse_name
    from openpay_assets.contracts.model import Dataset
    from openpay_assets.contracts.registry import match_header, staging_table
    from openpay_assets.contracts.rules import PartitionFacts
    from openpay_assets.contracts.sql import sql_text
    from openpay_assets.engines.duckdb import DuckDBEngine
    from openpay_assets.transforms.stage import QUARANTINED, StagingInput, stage

    name, header = parse_name(csv.name), read_header(csv)
    if name is None:
        raise SystemExit(f"{csv.name} is not the name of a payment file")
    layout = match_header(Dataset.GENERAL, header, csv.name).layout
    facts = PartitionFacts(Dataset.GENERAL, YEAR, name.release, frozenset(layout.source_of))
    engine = DuckDBEngine(memory_limit="2GB", threads=os.cpu_count() or 1, scratch=folder / "stage")
    source = StagingInput(facts, layout, csv.name, "bench")
    table = staging_table(Dataset.GENERAL)
    with engine.read_raw(csv, header, layout.source_of["record_id"], []) as raw:
        rows = stage(raw.table, source)
        [made] = engine.write(rows.filter(~rows[QUARANTINED]), folder / "staged", table)
    made.rename(folder / "new.parquet")
    new, old = (sql_text(str(folder / f"{x}.parquet")) for x in ("new", "old"))
    # Spread over the file: every thousandth row belongs to one of the kinds.
    changed, removed, added = (int(1000 * SHARES[x]) for x in ("changed", "removed", "added"))
    engine.backend.con.execute(
        f"COPY (SELECT * REPLACE ("
        f"CASE WHEN source_row % 1000 < {changed} THEN 'Elsewhere' ELSE recipient_city END AS recipient_city, "
        f"CASE WHEN source_row % 1000 < {changed} THEN md5(row_hash) ELSE row_hash END AS row_hash, "
        f"CASE WHEN source_row % 1000 >= {1000 - removed} THEN '9' || record_id ELSE record_id END AS record_id) "
        f"FROM {new} WHERE source_row % 1000 NOT BETWEEN {changed} AND {changed + added - 1}) "
        f"TO {old} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    )
    engine.close()


def main() -> None:
    """Measure and print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ROOT / ".openpay" / "bench")
    arguments = parser.parse_args()
    csv = simulated(arguments.folder, arguments.rows, 0.0)
    folder = arguments.folder / f"changes-{arguments.rows}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    staged(csv, folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    threads = str(os.cpu_count() or 1)
    for _ in range(arguments.repeats):
        target = folder / "floor.parquet"
        floor = measure([sys.executable, "-c", FLOOR, str(csv), str(target)], environment)
        target.unlink()
        shutil.rmtree(folder / "changes", ignore_errors=True)
        command = [sys.executable, "-c", COMPARE, str(folder), str(YEAR), threads]
        report(csv, arguments.rows, floor, measure(command, environment))
    shutil.rmtree(folder)


def report(csv: Path, rows: int, floor: Measured, compared: Measured) -> None:
    """Print what was measured."""
    gigabytes = csv.stat().st_size / 1e9
    print(f"\n{rows:,} general rows, {gigabytes:.2f} GB, {os.cpu_count()} cores, {date.today()}")
    print(f"{'':<34}{'seconds':>9}{'x floor':>9}{'peak MiB':>10}")
    lines = (
        ("floor: bare CSV to Parquet", floor),
        ("two releases compared, start incl.", compared),
    )
    for name, measured in lines:
        ratio = measured.seconds / floor.seconds
        print(f"{name:<34}{measured.seconds:>9.1f}{ratio:>9.2f}{measured.peak_mib:>10.0f}")


if __name__ == "__main__":
    main()
