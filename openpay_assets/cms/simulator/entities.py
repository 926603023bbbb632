"""Who and what simulated records are about: recipients, companies, products and studies.

``sql/entities.sql`` says how each is made; this module says how many there are and lays the
products of a payment out in slots.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING

from openpay_assets.cms.simulator.vocabulary import read_sql, set_variables
from openpay_assets.contracts.rules import COMPANY_ID, PRODUCT_SLOTS
from openpay_assets.contracts.sql import sql_name

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_COMPANIES = 1750
MOST_HOSPITALS = 1300
"""As many as report, or are reported, in a real program year."""

COMPANY_COLUMNS = {
    "submitting_applicable_manufacturer_or_applicable_gpo_name": "submitter.name",
    COMPANY_ID: "company.id",
    COMPANY_ID.removesuffix("_id") + "_name": (
        "CASE sets.ordinal % 16 WHEN 7 THEN upper(company.name) WHEN 12 THEN company.short_name "
        "ELSE company.name END"
    ),
    COMPANY_ID.removesuffix("_id") + "_state": "company.state",
    COMPANY_ID.removesuffix("_id") + "_country": "company.country",
}
"""A fifth of real records are submitted by another company than the one that paid, and one
company is spelled in several ways."""

_SLOT_FIELDS = {
    "name_of_drug_or_biological_or_device_or_medical_supply_{n}": "name",
    "covered_or_noncovered_indicator_{n}": "covered",
    "indicate_drug_or_biological_or_device_or_medical_supply_{n}": "kind",
    "product_category_or_therapeutic_area_{n}": "category",
    "associated_drug_or_biological_ndc_{n}": "ndc",
    "associated_device_or_medical_supply_pdi_{n}": "pdi",
}
_LEGACY_SLOT_FIELDS = {
    "legacy_name_of_associated_covered_drug_or_biological_{n}": ("drugs", "name"),
    "legacy_ndc_of_associated_covered_drug_or_biological_{n}": ("drugs", "ndc"),
    "legacy_name_of_associated_covered_device_or_medical_supply_{n}": ("devices", "name"),
}


def create_entities(connection: DuckDBPyConnection, rows: int) -> None:
    """Create the entity tables for simulations of ``rows`` general records a year."""
    people = max(120, rows // 20)
    set_variables(
        connection,
        physicians=people * 2 // 3,
        practitioners=people // 3,
        hospitals=min(MOST_HOSPITALS, max(12, isqrt(rows))),
        sites=max(20, isqrt(rows) * 2),
        companies=min(MOST_COMPANIES, max(12, isqrt(rows))),
        studies=max(12, rows // 100),
    )
    connection.execute(read_sql("entities.sql"))
    connection.execute(_bundles_sql())


def product_columns() -> list[str]:
    """Canonical columns that a bundle fills: company, indicators and product slots."""
    slots = [x.format(n=n) for x in (*_SLOT_FIELDS, *_LEGACY_SLOT_FIELDS) for n in PRODUCT_SLOTS]
    indicators = ["related_product_indicator", "legacy_product_indicator"]
    return [*COMPANY_COLUMNS, *indicators, *slots]


def _bundles_sql() -> str:
    """Lay a set of products out in the slots of every layout, canonical columns, key ``key``."""
    columns = {
        **COMPANY_COLUMNS,
        "related_product_indicator": "CASE WHEN sets.size > 0 THEN 'Yes' ELSE 'No' END",
        "legacy_product_indicator": (
            "CASE WHEN sets.size = 0 AND sets.company % 3 > 0 THEN 'None' "
            "WHEN len(drugs) + len(devices) = 0 THEN 'Non-Covered' "
            "WHEN len(drugs) + len(devices) = sets.size THEN 'Covered' ELSE 'Combination' END"
        ),
        **{
            template.format(n=n): f"sets.items[{n}].{field}"
            for template, field in _SLOT_FIELDS.items()
            for n in PRODUCT_SLOTS
        },
        **{
            template.format(n=n): f"{group}[{n}].{field}"
            for template, (group, field) in _LEGACY_SLOT_FIELDS.items()
            for n in PRODUCT_SLOTS
        },
    }
    selected = ",\n".join(f"{value} AS {sql_name(name)}" for name, value in columns.items())
    return (
        "CREATE TABLE bundles AS WITH sets AS (SELECT *, "
        "list_filter(items, lambda x: x.is_drug AND x.covered = 'Covered') AS drugs, "
        "list_filter(items, lambda x: NOT x.is_drug AND x.covered = 'Covered') AS devices "
        f"FROM product_sets) SELECT sets.key, sets.size, {selected} FROM sets "
        "JOIN companies company ON company.company = sets.company "
        "JOIN companies submitter ON submitter.company = CASE WHEN sets.ordinal % 5 = 3 "
        "THEN sets.company // 8 * 8 ELSE sets.company END"
    )
