"""Simulating CMS: from the arguments to the files of a folder."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from openpay_assets.cms.names import FIRST_PROGRAM_YEAR
from openpay_assets.cms.simulator import (
    dirt,
    entities,
    publications,
    removed,
    story,
    vocabulary,
    writer,
)
from openpay_assets.cms.simulator.beside import write_beside
from openpay_assets.contracts.model import Dataset, Layout
from openpay_assets.contracts.registry import layout_of
from openpay_assets.contracts.rules import FIRST_DAY, PartitionFacts, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

    from openpay_assets.cms.simulator.dirt import Damage
    from openpay_assets.cms.simulator.story import Story

MOST_ROWS = 20_000_000
"""Of general records, which is as many as record ids allow; real years have up to 16 million."""

MOST_ROWS_WITH_RELEASES = 15_000_000
"""In the first publication; the last one may have a third more record ids in use."""

RESEARCH_PART, OWNERSHIP_PART = 12, 100
"""General records to one of research, and to one of ownership."""

FEWEST_ROWS = 40
"""Of research and ownership records."""

FIRST_IDS = {Dataset.GENERAL: 0, Dataset.RESEARCH: 70_000_000, Dataset.OWNERSHIP: 95_000_000}
IDS_OF_A_YEAR = 100_000_000
"""Record ids of one program year, shared by the datasets."""


@dataclass(frozen=True)
class SimulatedFile:
    """A file that was written, and what a correct reader finds in it.

    ``expected`` is the content of ``expected_path``: rows, cents, and the rows that each rule
    sets aside or warns about.
    """

    path: Path
    expected_path: Path
    dataset: Dataset
    program_year: int
    release: date
    layout: str
    rows: int
    expected: dict[str, Any]


@dataclass(frozen=True)
class _Request:
    """The arguments of a simulation that decide the content of every file."""

    rows: int
    seed: int
    dirt: float
    without: tuple[str, ...]
    lies: int = 0


@dataclass(frozen=True)
class _Edition:
    """One release of a partition: what its file holds, and its place in the story if it has one."""

    facts: PartitionFacts
    layout: Layout
    story: Story | None


def simulate(
    folder: Path,
    *,
    years: Sequence[int],
    rows: int,
    seed: int = 0,
    dirt: float = 0.0,
    datasets: Sequence[Dataset] = tuple(Dataset),
    release: str | None = None,
    releases: int | None = None,
    lies: int = 0,
    beside: bool = False,
    without: Collection[str] = (),
    threads: int | None = None,
    memory_limit: str = "1GB",
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[SimulatedFile]:
    """Write payment files as CMS publishes them, and beside each what is in it.

    The same arguments give the same bytes, whatever the threads and the memory. Clinicians,
    hospitals, companies, products and studies are the same in every dataset and program year
    of a seed.

    Args:
        folder: where to write; made when missing. Files of the same name are replaced.
        years: program years, 2013 or later.
        rows: general records in each program year; research has a twelfth and ownership a
            hundredth as many, at least 40 each.
        seed: another seed gives other people and records.
        dirt: share of rows, 0 to 1, that break one rule each. Rules take turns.
        datasets: which of general, research and ownership to write.
        release: ISO day of publication. By default the newest known of each program year.
        releases: how many releases of each program year to write: the last ones up to
            ``release``. The records then have a story (``story.py``): ``rows`` of them stand in
            the first publication, and each later one adds, changes and removes some.
        lies: with ``releases``, how many later records of each partition contradict what their
            release says of them, in each of three ways.
        beside: whether to write what CMS publishes beside the payments as well.
        without: names of rules that no row shall break.
        threads: of DuckDB; by default as many as there are cores.
        memory_limit: of DuckDB, as DuckDB writes it.
        on_progress: told the file name, the rows written and the rows in all, after each chunk.

    Returns:
        The payment files, in order of program year, release and dataset.

    Raises:
        ValueError: an argument is out of range, or the release precedes a program year's
            first publication.
        UnknownLayoutError: CMS did not publish a program year at the release.
    """
    request = _Request(rows, seed, dirt, tuple(sorted(without)), lies)
    _check(request, releases)
    wanted = [dataset for dataset in Dataset if dataset in set(datasets)]
    editions = [
        [_edition(dataset, year, day, request, releases is not None) for dataset in wanted]
        for year in sorted(set(years))
        for day in _days(year, release, releases)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with open_simulator(folder, seed, rows, threads, memory_limit) as connection:
        files = []
        for together in editions:
            files += _write_release(connection, folder, together, request, on_progress)
        if beside:
            write_beside(connection, folder, files)
        return files


def rows_of(dataset: Dataset, general_rows: int) -> int:
    """Return how many records a dataset has beside ``general_rows`` general ones."""
    part = {Dataset.RESEARCH: RESEARCH_PART, Dataset.OWNERSHIP: OWNERSHIP_PART}
    if dataset is Dataset.GENERAL:
        return general_rows
    return max(general_rows // part[dataset], FEWEST_ROWS)


def _check(request: _Request, releases: int | None) -> None:
    if not 1 <= request.rows <= MOST_ROWS:
        raise ValueError(f"rows is {request.rows:,}; it must be from 1 to {MOST_ROWS:,}.")
    if not 0 <= request.dirt <= 1:
        raise ValueError(f"dirt is {request.dirt}; it is a share of rows, from 0 to 1.")
    if releases is not None and releases < 1:
        raise ValueError(f"releases is {releases}; it must be at least 1.")
    if releases is not None and request.rows > MOST_ROWS_WITH_RELEASES:
        raise ValueError(
            f"rows is {request.rows:,}; with releases at most {MOST_ROWS_WITH_RELEASES:,}, "
            f"because later ones add to them."
        )
    if request.lies < 0 or (request.lies and releases is None):
        raise ValueError(f"lies is {request.lies}; it is a count, and only releases can lie.")
    dirt.check_rule_names(request.without)


def _days(year: int, release: str | None, releases: int | None) -> list[date]:
    """Return the releases of a program year to write, oldest first."""
    if year < FIRST_PROGRAM_YEAR:
        raise ValueError(f"Program year {year}: the programme began in {FIRST_PROGRAM_YEAR}.")
    first = publications.first_publication(year)
    last = date.fromisoformat(release) if release else publications.default_release(year)
    if last < first:
        raise ValueError(
            f"Program year {year} has no release {last}: it was first published on {first}."
        )
    if releases is None:
        return [last]
    return [day for day in publications.publications_of(year) if day <= last][-releases:]


def _edition(
    dataset: Dataset, year: int, day: date, request: _Request, has_story: bool
) -> _Edition:
    layout = layout_of(dataset, year, day.isoformat())
    facts = PartitionFacts(dataset, year, day, frozenset(layout.source_of))
    if not has_story:
        return _Edition(facts, layout, None)
    rows = rows_of(dataset, request.rows)
    return _Edition(facts, layout, story.story_of(year, day, rows, request.lies))


@contextmanager
def open_simulator(
    folder: Path,
    seed: int,
    rows: int,
    threads: int | None = None,
    memory_limit: str = "1GB",
) -> Iterator[DuckDBPyConnection]:
    """Open a DuckDB in the folder with the entities and the macros; remove it at the end.

    On disk its tables are compressed, so that a million clinicians fit in little memory.
    """
    import duckdb

    with TemporaryDirectory(prefix=".simulate-", dir=folder) as scratch:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "temp_directory": scratch,
        }
        if threads is not None:
            config["threads"] = threads
        with duckdb.connect(Path(scratch) / "entities.duckdb", config=config) as connection:
            connection.execute(vocabulary.read_sql("draws.sql"))
            connection.execute(vocabulary.read_sql("story.sql"))
            vocabulary.set_variables(connection, seed=seed)
            vocabulary.load_vocabulary(connection)
            entities.create_entities(connection, rows)
            yield connection


def _write_release(
    connection: DuckDBPyConnection,
    folder: Path,
    together: Sequence[_Edition],
    request: _Request,
    on_progress: Callable[[str, int, int], None] | None,
) -> list[SimulatedFile]:
    """Write what is published of a program year in one day: its datasets, and who is gone."""
    story.forget_removed(connection)
    files = [
        _write_partition(connection, folder, edition, request, on_progress) for edition in together
    ]
    facts, told = together[0].facts, together[0].story
    if told and told.number and facts.program_year >= removed.FIRST_PROGRAM_YEAR:
        removed.write_removed(connection, folder, facts.program_year, facts.release)
    return files


def _write_partition(
    connection: DuckDBPyConnection,
    folder: Path,
    edition: _Edition,
    request: _Request,
    on_progress: Callable[[str, int, int], None] | None,
) -> SimulatedFile:
    facts, layout, told = edition.facts, edition.layout, edition.story
    dataset, year = facts.dataset, facts.program_year
    rows = rows_of(dataset, request.rows)
    numbers = told.numbers if told else rows
    path = folder / publications.file_name(dataset, year, facts.release)
    damages = prepare(connection, facts, request.without, rows, request.dirt, told)

    def on_rows(written: int) -> None:
        if on_progress is not None:
            on_progress(path.name, written, numbers)

    tally = writer.write_file(connection, path, facts, layout, damages, numbers, on_rows, told)
    expected = _expected(facts, layout, request, tally, told)
    expected_path = path.with_name(f"{path.name}.expected.json")
    writer.write_json(expected_path, expected)
    return SimulatedFile(
        path, expected_path, dataset, year, facts.release, layout.name, tally.rows, expected
    )


def prepare(
    connection: DuckDBPyConnection,
    facts: PartitionFacts,
    without: Sequence[str],
    rows: int,
    share: float,
    told: Story | None,
) -> list[Damage]:
    """Tell the SQL which partition it draws records of, and plan its dirty rows."""
    dataset, year = facts.dataset, facts.program_year
    first_day, last_day = max(date(year, 1, 1), FIRST_DAY), date(year, 12, 31)
    partition = (year - FIRST_PROGRAM_YEAR) * len(Dataset) + list(Dataset).index(dataset)
    style = told.style if told else facts.release
    vocabulary.load_amounts(connection, dataset, year, style)
    vocabulary.set_variables(
        connection,
        first_record=(partition + 1) * 10**10,
        first_id=(year - FIRST_PROGRAM_YEAR + 2) * IDS_OF_A_YEAR + FIRST_IDS[dataset],
        first_day=first_day,
        days=(last_day - first_day).days + 1,
        has_practitioners=year >= vocabulary.PRACTITIONERS_SINCE,
        is_first_publication=facts.release == publications.first_publication(year),
    )
    if told:
        story.prepare(connection, told)
        damages = story.steady_damages(dataset, year, facts.release, without)
    else:
        damages = dirt.damages_for(facts, without)
    dirt.plan_dirt(connection, damages, rows, share)
    return damages


def _expected(
    facts: PartitionFacts,
    layout: Layout,
    request: _Request,
    tally: writer.Tally,
    told: Story | None,
) -> dict[str, Any]:
    """Say what a correct reader finds; ``cents`` adds up the amounts that are numbers."""
    interest = {
        "value_of_interest_cents": tally.interest_cents,
        "staged_value_of_interest_cents": tally.interest_cents - tally.quarantined_interest_cents,
        "quarantined_value_of_interest_cents": tally.quarantined_interest_cents,
    }
    return {
        "dataset": str(facts.dataset),
        "program_year": facts.program_year,
        "release": facts.release.isoformat(),
        "layout": layout.name,
        "rows": tally.rows,
        "cents": tally.cents,
        "staged_rows": tally.rows - tally.quarantined_rows,
        "staged_cents": tally.cents - tally.quarantined_cents,
        "quarantined_rows": tally.quarantined_rows,
        "quarantined_cents": tally.quarantined_cents,
        **(interest if facts.dataset is Dataset.OWNERSHIP else {}),
        "quarantined": tally.by_rule(Severity.QUARANTINE),
        "warned": tally.by_rule(Severity.WARN),
        "embedded_newlines": tally.line_breaks,
        **(_told(facts, tally, told) if told else {}),
        "seed": request.seed,
        "arguments": {
            "rows": request.rows,
            "dirt": request.dirt,
            "without": list(request.without),
            **({"lies": request.lies} if told else {}),
        },
    }


def _told(facts: PartitionFacts, tally: writer.Tally, told: Story) -> dict[str, Any]:
    """Say what the release did to the one before it, if any, and how often it lies about it."""
    lies = {
        lie: 0 if facts.program_year < removed.FIRST_PROGRAM_YEAR and "listed" in lie else count
        for lie, count in tally.changes.lies.items()
    }
    if not told.number:
        return {"changes": None, "lies": lies}
    sums = tally.changes.sums
    new = sums["added"]["rows"] + sums["changed"]["rows"]
    new_cents = sums["added"]["cents"] + sums["changed"]["cents"]
    unchanged = {"rows": tally.rows - new, "cents": tally.cents - new_cents}
    return {
        "changes": {
            "since": told.days[told.number - 1].isoformat(),
            **story.described(sums),
            "unchanged": {
                **unchanged,
                "staged_rows": unchanged["rows"] - tally.quarantined_rows,
                "staged_cents": unchanged["cents"] - tally.quarantined_cents,
            },
        },
        "lies": lies,
    }
