"""Real CMS files through every zone: rows and dollars known to the cent, damage not let past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from house import House, Run

from openpay_assets.query import connect

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def house(real_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("real"), cms=real_files)
    yield house
    house.close()


@pytest.fixture(scope="module")
def first_publication(house: House) -> dict[str, Run]:
    """Program year 2016 as first published, run, by dataset."""
    runs = {x: house.run(f"{x}|2016") for x in ("general", "research", "ownership")}
    for run in runs.values():
        assert run.success, run.failures
    return runs


@pytest.mark.parametrize(
    ("dataset", "measures"),
    [
        ("general", {"amount": "484283.77"}),
        ("research", {"amount": "4016894.73"}),
        ("ownership", {"amount": "42558280.69", "value_of_interest": "88939595.53"}),
    ],
)
def test_the_first_rows_of_2016_go_through_to_the_cent(
    house: House, first_publication: dict[str, Run], dataset: str, measures: dict[str, str]
) -> None:
    report = first_publication[dataset].report("staging:conservation")
    payments = house.rows("curated.payments", f"{dataset}|2016")
    assert report["rows_read"] == len(payments) == 499
    assert report["rows_quarantined"] == 0
    for measure, dollars in measures.items():
        assert report[f"{measure}_read"] == report[f"{measure}_staged"] == dollars
        assert sum(row[measure] for row in payments) == Decimal(dollars)


def test_every_row_of_a_first_publication_is_new(
    house: House, first_publication: dict[str, Run]
) -> None:
    for dataset in first_publication:
        rows = house.rows("curated.payments", f"{dataset}|2016")
        assert {row["change_type"] for row in rows} == {"NEW"}
        assert {str(row["release"]) for row in rows} == {"2017-06-30"}


def test_real_rows_are_warned_about_sparingly(first_publication: dict[str, Run]) -> None:
    for dataset, run in first_publication.items():
        rules = run.rules("staging:warnings")
        assert all(float(str(x["share"])) < 0.2 for x in rules.values()), (dataset, rules)


@dataclass(frozen=True)
class Republished:
    """Research of 2013 as it was read after a run of one release."""

    run: Run
    payments: list[dict[str, Any]]
    staged: dict[str, dict[str, Any]]
    changes: list[dict[str, Any]]
    as_of_first: list[tuple[Any, ...]]
    """Totals of the first release, as of its day, read after this run."""


INVESTIGATOR = "principal_investigator_1_profile_id"
TOTALS = """
    select 'payments', count(*), sum(amount), bit_xor(hash(p)) from curated.payments p
    union all
    select 'staging', count(*), sum(amount), bit_xor(hash(s)) from staging.research s
    union all
    select 'investigators', count(*), sum(associated_amount), bit_xor(hash(i))
    from curated.investigators i
    order by 1
