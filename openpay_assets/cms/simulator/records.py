"""Records: from the draws of a row to its CMS columns.

Each dataset has a SQL file that draws a chunk of records (keys and amounts, one narrow row each)
and here the expressions that turn a drawn row, joined to its entities, into canonical columns
of text, as CMS writes them. A layout then takes the columns it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from openpay_assets.cms.simulator.entities import product_columns
from openpay_assets.cms.simulator.vocabulary import read_sql
from openpay_assets.contracts.model import ColumnType, Dataset
from openpay_assets.contracts.registry import source_columns
from openpay_assets.contracts.rules import INVESTIGATOR_SLOTS, PartitionFacts
from openpay_assets.contracts.sql import sql_name, sql_text

PIPES_SINCE = date(2016, 6, 30)
"""First release with ``|`` between the levels of a specialty; until then ``/ ``."""

CAPITAL_NON_COVERED_SINCE = date(2017, 1, 1)
"""From then on the legacy indicator says Non-Covered; before, Non-covered."""

DEVICE_IDENTIFIERS_SINCE = 2021
"""First program year in which companies report device identifiers."""

_RECIPIENT = {
    "covered_recipient_type": "recipient_type",
    "noncovered_recipient_entity_name": "entity_name",
    "teaching_hospital_ccn": "hospital_ccn",
    "teaching_hospital_id": "hospital_id",
    "teaching_hospital_name": "hospital_name",
}
_ADDRESS = {
    "recipient_primary_business_street_address_line1": "line1",
    "recipient_primary_business_street_address_line2": "line2",
    "recipient_city": "city",
    "recipient_state": "state",
    "recipient_zip_code": "zip_code",
    "recipient_country": "country",
    "recipient_province": "province",
    "recipient_postal_code": "postal_code",
}
_PERSON = {
    "profile_id": "profile_id",
    "npi": "npi",
    "first_name": "first_name",
    "middle_name": "middle_name",
    "last_name": "last_name",
    "name_suffix": "name_suffix",
}
_PRACTICE = {
    "primary_type_1": "primary_type_1",
    "primary_type_2": "primary_type_2",
    "specialty_1": "specialty_1",
    "specialty_2": "specialty_2",
    "license_state_code1": "license_state_1",
    "license_state_code2": "license_state_2",
}
_BUSINESS = {
    "covered_recipient_type": "recipient_type",
    "business_street_address_line1": "line1",
    "business_street_address_line2": "line2",
    **{name: name for name in ("city", "state", "zip_code", "country", "province", "postal_code")},
}

_JOINS = {
    Dataset.GENERAL: (
        "chunk c JOIN recipients r ON r.key = c.recipient JOIN bundles b ON b.key = c.bundle "
        "LEFT JOIN trips t ON t.key = c.trip LEFT JOIN third_parties p ON p.key = c.third_party"
    ),
    Dataset.RESEARCH: (
        "chunk c JOIN recipients r ON r.key = c.recipient JOIN bundles b ON b.key = c.bundle "
        "JOIN studies s ON s.study = c.study "
        + " ".join(
            f"LEFT JOIN recipients i{n} ON i{n}.key = c.investigator_{n}"
            for n in INVESTIGATOR_SLOTS
        )
    ),
    Dataset.OWNERSHIP: (
        "chunk c JOIN recipients r ON r.key = c.recipient JOIN bundles b ON b.key = c.bundle"
    ),
}

EMPTY = "NULL"
"""The SQL of a value that is not there."""

LINE_BREAK_SOURCES = {
    Dataset.GENERAL: "context",
    Dataset.RESEARCH: "research_context",
    Dataset.OWNERSHIP: "terms",
}
"""List of words that a record's free text comes from: the only values with line breaks."""

FREE_TEXTS = {
    Dataset.GENERAL: "contextual_information",
    Dataset.RESEARCH: "context_of_research",
    Dataset.OWNERSHIP: "terms_of_interest",
}
"""Column of a record's free text; every layout has it."""


def draw_sql(dataset: Dataset) -> str:
    """Return the statement that draws rows ``from_row`` to ``to_row`` into ``chunk``."""
    return read_sql(f"{dataset}.sql")


def money_columns(dataset: Dataset) -> frozenset[str]:
    """Canonical columns that CMS writes without quotes."""
    return frozenset(c.name for c in source_columns(dataset) if c.type is ColumnType.MONEY)


def clean_columns(facts: PartitionFacts, style: date | None = None) -> dict[str, str]:
    """Return what fills the columns of the layout: SQL over ``joins``, by canonical column.

    Columns that no simulated record fills are not in it. ``style`` is given for a release that
    has a story: the day whose spelling its values keep.
    """
    columns = _columns(facts, style or facts.release)
    if style:
        columns = {**columns, **_told_columns(facts.dataset, columns)}
    return {
        name: value
        for name, value in columns.items()
        if name in facts.layout_columns and value != EMPTY
    }


def joins(dataset: Dataset) -> str:
    """Return the FROM clause: the drawn rows ``c`` and the entities they are about."""
    return _JOINS[dataset]


