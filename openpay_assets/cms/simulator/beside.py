"""What CMS publishes beside the payments: profiles, mapped profiles and summaries.

Summaries add up the payment files of a publication as they were written, dirty rows included,
so they agree with them to the cent: an amount that is no number counts as nothing, a record
without a key or with a damaged one under what it says. ``contracts/data`` holds the columns.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from openpay_assets.cms.csv import read_csv_sql
from openpay_assets.cms.names import FileKind
from openpay_assets.cms.simulator.publications import SUMMARIES_SINCE, beside_name
from openpay_assets.cms.simulator.vocabulary import fill_table, read_data, read_sql
from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import layout_of
from openpay_assets.contracts.rules import (
    COMPANY_ID,
    HOSPITAL,
    INVESTIGATOR_SLOTS,
    PHYSICIAN,
    PRACTITIONER,
)
from openpay_assets.contracts.sql import sql_name, sql_text

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from openpay_assets.cms.simulator.simulation import SimulatedFile

EXACT_AMOUNT = "^[0-9]{1,16}([.][0-9]{1,2})?$"
"""What counts as a number in a column of US dollars."""

_PARTIES = {"physicians": PHYSICIAN, "practitioners": PRACTITIONER, "hospitals": HOSPITAL}
_DIMENSIONS: dict[FileKind, dict[str, str]] = {
    FileKind.NATIONAL_SUMMARY: {"metric_level": "'National'"},
    FileKind.STATE_SUMMARY: {
        "country_code": "coalesce(countries.code, '')",
        "country_name": "covered.country",
        "state_code": "covered.state",
        "state_name": "coalesce(states.name, '')",
    },
    FileKind.SPECIALTY_SUMMARY: {
        "taxonomy_code": "coalesce(codes.code, '')",
        "provider_type": "split_part(covered.specialty, '|', 1)",
        "classification": "split_part(covered.specialty, '|', 2)",
        "specialization": "split_part(covered.specialty, '|', 3)",
    },
}
_DISTINCT = {
    "companies": "nullif(company, '')",
    "physicians": f"CASE WHEN dataset = 'ownership' OR recipient_type = {sql_text(PHYSICIAN)} "
    "THEN nullif(profile, '') END",
    "practitioners": f"CASE WHEN recipient_type = {sql_text(PRACTITIONER)} "
    "THEN nullif(profile, '') END",
    "hospitals": f"CASE WHEN recipient_type = {sql_text(HOSPITAL)} THEN nullif(hospital, '') END",
}


@cache
def read_contract(name: str) -> tuple[dict[str, str], ...]:
    """Return the rows of a data file of the contracts."""
    text = files("openpay_assets.contracts").joinpath("data", name).read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def write_beside(
    connection: DuckDBPyConnection, folder: Path, published: Iterable[SimulatedFile]
) -> list[Path]:
    """Write what stands beside payment files, for each day on which some were published."""
    by_day: dict[date, list[SimulatedFile]] = defaultdict(list)
    for file in published:
        by_day[file.release].append(file)
    _load_codes(connection)
    connection.execute(read_sql("references.sql"))
    written = []
    for day, together in sorted(by_day.items()):
        written += _write_references(connection, folder, day)
        if day >= SUMMARIES_SINCE:
            written += _write_summaries(connection, folder, day, together)
    return written


def _write_references(connection: DuckDBPyConnection, folder: Path, day: date) -> list[Path]:
    until_practitioners = "" if day >= SUMMARIES_SINCE else "WHERE key < 1000000000"
    sources = {FileKind.SUPPLEMENT: f"supplement {until_practitioners} ORDER BY key"}
    if day >= SUMMARIES_SINCE:
        sources |= {
            FileKind.PROFILE_MAPPING: "profile_mapping ORDER BY key",
            FileKind.ENTITY_PROFILES: "entity_profiles",
            FileKind.HOSPITAL_PROFILES: "hospital_profiles",
        }
    return [
        _write(connection, folder / beside_name(kind, day), source, reference_columns(kind, day))
        for kind, source in sources.items()
    ]


def reference_columns(kind: FileKind, day: date) -> dict[str, str]:
    """Return CMS's column names of a reference file at a publication, by canonical name."""
    [layout] = [
        row["layout"]
        for row in read_contract("reference_layouts.csv")
        if row["kind"] == kind
        and row["first_release"] <= day.isoformat() <= (row["last_release"] or "9999")
    ]
    return {
        row["column"]: row["source_column"]
        for row in read_contract("references.csv")
        if row["kind"] == kind and row["layout"] == layout
    }


