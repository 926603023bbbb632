"""The simulator: CMS's bytes and habits, the same every time, and every dirty row accounted for."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

import ibis
import pytest
from ibis.backends.duckdb import Backend

from openpay_assets.cms.csv import read_csv_sql
from openpay_assets.cms.names import parse_name
from openpay_assets.cms.simulator import SimulatedFile, publications, simulate, simulation, writer
from openpay_assets.cms.simulator.dirt import damages_for
from openpay_assets.cms.simulator.records import money_columns
from openpay_assets.cms.simulator.story import Story
from openpay_assets.cms.simulator.vocabulary import read_data
from openpay_assets.contracts.model import Dataset, Layout
from openpay_assets.contracts.registry import (
    UnknownLayoutError,
    allowed_values,
    layout_of,
    layouts,
    source_columns,
)
from openpay_assets.contracts.rules import PartitionFacts, Severity, rules_for
from openpay_assets.contracts.sql import sql_name
from openpay_assets.transforms.stage import StagingInput, stage

REAL_FILES = Path(__file__).parents[3] / "shared" / "data" / "first_publication_2016"
GENERAL_ROWS = {Dataset.GENERAL: 400, Dataset.RESEARCH: 4800, Dataset.OWNERSHIP: 20_000}
"""General rows that make 400, 400 and 200 rows of each dataset."""

FIELD = re.compile(r'"(?:[^"]|"")*"|[^",\n]*')


@dataclass(frozen=True)
class Era:
    """A layout at a program year and release that CMS published in it."""

    layout: Layout
    program_year: int
    release: date

    def __str__(self) -> str:
        return f"{self.layout.name}-{self.program_year}-{self.release}"

    @property
    def facts(self) -> PartitionFacts:
        layout = self.layout
        columns = frozenset(layout.source_of)
        return PartitionFacts(layout.dataset, self.program_year, self.release, columns)


def _eras() -> Iterator[Era]:
    """Each layout with its first program year; the current ones with their newest as well."""
    for layout in (layout for dataset in Dataset for layout in layouts(dataset)):
        years = [layout.first_program_year]
        years += [] if layout.last_program_year else [2025]
        for year in years:
            first = publications.first_publication(year).isoformat()
            release = max(first, layout.first_release)
            yield Era(layout, year, date.fromisoformat(release))


ERAS = list(_eras())
every_era = pytest.mark.parametrize("era", ERAS, ids=str)


def _simulate(folder: Path, era: Era, **arguments: object) -> SimulatedFile:
    [file] = simulate(
        folder,
        years=[era.program_year],
        rows=GENERAL_ROWS[era.layout.dataset],
        datasets=[era.layout.dataset],
        release=era.release.isoformat(),
        threads=1,
        **arguments,  # type: ignore[arg-type]
    )
    return file


def _records(file: SimulatedFile) -> list[dict[str, str]]:
    with file.path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, strict=True))


def _fields(record: str) -> list[str]:
    """Split a record without interpreting it: quotes stay."""
    fields, at = [], 0
    while True:
        found = FIELD.match(record, at)
        assert found is not None
        fields.append(found.group())
        at = found.end()
        if at == len(record):
            return fields
        assert record[at] == ",", record[at - 20 : at + 20]
        at += 1


def _raw_records(file: SimulatedFile) -> list[list[str]]:
    """Return the records as written, quotes and all, header aside."""
    text = file.path.read_text(encoding="ascii")
    header, _, body = text.partition("\n")
    assert (
        header.split(",")
        == layout_of(file.dataset, file.program_year, file.release.isoformat()).header
    )
    quote_open, start, records = False, 0, []
    for position, character in enumerate(body):
        if character == '"':
            quote_open = not quote_open
        elif character == "\n" and not quote_open:
            records.append(_fields(body[start:position]))
            start = position + 1
    assert start == len(body), "the file ends with a line break"
    return records


@pytest.fixture(scope="module")
def reader() -> Iterator[Backend]:
    connection = ibis.duckdb.connect(threads=1)
    yield connection
    connection.disconnect()


@dataclass(frozen=True)
class StagedRow:
    """What staging says about one row."""

    quarantined: bool
    warnings: list[str]
    amount: Decimal | None


@dataclass(frozen=True)
class Found:
    """What staging finds in a file."""

    rows: int
    cents: int
    staged_rows: int
    staged_cents: int
    quarantined: dict[str, int]
    warned: dict[str, int]
    rules_per_row: Counter[int]


def _find(reader: Backend, file: SimulatedFile, era: Era) -> Found:
    key = sql_name(era.layout.source_of["record_id"])
    raw = reader.sql(
        f"SELECT *, row_number() OVER () AS source_row, CASE WHEN {key} IS NULL THEN 1 "
        f"ELSE count(*) OVER (PARTITION BY {key}) END AS record_id_copies "
        f"FROM {read_csv_sql(file.path, era.layout.header)}"
    )
    source = StagingInput(era.facts, era.layout, file.path.name, "test")
    staged = stage(raw, source).select("quarantined", "warnings", "amount")
    # Not through Ibis, which calls what this DuckDB has deprecated.
    rows = [StagedRow(*row) for row in reader.con.execute(reader.compile(staged)).fetchall()]
    kept = [row for row in rows if not row.quarantined]
    aside = [row for row in rows if row.quarantined]
    return Found(
        rows=len(rows),
        cents=_cents(rows),
        staged_rows=len(kept),
        staged_cents=_cents(kept),
        quarantined=dict(Counter(rule for row in aside for rule in row.warnings)),
        warned=dict(Counter(rule for row in kept for rule in row.warnings)),
        rules_per_row=Counter(len(row.warnings) for row in rows),
    )


def _cents(rows: list[StagedRow]) -> int:
    return int(sum(row.amount or Decimal(0) for row in rows) * 100)


# --- layouts, names and bytes ---------------------------------------------------------------------


@every_era
def test_a_clean_file_has_the_header_of_its_layout_and_breaks_no_rule(
    tmp_path: Path, reader: Backend, era: Era
) -> None:
    file = _simulate(tmp_path, era)
    assert file.layout == era.layout.name
    with file.path.open(encoding="ascii") as lines:
        assert lines.readline().rstrip("\n").split(",") == era.layout.header
    found = _find(reader, file, era)
    assert found.quarantined == {}
    assert found.warned == {}
    assert found.rows == file.rows == file.expected["rows"] == file.expected["staged_rows"]
    assert found.cents == file.expected["cents"] == file.expected["staged_cents"] > 0


@every_era
def test_every_dirty_row_is_found_and_breaks_the_one_rule_it_was_made_for(
    tmp_path: Path, reader: Backend, era: Era
) -> None:
    file = _simulate(tmp_path, era, dirt=1.0)
    found = _find(reader, file, era)
    _check_found(found, file)
    assert found.rules_per_row[0] <= 1, "all rows are dirty, save half of a pair"
    impossible = {"practitioner_in_era"} if era.program_year >= 2021 else set()
    assert {*found.quarantined, *found.warned} == {
        x.name for x in rules_for(era.facts)
    } - impossible


@pytest.mark.parametrize(
    ("year", "last", "layouts"), [(2013, "2016-06-30", 3), (2019, "2022-06-30", 2)]
)
@pytest.mark.parametrize("dataset", Dataset)
def test_in_every_release_of_a_story_the_dirt_is_found_and_nothing_else(
    tmp_path: Path, reader: Backend, dataset: Dataset, year: int, last: str, layouts: int
) -> None:
    files = simulate(
        tmp_path,
        years=[year],
        rows=GENERAL_ROWS[dataset],
        datasets=[dataset],
        releases=4 if year == 2013 else 2,
        release=last,
        dirt=0.5,
        threads=1,
    )
    assert len({x.layout for x in files}) == layouts
    for file in files:
        layout = layout_of(dataset, year, file.release.isoformat())
        _check_found(_find(reader, file, Era(layout, year, file.release)), file)
        assert file.expected["quarantined"]


@pytest.mark.slow
@pytest.mark.parametrize("era", [x for x in ERAS if x.program_year == 2025], ids=str)
def test_rare_choices_do_not_break_a_second_rule(tmp_path: Path, reader: Backend, era: Era) -> None:
    [file] = simulate(
        tmp_path,
        years=[era.program_year],
        rows=60 * GENERAL_ROWS[era.layout.dataset],
        datasets=[era.layout.dataset],
        dirt=0.5,
    )
    _check_found(_find(reader, file, era), file)


def _check_found(found: Found, file: SimulatedFile) -> None:
    """Compare what staging finds with what was expected; no row breaks two rules."""
    expected = file.expected
    assert found.quarantined == expected["quarantined"]
    assert found.warned == expected["warned"]
    assert set(found.rules_per_row) <= {0, 1}
    assert found.rows == expected["rows"]
    assert found.cents == expected["cents"]
    assert found.staged_rows == expected["staged_rows"]
    assert found.staged_cents == expected["staged_cents"]
    assert expected["staged_rows"] + expected["quarantined_rows"] == expected["rows"]
    assert expected["staged_cents"] + expected["quarantined_cents"] == expected["cents"]
    assert sum(expected["quarantined"].values()) == expected["quarantined_rows"]


@pytest.mark.parametrize(
    "era", [x for x in ERAS if x.layout.name in {"G0", "G4", "R3", "O4"}], ids=str
)
def test_text_is_quoted_money_is_bare_and_empty_is_nothing(tmp_path: Path, era: Era) -> None:
    file = _simulate(tmp_path, era)
    canonical = [name for _, name in era.layout.columns]
    is_money = [name in money_columns(era.layout.dataset) for name in canonical]
    for record in _raw_records(file):
        assert len(record) == len(canonical)
        for value, money in zip(record, is_money, strict=True):
            if money:
                assert re.fullmatch(r"\d+\.\d\d", value)
            else:
                assert value == "" or re.fullmatch(r'"(?:[^"]|"")+"', value)


@pytest.mark.real
@pytest.mark.parametrize("code", ["GNRL", "RSRCH", "OWNRSHP"])
def test_a_real_file_is_written_in_the_same_way(code: str) -> None:
    path = REAL_FILES / f"OP_DTL_{code}_PGYR2016_P06302017.csv"
    if not path.exists():
        pytest.skip("real CMS files are not in ../shared/data")
    name = parse_name(path.name)
    assert name is not None
    assert publications.file_name(name.dataset, name.program_year, name.release) == path.name
    layout = layout_of(name.dataset, name.program_year, name.release.isoformat())
    real = SimulatedFile(path, path, name.dataset, 2016, name.release, layout.name, 499, {})
    money = money_columns(name.dataset)
    for record in _raw_records(real):
        for (_, column), value in zip(layout.columns, record, strict=True):
            assert value == "" or value.startswith('"') != (column in money)


def test_values_with_line_breaks_and_quotes_are_in_clean_rows_and_counted(tmp_path: Path) -> None:
    files = simulate(tmp_path, years=[2022], rows=4000)
    for file in files:
        content = file.path.read_bytes()
        assert file.expected["embedded_newlines"] > 0
        assert content.count(b"\n") == 1 + file.rows + file.expected["embedded_newlines"]
        assert content.endswith(b"\n")
        assert b"\r" not in content
        assert len(_records(file)) == file.rows
    products = "Name_of_Drug_or_Biological_or_Device_or_Medical_Supply_1"
    assert any(re.search(r'\d" X \d', row[products]) for row in _records(files[0]))


@pytest.mark.parametrize(
    ("dataset", "year", "release", "name"),
    [
        ("general", 2013, "2014-09-30", "OPPR_ALL_DTL_GNRL_09302014.csv"),
        ("ownership", 2013, "2014-12-19", "OPPR_ALL_DTL_OWNRSHP_12192014.csv"),
        ("research", 2016, "2017-06-30", "OP_DTL_RSRCH_PGYR2016_P06302017.csv"),
        ("general", 2023, "2025-01-30", "OP_DTL_GNRL_PGYR2023_P01302025_01212025.csv"),
        ("general", 2023, "2027-01-22", "OP_DTL_GNRL_PGYR2023_P01222027_01082027.csv"),
    ],
)
def test_files_are_named_as_cms_names_them(
    dataset: str, year: int, release: str, name: str
) -> None:
    day = date.fromisoformat(release)
    assert publications.file_name(Dataset(dataset), year, day) == name
    parsed = parse_name(name)
    assert parsed is not None
    assert (parsed.dataset, parsed.program_year, parsed.release) == (dataset, year, day)


@pytest.mark.parametrize(
    ("year", "first", "default"),
    [
        (2013, "2014-09-30", "2021-01-22"),
        (2014, "2015-06-30", "2022-01-21"),
        (2015, "2016-06-30", "2023-01-20"),
        (2016, "2017-06-30", "2024-01-18"),
        (2017, "2018-06-29", "2025-01-30"),
        (2018, "2019-06-28", "2026-01-23"),
        (2019, "2020-06-30", "2026-06-30"),
        (2025, "2026-06-30", "2026-06-30"),
        (2026, "2027-06-30", "2027-06-30"),
    ],
)
def test_a_program_year_is_published_in_june_and_archived_seven_years_later(
    year: int, first: str, default: str
) -> None:
    assert publications.first_publication(year).isoformat() == first
    assert publications.default_release(year).isoformat() == default


# --- the same every time --------------------------------------------------------------------------


def _contents(folder: Path, **arguments: object) -> dict[str, bytes]:
    defaults = {"years": [2023], "rows": 600, "dirt": 0.1, "threads": 1}
    simulate(folder, **{**defaults, **arguments})  # type: ignore[arg-type]
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_arguments_give_the_same_bytes_on_any_number_of_threads(tmp_path: Path) -> None:
    once = _contents(tmp_path / "once")
    assert len(once) == 6
    assert _contents(tmp_path / "again") == once
    assert _contents(tmp_path / "threads", threads=2) == once


def test_the_size_of_chunks_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = _contents(tmp_path / "once")
    monkeypatch.setattr(writer, "CHUNK_ROWS", 97)
    assert _contents(tmp_path / "chunks") == once


def test_another_seed_gives_other_records(tmp_path: Path) -> None:
    records = []
    for seed in (1, 2):
        [file] = simulate(
            tmp_path, years=[2023], rows=600, datasets=[Dataset.GENERAL], seed=seed, threads=1
        )
        records.append({tuple(row.values()) for row in _records(file)})
    assert not records[0] & records[1]


def test_choices_are_independent_of_each_other(tmp_path: Path) -> None:
    [file] = simulate(tmp_path, years=[2020], rows=6000, datasets=[Dataset.GENERAL])
    people = {row["covered_recipient_profile_id"]: row for row in _canonical(file)}
    for one, other in (
        ("covered_recipient_first_name", "covered_recipient_last_name"),
        ("recipient_state", "covered_recipient_specialty_1"),
    ):
        values = [(row[one].upper(), row[other].upper()) for row in people.values()]
        most = len({x for x, _ in values}) * len({y for _, y in values})
        assert len(set(values)) > 0.6 * min(len(values), most)


def test_progress_is_told_and_an_interrupted_file_never_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "CHUNK_ROWS", 200)
    told: list[tuple[str, int, int]] = []

    def stop_half_way(name: str, written: int, rows: int) -> None:
        told.append((name, written, rows))
        if written > 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, years=[2023], rows=1000, on_progress=stop_half_way)
    assert [(written, rows) for _, written, rows in told] == [(200, 1000), (400, 1000)]
    assert list(tmp_path.iterdir()) == []


def test_duckdb_is_imported_only_to_simulate() -> None:
    program = "import sys, openpay_assets.cms.simulator; sys.exit('duckdb' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# --- records make sense ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> list[SimulatedFile]:
    """Three program years in the current layouts and one in an old one."""
    return simulate(tmp_path_factory.mktemp("site"), years=[2015, 2020, 2021, 2023], rows=1500)


def _of(site: list[SimulatedFile], dataset: Dataset, year: int) -> SimulatedFile:
    return next(x for x in site if (x.dataset, x.program_year) == (dataset, year))


def _canonical(file: SimulatedFile) -> list[dict[str, str]]:
    names = layout_of(file.dataset, file.program_year, file.release.isoformat())
    canonical = dict(names.columns)
    return [{canonical[name]: value for name, value in row.items()} for row in _records(file)]


def _clinicians(row: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield profile id, NPI, last name and ZIP code of every clinician on a record."""
    prefixes = ["covered_recipient_", "physician_"]
    prefixes += [f"principal_investigator_{n}_" for n in range(1, 6)]
    for prefix in prefixes:
        if profile := row.get(f"{prefix}profile_id"):
            is_investigator = prefix.startswith("principal")
            zip_code = row[f"{prefix if is_investigator else 'recipient_'}zip_code"]
            yield profile, row[f"{prefix}npi"], row[f"{prefix}last_name"], zip_code


