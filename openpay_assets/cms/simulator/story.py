"""Several releases of a partition: what was added, changed and removed, and what it must add up to.

The story of a partition follows its real publications. ``rows`` records stand in the first one;
every later one adds some, changes some and removes some. A record's content is a function of
its number and its state: how far its amount has risen, whether its dispute flag is turned, and
the release in which its text was last corrected. So what differs between two releases is known
from the draws, whichever lie between them. Dirty rows stay as they are in every release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from openpay_assets.cms.simulator import dirt, publications
from openpay_assets.cms.simulator.vocabulary import read_sql, set_variables
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import layout_of
from openpay_assets.contracts.rules import PartitionFacts

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from openpay_assets.cms.simulator.dirt import Damage

ADDED_PART = 50
"""Records of the first publication to one that each later release adds."""

STRETCH, SHORT_STRETCH = 100, 40
"""Records of the first publication of which each later release removes one and changes three."""


@dataclass(frozen=True)
class Story:
    """Where a release stands in the publications of its partition.

    ``lies`` asks for at most that many of each kind: a changed record marked UNCHANGED, a
    removed one that is not listed, a listed one that is still there.
    """

    days: tuple[date, ...]
    number: int
    rows: int
    lies: int = 0

    @property
    def batch(self) -> int:
        """How many records each later release adds."""
        return max(2, -(-self.rows // ADDED_PART))

    @property
    def numbers(self) -> int:
        """How many record numbers are in use at the release, gone ones included."""
        return self.rows + self.number * self.batch

    @property
    def stretch(self) -> int:
        """How many records of the first publication take turns."""
        return STRETCH if self.rows >= STRETCH else SHORT_STRETCH

    @property
    def style(self) -> date:
        """The day whose spelling all releases keep: an unchanged record is spelt as before."""
        return self.days[0]


KINDS = {
    "added": "change_type IN ('NEW', 'ADD')",
    "changed": "is_changed",
    "removed": "is_removed",
}
"""What can happen to a record at a release, by the condition for it."""

MEASURES = ("rows", "cents_before", "cents", "value_of_interest_cents")

_LIES = {
    "changed_but_marked_unchanged": "is_unmarked",
    "removed_but_not_listed": "is_unlisted",
    "listed_but_not_removed": "is_listed_alive",
}


@dataclass
class Changes:
    """What a release did to the one before it: rows and sums by kind of change, and the lies."""

    sums: dict[str, dict[str, int]]
    lies: dict[str, int]

    @classmethod
    def none(cls) -> Changes:
        """Return no changes."""
        return cls({kind: dict.fromkeys(MEASURES, 0) for kind in KINDS}, dict.fromkeys(_LIES, 0))

    def add(self, connection: DuckDBPyConnection) -> None:
        """Add what happened to the records of ``lived``."""
        for kind, condition in KINDS.items():
            measures = connection.execute(
                "SELECT count(*), coalesce(sum(cents_before), 0), coalesce(sum(cents), 0), "
                f"coalesce(sum(interest_cents), 0) FROM lived WHERE {condition}"
            ).fetchall()[0]
            for name, measure in zip(self.sums[kind], measures, strict=True):
                self.sums[kind][name] += int(measure)
        for lie, condition in _LIES.items():
            [count] = connection.execute(
                f"SELECT count(*) FROM lived WHERE {condition}"
            ).fetchall()[0]
            self.lies[lie] += count


def described(sums: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Write sums down as the expected JSON has them; money is what the side that has it says."""
    added, changed, removed = (sums[kind] for kind in KINDS)
    return {
        "added": {
            "rows": added["rows"],
            "cents": added["cents"],
            "value_of_interest_cents": added["value_of_interest_cents"],
        },
        "changed": {
            "rows": changed["rows"],
            "cents_before": changed["cents_before"],
            "cents_after": changed["cents"],
        },
        "removed": {
            "rows": removed["rows"],
            "cents": removed["cents_before"],
            "value_of_interest_cents": removed["value_of_interest_cents"],
        },
    }


