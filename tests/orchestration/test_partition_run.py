"""A partition through every zone: what is written, what the checks say, and the same again."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from cms_files import Era, clean_row, era
from house import CURATED, QUARANTINE, RAW, STAGING, UP_TO_CURATED, Base, House

from openpay_assets.cms.source import FolderSource
from openpay_assets.contracts.registry import CURATED_TABLES, layouts
from openpay_assets.contracts.rules import Severity, rules_for
from openpay_assets.lake.raw import RawZone

ZONES = ("staging", "quarantine", "curated")
STAGED = (RAW, STAGING, QUARANTINE)
CENT = Decimal("0.01")


@pytest.mark.parametrize("dataset", ["general", "research", "ownership"])
def test_a_good_partition_materializes_every_table_and_fails_no_blocking_check(
    base: Base, dataset: str
) -> None:
    run = base.runs[dataset]
    assert run.materialized == {x.to_user_string() for x in UP_TO_CURATED}
    assert run.failed_checks() == set()
    asked = {name.partition(":")[0] for name in run.checks}
    assert asked == {x.to_user_string() for x in UP_TO_CURATED}


def test_every_record_is_on_one_side_and_every_cent_is_accounted_for(base: Base) -> None:
    report = base.runs["general"].report("staging:conservation")
    dollars = Decimal("90.87") * 57 + Decimal("100.01") + 25_000_000
    assert report == {
        "rows_read": 60,
        "rows_staged": 59,
        "rows_quarantined": 1,
        "amount_read": str(dollars),
        "amount_staged": str(dollars),
        "amount_quarantined": "0.00",
        "amount_difference": "0.00",
    }
    staged = base.read["general"]["staging.general"]
    assert len(staged) == 59
    assert sum(row["amount"] for row in staged) == dollars


def test_ownership_is_conserved_in_both_measures(base: Base) -> None:
    report = base.runs["ownership"].report("staging:conservation")
    assert report["amount_read"] == report["amount_staged"] == "0.00"
    assert report["value_of_interest_read"] == report["value_of_interest_staged"] == "990.00"


def test_a_row_with_an_impossible_amount_is_quarantined_whole_with_its_reasons(base: Base) -> None:
    [row] = base.read["general"]["quarantine.records"]
    at = base.eras["general"]
    assert row["reasons"] == ["amount_valid", "company_id_valid"]
    assert (row["record_id"], row["source_row"]) == ("345000003", 3)
    assert (row["dataset"], row["program_year"]) == ("general", 2023)
    assert (row["release"], row["source_file"]) == (at.release, at.file_name)
    assert (row["amount"], row["value_of_interest"]) == (None, None)
    assert row["original"]["Total_Amount_of_Payment_USDollars"] == "1E+05"
    assert list(row["original"]) == at.layout.header


def test_a_broken_warning_rule_is_reported_with_rows_dollars_a_sample_and_the_next_step(
    base: Base,
) -> None:
    run, at = base.runs["general"], base.eras["general"]
    assert run.failed_checks(blocking=False) == {"staging:warnings", "quarantine:reasons"}
    rules = run.rules("staging:warnings")
    assert set(rules) == {"state_known", "zip_valid"}
    line = rules["state_known"]
    assert (line["rows"], line["code"], line["file"]) == (2, "R09", at.file_name)
    assert line["share"] == pytest.approx(2 / 59)
    assert line["dollars"] == "181.74"
    assert "record 4 (Record_ID 345000004): Recipient_State = '0R'" in str(line["sample"])
    assert "list_contains(warnings, 'state_known')" in str(line["next_step"])
    assert line["why"]
    asked = len(rules_for(at.facts, Severity.WARN))
    assert run.report("staging:warnings")["asked"] == asked
    assert run.said("staging:warnings") == (
        f"2 of {asked} rules are broken by some of 59 rows: state_known 2, zip_valid 2."
    )


def test_a_broken_quarantine_rule_is_reported_with_how_to_read_its_rows(base: Base) -> None:
    rules = base.runs["general"].rules("quarantine:reasons")
    assert set(rules) == {"amount_valid", "company_id_valid"}
    line = rules["amount_valid"]
    assert (line["rows"], line["dollars"]) == (1, "0")
    assert "Total_Amount_of_Payment_USDollars = '1E+05'" in str(line["sample"])
    assert "quarantine.records" in str(line["next_step"])


def test_materializations_say_what_was_read_staged_and_set_aside(base: Base) -> None:
    metadata, at = base.runs["general"].metadata, base.eras["general"]
    for asset, rows in (("staging", 59), ("quarantine", 1)):
        said = metadata[asset]
        assert (said["rows_read"], said["rows_staged"], said["rows_quarantined"]) == (60, 59, 1)
        assert said["dagster/partition_row_count"] == rows
        assert (said["layout"], said["release"]) == ("G4", str(at.release))
        assert said["source_file"] == at.file_name
    assert metadata["curated/payments"]["engine"] == "duckdb"
    assert metadata["curated/payment_products"]["dagster/partition_row_count"] == 60


def test_twins_are_counted_and_kept(base: Base) -> None:
    report = base.runs["general"].report("staging:twins")
    assert report == {"groups": 2, "rows": 56}
    assert len(base.read["general"]["curated.payments"]) == 59


def test_without_another_program_year_no_record_is_looked_for_elsewhere(base: Base) -> None:
    check = "staging:record_ids_elsewhere"
    assert base.runs["general"].checks[check].passed
    assert "No other program year" in base.runs["general"].said(check)


def test_records_that_another_program_year_holds_are_reported_and_kept(tmp_path: Path) -> None:
    house, at = House(tmp_path), era("O4", 2022, "2023-06-30")
    house.publish(era("O4", 2023), [{}, {}, {}])
    assert house.run("ownership|2023", assets=STAGED).success
    house.publish(at, [{}, {"record_id": "345000002"}, {"record_id": "345000003"}])
    run = house.run("ownership|2022", assets=STAGED)
    assert run.success, run.failures
    assert run.failed_checks(blocking=False) == {"staging:record_ids_elsewhere"}
    report = run.report("staging:record_ids_elsewhere")
    assert report["rows"] == 2
    assert report["years"] == [
        {"program_year": 2023, "rows": 2, "record_ids": ["345000002", "345000003"]}
    ]
    said = run.said("staging:record_ids_elsewhere")
    assert "2 of 3 records" in said
    assert "2 in 2023 (Record_ID 345000002, 345000003)" in said
    assert len(house.rows("staging.ownership", "ownership|2022")) == 3
    house.close()


def test_a_newer_release_of_a_partition_is_not_another_program_year(house: House) -> None:
    for release in ("2023-06-30", "2024-01-18"):
        house.publish(era("G4", 2022, release), [{}, {}])
        run = house.run("general|2022", release=release, assets=STAGED)
        assert run.checks["staging:record_ids_elsewhere"].passed
    assert "0 of 2 records" in run.said("staging:record_ids_elsewhere")
    assert 2023 in run.report("staging:record_ids_elsewhere")["asked"]


def test_large_payments_are_listed_for_review(base: Base) -> None:
    report = base.runs["general"].report("staging:large_payments")
    [listed] = report["records"]
    assert (listed["record_id"], listed["amount"]) == ("345000006", "25000000.00")
    assert (report["listed"], report["reaching"]) == (1, 1)
    assert "1 records are for review: 1 reach 10,000,000 dollars" in base.runs["general"].said(
        "staging:large_payments"
    )


def test_the_largest_record_of_a_dataset_without_natures_is_listed_too(base: Base) -> None:
    report = base.runs["ownership"].report("staging:large_payments")
    [listed] = report["records"]
    assert (listed["record_id"], listed["value_of_interest"]) == ("345000001", "330.00")
    assert (report["listed"], report["reaching"]) == (1, 0)


def test_staged_rows_carry_their_lineage(base: Base) -> None:
    at, run = base.eras["research"], base.runs["research"]
    for number, row in enumerate(base.read["research"]["staging.research"], 1):
        assert (row["dataset"], row["program_year"]) == ("research", 2023)
        assert (row["release"], row["source_file"]) == (at.release, at.file_name)
        assert row["run_id"] == run.run_id
        assert row["record_id"] == str(345_000_000 + row["source_row"])
        assert number in (1, 2)


def test_products_add_up_to_the_payments_that_have_any(base: Base) -> None:
    read = base.read["general"]
    two = [x for x in read["curated.payment_products"] if x["record_id"] == "345000001"]
    assert [(x["slot"], x["weight"], x["allocated_amount"]) for x in two] == [
        (1, 0.5, Decimal("50.01")),
        (2, 0.5, Decimal("50.00")),
    ]
    total = sum(x["allocated_amount"] for x in read["curated.payment_products"])
    assert total == sum(x["amount"] for x in read["curated.payments"])


def test_investigators_have_a_row_for_each_filled_slot(base: Base) -> None:
    found = base.read["research"]["curated.investigators"]
    assert sorted((x["record_id"], x["slot"], x["full_name"]) for x in found) == [
        ("345000001", 1, "CURIE, MARIA"),
        ("345000001", 2, "BOHR"),
        ("345000002", 1, "CURIE, MARIA"),
    ]
    assert base.read["general"]["curated.investigators"] == []
    assert base.read["ownership"]["curated.payment_products"] == []


def test_the_file_lands_byte_for_byte_and_is_audited(base: Base) -> None:
    at, run = base.eras["ownership"], base.runs["ownership"]
    published = (base.house.cms / at.file_name).read_bytes()
    said = run.metadata["raw_files"]
    assert Path(said["path"]).read_bytes() == published
    assert said["sha256"] == hashlib.sha256(published).hexdigest()
    assert (said["bytes"], said["layout"]) == (len(published), "O4")
    assert said["already_landed"] is False
    [audit] = [x for x in RawZone(base.house.root).audits() if x["run_id"] == run.run_id]
    assert (audit["sha256"], audit["layout"]) == (said["sha256"], "O4")


def test_the_catalog_says_which_release_and_run_a_partition_holds(base: Base) -> None:
    at, run = base.eras["research"], base.runs["research"]
    for name in ("staging.research", "curated.payments"):
        committed = base.house.tables.partitions(name)
        [state] = [x for p, x in committed.items() if str(p) == "research|2023"]
        assert (state.release, state.run_id, state.rows) == (str(at.release), run.run_id, 2)
        assert state.layout == "R4"


def test_no_scratch_is_left_after_a_run(base: Base) -> None:
    left = [x for x in (base.house.root / ".scratch").iterdir() if x.is_dir()]
    assert left == []
    assert not list(base.house.root.rglob("*.partial"))


@pytest.mark.parametrize("dataset", ["general", "research"])
def test_running_a_partition_again_gives_the_same_table_contents(base: Base, dataset: str) -> None:
    house, at = base.house, base.eras[dataset]
    run = house.run(f"{dataset}|2023", release=str(at.release))
    assert run.success, run.failures
    assert run.metadata["raw_files"]["already_landed"] is True
    again = house.contents(f"{dataset}|2023", zones=ZONES)
    assert set(again) >= {f"curated.{name}" for name in CURATED_TABLES}
    for name, rows in base.read[dataset].items():
        before = [{k: v for k, v in row.items() if k != "run_id"} for row in rows]
        after = [{k: v for k, v in row.items() if k != "run_id"} for row in again[name]]
        assert after == before, name


# --- releases --------------------------------------------------------------------------------


def test_the_newest_release_is_run_unless_one_is_asked_for_and_volume_is_compared(
    house: House,
) -> None:
    first, second = era("O4", 2021), era("O4", 2021, "2023-01-20")
    house.publish(first, [{}, {}])
    assert house.run("ownership|2021", assets=STAGED).failed_checks(blocking=False) == set()
    house.publish(second, [{}, {}, {}])

    newest = house.run("ownership|2021", assets=STAGED)
    assert newest.metadata["staging"]["release"] == "2023-01-20"
    assert newest.success
    assert newest.failed_checks(blocking=False) == {"staging:volume"}
    assert "3 rows against 2 of release 2022-06-30 (+50.0%)" in newest.said("staging:volume")

    asked = house.run("ownership|2021", release="2022-06-30", assets=STAGED)
    assert asked.metadata["staging"]["release"] == "2022-06-30"
    assert len(house.rows("staging.ownership", "ownership|2021")) == 2


def test_a_layout_of_another_era_is_read_and_warned_about(house: House) -> None:
    [o2] = [x for x in layouts(era("O2").dataset) if x.name == "O2"]
    at = Era(o2, 2020, date(2024, 6, 28))
    house.publish(at)
    run = house.run("ownership|2020", assets=STAGED)
    assert run.success, run.failures
    assert run.failed_checks(blocking=False) == {"raw_files:layout_in_era"}
    assert "in layout O4; this file is in O2" in run.said("raw_files:layout_in_era")


def test_a_partition_that_is_not_published_says_what_was_looked_for_and_what_is_there(
    house: House,
) -> None:
    run = house.run("research|2014", assets=STAGED)
    assert not run.success
    assert run.started == {"raw_files"}
    for said in ("research 2014", "OP_DTL_RSRCH_PGYR2014_P<MMDDYYYY>.csv", "general 2023"):
        assert said in run.failures["raw_files"]


def test_a_release_that_is_not_published_says_which_are(house: House) -> None:
    run = house.run("general|2023", release="2020-02-02", assets=STAGED)
    assert not run.success
    assert "No release 2020-02-02 of general 2023" in run.failures["raw_files"]
    assert "2024-06-30" in run.failures["raw_files"]


def test_other_bytes_under_a_landed_name_stop_the_run(house: House) -> None:
    at = era("O4", 2019, "2022-06-30")
    house.publish(at)
    assert house.run("ownership|2019", assets=(RAW,)).success
    house.publish(at, [{}, {}])
    run = house.run("ownership|2019", assets=STAGED)
    assert not run.success
    assert "already landed with other bytes" in run.failures["raw_files"]
    assert run.materialized == frozenset()


def test_staging_without_a_landed_file_says_what_to_materialize(house: House) -> None:
    run = house.run("ownership|2016", assets=(STAGING, QUARANTINE))
    assert not run.success
    assert "Materialize raw_files first" in "".join(run.failures.values())


def test_a_curated_table_without_staging_says_what_to_materialize(house: House) -> None:
    run = house.run("ownership|2016", assets=(CURATED[0],))
    assert not run.success
    assert "ownership|2016 is not staged. Materialize staging first." in "".join(
        run.failures.values()
    )


def test_marts_are_not_built_from_curated_tables_of_another_release(tmp_path: Path) -> None:
    house = House(tmp_path)
    first, second = era("O4", 2021, "2022-06-30"), era("O4", 2021, "2023-01-20")
    house.publish(first)
    assert house.run("ownership|2021").success
    house.publish(second)
    assert house.run("ownership|2021", assets=STAGED).success
    run = house.run("ownership|2021", assets=[dg.AssetKey(["marts", "company_years"])])
    house.close()
    assert not run.success
    said = "staged from release 2023-01-20, but curated.payments holds 2022-06-30"
    assert said in run.failures["marts"]


# --- new columns -----------------------------------------------------------------------------


def test_a_file_that_only_adds_columns_is_let_in_when_settings_allow_it(tmp_path: Path) -> None:
    house = House(tmp_path, allow_new_columns=True)
    at = era("O4", 2023)
    path = house.publish(at, header=[*at.layout.header, "New_Column"])
    text = path.read_text().splitlines()
    path.write_text("\n".join([text[0], text[1] + ',"new"']) + "\n")
    run = house.run("ownership|2023", assets=STAGED)
    house.close()
    assert run.success, run.failures
    assert run.report("raw_files:header_known")["new_columns"] == ["New_Column"]
    assert "New_Column" in run.said("raw_files:header_known")
    assert run.metadata["staging"]["rows_staged"] == 1


def test_a_file_without_records_is_staged_as_none(house: House) -> None:
    at = era("O4", 2018, "2022-06-30")
    house.publish(at, [])
    run = house.run("ownership|2018")
    assert run.success, run.failures
    report = run.report("staging:conservation")
    assert (report["rows_read"], report["rows_staged"], report["rows_quarantined"]) == (0, 0, 0)
    assert house.rows("curated.payments", "ownership|2018") == []


def test_a_source_is_asked_once_and_only_for_the_partition(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    releases = FolderSource.releases

    def note(self: FolderSource, *about: object) -> object:
        asked.append(about)
        return releases(self, *about)  # type: ignore[arg-type]

    monkeypatch.setattr(FolderSource, "releases", note)
    at = era("O4", 2017, "2022-06-30")
    house.publish(at)
    house.run("ownership|2017", assets=(RAW,))
    assert asked == [("ownership", 2017)]


def test_the_memory_of_what_was_landed_is_one_json_file_a_partition(base: Base) -> None:
    path = base.house.root / "metadata" / "raw_files" / "research-2023.json"
    said = json.loads(path.read_text())
    assert (said["dataset"], said["program_year"]) == ("research", 2023)
    assert said["name"] == base.eras["research"].file_name
    assert clean_row(base.eras["research"])["record_id"] in Path(said["path"]).read_text()


def test_checks_are_recorded_for_their_partition(base: Base) -> None:
    for name, run in base.runs.items():
        partitions = {x.partition for x in run.checks.values()}
        assert {str(p) for p in partitions} == {f"{name}|2023"}
    assert isinstance(base.runs["general"].checks["staging:schema"], dg.AssetCheckEvaluation)
