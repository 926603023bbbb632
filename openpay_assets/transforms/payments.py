"""Payments: one row per CMS record of any dataset, one meaning per column."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import source_columns
from openpay_assets.contracts.rules import (
    COMPANY_ID,
    INVESTIGATOR_SLOTS,
    RECIPIENT_NPI,
    filled,
    investigator_fields,
    product_slots,
)
from openpay_assets.transforms import cleaning
from openpay_assets.transforms.shape import as_curated, recipient_key

if TYPE_CHECKING:
    import ibis.expr.types as ir

_COMPANY = "applicable_manufacturer_or_applicable_gpo_making_payment"

SHARED = {
    "change_type": "change_type",
    "city": "recipient_city",
    "state": "recipient_state",
    "zip_code": "recipient_zip_code",
    "company_id": COMPANY_ID,
    "company_name": f"{_COMPANY}_name",
    "company_state": f"{_COMPANY}_state",
    "submitting_company_name": "submitting_applicable_manufacturer_or_applicable_gpo_name",
}
"""Curated columns that are a staged column of every dataset, renamed."""

GENERAL = {
    "number_of_payments": "number_of_payments_included_in_total_amount",
    "travel_city": "city_of_travel",
    "travel_state": "state_of_travel",
    "travel_country": "country_of_travel",
    "third_party_recipient": "third_party_payment_recipient_indicator",
    "third_party_name": "name_of_third_party_entity_receiving_payment_or_transfer_of_value",
    "contextual_information": "contextual_information",
}
RESEARCH = {
    "noncovered_recipient_name": "noncovered_recipient_entity_name",
    "study_name": "name_of_study",
    "clinicaltrials_id": "clinicaltrials_gov_identifier",
    "research_link": "research_information_link",
    "research_context": "context_of_research",
}
OWNERSHIP = {
    "value_of_interest": "value_of_interest",
    "terms_of_interest": "terms_of_interest",
    "interest_holder": "interest_held_by_physician_or_an_immediate_family_member",
}


def payments(staged: ir.Table, dataset: Dataset) -> ir.Table:
    """Return ``curated.payments`` of one staged partition.

    Ownership has no payment date and no recipient type; they stay empty. Its ``amount`` is the
    amount invested, and ``value_of_interest`` the second measure.
    """
    t = cleaning.without_debris(staged.mutate(**_values(staged, dataset)))
    # Named last: by the names that cleaning left.
    names = [cleaning.person_name(t.last_name, t.first_name)]
    names += [t[x] for x in ("hospital_name", "noncovered_recipient_name") if x in t.columns]
    return as_curated(t, "payments", {"recipient_name": ibis.coalesce(*names)})


def _values(t: ir.Table, dataset: Dataset) -> dict[str, ir.Value]:
    """Derive the curated columns as they are reported."""
    renamed = {
        **SHARED,
        **{Dataset.GENERAL: GENERAL, Dataset.RESEARCH: RESEARCH, Dataset.OWNERSHIP: OWNERSHIP}[
            dataset
        ],
    }
    return {
        **{name: t[column] for name, column in renamed.items()},
        **_recipient(t, dataset),
        "recipient_key": recipient_key(t, dataset),
        **_details(t, dataset),
        "country": cleaning.country(t.recipient_country),
        "company_country": cleaning.country(t[f"{_COMPANY}_country"]),
        "is_disputed": cleaning.yes(t.dispute_status_for_publication),
        "product_count": _count(t, _product_fields(dataset)),
        "investigator_count": _count(t, _investigator_fields(dataset)),
    }


def _prefix(dataset: Dataset) -> str:
    return "physician" if dataset is Dataset.OWNERSHIP else "covered_recipient"


def _recipient(t: ir.Table, dataset: Dataset) -> dict[str, ir.Value]:
    prefix = _prefix(dataset)
    suffix = "" if dataset is Dataset.OWNERSHIP else "_1"
    person = {
        "profile_id": t[f"{prefix}_profile_id"],
        "npi": cleaning.unless_warned(t, t[f"{prefix}_npi"], RECIPIENT_NPI[dataset]),
        "first_name": t[f"{prefix}_first_name"],
        "middle_name": t[f"{prefix}_middle_name"],
        "last_name": t[f"{prefix}_last_name"],
        "name_suffix": t[f"{prefix}_name_suffix"],
        "primary_type": t[f"{prefix}_primary_type{suffix}"],
        "specialty": cleaning.taxonomy_path(t[f"{prefix}_specialty{suffix}"]),
    }
    if dataset is Dataset.OWNERSHIP:
        return person
    return {
        **person,
        "hospital_id": t.teaching_hospital_id,
        "hospital_ccn": t.teaching_hospital_ccn,
        "hospital_name": t.teaching_hospital_name,
        "recipient_type": cleaning.recipient_type(t.covered_recipient_type),
    }


def _details(t: ir.Table, dataset: Dataset) -> dict[str, ir.Value]:
    if dataset is Dataset.OWNERSHIP:
        return {}
    shared = {
        "date_of_payment": t.date_of_payment,
        "form_of_payment": t.form_of_payment_or_transfer_of_value,
        "related_product": ibis.coalesce(
            t.related_product_indicator, cleaning.product_indicator(t.legacy_product_indicator)
        ),
    }
    if dataset is Dataset.RESEARCH:
        categories = [t[f"expenditure_category{n}"] for n in range(1, 7)]
        named = ibis.array(categories).filter(lambda x: x.notnull()).join("|")
        return {
            **shared,
            "is_preclinical": cleaning.yes(t.preclinical_research_indicator),
            "expenditure_categories": named.nullif(""),
        }
    return {
        **shared,
        "nature_of_payment": cleaning.nature(t.nature_of_payment_or_transfer_of_value),
        "physician_ownership": cleaning.yes(t.physician_ownership_indicator),
        "third_party_is_charity": cleaning.yes(t.charity_indicator),
        "third_party_is_covered_recipient": cleaning.yes(
            t.third_party_equals_covered_recipient_indicator
        ),
    }


def _product_fields(dataset: Dataset) -> list[tuple[str, ...]]:
    if dataset is Dataset.OWNERSHIP:
        return []
    return [fields for _, fields in all_product_slots(dataset)]


def all_product_slots(dataset: Dataset) -> list[tuple[int, tuple[str, ...]]]:
    """Return every product slot of every layout of a dataset, with its columns."""
    return product_slots(frozenset(column.name for column in source_columns(dataset)))


def _investigator_fields(dataset: Dataset) -> list[tuple[str, ...]]:
    if dataset is not Dataset.RESEARCH:
        return []
    return [investigator_fields(n) for n in INVESTIGATOR_SLOTS]


def _count(t: ir.Table, slots: list[tuple[str, ...]]) -> ir.IntegerValue:
    if not slots:
        return ibis.literal(0, "int64")
    return reduce(add, (filled(t, fields).cast("int64") for fields in slots))
