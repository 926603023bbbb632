"""The openpay command as a user runs it: in a process of its own, on a lake of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from cms_files import clean_row, era, write_file
from command import OpenPay

from openpay_assets.lake.manifest import read_manifest
from openpay_assets.settings import PROJECT_ROOT

YEAR = 2023


def test_query_prints_csv_json_and_a_table(finished: OpenPay) -> None:
    sql = "select dataset, program_year, count(*) as n, sum(amount) as amount from curated.payments group by all"
    (row,) = finished.rows(sql)
    assert (row["dataset"], row["program_year"]) == ("general", str(YEAR))
    as_json = json.loads(finished("query", sql, "--format", "json").stdout)
    assert as_json[0]["n"] == int(row["n"])
    assert row["amount"] in finished("query", sql).stdout


def test_query_with_a_mistake_exits_2_and_says_what_it_is(finished: OpenPay) -> None:
    done = finished("query", "select nothing from curated.payments")
    assert done.returncode == 2
    assert "nothing" in done.stderr


def test_status_names_partitions_releases_and_checks(finished: OpenPay) -> None:
    (row,) = json.loads(finished("status", "--json").stdout)
    assert row["partition"] == f"general|{YEAR}"
    assert row["staging"] + row["quarantine"] == 400
    assert row["checks"]["failed"] == 0
    assert row["last_run"]["status"] == "succeeded"
    assert row["last_run"]["run_id"] == row["run_id"]


def test_backfill_lists_what_is_missing_and_does_nothing_twice(finished: OpenPay) -> None:
    done = finished("backfill")
    assert done.returncode == 0
    assert "0 of 1 published partitions" in done.stdout


def test_a_year_that_has_not_ended_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    openpay = OpenPay(tmp_path / "lake", tmp_path)
    done = openpay("run", "general", "2999")
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no partition general|2999: program years are 2013 to " in done.stderr
    assert not openpay.lake.exists()


def test_backfill_runs_what_is_missing_or_unfinished_and_exits_1_when_any_fails(
    tmp_path: Path,
) -> None:
    fine, broken, also, other = (era("O4", year) for year in (2020, 2021, 2022, 2023))
    openpay = OpenPay(tmp_path / "lake", tmp_path / "cms")
    openpay.cms.mkdir()
    write_file(openpay.cms, fine, [clean_row(fine, 1)])
    path = write_file(openpay.cms, broken, [clean_row(broken, 1, {"record_id": "7"})])
    path.write_text(path.read_text().replace('"7"', '"1E+05"').replace(",7,", ",1E+05,"))
    rows = [clean_row(also, n, {"record_id": str(8 + n)}) for n in range(3)]
    write_file(openpay.cms, also, rows)
    write_file(openpay.cms, other, [clean_row(other, 1, {"record_id": "20"})])
    wanted = ("backfill", "--dataset", "ownership", "--years", "2020-2022")
    done = openpay(*wanted)
    assert done.returncode == 1
    assert "3 of 3 published partitions are missing, outdated or unfinished." in done.stdout
    assert f"ownership|2020  missing -> {fine.release}  missing" in done.stdout
    assert "2 partitions done, 1 failed." in done.stdout
    assert "failed ownership|2021: quarantine_share" in done.stderr
    # One process ran them all: each partition's marts hold its own records.
    for mart in ("company_years", "recipient_years", "fct_payments"):
        counted = "count(*)" if mart.startswith("fct") else "sum(records)"
        found = openpay.rows(
            f"select program_year, {counted} as n from marts.{mart} group by 1 order by 1"
        )
        assert found == [{"program_year": "2020", "n": "1"}, {"program_year": "2022", "n": "3"}]
    again = openpay(*wanted)
    assert again.returncode == 1
    assert "1 of 3 published partitions" in again.stdout
    held = f"ownership|2021  {broken.release} -> {broken.release}  unfinished"
    assert held in again.stdout


def test_the_quarantine_holds_exactly_what_the_simulator_broke(
    finished: OpenPay, site: Path
) -> None:
    expected = json.loads(next(site.glob("*.expected.json")).read_text())
    found = finished.rows(
        "select reason, count(*) as n from (select unnest(reasons) as reason from quarantine.records) group by all"
    )
    assert {x["reason"]: int(x["n"]) for x in found} == expected["quarantined"]
    warned = finished.rows(
        "select rule, count(*) as n from (select unnest(warnings) as rule from staging.general) group by all"
    )
    assert {x["rule"]: int(x["n"]) for x in warned} == expected["warned"]


@pytest.fixture(scope="module")
def republished(tmp_path_factory: pytest.TempPathFactory) -> OpenPay:
    """A lake with two releases of ownership 2021; the second moves 70 dollars and adds a record."""
    cms = tmp_path_factory.mktemp("releases")
    first, second = era("O4", 2021, "2022-06-30"), era("O4", 2021, "2023-01-20")
    changed = {"change_type": "CHANGED", "value_of_interest": "400.00"}
    write_file(cms, first, [clean_row(first, n) for n in (1, 2)])
    rows = [(1, changed), (2, {"change_type": "UNCHANGED"}), (3, {})]
    write_file(cms, second, [clean_row(second, n, row) for n, row in rows])
    openpay = OpenPay(tmp_path_factory.mktemp("lake"), cms)
    for release in ("2022-06-30", "2023-01-20"):
        done = openpay("run", "ownership", "2021", "--release", release)
        assert done.returncode == 0, done.stdout + done.stderr
    return openpay


INTEREST = (
    "select 'facts' as which, count(*) as n, sum(value_of_interest) as dollars "
    "from marts.fct_payments union all "
    "select 'years', sum(records), sum(value_of_interest) from marts.company_years union all "
    "select 'staged', count(*), sum(value_of_interest) from staging.ownership order by which"
)


def test_query_reads_every_zone_as_of_a_release(republished: OpenPay) -> None:
    def totals(*release: str) -> set[tuple[str, ...]]:
        done = republished("query", INTEREST, "--format", "csv", *release)
        assert done.returncode == 0, done.stderr
        return {tuple(line.split(",")[1:]) for line in done.stdout.splitlines()[1:]}

    assert totals("--release", "2022-12-31") == {("2", "660.00")}
    assert totals() == totals("--release", "2023-01-20") == {("3", "1060.00")}
    empty = republished("query", INTEREST, "--format", "csv", "--release", "2020-01-01")
    assert empty.stdout.splitlines()[1].startswith("facts,0")


def test_the_moves_of_a_release_are_a_mart(republished: OpenPay) -> None:
    rows = republished.rows(
        "select kind, records, value_of_interest_moved as moved, previous_release, release "
        "from marts.release_changes_by_company order by kind"
    )
    days = {"previous_release": "2022-06-30", "release": "2023-01-20"}
    assert rows == [
        {"kind": "added", "records": "1", "moved": "330.00", **days},
        {"kind": "changed", "records": "1", "moved": "70.00", **days},
    ]


def test_releases_are_listed_and_expire_only_when_told_to(republished: OpenPay) -> None:
    def listed() -> dict[str, object]:
        [row] = json.loads(republished("releases", "--json").stdout)
        return dict(row)

    both = ["2022-06-30", "2023-01-20"]
    before = listed()
    assert before == {
        "partition": "ownership|2021",
        "offered": both,
        "landed": both,
        "readable": both,
        "current": "2023-01-20",
        "up_to_date": True,
    }
    assert "2022-06-30 2023-01-20" in republished("releases").stdout
    planned = republished("expire", "--keep", "1")
    assert planned.returncode == 0
    assert "Nothing was dropped" in planned.stdout
    assert "ownership|2021  2022-06-30" in planned.stdout
    assert listed() == before
    done = republished("expire", "--keep", "1", "--yes")
    assert done.returncode == 0, done.stderr
    assert listed() == {**before, "readable": ["2023-01-20"]}
    assert len(republished.rows("select * from marts.fct_payments")) == 3
    assert "Nothing to drop" in republished("expire", "--keep", "1", "--yes").stdout
    assert republished("expire", "--keep", "0").returncode == 2
    again = republished("run", "ownership", "2021", "--release", "2022-06-30")
    assert again.returncode == 0, again.stdout + again.stderr
    assert listed() == {**before, "current": "2022-06-30", "up_to_date": False}


def test_wrong_usage_exits_2(finished: OpenPay) -> None:
    assert finished("run", "generic", "2023").returncode == 2
    assert finished("run", "general", "2023", "--release", "soon").returncode == 2


def test_a_release_nobody_published_fails_with_what_there_is(site: Path, tmp_path: Path) -> None:
    openpay = OpenPay(tmp_path, site)
    done = openpay("run", "general", "2014")
    assert done.returncode == 1
    assert "Nothing published for general 2014" in done.stderr
    assert f"general {YEAR}" in done.stderr
    (manifest,) = (tmp_path / "metadata" / "runs").glob("run_id=*/manifest.json")
    run_id = manifest.parent.name.removeprefix("run_id=")
    assert read_manifest(tmp_path, run_id).status == "failed"
    [row] = json.loads(openpay("status", "--json").stdout)
    assert (row["partition"], row["staging"], row["checks"]) == ("general|2014", None, {})
    assert row["last_run"]["status"] == "failed"
    shown = openpay("status").stdout
    assert "failed general|2014" in shown
    assert "Nothing published for general 2014" in shown


def test_a_simulated_site_with_two_releases_is_served(tmp_path: Path) -> None:
    openpay = OpenPay(tmp_path / "lake", tmp_path / "cms")
    made = openpay(
        "simulate",
        str(tmp_path / "cms"),
        *("--years", "2022", "--rows", "60", "--dataset", "general"),
        *("--release", "2024-01-18", "--releases", "2"),
    )
    assert made.returncode == 0, made.stderr
    names = {path.name for path in (tmp_path / "cms").iterdir()}
    assert {
        "OP_DTL_GNRL_PGYR2022_P06302023.csv",
        "OP_DTL_GNRL_PGYR2022_P01182024.csv",
        "OP_REMOVED_DELETED_PGYR2022_P01182024.csv",
        "PBLCTN_DSHBRD_P01182024_01032024.csv",
    } <= names
    site = subprocess.Popen(
        openpay.command(
            *("serve", str(tmp_path / "cms"), "--port", "0"),
            *("--fault", "503@/api/", "--as-of", "2023-06-30"),
        ),
        env=openpay.environment,
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert site.stdout is not None
        url = site.stdout.readline().split()[0]
        catalog = f"{url}/api/1/metastore/schemas/dataset/items"
        assert httpx.get(catalog).status_code == 503
        [item] = [x for x in httpx.get(catalog).json() if x["theme"] == ["General Payments"]]
        answer = httpx.get(item["distribution"][0]["downloadURL"])
        first = tmp_path / "cms" / "OP_DTL_GNRL_PGYR2022_P06302023.csv"
        assert answer.content == first.read_bytes()
    finally:
        site.send_signal(signal.SIGTERM)
        out, _ = site.communicate(timeout=60)
    assert out == "stopped\n"
    assert site.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--as-of", "soon"), "--as-of"),
        (("--fault", "fire"), "Kinds: stall, reset"),
    ],
)
def test_a_site_cannot_be_served_like_this(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    openpay = OpenPay(tmp_path / "lake", tmp_path)
    answer = openpay("serve", str(tmp_path), *arguments)
    assert answer.returncode == 2
    assert words in answer.stderr
