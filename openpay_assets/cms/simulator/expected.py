"""What differs between two releases of a partition, whichever lie between them.

Drawn again from the arguments that stand beside the files, not read from the files, so that it
can be held against whatever compares those.
"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from openpay_assets.cms.simulator import publications, records, simulation, story, writer
from openpay_assets.cms.simulator.vocabulary import set_variables
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import layout_of
from openpay_assets.contracts.rules import PartitionFacts, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openpay_assets.cms.simulator.dirt import Damage

_COMPARED = """
SELECT
    CASE
        WHEN old.n IS NULL THEN 'added'
        WHEN new.n IS NULL THEN 'removed'
        WHEN (old.cents, old.flipped, old.correction) != (new.cents, new.flipped, new.correction)
            THEN 'changed'
        ELSE 'unchanged'
    END AS kind,
    coalesce(old.damage, new.damage) AS damage,
    count(*), coalesce(sum(old.cents), 0), coalesce(sum(new.cents), 0),
    coalesce(sum(coalesce(new.interest_cents, old.interest_cents)), 0)
FROM (FROM old WHERE NOT is_removed) old
FULL JOIN (FROM new WHERE NOT is_removed) new ON new.n = old.n
GROUP BY ALL
"""


def expected_changes(
    folder: Path, dataset: Dataset, program_year: int, from_release: date, to_release: date
) -> dict[str, Any]:
    """Return what a correct comparison of two simulated releases finds, as the JSON files say it.

    ``added``, ``changed`` and ``removed`` hold rows and cents, ``unchanged`` also those that are
    staged. Lies are not believed: a record that differs has changed, whatever it says.

    Raises:
        FileNotFoundError: the later release was not simulated in the folder.
        ValueError: it was not simulated as one of several releases, or does not follow the other.
    """
    name = publications.file_name(dataset, program_year, to_release)
    content = json.loads((folder / f"{name}.expected.json").read_text(encoding="utf-8"))
    if "changes" not in content:
        raise ValueError(f"{name} was not simulated as one of several releases.")
    if from_release >= to_release:
        raise ValueError(f"Release {to_release} does not follow {from_release}.")
    arguments = content["arguments"]
    rows = simulation.rows_of(dataset, arguments["rows"])
    old, new = (story.story_of(program_year, day, rows) for day in (from_release, to_release))
    layout = layout_of(dataset, program_year, to_release.isoformat())
    facts = PartitionFacts(dataset, program_year, to_release, frozenset(layout.source_of))
    measured: dict[str, dict[str, int]] = {
        kind: dict.fromkeys(story.MEASURES, 0) for kind in (*story.KINDS, "unchanged")
    }
    staged = {"rows": 0, "cents": 0}
    with (
        TemporaryDirectory(prefix="expected-") as scratch,
        simulation.open_simulator(Path(scratch), content["seed"], arguments["rows"]) as connection,
    ):
        damages = simulation.prepare(
            connection, facts, arguments["without"], rows, arguments["dirt"], new
        )
        for first in range(0, new.numbers, writer.CHUNK_ROWS):
            last = min(first + writer.CHUNK_ROWS, new.numbers)
            set_variables(connection, from_row=first, to_row=last)
            connection.execute(records.draw_sql(dataset))
            story.draw_state(connection, dataset, old, "old")
            story.draw_state(connection, dataset, new, "new")
            for kind, number, *counts in connection.execute(_COMPARED).fetchall():
                sums = _without_lost(counts, number, damages)
                for measure, value in zip(story.MEASURES, sums, strict=True):
                    measured[kind][measure] += value
                if kind == "unchanged" and not _is_quarantined(number, damages):
                    staged["rows"] += sums[0]
                    staged["cents"] += sums[2]
    unchanged = measured["unchanged"]
    return {
        "since": from_release.isoformat(),
        **story.described(measured),
        "unchanged": {
            "rows": unchanged["rows"],
            "cents": unchanged["cents"],
            "staged_rows": staged["rows"],
            "staged_cents": staged["cents"],
        },
    }


def _without_lost(
    counts: Sequence[int], number: int | None, damages: Sequence[Damage]
) -> list[int]:
    """Leave out the sums of amounts that a damage makes unreadable."""
    rows, before, after, interest = (int(x) for x in counts)
    damage = None if number is None else damages[number]
    if damage and damage.loses_amount:
        before = after = 0
    if damage and damage.loses_interest:
        interest = 0
    return [rows, before, after, interest]


def _is_quarantined(number: int | None, damages: Sequence[Damage]) -> bool:
    return number is not None and writer.severity_of(damages[number]) is Severity.QUARANTINE
