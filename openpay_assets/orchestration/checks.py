"""Asset checks: outcomes of rules and audits as small reports.

One helper makes every check, so that each failing one says the same things: the rule, rows,
share, dollars, where to look and what to do next. Blocking checks stop everything downstream.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import dagster as dg

from openpay_assets.cms.csv import StrictParseError
from openpay_assets.contracts.rules import Rule, Severity
from openpay_assets.orchestration.partitions import DATASET_YEARS

NEXT_STEPS = {
    Severity.WARN: "The rows are kept. Filter them with list_contains(warnings, '{rule}').",
    Severity.QUARANTINE: (
        'The rows are set aside, whole. Read them with: openpay query "select * from '
        "quarantine.records where list_contains(reasons, '{rule}')\""
    ),
}


class BlockedError(dg.Failure):
    """A blocking check failed; nothing downstream runs and nothing was committed."""


@dataclass(frozen=True)
class Check:
    """What a check is, before it is asked."""

    name: str
    description: str
    blocking: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a check found. ``metadata`` is the report.

    ``stops`` is false when a blocking check failed, but not by enough to stop the run.
    """

    name: str
    passed: bool
    summary: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stops: bool = True


STRICT_PARSE = Check(
    "strict_parse", "Every record parses with nothing lenient switched on.", blocking=True
)
STAGING_CHECKS = (
    STRICT_PARSE,
    Check(
        "conservation",
        "Rows and cents read equal rows and cents staged plus quarantined.",
        blocking=True,
    ),
    Check(
        "schema",
        "The staged table is what its contract says (Pandera, schema and data).",
        blocking=True,
    ),
    Check(
        "natures_known", "No unknown nature of payment on more than 0.1 % of rows.", blocking=True
    ),
    Check(
        "npi_filled",
        "From PY2021 at least 95 % of clinicians have an NPI; warns below 99.5 %.",
        blocking=True,
    ),
    Check("volume", "Rows moved by -2 % to +5 % against the release before it in the lake."),
    Check(
        "record_ids_elsewhere",
        "No record is also in another program year that the lake holds; rows are kept (R01).",
    ),
    Check("twins", "Counts records that equal another in all but their id. Never removed."),
    Check(
        "large_payments",
        "Lists for review the records from ten million US dollars, and the largest 0.01 % of each "
        "nature of payment; of all records where there are no natures (R30).",
    ),
    Check("warnings", "Counts the rows that break each warning rule; they are kept."),
)
QUARANTINE_CHECKS = (
    Check(
        "quarantine_schema",
        "The quarantine is what its contract says (Pandera, schema and data).",
        blocking=True,
    ),
    Check(
        "quarantine_share",
        "The share of quarantined rows is within the limit of the dataset.",
        blocking=True,
    ),
    Check("one_program_year", "Rows of another program year stay within the limit.", blocking=True),
    Check("reasons", "Counts the rows that break each quarantine rule; they are set aside."),
)
RAW_CHECKS = (
    Check(
        "bytes_complete",
        "The landed file has the size and the sha256 of what was published.",
        blocking=True,
    ),
    Check(
        "stamps_agree",
        "Dataset, program year and release in the name are those asked for.",
        blocking=True,
    ),
    Check(
        "header_known",
        "The header is exactly a known layout; new columns that the settings let in warn.",
        blocking=True,
    ),
    Check("layout_in_era", "The layout is the one CMS used for this year and release."),
)
FILE_CHECKS = (
    Check(
        "bytes_complete",
        "Each landed file has the size and the sha256 of what was published.",
        blocking=True,
    ),
    Check("header_known", "The header of each file is exactly a known layout.", blocking=True),
)
"""Of files beside the payments."""
REMOVED_CHECKS = (
    *FILE_CHECKS,
    Check(
        "rows_known",
        "Every row parses, is of this program year and a known dataset, and names a record.",
        blocking=True,
    ),
)
CHANGE_CHECKS = (
    Check("change_type_domain", "In a first publication every record is flagged NEW (X01)."),
    Check("unchanged_is_unchanged", "Records flagged UNCHANGED are as they were (X02)."),
    Check("changed_differs", "Records flagged CHANGED differ, if only in dispute (X03)."),
    Check("new_add_absent_before", "Records flagged NEW or ADD were not there before (X04)."),
    Check(
        "tombstones_match",
        "What left is what CMS lists as removed (X05); off by more than 0.1 % of the release, it "
        "blocks. Without a list it warns.",
        blocking=True,
    ),
    Check(
        "tombstone_not_live", "No record that CMS lists as removed is there (X06).", blocking=True
    ),
    Check("gap_detection", "Names releases that CMS published in between (X07)."),
    Check("layout_translation", "Records read alike in two layouts (X08)."),
)


def curated_checks(table: str) -> tuple[Check, ...]:
    """Return the checks of a curated table."""
    shared = (
        Check(
            "schema",
            "The table is what its contract says (Pandera, schema and data).",
            blocking=True,
        ),
        Check("key_unique", "No two rows share their key.", blocking=True),
    )
    extra = {
        "payments": (Check("conservation", "Rows and cents equal those staged.", blocking=True),),
        "payment_products": (
            Check(
                "weights_sum_to_one",
                "Weights sum to 1 and dollars to the payments, for every payment.",
                blocking=True,
            ),
            Check(
                "one_row_per_filled_slot", "As many rows as filled product slots.", blocking=True
            ),
        ),
        "investigators": (
            Check(
                "one_row_per_filled_slot",
                "As many rows as filled investigator slots.",
                blocking=True,
            ),
        ),
        "release_changes": CHANGE_CHECKS,
        "physicians": (
            Check(
                "profile_fk",
                "Every profile, or its primary one, is in the supplement of the same release; "
                "more than 0.001 % missing blocks.",
                blocking=True,
            ),
            Check("npi_agrees", "The reported NPI is that of the profile in the supplement."),
        ),
        "companies": (Check("entity_fk", "Every company is among the entity profiles."),),
        "hospitals": (Check("ccn_fk", "Every CCN is among the hospital profiles."),),
    }
    return shared + extra.get(table, ())


