"""Rules on a row: what a CMS record must satisfy to be trusted, or deserves a warning for.

A rule is a named Ibis predicate that is true of a good row; unknown (NULL) counts as good, so
a rule on an optional column says nothing about rows that leave it empty. A QUARANTINE rule sets
the row aside, a WARN rule is counted and the row kept. Predicates use only functions that every
engine computes alike. The knowledge behind each rule is in its ``why``; ``code`` is its
number in the project's catalogue of known defects (docs/quality-rules.md).

A predicate sees the canonical columns, typed, the original text of the typed ones as
``<column>__text``, ``JOINED`` (all text of the row, fields separated) and ``COPIES`` (how often
the record id stands in the file).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache, reduce
from itertools import pairwise
from operator import and_, or_
from typing import TYPE_CHECKING

import ibis

from openpay_assets.contracts.model import Column, ColumnType, Dataset
from openpay_assets.contracts.registry import allowed_values, source_columns

if TYPE_CHECKING:
    import ibis.expr.types as ir

JOINED = "joined__text"
COPIES = "record_id_copies"
FIELD_SEPARATOR = "\x1f"

FIRST_DAY = date(2013, 8, 1)
"""First day of the programme: PY2013 covers August to December."""

COMPANY_ID = "applicable_manufacturer_or_applicable_gpo_making_payment_id"
PHYSICIAN = "Covered Recipient Physician"
PRACTITIONER = "Covered Recipient Non-Physician Practitioner"
HOSPITAL = "Covered Recipient Teaching Hospital"
NONCOVERED_ENTITY = "Non-covered Recipient Entity"
TRAVEL = "Travel and Lodging"
PRODUCT_SLOTS = range(1, 6)
INVESTIGATOR_SLOTS = range(1, 6)

RECIPIENT_NPI = {
    Dataset.GENERAL: "npi_valid",
    Dataset.RESEARCH: "npi_valid",
    Dataset.OWNERSHIP: "physician_npi_valid",
}
"""The rule that judges a recipient's NPI."""

DEBRIS = "no_spreadsheet_debris"
DEBRIS_WORDS = ("#N/A", "#REF!", "-- SELECT --")
"""What spreadsheets and forms leave where a value is missing."""

LARGE_AMOUNT = 100_000_000
"""US dollars above which a single payment deserves a look; the largest known real one is 90 million."""


class Severity(StrEnum):
    """What happens to a row that breaks a rule."""

    QUARANTINE = "quarantine"
    WARN = "warn"


@dataclass(frozen=True)
class PartitionFacts:
    """What a rule may know beyond the row: its partition, release and layout."""

    dataset: Dataset
    program_year: int
    release: date
    layout_columns: frozenset[str]


@dataclass(frozen=True)
class Rule:
    """A named predicate with a severity and a reason."""

    code: str
    name: str
    severity: Severity
    holds: Callable[[ir.Table, PartitionFacts], ir.BooleanValue]
    why: str
    datasets: tuple[Dataset, ...] = tuple(Dataset)
    needs: tuple[str, ...] = ()
    """Columns the layout must have for the rule to be asked."""
    columns: tuple[str, ...] = ()
    """Columns whose values a report shows; of several alike, those that are filled."""

    def applies(self, facts: PartitionFacts) -> bool:
        """Whether the rule can be asked of rows in this layout."""
        return facts.dataset in self.datasets and set(self.needs) <= facts.layout_columns


def text_of(column: str) -> str:
    """Name of the column that holds the original text of a typed column."""
    return f"{column}__text"


def _all(terms: Iterable[ir.BooleanValue]) -> ir.BooleanValue:
    return reduce(and_, terms)


def _any(terms: Iterable[ir.BooleanValue]) -> ir.BooleanValue:
    return reduce(or_, terms)


def _implies(condition: ir.BooleanValue, then: ir.BooleanValue) -> ir.BooleanValue:
    return ~condition.fill_null(False) | then.fill_null(False)