def _told_columns(dataset: Dataset, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns that depend on what happened to a record since it was published."""
    free_text = FREE_TEXTS[dataset]
    return {
        "change_type": "c.change_type",
        "dispute_status_for_publication": (
            "CASE WHEN c.flipped != chance(900, c.record, 'dispute') THEN 'Yes' ELSE 'No' END"
        ),
        free_text: (
            "CASE WHEN c.correction > 0 THEN 'Corrected after review, number ' || c.correction "
            f"ELSE {columns[free_text]} END"
        ),
    }


def _columns(facts: PartitionFacts, style: date) -> Mapping[str, str]:
    """Expressions by canonical column; a column that is not there is always empty."""
    per_dataset = {
        Dataset.GENERAL: _general,
        Dataset.RESEARCH: _research,
        Dataset.OWNERSHIP: _ownership,
    }
    texts = {name: f"b.{sql_name(name)}" for name in product_columns()}
    columns = {**texts, **_common(facts), **per_dataset[facts.dataset](facts)}
    return {name: _in_style(style, facts, name, value) for name, value in columns.items()}


def _in_style(style: date, facts: PartitionFacts, name: str, value: str) -> str:
    """Write a value as the files of a release and program year write it."""
    if "specialty" in name and style < PIPES_SINCE:
        return f"replace({value}, '|', '/ ')"
    if name == "legacy_product_indicator" and style < CAPITAL_NON_COVERED_SINCE:
        return f"replace({value}, 'Non-Covered', 'Non-covered')"
    if "_pdi_" in name and facts.program_year < DEVICE_IDENTIFIERS_SINCE:
        return EMPTY
    return value


def _common(facts: PartitionFacts) -> dict[str, str]:
    return {
        "change_type": "change_type(c.record)",
        **_of("r", "", _ADDRESS),
        "amount": "money(c.cents)",
        "record_id": "c.record_id::VARCHAR",
        "program_year": sql_text(str(facts.program_year)),
        "payment_publication_date": sql_text(f"{facts.release:%m/%d/%Y}"),
        "dispute_status_for_publication": (
            "CASE WHEN chance(900, c.record, 'dispute') THEN 'Yes' ELSE 'No' END"
        ),
    }


def _payment() -> dict[str, str]:
    return {
        **_of("r", "", _RECIPIENT),
        **_of("r", "covered_recipient_", {**_PERSON, **_PRACTICE}),
        "date_of_payment": "us_day(c.day)",
        "form_of_payment_or_transfer_of_value": "c.form",
        "delay_in_publication_indicator": "'No'",
    }


def _general(_: PartitionFacts) -> dict[str, str]:
    return {
        **_payment(),
        "number_of_payments_included_in_total_amount": "c.payments::VARCHAR",
        "nature_of_payment_or_transfer_of_value": "c.nature",
        **_of("t", "", {f"{x}_of_travel": x for x in ("city", "state", "country")}),
        "physician_ownership_indicator": (
            "CASE WHEN c.recipient_kind = 'physician' AND NOT chance(30000, c.record, 'unsaid') "
            "THEN CASE WHEN chance(1500, c.record, 'owner') THEN 'Yes' ELSE 'No' END END"
        ),
        "third_party_payment_recipient_indicator": (
            "coalesce(p.indicator, 'No Third Party Payment')"
        ),
        "name_of_third_party_entity_receiving_payment_or_transfer_of_value": "p.name",
        "charity_indicator": (
            "coalesce(p.charity, CASE WHEN chance(150000, c.record, 'not a charity') THEN 'No' END)"
        ),
        "third_party_equals_covered_recipient_indicator": "p.equals_covered",
        FREE_TEXTS[Dataset.GENERAL]: _free_text(Dataset.GENERAL),
    }


def _research(_: PartitionFacts) -> dict[str, str]:
    investigators: dict[str, str] = {}
    for n in INVESTIGATOR_SLOTS:
        fields = {**_PERSON, **_BUSINESS, **_PRACTICE}
        investigators |= _of(f"i{n}", f"principal_investigator_{n}_", fields)
        investigators[f"legacy_principal_investigator_{n}_full_name"] = f"i{n}.full_name"
    return {
        **_payment(),
        **investigators,
        **{
            f"expenditure_category{n}": (
                f"CASE WHEN c.categories >= {n} "
                f"THEN getvariable('expenditure_category')[1 + (c.category + {n - 1}) % 6] END"
            )
            for n in (1, 2, 3)
        },
        "preclinical_research_indicator": "CASE WHEN s.is_preclinical THEN 'Yes' ELSE 'No' END",
        "name_of_study": "s.name",
        "clinicaltrials_gov_identifier": "s.nct",
        "research_information_link": "s.link",
        FREE_TEXTS[Dataset.RESEARCH]: _free_text(Dataset.RESEARCH),
    }


def _ownership(_: PartitionFacts) -> dict[str, str]:
    return {
        **_of("r", "physician_", _PERSON),
        "physician_primary_type": "r.primary_type_1",
        "physician_specialty": "r.specialty_1",
        "value_of_interest": "money(c.interest_cents)",
        FREE_TEXTS[Dataset.OWNERSHIP]: _free_text(Dataset.OWNERSHIP),
        "interest_held_by_physician_or_an_immediate_family_member": "c.holder",
    }


def _of(table: str, prefix: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}{name}": f"{table}.{field}" for name, field in fields.items()}


def _free_text(dataset: Dataset) -> str:
    return f"getvariable('{LINE_BREAK_SOURCES[dataset]}')[1 + c.context]"
