"""Reconciliation: equal totals pass, and what is dropped, doubled or off by a cent is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from beside_files import publish_summaries, write_beside
from cms_files import COMPANY, Era, Row, era, hospital
from house import QUARANTINE, RAW, STAGING, House, Run

from openpay_assets.contracts.rules import PRACTITIONER

SUMMARIES, PUBLISHED, RECONCILIATION = (
    dg.AssetKey("summary_files"),
    dg.AssetKey(["curated", "published_totals"]),
    dg.AssetKey(["curated", "reconciliation"]),
)
ASSETS = (RAW, STAGING, QUARANTINE, SUMMARIES, PUBLISHED, RECONCILIATION)
CHECK = "curated/reconciliation:rec_{}"
NATURE = "nature_of_payment_or_transfer_of_value"
GENERAL, RESEARCH, OWNERSHIP = era("G4", 2023), era("R4", 2023), era("O4", 2023)
FOOD: Row = {NATURE: "Food and Beverage", "amount": "12.34"}
ROWS: dict[str, list[Row]] = {
    "general": [
        {},
        {"dispute_status_for_publication": "Yes", "amount": "100.01"},
        FOOD,
        FOOD,
        hospital(GENERAL, amount="5.00"),
        {"covered_recipient_type": PRACTITIONER, f"{COMPANY}_id": "100000000999"},
        # Set aside, and in CMS's totals all the same.
        {"date_of_payment": "11/30/0002", "amount": "7.77"},
        {"amount": "1,250.00"},
    ],
    "research": [{}, hospital(RESEARCH), {"recipient_state": None, "recipient_country": "Peru"}],
    "ownership": [{}, {"amount": "3.00"}, {"dispute_status_for_publication": "Yes"}],
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(
        tmp_path_factory.mktemp("reconciled"),
        max_quarantine_share_general="0.5",
        max_quarantine_share_research="0.5",
    )
    yield house
    house.close()


@pytest.fixture
def house(built: House) -> House:
    return built.emptied()


def run(house: House, at: Era) -> Run:
    return house.run(f"{at.dataset}|{at.program_year}", assets=ASSETS)


def publish(house: House, at: Era, of: list[Row] | None = None) -> dict[str, Path]:
    """Publish a partition, and summaries of its rows or of others."""
    rows = ROWS[at.dataset]
    house.publish(at, rows)
    return publish_summaries(house.cms, at, rows if of is None else of)


@pytest.mark.parametrize("at", [GENERAL, RESEARCH, OWNERSHIP], ids=str)
def test_equal_totals_differ_nowhere(house: House, at: Era) -> None:
    publish(house, at)
    done = run(house, at)
    assert done.success, done.failures
    said = {x: done.said(CHECK.format(x)) for x in ("dashboard", "entity_nature", "others")}
    assert not {x for x in done.failed_checks(blocking=False) if x.startswith("curated")}, said
    assert "totals equal CMS's" in said["dashboard"]
    assert "totals equal CMS's" in said["others"]
    rows = house.rows("curated.reconciliation", f"{at.dataset}|2023")
    assert {x["level"] for x in rows} == {"total"}
    assert all(x["ours"] == x["published"] and x["difference"] == 0 for x in rows)
    controls = {x["control"] for x in rows}
    assert ("entity_nature" in controls) == (at is GENERAL)
    assert controls >= {"dashboard", "entity", "physician"}
    if at is not OWNERSHIP:
        assert controls >= {"state", "specialty", "national", "hospital"}


def test_both_measures_of_ownership_are_compared(house: House) -> None:
    publish(house, OWNERSHIP)
    assert run(house, OWNERSHIP).success
    rows = house.rows("curated.reconciliation", "ownership|2023")
    total = {x["measure"]: x["ours"] for x in rows if x["control"] == "dashboard"}
    assert total == {
        "records": Decimal(3),
        "amount_invested": Decimal("3.00"),
        "value_of_interest": Decimal("990.00"),
    }


@pytest.mark.parametrize(
    ("published", "said"),
    [
        ([*ROWS["general"], FOOD], "records -1 (ours 2, CMS's 3)"),
        ([x for n, x in enumerate(ROWS["general"]) if n != 2], "records +1 (ours 2, CMS's 1)"),
        (
            [*ROWS["general"][:3], {**FOOD, "amount": "12.35"}, *ROWS["general"][4:]],
            "amount -0.01 (ours 24.68, CMS's 24.69)",
        ),
    ],
    ids=["a row is dropped", "a row is doubled", "a cent is off"],
)
def test_a_difference_blocks_and_is_named_by_company_and_nature(
    house: House, published: list[Row], said: str
) -> None:
    publish(house, GENERAL, published)
    done = run(house, GENERAL)
    assert not done.success
    assert done.failed_checks() == {CHECK.format("dashboard"), CHECK.format("entity_nature")}
    assert CHECK.format("others") in done.failed_checks(blocking=False)
    [named] = done.report(CHECK.format("entity_nature"))["differences"]
    assert said in named
    assert "company_id 100000000326 (DFINE, Inc), nature_code 6 (Food and Beverage)" in named
    assert named in done.said(CHECK.format("entity_nature"))
    assert named in done.failures["curated__reconciliation"]
    assert "openpay query" in done.said(CHECK.format("entity_nature"))
    # What is off can be queried, and the staged rows stay.
    keys = [x for x in house.rows("curated.reconciliation", "general|2023") if x["level"] == "key"]
    assert {x["control"] for x in keys} >= {"dashboard", "entity_nature", "state", "physician"}
    [key] = [x for x in keys if x["control"] == "entity_nature" and x["measure"] in said]
    assert key["difference"] == key["ours"] - key["published"]
    assert len(house.rows("staging.general", "general|2023")) == 6


def test_a_difference_between_recipients_alone_only_warns(house: House) -> None:
    moved = [{**ROWS["research"][0], "recipient_state": "NY"}, *ROWS["research"][1:]]
    publish(house, RESEARCH, moved)
    done = run(house, RESEARCH)
    assert done.success, done.failures
    assert CHECK.format("others") in done.failed_checks(blocking=False)
    assert "state NY" in done.said(CHECK.format("others"))


def test_a_disputed_record_counted_as_undisputed_is_caught(house: House) -> None:
    undisputed = [{**x, "dispute_status_for_publication": "No"} for x in ROWS["ownership"]]
    publish(house, OWNERSHIP, undisputed)
    done = run(house, OWNERSHIP)
    assert done.failed_checks() == {CHECK.format("dashboard")}
    listed = "\n".join(done.report(CHECK.format("dashboard"))["differences"])
    assert "Ownership or Investment Interest - Disputed: records +1 (ours 1, CMS's 0)" in listed


def test_a_release_without_summaries_has_nothing_to_compare(house: House) -> None:
    house.publish(OWNERSHIP, ROWS["ownership"])
    done = run(house, OWNERSHIP)
    assert done.success, done.failures
    assert "Not applicable" in done.said(CHECK.format("dashboard"))
    assert "2024-06-30" in done.said(CHECK.format("dashboard"))
    assert not house.tables.exists("curated.published_totals")
    assert not house.tables.exists("curated.reconciliation")


def test_summaries_of_another_release_are_not_compared(house: House) -> None:
    house.publish(OWNERSHIP, ROWS["ownership"])
    publish_summaries(house.cms, OWNERSHIP, [], release=date(2025, 1, 30))
    done = run(house, OWNERSHIP)
    assert done.success, done.failures
    assert "Not applicable" in done.said(CHECK.format("dashboard"))


def test_a_year_outside_the_window_of_the_summaries_has_nothing_to_compare(house: House) -> None:
    at = era("O4", 2019, "2024-06-30")
    house.publish(at, ROWS["ownership"])
    publish_summaries(house.cms, OWNERSHIP, ROWS["ownership"], release=at.release)
    done = run(house, at)
    assert done.success, done.failures
    assert "Not applicable" in done.said(CHECK.format("dashboard"))


def test_totals_of_a_release_before_do_not_stay_when_there_are_none(house: House) -> None:
    publish(house, OWNERSHIP)
    assert run(house, OWNERSHIP).success
    house.publish(era("O4", 2023, "2025-01-30"), ROWS["ownership"])
    done = run(house, OWNERSHIP)
    assert done.success, done.failures
    assert house.rows("curated.published_totals", "ownership|2023") == []
    assert house.rows("curated.reconciliation", "ownership|2023") == []


def test_a_release_run_again_keeps_the_totals_that_its_source_no_longer_offers(
    house: House,
) -> None:
    summaries = publish(house, OWNERSHIP)
    assert run(house, OWNERSHIP).success
    before = house.rows("curated.published_totals", "ownership|2023")
    for path in summaries.values():
        path.unlink()
    done = run(house, OWNERSHIP)
    assert done.success, done.failures
    assert "totals equal CMS's" in done.said(CHECK.format("dashboard"))
    after = house.rows("curated.published_totals", "ownership|2023")
    assert before
    assert [x | {"run_id": ""} for x in after] == [x | {"run_id": ""} for x in before]


def test_a_release_that_is_not_staged_leaves_the_totals_of_the_one_that_is(house: House) -> None:
    publish(house, OWNERSHIP)
    assert run(house, OWNERSHIP).success
    tables = ("curated.published_totals", "curated.reconciliation")
    before = [house.rows(x, "ownership|2023") for x in tables]
    path = house.publish(era("O4", 2023, "2025-01-30"), ROWS["ownership"])
    path.write_text(path.read_text() + '"broken\n')
    assert not run(house, OWNERSHIP).success
    assert all(before)
    assert [house.rows(x, "ownership|2023") for x in tables] == before


def test_summaries_are_landed_once_for_all_partitions(house: House) -> None:
    publish(house, OWNERSHIP)
    house.publish(GENERAL, [{}])
    assert run(house, OWNERSHIP).success
    landed = {x.name: x.stat().st_mtime_ns for x in (house.root / "raw").rglob("PBLCTN*.csv")}
    assert len(landed) == 8
    house.run("general|2023", assets=(RAW, SUMMARIES))
    again = {x.name: x.stat().st_mtime_ns for x in (house.root / "raw").rglob("PBLCTN*.csv")}
    assert again == landed
    folder = house.root / "raw" / "beside=entity_nature_summary" / "year=2023"
    assert [x.name for x in folder.iterdir()] == ["release=2024-06-30"]


def test_an_unknown_header_of_a_summary_blocks_and_says_what_was_looked_for(house: House) -> None:
    paths = publish(house, OWNERSHIP)
    paths["entity_summary"].write_text(
        paths["entity_summary"].read_text().replace("Trans_Invested", "Trans_Owned", 1)
    )
    done = run(house, OWNERSHIP)
    assert done.failed_checks() == {"summary_files:header_known"}
    assert "Missing: Trans_Invested. Unknown: Trans_Owned" in done.said(
        "summary_files:header_known"
    )
    assert "curated__reconciliation" not in done.started


def test_a_summary_that_is_not_well_formed_blocks(house: House) -> None:
    paths = publish(house, OWNERSHIP)
    with paths["hospital_summary"].open("a") as file:
        file.write("1,2,3\n")
    done = run(house, OWNERSHIP)
    assert done.failed_checks() == {"curated/published_totals:strict_parse"}
    assert paths["hospital_summary"].name in done.said("curated/published_totals:strict_parse")


def test_a_total_that_is_no_number_blocks(house: House) -> None:
    paths = publish(house, OWNERSHIP)
    text = paths["entity_summary"].read_text()
    paths["entity_summary"].write_text(text.replace("990.00", "99O.00"))
    done = run(house, OWNERSHIP)
    assert done.failed_checks() == {"curated/published_totals:strict_parse"}
    assert "'99O.00'" in done.said("curated/published_totals:strict_parse")


def test_a_total_that_is_there_twice_blocks(house: House) -> None:
    paths = publish(house, OWNERSHIP)
    with paths["dashboard"].open("a") as file:
        file.write(paths["dashboard"].read_text().splitlines()[-1] + "\n")
    done = run(house, OWNERSHIP)
    assert done.failed_checks() == {"curated/published_totals:key_unique"}


def test_a_line_of_the_dashboard_that_is_not_known_is_named(house: House) -> None:
    paths = publish(house, OWNERSHIP)
    with paths["dashboard"].open("a") as file:
        file.write("45,Total Number of Surprises,1,1,1,1\n")
    done = run(house, OWNERSHIP)
    assert done.success, done.failures
    assert "curated/published_totals:lines_known" in done.failed_checks(blocking=False)
    assert "Total Number of Surprises" in done.said("curated/published_totals:lines_known")


def test_a_landed_summary_of_another_size_is_not_taken_for_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openpay_assets.lake.raw import RawZone

    publish(house, OWNERSHIP)
    land = RawZone.land_beside
    monkeypatch.setattr(
        RawZone, "land_beside", lambda self, source, file, size: land(self, source, file, size + 1)
    )
    done = run(house, OWNERSHIP)
    assert done.failed_checks() == {"summary_files:bytes_complete"}


def test_the_roll_ups_of_an_other_year_are_left_out(house: House) -> None:
    publish(house, GENERAL)
    write_beside(house.cms, "hospital_summary", GENERAL.release, [])
    assert run(house, GENERAL).success
    rows = house.rows("curated.published_totals", "general|2023")
    assert {x["company_id"] for x in rows} == {None, "100000000326", "100000000999"}
    assert "hospital" not in {x["control"] for x in rows}