def one_of(value: ir.StringValue, allowed: Sequence[str]) -> ir.BooleanValue:
    """Whether a value is in a list, exactly; unknown when there is none.

    Not ``isin``: DuckDB turns a long IN list into a join, and thirty joins under a hundred
    columns cost more than the scan. This function it asks once per value of a dictionary; a
    pattern, for one, it asks per row.
    """
    # Of a missing value one engine says unknown, another says no.
    listed = ibis.array(list(allowed)).contains(value)
    return value.isnull().ifelse(ibis.null("boolean"), listed)


def _choices(values: Iterable[str]) -> str:
    return "|".join(re.sub(r"([^A-Za-z0-9 ,&/#'-])", r"[\1]", x) for x in values)


def _present(t: ir.Table, facts: PartitionFacts, names: Iterable[str]) -> list[ir.Value]:
    return [t[name] for name in names if name in facts.layout_columns]


# --- products and investigators: what a filled slot is -----------------------------------------

_PRODUCT_FIELDS = (
    "name_of_drug_or_biological_or_device_or_medical_supply_{n}",
    "covered_or_noncovered_indicator_{n}",
    "indicate_drug_or_biological_or_device_or_medical_supply_{n}",
    "product_category_or_therapeutic_area_{n}",
    "associated_drug_or_biological_ndc_{n}",
    "associated_device_or_medical_supply_pdi_{n}",
)
_LEGACY_DRUG_FIELDS = (
    "legacy_name_of_associated_covered_drug_or_biological_{n}",
    "legacy_ndc_of_associated_covered_drug_or_biological_{n}",
)
_LEGACY_DEVICE_FIELDS = ("legacy_name_of_associated_covered_device_or_medical_supply_{n}",)


@cache
def investigator_fields(slot: int) -> tuple[str, ...]:
    """Columns of one principal investigator slot, in every layout that has any."""
    prefixes = (f"principal_investigator_{slot}_", f"legacy_principal_investigator_{slot}_")
    return tuple(c.name for c in source_columns(Dataset.RESEARCH) if c.name.startswith(prefixes))


def filled(t: ir.Table, fields: Iterable[str]) -> ir.BooleanValue:
    """Whether any of the fields of a slot holds a value."""
    return _any(t[name].notnull() for name in fields)


def product_slots(facts_columns: frozenset[str]) -> list[tuple[int, tuple[str, ...]]]:
    """Slots of a layout with their fields: 1 to 5; in old layouts drugs 1 to 5, devices 6 to 10."""
    groups = ((0, _PRODUCT_FIELDS), (0, _LEGACY_DRUG_FIELDS), (5, _LEGACY_DEVICE_FIELDS))
    return [
        (offset + n, fields)
        for offset, templates in groups
        for n in PRODUCT_SLOTS
        if (fields := tuple(name for x in templates if (name := x.format(n=n)) in facts_columns))
    ]


def _contiguous(slots: list[ir.BooleanValue]) -> ir.BooleanValue:
    return _all(~later | earlier for earlier, later in pairwise(slots))


