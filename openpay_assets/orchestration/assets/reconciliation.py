"""Reconciliation: the summaries that CMS publishes with a release, and our totals beside them.

The summaries cover all datasets and years; they are landed once per release and read for each
partition. Where CMS publishes none for a release or a year, there is nothing to compare: the
checks then pass as not applicable and say so. What differs is committed before a check stops the
marts, so that it can be queried; staging and the curated payments stay as they are.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from openpay_assets.cms.csv import StrictParseError, read_header
from openpay_assets.cms.names import FileKind
from openpay_assets.cms.source import Beside, CmsSource
from openpay_assets.contracts.published import SUMMARIES, nature_labels
from openpay_assets.contracts.registry import curated_table
from openpay_assets.contracts.schema import violations
from openpay_assets.lake.raw import RawBeside, RawFile
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.assets import beside
from openpay_assets.orchestration.assets.curated import (
    column_schema,
    fixed_columns,
    in_contract,
    staged_from,
)
from openpay_assets.orchestration.assets.staging import STAGING, schema_outcome
from openpay_assets.orchestration.checks import Check, Outcome
from openpay_assets.orchestration.io_managers import LakeIOManager, Pending, Target
from openpay_assets.orchestration.partitions import DATASET_YEARS, partition_of
from openpay_assets.orchestration.resources import CmsResource, LakeResource
from openpay_assets.transforms import reconcile, totals

if TYPE_CHECKING:
    import ibis.expr.types as ir

SUMMARY_FILES = dg.AssetKey("summary_files")
PUBLISHED = dg.AssetKey(["curated", "published_totals"])
RECONCILIATION = dg.AssetKey(["curated", "reconciliation"])
GROUP = "reconciliation"
SHOWN, NAMED = 50, 3


@dg.asset(
    key=SUMMARY_FILES,
    ins={"raw_files": dg.AssetIn(key="raw_files", input_manager_key="raw_io")},
    partitions_def=DATASET_YEARS,
    io_manager_key="beside_io",
    group_name="raw",
    kinds={"csv"},
    check_specs=checks.specs(SUMMARY_FILES, checks.FILE_CHECKS),
)
def summary_files(
    context: dg.AssetExecutionContext,
    raw_files: RawFile,
    cms: CmsResource,
    lake_zone: LakeResource,
) -> Iterator[dg.Output[list[RawBeside]] | dg.AssetCheckResult]:
    """The totals that CMS publishes with a release: each file landed once, never edited."""
    source = cms.source()
    published = summaries_of(source, raw_files.release_date, raw_files.program_year)
    zone, day, year = lake_zone.raw(), raw_files.release_date, raw_files.program_year
    found = beside.land(published, source, zone, context.run.run_id)
    files = beside.with_landed(found, zone, map(FileKind, SUMMARIES), day, year)
    outcomes = beside.judge(files)
    yield from checks.report(SUMMARY_FILES, checks.FILE_CHECKS, outcomes)
    yield dg.Output(files, metadata={"files": {x.name: x.sha256 for x in files}})


def summaries_of(source: CmsSource, release: date, program_year: int) -> list[Beside]:
    """Return the summaries of a release that tell about a program year."""
    return [
        x
        for kind in SUMMARIES
        for x in source.beside(FileKind(kind))
        if x.file.release == release and x.file.program_year in (None, program_year)
    ]


PUBLISHED_CHECKS = (
    Check(
        "strict_parse",
        "Every record parses with nothing lenient switched on, and every total is a number.",
        blocking=True,
    ),
    *checks.curated_checks("published_totals"),
    Check("lines_known", "The meaning of every line of the dashboard is known."),
)


@dg.asset(
    key=PUBLISHED,
    ins={"files": dg.AssetIn(key=SUMMARY_FILES, input_manager_key="beside_io")},
    deps=[STAGING],  # a release that is not staged must not take the place of the one that is
    partitions_def=DATASET_YEARS,
    io_manager_key="lake",
    group_name=GROUP,
    kinds={"iceberg"},
    check_specs=checks.specs(PUBLISHED, PUBLISHED_CHECKS),
    metadata={"dagster/column_schema": column_schema("published_totals")},
)
def published_totals(
    context: dg.AssetExecutionContext,
    files: list[RawBeside],
    lake: dg.ResourceParam[LakeIOManager],
) -> Iterator[dg.Output[Pending | None] | dg.AssetCheckResult]:
    """What CMS adds up for a partition: one row per control, key and measure."""
    partition = partition_of(context.partition_key)
    if not files:
        yield from _not_applicable(PUBLISHED, PUBLISHED_CHECKS, "CMS publishes no summaries.")
        yield dg.Output(_emptied(lake, "published_totals", partition, context.run.run_id))
        return
    try:
        pending, outcomes = read(lake, files, partition, context.run.run_id)
    except StrictParseError as problem:
        yield from checks.report_unparsed(PUBLISHED, problem)
        return
    yield from checks.report(PUBLISHED, PUBLISHED_CHECKS, outcomes)
    yield dg.Output(pending)


def _not_applicable(
    asset: dg.AssetKey, asked: Sequence[Check], why: str
) -> Iterator[dg.AssetCheckResult]:
    yield from checks.results(asset, asked, checks.unasked(asked, f"Not applicable: {why}"))


def _emptied(lake: LakeIOManager, name: str, partition: Partition, run_id: str) -> Pending | None:
    """Return an empty partition where another release left rows; else there is nothing to do.

    What is held of the same release stays: nothing was published that says otherwise.
    """
    table = curated_table(name)
    before = lake.tables.partitions(table.name).get(partition)
    if before is None or not before.rows:
        return None
    release, layout = staged_from(lake, partition)
    if before.release == str(release):
        return None
    return lake.pending(table, [], Target(partition, release, run_id, layout.name))


def read(
    lake: LakeIOManager, files: Sequence[RawBeside], partition: Partition, run_id: str
) -> tuple[Pending, dict[str, Outcome]]:
    """Read the totals of a partition from the summaries and write them; nothing is visible yet.

    Raises ``StrictParseError`` when a file is not well-formed.
    """
    summaries = [_summary(lake, file, partition.program_year) for file in files]
    release = files[0].release_date
    long = totals.published_totals(summaries, partition.dataset, partition.program_year, release)
    table = curated_table("published_totals")
    target = Target(partition, release, run_id, "")
    pending = lake.write(table, long.filter(long.value.notnull()), target)
    untyped = lake.engine.to_rows(long.filter(long.value.isnull()).limit(NAMED))
    said = "; ".join(f"{x['source_file']}, {x['control']}: {x['text']!r}" for x in untyped)
    unknown = [
        x["metric"]
        for summary in summaries
        if summary.kind == reconcile.DASHBOARD
        for x in lake.engine.to_rows(totals.unknown_lines(summary))
    ]
    outcomes = [
        Outcome(
            "strict_parse",
            not untyped,
            f"Totals that are no numbers: {said}." if untyped else f"{pending.count:,} totals.",
        ),
        *in_contract(pending, partition, lake),
        Outcome(
            "lines_known",
            not unknown,
            f"{len(unknown):,} lines of the dashboard are not compared"
            + (
                f": {'; '.join(unknown)}. Say what they count in dashboard_metrics.csv."
                if unknown
                else "."
            ),
            {"unknown": unknown},
        ),
    ]
    return pending, {x.name: x for x in outcomes}


def _summary(lake: LakeIOManager, file: RawBeside, program_year: int) -> totals.SummaryInput:
    path, layout = Path(file.path), beside.known_layout(file)
    columns = totals.columns_needed(layout, program_year)
    text = lake.engine.read_text(path, read_header(path), columns)
    return totals.SummaryInput(file.kind, text.table, layout, file.name)


OTHERS = tuple(
    x for x in reconcile.DATASETS if x not in (reconcile.DASHBOARD, reconcile.ENTITY_NATURE)
)
COMPARED = {
    "rec_dashboard": (reconcile.DASHBOARD,),
    "rec_entity_nature": (reconcile.ENTITY_NATURE,),
    "rec_others": OTHERS,
}
"""Controls that each check compares."""
RECONCILIATION_CHECKS = (
    Check("schema", "The table is what its contract says.", blocking=True),
    Check(
        "rec_dashboard",
        "Rows and dollars, disputed and undisputed, equal CMS's dashboard to the cent.",
        blocking=True,
    ),
    Check(
        "rec_entity_nature",
        "Rows and dollars of every company and nature of payment equal CMS's to the cent.",
        blocking=True,
    ),
    Check("rec_others", f"Rows and dollars equal CMS's by {', '.join(OTHERS)}."),
)


@dg.asset(
    key=RECONCILIATION,
    ins={
        "published": dg.AssetIn(key=PUBLISHED),
        "staging": dg.AssetIn(key="staging"),
        "quarantine": dg.AssetIn(key="quarantine"),
    },
    partitions_def=DATASET_YEARS,
    io_manager_key="lake",
    group_name=GROUP,
    kinds={"iceberg"},
    check_specs=checks.specs(RECONCILIATION, RECONCILIATION_CHECKS),
    metadata={"dagster/column_schema": column_schema("reconciliation")},
)
def reconciliation(
    context: dg.AssetExecutionContext,
    published: Any,
    staging: Any,
    quarantine: Any,
    lake: dg.ResourceParam[LakeIOManager],
) -> Iterator[dg.Output[Pending | None] | dg.AssetCheckResult]:
    """Our totals over every row, CMS's, and where they differ."""
    partition = partition_of(context.partition_key)
    release, layout = staged_from(lake, partition)
    held = lake.tables.partitions("curated.published_totals").get(partition)
    if held is None or not held.rows or held.release != str(release):
        why = f"CMS publishes no totals of {partition} with release {release}."
        yield from _not_applicable(RECONCILIATION, RECONCILIATION_CHECKS, why)
        yield dg.Output(_emptied(lake, "reconciliation", partition, context.run.run_id))
        return
    controls = _controls(lake, published)
    rows = reconcile.all_rows(staging, quarantine, partition.dataset, layout)
    compared = reconcile.compare(reconcile.our_totals(rows, partition.dataset, controls), published)
    target = Target(partition, release, context.run.run_id, layout.name)
    pending = lake.write(
        curated_table("reconciliation"),
        reconcile.reconciliation(compared, partition.dataset, partition.program_year, release),
        target,
    )
    outcomes = judge(lake, pending, partition)
    yield from checks.results(RECONCILIATION, RECONCILIATION_CHECKS, outcomes)
    checks.stop(RECONCILIATION_CHECKS[:1], outcomes)
    yield dg.Output(pending)
    checks.stop(RECONCILIATION_CHECKS, outcomes)