def test_a_clinician_is_the_same_in_every_dataset_and_program_year(
    site: list[SimulatedFile],
) -> None:
    known: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    seen_in: dict[str, set[Dataset]] = defaultdict(set)
    for file in site:
        for row in _canonical(file):
            for profile, *identity in _clinicians(row):
                known[profile].add(tuple(identity))
                seen_in[profile].add(file.dataset)
    assert len(known) > 50
    assert {len(identities) for identities in known.values()} == {1}
    assert any(len(datasets) == 3 for datasets in seen_in.values())
    npis = [npi for [(npi, *_)] in known.values() if npi]
    assert len(set(npis)) == len(npis)


def test_npis_check_and_belong_to_nobody(site: list[SimulatedFile]) -> None:
    for row in _canonical(_of(site, Dataset.GENERAL, 2023)):
        if npi := row["covered_recipient_npi"]:
            digits = [int(digit) for digit in "80840" + npi]
            doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
            assert (sum(doubled) + sum(digits[-1::-2])) % 10 == 0
            assert npi.startswith("2"), "NPPES has issued none of these"


def test_a_larger_simulation_has_the_same_clinicians_and_more(tmp_path: Path) -> None:
    identities = {}
    for rows in (400, 6000):
        [file] = simulate(tmp_path, years=[2022], rows=rows, datasets=[Dataset.GENERAL])
        identities[rows] = {
            identity[0]: identity for row in _canonical(file) for identity in _clinicians(row)
        }
    shared = identities[400].keys() & identities[6000].keys()
    assert len(identities[6000]) > len(identities[400])
    assert len(shared) > 50
    assert all(identities[400][profile] == identities[6000][profile] for profile in shared)


