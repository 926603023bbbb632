"""CMS's list of removed records as an asset: landed like any raw file, checked, remembered.

One list a program year and release, for all datasets; each partition lands it by itself and the
same bytes again are skipped. First publications have none, nor do years before 2016.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from openpay_assets.cms.csv import read_csv_sql
from openpay_assets.cms.names import FileKind
from openpay_assets.contracts.registry import removed_list_header
from openpay_assets.contracts.sql import sql_text
from openpay_assets.lake.raw import RawBeside, RawFile
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.assets import beside
from openpay_assets.orchestration.checks import REMOVED_CHECKS, Outcome
from openpay_assets.orchestration.io_managers import MetadataIOManager
from openpay_assets.orchestration.partitions import DATASET_YEARS, partition_of
from openpay_assets.orchestration.resources import CmsResource, LakeResource

REMOVED_LIST = dg.AssetKey("removed_list")
LISTED = ("DELETED", "REMOVED")


@dataclass(frozen=True)
class RemovedList:
    """What CMS published beside a release: the list, if any, and the releases it offers."""

    release: str
    offered: tuple[str, ...]
    file: RawBeside | None

    def tombstones_sql(self, dataset: str) -> str:
        """Select ``change_type`` and ``record_id`` of the records removed from a dataset."""
        if self.file is None:
            return "SELECT NULL::VARCHAR AS change_type, NULL::VARCHAR AS record_id WHERE false"
        return (
            f"SELECT DISTINCT Change_Type AS change_type, Record_ID AS record_id "
            f"FROM {read_csv_sql(Path(self.file.path), removed_list_header())} "
            f"WHERE lower(Payment_Type) = {sql_text(dataset)}"
        )


class RemovedListIOManager(MetadataIOManager):
    """Remembers the list that a partition was last run with."""

    def file_name(self, asset: dg.AssetKey, partition: str | None) -> str:  # noqa: ARG002
        """Return the file of a partition."""
        return f"removed_lists/{partition}"

    def restored(self, found: dict[str, Any]) -> RemovedList:
        """Return what was found beside the release."""
        file = RawBeside(**found["file"]) if found["file"] else None
        return RemovedList(found["release"], tuple(found["offered"]), file)


@dg.asset(
    key=REMOVED_LIST,
    ins={"raw_files": dg.AssetIn(key="raw_files", input_manager_key="raw_io")},
    partitions_def=DATASET_YEARS,
    io_manager_key="removed_io",
    group_name="raw",
    kinds={"csv"},
    check_specs=checks.specs(REMOVED_LIST, REMOVED_CHECKS),
)
def removed_list(
    context: dg.AssetExecutionContext,
    raw_files: RawFile,
    cms: CmsResource,
    lake_zone: LakeResource,
) -> Iterator[dg.Output[RemovedList] | dg.AssetCheckResult]:
    """Ids of the records that CMS removed with a release, as published; often there are none."""
    partition = partition_of(context.partition_key)
    source = cms.source()
    offered = source.releases(partition.dataset, partition.program_year)
    lists = source.beside(FileKind.REMOVED, partition.program_year)
    published = [x for x in lists if x.file.release == raw_files.release_date]
    zone, day = lake_zone.raw(), raw_files.release_date
    landed = beside.land(published, source, zone, context.run.run_id)
    landed = beside.with_landed(landed, zone, [FileKind.REMOVED], day, partition.program_year)
    file = landed[-1] if landed else None
    found = RemovedList(
        raw_files.release, tuple(sorted({str(x.file.release) for x in offered})), file
    )
    outcomes = judge(file)
    yield from checks.report(REMOVED_LIST, REMOVED_CHECKS, outcomes)
    yield dg.Output(
        found,
        metadata={
            "release": raw_files.release,
            "path": file.path if file else "none published",
            "already_landed": bool(file and not file.landed),
        },
    )


def judge(file: RawBeside | None) -> dict[str, Outcome]:
    """Return the outcome of every check of a landed list, or of there being none."""
    if file is None:
        nothing = "CMS published no list of removed records with this release."
        return checks.unasked(REMOVED_CHECKS, nothing)
    outcomes = beside.judge([file])
    if outcomes["header_known"].passed:
        return {**outcomes, "rows_known": _judge_rows(file)}
    unread = Outcome("rows_known", False, "Not read: the header is unknown.")
    return {**outcomes, "rows_known": unread}


def _judge_rows(file: RawBeside) -> Outcome:
    import duckdb

    listed = ", ".join(sql_text(x) for x in LISTED)
    known = (
        f"coalesce(Change_Type IN ({listed}) AND Program_Year = {sql_text(str(file.program_year))} "
        f"AND lower(Payment_Type) IN ('general', 'research', 'ownership') "
        f"AND regexp_full_match(Record_ID, '[0-9]{{1,38}}'), false)"
    )
    source = read_csv_sql(Path(file.path), removed_list_header())
    with duckdb.connect() as connection:
        try:
            rows, odd, first = connection.execute(
                f"SELECT count(*), count(*) FILTER (NOT {known}), "
                f"first(t::VARCHAR) FILTER (NOT {known}) FROM {source} t"
            ).fetchall()[0]
        except duckdb.InvalidInputException as error:
            return Outcome("rows_known", False, f"{file.name}: {str(error).splitlines()[0]}")
    return Outcome(
        "rows_known",
        odd == 0,
        f"{rows:,} removed records listed, {odd:,} of them not understood"
        + (f": {first}." if odd else "."),
        {"rows": rows, "not_understood": odd},
    )


def released(listed: RemovedList) -> list[date]:
    """Return the days of the releases that CMS offered when the list was landed."""
    return [date.fromisoformat(day) for day in listed.offered]
