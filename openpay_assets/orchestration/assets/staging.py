"""Staging and quarantine: every record of the file on one side or the other, with its reasons.

Both tables together are the faithful record of the file, so they are committed as soon as the
split is proven (parsed, conserved, in contract). Whether so much quarantine can be trusted is
asked after that, and stops promotion to the curated tables: their last good state stays, and
what was set aside can be queried.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from openpay_assets.cms.csv import StrictParseError, read_header
from openpay_assets.contracts.model import Dataset, Layout
from openpay_assets.contracts.registry import (
    allowed_values,
    match_header,
    quarantine_table,
    staging_table,
)
from openpay_assets.contracts.rules import (
    PartitionFacts,
    Rule,
    Severity,
    rules_for,
)
from openpay_assets.contracts.schema import Violation, violations
from openpay_assets.lake.raw import RawFile
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.checks import (
    QUARANTINE_CHECKS,
    STAGING_CHECKS,
    Outcome,
)
from openpay_assets.orchestration.io_managers import LakeIOManager, Pending, Target
from openpay_assets.orchestration.partitions import DATASET_YEARS
from openpay_assets.orchestration.resources import Thresholds
from openpay_assets.transforms import audits
from openpay_assets.transforms.stage import QUARANTINED, StagingInput, quarantine, stage

STAGING = dg.AssetKey("staging")
QUARANTINE = dg.AssetKey("quarantine")
PROMOTION_CHECKS = QUARANTINE_CHECKS[1:]
FAITHFUL_CHECKS = (*STAGING_CHECKS, QUARANTINE_CHECKS[0])

MAX_NEW_NATURE_SHARE = 0.001
MIN_NPI_FILL, GOOD_NPI_FILL = 0.95, 0.995
FIRST_YEAR_WITH_NPI = 2021
VOLUME_BAND = (-0.02, 0.05)
FEW_COLUMNS = 3


@dataclass(frozen=True)
class Split:
    """A file divided, not yet visible: both sides, and what was counted on the way in."""

    source: StagingInput
    staged: Pending
    quarantined: Pending
    rejected: Any
    rows_read: int
    cents_read: Mapping[str, int]


@dg.multi_asset(
    name="stage",
    outs={
        "staging": dg.AssetOut(
            key=STAGING, io_manager_key="lake", group_name="staging", kinds={"iceberg"}
        ),
        "quarantine": dg.AssetOut(
            key=QUARANTINE, io_manager_key="lake", group_name="staging", kinds={"iceberg"}
        ),
    },
    ins={"raw_files": dg.AssetIn(key="raw_files", input_manager_key="raw_io")},
    partitions_def=DATASET_YEARS,
    check_specs=[
        *checks.specs(STAGING, STAGING_CHECKS),
        *checks.specs(QUARANTINE, QUARANTINE_CHECKS),
    ],
)
def staging(
    context: dg.AssetExecutionContext,
    raw_files: RawFile,
    lake: dg.ResourceParam[LakeIOManager],
    thresholds: Thresholds,
) -> Iterator[dg.Output[Pending] | dg.AssetCheckResult]:
    """Every record typed and judged: accepted in staging, or set aside in quarantine."""
    try:
        with split_file(lake, raw_files, context.run.run_id) as split:
            findings = Findings(split, lake, thresholds)
            yield from checks.results(STAGING, STAGING_CHECKS, findings.outcomes)
            yield from checks.results(QUARANTINE, QUARANTINE_CHECKS, findings.outcomes)
            checks.stop(FAITHFUL_CHECKS, findings.outcomes)
            yield dg.Output(split.staged, "staging", metadata=findings.summary())
            yield dg.Output(split.quarantined, "quarantine", metadata=findings.summary())
            checks.stop(PROMOTION_CHECKS, findings.outcomes)
    except StrictParseError as error:
        yield from checks.report_unparsed(STAGING, error)


@contextmanager
def split_file(lake: LakeIOManager, file: RawFile, run_id: str) -> Iterator[Split]:
    """Read a raw file once, strictly, and write both sides of it.

    Raises ``StrictParseError`` when it is not well-formed.
    """
    path, dataset = Path(file.path), file.partition.dataset
    header = read_header(path)
    # The header was judged when the file landed; columns it lets in are read and set aside.
    layout = match_header(dataset, header, file.name, allow_new_columns=True).layout
    source = StagingInput(
        facts=PartitionFacts(
            dataset, file.program_year, file.release_date, frozenset(layout.source_of)
        ),
        layout=layout,
        source_file=file.name,
        run_id=run_id,
    )
    money = money_columns(layout)
    record_id = layout.source_of["record_id"]
    table = staging_table(dataset)
    target = Target(file.partition, file.release_date, run_id, layout.name)
    folder = lake.tables.new_folder(table.name, file.partition, run_id)
    with lake.engine.read_raw(path, header, record_id, list(money.values())) as raw:
        good, bad = lake.engine.write_split(stage(raw.table, source), folder, table, QUARANTINED)
        rejected = lake.engine.read_parquet(bad, table)
        split = Split(
            source=source,
            staged=lake.pending(table, good, target),
            quarantined=lake.write(quarantine_table(), quarantine(rejected, source), target),
            rejected=rejected,
            rows_read=raw.rows,
            cents_read={name: raw.cents[column] for name, column in money.items()},
        )
    try:
        yield split
    finally:
        # The rejected side lives on in the quarantine table, in its own shape.
        for path in bad:
            path.unlink()


def money_columns(layout: Layout) -> dict[str, str]:
    """Return the CMS names of a layout's money columns, by canonical name."""
    names = ("amount", "value_of_interest")
    return {name: layout.source_of[name] for name in names if name in layout.source_of}


