"""Writing a simulated file: bytes as CMS writes them, in chunks, under its name only when whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from openpay_assets.cms.simulator.dirt import Damage, damaged
from openpay_assets.cms.simulator.records import (
    EMPTY,
    LINE_BREAK_SOURCES,
    clean_columns,
    draw_sql,
    joins,
    money_columns,
)
from openpay_assets.cms.simulator.story import Changes, Story, live
from openpay_assets.cms.simulator.vocabulary import set_variables
from openpay_assets.contracts.model import Layout
from openpay_assets.contracts.rules import RULES, PartitionFacts, Severity
from openpay_assets.contracts.sql import sql_name, sql_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

CHUNK_ROWS = 500_000
BUFFER_BYTES = 4 * 1024 * 1024
_SEVERITIES = {rule.name: rule.severity for rule in RULES}


def severity_of(damage: Damage) -> Severity:
    """Return what happens to a row with the damage."""
    return _SEVERITIES[damage.rule]


@dataclass
class Tally:
    """What the plan of a file puts into it: rows, cents and line breaks, all and by damage."""

    rows: int = 0
    cents: int = 0
    interest_cents: int = 0
    line_breaks: int = 0
    quarantined_rows: int = 0
    quarantined_cents: int = 0
    quarantined_interest_cents: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    changes: Changes = field(default_factory=Changes.none)

    def add(self, damage: Damage | None, rows: int, cents: int, interest: int, breaks: int) -> None:
        """Count the rows that suffer a damage, or the clean ones."""
        cents = 0 if damage and damage.loses_amount else cents
        interest = 0 if damage and damage.loses_interest else interest
        self.rows += rows
        self.cents += cents
        self.interest_cents += interest
        self.line_breaks += breaks
        if damage is None:
            return
        self.broken[damage.rule] = self.broken.get(damage.rule, 0) + rows
        if severity_of(damage) is Severity.QUARANTINE:
            self.quarantined_rows += rows
            self.quarantined_cents += cents
            self.quarantined_interest_cents += interest

    def by_rule(self, severity: Severity) -> dict[str, int]:
        """Rows by broken rule of a severity, in the order of the rules."""
        return {
            rule: self.broken[rule]
            for rule in _SEVERITIES
            if rule in self.broken and _SEVERITIES[rule] is severity
        }


def write_file(
    connection: DuckDBPyConnection,
    path: Path,
    facts: PartitionFacts,
    layout: Layout,
    damages: Sequence[Damage],
    rows: int,
    on_rows: Callable[[int], None],
    story: Story | None = None,
) -> Tally:
    """Write a file of ``rows`` records, planned in ``plan``, and return what is in it.

    With a story, ``rows`` counts the record numbers in use, and the records among them that the
    release publishes are written. ``on_rows`` is told how many numbers are done after every chunk.
    """
    tally = Tally()
    partial, chunk = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.chunk")
    copy = _copy_sql(facts, layout, damages, chunk, story)
    try:
        with partial.open("wb") as target:
            target.write((",".join(layout.header) + "\n").encode("ascii"))
            for first in range(0, rows, CHUNK_ROWS):
                last = min(first + CHUNK_ROWS, rows)
                set_variables(connection, from_row=first, to_row=last)
                connection.execute(draw_sql(facts.dataset))
                if story:
                    live(connection, facts.dataset, story, tally.changes)
                _count_chunk(connection, facts, damages, tally)
                connection.execute(copy)
                with chunk.open("rb") as source:
                    shutil.copyfileobj(source, target, BUFFER_BYTES)
                on_rows(last)
        partial.replace(path)
    finally:
        chunk.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return tally


def write_json(path: Path, content: object) -> None:
    """Write JSON to be read by people and programs, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _copy_sql(
    facts: PartitionFacts,
    layout: Layout,
    damages: Sequence[Damage],
    target: Path,
    story: Story | None,
) -> str:
    """Return the statement that writes the lines of a chunk.

    DuckDB's own CSV writer would quote as well, but then rows and not lines would be sorted,
    which takes four times as long; and joins alone do not keep the order of rows.
    """
    clean = clean_columns(facts, story.style if story else None)
    money = money_columns(facts.dataset)
    fields = []
    for _, name in layout.columns:
        value = damaged(name, damages) or (sql_name(name) if name in clean else None)
        if value is None:
            fields.append("''")
        else:
            fields.append(f"quoted({value})" if name not in money else f"bare({value})")
    every = [f"{clean.get(name, EMPTY)} AS {sql_name(name)}" for _, name in layout.columns]
    line = ", ',', ".join(fields)
    return (
        f"COPY (SELECT line FROM (SELECT n, concat({line}) AS line FROM ("
        f"SELECT c.n, c.damage, {', '.join(every)} FROM {joins(facts.dataset)})) ORDER BY n) "
        f"TO {sql_text(str(target))} (FORMAT csv, HEADER false, QUOTE '', ESCAPE '')"
    )


def _count_chunk(
    connection: DuckDBPyConnection, facts: PartitionFacts, damages: Sequence[Damage], tally: Tally
) -> None:
    words = f"getvariable('{LINE_BREAK_SOURCES[facts.dataset]}')"
    counts = connection.execute(
        f"SELECT damage, count(*), sum(cents), sum(interest_cents), "
        f"coalesce(sum(line_breaks({words}[1 + context])), 0) "
        f"FROM chunk GROUP BY damage ORDER BY damage"
    ).fetchall()
    for number, *measures in counts:
        tally.add(None if number is None else damages[number], *(int(x) for x in measures))
