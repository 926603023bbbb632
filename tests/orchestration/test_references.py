"""References: landed, checked and replaced as a whole, and what partitions are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from beside_files import Line, write_beside
from cms_files import COMPANY, NPI, era, hospital
from house import CURATED, QUARANTINE, RAW, REMOVED, STAGING, House

from openpay_assets.contracts.registry import REFERENCE_TABLES, curated_table
from openpay_assets.contracts.sql import scan_sql
from openpay_assets.orchestration.jobs import REFERENCES_JOB

AT = era("G4", 2023)
FIRST, SECOND = date(2024, 6, 30), date(2025, 6, 30)
PROFILES: list[Line] = [
    {
        "covered_recipient_profile_id": "132655",
        "covered_recipient_profile_type": "Covered Recipient Physician",
        "covered_recipient_npi": NPI,
        "covered_recipient_profile_last_name": "Alzate",
        "covered_recipient_profile_country_name": "US",
    },
    {
        "covered_recipient_profile_id": "7",
        "covered_recipient_profile_type": "Covered Recipient Non-Physician Practitioner",
        "covered_recipient_npi": "1234567890",
    },
]
COMPANIES: list[Line] = [
    {
        "company_id": "100000000326",
        "company_name": "DFINE",
        "alternate_name_1": "DFINE, Inc",
        "alternate_name_3": "Dfine Europe",
    }
]
HOSPITALS: list[Line] = [{"hospital_ccn": "050441", "hospital_name": "Stanford"}]
MAPPING: list[Line] = [
    {"secondary_profile_id": "4", "primary_profile_id": "3"},
    {"secondary_profile_id": "3", "primary_profile_id": "2"},
    {"secondary_profile_id": "2", "primary_profile_id": "1"},
    {"secondary_profile_id": "9", "primary_profile_id": "1"},
]
CLEAN: dict[str, list[Line]] = {
    "supplement": PROFILES,
    "profile_mapping": MAPPING,
    "entity_profiles": COMPANIES,
    "hospital_profiles": HOSPITALS,
}
CHECK = "curated/{}:{}"


class References(House):
    """A house that also publishes references and reads them."""

    def publish_references(self, release: date = FIRST, **changed: list[Line]) -> dict[str, Path]:
        """Publish every reference file, some with other rows."""
        rows = {**CLEAN, **changed}
        return {kind: write_beside(self.cms, kind, release, rows[kind]) for kind in rows}

    def whole(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a reference table."""
        files = self.tables.files(f"curated.{name}")
        scan = scan_sql(files, curated_table(name).to_ibis())
        cursor = self._duckdb.execute(f"{scan} ORDER BY ALL")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[References]:
    house = References(tmp_path_factory.mktemp("references"))
    yield house
    house.close()


@pytest.fixture
def house(built: References) -> References:
    return built.emptied()


def checks_of(result: Any) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        f"{x.asset_key.to_user_string()}:{x.check_name}": x
        for x in result.get_asset_check_evaluations()
    }


def failed(result: Any) -> set[str]:
    return {name for name, x in checks_of(result).items() if not x.passed}


def test_every_reference_is_landed_and_typed(house: References) -> None:
    paths = house.publish_references()
    done = house.run_references()
    assert done.success
    assert failed(done) == set()
    for kind, path in paths.items():
        [raw] = (house.root / "raw" / f"beside={kind}" / f"release={FIRST}").iterdir()
        assert raw.read_bytes() == path.read_bytes()
        held = house.tables.whole(f"curated.{kind}")
        assert held is not None
        assert (held.release, held.rows) == (str(FIRST), len(CLEAN[kind]))
    first, second = house.whole("supplement")
    assert (first["npi"], first["country"], first["release"]) == (NPI, "United States", FIRST)
    assert (second["profile_type"], second["npi"]) == ("non_physician_practitioner", None)
    [company] = house.whole("entity_profiles")
    assert company["alternate_names"] == "DFINE, Inc|Dfine Europe"
    assert company["source_file"] == paths["entity_profiles"].name


def test_chains_of_primaries_are_followed_to_their_end(house: References) -> None:
    house.publish_references()
    assert house.run_references().success
    found = {
        x["secondary_profile_id"]: x["resolved_primary"] for x in house.whole("profile_mapping")
    }
    assert found == {"4": "1", "3": "1", "2": "1", "9": "1"}


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        (
            [("1", "2"), ("2", "3"), ("3", "1"), ("9", "1")],
            "1 -> 2 is in a chain without an end",
        ),
        ([("5", "5")], "5 is secondary to itself"),
        ([("5", "1"), ("5", "2")], "5 has several primaries, 1 among them"),
    ],
    ids=["cycle", "itself", "several"],
)
def test_a_mapping_without_sense_blocks_and_keeps_the_last_good_one(
    house: References, mapping: list[tuple[str, str]], said: str
) -> None:
    house.publish_references()
    assert house.run_references().success
    good = house.whole("profile_mapping")
    rows: list[Line] = [{"secondary_profile_id": a, "primary_profile_id": b} for a, b in mapping]
    house.publish_references(SECOND, profile_mapping=rows)
    done = house.run_references()
    assert not done.success
    assert CHECK.format("profile_mapping", "mapping_sane") in failed(done)
    assert said in (
        checks_of(done)[CHECK.format("profile_mapping", "mapping_sane")].description or ""
    )
    assert house.whole("profile_mapping") == good
    assert house.tables.whole("curated.supplement").release == str(SECOND)  # type: ignore[union-attr]