def test_companies_and_hospitals_are_the_same_on_every_record(site: list[SimulatedFile]) -> None:
    company = "applicable_manufacturer_or_applicable_gpo_making_payment_"
    states, names, hospitals = defaultdict(set), defaultdict(set), defaultdict(set)
    others = rows = 0
    for file in site:
        for row in _canonical(file):
            rows += 1
            assert re.fullmatch(r"1000\d{8}", row[f"{company}id"])
            states[row[f"{company}id"]].add(row[f"{company}state"])
            names[row[f"{company}id"]].add(row[f"{company}name"])
            submitter = row["submitting_applicable_manufacturer_or_applicable_gpo_name"]
            others += submitter.lower() != row[f"{company}name"].lower()
            if hospital := row.get("teaching_hospital_id"):
                hospitals[hospital].add((row["teaching_hospital_ccn"], row["recipient_city"]))
                assert re.fullmatch(r"\d{6}", row["teaching_hospital_ccn"])
    assert {len(found) for found in states.values()} == {1}
    assert {len(found) for found in hospitals.values()} == {1}
    assert any(len({x.lower() for x in spelt}) < len(spelt) for spelt in names.values())
    assert 0.05 < others / rows < 0.4


def test_record_ids_are_unique_over_program_years_and_datasets(site: list[SimulatedFile]) -> None:
    ids = [row["record_id"] for file in site for row in _canonical(file)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"\d{9,10}", record_id) for record_id in ids)