def summary_columns(kind: FileKind, years: Sequence[int] = ()) -> dict[str, str]:
    """Return CMS's column names of a summary by canonical name, one for each year if it has them."""
    return {
        row["column"].format(year=year): row["source_column"].format(year=year)
        for row in read_contract("summaries.csv")
        if row["kind"] == kind
        for year in (years if "{year}" in row["column"] else (0,))
    }


def _write_summaries(
    connection: DuckDBPyConnection, folder: Path, day: date, together: Sequence[SimulatedFile]
) -> list[Path]:
    years = sorted({file.program_year for file in together})
    _load_published(connection, together)
    connection.execute(read_sql("summaries.sql"))
    sources = {
        FileKind.ENTITY_SUMMARY: "entity_summary",
        FileKind.PHYSICIAN_SUMMARY: "physician_summary",
        FileKind.HOSPITAL_SUMMARY: "hospital_summary",
        FileKind.DASHBOARD: f"({_dashboard_sql(years)})",
        **{kind: f"({_by_party_sql(kind)})" for kind in _DIMENSIONS},
    }
    written = [
        _write(connection, folder / beside_name(kind, day), source, summary_columns(kind, years))
        for kind, source in sources.items()
    ]
    kind = FileKind.ENTITY_NATURE_SUMMARY
    for year in sorted({x.program_year for x in together if x.dataset is Dataset.GENERAL}):
        source = f"{kind} WHERE year = {year}"
        path = folder / beside_name(kind, day, year)
        written.append(_write(connection, path, source, summary_columns(kind)))
    return written


def _load_codes(connection: DuckDBPyConnection) -> None:
    """Put code lists into tables, under their file names."""
    texts = dict.fromkeys
    for name in ("taxonomy_codes", "country_codes", "state_names"):
        rows = read_data(f"{name}.csv")
        fill_table(connection, name, map(dict, rows), **texts(rows[0], "VARCHAR"))
    codes = read_contract("nature_codes.csv")
    fill_table(connection, "nature_codes", map(dict, codes), **texts(codes[0], "VARCHAR"))


def _load_published(connection: DuckDBPyConnection, together: Sequence[SimulatedFile]) -> None:
    """Read the payment files of a publication into ``published``, as narrow as summaries need."""
    selects = " UNION ALL ".join(_published_sql(file) for file in together)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE published AS {selects}")


def _published_sql(file: SimulatedFile) -> str:
    layout = layout_of(file.dataset, file.program_year, file.release.isoformat())
    owners = file.dataset is Dataset.OWNERSHIP

    def text(column: str) -> str:
        source = layout.source_of.get(column)
        return f"coalesce({sql_name(source)}, '')" if source else "''"

    def cents(column: str) -> str:
        source = layout.source_of.get(column)
        if source is None:
            return "0::BIGINT"
        exact = f"regexp_matches({sql_name(source)}, '{EXACT_AMOUNT}')"
        value = f"({sql_name(source)}::DECIMAL(18, 2) * 100)::BIGINT"
        return f"CASE WHEN {exact} THEN {value} ELSE 0 END"

    investigators = [text(f"principal_investigator_{n}_profile_id") for n in INVESTIGATOR_SLOTS]
    clinician = "physician_" if owners else "covered_recipient_"
    values = {
        "dataset": sql_text(file.dataset),
        "year": str(file.program_year),
        "company": text(COMPANY_ID),
        "recipient_type": text("covered_recipient_type"),
        "profile": text(f"{clinician}profile_id"),
        "hospital": text("teaching_hospital_ccn"),
        "state": text("recipient_state"),
        "country": text("recipient_country"),
        "specialty": text("physician_specialty" if owners else "covered_recipient_specialty_1"),
        "nature": text("nature_of_payment_or_transfer_of_value"),
        "is_disputed": f"{text('dispute_status_for_publication')} = 'Yes'",
        "cents": cents("amount"),
        "interest_cents": cents("value_of_interest"),
        "investigators": f"list_filter([{', '.join(investigators)}], lambda x: x != '')",
    }
    selected = ", ".join(f"{value} AS {name}" for name, value in values.items())
    return f"SELECT {selected} FROM {read_csv_sql(file.path, layout.header)}"


