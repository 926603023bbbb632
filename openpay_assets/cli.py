"""The openpay command: thin over Dagster, the same job, instance and checks as the UI.

Exit codes: 0 done, 1 a check or run failed (the report says which), 2 wrong usage.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table as RichTable

from openpay_assets.contracts.model import Dataset
from openpay_assets.settings import Settings

if TYPE_CHECKING:
    from openpay_assets.lake.tables import Partition
    from openpay_assets.runs import RunReport

out = Console()
err = Console(stderr=True)


def say(text: str, end: str = "\n") -> None:
    """Print a line as it is: no wrapping of paths, no colour but the markup given."""
    out.print(text, end=end, highlight=False, soft_wrap=True)


app = typer.Typer(
    name="openpay",
    help="CMS Open Payments as a lakehouse: every release kept, every row and dollar accounted for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FAILED, USAGE = 1, 2
STEPS, REFERENCE_STEPS = 12, 5
"""Steps of the partition job: raw files, stage, six curated tables, three of the reconciliation,
marts; and of the references: their files and four tables."""


class Format(StrEnum):
    """How a query prints its rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


DatasetArgument = Annotated[Dataset, typer.Argument(help="general, research or ownership")]
Years = Annotated[str | None, typer.Option(help="A year or a range such as 2019-2023.")]


@app.command()
def run(
    dataset: DatasetArgument,
    year: Annotated[int, typer.Argument(help="Program year.", min=2013)],
    release: Annotated[
        str | None, typer.Option(help="Release day, such as 2023-06-30; the newest by default.")
    ] = None,
) -> None:
    """Run one partition through every zone and print a summary."""
    from openpay_assets.lake.tables import Partition

    report = _run(Partition(dataset, year), _day(release))
    _summarize(report)
    if not report.success:
        raise typer.Exit(FAILED)


@app.command()
def references(
    release: Annotated[
        str | None, typer.Option(help="Release day, such as 2025-06-30; the newest by default.")
    ] = None,
) -> None:
    """Land profiles of clinicians, companies and hospitals and replace their tables."""
    from openpay_assets.runs import run_references

    day = _day(release)
    with progress_bar() as progress:
        on_step, finish = _steps(progress, "references", REFERENCE_STEPS)
        report = run_references(Settings(), day, on_step)
        finish(report)
    _summarize(report)
    if not report.success:
        raise typer.Exit(FAILED)