def test_about_a_fifth_of_research_records_repeat_another(tmp_path: Path) -> None:
    [file] = simulate(tmp_path, years=[2014], rows=24_000, datasets=[Dataset.RESEARCH])
    contents = Counter(
        tuple(value for name, value in row.items() if name != "record_id")
        for row in _canonical(file)
    )
    assert 0.17 < 1 - len(contents) / file.rows < 0.23


def test_research_money_goes_to_entities_and_investigators_are_named_in_slots(
    site: list[SimulatedFile],
) -> None:
    [*rows] = _canonical(_of(site, Dataset.RESEARCH, 2023))
    kinds = Counter(row["covered_recipient_type"] for row in rows)
    assert kinds.most_common(1)[0][0] == "Non-covered Recipient Entity"
    filled = Counter(
        sum(bool(row[f"principal_investigator_{n}_profile_id"]) for n in range(1, 6))
        for row in rows
    )
    assert filled.most_common(1)[0][0] == 1
    assert max(filled) > 1


def test_investigators_of_the_first_publication_are_free_text(tmp_path: Path) -> None:
    [file] = simulate(
        tmp_path, years=[2013], rows=480, datasets=[Dataset.RESEARCH], release="2014-09-30"
    )
    names = {row["legacy_principal_investigator_1_full_name"] for row in _canonical(file)}
    assert all(re.fullmatch(r"[A-Z]+( [A-Z]+){1,2}|", name) for name in names)