def test_an_npi_of_several_profiles_is_listed(house: References) -> None:
    twice = [*PROFILES, {**PROFILES[0], "covered_recipient_profile_id": "8"}]
    house.publish_references(supplement=twice)
    done = house.run_references()
    assert done.success
    name = CHECK.format("supplement", "npi_profile_one_to_one")
    assert failed(done) == {name}
    assert f"{NPI} (2 profiles, 132655 and 8 among them)" in (
        checks_of(done)[name].description or ""
    )


def test_a_name_of_several_companies_is_listed_whatever_its_letter_case(house: References) -> None:
    house.publish_references(
        entity_profiles=[*COMPANIES, {"company_id": "2", "company_name": "Dfine"}]
    )
    done = house.run_references()
    name = CHECK.format("entity_profiles", "company_names")
    assert failed(done) == {name}
    assert "DFINE (2 companies, 100000000326 and 2 among them)" in (
        checks_of(done)[name].description or ""
    )


def test_a_key_that_repeats_blocks(house: References) -> None:
    house.publish_references(hospital_profiles=[*HOSPITALS, *HOSPITALS])
    done = house.run_references()
    assert not done.success
    assert failed(done) == {CHECK.format("hospital_profiles", "key_unique")}
    assert house.whole("hospital_profiles") == []


def test_a_profile_without_an_id_breaks_the_contract(house: References) -> None:
    house.publish_references(supplement=[{"covered_recipient_profile_last_name": "Nobody"}])
    done = house.run_references()
    assert not done.success
    assert CHECK.format("supplement", "schema") in failed(done)


def test_an_unknown_header_blocks_and_says_what_was_looked_for(house: References) -> None:
    paths = house.publish_references()
    text = paths["profile_mapping"].read_text()
    paths["profile_mapping"].write_text(text.replace("Primary_Provider", "Main_Provider"))
    done = house.run_references()
    assert failed(done) == {"reference_files:header_known"}
    said = checks_of(done)["reference_files:header_known"].description or ""
    assert "Missing: Primary_Provider_Profile_ID. Unknown: Main_Provider_Profile_ID" in said
    assert paths["profile_mapping"].name in said


def test_a_file_that_is_not_well_formed_blocks_only_its_table(house: References) -> None:
    paths = house.publish_references()
    with paths["entity_profiles"].open("a") as file:
        file.write('"1\n')
    done = house.run_references()
    assert failed(done) == {CHECK.format("entity_profiles", "strict_parse")}
    assert house.whole("entity_profiles") == []
    assert len(house.whole("supplement")) == 2


@pytest.mark.parametrize("layout", ["S0", "S1", "S2"])
def test_every_layout_of_the_supplement_is_read(house: References, layout: str) -> None:
    row = {k: v for k, v in PROFILES[0].items() if layout == "S2" or k.endswith(("_id", "_name"))}
    write_beside(house.cms, "supplement", FIRST, [row], layout=layout)
    done = house.run_references()
    assert done.success
    [profile] = house.whole("supplement")
    assert (profile["profile_id"], profile["last_name"]) == ("132655", "Alzate")
    assert (profile["profile_type"], profile["country"]) == ("physician", "United States")
    # What was never published leaves no table and says so.
    assert not house.tables.exists("curated.profile_mapping")
    said = checks_of(done)[CHECK.format("profile_mapping", "mapping_sane")].description or ""
    assert "No profile_mapping is published" in said


def test_the_newest_release_is_landed_unless_one_is_asked_for(house: References) -> None:
    house.publish_references()
    house.publish_references(SECOND, hospital_profiles=[])
    assert house.run_references().success
    assert house.whole("hospital_profiles") == []
    assert house.run_references(str(FIRST)).success
    assert len(house.whole("hospital_profiles")) == 1
    assert house.tables.whole("curated.supplement").release == str(FIRST)  # type: ignore[union-attr]


def test_a_release_that_is_not_published_says_which_are(house: References) -> None:
    house.publish_references()
    done = house.run_references("2020-01-17")
    assert not done.success
    [step] = [x for x in done.all_events if x.is_step_failure]
    said = step.step_failure_data.error.to_string()
    assert "No reference files of release 2020-01-17" in said
    assert str(FIRST) in said


# --- partitions beside references of their release ------------------------------------------------

