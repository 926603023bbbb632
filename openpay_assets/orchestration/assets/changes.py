"""Release changes: what a release changed in its partition, and whether CMS says so too.

Compared are the staged release and the newest one before it in the lake. CMS flags its records
against the publication just before, which the lake may not hold: then its flags and its list of
removed records are not judged, and the comparison stands by itself.
"""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from openpay_assets.cms.publications import first_publication, published_between
from openpay_assets.contracts.model import Column, ColumnType, Layout, Table
from openpay_assets.contracts.registry import (
    curated_table,
    layouts,
    quarantine_table,
    staging_table,
)
from openpay_assets.contracts.sql import sql_text
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.assets.curated import column_schema, judge, staged_from
from openpay_assets.orchestration.assets.removed import RemovedList, released
from openpay_assets.orchestration.checks import Outcome
from openpay_assets.orchestration.io_managers import LakeIOManager, Pending, Target
from openpay_assets.orchestration.partitions import DATASET_YEARS, partition_of
from openpay_assets.transforms import changes as changes_of
from openpay_assets.transforms.changes import Kind, ReleaseRows
from openpay_assets.transforms.shape import union_all

if TYPE_CHECKING:
    import ibis.expr.types as ir

NAME = "release_changes"
KEY = dg.AssetKey(["curated", NAME])
MAX_TOMBSTONE_SHARE = 0.001
MAX_TRANSLATED_SHARE = 0.1
"""Share of common records above which a column that differs is taken for translated wrongly."""
FIRST_YEAR_WITH_LIST = 2016
TOMBSTONES = Table(
    "removed_list",
    (
        Column("change_type", ColumnType.TEXT, False, "DELETED or REMOVED."),
        Column("record_id", ColumnType.TEXT, False, "CMS key of the record."),
    ),
)


@dg.asset(
    key=KEY,
    description="One row per record that differs from the release before it in the lake.",
    ins={
        "staging": dg.AssetIn(key="staging"),
        "quarantine": dg.AssetIn(key="quarantine"),
        "removed_list": dg.AssetIn(key="removed_list", input_manager_key="removed_io"),
    },
    partitions_def=DATASET_YEARS,
    io_manager_key="lake",
    group_name="curated",
    kinds={"iceberg"},
    check_specs=checks.specs(KEY, checks.curated_checks(NAME)),
    metadata={"dagster/column_schema": column_schema(NAME)},
)
def release_changes(
    context: dg.AssetExecutionContext,
    staging: Any,
    quarantine: Any,
    removed_list: RemovedList,
    lake: dg.ResourceParam[LakeIOManager],
) -> Iterator[dg.Output[Pending] | dg.AssetCheckResult]:
    """Compare, judge CMS's flags, and only then commit."""
    partition = partition_of(context.partition_key)
    release, layout = staged_from(lake, partition)
    now = ReleaseRows(staging, quarantine, layout, release)
    before = release_before(lake, partition, release)
    expression = (
        changes_of.release_changes(before, now, partition.program_year)
        if before
        else union_all([], staging, NAME)
    )
    target = Target(partition, release, context.run.run_id, layout.name)
    pending = lake.write(curated_table(NAME), expression, target)
    asked = checks.curated_checks(NAME)
    with tombstones(lake, removed_list, str(partition.dataset)) as listed:
        findings = Findings(lake, pending, partition, before, now, removed_list, listed)
        outcomes = {**judge(NAME, pending, partition, {}, lake), **findings.outcomes}
        yield from checks.report(KEY, asked, outcomes)
        yield dg.Output(pending, metadata=findings.totals())


def release_before(lake: LakeIOManager, partition: Partition, release: date) -> ReleaseRows | None:
    """Return the newest release of a partition in the lake before another; None without any."""
    staging, aside = staging_table(partition.dataset), quarantine_table()
    states = lake.tables.releases(staging.name, partition)
    day = max((x for x in states if x < release), default=None)
    if day is None:
        return None

    def rows(table: Table) -> "ir.Table":
        has_it = day in lake.tables.releases(table.name, partition)
        files = lake.tables.files(table.name, **vars(partition), release=day) if has_it else []
        return lake.engine.read_parquet(files, table)

    known: dict[str, Layout] = {layout.name: layout for layout in layouts(partition.dataset)}
    return ReleaseRows(rows(staging), rows(aside), known[states[day].layout], day)


