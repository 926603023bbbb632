"""The openpay command: thin over Dagster, the same job, instance and checks as the UI.

Exit codes: 0 done, 1 a check or run failed (the report says which), 2 wrong usage.
"""

from __future__ import annotations

import csv
import json
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
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
from openpay_assets.garbage import collect_less
from openpay_assets.settings import Settings

if TYPE_CHECKING:
    from openpay_assets.lake.tables import Partition
    from openpay_assets.runs import RunReport

out = Console()
err = Console(stderr=True)


def say(text: str, end: str = "\n") -> None:
    """Print a line as it is: no wrapping of paths, no colour but the markup given."""
    out.print(text, end=end, highlight=False, soft_wrap=True)


def print_whole(table: RichTable) -> None:
    """Print a table as wide as it is: a cell cut short says nothing."""
    width = Measurement.get(out, out.options.update(max_width=10_000), table).maximum
    Console(width=max(width, out.width)).print(table)


app = typer.Typer(
    name="openpay",
    help="CMS Open Payments as a lakehouse: every release kept, every row and dollar accounted for.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FAILED, USAGE = 1, 2
STEPS, REFERENCE_STEPS = 14, 5
"""Steps of the partition job: raw files, removed list, stage, seven curated tables, three of the
reconciliation, marts; and of the references: their files and four tables."""


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
    company: Annotated[
        str | None,
        typer.Option(
            help="Only land the rows of the company with this CMS id, as CSV under "
            "raw/company_id=...; no table is touched."
        ),
    ] = None,
) -> None:
    """Run one partition through every zone and print a summary."""
    from openpay_assets.lake.tables import Partition

    if company is not None:
        _land_slice(Partition(dataset, year), company, _day(release))
        return
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
    """Run every partition that is missing, outdated or was never finished, listed first."""
    from openpay_assets.definitions import cms_resource
    from openpay_assets.lake.tables import LakeTables
    from openpay_assets.orchestration.assets.health import FINISHED_TABLE, find_ailing
    from openpay_assets.orchestration.partitions import is_partition
    from openpay_assets.orchestration.sensors import held_releases, newest_releases

    settings = Settings()
    wanted, tables = _years(years), LakeTables(Path(settings.lake))
    newest = {
        partition: day
        for partition, day in newest_releases(cms_resource(settings).source()).items()
        if dataset in (None, partition.dataset)
        and (wanted is None or partition.program_year in wanted)
    }
    for partition in [x for x in newest if not is_partition(x)]:
        err.print(f"[yellow]left out[/yellow] {partition}: its program year has not ended yet")
        del newest[partition]
    finished = tables.partitions(FINISHED_TABLE)
    held = {x: day for x, day in held_releases(tables).items() if x in newest}
    due = find_ailing(newest, held, finished, failed={})
    say(f"{len(due)} of {len(newest)} published partitions are missing, outdated or unfinished.")
    for x in due:
        say(f"  {x.partition}  {x.held or 'missing'} -> {x.published}  {x.state}")
    failed = [report for x in due if not (report := _run(x.partition, x.published)).success]
    for report in failed:
        err.print(f"[red]failed[/red] {report.partition}: {report.error}")
    say(f"{len(due) - len(failed)} partitions done, {len(failed)} failed.")
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show partitions by zone, their checks, and how the last run of each ended."""
    from openpay_assets.status import partitions

    settings = Settings()
    rows = partitions(settings)
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    if not rows:
        say(
            f"The lake at {settings.lake} holds no partitions. Start with: openpay run general 2023"
        )
        return
    table = RichTable("partition", "release", box=SIMPLE_HEAD)
    for name in ("staged", "quarantined", "payments", "marts"):
        table.add_column(name, justify="right")
    table.add_column("checks")
    for row in rows:
        counts = {name: n for name, n in row["checks"].items() if n or name == "passed"}
        table.add_row(
            row["partition"],
            row["release"] or "-",
            *(_number(row[zone]) for zone in ("staging", "quarantine", "payments", "marts")),
            ", ".join(f"{n} {name}" for name, n in counts.items()) or "-",
        )
    print_whole(table)
    for row in rows:
        if error := row["last_run"].get("error"):
            reason = escape(error.partition("\n")[0])
            say(f"[red]{row['last_run']['status']}[/red] {row['partition']}: {reason}")


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help="SQL over staging.*, quarantine.*, curated.*, marts.*")
    ],
    output: Annotated[Format, typer.Option("--format", help="How to print rows.")] = Format.TABLE,
    release: Annotated[
        str | None,
        typer.Option(help="As of this release day, such as 2023-06-30; as it is now by default."),
    ] = None,
) -> None:
    """Run SQL over the lake with DuckDB, as it is or as of a release."""
    import duckdb

    from openpay_assets.query import connect

    with connect(Settings(), _day(release)) as connection:
        try:
            result = connection.execute(sql)
            names = [column[0] for column in result.description or []]
            rows = result.fetchall()
        except duckdb.Error as error:
            err.print(str(error), markup=False)
            raise typer.Exit(USAGE) from error
    _print_rows(names, rows, output)


@app.command()
def releases(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Show by partition which releases CMS offers, which are landed and which can be read."""
    from openpay_assets.status import releases as of_each_partition

    rows = of_each_partition(Settings())
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = RichTable("partition", "offered by CMS", "landed", "readable", "current", "")
    for row in rows:
        days = [" ".join(row[x]) or "-" for x in ("offered", "landed", "readable")]
        note = "" if row["up_to_date"] else "newer release offered"
        table.add_row(row["partition"], *days, row["current"] or "-", note)
    print_whole(table)


