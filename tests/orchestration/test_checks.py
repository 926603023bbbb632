"""Checks: which block, what they report, and when they stop a run."""

from __future__ import annotations

from decimal import Decimal

import dagster as dg
import pytest

from openpay_assets.contracts.registry import CURATED_TABLES
from openpay_assets.contracts.rules import RULES, Severity
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.assets.staging import FAITHFUL_CHECKS, PROMOTION_CHECKS
from openpay_assets.orchestration.checks import (
    CHANGE_CHECKS,
    QUARANTINE_CHECKS,
    RAW_CHECKS,
    REMOVED_CHECKS,
    STAGING_CHECKS,
    BrokenRule,
    Check,
    Outcome,
    curated_checks,
)
from openpay_assets.orchestration.partitions import DATASET_YEARS

ALL_CHECKS = (
    *RAW_CHECKS,
    *STAGING_CHECKS,
    *QUARANTINE_CHECKS,
    *(check for name in CURATED_TABLES for check in curated_checks(name)),
)
ASSET = dg.AssetKey(["curated", "payments"])
BLOCKS, WARNS = Check("blocks", "It blocks.", blocking=True), Check("warns", "It warns.")


def _names(asked: tuple[Check, ...], *, blocking: bool) -> set[str]:
    return {check.name for check in asked if check.blocking is blocking}


WARNED = {
    "release_changes": _names(CHANGE_CHECKS, blocking=False),
    "physicians": {"npi_agrees"},
    "companies": {"entity_fk"},
    "hospitals": {"ccn_fk"},
}


def test_what_blocks_is_what_was_promised_to_block() -> None:
    assert _names(RAW_CHECKS, blocking=True) == {"bytes_complete", "stamps_agree", "header_known"}
    assert _names(STAGING_CHECKS, blocking=True) == {
        "strict_parse",
        "conservation",
        "schema",
        "natures_known",
        "npi_filled",
    }
    assert _names(QUARANTINE_CHECKS, blocking=True) == {
        "quarantine_schema",
        "quarantine_share",
        "one_program_year",
    }
    for name in CURATED_TABLES:
        assert {"schema", "key_unique"} <= _names(curated_checks(name), blocking=True)
        assert _names(curated_checks(name), blocking=False) == WARNED.get(name, set())
    assert _names(CHANGE_CHECKS, blocking=True) == {"tombstones_match", "tombstone_not_live"}
    assert _names(REMOVED_CHECKS, blocking=False) == set()
    assert "conservation" in _names(curated_checks("payments"), blocking=True)
    slots = {"weights_sum_to_one", "one_row_per_filled_slot"}
    assert slots <= _names(curated_checks("payment_products"), blocking=True)
    assert "one_row_per_filled_slot" in _names(curated_checks("investigators"), blocking=True)


def test_every_blocking_check_of_the_split_stops_the_run_before_or_after_it_is_committed() -> None:
    asked = {*STAGING_CHECKS, *QUARANTINE_CHECKS}
    assert {*FAITHFUL_CHECKS, *PROMOTION_CHECKS} == asked
    assert not {*FAITHFUL_CHECKS} & {*PROMOTION_CHECKS}


def test_every_check_describes_itself() -> None:
    assert all(check.description.endswith(".") for check in ALL_CHECKS)


def test_checks_are_partitioned_like_their_asset_and_block_in_dagster_too() -> None:
    blocks, warns = checks.specs(ASSET, [BLOCKS, WARNS])
    assert (blocks.blocking, warns.blocking) == (True, False)
    assert blocks.asset_key == ASSET
    assert blocks.description == "It blocks."
    assert blocks.partitions_def == DATASET_YEARS


@pytest.mark.parametrize(
    ("check", "severity"),
    [(BLOCKS, dg.AssetCheckSeverity.ERROR), (WARNS, dg.AssetCheckSeverity.WARN)],
)
def test_only_a_blocking_check_is_an_error(check: Check, severity: dg.AssetCheckSeverity) -> None:
    found = checks.result(ASSET, check, Outcome(check.name, False, "3 rows.", {"rows": 3}))
    assert (found.passed, found.severity, found.description) == (False, severity, "3 rows.")
    assert found.metadata["rows"].value == 3


def test_metadata_that_dagster_cannot_hold_becomes_text() -> None:
    report = {"records": [{"amount": Decimal("1.10")}], "by": {2023: Decimal("0.5")}, "share": 0.1}
    found = checks.result(ASSET, BLOCKS, Outcome("blocks", True, "", report))
    assert found.metadata["records"].value == [{"amount": "1.10"}]
    assert found.metadata["by"].value == {"2023": "0.5"}
    assert found.metadata["share"].value == 0.1


def test_a_run_is_blocked_by_failed_blocking_checks_only_and_told_all_of_them() -> None:
    good = {"blocks": Outcome("blocks", True, ""), "warns": Outcome("warns", False, "")}
    assert checks.blocked([BLOCKS, WARNS], good) is None
    other = Check("other", "Another.", blocking=True)
    bad = {
        "blocks": Outcome("blocks", False, "3 rows of a.csv."),
        "warns": Outcome("warns", False, "never mind."),
        "other": Outcome("other", False, "2 rows of b.csv."),
    }
    error = checks.blocked([BLOCKS, WARNS, other], bad)
    assert error is not None
    assert error.description == "blocks: 3 rows of a.csv.\nother: 2 rows of b.csv."
    assert error.allow_retries is False


def _broken(name: str, rows: int) -> BrokenRule:
    [rule] = [x for x in RULES if x.name == name]
    return BrokenRule(rule, rows, Decimal("12.50"), 4, "a.csv, record 4: Recipient_State = '0R'")


def test_broken_rules_are_one_table_with_a_line_for_each() -> None:
    broken = [_broken("state_known", 2), _broken("amount_valid", 1)]
    outcome = checks.rules_outcome("warnings", broken, 8, 30, "a.csv")
    assert not outcome.passed
    assert outcome.summary == (
        "2 of 30 rules are broken by some of 8 rows: state_known 2, amount_valid 1."
    )
    table = outcome.metadata["rules"]
    first, second = (record.data for record in table.records)
    assert set(first) == {column.name for column in table.schema.columns}
    assert (first["share"], first["dollars"], first["file"]) == (0.25, "12.50", "a.csv")
    assert "list_contains(warnings, 'state_known')" in first["next_step"]
    assert "list_contains(reasons, 'amount_valid')" in second["next_step"]


def test_no_broken_rule_passes_and_says_so() -> None:
    outcome = checks.rules_outcome("warnings", [], 0, 30, "a.csv")
    assert outcome.passed
    assert outcome.summary == "0 of 30 rules are broken by some of 0 rows."


def test_every_severity_has_a_next_step() -> None:
    assert set(checks.NEXT_STEPS) == set(Severity)


def test_a_blocking_check_that_failed_by_too_little_warns_and_does_not_stop() -> None:
    outcome = Outcome("blocks", False, "A little off.", stops=False)
    assert checks.blocked([BLOCKS], {"blocks": outcome}) is None
    evaluated = checks.result(ASSET, BLOCKS, outcome)
    assert (evaluated.passed, evaluated.severity) == (False, dg.AssetCheckSeverity.WARN)
