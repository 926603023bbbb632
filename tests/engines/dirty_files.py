"""CMS files of any layout in which each column is damaged in turn, and slots are filled in turn."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

from cms_files import (
    COMPANY,
    KIND,
    LEGACY_DEVICE,
    LEGACY_DRUG,
    LEGACY_NDC,
    NAME,
    NDC,
    NPI,
    PDI,
    Era,
    Row,
    clean_row,
    entity,
    hospital,
)

from openpay_assets.contracts.model import ColumnType, Dataset
from openpay_assets.contracts.registry import source_columns

TEXTS = (
    'Line one\nline two, "quoted"',
    "Windows\r\nline",
    "ends with a line break\n",
    "ends with spaces  ",
    "  begins with spaces",
    "\tbegins with a tab",
    "'begins with an apostrophe",
    '"all quoted"',
    "#N/A",
    "-- SELECT --",
    "Universitätsklinikum Gießen \u2013 Łódź, ﬁne ΐ ŉ ſ \u0130 \u0131 \u212a 🦴",
    "back\\slash \\z $1 `tick` %",
    "a/ b|c",
    "0",
    "None",
    "NULL",
)
DAMAGED = {
    ColumnType.MONEY: (
        *(
            "1E+5",
            ".50",
            "12.345",
            "-1",
            "1.",
            "+1",
            " 1.00",
            "1.00\n",
            "1,000.00",
            "$5",
            "１.００",
        ),
        *("0", "0.00", "00012.5", "12.3", "100000000.01", "10000000", "99999999999999999999"),
    ),
    ColumnType.DATE: (
        *("11/30/0002", "02/30/2016", "02/29/2016", "02/29/2015", "2/3/2016", "13/01/2016"),
        *("00/00/0000", "01/01/0000", "2016-01-01", "01/01/2016\n", " 01/01/2016", "12/31/9999"),
        *("10/10/1582", "12/31/2012", "07/31/2013", "01/01/２０１６", "42736"),
    ),
    ColumnType.INTEGER: ("-1", "0", "1.0", "1E3", "007", "1\n", "9" * 18, "9" * 19, "１"),
    ColumnType.YEAR: ("2012", "20165", "16", "2016.0", "２０１６", "0000"),
}
RECORD_IDS = (None, "abc", "1E+11", "000123", "12\n", "9" * 38, "9" * 39, "１２３")
NPIS = (NPI, "1234567890", "123456789", "3234567893", "2000000002", f"{NPI}\n", "123456789３", "X")
COUNTRIES = (
    *("USA", "us", "United states", "UN\u0130TED STATES", "u\u017fa", "United \ufb06ates"),
    *("Germany", "GERMANY", "\u212aenya", "Germanyy", None),
)
PRODUCT_NAMES = (
    *(
        "N/A",
        "no product specified",
        "NO PRODUCT \u017fPECIFIED",
        "X",
        "\u017f",
        "\u212a",
        "\u0131",
    ),
    *("12", "-", "Ab", "Ünlü", "X\nY", "none  "),
)
NDCS = (
    *("0002-1433-80", "12345-678-90", "12345-6789-1", "12345-6789-01", "12345678901"),
    *("1234567890", "00000-0000-00", "1234-567-89", "12345-6789-01\n", "Trulicity"),
)
PDIS = ("00813132026012", "'00813132026012", "\n\t 00813132026012", "\u00a01", "''", " ' ")
AMOUNTS = ("0.01", "10.00", "100.01", "0.04", "90000000000000.00", "33333333.33")
"""Up to 90 trillion US dollars: above, cents no longer fit the floating point of a division."""


def dirty_file(folder: Path, at: Era) -> Path:
    """Write a file of an era with one row per damage, duplicate and missing record ids.

    Quoted only where needed, as CMS did in 2015.
    """
    rows = [clean_row(at, n, x) for n, x in enumerate(_overrides(at), 1)]
    rows += [clean_row(at, 900_000), clean_row(at, 900_000, {"recipient_city": "Twin\nFalls"})]
    rows += [clean_row(at, 900_001, {"record_id": x}) for x in RECORD_IDS]
    path = folder / at.file_name
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(at.layout.header)
        writer.writerows([row[column] for _, column in at.layout.columns] for row in rows)
    return path


def _overrides(at: Era) -> Iterator[Row]:
    yield {}
    columns = [c for c in source_columns(at.dataset) if c.name in at.columns]
    texts = itertools.cycle(TEXTS)
    for column in columns:
        if column.name == "record_id":
            continue
        yield {column.name: None}
        for value in DAMAGED.get(column.type) or (next(texts),):
            yield {column.name: value}
    for column, values in _ONE_COLUMN.items():
        if column in at.columns:
            yield from ({column: value} for value in values)
    if at.dataset is not Dataset.OWNERSHIP:
        yield hospital(at)
        yield from _slots(at)
    if at.dataset is Dataset.RESEARCH:
        yield entity(at)
        yield from (entity(at, noncovered_recipient_entity_name=x) for x in TEXTS)
        yield from _investigators(at)


_ONE_COLUMN: dict[str, tuple[str | None, ...]] = {
    "covered_recipient_npi": NPIS,
    "physician_npi": NPIS,
    "principal_investigator_1_npi": NPIS,
    "recipient_country": COUNTRIES,
    f"{COMPANY}_country": COUNTRIES,
    "recipient_state": ("XX", "AE", "ca", "CA\n"),
    "recipient_zip_code": ("-", "00000", "1234", "12345", "12345\n", "12345-6789", "１２３４５"),
    f"{NAME}_1": PRODUCT_NAMES,
    f"{LEGACY_DRUG}_1": PRODUCT_NAMES,
    f"{NDC}_1": NDCS,
    f"{LEGACY_NDC}_1": NDCS,
    f"{PDI}_2": PDIS,
    "clinicaltrials_gov_identifier": ("NCT01234567\n", "ABC12345678", "nct01234567"),
    "expenditure_category1": (None, "Patient Care|Other"),
}


def _slots(at: Era) -> Iterator[Row]:
    """Fill two to five product slots, with and without gaps, over amounts that do not divide."""
    names = [x for x in (NAME, LEGACY_DRUG, LEGACY_DEVICE) if f"{x}_1" in at.columns]
    for amount, filled in itertools.product(AMOUNTS, ((1, 2), (1, 2, 3), (2, 4), (1, 2, 3, 4, 5))):
        row = {f"{name}_{n}": f"Product {n}" for name in names for n in filled}
        if f"{KIND}_1" in at.columns:
            row |= {f"{KIND}_{n}": ("Drug", "Device")[n % 2] for n in filled}
        column = "amount"
        yield row | {column: amount}


def _investigators(at: Era) -> Iterator[Row]:
    """Fill investigator slots: in the oldest layout with names as free text."""
    fields = ("last_name", "first_name", "profile_id", "city", "country")
    for slots in ((2,), (1, 3), (1, 2, 3, 4, 5)):
        for n_fields in (1, len(fields)):
            yield {
                name: f"{field} {n}"
                for n in slots
                for field in fields[:n_fields]
                if (name := f"principal_investigator_{n}_{field}") in at.columns
            } | {
                name: f"Dr. Ünal {n}, MD"
                for n in slots
                if (name := f"legacy_principal_investigator_{n}_full_name") in at.columns
            }