def test_ownership_has_interests_in_which_nothing_was_invested(tmp_path: Path) -> None:
    [file] = simulate(tmp_path, years=[2022], rows=20_000, datasets=[Dataset.OWNERSHIP])
    rows = _canonical(file)
    assert any(row["amount"] == "0.00" for row in rows)
    assert all(Decimal(row["value_of_interest"]) > 0 for row in rows)
    cents = sum(Decimal(row["value_of_interest"]) for row in rows) * 100
    assert cents == file.expected["value_of_interest_cents"]


def test_most_general_records_are_meals_and_most_dollars_are_not(tmp_path: Path) -> None:
    [file] = simulate(tmp_path, years=[2023], rows=8000, datasets=[Dataset.GENERAL])
    amounts: dict[str, list[Decimal]] = defaultdict(list)
    for row in _canonical(file):
        amounts[row["nature_of_payment_or_transfer_of_value"]].append(Decimal(row["amount"]))
    meals = amounts["Food and Beverage"]
    assert 0.85 < len(meals) / file.rows < 0.91
    assert 10 < sorted(meals)[len(meals) // 2] < 25
    assert sum(meals) < sum(sum(x) for x in amounts.values()) / 3
    assert set(amounts) <= set(allowed_values("nature_of_payment", 2023))


def test_practitioners_and_device_identifiers_appear_in_2021(site: list[SimulatedFile]) -> None:
    for year, expected in ((2020, False), (2021, True)):
        rows = _canonical(_of(site, Dataset.GENERAL, year))
        kinds = {row["covered_recipient_type"] for row in rows}
        pdis = {row["associated_device_or_medical_supply_pdi_1"] for row in rows} - {""}
        assert ("Covered Recipient Non-Physician Practitioner" in kinds) is expected
        assert bool(pdis) is expected


@pytest.mark.parametrize(
    ("release", "delimiter", "rental"),
    [
        ("2016-01-15", "/ ", "fees(teaching hospital only)"),
        ("2016-06-30", "|", "fees(teaching hospital only)"),
        ("2022-01-21", "|", "fees (teaching hospital only)"),
    ],
)
def test_a_release_is_spelt_as_cms_spelt_at_the_time(
    tmp_path: Path, release: str, delimiter: str, rental: str
) -> None:
    [file] = simulate(
        tmp_path, years=[2014], rows=6000, datasets=[Dataset.GENERAL], release=release
    )
    rows = _canonical(file)
    paths = {row["covered_recipient_specialty_1"] for row in rows} - {""}
    assert all(re.match(rf"[A-Z][^|]*?{re.escape(delimiter)}[A-Z]", path) for path in paths)
    natures = {row["nature_of_payment_or_transfer_of_value"] for row in rows}
    spelt = {x.removeprefix("Space rental or facility ") for x in natures if "rental" in x}
    assert spelt == {rental}


def test_everything_is_new_in_a_first_publication(tmp_path: Path) -> None:
    for file in simulate(tmp_path, years=[2023], rows=600, release="2024-06-28"):
        assert {row["change_type"] for row in _canonical(file)} == {"NEW"}


def test_little_is_new_in_later_publications(tmp_path: Path) -> None:
    [file] = simulate(
        tmp_path, years=[2023], rows=4000, datasets=[Dataset.GENERAL], release="2025-06-30"
    )
    found = Counter(row["change_type"] for row in _canonical(file))
    assert set(found) == set(allowed_values("change_type"))
    assert found["UNCHANGED"] > 0.9 * file.rows
    assert found["NEW"] < 0.02 * file.rows


def test_dates_lie_in_the_program_year_which_began_in_august_2013(
    tmp_path: Path, site: list[SimulatedFile]
) -> None:
    [first] = simulate(tmp_path, years=[2013], rows=800, datasets=[Dataset.GENERAL])
    days = {row["date_of_payment"] for row in _canonical(first)}
    assert {day[:2] for day in days} == {"08", "09", "10", "11", "12"}
    days = {row["date_of_payment"] for row in _canonical(_of(site, Dataset.GENERAL, 2021))}
    assert len({day[:2] for day in days}) == 12
    assert {day[6:] for day in days} == {"2021"}


# --- dirt, plan and errors ------------------------------------------------------------------------


def test_the_expected_counts_stand_beside_the_file(tmp_path: Path) -> None:
    [file] = simulate(
        tmp_path, years=[2023], rows=1000, dirt=0.1, seed=7, datasets=[Dataset.GENERAL]
    )
    expected = json.loads(file.expected_path.read_text(encoding="utf-8"))
    assert file.expected_path.name == f"{file.path.name}.expected.json"
    assert expected == file.expected
    assert expected["dataset"] == "general"
    assert expected["program_year"] == 2023
    assert expected["release"] == "2026-06-30"
    assert expected["layout"] == "G4"
    assert expected["seed"] == 7
    assert expected["arguments"] == {"rows": 1000, "dirt": 0.1, "without": []}
    assert sum({**expected["quarantined"], **expected["warned"]}.values()) == 100
    counts = [n for rule, n in expected["quarantined"].items() if rule != "record_id_unique"]
    assert max(counts) - min(counts) <= 1
    assert expected["quarantined"]["record_id_unique"] % 2 == 0


def test_record_ids_repeat_only_in_planned_pairs(tmp_path: Path) -> None:
    [file] = simulate(tmp_path, years=[2023], rows=2000, dirt=0.2, datasets=[Dataset.GENERAL])
    copies = Counter(row["record_id"] for row in _canonical(file) if row["record_id"])
    pairs = [record_id for record_id, n in copies.items() if n > 1]
    assert set(copies.values()) == {1, 2}
    assert 2 * len(pairs) == file.expected["quarantined"]["record_id_unique"]


def test_rules_can_be_left_out(tmp_path: Path) -> None:
    rules = {rule.name for rule in rules_for(ERAS[0].facts)}
    kept = {"amount_valid", "record_id_unique"}
    [file] = simulate(
        tmp_path,
        years=[2013],
        rows=500,
        dirt=0.1,
        datasets=[Dataset.GENERAL],
        release="2014-09-30",
        without=rules - kept,
    )
    assert set(file.expected["quarantined"]) == kept
    assert file.expected["warned"] == {}


def test_rows_of_the_other_datasets_follow_from_the_general_ones(tmp_path: Path) -> None:
    rows = {file.dataset: file.rows for file in simulate(tmp_path, years=[2023], rows=1200)}
    assert rows == {Dataset.GENERAL: 1200, Dataset.RESEARCH: 100, Dataset.OWNERSHIP: 40}


def test_a_single_row_can_be_simulated(tmp_path: Path) -> None:
    [file] = simulate(tmp_path, years=[2023], rows=1, dirt=1.0, datasets=[Dataset.GENERAL])
    assert file.expected["quarantined"] == {"record_id_valid": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": 0}, "rows is 0; it must be from 1 to 20,000,000"),
        ({"rows": 20_000_001}, "rows is 20,000,001"),
        ({"dirt": 1.5}, "dirt is 1.5; it is a share of rows"),
        ({"years": [2012]}, "Program year 2012: the programme began in 2013"),
        ({"without": ["no_such_rule"]}, "No such rule: no_such_rule. Known: amount_not_huge,"),
        ({"release": "2023-06-30"}, "has no release 2023-06-30: it was first published on 2024"),
        ({"release": "June"}, "Invalid isoformat string"),
    ],
)
def test_an_argument_out_of_range_is_an_error_that_says_so(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        simulate(tmp_path, **{"years": [2023], "rows": 100, **arguments})  # type: ignore[arg-type]
    assert list(tmp_path.glob("*.csv")) == []


def test_a_release_after_the_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnknownLayoutError, match="program year 2013 at release 2026-06-30"):
        simulate(tmp_path, years=[2013], rows=100, release="2026-06-30")