FK = {
    "profile_fk": "curated/physicians:profile_fk",
    "npi_agrees": "curated/physicians:npi_agrees",
    "entity_fk": "curated/companies:entity_fk",
    "ccn_fk": "curated/hospitals:ccn_fk",
}
ENTITIES = (RAW, REMOVED, STAGING, QUARANTINE, *CURATED)


def test_a_partition_agrees_with_the_references_of_its_release(house: References) -> None:
    house.publish_references()
    assert house.run_references().success
    house.publish(AT, [{}, hospital(AT)])
    done = house.run("general|2023", assets=ENTITIES)
    assert done.success, done.failures
    assert not set(FK.values()) & (done.failed_checks() | done.failed_checks(blocking=False))
    assert "0 of 1 profiles" in done.said(FK["profile_fk"])


def test_a_partition_without_references_of_its_release_is_not_compared(house: References) -> None:
    house.publish_references(SECOND, supplement=[])
    house.publish(AT)
    before = house.run("general|2023", assets=ENTITIES)
    assert house.run_references().success
    after = house.run("general|2023", assets=ENTITIES)
    assert before.success
    assert after.success
    for name in FK.values():
        assert "was never landed" in before.said(name)
        assert "is of 2025-06-30" in after.said(name)


def test_what_the_references_do_not_have_is_named(house: References) -> None:
    house.publish_references()
    assert house.run_references().success
    house.publish(
        AT,
        [
            {"covered_recipient_npi": "1003000126", f"{COMPANY}_id": "100000000999"},
            hospital(AT, teaching_hospital_ccn="999999"),
        ],
    )
    done = house.run("general|2023", assets=ENTITIES)
    assert done.success, done.failures
    for check in ("npi_agrees", "entity_fk", "ccn_fk"):
        assert FK[check] in done.failed_checks(blocking=False)
    assert f"132655 1003000126 not {NPI}" in done.said(FK["npi_agrees"])
    assert "100000000999" in done.said(FK["entity_fk"])
    assert "999999" in done.said(FK["ccn_fk"])


def test_too_many_profiles_that_the_supplement_lacks_block(house: References) -> None:
    house.publish_references()
    assert house.run_references().success
    house.publish(AT, [{"covered_recipient_profile_id": "31337"}])
    done = house.run("general|2023", assets=ENTITIES)
    assert not done.success
    assert done.failed_checks() == {FK["profile_fk"]}
    assert "31337" in done.failures["curated__physicians"]


def test_a_profile_whose_primary_is_in_the_supplement_is_known(house: References) -> None:
    mapping: list[Line] = [{"secondary_profile_id": "31337", "primary_profile_id": "132655"}]
    house.publish_references(profile_mapping=mapping)
    assert house.run_references().success
    house.publish(AT, [{"covered_recipient_profile_id": "31337"}])
    done = house.run("general|2023", assets=ENTITIES)
    assert done.success, done.failures
    assert FK["profile_fk"] not in done.failed_checks()


def test_an_npi_is_compared_with_that_of_the_profile_itself_before_the_primary_one(
    house: References,
) -> None:
    other: Line = {"covered_recipient_profile_id": "5", "covered_recipient_npi": "1003000126"}
    mapping: list[Line] = [
        {"secondary_profile_id": "5", "primary_profile_id": "132655"},
        {"secondary_profile_id": "6", "primary_profile_id": "132655"},
    ]
    house.publish_references(supplement=[*PROFILES, other], profile_mapping=mapping)
    assert house.run_references().success
    people = [("132655", NPI), ("5", "1003000126"), ("6", "1003000126")]
    names = ("covered_recipient_profile_id", "covered_recipient_npi")
    house.publish(AT, [dict(zip(names, x, strict=True)) for x in people])
    done = house.run("general|2023", assets=ENTITIES)
    assert done.success, done.failures
    assert done.report(FK["npi_agrees"]) == {"other": 1}
    assert f"6 1003000126 not {NPI}" in done.said(FK["npi_agrees"])


def test_a_few_profiles_that_the_supplement_lacks_only_warn() -> None:
    from openpay_assets.orchestration import checks
    from openpay_assets.orchestration.checks import Outcome, curated_checks

    asked = curated_checks("physicians")
    [check] = [x for x in asked if x.name == "profile_fk"]
    few = Outcome("profile_fk", False, "1 of 1,000,000", stops=False)
    assert checks.blocked([check], {"profile_fk": few}) is None
    assert checks.blocked([check], {"profile_fk": replace(few, stops=True)}) is not None
    severity = checks.result(dg.AssetKey("x"), check, few).severity
    assert severity is dg.AssetCheckSeverity.WARN


def test_every_reference_has_its_asset_in_the_job(house: References) -> None:
    job = house.definitions.resolve_job_def(REFERENCES_JOB)
    keys = {x.to_user_string() for x in job.asset_layer.executable_asset_keys}
    assert keys == {"reference_files", *(f"curated/{name}" for name in REFERENCE_TABLES)}