def _controls(lake: LakeIOManager, published: "ir.Table") -> list[str]:
    """Return the controls that CMS publishes for the partition."""
    found = {x["control"] for x in lake.engine.to_rows(published.select("control").distinct())}
    return [control for control in reconcile.DATASETS if control in found]


def judge(lake: LakeIOManager, pending: Pending, partition: Partition) -> dict[str, Outcome]:
    """Return the outcome of every check of the reconciliation."""
    fixed = fixed_columns(partition)
    broken = violations(pending.table, pending.rows, pending.count, fixed)
    rows = pending.rows
    sums = lake.engine.to_rows(rows.filter(rows.level == reconcile.TOTAL))
    outcomes = [
        schema_outcome("schema", pending.table.name, broken),
        *(_outcome(lake, pending, check, sums, partition) for check in COMPARED),
    ]
    return {x.name: x for x in outcomes}


def _outcome(
    lake: LakeIOManager,
    pending: Pending,
    check: str,
    sums: Sequence[dict[str, Any]],
    partition: Partition,
) -> Outcome:
    controls = COMPARED[check]
    found = sorted(
        (x for x in sums if x["control"] in controls), key=lambda x: (x["control"], x["measure"])
    )
    if not found:
        return Outcome(check, True, f"Not applicable: CMS publishes none for {partition}.")
    compared, off = (sum(x[name] for x in found) for name in ("keys_compared", "keys_off"))
    report = {
        f"{x['control']} {x['measure']}": {
            name: str(x[name])
            for name in ("ours", "published", "difference", "keys_compared", "keys_off")
        }
        for x in found
    }
    if not off:
        said = ", ".join(sorted({x["control"] for x in found}))
        return Outcome(check, True, f"{compared:,} totals equal CMS's ({said}).", report)
    listed = _differences(lake, pending, controls)
    return Outcome(
        check,
        False,
        f"{off:,} of {compared:,} totals differ from CMS's. {'; '.join(listed[:NAMED])}. "
        f'All: openpay query "select * from curated.reconciliation where dataset = '
        f"'{partition.dataset}' and program_year = {partition.program_year} and level = 'key'\"",
        {**report, "differences": listed},
    )


