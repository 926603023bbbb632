"""CMS files for tests: valid rows of any dataset and layout, in which a test breaks one thing.

A row is a mapping of canonical column to text; ``None`` is an empty field. ``clean_row`` breaks
no rule of its partition. Files are written the way CMS writes them: header bare, text quoted
when not empty, money bare.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from openpay_assets.cms.names import CODES
from openpay_assets.contracts.model import Dataset, Layout
from openpay_assets.contracts.registry import layouts
from openpay_assets.contracts.rules import HOSPITAL, NONCOVERED_ENTITY, PHYSICIAN, PartitionFacts
from openpay_assets.transforms.stage import StagingInput

Row = Mapping[str, str | None]

MONEY = frozenset({"amount", "value_of_interest"})
NPI = "1234567893"
"""The example of CMS's own description of the check digit."""

COMPANY = "applicable_manufacturer_or_applicable_gpo_making_payment"
KIND = "indicate_drug_or_biological_or_device_or_medical_supply"
NAME = "name_of_drug_or_biological_or_device_or_medical_supply"
COVERED = "covered_or_noncovered_indicator"
CATEGORY = "product_category_or_therapeutic_area"
NDC = "associated_drug_or_biological_ndc"
PDI = "associated_device_or_medical_supply_pdi"
LEGACY_DRUG = "legacy_name_of_associated_covered_drug_or_biological"
LEGACY_NDC = "legacy_ndc_of_associated_covered_drug_or_biological"
LEGACY_DEVICE = "legacy_name_of_associated_covered_device_or_medical_supply"

ANY_PERSON = (
    "covered_recipient_profile_id",
    "covered_recipient_npi",
    "covered_recipient_first_name",
    "covered_recipient_last_name",
    "covered_recipient_primary_type_1",
    "covered_recipient_specialty_1",
    "covered_recipient_license_state_code1",
)


@dataclass(frozen=True)
class Era:
    """A layout at a program year and release that CMS published in it."""

    layout: Layout
    program_year: int
    release: date

    def __str__(self) -> str:
        return f"{self.layout.name}-{self.program_year}"

    @property
    def dataset(self) -> Dataset:
        return self.layout.dataset

    @property
    def columns(self) -> frozenset[str]:
        """Canonical columns of the layout."""
        return frozenset(self.layout.source_of)

    @property
    def facts(self) -> PartitionFacts:
        return PartitionFacts(self.dataset, self.program_year, self.release, self.columns)

    @property
    def file_name(self) -> str:
        """The name CMS gives such a file, in the generation of names of its release."""
        code, stamp = CODES[self.dataset], f"{self.release:%m%d%Y}"
        if self.release.year == 2014:
            return f"OPPR_ALL_DTL_{code}_{stamp}.csv"
        return f"OP_DTL_{code}_PGYR{self.program_year}_P{stamp}.csv"

    def staging_input(self, run_id: str = "test-run") -> StagingInput:
        return StagingInput(self.facts, self.layout, self.file_name, run_id)


def era(layout: str, program_year: int | None = None, release: str | None = None) -> Era:
    """Return a layout by name, by default at its first program year and release."""
    [found] = [x for dataset in Dataset for x in layouts(dataset) if x.name == layout]
    year = program_year or found.first_program_year
    earliest = max(found.first_release, f"{year + 1}-06-30")
    day = release or min(earliest, found.last_release or earliest)
    assert found.covers(year, day), f"{layout} was not used for {year} at {day}"
    return Era(found, year, date.fromisoformat(day))


ALL_ERAS = tuple(era(layout.name) for dataset in Dataset for layout in layouts(dataset))


def clean_row(at: Era, number: int = 1, overrides: Row | None = None) -> dict[str, str | None]:
    """Return a row that no rule has anything against, changed as a test wants it.

    Columns that the layout lacks are left out; an override of one is a mistake of the test.
    """
    everything = {**_shared(at, number), **_OF[at.dataset](at, number)}
    row = {name: everything.get(name) for name in at.layout.source_of}
    unknown = set(overrides or {}) - set(row)
    assert not unknown, f"{at.layout.name} has no {', '.join(sorted(unknown))}"
    return {**row, **(overrides or {})}


def hospital(at: Era, **overrides: str | None) -> dict[str, str | None]:
    """Overrides that make the recipient a teaching hospital."""
    row: dict[str, str | None] = dict.fromkeys(ANY_PERSON)
    row |= {
        "covered_recipient_type": HOSPITAL,
        "teaching_hospital_ccn": "050441",
        "teaching_hospital_id": "2001",
        "teaching_hospital_name": "Stanford Health Care",
    }
    return {k: v for k, v in row.items() if k in at.columns} | overrides


def entity(at: Era, **overrides: str | None) -> dict[str, str | None]:
    """Overrides that make the recipient of research an entity that is not covered."""
    row: dict[str, str | None] = dict.fromkeys(ANY_PERSON)
    row |= {
        "covered_recipient_type": NONCOVERED_ENTITY,
        "noncovered_recipient_entity_name": "Iowa Research Institute",
    }
    return {k: v for k, v in row.items() if k in at.columns} | overrides