def _products_contiguous(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    slots = product_slots(facts.layout_columns)
    runs = ([f for n, f in slots if n <= 5], [f for n, f in slots if n > 5])
    return _all(_contiguous([filled(t, fields) for fields in run]) for run in runs if run)


def _investigators_contiguous(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    slots = [
        [f for f in investigator_fields(n) if f in facts.layout_columns] for n in INVESTIGATOR_SLOTS
    ]
    return _contiguous([filled(t, fields) for fields in slots])


def _any_product(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    return _any(filled(t, fields) for _, fields in product_slots(facts.layout_columns))


def _related_product_coherent(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    modern = "related_product_indicator" in facts.layout_columns
    said = t.related_product_indicator if modern else t.legacy_product_indicator
    some = _any_product(t, facts)
    yes = ("Yes",) if modern else ("Covered", "Combination")
    no = ("No",) if modern else ("None",)
    return _implies(one_of(said, yes), some) & _implies(one_of(said, no), ~some)


def is_placeholder(name: ir.StringValue) -> ir.BooleanValue:
    """Whether a product name says that no product is named, or has fewer than two letters."""
    words = _choices(x.lower() for x in allowed_values("product_placeholder"))
    return name.lower().re_search(rf"^({words}|[^a-z]*[a-z]?[^a-z]*)\z")


NDC_PATTERN = "^([0-9]{4}-[0-9]{4}-[0-9]{2}|[0-9]{5}-[0-9]{3}-[0-9]{2}|[0-9]{5}-[0-9]{4}-[0-9]{1,2}|[0-9]{10,11})\\z"


def is_ndc(code: ir.StringValue) -> ir.BooleanValue:
    """Whether a code is 4-4-2, 5-3-2, 5-4-1, 5-4-2 or 10 to 11 digits, and not all zeros."""
    return code.re_search(NDC_PATTERN) & code.re_search("[1-9]")


def _code_vs_kind(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    terms = []
    for n in PRODUCT_SLOTS:
        kind = t[_PRODUCT_FIELDS[2].format(n=n)]
        ndc = t[_PRODUCT_FIELDS[4].format(n=n)]
        terms.append(_implies(ndc.notnull(), one_of(kind, ("Drug", "Biological"))))
        if (pdi := _PRODUCT_FIELDS[5].format(n=n)) in facts.layout_columns:
            right_kind = one_of(kind, ("Device", "Medical Supply")) & (facts.program_year >= 2021)
            terms.append(_implies(t[pdi].notnull(), right_kind))
    return _all(terms)


# --- recipients ----------------------------------------------------------------------------------


def _recipient_shape(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    kind = t.covered_recipient_type
    hospital_columns = _present(
        t, facts, ("teaching_hospital_id", "teaching_hospital_ccn", "teaching_hospital_name")
    )
    hospital_ids = _present(t, facts, ("teaching_hospital_id", "teaching_hospital_ccn"))
    person = t.covered_recipient_profile_id.notnull() & _all(c.isnull() for c in hospital_columns)
    hospital = _all(c.notnull() for c in hospital_ids) & t.covered_recipient_profile_id.isnull()
    shapes = ((kind == PHYSICIAN) | (kind == PRACTITIONER)) & person | (kind == HOSPITAL) & hospital
    if facts.dataset is Dataset.RESEARCH:
        shapes = shapes | (kind == NONCOVERED_ENTITY) & t.noncovered_recipient_entity_name.notnull()
        shapes = shapes | (kind == "Non-covered Recipient Individual")
    return shapes.fill_null(False)


def is_npi(npi: ir.StringValue) -> ir.BooleanValue:
    """Whether a National Provider Identifier is ten digits, starts with 1 or 2 and checks (Luhn).

    A missing one is not wrong.

    The check digit is computed over the prefix 80840, which always adds 24:
    https://www.cms.gov/Regulations-and-Guidance/Administrative-Simplification/NationalProvIdentStand/Downloads/NPIcheckdigit.pdf
    """
    # Nothing here is conditional: what stands in a CASE, COALESCE, AND or OR is computed each time
    # that it is named, elsewhere once.
    number = npi.re_search("^[12][0-9]{9}\\z").ifelse(npi, ibis.null("string")).try_cast("int64")
    # Two digits at a time: twice the first, less 9 when that has two digits, and the second.
    pairs = [(number // 100**power) % 100 for power in range(5)]
    total = sum((x - 8 * (x // 10) - 9 * (x >= 50).cast("int64") for x in pairs), start=24)
    return (total % 10 == 0).identical_to(npi.isnull().ifelse(ibis.null("boolean"), True))


def _state_known(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    in_us = one_of(t.recipient_country.lower(), US_NAMES).fill_null(True)
    return ~in_us | one_of(t.recipient_state, allowed_values("us_state"))


US_NAMES = ("united states", "us", "usa")


def _countries_known(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    countries = [x.lower() for x in allowed_values("country")]
    company = t["applicable_manufacturer_or_applicable_gpo_making_payment_country"]
    return _all(one_of(c.lower(), countries) for c in (t.recipient_country, company))


def _specialty(dataset: Dataset) -> str:
    return (
        "physician_specialty" if dataset is Dataset.OWNERSHIP else "covered_recipient_specialty_1"
    )


def _specialty_known(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    groups = "|".join(allowed_values("taxonomy_group"))
    specialty = t[_specialty(facts.dataset)]
    usual = specialty.startswith("Allopathic & Osteopathic Physicians|")
    return usual.ifelse(True, specialty.re_search(f"^({groups})([|]|/ |\\z)"))


def _npi(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    ownership = facts.dataset is Dataset.OWNERSHIP
    return is_npi(t["physician_npi" if ownership else "covered_recipient_npi"])


def _investigator_npis(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    # The least of them, not AND: inside a condition an engine takes the number apart ten times.
    return ibis.least(*(is_npi(t[column]) for column in _INVESTIGATOR_NPIS))


def _investigator_types(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    kinds = (t[column] for column in _INVESTIGATOR_TYPES)
    return _all(one_of(kind, (PHYSICIAN, PRACTITIONER)) for kind in kinds)


_INVESTIGATOR_NPIS = tuple(f"principal_investigator_{n}_npi" for n in INVESTIGATOR_SLOTS)
_INVESTIGATOR_NAMES = tuple(
    f"{era}principal_investigator_{n}_{name}"
    for n in INVESTIGATOR_SLOTS
    for era, name in (("", "profile_id"), ("", "last_name"), ("legacy_", "full_name"))
)
_INVESTIGATOR_TYPES = tuple(
    f"principal_investigator_{n}_covered_recipient_type" for n in INVESTIGATOR_SLOTS
)


# --- payments ------------------------------------------------------------------------------------


def _money_is_exact(column: str) -> Callable[[ir.Table, PartitionFacts], ir.BooleanValue]:
    return lambda t, _: t[column].notnull()


def _value_in(column: str, name: str, by_year: bool = False) -> Callable[..., ir.BooleanValue]:
    def holds(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
        return one_of(t[column], allowed_values(name, facts.program_year if by_year else None))

    return holds


def _indicators_known(t: ir.Table, facts: PartitionFacts) -> ir.BooleanValue:
    skipped = {
        "change_type",
        "covered_recipient_type",
        "nature_of_payment",
        "form_of_payment",
        "no_only",
        "interest_holder",
    }
    columns = [
        c
        for c in source_columns(facts.dataset)
        if c.values
        and c.values not in skipped
        and c.name in facts.layout_columns
        and c.name != "dispute_status_for_publication"
        and not c.name.startswith("principal_investigator")
    ]
    return _all(one_of(t[c.name], allowed_values(c.values)) for c in columns)


def _no_debris(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    """Look for it in the joined text, one scan for all columns; the pattern only where needed."""
    joined = t[JOINED]
    inside = _any(joined.contains(x) for x in DEBRIS_WORDS)
    possible = _any(joined.contains(x) for x in ("'", '"', "\t"))
    leading = possible.ifelse(joined.re_search(f"{FIELD_SEPARATOR}['\t\"]"), False)
    return ~(inside | leading)


def _travel_only(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    travels = _any(c.notnull() for c in (t.city_of_travel, t.state_of_travel, t.country_of_travel))
    return _implies(travels, t.nature_of_payment_or_transfer_of_value == TRAVEL)


def _third_party_coherent(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    who = t.third_party_payment_recipient_indicator
    name = t.name_of_third_party_entity_receiving_payment_or_transfer_of_value
    covered = t.third_party_equals_covered_recipient_indicator
    nobody = who == "No Third Party Payment"
    return _implies(who == "Entity", name.notnull()) & _implies(
        nobody, name.isnull() & covered.isnull()
    )


def _space_rental(t: ir.Table, _: PartitionFacts) -> ir.BooleanValue:
    rental = t.nature_of_payment_or_transfer_of_value.startswith("Space rental or facility fees")
    return _implies(rental, t.covered_recipient_type == HOSPITAL)


def _of_slots(*templates: str) -> tuple[str, ...]:
    return tuple(template.format(n=n) for n in PRODUCT_SLOTS for template in templates)


_NAMES = _of_slots(_PRODUCT_FIELDS[0], _LEGACY_DRUG_FIELDS[0], _LEGACY_DEVICE_FIELDS[0])
_NDCS = _of_slots(_PRODUCT_FIELDS[4], _LEGACY_DRUG_FIELDS[1])
_PAYMENTS = (Dataset.GENERAL, Dataset.RESEARCH)
_GENERAL = (Dataset.GENERAL,)
_RESEARCH = (Dataset.RESEARCH,)
_OWNERSHIP = (Dataset.OWNERSHIP,)
_Q, _W = Severity.QUARANTINE, Severity.WARN
_NATURE = "nature_of_payment_or_transfer_of_value"
_FORM = "form_of_payment_or_transfer_of_value"
_DATE = "date_of_payment"
_COUNT = "number_of_payments_included_in_total_amount"

# fmt: off
RULES: tuple[Rule, ...] = (
    Rule("R01", "record_id_valid", _Q, lambda t, _: t.record_id.notnull() & t.record_id.re_search("^[0-9]{1,38}\\z"),
         "The only key of a record; CMS allows up to 38 digits.", columns=("record_id",)),
    Rule("R01", "record_id_unique", _Q, lambda t, _: t[COPIES] <= 1,
         "Unique within dataset and program year in every file seen; which of two copies is right cannot be told.", columns=("record_id",)),
    Rule("F08", "program_year_matches", _Q, lambda t, f: (t.program_year == f.program_year).fill_null(False),
         "A file holds one program year; a row of another year is in the wrong file.", columns=("program_year",)),
    Rule("X01", "change_type_known", _Q, _value_in("change_type", "change_type"),
         "NEW, ADD, CHANGED or UNCHANGED; anything else is a shifted or damaged row.", needs=("change_type",), columns=("change_type",)),
    Rule("R02", "amount_valid", _Q, _money_is_exact("amount"),
         "Digits with at most two decimals; exponents are spreadsheet damage and have lost digits.", columns=("amount",)),
    Rule("R02", "value_of_interest_valid", _Q, _money_is_exact("value_of_interest"),
         "The second measure of ownership, and the one CMS headlines use.", datasets=_OWNERSHIP, columns=("value_of_interest",)),
    Rule("R03", "number_of_payments_valid", _Q, lambda t, _: t[_COUNT].notnull(),
         "A whole number that is not negative.", datasets=_GENERAL, columns=(_COUNT,)),
    Rule("R04", "date_of_payment_valid", _Q, lambda t, _: t[_DATE].notnull(),
         "MM/DD/YYYY and a real day; M/D/YYYY is a sign of a spreadsheet in between.", datasets=_PAYMENTS, columns=(_DATE,)),
    Rule("R04", "date_of_payment_plausible", _Q, lambda t, f: (t[_DATE] >= FIRST_DAY) & (t[_DATE] <= f.release),
         "CMS files hold dates such as 11/30/0002; nothing precedes the programme or follows its publication.", datasets=_PAYMENTS, columns=(_DATE,)),
    Rule("R06", "recipient_shape", _Q, _recipient_shape,
         "A clinician has a profile and no hospital, a hospital its ids and no profile, a non-covered entity a name.",
         datasets=_PAYMENTS, columns=("covered_recipient_type", "covered_recipient_profile_id", "teaching_hospital_id")),
    Rule("R06", "profile_id_valid", _Q, lambda t, _: t.physician_profile_id.notnull() & t.physician_profile_id.re_search("^[0-9]{1,38}\\z"),
         "An interest belongs to a physician's profile.", datasets=_OWNERSHIP, columns=("physician_profile_id",)),
    Rule("T05", "company_id_valid", _Q, lambda t, _: t[COMPANY_ID].notnull() & t[COMPANY_ID].re_search("^[0-9]{1,38}\\z"),
         "Twelve digits as a rule; 1E+11 is what a spreadsheet leaves of it.", columns=(COMPANY_ID,)),

    Rule("R02", "amount_not_zero", _W, lambda t, _: t.amount != 0,
         "Zero-dollar records exist and distort counts and averages.", datasets=_PAYMENTS, columns=("amount",)),
    Rule("R02", "amount_not_huge", _W, lambda t, _: t.amount <= LARGE_AMOUNT,
         "Above 100 million US dollars a slipped decimal is likelier than a payment.", columns=("amount",)),
    Rule("R03", "number_of_payments_not_zero", _W, lambda t, _: t[_COUNT] != 0,
         "Zero payments that add up to an amount.", datasets=_GENERAL, columns=(_COUNT,)),
    Rule("R05", "date_in_program_year", _W, lambda t, f: t[_DATE].year() == f.program_year,
         "565 payments of PY2015 are dated outside 2015 (OIG); they stay in the totals.", datasets=_PAYMENTS, columns=(_DATE,)),
    Rule("F09", "publication_date_matches", _W, lambda t, f: (t.payment_publication_date == f.release).fill_null(False),
         "One constant per file, the day in its name.", columns=("payment_publication_date",)),
    Rule("R07", RECIPIENT_NPI[Dataset.GENERAL], _W, _npi,
         "Ten digits, 1 or 2 first, Luhn with 80840; curated tables leave an invalid one empty.",
         needs=("covered_recipient_npi",), datasets=_PAYMENTS, columns=("covered_recipient_npi",)),
    Rule("R07", RECIPIENT_NPI[Dataset.OWNERSHIP], _W, _npi,
         "Ten digits, 1 or 2 first, Luhn with 80840.", needs=("physician_npi",), datasets=_OWNERSHIP, columns=("physician_npi",)),
    Rule("R07", "investigator_npis_valid", _W, _investigator_npis,
         "As the recipient's; curated investigators leave an invalid one empty.",
         needs=_INVESTIGATOR_NPIS, datasets=_RESEARCH, columns=_INVESTIGATOR_NPIS),
    Rule("R09", "state_known", _W, _state_known,
         "792 legacy rows carry something else than a state, territory or military code.", columns=("recipient_state",)),
    Rule("R10", "zip_valid", _W, lambda t, _: t.recipient_zip_code.re_search("^[0-9]{5}(-[0-9]{4})?\\z") & ~t.recipient_zip_code.startswith("00000"),
         "Five digits or five and four; '-' and 00000 occur.", columns=("recipient_zip_code",)),
    Rule("R11", "countries_known", _W, _countries_known,
         "A country name that no other record uses is a typing error.", columns=("recipient_country",)),
    Rule("R12", "nature_in_era", _W, _value_in(_NATURE, "nature_of_payment", by_year=True),
         "The list of natures changed in 2021; a nature outside its years is a wrong year or a new category.", datasets=_GENERAL, columns=(_NATURE,)),
    Rule("R13", "form_in_era", _W, _value_in(_FORM, "form_of_payment", by_year=True),
         "Stock was split in three from PY2016.", datasets=_PAYMENTS, columns=(_FORM,)),
    Rule("R13", "indicators_known", _W, _indicators_known,
         "Yes/No and short code lists; true/false means a database in between.", datasets=_PAYMENTS),
    Rule("R13", "investigator_types_known", _W, _investigator_types,
         "An investigator is a physician or a non-physician practitioner; curated ones leave anything else empty.",
         needs=_INVESTIGATOR_TYPES, datasets=_RESEARCH, columns=_INVESTIGATOR_TYPES),
    Rule("R14", "specialty_known", _W, _specialty_known,
         "A path through the provider taxonomy starts with one of its groups.", columns=("covered_recipient_specialty_1", "physician_specialty")),
    Rule("R15", "practitioner_in_era", _W, lambda t, f: (t.covered_recipient_type != PRACTITIONER) | (f.program_year >= 2021),
         "Non-physician practitioners are reported from PY2021.", datasets=_PAYMENTS, columns=("covered_recipient_type",)),
    Rule("R16", "product_slots_contiguous", _W, _products_contiguous,
         "A filled slot after an empty one is a shifted row or a lost product.", datasets=_PAYMENTS, columns=_NAMES),
    Rule("R16", "investigator_slots_contiguous", _W, _investigators_contiguous,
         "A filled slot after an empty one is a shifted row or a lost investigator.", datasets=_RESEARCH, columns=_INVESTIGATOR_NAMES),
    Rule("R17", "related_product_coherent", _W, _related_product_coherent,
         "Yes without a product, or No with one.", datasets=_PAYMENTS, columns=("related_product_indicator", "legacy_product_indicator", *_NAMES)),
    Rule("R18", "product_named", _W, lambda t, f: ~_any(is_placeholder(c).fill_null(False) for c in _present(t, f, _NAMES)),
         "At least 100,000 product names of PY2015 say nothing, such as 'no product specified' (OIG).", datasets=_PAYMENTS, columns=_NAMES),
    Rule("R19", "ndc_valid", _W, lambda t, f: _all(is_ndc(c) for c in _present(t, f, _NDCS)),
         "About 9% of the NDCs of PY2015 are not FDA codes (OIG); zeros and free text occur.", datasets=_PAYMENTS, columns=_NDCS),
    Rule("R20", "code_matches_kind", _W, _code_vs_kind,
         "NDCs belong to drugs and biologicals, device identifiers to devices and supplies from PY2021.",
         datasets=_PAYMENTS, needs=("related_product_indicator",), columns=_of_slots(_PRODUCT_FIELDS[2], *_PRODUCT_FIELDS[4:])),
    Rule("R21", "clinicaltrials_id_valid", _W, lambda t, _: t.clinicaltrials_gov_identifier.re_search("^NCT[0-9]{8}\\z"),
         "NCT and eight digits; ABC12345678 exists.", datasets=_RESEARCH, columns=("clinicaltrials_gov_identifier",)),
    Rule("R22", DEBRIS, _W, _no_debris,
         "#N/A, #REF!, -- SELECT --, and values that start with an apostrophe, a tab or a quote; curated tables are without."),
    Rule("R23", "travel_only_for_travel", _W, _travel_only,
         "Travel fields belong to travel and lodging.", datasets=_GENERAL, columns=("city_of_travel", "state_of_travel", _NATURE)),
    Rule("R24", "third_party_coherent", _W, _third_party_coherent,
         "An entity has a name; no third party has none. The second most frequent gap of PY2015 (OIG).",
         datasets=_GENERAL, columns=("third_party_payment_recipient_indicator",)),
    Rule("R25", "dispute_flag_known", _W, lambda t, _: one_of(t.dispute_status_for_publication, ("Yes", "No")).fill_null(False),
         "Yes or No; every mart shows disputes.", columns=("dispute_status_for_publication",)),
    Rule("R26", "delay_flag_is_no", _W, lambda t, _: (t.delay_in_publication_indicator == "No").fill_null(False),
         "Delayed records are withheld, so a published one says No.", datasets=_PAYMENTS, columns=("delay_in_publication_indicator",)),
    Rule("R27", "space_rental_to_hospital", _W, _space_rental,
         "The nature itself says: teaching hospital only.", datasets=_GENERAL, columns=(_NATURE, "covered_recipient_type")),
    Rule("R28", "interest_not_empty", _W, lambda t, _: (t.amount != 0) | (t.value_of_interest != 0),
         "Nothing invested and nothing held is no interest.", datasets=_OWNERSHIP, columns=("amount", "value_of_interest")),
    Rule("R28", "interest_holder_known", _W, _value_in("interest_held_by_physician_or_an_immediate_family_member", "interest_holder"),
         "The physician or an immediate family member.", datasets=_OWNERSHIP, columns=("interest_held_by_physician_or_an_immediate_family_member",)),
)
# fmt: on


def rules_for(facts: PartitionFacts, severity: Severity | None = None) -> list[Rule]:
    """Rules that apply to a partition in its layout, in order; of one severity when given."""
    return [rule for rule in RULES if rule.applies(facts) and severity in (None, rule.severity)]


def typed_columns(dataset: Dataset) -> list[Column]:
    """Columns of a dataset that are not text, so must be typed from it."""
    return [c for c in source_columns(dataset) if c.type is not ColumnType.TEXT]
