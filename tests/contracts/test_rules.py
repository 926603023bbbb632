"""Rules: each one is broken by a row that breaks nothing else, and the row ends where it must.

``BROKEN`` is the table: rule -> eras and the overrides that break it. The rows of an era are
staged together, once, on DuckDB, through a CMS file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import ibis
import pytest
from cms_files import (
    ALL_ERAS,
    CATEGORY,
    COMPANY,
    COVERED,
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
    entity,
    era,
    hospital,
)
from hypothesis import given
from hypothesis import strategies as st
from staged import StagedRow, Stager

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import allowed_values, source_columns
from openpay_assets.contracts.rules import (
    PRACTITIONER,
    RULES,
    TRAVEL,
    PartitionFacts,
    Severity,
    is_npi,
    one_of,
    rules_for,
)

G2, G3 = era("G2", 2015), era("G3")
G4, G4_NEW = era("G4"), era("G4", 2023)
R0, R1 = era("R0"), era("R1", 2014)
R4, R4_NEW = era("R4"), era("R4", 2023)
O1, O4 = era("O1"), era("O4")
EVERY_DATASET = (G4, R4, O4)
PAYMENTS = (G4, R4)

NATURE = "nature_of_payment_or_transfer_of_value"
FORM = "form_of_payment_or_transfer_of_value"
COUNT = "number_of_payments_included_in_total_amount"
THIRD = "third_party_payment_recipient_indicator"
THIRD_NAME = "name_of_third_party_entity_receiving_payment_or_transfer_of_value"
SPACE = "Space rental or facility fees (teaching hospital only)"


@dataclass(frozen=True)
class Case:
    """Rows of an era that break one rule and no other; several when it takes several."""

    rule: str
    era: Era
    rows: tuple[tuple[tuple[str, str | None], ...], ...]

    def __str__(self) -> str:
        values = ", ".join(repr(value) for _, value in self.rows[0][:2])
        return f"{self.rule}-{self.era}-{values}"[:90]


def _each(rule: str, eras: tuple[Era, ...], *rows: Row | list[Row]) -> Iterator[Case]:
    for at in eras:
        for row in rows:
            several = row if isinstance(row, list) else [row]
            yield Case(rule, at, tuple(tuple(x.items()) for x in several))


def _column(rule: str, eras: tuple[Era, ...], column: str, *values: str | None) -> Iterator[Case]:
    yield from _each(rule, eras, *({column: value} for value in values))


def _drug(n: int, **more: str | None) -> dict[str, str | None]:
    return {f"{NAME}_{n}": "Ozempic", f"{KIND}_{n}": "Drug", f"{COVERED}_{n}": "Covered", **more}


def _no_product(at: Era) -> dict[str, str | None]:
    prefixes = (f"{COVERED}_1", f"{KIND}_1", f"{CATEGORY}_1", f"{NAME}_1", f"{NDC}_1")
    legacy = (f"{LEGACY_DRUG}_1", f"{LEGACY_NDC}_1")
    return dict.fromkeys(x for x in (*prefixes, *legacy) if x in at.columns)


def _broken() -> Iterator[Case]:
    profile, npi = "covered_recipient_profile_id", "covered_recipient_npi"
    ids = ("12a", "-5", " 345", "1E+11", "1" * 39, "１２", "12\n", None)
    yield from _column("record_id_valid", EVERY_DATASET, "record_id", *ids)
    yield from _each("record_id_unique", EVERY_DATASET, [{"record_id": "777"}] * 2)
    yield from _each("record_id_unique", (O1,), [{"record_id": "888"}] * 3)
    years = ("1999", "16", "2016.0", "abcd", None)
    yield from _column("program_year_matches", EVERY_DATASET, "program_year", *years)
    changes = ("ADDED", "new", "DELETED", "Yes")
    yield from _column("change_type_known", EVERY_DATASET, "change_type", *changes)
    amounts = ("1E+05", "-1.00", "$5.00", "1,000.00", "1.234", ".50", "5.", "1" * 17, "abc", None)
    yield from _column("amount_valid", EVERY_DATASET, "amount", *amounts)
    yield from _column("value_of_interest_valid", (O4, O1), "value_of_interest", *amounts)
    counts = ("-1", "1.0", "one", "1" * 19, None)
    yield from _column("number_of_payments_valid", (G4, G2), COUNT, *counts)
    days = ("2/12/2016", "02/30/2016", "2016-02-12", "02/12/16", "13/01/2016", "01/01/0000", None)
    yield from _column("date_of_payment_valid", PAYMENTS, "date_of_payment", *days)
    days = ("11/30/0002", "07/31/2013", "07/01/2022", "01/01/2099")
    yield from _column("date_of_payment_plausible", PAYMENTS, "date_of_payment", *days)
    for at in PAYMENTS:
        yield from _each(
            "recipient_shape",
            (at,),
            {profile: None},
            {"teaching_hospital_id": "2001"},
            {"teaching_hospital_name": "Stanford Health Care"},
            {"covered_recipient_type": None},
            {"covered_recipient_type": "Physician"},
            hospital(at, teaching_hospital_ccn=None),
            hospital(at, teaching_hospital_id=None),
            hospital(at, covered_recipient_profile_id="132655"),
        )
    yield from _each("recipient_shape", (G2,), hospital(G2, teaching_hospital_id=None))
    nameless = entity(R4, noncovered_recipient_entity_name=None)
    yield from _each("recipient_shape", (R4,), nameless)
    foreign = {"covered_recipient_type": "Non-covered Recipient Entity"}
    yield from _each("recipient_shape", (G4,), foreign)
    ids = ("12a", "1E+05", "1" * 39, None)
    yield from _column("profile_id_valid", (O4, O1), "physician_profile_id", *ids)
    ids = ("1E+11", "100-3", "A100", None)
    yield from _column("company_id_valid", EVERY_DATASET, f"{COMPANY}_id", *ids)

    yield from _column("amount_not_zero", PAYMENTS, "amount", "0.00", "0")
    yield from _column("amount_not_huge", EVERY_DATASET, "amount", "100000000.01", "9" * 16)
    yield from _column("number_of_payments_not_zero", (G4, G3), COUNT, "0", "000")
    days = ("12/31/2015", "01/01/2017")
    yield from _column("date_in_program_year", PAYMENTS, "date_of_payment", *days)
    days = ("06/29/2022", "6/30/2022", "not a day", None)
    yield from _column("publication_date_matches", EVERY_DATASET, "payment_publication_date", *days)
    bad_npis = ("042697983", "1234567890", "3234567893", "12345678930", "123456789X", "0000000000")
    yield from _column("npi_valid", PAYMENTS, npi, *bad_npis)
    yield from _column("physician_npi_valid", (O4,), "physician_npi", *bad_npis)
    for slot in (1, 2):
        who = f"principal_investigator_{slot}"
        yield from _column("investigator_npis_valid", (R4,), f"{who}_npi", *bad_npis)
        kinds = ("Physician", "Covered Recipient Teaching Hospital", "true")
        kind = f"{who}_covered_recipient_type"
        yield from _column("investigator_types_known", (R4,), kind, *kinds)
    states = ("0R", "XX", "ca", "California", "C")
    yield from _column("state_known", EVERY_DATASET, "recipient_state", *states)
    in_us = ({"recipient_country": c, "recipient_state": "ZZ"} for c in ("US", "usa", None))
    yield from _each("state_known", (G4,), *in_us)
    zips = ("-", "00000", "00000-1234", "9212", "92123-12", "921231234", "92123 ", "K1A 0B1")
    yield from _column("zip_valid", EVERY_DATASET, "recipient_zip_code", *zips)
    countries = ("Unted States", "Kanada", "XX")
    yield from _column("countries_known", EVERY_DATASET, "recipient_country", *countries)
    yield from _column("countries_known", EVERY_DATASET, f"{COMPANY}_country", *countries)
    natures = ("Debt forgiveness", "Acquisitions", "consulting fee", "A brand new nature")
    yield from _column("nature_in_era", (G4, G3), NATURE, *natures)
    accredited = next(x for x in allowed_values("nature_of_payment") if "noncertified" in x)
    ended = "Current or prospective ownership or investment interest"
    yield from _column("nature_in_era", (G4_NEW,), NATURE, accredited, ended)
    any_interest = "Stock, stock option, or any other ownership interest"
    yield from _column("form_in_era", PAYMENTS, FORM, any_interest, "Barter")
    yield from _column("form_in_era", (G2, R1), FORM, "Stock option", "Barter")
    yield from _each(
        "indicators_known",
        PAYMENTS,
        {f"{COVERED}_1": "true"},
        {f"{COVERED}_1": "1"},
        {f"{KIND}_1": "#1", f"{NDC}_1": None},
        {"related_product_indicator": "true"},
    )
    indicators = ("physician_ownership_indicator", "charity_indicator")
    yield from _each("indicators_known", (G4,), *({x: "false"} for x in indicators))
    yield from _column("indicators_known", (G4,), THIRD, "Nobody")
    research = ("preclinical_research_indicator", "expenditure_category6")
    yield from _each("indicators_known", (R4,), *({x: "true"} for x in research))
    yield from _column("indicators_known", (G2, R1), "legacy_product_indicator", "Yes")
    specialties = ("Radiology", "Physician|Radiology", "allopathic & osteopathic physicians|X")
    specialty = "covered_recipient_specialty_1"
    yield from _column("specialty_known", (*PAYMENTS, G2, R1), specialty, *specialties)
    yield from _column("specialty_known", (O4, O1), "physician_specialty", *specialties)
    yield from _column("practitioner_in_era", PAYMENTS, "covered_recipient_type", PRACTITIONER)
    gaps = (
        _drug(3),
        _drug(5),
        _drug(2) | _drug(4),
        {f"{NDC}_3": "0002-1433-80", f"{KIND}_3": "Drug"},
    )
    yield from _each("product_slots_contiguous", PAYMENTS, *gaps)
    yield from _each(
        "product_slots_contiguous",
        (G2, R1),
        {f"{LEGACY_DRUG}_3": "Ozempic"},
        {f"{LEGACY_DEVICE}_2": "Stent"},
        {f"{LEGACY_DEVICE}_1": "Stent", f"{LEGACY_DEVICE}_5": "Stent"},
    )
    yield from _each(
        "investigator_slots_contiguous",
        (R4, R1),
        {"principal_investigator_3_last_name": "BOHR"},
        {"principal_investigator_5_city": "Iowa City"},
        {"principal_investigator_4_profile_id": "5004"},
    )
    late = {"legacy_principal_investigator_3_full_name": "Niels Bohr"}
    yield from _each("investigator_slots_contiguous", (R0,), late)
    for at in PAYMENTS:
        yield from _each(
            "related_product_coherent", (at,), {"related_product_indicator": "No"}, _no_product(at)
        )
    for at in (G2, R1):
        says = "legacy_product_indicator"
        yield from _each(
            "related_product_coherent",
            (at,),
            {says: "None"},
            _no_product(at),
            _no_product(at) | {says: "Combination"},
        )
    vague = ("no product specified", "N/A", "None", "VARIOUS", "na", "-", "7", "X1", "12345")
    yield from _column("product_named", PAYMENTS, f"{NAME}_1", *vague)
    yield from _each("product_named", (G4,), _drug(2) | {f"{NAME}_2": "Unknown"})
    yield from _column("product_named", (G2, R1), f"{LEGACY_DRUG}_1", *vague)
    yield from _column("product_named", (G2, R1), f"{LEGACY_DEVICE}_1", "not specified")
    codes = ("00000-000-00", "0000000000", "123", "0002-1433-8", "ABCD-1433-80", "00002-1433-800")
    yield from _column("ndc_valid", PAYMENTS, f"{NDC}_1", *codes)
    yield from _each("ndc_valid", PAYMENTS, _drug(2, **{f"{NDC}_2": "N-A"}))
    yield from _column("ndc_valid", (G2, R1), f"{LEGACY_NDC}_1", *codes)
    device = {f"{KIND}_1": "Device", f"{NDC}_1": None, f"{PDI}_1": "00370858000041"}
    yield from _each(
        "code_matches_kind",
        PAYMENTS,
        {f"{KIND}_1": "Device"},
        {f"{KIND}_1": "Medical Supply"},
        {f"{KIND}_1": None},
        device,
    )
    yield from _each("code_matches_kind", (G4_NEW, R4_NEW), {f"{PDI}_1": "00370858000041"})
    yield from _column("code_matches_kind", (G3,), f"{KIND}_1", "Device")
    trials = ("ABC12345678", "NCT123", "nct01234567", "NCT012345678")
    yield from _column(
        "clinicaltrials_id_valid", (R4, R1), "clinicaltrials_gov_identifier", *trials
    )
    debris = (
        {"covered_recipient_name_suffix": "#N/A"},
        {"recipient_city": "#REF!"},
        {"recipient_city": "-- SELECT --"},
        {"covered_recipient_first_name": "'DAVID"},
        {"covered_recipient_first_name": '"TRAVIS"'},
        {"recipient_primary_business_street_address_line1": "\t12 Main Street"},
        {f"{CATEGORY}_1": "#N/A"},
    )
    yield from _each("no_spreadsheet_debris", PAYMENTS, *debris)
    of_owner = {"physician_name_suffix": "#N/A"}, {"physician_first_name": "'DAVID"}
    yield from _each("no_spreadsheet_debris", (O4, O1), *of_owner)
    apostrophe = device | {f"{PDI}_1": "'00370858000041"}
    yield from _each("no_spreadsheet_debris", (G4_NEW,), apostrophe)
    travels = (
        {"city_of_travel": "Paris"},
        {"state_of_travel": "CA"},
        {"country_of_travel": "France"},
    )
    yield from _each("travel_only_for_travel", (G4, G2), *travels)
    yield from _each("travel_only_for_travel", (G4,), {"city_of_travel": "Paris", NATURE: None})
    yield from _each(
        "third_party_coherent",
        (G4, G2),
        {THIRD: "Entity"},
        {THIRD_NAME: "A Charity"},
        {"third_party_equals_covered_recipient_indicator": "No"},
    )
    disputes = ("Disputed", "true", "no", None)
    yield from _column(
        "dispute_flag_known", EVERY_DATASET, "dispute_status_for_publication", *disputes
    )
    delays = ("Yes", "no", None)
    yield from _column("delay_flag_is_no", PAYMENTS, "delay_in_publication_indicator", *delays)
    yield from _column("space_rental_to_hospital", (G4, G4_NEW), NATURE, SPACE)
    unspaced = "Space rental or facility fees(teaching hospital only)"
    yield from _column("space_rental_to_hospital", (G4,), NATURE, unspaced)
    yield from _each("interest_not_empty", (O4, O1), {"amount": "0.00", "value_of_interest": "0"})
    holders = ("Physician", "Spouse", "immediate family member")
    holder = "interest_held_by_physician_or_an_immediate_family_member"
    yield from _column("interest_holder_known", (O4, O1), holder, *holders)


def _sound() -> Iterator[Case]:
    """Rows that look odd and break nothing: where each rule stops."""
    yield from _column("record_id_valid", EVERY_DATASET, "record_id", "7", "9" * 38)
    yield from _column("change_type_known", EVERY_DATASET, "change_type", "ADD", "UNCHANGED", None)
    amounts = ("0.01", "5", "5.1", "100000000.00")
    yield from _column("amount_valid", PAYMENTS, "amount", *amounts)
    yield from _column("value_of_interest_valid", (O4,), "value_of_interest", *amounts, "9" * 16)
    first, last = "08/01/2013", "12/31/2013"
    yield from _column("date_of_payment_plausible", (R0, era("G0")), "date_of_payment", first, last)
    for at in (G4, R4, G2, R1):
        yield from _each("recipient_shape", (at,), hospital(at))
    anyone = {"covered_recipient_type": "Non-covered Recipient Individual"}
    for at in (R4, R1):
        yield from _each("recipient_shape", (at,), entity(at) | anyone, entity(at))
    yield from _column(
        "practitioner_in_era", (G4_NEW, R4_NEW), "covered_recipient_type", PRACTITIONER
    )
    yield from _column("npi_valid", PAYMENTS, "covered_recipient_npi", NPI, "1245319599", None)
    who = "principal_investigator_1"
    yield from _column("investigator_npis_valid", (R4,), f"{who}_npi", NPI, None)
    kinds = ("Covered Recipient Physician", PRACTITIONER, None)
    kind = f"{who}_covered_recipient_type"
    yield from _column("investigator_types_known", (R4, R4_NEW), kind, *kinds)
    states = ("PR", "AE", "FM", "UM", "DC", None)
    yield from _column("state_known", EVERY_DATASET, "recipient_state", *states)
    abroad = {
        "recipient_country": "Canada",
        "recipient_state": "Ontario",
        "recipient_zip_code": None,
    }
    yield from _each("state_known", EVERY_DATASET, abroad)
    yield from _column("zip_valid", EVERY_DATASET, "recipient_zip_code", "92123", "00501", None)
    countries = ("united states", "US", "KOREA (SOUTH)", "Great Britain (Uk)", None)
    yield from _column("countries_known", EVERY_DATASET, f"{COMPANY}_country", *countries)
    yield from _column("nature_in_era", (G4_NEW,), NATURE, "Debt forgiveness", None)
    group = "Physician Assistants & Advanced Practice Nursing Providers"
    specialty = "covered_recipient_specialty_1"
    yield from _column("specialty_known", PAYMENTS, specialty, group, f"{group}|Nurse", None)
    yield from _each(
        "product_slots_contiguous", PAYMENTS, _drug(2) | _drug(3) | _drug(4) | _drug(5)
    )
    device_first = {f"{LEGACY_DEVICE}_1": "Stent", "legacy_product_indicator": "Combination"}
    yield from _each("product_slots_contiguous", (G2, R1), device_first)
    for at in PAYMENTS:
        nothing = _no_product(at) | {"related_product_indicator": "No"}
        yield from _each("related_product_coherent", (at,), nothing)
    yield from _column("product_named", PAYMENTS, f"{NAME}_1", "Q1 AB", "Advil")
    codes = (
        "0002-1433-80",
        "50242-040-62",
        "50242-0040-6",
        "50242-0040-62",
        "0002143380",
        "00002143380",
    )
    yield from _column("ndc_valid", PAYMENTS, f"{NDC}_1", *codes, None)
    device = {f"{KIND}_1": "Device", f"{NDC}_1": None, f"{PDI}_1": "00370858000041"}
    yield from _each("code_matches_kind", (G4_NEW, R4_NEW), device)
    yield from _column("clinicaltrials_id_valid", (R4,), "clinicaltrials_gov_identifier", None)
    quoting = {"covered_recipient_last_name": "O'BRIEN"}, {"recipient_city": 'The "Hague"'}
    yield from _each("no_spreadsheet_debris", PAYMENTS, *quoting)
    trip = {NATURE: TRAVEL, "city_of_travel": "Paris", "country_of_travel": "France"}
    yield from _each("travel_only_for_travel", (G4,), trip)
    yield from _each("third_party_coherent", (G4,), {THIRD: "Entity", THIRD_NAME: "A Charity"})
    yield from _column("third_party_coherent", (G4,), THIRD, "Individual", None)
    yield from _column("dispute_flag_known", EVERY_DATASET, "dispute_status_for_publication", "Yes")
    yield from _each("space_rental_to_hospital", (G4,), hospital(G4) | {NATURE: SPACE})
    yield from _column("interest_not_empty", (O4,), "value_of_interest", "0.01")


BROKEN, SOUND = tuple(_broken()), tuple(_sound())
SEVERITIES = {rule.name: rule.severity for rule in RULES}


@pytest.fixture(scope="module")
def found(stager: Stager) -> dict[Case, list[StagedRow]]:
    """Every case of both tables, staged: the rows of an era in one file."""
    cases_of: dict[Era, list[Case]] = defaultdict(list)
    for case in dict.fromkeys((*BROKEN, *SOUND)):
        cases_of[case.era].append(case)
    results: dict[Case, list[StagedRow]] = {}
    for at, cases in cases_of.items():
        overrides = [dict(row) for case in cases for row in case.rows]
        staged = iter(stager.stage_each(at, overrides))
        for case in cases:
            results[case] = [next(staged) for _ in case.rows]
    return results


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_row_that_breaks_a_rule_ends_where_it_must_for_that_reason_alone(
    case: Case, found: dict[Case, list[StagedRow]]
) -> None:
    set_aside = SEVERITIES[case.rule] is Severity.QUARANTINE
    for row in found[case]:
        assert (row["quarantined"], row["warnings"]) == (set_aside, [case.rule])


@pytest.mark.parametrize("case", SOUND, ids=str)
def test_a_row_at_the_edge_of_a_rule_is_accepted_without_a_word(
    case: Case, found: dict[Case, list[StagedRow]]
) -> None:
    for row in found[case]:
        assert (row["quarantined"], row["warnings"]) == (False, [])


def test_every_rule_is_broken_in_every_dataset_it_applies_to() -> None:
    covered = {(case.rule, case.era.dataset) for case in BROKEN}
    asked = {(rule.name, dataset) for rule in RULES for dataset in rule.datasets}
    assert asked == covered, "give each rule a row in BROKEN that breaks it"


def test_every_rule_has_its_own_name_and_says_why() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.why and rule.code for rule in RULES)


@pytest.mark.parametrize("at", ALL_ERAS, ids=str)
def test_a_clean_row_of_every_layout_breaks_nothing(at: Era, stager: Stager) -> None:
    kinds: list[Row] = [{}]
    if at.dataset is not Dataset.OWNERSHIP:
        kinds.append(hospital(at))
    if at.dataset is Dataset.RESEARCH:
        kinds.append(entity(at))
    for row in stager.stage_each(at, kinds):
        assert (row["quarantined"], row["warnings"]) == (False, [])


WHEN_EMPTY = {
    "payment_publication_date": "publication_date_matches",
    "dispute_status_for_publication": "dispute_flag_known",
    "delay_in_publication_indicator": "delay_flag_is_no",
    "covered_recipient_profile_id": "recipient_shape",
    f"{KIND}_1": "code_matches_kind",
}
"""Optional columns of which emptiness itself breaks a rule."""


@pytest.mark.parametrize("at", EVERY_DATASET, ids=str)
def test_an_optional_column_left_empty_warns_of_nothing(at: Era, stager: Stager) -> None:
    optional = [c.name for c in source_columns(at.dataset) if not c.required]
    columns = [name for name in optional if name in at.columns]
    staged = stager.stage_each(at, [{name: None} for name in columns])
    said = {name: row["warnings"] for name, row in zip(columns, staged, strict=True)}
    expected = {name: [WHEN_EMPTY[name]] if name in WHEN_EMPTY else [] for name in columns}
    assert said == expected


@pytest.mark.parametrize("at", EVERY_DATASET, ids=str)
def test_a_required_column_left_empty_sets_the_row_aside(at: Era, stager: Stager) -> None:
    required = [c.name for c in source_columns(at.dataset) if c.required]
    for name, row in zip(
        required, stager.stage_each(at, [{name: None} for name in required]), strict=True
    ):
        assert row["quarantined"], name


def test_a_row_that_breaks_several_rules_says_all_of_one_severity_in_order(stager: Stager) -> None:
    [warned, aside] = stager.stage_each(
        G4,
        [
            {"amount": "0.00", "recipient_state": "0R", "recipient_zip_code": "-"},
            {"amount": "1E+05", f"{COMPANY}_id": "1E+11", "recipient_state": "0R"},
        ],
    )
    assert warned["warnings"] == ["amount_not_zero", "state_known", "zip_valid"]
    assert aside["warnings"] == ["amount_valid", "company_id_valid"]


def test_a_rule_is_not_asked_of_a_layout_that_lacks_its_columns() -> None:
    def asked(at: Era) -> set[str]:
        return {rule.name for rule in rules_for(at.facts)}

    assert "change_type_known" not in asked(era("G1"))
    assert "npi_valid" not in asked(G3)
    assert "npi_valid" in asked(era("G2n"))
    assert "code_matches_kind" not in asked(G2)
    assert "physician_npi_valid" not in asked(O1)


def test_rules_can_be_asked_of_one_severity() -> None:
    facts = PartitionFacts(Dataset.OWNERSHIP, 2016, date(2022, 6, 30), O4.columns)
    both = rules_for(facts)
    aside, warned = (rules_for(facts, severity) for severity in Severity)
    assert {x.name for x in aside} | {x.name for x in warned} == {x.name for x in both}
    assert {x.severity for x in aside} == {Severity.QUARANTINE}
    assert {x.severity for x in warned} == {Severity.WARN}


@given(st.integers(100_000_000, 299_999_999))
def test_of_ten_last_digits_exactly_the_luhn_one_makes_an_npi(prefix: int) -> None:
    candidates = [f"{prefix}{digit}" for digit in range(10)]
    valid = _valid_npis(candidates)
    expected = [x for x in candidates if _luhn(f"80840{x}")]
    assert valid == expected
    assert len(valid) == 1


@given(st.lists(st.text("0123456789 -x", max_size=12), min_size=1, max_size=20))
def test_what_is_not_ten_digits_is_no_npi(texts: list[str]) -> None:
    expected = [
        x for x in texts if len(x) == 10 and x.isdigit() and x[0] in "12" and _luhn(f"80840{x}")
    ]
    assert _valid_npis(texts) == expected


def _valid_npis(texts: list[str]) -> list[str]:
    t = ibis.memtable(
        {"npi": texts, "n": list(range(len(texts)))}, schema={"npi": "string", "n": "int64"}
    )
    rows = t.filter(is_npi(t.npi)).order_by("n").to_pyarrow()
    return [str(x) for x in rows["npi"].to_pylist()]


def _luhn(digits: str) -> bool:
    """Check a number by ISO/IEC 7812-1, doubling every second digit from the right."""
    doubled = [int(x) * (2 if n % 2 else 1) for n, x in enumerate(reversed(digits))]
    return sum(x - 9 if x > 9 else x for x in doubled) % 10 == 0


@pytest.mark.parametrize("name", sorted({"us_state", "country", "nature_of_payment", "yes_no"}))
def test_a_list_of_values_holds_exactly_its_values_whatever_characters_they_have(name: str) -> None:
    values = list(allowed_values(name))
    near = [x + " " for x in values] + [x[:-1] for x in values] + [f"{x}|{x}" for x in values]
    candidates = values + [x for x in near if x not in values]
    t = ibis.memtable({"v": candidates})
    inside = t.filter(one_of(t.v, values)).to_pyarrow()["v"].to_pylist()
    assert sorted(inside) == sorted(values)


def test_whether_a_missing_value_is_in_a_list_is_unknown() -> None:
    t = ibis.memtable({"v": ["Yes", "No", None]}, schema={"v": "string"})
    asked = t.select(is_yes=one_of(t.v, ["Yes"]), v=t.v).to_pyarrow().to_pylist()
    assert {x["v"]: x["is_yes"] for x in asked} == {"Yes": True, "No": False, None: None}