def write_file(
    folder: Path,
    at: Era,
    rows: Iterable[Row],
    *,
    name: str | None = None,
    header: Sequence[str] | None = None,
) -> Path:
    """Write rows as CMS does; name and header are those of the era unless a test says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (name or at.file_name)
    lines = [",".join(header or at.layout.header)]
    lines += [csv_line(at, row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return path


def csv_line(at: Era, row: Row) -> str:
    """Write one record, without its line break."""
    return ",".join(_field(column, row[column]) for _, column in at.layout.columns)


def _field(column: str, value: str | None) -> str:
    if value is None or value == "":
        return ""
    if column in MONEY and not set(value) & set(',"\r\n'):
        return value
    return '"' + value.replace('"', '""') + '"'


def _shared(at: Era, number: int) -> dict[str, str | None]:
    return {
        "change_type": "NEW",
        "recipient_primary_business_street_address_line1": "8745 Aero Drive",
        "recipient_primary_business_street_address_line2": "Suite 200",
        "recipient_city": "San Diego",
        "recipient_state": "CA",
        "recipient_zip_code": "92123-1234",
        "recipient_country": "United States",
        "submitting_applicable_manufacturer_or_applicable_gpo_name": "DFINE, Inc",
        f"{COMPANY}_id": "100000000326",
        f"{COMPANY}_name": "DFINE, Inc",
        f"{COMPANY}_state": "CA",
        f"{COMPANY}_country": "United States",
        "amount": "90.87",
        "record_id": str(345_000_000 + number),
        "program_year": str(at.program_year),
        "payment_publication_date": f"{at.release:%m/%d/%Y}",
        "dispute_status_for_publication": "No",
    }


def _payment(at: Era, number: int) -> dict[str, str | None]:
    path = "Allopathic & Osteopathic Physicians|Radiology|Diagnostic Radiology"
    return {
        "covered_recipient_type": PHYSICIAN,
        "covered_recipient_profile_id": "132655",
        "covered_recipient_npi": NPI,
        "covered_recipient_first_name": "GREGG",
        "covered_recipient_middle_name": "D",
        "covered_recipient_last_name": "ALZATE",
        "covered_recipient_primary_type_1": "Medical Doctor",
        "covered_recipient_specialty_1": path.replace("|", "/ ")
        if is_before_june_2016(at)
        else path,
        "covered_recipient_license_state_code1": "CA",
        "date_of_payment": f"11/12/{at.program_year}",
        "form_of_payment_or_transfer_of_value": "Cash or cash equivalent",
        "delay_in_publication_indicator": "No",
        "related_product_indicator": "Yes",
        f"{COVERED}_1": "Covered",
        f"{KIND}_1": "Drug",
        f"{CATEGORY}_1": "Oncology",
        f"{NAME}_1": "Trulicity",
        f"{NDC}_1": "0002-1433-80",
        "legacy_product_indicator": "Covered",
        f"{LEGACY_DRUG}_1": "Trulicity",
        f"{LEGACY_NDC}_1": "0002-1433-80",
    }


def is_before_june_2016(at: Era) -> bool:
    """Whether CMS still delimited specialty paths by a slash and a blank."""
    return at.release < date(2016, 6, 30)


def _general(at: Era, number: int) -> dict[str, str | None]:
    return {
        **_payment(at, number),
        "number_of_payments_included_in_total_amount": "1",
        "nature_of_payment_or_transfer_of_value": "Consulting Fee",
        "physician_ownership_indicator": "No",
        "third_party_payment_recipient_indicator": "No Third Party Payment",
        "charity_indicator": "No",
        "contextual_information": "Advisory board",
    }


def _research(at: Era, number: int) -> dict[str, str | None]:
    return {
        **_payment(at, number),
        "expenditure_category1": "Patient Care",
        "preclinical_research_indicator": "No",
        "name_of_study": "A study of bones",
        "clinicaltrials_gov_identifier": "NCT01234567",
        "principal_investigator_1_covered_recipient_type": PHYSICIAN,
        "principal_investigator_1_profile_id": "5001",
        "principal_investigator_1_npi": NPI,
        "principal_investigator_1_first_name": "MARIA",
        "principal_investigator_1_last_name": "CURIE",
        "principal_investigator_1_city": "Iowa City",
        "principal_investigator_1_state": "IA",
        "principal_investigator_1_zip_code": "52242",
        "principal_investigator_1_country": "United States",
        "principal_investigator_1_primary_type_1": "Medical Doctor",
        "legacy_principal_investigator_1_full_name": "Maria Curie",
    }


def _ownership(at: Era, number: int) -> dict[str, str | None]:
    return {
        "physician_profile_id": "1156082",
        "physician_npi": NPI,
        "physician_first_name": "Dan",
        "physician_last_name": "Azagury",
        "physician_primary_type": "Medical Doctor",
        "physician_specialty": "Allopathic & Osteopathic Physicians|Surgery",
        "amount": "0.00",
        "value_of_interest": "330.00",
        "terms_of_interest": "Common Stock shareholder",
        "interest_held_by_physician_or_an_immediate_family_member": "Physician Covered Recipient",
    }


_OF = {
    Dataset.GENERAL: _general,
    Dataset.RESEARCH: _research,
    Dataset.OWNERSHIP: _ownership,
}
