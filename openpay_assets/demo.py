"""The demo: a simulated CMS site, two years of every dataset through every zone, a summary.

``make demo`` runs it. Everything it does can be done with the openpay command; it prints how.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openpay_assets.cli import FAILED, money, progress_bar, say
from openpay_assets.contracts.model import Dataset
from openpay_assets.settings import Settings

if TYPE_CHECKING:
    from openpay_assets.runs import RunReport

YEARS = (2023, 2024)
DIRT = 0.005
TOP_COMPANIES = """
SELECT company_name, sum(company_years.records) AS records, sum(company_years.amount) AS amount
FROM marts.company_years JOIN marts.dim_companies USING (company_id)
WHERE company_years.dataset = 'general'
GROUP BY company_name ORDER BY amount DESC LIMIT 5
"""
REASONS = """
SELECT reason, count(*) AS rows FROM (SELECT unnest(reasons) AS reason FROM quarantine.records)
GROUP BY reason ORDER BY rows DESC, reason
"""


def main(
    site: Annotated[Path, typer.Option(help="Folder of the simulated CMS site.")],
    lake: Annotated[Path, typer.Option(help="Folder of the lake.")],
    rows: Annotated[int, typer.Option(help="General rows per year.")] = 5000,
) -> None:
    """Simulate, run, summarize."""
    from openpay_assets.cms.simulator import simulate
    from openpay_assets.lake.tables import Partition
    from openpay_assets.runs import run_partition

    os.environ["OPENPAY_LAKE"], os.environ["OPENPAY_CMS"] = str(lake), str(site)
    settings = Settings()
    say(f"Simulating a CMS site for {YEARS[0]} and {YEARS[1]} in {site}")
    files = simulate(site, years=YEARS, rows=rows, seed=7, dirt=DIRT)
    say(f"  {len(files)} files, {sum(f.rows for f in files):,} rows, {DIRT:.1%} of them damaged")
    partitions = [Partition(dataset, year) for year in YEARS for dataset in Dataset]
    reports = []
    with progress_bar() as progress:
        task = progress.add_task("partitions", total=len(partitions))
        for partition in partitions:
            progress.update(task, description=str(partition))
            reports.append(run_partition(settings, partition))
            progress.advance(task)
            report = reports[-1]
            say(
                f"  {partition!s:<16} {'done' if report.success else 'FAILED: ' + str(report.error)}"
            )
    _summary(reports, settings)
    if not all(report.success for report in reports):
        raise typer.Exit(FAILED)


def _summary(reports: list[RunReport], settings: Settings) -> None:
    from openpay_assets.query import connect

    for report in reports:
        found = report.assets.get("staging", {})
        for side in ("read", "staged", "quarantined"):
            rows, dollars = found.get(f"rows_{side}", 0), money(found.get(f"dollars_{side}", "0"))
            name = str(report.partition) if side == "read" else ""
            say(f"  {name:<16} {side:<12} {rows:>9,} rows {dollars:>20} dollars")
    with connect(settings) as connection:
        say("Quarantined, by reason:")
        for reason, count in connection.execute(REASONS).fetchall():
            say(f"  {reason:<28} {count:>6,}")
        say("Largest companies by general payments:")
        for name, records, amount in connection.execute(TOP_COMPANIES).fetchall():
            say(f"  {name:<40} {records:>8,} payments {amount:>16,.2f} dollars")
    checks = [check for report in reports for check in report.checks]
    failed = [check for check in checks if not check.passed]
    blocking = sum(check.blocking for check in failed)
    say(
        f"Checks: {len(checks) - len(failed)} passed, {len(failed) - blocking} warned, {blocking} failed"
    )
    where = f"OPENPAY_LAKE={settings.lake} OPENPAY_CMS={settings.cms}"
    say("Next:")
    say("  make ui                                      the asset graph, checks and backfills")
    say(f'  {where} .venv/bin/openpay query "select * from marts.company_years limit 10"')
    say(f"  {where} .venv/bin/openpay status")


if __name__ == "__main__":
    typer.run(main)
