"""The raw zone as an asset: one CMS file per partition, landed byte for byte."""

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from openpay_assets.cms.csv import StrictParseError, read_header
from openpay_assets.cms.names import parse_name
from openpay_assets.cms.source import Progress, Release, ReleaseNotFoundError, find_release
from openpay_assets.contracts.registry import UnknownLayoutError, layout_of, match_header
from openpay_assets.lake.raw import RawFile, stated
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.checks import RAW_CHECKS, Outcome
from openpay_assets.orchestration.io_managers import MetadataIOManager
from openpay_assets.orchestration.partitions import DATASET_YEARS, partition_of
from openpay_assets.orchestration.resources import CmsResource, LakeResource

RAW_FILES = dg.AssetKey("raw_files")


class RawFilesConfig(dg.Config):
    """Which release to land: a day such as 2023-06-30, or the newest when empty."""

    release: str | None = None


class RawFileIOManager(MetadataIOManager):
    """Remembers which landed file a partition was last run from."""

    def file_name(self, asset: dg.AssetKey, partition: str | None) -> str:  # noqa: ARG002
        """Return the file of a partition."""
        return f"raw_files/{partition}"

    def restored(self, found: dict[str, Any]) -> RawFile:
        """Return the description of the landed file."""
        return RawFile(**found)


@dg.asset(
    key=RAW_FILES,
    partitions_def=DATASET_YEARS,
    io_manager_key="raw_io",
    group_name="raw",
    kinds={"csv"},
    check_specs=checks.specs(RAW_FILES, RAW_CHECKS),
)
def raw_files(
    context: dg.AssetExecutionContext,
    config: RawFilesConfig,
    cms: CmsResource,
    lake_zone: LakeResource,
) -> Iterator[dg.Output[RawFile] | dg.AssetCheckResult]:
    """A CMS file as published: landed once, never edited, with its size and sha256."""
    partition = partition_of(context.partition_key)
    wanted = date.fromisoformat(config.release) if config.release else None
    source, zone = cms.source(), lake_zone.raw()
    try:
        release = find_release(source, partition.dataset, partition.program_year, wanted)
    except ReleaseNotFoundError:
        # A site lists what is newest; what it once published and landed here can be run again.
        landed = zone.landed(partition, wanted) if wanted else None
        if landed is None:
            raise
        release = landed
    with zone.landing(release.file.name):
        fetched = source.fetch(
            release,
            zone.downloads,
            landed=zone.folder(partition, release.file.release) / release.file.name,
            on_progress=log_tenths(context.log.info, release.file.name),
        )
        file = zone.land(fetched, partition, release.file.release, release.file.name)
    layout, outcomes = judge(file, release, allow_new_columns=cms.allow_new_columns)
    zone.audit(file, context.run.run_id, layout)
    yield from checks.report(RAW_FILES, RAW_CHECKS, outcomes)
    yield dg.Output(
        file,
        metadata={
            "release": file.release,
            "path": dg.MetadataValue.path(file.path),
            "bytes": file.size,
            "sha256": file.sha256,
            "layout": layout or "unknown",
            "already_landed": not file.landed,
        },
    )


def log_tenths(log: Callable[[str], object], name: str) -> Progress:
    """Return a progress that logs a line each time another tenth of a file is downloaded."""
    logged = 0

    def report(done: int, total: int) -> None:
        nonlocal logged
        tenth = 10 * done // total if total else 10
        if tenth > logged:
            logged = tenth
            log(f"{name}: {tenth * 10} % of {total:,} bytes downloaded")

    return report


def judge(
    file: RawFile, release: Release, *, allow_new_columns: bool
) -> tuple[str | None, dict[str, Outcome]]:
    """Return the layout of a landed file and the outcome of every raw check."""
    name = parse_name(file.name)
    agrees = name is not None and (name.dataset, name.program_year, name.release) == (
        file.partition.dataset,
        file.partition.program_year,
        file.release_date,
    )
    outcomes = [
        Outcome(
            "bytes_complete",
            release.size in (None, file.size),
            f"{file.name}: {file.size:,} bytes landed, {stated(release.size)} published, "
            f"sha256 {file.sha256}.",
            {"bytes": file.size, "published_bytes": release.size, "sha256": file.sha256},
        ),
        Outcome(
            "stamps_agree",
            agrees,
            f"{file.name} for {file.dataset} {file.program_year}, release {file.release}.",
        ),
    ]
    layout, header = _judge_header(file, allow_new_columns)
    in_era = _judge_era(file, layout)
    return layout, {x.name: x for x in (*outcomes, header, in_era)}


def _judge_header(file: RawFile, allow_new_columns: bool) -> tuple[str | None, Outcome]:
    try:
        columns = read_header(Path(file.path))
        match = match_header(
            file.partition.dataset, columns, file.name, allow_new_columns=allow_new_columns
        )
    except (StrictParseError, UnknownLayoutError) as error:
        return None, Outcome("header_known", False, str(error), {"file": file.path})
    new = ", ".join(match.new_columns)
    drift = f" New columns, landed in raw only: {new}." if new else ""
    return match.layout.name, Outcome(
        "header_known",
        not match.new_columns,
        f"{len(columns)} columns, layout {match.layout.name}.{drift}",
        {
            "layout": match.layout.name,
            "columns": len(columns),
            "new_columns": list(match.new_columns),
            "inferred": match.layout.inferred,
            "evidence": match.layout.evidence,
        },
        stops=False,  # the settings let new columns in; they are still worth a warning
    )


def _judge_era(file: RawFile, layout: str | None) -> Outcome:
    try:
        expected = layout_of(file.partition.dataset, file.program_year, file.release).name
    except UnknownLayoutError as error:
        return Outcome("layout_in_era", False, str(error))
    return Outcome(
        "layout_in_era",
        layout == expected,
        f"CMS published {file.dataset} {file.program_year} at {file.release} in layout {expected}; "
        f"this file is in {layout or 'an unknown one'}.",
    )
