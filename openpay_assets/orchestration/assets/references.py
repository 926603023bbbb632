"""References: what CMS publishes once for all partitions, as whole tables of the curated zone.

Profiles of clinicians, companies and hospitals, and which profiles belong to one clinician. They
are not partitioned; each materialization lands the newest release and replaces the tables.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg

from openpay_assets.cms.csv import StrictParseError, read_header
from openpay_assets.cms.names import FileKind
from openpay_assets.cms.source import Beside, CmsSource, ReleaseNotFoundError
from openpay_assets.contracts.registry import REFERENCE_TABLES, curated_table
from openpay_assets.lake.raw import RawBeside
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.assets import beside
from openpay_assets.orchestration.assets.curated import column_schema, in_contract
from openpay_assets.orchestration.checks import Check, Outcome
from openpay_assets.orchestration.io_managers import LakeIOManager, Pending, Target
from openpay_assets.orchestration.resources import CmsResource, LakeResource
from openpay_assets.transforms import references

REFERENCE_FILES = dg.AssetKey("reference_files")
GROUP = "references"
SHOWN = 10


class ReferenceFilesConfig(dg.Config):
    """Which release to land: a day such as 2025-06-30, or the newest of each file when empty."""

    release: str | None = None


@dg.asset(
    key=REFERENCE_FILES,
    io_manager_key="beside_io",
    group_name=GROUP,
    kinds={"csv"},
    check_specs=checks.specs(REFERENCE_FILES, checks.FILE_CHECKS, partitioned=False),
)
def reference_files(
    context: dg.AssetExecutionContext,
    config: ReferenceFilesConfig,
    cms: CmsResource,
    lake_zone: LakeResource,
) -> Iterator[dg.Output[list[RawBeside]] | dg.AssetCheckResult]:
    """Profiles of clinicians, companies and hospitals as published: landed once, never edited."""
    source = cms.source()
    wanted = date.fromisoformat(config.release) if config.release else None
    published = newest(source, wanted)
    files = beside.land(published, source, lake_zone.raw(), context.run.run_id)
    outcomes = beside.judge(files)
    yield from checks.report(REFERENCE_FILES, checks.FILE_CHECKS, outcomes)
    absent = sorted(set(REFERENCE_TABLES) - {x.kind for x in files})
    yield dg.Output(
        files,
        metadata={
            "release": max(x.release for x in files),
            "files": {x.name: x.sha256 for x in files},
            "not_published": absent,
        },
    )


def newest(source: CmsSource, release: date | None) -> list[Beside]:
    """Return the newest file of each kind of reference, or those of one release.

    Raises ``ReleaseNotFoundError`` when there is none, naming what is published.
    """
    published = [x for kind in REFERENCE_TABLES for x in source.beside(FileKind(kind))]
    newest_of: dict[FileKind, Beside] = {}
    for found in sorted(published, key=lambda x: x.file.release):
        if release in (None, found.file.release):
            newest_of[found.file.kind] = found
    if not newest_of:
        days = ", ".join(sorted({str(x.file.release) for x in published})) or "nothing"
        looked_for = f"release {release}" if release else "any release"
        raise ReleaseNotFoundError(
            f"No reference files of {looked_for}: looked for {', '.join(REFERENCE_TABLES)}. "
            f"Published: {days}."
        )
    return list(newest_of.values())


OWN_CHECKS: Mapping[str, tuple[Check, ...]] = {
    "supplement": (
        Check("npi_profile_one_to_one", "No NPI belongs to several profiles of the supplement."),
    ),
    "profile_mapping": (
        Check(
            "mapping_sane",
            "No profile is secondary to itself or to several, and no chain comes back.",
            blocking=True,
        ),
    ),
    "entity_profiles": (Check("company_names", "No name belongs to several companies."),),
    "hospital_profiles": (),
}


def reference_checks(name: str) -> tuple[Check, ...]:
    """Return the checks of a reference table."""
    return (checks.STRICT_PARSE, *checks.curated_checks(name), *OWN_CHECKS[name])


def reference_asset(name: str, description: str) -> dg.AssetsDefinition:
    """Return the asset of a reference table: read, check, and only then replace the table."""
    key, asked = dg.AssetKey(["curated", name]), reference_checks(name)

    @dg.asset(
        key=key,
        description=description,
        ins={"files": dg.AssetIn(key=REFERENCE_FILES, input_manager_key="beside_io")},
        io_manager_key="lake",
        group_name=GROUP,
        kinds={"iceberg"},
        check_specs=checks.specs(key, asked, partitioned=False),
        metadata={"dagster/column_schema": column_schema(name)},
    )
    def reference(
        context: dg.AssetExecutionContext,
        files: list[RawBeside],
        lake: dg.ResourceParam[LakeIOManager],
    ) -> Iterator[dg.Output[Pending | None] | dg.AssetCheckResult]:
        found = [x for x in files if x.kind == name]
        if not found:
            said = f"No {name} is published; the table stays as it was."
            yield from checks.results(key, asked, checks.unasked(asked, said))
            yield dg.Output(None)
            return
        try:
            pending = read(lake, found[0], context.run.run_id)
        except StrictParseError as problem:
            yield from checks.report_unparsed(key, problem)
            return
        outcomes = judge(name, pending, lake)
        yield from checks.report(key, asked, outcomes)
        yield dg.Output(pending)

    return reference


def read(lake: LakeIOManager, file: RawBeside, run_id: str) -> Pending:
    """Read a reference file strictly and write its table; nothing is visible yet."""
    path, layout = Path(file.path), beside.known_layout(file)
    text = lake.engine.read_text(path, read_header(path), layout.header)
    source = references.ReferenceInput(layout, file.release_date, file.name)
    target = Target(None, file.release_date, run_id, layout.name)
    rows = references.REFERENCES[file.kind](text.table, source)
    return lake.write(curated_table(file.kind), rows, target)


def judge(name: str, pending: Pending, lake: LakeIOManager) -> dict[str, Outcome]:
    """Return the outcome of every check of a reference table."""
    outcomes = [
        Outcome("strict_parse", True, f"{pending.count:,} records, none refused."),
        *in_contract(pending, None, lake),
        *(x for x in (_own_check(name, pending.rows, lake),) if x),
    ]
    return {x.name: x for x in outcomes}


def _own_check(name: str, rows: Any, lake: LakeIOManager) -> Outcome | None:
    if name == "profile_mapping":
        return _mapping_sane(lake.engine.to_rows(references.mapping_faults(rows)))
    if name == "supplement":
        shared = lake.engine.to_rows(references.shared_values(rows, "npi", "profile_id"))
        return _shared("npi_profile_one_to_one", "NPIs", "profiles", shared)
    if name == "entity_profiles":
        names = references.company_names(rows)
        shared = lake.engine.to_rows(references.shared_values(names, "company_name", "company_id"))
        return _shared("company_names", "names", "companies", shared)
    return None


_FAULTS = {
    "itself": "{secondary_profile_id} is secondary to itself",
    "several": "{secondary_profile_id} has several primaries, {primary_profile_id} among them",
    "cycle": "{secondary_profile_id} -> {primary_profile_id} is in a chain without an end",
}


def _mapping_sane(faults: list[dict[str, Any]]) -> Outcome:
    ordered = sorted(faults, key=lambda x: (x["fault"], x["secondary_profile_id"]))
    listed = [_FAULTS[x["fault"]].format(**x) for x in ordered]
    return Outcome(
        "mapping_sane",
        not faults,
        f"{len(faults):,} mappings make no sense" + _first(listed),
        {"faults": listed[:SHOWN]},
    )


def _shared(name: str, values: str, keys: str, found: list[dict[str, Any]]) -> Outcome:
    listed = [
        f"{x['value']} ({x['keys']} {keys}, {x['first']} and {x['last']} among them)"
        for x in sorted(found, key=lambda x: (-x["keys"], x["value"]))
    ]
    return Outcome(
        name,
        not found,
        f"{len(found):,} {values} belong to several {keys}" + _first(listed),
        {values: listed[:SHOWN]},
    )


def _first(listed: list[str], most: int = 3) -> str:
    return f": {'; '.join(listed[:most])}." if listed else "."


REFERENCE_ASSETS = [
    reference_asset(
        "supplement", "One row per clinician profile, as the national registries have it."
    ),
    reference_asset(
        "profile_mapping",
        "One row per secondary profile of a clinician, with the primary one at its chain's end.",
    ),
    reference_asset("entity_profiles", "One row per company, with its alternate names."),
    reference_asset("hospital_profiles", "One row per teaching hospital."),
]