# --- data files -----------------------------------------------------------------------------------


def test_every_nature_of_payment_has_amounts_in_order() -> None:
    rows = list(read_data("amounts.csv"))
    natures = [row["kind"] for row in rows if row["dataset"] == "general"]
    assert sorted(natures) == sorted(allowed_values("nature_of_payment"))
    for row in rows:
        amounts = [Decimal(row[name]) for name in list(row)[-8:]]
        assert amounts == sorted(amounts)


def test_every_listed_damage_names_a_rule_and_a_column() -> None:
    rules = {rule.name for era in ERAS for rule in rules_for(era.facts)}
    columns = {column.name for dataset in Dataset for column in source_columns(dataset)}
    for row in read_data("damages.csv"):
        assert row["rule"] in rules
        assert row["column"] in columns
        assert not (row["value"] and row["sql"])


def test_quarantine_and_warning_rules_have_several_damages_each() -> None:
    era = next(era for era in ERAS if era.layout.name == "G4")
    damages = Counter(damage.rule for damage in damages_for(era.facts))
    assert {rule.name for rule in rules_for(era.facts, Severity.QUARANTINE)} <= set(damages)
    assert sum(count > 1 for count in damages.values()) > 25


def test_cities_lie_in_states_and_specialties_in_the_taxonomy() -> None:
    assert {row["state"] for row in read_data("cities.csv")} <= set(allowed_values("us_state"))
    groups = {row["specialty"].split("|")[0] for row in read_data("specialties.csv")}
    assert groups <= set(allowed_values("taxonomy_group"))
    countries = {row["country"] for row in read_data("places_abroad.csv")}
    assert countries <= set(allowed_values("country"))


def test_record_ids_leave_room_for_the_largest_simulation() -> None:
    for dataset in Dataset:
        first = simulation.FIRST_IDS[dataset]
        following = [
            x for x in [*simulation.FIRST_IDS.values(), simulation.IDS_OF_A_YEAR] if x > first
        ]
        assert first + 3 * simulation.rows_of(dataset, simulation.MOST_ROWS) <= min(following)
        days = publications.publications_of(2016)
        rows = simulation.rows_of(dataset, simulation.MOST_ROWS_WITH_RELEASES)
        last = Story(days, len(days) - 1, rows)
        assert first + 3 * last.numbers <= min(following)
