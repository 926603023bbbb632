"""How long a partition takes, as a ratio to the floor, both measured in one run.

The floor is DuckDB converting the same CSV to Parquet and nothing else. A partition is the whole
``openpay run``: process start, raw to marts, every check. Peak memory is the largest process. What
is done once per version of openpay and not per partition, dbt's first parse, is done before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
YEAR = 2023
FLOOR = """
import duckdb, sys
duckdb.sql(f"COPY (SELECT * FROM read_csv('{sys.argv[1]}', all_varchar=true)) "
           f"TO '{sys.argv[2]}' (FORMAT parquet, COMPRESSION zstd)")
"""


PARSED = """
from openpay_assets.orchestration.assets.marts import manifest_path
manifest_path()
"""


@dataclass(frozen=True)
class Measured:
    """Seconds by the wall, and mebibytes of the largest process."""

    seconds: float
    peak_mib: float


def measure(command: list[str], environment: dict[str, str]) -> Measured:
    """Run a command to its end; raises when it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}")
    return Measured(time.perf_counter() - started, usage.ru_maxrss / 1024)


def simulated(folder: Path, rows: int, dirt: float) -> Path:
    """Return the CSV to measure on, simulated once per size."""
    from openpay_assets.cms.simulator import simulate
    from openpay_assets.contracts.model import Dataset

    site = folder / f"site-{rows}"
    found = list(site.glob("OP_DTL_GNRL*.csv"))
    if found:
        return found[0]
    partial = site.with_name(f"{site.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    simulate(
        partial,
        years=[YEAR],
        rows=rows,
        seed=1,
        dirt=dirt,
        datasets=(Dataset.GENERAL,),
    )
    partial.rename(site)
    return next(site.glob("OP_DTL_GNRL*.csv"))


def zones(lake: Path) -> dict[str, float]:
    """Return the seconds of each step of the only run of a lake."""
    import dagster as dg

    os.environ["DAGSTER_HOME"] = str(lake / ".dagster")
    with dg.DagsterInstance.get() as instance:
        run = instance.get_runs(limit=1)[0]
        steps = instance.get_run_step_stats(run.run_id)
    return {s.step_key: s.end_time - s.start_time for s in steps if s.start_time and s.end_time}


def main() -> None:
    """Measure and print a table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dirt", type=float, default=0.001)
    parser.add_argument("--folder", type=Path, default=ROOT / ".openpay" / "bench")
    arguments = parser.parse_args()
    csv = simulated(arguments.folder, arguments.rows, arguments.dirt)
    lake = arguments.folder / f"lake-{arguments.rows}"
    environment = {**os.environ, "OPENPAY_LAKE": str(lake), "OPENPAY_CMS": str(csv.parent)}
    environment.pop("DAGSTER_HOME", None)
    run = [sys.executable, "-m", "openpay_assets.cli", "run", "general", str(YEAR)]
    measure([sys.executable, "-c", PARSED], environment)
    for _ in range(arguments.repeats):
        target = arguments.folder / "floor.parquet"
        floor = measure([sys.executable, "-c", FLOOR, str(csv), str(target)], dict(os.environ))
        target.unlink()
        shutil.rmtree(lake, ignore_errors=True)
        whole = measure(run, environment)
        report(csv, arguments.rows, floor, whole, zones(lake))
        shutil.rmtree(lake)


def report(csv: Path, rows: int, floor: Measured, whole: Measured, steps: dict[str, float]) -> None:
    """Print what was measured."""
    gigabytes = csv.stat().st_size / 1e9
    print(f"\n{rows:,} general rows, {gigabytes:.2f} GB, {os.cpu_count()} cores, {date.today()}")
    print(f"{'':<34}{'seconds':>9}{'x floor':>9}{'peak MiB':>10}")
    print(
        f"{'floor: bare CSV to Parquet':<34}{floor.seconds:>9.1f}{1:>9.2f}{floor.peak_mib:>10.0f}"
    )
    for step, seconds in steps.items():
        print(f"  {step.replace('__', '.'):<32}{seconds:>9.1f}{seconds / floor.seconds:>9.2f}")
    ratio = whole.seconds / floor.seconds
    print(
        f"{'whole partition, start included':<34}{whole.seconds:>9.1f}{ratio:>9.2f}{whole.peak_mib:>10.0f}"
    )


if __name__ == "__main__":
    main()