class Findings:
    """What the checks of staging and quarantine found in one split; each is asked once."""

    def __init__(self, split: Split, lake: LakeIOManager, thresholds: Thresholds) -> None:
        self.split = split
        self.facts = split.source.facts
        self.lake = lake
        self.thresholds = thresholds

    def summary(self) -> dict[str, Any]:
        """Return the counts shown on both materializations."""
        return {
            "rows_read": self.split.rows_read,
            "rows_staged": self.split.staged.count,
            "rows_quarantined": self.split.quarantined.count,
            "dollars_read": dollars(self.split.cents_read["amount"]),
            "dollars_staged": str(self.staged_totals["amount"] or 0),
            "dollars_quarantined": str(self.quarantined_totals["amount"] or 0),
            "layout": self.split.source.layout.name,
            "source_file": self.split.source.source_file,
            "release": str(self.facts.release),
        }

    @cached_property
    def staged_totals(self) -> dict[str, Any]:
        """Rows and dollars staged."""
        return self._one(audits.totals(self.split.staged.rows))

    @cached_property
    def quarantined_totals(self) -> dict[str, Any]:
        """Rows and dollars set aside."""
        return self._one(audits.totals(self.split.quarantined.rows))

    @cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Every outcome by check name."""
        found = [
            Outcome("strict_parse", True, f"{self.split.rows_read:,} records, none refused."),
            self._conservation(),
            self._schema("schema", self.split.staged),
            self._schema("quarantine_schema", self.split.quarantined),
            self._natures_known(),
            self._npi_filled(),
            self._volume(),
            self._ids_elsewhere(),
            self._twins(),
            self._large_payments(),
            self._quarantine_share(),
            self._one_program_year(),
            self._rules("warnings", Severity.WARN, self.split.staged.count),
            self._rules("reasons", Severity.QUARANTINE, self.split.rows_read),
        ]
        return {x.name: x for x in found}

    def _one(self, expression: Any) -> dict[str, Any]:
        return self.lake.engine.to_rows(expression)[0]

    def _conservation(self) -> Outcome:
        kept, aside = self.staged_totals, self.quarantined_totals
        report: dict[str, Any] = {
            "rows_read": self.split.rows_read,
            "rows_staged": kept["rows"],
            "rows_quarantined": aside["rows"],
        }
        passed = self.split.rows_read == kept["rows"] + aside["rows"]
        for name, cents in self.split.cents_read.items():
            out = cents_of(kept[name]) + cents_of(aside[name])
            passed = passed and cents == out
            report[f"{name}_read"] = dollars(cents)
            report[f"{name}_staged"] = dollars(cents_of(kept[name]))
            report[f"{name}_quarantined"] = dollars(cents_of(aside[name]))
            report[f"{name}_difference"] = dollars(cents - out)
        return Outcome(
            "conservation",
            passed,
            f"{self.split.rows_read:,} rows read = {kept['rows']:,} staged + {aside['rows']:,} "
            f"quarantined; {report['amount_read']} dollars read, difference {report['amount_difference']}.",
            report,
        )

    def _schema(self, name: str, pending: Pending) -> Outcome:
        fixed = {"dataset": str(self.facts.dataset), "program_year": self.facts.program_year}
        return schema_outcome(
            name, pending.table.name, violations(pending.table, pending.rows, pending.count, fixed)
        )

    def _natures_known(self) -> Outcome:
        if self.facts.dataset is not Dataset.GENERAL:
            return Outcome("natures_known", True, f"Not reported in {self.facts.dataset}.")
        nature = self.split.staged.rows.nature_of_payment_or_transfer_of_value
        counted = self.lake.engine.to_rows(
            self.split.staged.rows.group_by(nature=nature).aggregate(rows=nature.count())
        )
        known = set(allowed_values("nature_of_payment"))
        limit = MAX_NEW_NATURE_SHARE * self.split.staged.count
        new = {x["nature"]: x["rows"] for x in counted if x["nature"] and x["nature"] not in known}
        # One row is a typing error, however small the file is.
        over = {k: n for k, n in new.items() if n > max(limit, 1)}
        return Outcome(
            "natures_known",
            not over,
            f"{len(new)} unknown natures, {len(over)} of them above {MAX_NEW_NATURE_SHARE:.1%} of rows"
            + (f": {', '.join(over)}. Add them to contracts/data/values.csv." if over else "."),
            {"unknown": new},
        )

    def _npi_filled(self) -> Outcome:
        applies = (
            self.facts.dataset is Dataset.GENERAL and self.facts.program_year >= FIRST_YEAR_WITH_NPI
        )
        if not applies or "covered_recipient_npi" not in self.facts.layout_columns:
            return Outcome("npi_filled", True, "Asked of general payments from PY2021.")
        found = self._one(audits.npi_fill(self.split.staged.rows))
        people, filled = int(found["people"] or 0), int(found["filled"] or 0)
        share = filled / people if people else 1.0
        return Outcome(
            "npi_filled",
            share >= GOOD_NPI_FILL,
            f"{filled:,} of {people:,} clinicians have an NPI ({share:.2%}; {GOOD_NPI_FILL:.1%} are "
            f"usual, below {MIN_NPI_FILL:.0%} the file is not trusted).",
            {"share": share, "people": people, "usual": GOOD_NPI_FILL, "least": MIN_NPI_FILL},
            stops=share < MIN_NPI_FILL,
        )

    def _volume(self) -> Outcome:
        partition = Partition(self.facts.dataset, self.facts.program_year)
        releases = self.lake.tables.releases(self.split.staged.table.name, partition)
        day = max((x for x in releases if x < self.facts.release), default=None)
        if day is None or not releases[day].rows:
            return Outcome("volume", True, "No release before this one is staged.")
        before = releases[day]
        change = (self.split.staged.count - before.rows) / before.rows
        return Outcome(
            "volume",
            VOLUME_BAND[0] <= change <= VOLUME_BAND[1],
            f"{self.split.staged.count:,} rows against {before.rows:,} of release {before.release} ({change:+.1%}).",
            {"change": change, "previous_release": before.release, "previous_rows": before.rows},
        )

    def _ids_elsewhere(self) -> Outcome:
        """Look for records of the partition in the other program years that the lake holds.

        A warning, though a record can be right in one of the years only: which one, nobody can
        tell. To set aside the rows of the later run would let the order of the runs decide what is
        in the tables, and the same input would no longer give the same output.
        """
        table, year = staging_table(self.facts.dataset), self.facts.program_year
        held = self.lake.tables.partitions(table.name)
        years = sorted(p.program_year for p, x in held.items() if x.rows and p.program_year != year)
        if not years:
            said = "No other program year of the dataset is staged."
            return Outcome("record_ids_elsewhere", True, said)
        staged = self.lake.engine.read_parquet(self.lake.tables.files(table.name), table)
        others = staged.filter(staged.program_year != year)
        found = self.lake.engine.to_rows(audits.ids_elsewhere(self.split.staged.rows, others))
        shared = {int(x["program_year"]): int(x["rows"]) for x in found}
        ids = {y: [x["record_id"] for x in found if x["program_year"] == y] for y in shared}
        listed = "; ".join(
            f"{n:,} in {y} (Record_ID {', '.join(ids[y])})" for y, n in shared.items()
        )
        return Outcome(
            "record_ids_elsewhere",
            not found,
            f"{sum(shared.values()):,} of {self.split.staged.count:,} records are also in one of "
            f"{len(years)} other program years"
            + (f": {listed}. Each is right in one year only; all are kept." if found else "."),
            {
                "rows": sum(shared.values()),
                "years": [
                    {"program_year": y, "rows": shared[y], "record_ids": ids[y]} for y in shared
                ],
                "asked": years,
            },
        )

    def _twins(self) -> Outcome:
        found = self._one(audits.twins(self.split.staged.rows))
        groups, rows = int(found["groups"] or 0), int(found["rows"] or 0)
        return Outcome(
            "twins",
            True,
            f"{rows:,} rows in {groups:,} groups equal each other in all but their id. All are kept.",
            {"groups": groups, "rows": rows},
        )

    def _large_payments(self) -> Outcome:
        rows, engine = self.split.staged.rows, self.lake.engine
        tails = audits.tails(engine.to_rows(audits.tail_counts(rows)))
        shown = engine.to_rows(audits.review_list(rows, tails)) if tails else []
        counts = shown[0] if shown else {"listed": 0, "reaching": 0}
        of_what = "nature of payment" if self.facts.dataset is Dataset.GENERAL else "dataset"
        return Outcome(
            "large_payments",
            True,
            f"{counts['listed']:,} records are for review: {counts['reaching']:,} reach "
            f"{audits.REVIEW_AMOUNT:,} dollars, the others are the largest of each "
            f"{audits.REVIEW_ONE_IN:,} of their {of_what}. The largest {len(shown)} are shown.",
            {
                "listed": int(counts["listed"]),
                "reaching": int(counts["reaching"]),
                "records": [
                    {k: v for k, v in row.items() if k not in ("listed", "reaching")}
                    for row in shown
                ],
            },
        )

    def _quarantine_share(self) -> Outcome:
        rows, aside = self.split.rows_read, self.split.quarantined.count
        limit = self.thresholds.max_quarantine_share[str(self.facts.dataset)]
        share = aside / rows if rows else 0.0
        reasons = ", ".join(f"{x.rule.name} {x.rows:,}" for x in self.broken[Severity.QUARANTINE])
        return Outcome(
            "quarantine_share",
            share <= limit,
            f"{aside:,} of {rows:,} rows of {self.split.source.source_file} are quarantined "
            f"({share:.2%}; limit {limit:.2%}). Reasons: {reasons or 'none'}."
            + ("" if share <= limit else f" First: {self._first_rejected()}"),
            {"share": share, "limit": limit, "rows": aside, "reasons": reasons},
        )

    def _first_rejected(self) -> str:
        return "; ".join(x.sample for x in self.broken[Severity.QUARANTINE][:3])

    def _one_program_year(self) -> Outcome:
        found = [
            x for x in self.broken[Severity.QUARANTINE] if x.rule.name == "program_year_matches"
        ]
        wrong = sum(x.rows for x in found)
        share = wrong / self.split.rows_read if self.split.rows_read else 0.0
        limit = self.thresholds.max_wrong_year_share
        # One row is not yet a wrong file, however small the file is.
        passed = share <= limit or wrong <= 1
        detail = "".join(f" First: {x.sample}" for x in found)
        return Outcome(
            "one_program_year",
            passed,
            f"{wrong:,} rows of {self.split.source.source_file} belong to another program year than "
            f"{self.facts.program_year} ({share:.3%}; limit {limit:.3%}).{detail}",
            {"rows": wrong, "share": share},
        )

    @cached_property
    def broken(self) -> dict[Severity, list[checks.BrokenRule]]:
        """Broken rules of both sides, in the order of the rules."""
        return {
            Severity.WARN: self._broken(Severity.WARN, self.split.staged.rows),
            Severity.QUARANTINE: self._broken(Severity.QUARANTINE, self.split.rejected),
        }

    def _broken(self, severity: Severity, rows: Any) -> list[checks.BrokenRule]:
        found = {x["rule"]: x for x in self.lake.engine.to_rows(audits.broken_rules(rows))}
        rules = [rule for rule in rules_for(self.facts, severity) if rule.name in found]
        if not rules:
            return []
        samples = self._samples(rules, [found[rule.name]["first_row"] for rule in rules], rows)
        return [
            checks.BrokenRule(
                rule=rule,
                rows=int(found[rule.name]["rows"]),
                amount=found[rule.name]["amount"] or Decimal(0),
                first_source_row=int(found[rule.name]["first_row"]),
                sample=described(rule, samples[found[rule.name]["first_row"]], self.split.source),
            )
            for rule in rules
        ]

    def _samples(
        self, rules: Sequence[Rule], numbers: Sequence[int], rows: Any
    ) -> dict[int, dict[str, Any]]:
        columns = {c for rule in rules for c in rule.columns if c in rows.columns} | {"record_id"}
        first = rows.filter(rows.source_row.isin(sorted(set(numbers))))
        picked = first.select("source_row", "source_values", *sorted(columns))
        return {x["source_row"]: x for x in self.lake.engine.to_rows(picked)}

    def _rules(self, name: str, severity: Severity, rows: int) -> Outcome:
        asked = len(rules_for(self.facts, severity))
        file = self.split.source.source_file
        return checks.rules_outcome(name, self.broken[severity], rows, asked, file)


def described(rule: Rule, row: Mapping[str, Any], source: StagingInput) -> str:
    """Say file, record, column and value of an offending row, as they stand in the file."""
    originals = dict(row["source_values"] or {})
    source_of = source.layout.source_of
    named = [(source_of[c], c) for c in rule.columns if c in source_of]
    values = [(name, originals.get(name, row.get(c))) for name, c in named]
    # Of a few columns it may be the empty one that is wrong; of many slots most are empty.
    filled = [x for x in values if x[1] is not None or len(values) <= FEW_COLUMNS]
    shown = [f"{name} = {value!r}" for name, value in filled]
    where = f"{source.source_file}, record {row['source_row']} (Record_ID {row['record_id']})"
    return f"{where}: {', '.join(shown) or rule.why}"


def schema_outcome(name: str, table: str, broken: Sequence[Violation]) -> Outcome:
    """Report Pandera's violations of a table."""
    listed = [f"{x.column}: {x.check} ({', '.join(x.sample)})" for x in broken]
    return Outcome(
        name,
        not broken,
        f"{table} is as contracted."
        if not broken
        else f"{table} breaks its contract: {'; '.join(listed)}",
        {"violations": listed},
    )


def cents_of(amount: Decimal | None) -> int:
    """Return dollars as cents."""
    return int((amount or Decimal(0)) * 100)


def dollars(cents: int) -> str:
    """Return cents as dollars with two decimals."""
    return str((Decimal(cents) / 100).quantize(Decimal("0.01")))