@contextmanager
def tombstones(lake: LakeIOManager, listed: RemovedList, dataset: str) -> Iterator["ir.Table"]:
    """Give the removed records of a dataset as a table on the engine."""
    import duckdb

    path = Path(lake.root) / ".scratch" / f"{os.getpid()}-removed-{uuid.uuid4().hex[:8]}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY ({listed.tombstones_sql(dataset)}) TO {sql_text(str(path))} (FORMAT parquet)"
        )
    try:
        yield lake.engine.read_parquet([path], TOMBSTONES)
    finally:
        path.unlink()


@dataclass(frozen=True)
class Findings:
    """What the checks of a comparison found; ``before`` is None when nothing was there."""

    lake: LakeIOManager
    pending: Pending
    partition: Partition
    before: ReleaseRows | None
    now: ReleaseRows
    listed: RemovedList
    tombstones: Any

    def totals(self) -> dict[str, Any]:
        """Return rows and dollars by kind, as shown on the materialization."""
        said: dict[str, Any] = {
            "previous_release": str(self.before.release) if self.before else "none",
            "unchanged": sum(self.unchanged.values()) if self.before else 0,
        }
        for kind in Kind:
            rows = [x for x in self.summary if x["kind"] == kind]
            said[str(kind)] = sum(x["rows"] for x in rows)
            said[f"{kind}_dollars"] = str(sum((x["amount"] for x in rows), Decimal(0)))
        return said

    @cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Every outcome by check name."""
        found = [
            self._change_type_domain(),
            self._unchanged_is_unchanged(),
            self._changed_differs(),
            self._new_add_absent_before(),
            self._tombstones_match(),
            self._tombstone_not_live(),
            self._gap_detection(),
            self._layout_translation(),
        ]
        return {x.name: x for x in found}

    @cached_property
    def summary(self) -> list[dict[str, Any]]:
        """Rows and dollars by kind, flag and side in quarantine."""
        return self.lake.engine.to_rows(changes_of.summary(self.pending.rows))

    @cached_property
    def flags(self) -> dict[str | None, int]:
        """Staged rows of the release by CMS flag."""
        counted = self.lake.engine.to_rows(changes_of.flagged(self.now.staged))
        return {x["change_type"]: x["rows"] for x in counted}

    @cached_property
    def unchanged(self) -> dict[str | None, int]:
        """Staged rows that are as they were, by CMS flag: all that no change is listed of."""
        listed = [x for x in self.summary if x["kind"] != Kind.REMOVED]
        return {
            flag: rows
            - sum(
                x["rows"]
                for x in listed
                if x["change_type"] == flag and x["quarantined_in"] != "this"
            )
            for flag, rows in self.flags.items()
        }

    @cached_property
    def skipped(self) -> list[date]:
        """Publications of the partition between the two releases."""
        if self.before is None:
            return []
        return published_between(
            self.partition.program_year,
            self.before.release,
            self.now.release,
            released(self.listed),
        )

    def _inapplicable(self) -> str:
        """Say why CMS's word on this release cannot be judged; empty when it can."""
        if self.before is None:
            return f"The lake holds no release of {self.partition} before {self.now.release}."
        if self.skipped:
            days = ", ".join(map(str, self.skipped))
            return (
                f"CMS published {days} between {self.before.release} and {self.now.release}; its "
                f"flags and its list are relative to that."
            )
        return ""

    def _change_type_domain(self) -> Outcome:
        name = "change_type_domain"
        if "change_type" not in self.now.layout.source_of:
            return _not_applicable(name, f"Layout {self.now.layout.name} has no change type.")
        if self.now.release != first_publication(self.partition.program_year):
            said = {str(flag): rows for flag, rows in self.flags.items()}
            return Outcome(
                name, True, "Not a first publication; unknown flags are in quarantine.", said
            )
        other = {str(k): n for k, n in self.flags.items() if k != "NEW"}
        rows, whole = sum(other.values()), sum(self.flags.values())
        return Outcome(
            name,
            not other,
            f"{rows:,} of {whole:,} records of a first publication are not flagged NEW.",
            {"rows": rows, "share": rows / whole if whole else 0.0, **other},
        )

    def _unchanged_is_unchanged(self) -> Outcome:
        return self._flagged_wrongly(
            "unchanged_is_unchanged",
            ("UNCHANGED",),
            {Kind.CHANGED: "differ", Kind.ADDED: "were not there before"},
        )

    def _changed_differs(self) -> Outcome:
        disputes = sum(x["disputes"] for x in self.summary if x["change_type"] == "CHANGED")
        outcome = self._flagged_wrongly(
            "changed_differs",
            ("CHANGED",),
            {None: "do not differ", Kind.ADDED: "were not there before"},
        )
        return replace(
            outcome, summary=f"{outcome.summary} In {disputes:,} only the dispute status differs."
        )

    def _new_add_absent_before(self) -> Outcome:
        return self._flagged_wrongly(
            "new_add_absent_before",
            ("NEW", "ADD"),
            {None: "were there before as they are", Kind.CHANGED: "were there before and differ"},
        )

    def _flagged_wrongly(
        self, name: str, flags: tuple[str, ...], wrong: Mapping[Kind | None, str]
    ) -> Outcome:
        """Count the records with some flags that became what the flags exclude.

        ``wrong`` says in words what a kind means for them; None stands for unchanged. A record
        that went into or out of quarantine is not held against its flag.
        """
        if "change_type" not in self.now.layout.source_of:
            return _not_applicable(name, f"Layout {self.now.layout.name} has no change type.")
        reason = self._inapplicable()
        if self.before is None:
            return _not_applicable(name, reason)
        listed = [
            x
            for x in self.summary
            if x["change_type"] in flags and x["kind"] in wrong and not x["quarantined_in"]
        ]
        counts = {
            what: sum(self.unchanged.get(flag, 0) for flag in flags)
            if kind is None
            else sum(x["rows"] for x in listed if x["kind"] == kind)
            for kind, what in wrong.items()
        }
        asked = sum(self.flags.get(flag, 0) for flag in flags)
        said = ", ".join(f"{rows:,} {what}" for what, rows in counts.items())
        summary = f"Of {asked:,} records flagged {' or '.join(flags)}, {said}."
        if reason:
            return _not_applicable(name, f"{reason} {summary}")
        rows = sum(counts.values())
        report: dict[str, Any] = {"rows": rows, "share": rows / asked if asked else 0.0, **counts}
        if rows:
            ids = changes_of.flagged_ids(self.now.staged, self.pending.rows, flags, [*wrong])
            listed_flags = ", ".join(f"'{flag}'" for flag in flags)
            report |= {
                "dollars_moved": str(sum((x["amount"] for x in listed), Decimal(0))),
                "sample": _ids(self.lake, ids)[1],
                "next_step": 'Compare the records: openpay query "select * from '
                f"curated.release_changes where dataset = '{self.partition.dataset}' and "
                f"program_year = {self.partition.program_year} and change_type in "
                f'({listed_flags})"',
            }
        return Outcome(name, rows == 0, summary, report)

    def _tombstones_match(self) -> Outcome:
        name = "tombstones_match"
        if reason := self._inapplicable() or self._list_inapplicable():
            return _not_applicable(name, reason)
        missing, extra = (
            _ids(self.lake, find(self.pending.rows, self.tombstones))
            for find in (changes_of.unlisted, changes_of.unremoved)
        )
        rows = missing[0] + extra[0]
        whole = self._rows_before()
        share = rows / whole if whole else 0.0
        removed = [x for x in self.summary if x["kind"] == Kind.REMOVED]
        return Outcome(
            name,
            rows == 0,
            f"{sum(x['rows'] for x in removed):,} records left; {missing[0]:,} of them are not on "
            f"CMS's list, and {extra[0]:,} on the list did not leave ({share:.3%} of "
            f"{whole:,}; limit {MAX_TOMBSTONE_SHARE:.1%})."
            + ("" if self.listed.file else " No list was found beside the release."),
            {
                "rows": rows,
                "share": share,
                "dollars": str(sum((x["amount"] for x in removed), Decimal(0))),
                "not_listed": missing[1],
                "not_removed": extra[1],
                "file": self.listed.file.path if self.listed.file else "none published",
            },
            # Without a list nobody can say what should have left.
            stops=self.listed.file is not None and share > MAX_TOMBSTONE_SHARE,
        )

    def _rows_before(self) -> int:
        if self.before is None:
            return 0
        counts = (self.before.staged.count(), self.before.quarantined.count())
        return sum(int(self.lake.engine.to_rows(x.name("n").as_table())[0]["n"]) for x in counts)

    def _list_inapplicable(self) -> str:
        if self.listed.release != str(self.now.release):
            return (
                f"The list in the lake belongs to release {self.listed.release}, not to "
                f"{self.now.release}. Materialize removed_list."
            )
        if self.listed.file is None and self.partition.program_year < FIRST_YEAR_WITH_LIST:
            return f"CMS publishes no such list for program years before {FIRST_YEAR_WITH_LIST}."
        return ""

    def _tombstone_not_live(self) -> Outcome:
        name = "tombstone_not_live"
        if reason := self._list_inapplicable():
            return _not_applicable(name, reason)
        rows, first = _ids(self.lake, changes_of.alive(self.tombstones, self.now))
        return Outcome(
            name,
            rows == 0,
            f"{rows:,} records that CMS lists as removed are in release {self.now.release}"
            + (f": {', '.join(first)}." if rows else "."),
            {"rows": rows, "sample": first},
        )

    def _gap_detection(self) -> Outcome:
        if self.before is None:
            return _not_applicable("gap_detection", self._inapplicable())
        return Outcome(
            "gap_detection",
            True,
            self._inapplicable()
            or f"Nothing was published between {self.before.release} and {self.now.release}.",
            {"skipped": [str(day) for day in self.skipped]},
        )

    def _layout_translation(self) -> Outcome:
        name = "layout_translation"
        if self.before is None:
            return _not_applicable(name, self._inapplicable())
        old, new = self.before.layout, self.now.layout
        if old.name == new.name:
            return _not_applicable(name, f"Both releases are in layout {new.name}.")
        removed = sum(x["rows"] for x in self.summary if x["kind"] == Kind.REMOVED)
        common = max(self._rows_before() - removed, 0)
        counted = self.lake.engine.to_rows(changes_of.column_counts(self.pending.rows))
        columns = {x["column"]: x["rows"] for x in sorted(counted, key=lambda x: -x["rows"])}
        over = [c for c, rows in columns.items() if rows > MAX_TRANSLATED_SHARE * common]
        only_one = sorted(old.source_of.keys() ^ new.source_of.keys())
        return Outcome(
            name,
            not over,
            f"{old.name} to {new.name}: {len(changes_of.common_columns(old, new))} columns compared over "
            f"{common:,} common records, {len(columns)} differ in some"
            + (f"; in too many to be news: {', '.join(over)}." if over else "."),
            {"differing": columns, "compared_away": only_one, "common_records": common},
        )


def _ids(lake: LakeIOManager, found: "ir.Table") -> tuple[int, list[str]]:
    """Return how many record ids there are, and the first of them."""
    counted = lake.engine.to_rows(found.aggregate(n=found.count()))[0]["n"]
    first = lake.engine.to_rows(found.order_by("record_id").limit(5)) if counted else []
    return int(counted), [x["record_id"] for x in first]


def _not_applicable(name: str, reason: str) -> Outcome:
    return Outcome(name, True, f"Not applicable. {reason}", {"applicable": False})