def specs(
    asset: dg.AssetKey, checks: Sequence[Check], *, partitioned: bool = True
) -> list[dg.AssetCheckSpec]:
    """Return the Dagster specs of an asset's checks, partitioned like the asset."""
    with warnings.catch_warnings():
        # Partitioned checks are in preview: outcomes would otherwise mix over partitions.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=asset,
                description=check.description,
                blocking=check.blocking,
                partitions_def=DATASET_YEARS if partitioned else None,
            )
            for check in checks
        ]


def result(asset: dg.AssetKey, check: Check, outcome: Outcome) -> dg.AssetCheckResult:
    """Turn an outcome into a Dagster result; only blocking checks are errors."""
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=check.name,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR
        if check.blocking and outcome.stops
        else dg.AssetCheckSeverity.WARN,
        description=outcome.summary,
        metadata={key: _metadata(value) for key, value in outcome.metadata.items()},
    )


def blocked(checks: Sequence[Check], outcomes: Mapping[str, Outcome]) -> BlockedError | None:
    """Return the error that stops the run when a blocking check failed, or None."""
    asked = [outcomes[c.name] for c in checks if c.blocking]
    failed = [x for x in asked if not x.passed and x.stops]
    if not failed:
        return None
    return BlockedError(
        description="\n".join(f"{x.name}: {x.summary}" for x in failed),
        metadata={x.name: x.summary for x in failed},
        allow_retries=False,
    )


def unasked(checks: Sequence[Check], why: str) -> dict[str, Outcome]:
    """Return outcomes of checks for which there is nothing to look at: all pass and say why."""
    return {check.name: Outcome(check.name, True, why) for check in checks}


def results(
    asset: dg.AssetKey, asked: Sequence[Check], outcomes: Mapping[str, Outcome]
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of every check."""
    for check in asked:
        yield result(asset, check, outcomes[check.name])


def stop(asked: Sequence[Check], outcomes: Mapping[str, Outcome]) -> None:
    """Raise ``BlockedError`` when a blocking check failed."""
    if error := blocked(asked, outcomes):
        raise error


def report(
    asset: dg.AssetKey, asked: Sequence[Check], outcomes: Mapping[str, Outcome]
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of every check, then stop when a blocking one failed."""
    yield from results(asset, asked, outcomes)
    stop(asked, outcomes)


def report_unparsed(asset: dg.AssetKey, problem: StrictParseError) -> Iterator[dg.AssetCheckResult]:
    """Report a file that is not well-formed, and stop."""
    outcome = Outcome(STRICT_PARSE.name, False, str(problem))
    yield from report(asset, (STRICT_PARSE,), {outcome.name: outcome})


@dataclass(frozen=True)
class BrokenRule:
    """A rule that rows break: how many, their dollars, and the first of them in words."""

    rule: Rule
    rows: int
    amount: Decimal
    first_source_row: int
    sample: str


def rules_outcome(
    name: str, broken: Sequence[BrokenRule], rows: int, asked: int, file: str
) -> Outcome:
    """Report the rules of one severity as a table, one line a rule that any row breaks.

    One check for all of them: a check costs the event log as much as a query costs the engine.
    """
    listed = ", ".join(f"{x.rule.name} {x.rows:,}" for x in broken)
    table = dg.MetadataValue.table(
        records=[dg.TableRecord(_report(x, rows, file)) for x in broken], schema=_REPORT
    )
    return Outcome(
        name,
        not broken,
        f"{len(broken)} of {asked} rules are broken by some of {rows:,} rows"
        + (f": {listed}." if broken else "."),
        {"rules": table, "broken": len(broken), "asked": asked},
    )


_REPORT = dg.TableSchema(
    columns=[
        dg.TableColumn("rule", "string"),
        dg.TableColumn("code", "string"),
        dg.TableColumn("rows", "int"),
        dg.TableColumn("share", "float"),
        dg.TableColumn("dollars", "string"),
        dg.TableColumn("sample", "string"),
        dg.TableColumn("file", "string"),
        dg.TableColumn("why", "string"),
        dg.TableColumn("next_step", "string"),
    ]
)


def _report(broken: BrokenRule, rows: int, file: str) -> dict[str, str | int | float]:
    rule = broken.rule
    return {
        "rule": rule.name,
        "code": rule.code,
        "rows": broken.rows,
        "share": broken.rows / rows if rows else 0.0,
        "dollars": str(broken.amount),
        "sample": broken.sample,
        "file": file,
        "why": rule.why,
        "next_step": NEXT_STEPS[rule.severity].format(rule=rule.name),
    }


def _metadata(value: Any) -> Any:
    if isinstance(value, list | tuple | dict) and not isinstance(value, dg.MetadataValue):
        return dg.MetadataValue.json(_plain(value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