def _differences(lake: LakeIOManager, pending: Pending, controls: Collection[str]) -> list[str]:
    """Name the keys that differ most, all measures of a key together."""
    rows = lake.engine.to_rows(reconcile.largest_differences(pending.rows, controls, SHOWN))
    by_key: dict[str, list[str]] = {}
    for row in rows:
        by_key.setdefault(described(row), []).append(_difference(row))
    return [f"{key}: {', '.join(found)}" for key, found in by_key.items()]


def described(row: dict[str, Any]) -> str:
    """Name a key in words: control, company and nature, or whatever it consists of."""
    parts = [f"{key} {row[key]}" for key in totals.KEYS if row[key] is not None]
    if row["nature_code"] is not None:
        label = nature_labels().get(row["nature_code"], "unknown")
        parts = [f"{x} ({label})" if x.startswith("nature_code") else x for x in parts]
    if row["company_id"] is not None and row["name"]:
        parts[0] += f" ({row['name']})"
    keyed = ", ".join(parts)
    if row["control"] == reconcile.DASHBOARD:
        keyed = row["name"] or "all records"
    return f"{row['control']}, {keyed or 'rows without a key'}"


def _difference(row: dict[str, Any]) -> str:
    ours, published = (row[x] if row[x] is not None else 0 for x in ("ours", "published"))
    places = 0 if row["measure"] == "records" else 2
    return (
        f"{row['measure']} {row['difference']:+,.{places}f} "
        f"(ours {ours:,.{places}f}, CMS's {published:,.{places}f})"
    )


RECONCILIATION_ASSETS = [summary_files, published_totals, reconciliation]