"""


@pytest.fixture(scope="module")
def republished(
    real_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Republished]]:
    """Research of 2013 at its older and then at its newer release."""
    house = House(tmp_path_factory.mktemp("pair"), cms=real_files)
    found = {}
    for release in ("2015-06-30", "2016-06-30"):
        run = house.run("research|2013", release=release)
        assert run.success, run.failures
        staged = house.rows("staging.research", "research|2013")
        with connect(house.settings, date(2015, 6, 30)) as connection:
            as_of_first = connection.execute(TOTALS).fetchall()
        found[release] = Republished(
            run,
            house.rows("curated.payments", "research|2013"),
            {x["record_id"]: x for x in staged},
            house.rows("curated.release_changes", "research|2013"),
            as_of_first,
        )
    yield found
    house.close()


def test_the_first_release_reads_the_same_after_the_second_has_landed(
    republished: dict[str, Republished],
) -> None:
    before, after = (republished[x].as_of_first for x in ("2015-06-30", "2016-06-30"))
    assert after == before
    assert [row[1] for row in before if row[0] != "investigators"] == [1394, 1394]
    assert {row[2] for row in before if row[0] != "investigators"} == {Decimal("5424344.86")}


def test_the_republication_added_removed_and_quietly_changed_records(
    republished: dict[str, Republished],
) -> None:
    assert republished["2015-06-30"].changes == []
    found = republished["2016-06-30"].changes
    kinds = Counter(row["kind"] for row in found)
    assert (kinds["added"], kinds["removed"]) == (406, 6)
    quietly = [x for x in found if (x["kind"], x["change_type"]) == ("changed", "UNCHANGED")]
    assert len(quietly) == 63
    other_person = [x for x in quietly if INVESTIGATOR in x["changed_columns"]]
    assert len(other_person) == 36
    for row in other_person:
        assert row["old_values"][INVESTIGATOR] != row["new_values"][INVESTIGATOR]
    # The others name other products (22), another state of the company (3) or specialty (2).
    assert Counter(x["changed_columns"][0].split("_")[0] for x in quietly) == {
        "principal": 38,
        "legacy": 22,
        "applicable": 3,
    }
    metadata = republished["2016-06-30"].run.metadata["curated/release_changes"]
    assert metadata["unchanged"] + kinds["changed"] == 1388
    moved = sum(row["amount_moved"] for row in found)
    assert moved == Decimal("7421451.45") - Decimal("5424344.86")


def test_the_skipped_publication_and_the_layouts_of_the_pair_are_recognised(
    republished: dict[str, Republished],
) -> None:
    run, checks = republished["2016-06-30"].run, "curated/release_changes:"
    assert run.report(f"{checks}gap_detection")["skipped"] == ["2016-01-15"]
    assert "63 differ" in run.said(f"{checks}unchanged_is_unchanged")
    assert run.said(f"{checks}unchanged_is_unchanged").startswith("Not applicable.")
    translated = run.report(f"{checks}layout_translation")
    assert translated["compared_away"] == ["change_type", "teaching_hospital_ccn"]
    assert translated["common_records"] == 1388


@pytest.mark.parametrize(
    ("release", "layout", "rows", "dollars"),
    [("2016-06-30", "R2", 1794, "7421451.45"), ("2015-06-30", "R1", 1394, "5424344.86")],
)
def test_a_republished_year_can_be_read_at_either_release(
    republished: dict[str, Republished], release: str, layout: str, rows: int, dollars: str
) -> None:
    found = republished[release]
    assert found.run.metadata["staging"]["layout"] == layout
    assert len(found.payments) == rows
    assert sum(row["amount"] for row in found.payments) == Decimal(dollars)
    assert {str(row["release"]) for row in found.payments} == {release}


def test_a_fifth_of_research_are_twins_and_all_are_kept(
    republished: dict[str, Republished],
) -> None:
    found = republished["2016-06-30"]
    hashes = Counter(row["row_hash"] for row in found.payments)
    surplus = len(found.payments) - len(hashes)
    assert surplus > 0.15 * len(found.payments)
    report = found.run.report("staging:twins")
    assert report["rows"] - report["groups"] == surplus


def test_an_unchanged_record_hashes_alike_in_two_releases_and_layouts(
    republished: dict[str, Republished],
) -> None:
    before, after = (republished[x].staged for x in ("2015-06-30", "2016-06-30"))
    common = before.keys() & after.keys()
    assert len(common) == 1388
    # The newer layout adds the CCN of hospitals, so a record of a hospital hashes otherwise.
    others = [x for x in common if after[x]["teaching_hospital_ccn"] is None]
    same = sum(before[x]["row_hash"] == after[x]["row_hash"] for x in others)
    assert same / len(others) > 0.9


@pytest.fixture(scope="module")
def damaged(house: House) -> Run:
    """The run of a file that was saved through a spreadsheet."""
    return house.run("general|2013")


def test_a_file_saved_through_excel_is_blocked_whole_and_reaches_no_curated_table(
    house: House, damaged: Run
) -> None:
    run = damaged
    assert not run.success
    assert run.failed_checks() == {"quarantine:quarantine_share"}
    assert not {x for x in run.materialized if x.startswith("curated")}
    aside = house.rows("quarantine.records", "general|2013")
    assert len(aside) == 3005
    assert all(row["reasons"] for row in aside)
    assert house.rows("staging.general", "general|2013") == []
    for said in ("3,005 of 3,005 rows", "'1E+11'", "company_id_valid 3,005"):
        assert said in run.said("quarantine:quarantine_share")


def test_no_company_id_that_a_spreadsheet_left_is_in_a_curated_table(
    house: House, first_publication: dict[str, Run], damaged: Run
) -> None:
    assert first_publication
    assert not damaged.success
    for key in ("general|2013", "general|2016", "research|2016", "ownership|2016"):
        for name in ("curated.payments", "curated.companies"):
            assert all(row["company_id"].isdigit() for row in house.rows(name, key))