@app.command()
def expire(
    keep: Annotated[int, typer.Option(help="Newest releases of each partition to keep.", min=1)],
    dataset: Annotated[Dataset | None, typer.Option(help="One dataset only.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Drop what is listed.")] = False,
) -> None:
    """List what older releases hold on to, and drop it with --yes. Raw files always stay."""
    from openpay_assets.lake import expiry
    from openpay_assets.lake.tables import LakeTables

    tables = LakeTables(Path(Settings().lake))
    planned = expiry.plan(tables, keep, dataset)
    for table in planned:
        say(
            f"{table.table}: {len(table.snapshots)} snapshots, {len(table.files)} files, "
            f"{len(table.orphans)} left behind, {table.size / 1e6:.1f} MB"
        )
        for partition, day in table.releases:
            say(f"  {partition or 'whole table'}  {day}")
    if not planned:
        say(
            f"Nothing to drop: no release is older than the newest {keep} of its partition, and no "
            f"run left files behind."
        )
    elif not yes:
        say("Nothing was dropped. Repeat with --yes to drop it; the landed raw files stay.")
    else:
        dropped = expiry.expire(tables, keep, dataset)
        releases = sum(len(x.releases) for x in dropped)
        files = sum(len(x.files) + len(x.orphans) for x in dropped)
        say(f"Dropped {releases} releases and {files} files of {len(dropped)} tables.")


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
    for asked_to_end in (signal.SIGINT, signal.SIGTERM):
        # Set for both: a shell that starts it in the background has it ignore Ctrl-C.
        signal.signal(asked_to_end, signal.default_int_handler)
    say(f"{server.url}  (stop with Ctrl-C)")
    try:
        server.serve()
    except KeyboardInterrupt:
        say("stopped")


def _run(partition: Partition, release: date | None) -> RunReport:
    from openpay_assets.runs import run_partition

    with progress_bar() as progress:
        on_step, finish = _steps(progress, str(partition), STEPS)
        task = progress.task_ids[-1]

        def on_bytes(done: int, total: int) -> None:
            share = f"{100 * done // max(total, 1)} % of {total / 1e6:,.0f} MB"
            progress.update(task, description=f"{partition} downloading {share}")

        report = run_partition(Settings(), partition, release, on_step, on_bytes)
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


def _land_slice(partition: Partition, company: str, release: date | None) -> None:
    from openpay_assets.cms.source import SLICE
    from openpay_assets.runs import land_slice

    file = land_slice(Settings(), partition, company, release)
    root = next(x for x in Path(file.path).parents if x.name.startswith(SLICE))
    say(f"[green]{'landed' if file.landed else 'already landed'}[/green] {escape(file.path)}")
    say(f"  {file.size:,} bytes of company {company} in {partition}, release {file.release}.")
    say("  No table was touched: these are not all rows of the partition. To work with them, give")
    say(f"  them a lake of their own: OPENPAY_CMS={root} OPENPAY_LAKE=<folder> openpay run ...")


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
            say(f"  {side:<12} {rows:>12,} rows {money(amount):>22} dollars")
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
        print_whole(table)


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


def money(value: str) -> str:
    """Write dollars with two decimals and commas."""
    from decimal import Decimal

    return f"{Decimal(value):,.2f}"


def main() -> None:
    """Run the command, turning expected errors into a message and an exit code."""
    from openpay_assets.cms.http import SiteError
    from openpay_assets.cms.source import ReleaseNotFoundError

    collect_less()
    try:
        app()
    except SiteError as error:
        err.print(str(error), markup=False)
        sys.exit(FAILED)
    except (ReleaseNotFoundError, ValueError) as error:
        err.print(str(error), markup=False)
        sys.exit(USAGE)


if __name__ == "__main__":
    main()