def story_of(program_year: int, release: date, rows: int, lies: int = 0) -> Story:
    """Return the story of a partition up to a release.

    Raises ``ValueError`` when CMS published nothing of the program year that day.
    """
    days = publications.publications_of(program_year)
    if release not in days:
        raise ValueError(
            f"Program year {program_year} was not published on {release}; known: "
            f"{', '.join(str(day) for day in days)}."
        )
    return Story(days, days.index(release), rows, lies)


def steady_damages(
    dataset: Dataset, program_year: int, release: date, without: Sequence[str]
) -> list[Damage]:
    """Return the damages that every layout of a partition's story can suffer.

    The same list for each release, so that a dirty row is dirty in the same way and with the
    same values in all of them, save for two things that belong to a release: the day of
    publication that a row states, and which columns of a slot there are to move.
    """
    days = publications.publications_of(program_year)
    columns = {
        day: frozenset(layout_of(dataset, program_year, day.isoformat()).source_of)
        for day in {*days, release}
    }
    common = frozenset.intersection(*columns.values())

    def damages(day: date, known: frozenset[str], moving: bool) -> list[Damage]:
        found = dirt.damages_for(PartitionFacts(dataset, program_year, day, known), without)
        return [x for x in found if (x.rule in dirt.MOVING) == moving]

    steady = zip(damages(days[-1], common, False), damages(release, common, False), strict=True)
    return [
        *(now if "payment_publication_date" in now.columns else always for always, now in steady),
        *damages(release, columns[release], True),
    ]


def prepare(connection: DuckDBPyConnection, story: Story) -> None:
    """Tell the SQL which story it draws, and forget the removed records of another."""
    set_variables(connection, first_rows=story.rows, batch=story.batch, stretch=story.stretch)


def forget_removed(connection: DuckDBPyConnection) -> None:
    """Empty the table of removed records, one row each, which ``live`` fills."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE removed "
        "(dataset VARCHAR, n BIGINT, record_id BIGINT, change_type VARCHAR)"
    )


def live(connection: DuckDBPyConnection, dataset: Dataset, story: Story, changes: Changes) -> None:
    """Bring the drawn ``chunk`` to the state of the release, and add up what happened to it.

    Records that are not published yet, or no more, leave the chunk; the ids that the release
    lists as removed go to ``removed``. The chunk gains ``flipped``, ``correction`` and
    ``change_type``.
    """
    draw_state(connection, dataset, story, "lived")
    if story.number:
        changes.add(connection)
        connection.execute(
            f"INSERT INTO removed SELECT '{dataset}', n, record_id, "
            "CASE WHEN chance(500000, getvariable('first_record') + n, 'deleted') "
            "THEN 'DELETED' ELSE 'REMOVED' END FROM lived WHERE is_listed"
        )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE chunk AS SELECT * FROM lived WHERE NOT is_removed"
    )


def draw_state(connection: DuckDBPyConnection, dataset: Dataset, story: Story, table: str) -> None:
    """Create a table with the records of ``chunk`` that the release publishes or removes."""
    releases = range(1, story.number + 1)
    rises = ["0", *(f"CASE WHEN event_{x} = 1 THEN rise(n, {x}) ELSE 0 END" for x in releases)]
    corrections = "".join(f"WHEN event_{x} = 3 THEN {x} " for x in reversed(releases))
    nature = (
        "CASE WHEN correction > 0 AND nature = 'Food and Beverage' THEN 'Education' ELSE nature END"
    )
    connection.execute(
        read_sql("state.sql").format(
            table=table,
            release=story.number,
            lies=story.lies,
            events=", ".join(
                [
                    "*",
                    *(
                        f"CASE WHEN damage IS NULL THEN event(n, birth, turn, {x}) ELSE 0 END "
                        f"AS event_{x}"
                        for x in releases
                    ),
                ]
            ),
            event_now=f"event_{story.number}" if story.number else "0",
            risen=" + ".join(rises),
            risen_before=" + ".join(rises[: story.number] or rises),
            flips=" + ".join(["0", *(f"(event_{x} = 2)::INTEGER" for x in releases)]),
            correction=f"CASE {corrections}ELSE 0 END" if corrections else "0",
            corrected_nature=f"{nature} AS nature," if dataset is Dataset.GENERAL else "",
        )
    )
