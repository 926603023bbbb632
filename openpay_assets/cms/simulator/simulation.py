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
from openpay_assets.cms.simulator import dirt, entities, publications, vocabulary, writer
from openpay_assets.contracts.model import Dataset, Layout
from openpay_assets.contracts.registry import layout_of
from openpay_assets.contracts.rules import FIRST_DAY, PartitionFacts, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckdb import DuckDBPyConnection

MOST_ROWS = 20_000_000
"""Of general records, which is as many as record ids allow; real years have up to 16 million."""

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


def simulate(
    folder: Path,
    *,
    years: Sequence[int],
    rows: int,
    seed: int = 0,
    dirt: float = 0.0,
    datasets: Sequence[Dataset] = tuple(Dataset),
    release: str | None = None,
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
        without: names of rules that no row shall break.
        threads: of DuckDB; by default as many as there are cores.
        memory_limit: of DuckDB, as DuckDB writes it.
        on_progress: told the file name, the rows written and the rows in all, after each chunk.

    Returns:
        The files, in order of program year and dataset.

    Raises:
        ValueError: an argument is out of range, or the release precedes a program year's
            first publication.
        UnknownLayoutError: CMS did not publish a program year at the release.
    """
    request = _Request(rows, seed, dirt, tuple(sorted(without)))
    _check(request)
    partitions = [
        _partition(Dataset(dataset), year, release)
        for year in sorted(set(years))
        for dataset in Dataset
        if dataset in set(datasets)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with _connect(folder, threads, memory_limit) as connection:
        vocabulary.set_variables(connection, seed=seed)
        vocabulary.load_vocabulary(connection)
        entities.create_entities(connection, rows)
        return [
            _write_partition(connection, folder, facts, layout, request, on_progress)
            for facts, layout in partitions
        ]


def rows_of(dataset: Dataset, general_rows: int) -> int:
    """Return how many records a dataset has beside ``general_rows`` general ones."""
    part = {Dataset.RESEARCH: RESEARCH_PART, Dataset.OWNERSHIP: OWNERSHIP_PART}
    if dataset is Dataset.GENERAL:
        return general_rows
    return max(general_rows // part[dataset], FEWEST_ROWS)


def _check(request: _Request) -> None:
    if not 1 <= request.rows <= MOST_ROWS:
        raise ValueError(f"rows is {request.rows:,}; it must be from 1 to {MOST_ROWS:,}.")
    if not 0 <= request.dirt <= 1:
        raise ValueError(f"dirt is {request.dirt}; it is a share of rows, from 0 to 1.")
    dirt.check_rule_names(request.without)


def _partition(dataset: Dataset, year: int, release: str | None) -> tuple[PartitionFacts, Layout]:
    """Return what is known of a partition at a release, and its layout."""
    if year < FIRST_PROGRAM_YEAR:
        raise ValueError(f"Program year {year}: the programme began in {FIRST_PROGRAM_YEAR}.")
    first = publications.first_publication(year)
    day = date.fromisoformat(release) if release else publications.default_release(year)
    if day < first:
        raise ValueError(
            f"Program year {year} has no release {day}: it was first published on {first}."
        )
    layout = layout_of(dataset, year, day.isoformat())
    return PartitionFacts(dataset, year, day, frozenset(layout.source_of)), layout


@contextmanager
def _connect(folder: Path, threads: int | None, memory_limit: str) -> Iterator[DuckDBPyConnection]:
    """Open a DuckDB in the folder, with the macros of the draws, and remove it at the end.

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
            yield connection


def _write_partition(
    connection: DuckDBPyConnection,
    folder: Path,
    facts: PartitionFacts,
    layout: Layout,
    request: _Request,
    on_progress: Callable[[str, int, int], None] | None,
) -> SimulatedFile:
    dataset, year = facts.dataset, facts.program_year
    rows = rows_of(dataset, request.rows)
    path = folder / publications.file_name(dataset, year, facts.release)
    _prepare(connection, facts)
    damages = dirt.damages_for(facts, request.without)
    dirt.plan_dirt(connection, damages, rows, request.dirt)

    def on_rows(written: int) -> None:
        if on_progress is not None:
            on_progress(path.name, written, rows)

    tally = writer.write_file(connection, path, facts, layout, damages, rows, on_rows)
    expected = _expected(facts, layout, request, tally)
    expected_path = path.with_name(f"{path.name}.expected.json")
    writer.write_json(expected_path, expected)
    return SimulatedFile(
        path, expected_path, dataset, year, facts.release, layout.name, rows, expected
    )


def _prepare(connection: DuckDBPyConnection, facts: PartitionFacts) -> None:
    """Tell the SQL which partition it draws records of."""
    dataset, year = facts.dataset, facts.program_year
    first_day, last_day = max(date(year, 1, 1), FIRST_DAY), date(year, 12, 31)
    partition = (year - FIRST_PROGRAM_YEAR) * len(Dataset) + list(Dataset).index(dataset)
    vocabulary.load_amounts(connection, dataset, year, facts.release)
    vocabulary.set_variables(
        connection,
        first_record=(partition + 1) * 10**10,
        first_id=(year - FIRST_PROGRAM_YEAR + 2) * IDS_OF_A_YEAR + FIRST_IDS[dataset],
        first_day=first_day,
        days=(last_day - first_day).days + 1,
        has_practitioners=year >= vocabulary.PRACTITIONERS_SINCE,
        is_first_publication=facts.release == publications.first_publication(year),
    )


def _expected(
    facts: PartitionFacts, layout: Layout, request: _Request, tally: writer.Tally
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
        "seed": request.seed,
        "arguments": {
            "rows": request.rows,
            "dirt": request.dirt,
            "without": list(request.without),
        },
    }