@app.command()
def backfill(
    dataset: Annotated[Dataset | None, typer.Option(help="One dataset only.")] = None,
    years: Years = None,
) -> None:
    """Run every partition that is missing or older than its newest release, listed first."""
    from openpay_assets.cms.source import source_for
    from openpay_assets.lake.tables import LakeTables, Partition

    settings = Settings()
    wanted = _years(years)
    held = _staged(LakeTables(Path(settings.lake)))
    newest: dict[Partition, date] = {}
    for published in source_for(settings.cms).releases(dataset):
        newest[Partition(published.file.dataset, published.file.program_year)] = (
            published.file.release
        )
    due = [
        partition
        for partition, day in sorted(newest.items())
        if (wanted is None or partition.program_year in wanted) and held.get(partition) != str(day)
    ]
    say(f"{len(due)} of {len(newest)} published partitions are missing or outdated.")
    for partition in due:
        say(f"  {partition}  {held.get(partition, 'missing')} -> {newest[partition]}")
    failed = [report for partition in due if not (report := _run(partition, None)).success]
    for report in failed:
        err.print(f"[red]failed[/red] {report.partition}: {report.error}")
    say(f"{len(due) - len(failed)} partitions done, {len(failed)} failed.")
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show partitions by zone, and their checks."""
    from openpay_assets.lake.tables import LakeTables

    settings = Settings()
    rows = _status(LakeTables(Path(settings.lake)), Path(settings.lake))
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    if not rows:
        say(
            f"The lake at {settings.lake} holds no partitions. Start with: openpay run general 2023"
        )
        return
    table = RichTable(
        "partition", "release", "staged", "quarantined", "payments", "marts", "checks"
    )
    for row in rows:
        counts = row["checks"]
        table.add_row(
            row["partition"],
            row["release"] or "-",
            _number(row["staging"]),
            _number(row["quarantine"]),
            _number(row["payments"]),
            _number(row["marts"]),
            f"{counts['passed']} passed, {counts['warned']} warned, {counts['failed']} failed"
            if counts
            else "-",
        )
    out.print(table)


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help="SQL over staging.*, quarantine.*, curated.*, marts.*")
    ],
    output: Annotated[Format, typer.Option("--format", help="How to print rows.")] = Format.TABLE,
) -> None:
    """Run SQL over the lake with DuckDB."""
    import duckdb

    from openpay_assets.query import connect

    with connect(Settings()) as connection:
        try:
            result = connection.execute(sql)
            names = [column[0] for column in result.description or []]
            rows = result.fetchall()
        except duckdb.Error as error:
            err.print(str(error), markup=False)
            raise typer.Exit(USAGE) from error
    _print_rows(names, rows, output)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="Where the site is written.")],
    years: Years = "2022-2023",
    rows: Annotated[int, typer.Option(help="General rows per program year.", min=1)] = 10_000,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    dirt: Annotated[float, typer.Option(help="Share of rows with a defect.", min=0, max=1)] = 0.0,
    dataset: Annotated[list[Dataset] | None, typer.Option(help="Only these datasets.")] = None,
    release: Annotated[str | None, typer.Option(help="Release day; the newest by default.")] = None,
    releases: Annotated[
        int | None, typer.Option(help="How many releases of each year, up to that day.", min=1)
    ] = None,
    beside: Annotated[
        bool, typer.Option(help="Also what stands beside the payments: profiles, summaries.")
    ] = True,
) -> None:
    """Write a CMS site to disk: real layouts and domains, invented people and companies."""
    from openpay_assets.cms.simulator import simulate as write_site

    with progress_bar() as progress:
        task = progress.add_task("simulating", total=None)
        files = write_site(
            folder,
            years=sorted(_years(years) or ()),
            rows=rows,
            seed=seed,
            dirt=dirt,
            datasets=tuple(dataset or Dataset),
            release=release,
            releases=releases,
            beside=beside,
            on_progress=lambda *_: progress.advance(task),
        )
    for file in files:
        say(f"{file.path.name}  {file.rows:,} rows")
    say(
        f"Run a partition of it with: OPENPAY_CMS={folder} openpay run general {min(_years(years) or (2023,))}"
    )


@app.command()
def serve(
    folder: Annotated[Path, typer.Argument(help="A folder that openpay simulate wrote.")],
    port: Annotated[int, typer.Option(help="Port of 127.0.0.1; 0 takes a free one.")] = 8800,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What shall go wrong, how often and where: reset:2@OP_DTL_GNRL."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option(help="Publish releases up to this day only; all by default.")
    ] = None,
) -> None:
    """Serve a simulated CMS site over HTTP: catalog, query API, files; faults on demand."""
    from openpay_assets.cms.simulator.server import SiteServer

    server = SiteServer(folder, port, fault or (), _day(as_of, "--as-of"))
    say(f"{server.url}  (stop with Ctrl-C)")
    try:
        server.serve()
    except KeyboardInterrupt:
        say("stopped")


def _run(partition: Partition, release: date | None) -> RunReport:
    from openpay_assets.runs import run_partition

    with progress_bar() as progress:
        on_step, finish = _steps(progress, str(partition), STEPS)
        report = run_partition(Settings(), partition, release, on_step)
        finish(report)
    return report


def _steps(
    progress: Progress, what: str, steps: int
) -> tuple[Callable[[str], None], Callable[[RunReport], None]]:
    """Show the steps of a run; return what to call for each of them and for the report."""
    task = progress.add_task(what, total=steps)

    def on_step(step: str) -> None:
        progress.update(task, advance=1, description=f"{what} {step.replace('__', '.')}")

    def finish(report: RunReport) -> None:
        if report.success:
            progress.update(task, completed=steps, description=what)

    return on_step, finish


def _summarize(report: RunReport) -> None:
    staged = report.assets.get("staging", {})
    what = report.partition or "references"
    if report.success:
        say(f"[green]done[/green] {what}, release {report.release}")
    else:
        err.print(f"[red]failed[/red] {what}, release {report.release or 'none'}")
        err.print(escape(report.error or ""), highlight=False, soft_wrap=True)
    for side in ("read", "staged", "quarantined"):
        if f"rows_{side}" in staged:
            rows, amount = staged[f"rows_{side}"], staged[f"dollars_{side}"]
            say(f"  {side:<12} {rows:>12,} rows {_money(amount):>22} dollars")
    for check in report.checks:
        for rule in check.metadata.get("rules", []) if check.name == "reasons" else []:
            say(f"    {rule['rule']:<28} {rule['rows']:>8,} rows")
    failed = report.failed_checks
    warned = [c for c in failed if not c.blocking]
    passed = len(report.checks) - len(failed)
    say(f"  checks       {passed} passed, {len(warned)} warned, {len(failed) - len(warned)} failed")
    for check in failed:
        mark = "[red]failed[/red]" if check.blocking else "[yellow]warned[/yellow]"
        say(f"    {mark} {check.asset}.{check.name}: ", end="")
        say(escape(check.summary))
    say(f"  manifest     {report.manifest}")


def _status(tables: Any, root: Path) -> list[dict[str, Any]]:
    from openpay_assets.contracts.registry import staging_table
    from openpay_assets.lake.manifest import read_manifest

    staged = {p: c for d in Dataset for p, c in tables.partitions(staging_table(d).name).items()}
    others = {
        "quarantine": tables.partitions("quarantine.records"),
        "payments": tables.partitions("curated.payments"),
        "marts": tables.partitions("marts.fct_payments"),
    }
    rows = []
    for partition, committed in sorted(staged.items()):
        row: dict[str, Any] = {
            "partition": str(partition),
            "release": committed.release,
            "run_id": committed.run_id,
            "staging": committed.rows,
            **{
                zone: found[partition].rows if partition in found else None
                for zone, found in others.items()
            },
            "checks": {},
        }
        try:
            checks = read_manifest(root, committed.run_id).checks
        except FileNotFoundError:
            # Runs started in the UI leave their checks in the instance, not in a manifest.
            checks = []
        if checks:
            failed = [c for c in checks if not c["passed"]]
            blocking = sum(1 for c in failed if c["blocking"])
            row["checks"] = {
                "passed": len(checks) - len(failed),
                "warned": len(failed) - blocking,
                "failed": blocking,
            }
        rows.append(row)
    return rows


def _staged(tables: Any) -> dict[Partition, str]:
    from openpay_assets.contracts.registry import staging_table

    return {
        p: c.release for d in Dataset for p, c in tables.partitions(staging_table(d).name).items()
    }


def _print_rows(names: Sequence[str], rows: Iterable[Sequence[Any]], output: Format) -> None:
    if output is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    elif output is Format.JSON:
        print(
            json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str, indent=2)
        )
    else:
        table = RichTable(*names)
        for row in rows:
            table.add_row(*("" if value is None else str(value) for value in row))
        out.print(table)


def progress_bar() -> Progress:
    """Return a progress bar on standard error; silent when that is not a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        disable=not err.is_terminal,
    )


def _day(value: str | None, option: str = "--release") -> date | None:
    if value is None:
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d").date()
    except ValueError as error:
        raise typer.BadParameter(
            f"{value} is not a day such as 2023-06-30", param_hint=option
        ) from error


def _years(value: str | None) -> set[int] | None:
    if value is None:
        return None
    first, _, last = value.partition("-")
    try:
        return set(range(int(first), int(last or first) + 1))
    except ValueError as error:
        raise typer.BadParameter(
            f"{value} is not a year or a range such as 2019-2023", param_hint="--years"
        ) from error


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _money(value: str) -> str:
    from decimal import Decimal

    return f"{Decimal(value):,.2f}"


def main() -> None:
    """Run the command, turning expected errors into a message and an exit code."""
    from openpay_assets.cms.source import ReleaseNotFoundError

    try:
        app()
    except (ReleaseNotFoundError, ValueError) as error:
        err.print(str(error), markup=False)
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
