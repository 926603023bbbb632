"""How a reported value becomes an analytic one: shared by the curated transforms.

Nothing is invented here: values are unified in spelling, emptied when they are known not to be
what the column says, or kept. The reported text stays in staging.
"""

from __future__ import annotations

from string import ascii_lowercase
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.rules import (
    DEBRIS,
    DEBRIS_WORDS,
    HOSPITAL,
    NONCOVERED_ENTITY,
    PHYSICIAN,
    PRACTITIONER,
    US_NAMES,
    is_npi,
    one_of,
)

if TYPE_CHECKING:
    import ibis.expr.types as ir

RECIPIENT_TYPES = {
    PHYSICIAN: "physician",
    PRACTITIONER: "non_physician_practitioner",
    HOSPITAL: "teaching_hospital",
    NONCOVERED_ENTITY: "noncovered_entity",
    "Non-covered Recipient Individual": "noncovered_individual",
}
"""CMS's recipient types and their names in curated tables."""


_SMALL = ascii_lowercase + "àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþ"


def upper(value: ir.StringValue) -> ir.StringValue:
    """Write Latin letters in upper case.

    Letter by letter: of a sharp s one engine makes SS, another a capital sharp s, and the key
    of a recipient must not depend on that.
    """
    return value.translate(_SMALL, _SMALL.upper())


def recipient_type(value: ir.StringValue) -> ir.StringValue:
    """Name a CMS recipient type; NULL when CMS gives none."""
    cases = [(value == cms, name) for cms, name in RECIPIENT_TYPES.items()]
    return ibis.cases(*cases, else_=ibis.null("string"))


def country(value: ir.StringValue) -> ir.StringValue:
    """Unify the names of the United States; other countries stay as reported."""
    return one_of(value.lower(), US_NAMES).ifelse("United States", value)


def with_npi(t: ir.Table, column: str) -> ir.Table:
    """Add ``npi``: the National Provider Identifier of a column where it is valid, else NULL."""
    # Judged in a step of its own: inside a condition an engine takes the number apart ten times.
    judged = t.mutate(npi_holds=is_npi(t[column]))
    return judged.mutate(npi=judged.npi_holds.ifelse(judged[column], ibis.null("string"))).drop(
        "npi_holds"
    )


def unless_warned(t: ir.Table, value: ir.StringValue, rule: str) -> ir.StringValue:
    """Empty a value of the rows that staging warned about; ``t`` has their ``warnings``."""
    return t.warnings.contains(rule).ifelse(ibis.null("string"), value)


FREE_TEXT = (
    "first_name",
    "middle_name",
    "last_name",
    "name_suffix",
    "full_name",
    "primary_type",
    "specialty",
    "hospital_name",
    "city",
    "state",
    "zip_code",
    "country",
    "company_name",
    "company_state",
    "company_country",
    "submitting_company_name",
    "travel_city",
    "travel_state",
    "travel_country",
    "third_party_name",
    "contextual_information",
    "noncovered_recipient_name",
    "study_name",
    "research_link",
    "research_context",
    "terms_of_interest",
    "product_name",
    "product_category",
)
"""Curated columns that hold what somebody typed."""


def without_debris(t: ir.Table) -> ir.Table:
    """Clean the free text of rows that a spreadsheet or a form left its marks in.

    Those are the rows that staging warned about; ``t`` has their ``warnings``. A value that is
    ``#N/A`` or the like becomes NULL; an apostrophe, tab or pair of quotes around one goes.
    """
    marked = t.mutate(has_debris=t.warnings.contains(DEBRIS))
    cleaned = {
        name: marked.has_debris.ifelse(_bare(marked[name]), marked[name])
        for name in FREE_TEXT
        if name in t.columns
    }
    return marked.mutate(**cleaned).drop("has_debris")


def _bare(value: ir.StringValue) -> ir.StringValue:
    bare = value.re_replace("^['\t\"]+", "")
    bare = value.startswith('"').ifelse(bare.re_replace('"+\\z', ""), bare).nullif("")
    return one_of(bare, DEBRIS_WORDS).ifelse(ibis.null("string"), bare)


def taxonomy_path(value: ir.StringValue) -> ir.StringValue:
    """Delimit a specialty path by ``|``; until January 2016 CMS wrote ``/ ``."""
    return value.replace("/ ", "|")


def nature(value: ir.StringValue) -> ir.StringValue:
    """Give a nature of payment its one spelling: some releases lack a blank before a bracket."""
    return value.replace("fees(teaching", "fees (teaching")


def product_indicator(value: ir.StringValue) -> ir.StringValue:
    """Give the product indicator of old layouts its one spelling: Non-Covered since 2019."""
    return value.replace("Non-covered", "Non-Covered")


def yes(value: ir.StringValue) -> ir.BooleanValue:
    """Turn Yes and No into a boolean; anything else is NULL and was warned about in staging."""
    return ibis.cases((value == "Yes", True), (value == "No", False), else_=ibis.null("boolean"))


def person_name(last: ir.StringValue, first: ir.StringValue) -> ir.StringValue:
    """Write LAST, FIRST; one of them when the other is missing."""
    both = last + ", " + first
    return ibis.coalesce(both, last, first)
