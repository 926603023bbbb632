"""How an offending row is told: file, record, columns and values, as they stand in the file."""

from __future__ import annotations

from cms_files import clean_row, era

from openpay_assets.contracts.rules import RULES
from openpay_assets.orchestration.assets.staging import described
from openpay_assets.transforms.stage import StagingInput

AT = era("G4", 2023)
SOURCE = StagingInput(AT.facts, AT.layout, AT.file_name, "run")
RULE = {rule.name: rule for rule in RULES}
WHERE = f"{AT.file_name}, record 4 (Record_ID 7): "
NDC = "Associated_Drug_or_Biological_NDC"


def told(rule: str, originals: dict[str, str] | None = None, **values: str | None) -> str:
    row = clean_row(AT, 1, {"record_id": "7", **values})
    row = {**row, "source_row": 4, "source_values": originals}
    text = described(RULE[rule], row, SOURCE)
    assert text.startswith(WHERE)
    return text.removeprefix(WHERE)


def test_of_many_slots_those_that_are_filled_are_shown() -> None:
    codes = {f"associated_drug_or_biological_ndc_{n}": None for n in range(1, 6)}
    second = {"associated_drug_or_biological_ndc_2": "00000000000"}
    assert told("ndc_valid", **{**codes, **second}) == f"{NDC}_2 = '00000000000'"


def test_of_a_few_columns_the_empty_ones_are_shown_too() -> None:
    shown = told("travel_only_for_travel", city_of_travel="Rome", state_of_travel=None)
    assert "City_of_Travel = 'Rome', State_of_Travel = None, " in shown


def test_a_value_that_could_not_be_typed_is_shown_as_the_file_has_it() -> None:
    column = AT.layout.source_of["amount"]
    assert told("amount_valid", {column: "1E+05"}, amount=None) == f"{column} = '1E+05'"


def test_a_rule_over_the_whole_row_gives_its_reason() -> None:
    assert told("no_spreadsheet_debris") == RULE["no_spreadsheet_debris"].why