def _by_party_sql(kind: FileKind) -> str:
    """Return the query of a summary with counts, sums, means and medians per kind of recipient."""
    has_hospitals = kind is FileKind.STATE_SUMMARY
    parties = {name: who for name, who in _PARTIES.items() if has_hospitals or name != "hospitals"}
    dimensions = _DIMENSIONS[kind]
    keys = [*dimensions, "payment_type", "recipient_type", "label"]
    measures = {
        "{}": "number",
        "amount_{}": "money(sum)",
        "mean_amount_{}": "money(mean)",
        "median_amount_{}": "money(median)",
        "records_{}": "records",
        "mean_records_{}": "money(mean_records)",
        "median_records_{}": "money(median_records)",
    }
    columns = [
        f"CASE WHEN recipient_type = {sql_text(who)} THEN ({value})::VARCHAR END "
        f"AS {name.format(party)}"
        for name, value in measures.items()
        for party, who in parties.items()
    ]
    joins = (
        "LEFT JOIN country_codes countries ON countries.country = covered.country "
        "LEFT JOIN state_names states ON states.state = covered.state "
        "LEFT JOIN taxonomy_codes codes ON codes.specialty = covered.specialty"
    )
    who = ", ".join(sql_text(x) for x in parties.values())
    taken = ", ".join(
        [*(f"{value} AS {name}" for name, value in dimensions.items()), *keys[-3:], "party"]
    )
    return (
        f"WITH taken AS (SELECT {taken}, cents "
        f"FROM covered {joins} WHERE recipient_type IN ({who})), "
        f"per_party AS (SELECT {', '.join(keys)}, party, sum(cents) AS cents, count(*) AS records "
        "FROM taken GROUP BY ALL), "
        f"summed AS (SELECT {', '.join(keys)}, count(*) FILTER (party != '') AS number, "
        "sum(cents) AS sum, sum(records) AS records, "
        "CASE WHEN number > 0 THEN half_up(sum, number) END AS mean, "
        "floor(median(cents) FILTER (party != '') + 0.5) AS median, "
        "CASE WHEN number > 0 THEN half_up(sum(records) * 100, number) END AS mean_records, "
        "floor(median(records) FILTER (party != '') * 100 + 0.5) AS median_records "
        "FROM per_party GROUP BY ALL) "
        f"SELECT {', '.join(keys[:-1])}, label AS program_year, {', '.join(columns)} "
        f"FROM summed ORDER BY {', '.join(keys)}"
    )


def _dashboard_sql(years: Sequence[int]) -> str:
    """Return the query of the dashboard: a row per metric, a column per year and their total."""
    lines = []
    for row in read_contract("dashboard_metrics.csv"):
        spans = {f"program_year_{year}": f"label = '{year}'" for year in years}
        spans["total"] = "label = 'ALL'"
        cells = ", ".join(
            f"{_metric_sql(row, span)}::VARCHAR AS {name}" for name, span in spans.items()
        )
        metric = sql_text(row["metric"])
        lines.append(f"SELECT {row['row_number']} AS row_number, {metric} AS metric, {cells}")
    unions = " UNION ALL ".join(f"{line} FROM labelled" for line in lines)
    return f"SELECT * FROM ({unions}) ORDER BY row_number"


def _metric_sql(row: Mapping[str, str], span: str) -> str:
    """Return the aggregate over ``labelled`` that a line of the dashboard shows for a span."""
    conditions = [span]
    if row["dataset"]:
        conditions.append(f"dataset = {sql_text(row['dataset'])}")
    if row["recipient_type"]:
        conditions.append(f"recipient_type = {sql_text(row['recipient_type'])}")
    if row["disputed"]:
        conditions.append("is_disputed" if row["disputed"] == "Yes" else "NOT is_disputed")
    counted = f"FILTER ({' AND '.join(conditions)})"
    measure = row["measure"]
    if measure == "records":
        return f"count(*) {counted}"
    if measure in _DISTINCT:
        return f"count(DISTINCT {_DISTINCT[measure]}) {counted}"
    column = {"amount": "cents", "value_of_interest": "interest_cents"}[measure]
    return f"money(coalesce(sum({column}) {counted}, 0))"


def _write(
    connection: DuckDBPyConnection, path: Path, source: str, columns: Mapping[str, str]
) -> Path:
    """Write the columns that a query has under CMS's names; the others are empty."""
    found = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}
    selected = ", ".join(
        f"{_text(name) if name in found else 'NULL'} AS {sql_name(cms)}"
        for name, cms in columns.items()
    )
    partial = path.with_name(f".{path.name}.part")
    connection.execute(
        f"COPY (SELECT {selected} FROM (SELECT * FROM {source})) "
        f"TO {sql_text(str(partial))} (FORMAT csv, HEADER true)"
    )
    partial.replace(path)
    return path


def _text(name: str) -> str:
    return f"nullif({sql_name(name)}::VARCHAR, '')"
