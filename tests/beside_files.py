"""Files beside the payments for tests: references as given, summaries added up from rows.

What CMS publishes of clean rows is worked out here in plain Python, so that reconciliation is
compared with something it did not compute itself.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

from cms_files import COMPANY, Era, Row, clean_row

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.published import (
    dashboard_metrics,
    nature_codes,
    published_layouts,
)
from openpay_assets.contracts.rules import HOSPITAL, PHYSICIAN, PRACTITIONER

NAMES = {
    "supplement": "OP_CVRD_RCPNT_PRFL_SPLMTL_P{day}.csv",
    "profile_mapping": "PBLCTN_PRVDR_PRFL_MAPPING_P{day}.csv",
    "entity_profiles": "PBLCTN_RPTG_ORG_PRFL_SRCH_P{day}.csv",
    "hospital_profiles": "PBLCTN_TH_PRFL_SRCH_P{day}.csv",
    "dashboard": "PBLCTN_DSHBRD_P{day}.csv",
    "national_summary": "PBLCTN_NTNL_SMRY_P{day}-joined.csv",
    "state_summary": "PBLCTN_STATE_SMRY_P{day}-joined.csv",
    "specialty_summary": "PBLCTN_SPLTY_SMRY_P{day}-joined.csv",
    "entity_nature_summary": "PBLCTN_SMRY_BY_AMGPO_BY_NTR_OF_PYMT_PGYR{year}_P{day}.csv",
    "entity_summary": "PBLCTN_RPTG_ORG_SMRY_P{day}.csv",
    "physician_summary": "PBLCTN_PHYSN_NON_PHYSN_PRCTNR_SMRY_P{day}.csv",
    "hospital_summary": "PBLCTN_TH_SMRY_P{day}.csv",
}
ENDINGS = {PHYSICIAN: "physicians", PRACTITIONER: "practitioners", HOSPITAL: "hospitals"}
ROLL_UP = {"program_year": "All", "records": "999999", "amount": "999999.00"}
Line = Mapping[str, object]


def write_beside(
    folder: Path,
    kind: str,
    release: date,
    rows: Iterable[Line],
    *,
    year: int = 2023,
    layout: str | None = None,
    header: list[str] | None = None,
) -> Path:
    """Write a file beside the payments; rows are mappings of canonical column to value."""
    known = published_layouts(kind)
    chosen = next(x for x in known if x.name == layout) if layout else known[-1]
    chosen = chosen.with_years([f"PY_{y}" for y in range(year - 2, year + 1)])
    path = folder / NAMES[kind].format(day=f"{release:%m%d%Y}", year=year)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header or chosen.header)
        for row in rows:
            unknown = set(row) - set(chosen.source_of)
            assert not unknown, f"{kind} has no {', '.join(sorted(unknown))}"
            writer.writerow([row.get(name, "") for _, name in chosen.columns])
    return path


def publish_summaries(
    folder: Path, at: Era, overrides: Iterable[Row], release: date | None = None
) -> dict[str, Path]:
    """Write every summary of one partition, as CMS would of these rows."""
    rows = [clean_row(at, n, x) for n, x in enumerate(overrides, 1)]
    tables = summaries(at, rows)
    day = release or at.release
    return {
        kind: write_beside(folder, kind, day, lines, year=at.program_year)
        for kind, lines in tables.items()
    }


def summaries(at: Era, rows: list[Row]) -> dict[str, list[Line]]:
    """Add up rows as CMS does, and put roll-up rows among them, which must not be counted."""
    year, general = str(at.program_year), at.dataset is Dataset.GENERAL
    other = {"program_year": str(at.program_year - 1)}
    tables: dict[str, list[Line]] = {
        "dashboard": [_dashboard_line(at, number, rows) for number in range(44)],
        "entity_nature_summary": [],
        "entity_summary": [
            {"company_id": "1", **other, "general_records": 5, "general_amount": "7.00"},
            {"company_id": "ALL", "program_year": "All", "general_records": 5},
        ],
        "physician_summary": [{"profile_id": "1", "program_year": "All", "general_records": 5}],
        "hospital_summary": [{"hospital_ccn": "1", "program_year": "All", "general_records": 5}],
        "state_summary": [],
        "specialty_summary": [],
        "national_summary": [],
    }
    word = {Dataset.GENERAL: "general", Dataset.RESEARCH: "research"}.get(at.dataset)
    nature = "nature_of_payment_or_transfer_of_value"
    if general:
        for (company, code), found in grouped(
            rows, f"{COMPANY}_id", lambda x: nature_codes().get(x[nature] or "", "")
        ).items():
            tables["entity_nature_summary"].append(
                {
                    "company_id": company,
                    "nature_code": code,
                    "company_name": found[0][f"{COMPANY}_name"],
                    "records": len(found),
                    "amount": dollars(found),
                }
            )
    for kind, key, column in (
        ("entity_summary", "company_id", f"{COMPANY}_id"),
        ("physician_summary", "profile_id", _profile(at)),
        ("hospital_summary", "hospital_ccn", "teaching_hospital_ccn"),
    ):
        for (value,), found in grouped(rows, column).items():
            if value and (word or kind != "hospital_summary"):
                tables[kind].append({key: value, "program_year": year, **_sums(kind, word, found)})
    if word is not None:
        _by_recipient(tables, rows, word, year)
    return tables


def _by_recipient(tables: dict[str, list[Line]], rows: list[Row], word: str, year: str) -> None:
    specialty = "covered_recipient_specialty_1"
    for kind, keys in (
        ("national_summary", ()),
        ("state_summary", ("recipient_country", "recipient_state")),
        ("specialty_summary", (specialty,)),
    ):
        for (recipient, *values), found in grouped(rows, "covered_recipient_type", *keys).items():
            is_counted = recipient in ENDINGS and not (
                recipient == HOSPITAL and kind != "state_summary"
            )
            if not is_counted:
                continue
            line: dict[str, object] = {
                "payment_type": word.title(),
                "recipient_type": recipient,
                "program_year": year,
                f"records_{ENDINGS[recipient]}": len(found),
                f"amount_{ENDINGS[recipient]}": dollars(found),
            }
            if kind == "state_summary":
                line |= {"country_name": values[0], "state_code": values[1]}
            if kind == "specialty_summary" and values[0]:
                levels = values[0].split("|")
                line |= dict(
                    zip(("provider_type", "classification", "specialization"), levels, strict=False)
                )
            all_types = {**line, "payment_type": "ALL"}
            tables[kind] += [line, {**line, "program_year": "ALL"}, all_types]


def _dashboard_line(at: Era, number: int, rows: list[Row]) -> Line:
    line = dashboard_metrics()[number]
    found = [
        row
        for row in rows
        if line.recipient_type in ("", row.get("covered_recipient_type"))
        and line.disputed in ("", "Yes" if row["dispute_status_for_publication"] == "Yes" else "No")
    ]
    counts = {
        "records": str(len(found)),
        "amount": dollars(found),
        "value_of_interest": dollars(found, "value_of_interest"),
    }
    mine = line.dataset in ("", at.dataset)
    return {
        "row_number": number + 1,
        "metric": line.metric,
        f"program_year_{at.program_year}": counts.get(line.measure, "1") if mine else "0",
        "total": "999999",
    }


def _profile(at: Era) -> str:
    is_ownership = at.dataset is Dataset.OWNERSHIP
    return "physician_profile_id" if is_ownership else "covered_recipient_profile_id"


def _sums(kind: str, word: str | None, found: list[Row]) -> Line:
    if word:
        return {f"{word}_records": len(found), f"{word}_amount": dollars(found)}
    records = "ownership_records" if kind == "entity_summary" else "invested_records"
    return {
        records: len(found),
        "invested_amount": dollars(found),
        "interest_amount": dollars(found, "value_of_interest"),
    }


def grouped(rows: list[Row], *keys: object) -> dict[tuple[str, ...], list[Row]]:
    """Group rows by columns or functions of them; what is missing is empty."""
    groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        groups[tuple((k(row) if callable(k) else row.get(str(k))) or "" for k in keys)].append(row)
    return groups


def dollars(rows: Iterable[Row], column: str = "amount") -> str:
    """Add up exact amounts; what is no number counts as nothing."""
    return str(sum((_number(row.get(column)) for row in rows), Decimal("0.00")))


def _number(text: str | None) -> Decimal:
    whole, _, cents = (text or "").partition(".")
    is_exact = whole.isdigit() and (cents.isdigit() or not cents) and len(cents) < 3
    return Decimal(text or 0) if is_exact else Decimal(0)
