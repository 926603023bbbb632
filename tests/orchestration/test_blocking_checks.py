"""Every blocking check stops its run: nothing downstream runs, nothing readable changes.

The lake has a good state of each partition; every test offers a bad release of one, or breaks
one transform.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import ibis
import pytest
from cms_files import COMPANY, Era, clean_row, csv_line, era, hospital
from house import QUARANTINE, RAW, STAGING, House, Run

from openpay_assets.cms.names import DetailFile
from openpay_assets.cms.source import FolderSource, Release
from openpay_assets.contracts.registry import CURATED_TABLES
from openpay_assets.engines.duckdb import DuckDBEngine
from openpay_assets.orchestration.assets import curated as curated_assets
from openpay_assets.orchestration.assets import staging as staging_assets

GENERAL, RESEARCH, OWNERSHIP = era("G4", 2023), era("R4", 2023), era("O4", 2023)
STAGED = (RAW, STAGING, QUARANTINE)
TRUSTED = ("curated",)
EVERYTHING = ("staging", "quarantine", "curated")

_days = itertools.count(1)


def key(at: Era) -> str:
    return f"{at.dataset}|{at.program_year}"


def next_release(at: Era) -> Era:
    """The same partition at a release that no test has used."""
    return replace(at, release=date.fromordinal(date(2025, 1, 1).toordinal() + next(_days)))


def run_bad(house: House, at: Era, *, staged_too: bool = True) -> Run:
    """Run a bad release: it must fail, before curated tables, and leave what was readable."""
    zones = EVERYTHING if staged_too else TRUSTED
    before = house.contents(key(at), zones=zones)
    run = house.run(key(at), release=str(at.release))
    assert not run.success
    assert not {x for x in run.started if x.startswith("curated")}
    assert not {x for x in run.materialized if x.startswith("curated")}
    assert house.contents(key(at), zones=zones) == before
    assert before["curated.payments"]
    return run


# --- the file --------------------------------------------------------------------------------


def test_an_unknown_header_blocks_and_names_file_layout_and_columns(house: House) -> None:
    at = next_release(OWNERSHIP)
    header = [{"Record_ID": "Record_Number"}.get(x, x) for x in at.layout.header]
    house.publish(at, header=header)
    run = run_bad(house, at)
    assert run.failed_checks() == {"raw_files:header_known"}
    assert run.started == {"raw_files"}
    for said in (at.file_name, "ownership O4", "Missing: Record_ID", "Unknown: Record_Number"):
        assert said in run.said("raw_files:header_known")
        assert said in run.failures["raw_files"]


def test_a_header_that_is_not_utf8_blocks(house: House) -> None:
    at = next_release(OWNERSHIP)
    path = house.publish(at)
    path.write_bytes(path.read_bytes().replace(b"Record_ID", b"Record_\xff", 1))
    run = run_bad(house, at)
    assert run.failed_checks() == {"raw_files:header_known"}
    assert "line 1" in run.said("raw_files:header_known")


def publish_as(monkeypatch: pytest.MonkeyPatch, change: Callable[[Release], Release]) -> None:
    """Let the source say something else of each release than what is in its folder."""
    releases = FolderSource.releases

    def changed(self: FolderSource, *asked: Any) -> list[Release]:
        return [change(release) for release in releases(self, *asked)]

    monkeypatch.setattr(FolderSource, "releases", changed)


def test_a_file_of_another_size_than_published_blocks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = next_release(OWNERSHIP)
    path = house.publish(at)
    publish_as(monkeypatch, lambda release: replace(release, size=release.size + 1))
    run = run_bad(house, at)
    assert run.failed_checks() == {"raw_files:bytes_complete"}
    size = path.stat().st_size
    report = run.report("raw_files:bytes_complete")
    assert (report["bytes"], report["published_bytes"]) == (size, size + 1)
    assert at.file_name in run.said("raw_files:bytes_complete")


@pytest.mark.parametrize(
    ("stamp", "value"),
    [("program_year", "PGYR2022"), ("dataset", "GNRL"), ("release", "P01012020")],
)
def test_a_file_whose_stamps_are_not_those_asked_for_blocks(
    house: House, monkeypatch: pytest.MonkeyPatch, stamp: str, value: str
) -> None:
    at = next_release(OWNERSHIP)
    house.publish(at)
    parts = {"dataset": "OWNRSHP", "program_year": "PGYR2023", "release": f"P{at.release:%m%d%Y}"}
    code, year, day = (parts | {stamp: value}).values()

    def misname(release: Release) -> Release:
        file: DetailFile = replace(release.file, name=f"OP_DTL_{code}_{year}_{day}.csv")
        return replace(release, file=file)

    publish_as(monkeypatch, misname)
    run = run_bad(house, at)
    assert run.failed_checks() == {"raw_files:stamps_agree"}
    assert value in run.said("raw_files:stamps_agree")


# --- the parse -------------------------------------------------------------------------------


def malform(house: House, at: Era, change: Callable[[bytes], bytes]) -> None:
    path = house.publish(at, [{}, {}, {"terms_of_interest": "line\nbreak"}, {}, {}])
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda x: x[: x.rindex(b'"Common Stock')].rstrip(b","),
            ("line 7", "(Value_of_Interest)", "330.00", "21 fields where the header has 30"),
            id="truncated-last-line",
        ),
        pytest.param(
            lambda x: x[: x.rindex(b"Stock shareholder")],
            ("line 7", "(Terms_of_Interest)", '"Common ', "a quote opens and does not close"),
            id="truncated-in-quotes",
        ),
        pytest.param(
            lambda x: x.replace(b'"Azagury"', b'"Aza"gury"', 1),
            ("line 2", "(Physician_Last_Name)", '"Aza"gury', "a quote opens and does not close"),
            id="unbalanced-quote",
        ),
        pytest.param(
            lambda x: b'"Azag\xfcry"'.join(x.rsplit(b'"Azagury"', 1)),
            ("line 7", "(Physician_Last_Name)", "0xfc is not UTF-8", "Azag"),
            id="not-utf8",
        ),
        pytest.param(
            lambda x: b'"Physician Covered Recipient","x"'.join(
                x.rsplit(b'"Physician Covered Recipient"', 1)
            ),
            ("line 7", "31 fields where the header has 30"),
            id="one-field-more",
        ),
    ],
)
def test_a_file_that_is_not_well_formed_blocks_and_names_line_column_and_value(
    house: House, change: Callable[[bytes], bytes], said: tuple[str, ...]
) -> None:
    at = next_release(OWNERSHIP)
    malform(house, at, change)
    run = run_bad(house, at)
    assert run.failed_checks() == {"staging:strict_parse"}
    assert run.materialized == {"raw_files", "removed_list"}
    for part in (at.file_name, *said):
        assert part in run.said("staging:strict_parse")
        assert part in run.failures["stage"]


# --- the rows --------------------------------------------------------------------------------


def test_a_file_of_another_program_year_blocks_and_names_a_row(house: House) -> None:
    at = next_release(OWNERSHIP)
    house.publish(at, [{"program_year": "2022"}] * 3)
    run = run_bad(house, at, staged_too=False)
    assert run.failed_checks() == {"quarantine:one_program_year", "quarantine:quarantine_share"}
    for said in ("3 rows", at.file_name, "2023", "record 1", "Program_Year = '2022'"):
        assert said in run.said("quarantine:one_program_year")
    assert {row["program_year"] for row in house.rows("quarantine.records", key(at))} == {2023}


def test_duplicate_record_ids_block_and_both_rows_are_set_aside(house: House) -> None:
    at = next_release(OWNERSHIP)
    house.publish(at, [{"record_id": "777"}, {"record_id": "777"}, {}])
    run = run_bad(house, at, staged_too=False)
    assert run.failed_checks() == {"quarantine:quarantine_share"}
    aside = house.rows("quarantine.records", key(at))
    assert [(x["record_id"], x["source_row"], x["reasons"]) for x in aside] == [
        ("777", 1, ["record_id_unique"]),
        ("777", 2, ["record_id_unique"]),
    ]
    for said in ("2 of 3 rows", at.file_name, "record 1", "Record_ID = '777'"):
        assert said in run.said("quarantine:quarantine_share")


def test_too_much_quarantine_blocks_and_says_reasons_record_column_and_value(house: House) -> None:
    at = next_release(OWNERSHIP)
    house.publish(at, [{}, {"amount": "1E+05"}, {f"{COMPANY}_id": "1E+11"}, {}])
    run = run_bad(house, at, staged_too=False)
    assert run.failed_checks() == {"quarantine:quarantine_share"}
    report = run.report("quarantine:quarantine_share")
    assert (report["share"], report["limit"], report["rows"]) == (0.5, 0.05, 2)
    for said in (
        "2 of 4 rows",
        "amount_valid 1, company_id_valid 1",
        "record 2 (Record_ID 345000002): Total_Amount_Invested_USDollars = '1E+05'",
        "record 3 (Record_ID 345000003): Applicable_Manufacturer_or_Applicable_GPO_Making_Payment_ID = '1E+11'",
    ):
        assert said in run.said("quarantine:quarantine_share")
        assert said in run.failures["stage"]
    assert len(house.rows("staging.ownership", key(at))) == 2


def test_a_new_nature_of_payment_on_many_rows_blocks_and_is_named(house: House) -> None:
    at = next_release(GENERAL)
    house.publish(at, [{"nature_of_payment_or_transfer_of_value": "Moon dust"}] * 2 + [{}])
    run = run_bad(house, at)
    assert run.failed_checks() == {"staging:natures_known"}
    assert "Moon dust" in run.said("staging:natures_known")
    assert "contracts/data/values.csv" in run.said("staging:natures_known")
    assert run.report("staging:natures_known")["unknown"] == {"Moon dust": 2}


def test_clinicians_without_npi_block_from_2021(house: House) -> None:
    at = next_release(GENERAL)
    house.publish(at, [{"covered_recipient_npi": None}, {}, {}, hospital(at)])
    run = run_bad(house, at)
    assert run.failed_checks() == {"staging:npi_filled"}
    assert "2 of 3 clinicians have an NPI (66.67%" in run.said("staging:npi_filled")
    assert run.report("staging:npi_filled")["people"] == 3


def test_fewer_npis_than_usual_are_warned_about_and_stop_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.publish(GENERAL, [{"covered_recipient_npi": None}, *[{}] * 39])
    run = house.run(key(GENERAL), assets=STAGED)
    house.close()
    assert run.success, run.failures
    assert run.failed_checks() == set()
    assert run.failed_checks(blocking=False) == {"staging:npi_filled"}
    assert "39 of 40 clinicians have an NPI (97.50%" in run.said("staging:npi_filled")


# --- what the package does to the rows -------------------------------------------------------


def break_stage(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[ibis.Table], ibis.Table]
) -> None:
    stage = staging_assets.stage
    monkeypatch.setattr(staging_assets, "stage", lambda raw, source: change(stage(raw, source)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(
            lambda t: t.filter(t.source_row != 2),
            "3 rows read = 2 staged + 0 quarantined",
            id="a-row",
        ),
        pytest.param(
            lambda t: t.mutate(amount=(t.source_row == 2).ifelse(Decimal("0.01"), t.amount)),
            "0.00 dollars read, difference -0.01",
            id="a-cent",
        ),
        pytest.param(
            lambda t: t.mutate(value_of_interest=Decimal("329.99")),
            "3 rows read = 3 staged",
            id="a-cent-of-the-second-measure",
        ),
    ],
)
def test_what_is_lost_between_file_and_staging_blocks(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[ibis.Table], ibis.Table],
    said: str,
) -> None:
    at = next_release(OWNERSHIP)
    house.publish(at, [{}, {}, {}])
    break_stage(monkeypatch, change)
    run = run_bad(house, at)
    assert "staging:conservation" in run.failed_checks()
    assert said in run.said("staging:conservation")


def test_a_row_that_the_engine_loses_while_writing_blocks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_split = DuckDBEngine.write_split

    def lose(self: DuckDBEngine, expression: Any, *arguments: Any) -> Any:
        return write_split(self, expression.filter(expression.source_row > 1), *arguments)

    monkeypatch.setattr(DuckDBEngine, "write_split", lose)
    at = next_release(RESEARCH)
    house.publish(at, [{"amount": "10.01"}, {"amount": "5.00"}])
    run = run_bad(house, at)
    assert run.failed_checks() == {"staging:conservation"}
    report = run.report("staging:conservation")
    assert (report["rows_read"], report["rows_staged"], report["rows_quarantined"]) == (2, 1, 0)
    assert (report["amount_read"], report["amount_staged"]) == ("15.01", "5.00")
    assert report["amount_difference"] == "10.01"
    assert "difference 10.01" in run.said("staging:conservation")


def test_a_staged_table_that_breaks_its_contract_blocks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = next_release(OWNERSHIP)
    house.publish(at)
    break_stage(monkeypatch, lambda t: t.mutate(physician_profile_id=ibis.literal("A-1")))
    run = run_bad(house, at)
    assert run.failed_checks() == {"staging:schema"}
    for said in ("staging.ownership", "physician_profile_id", "str_matches", "A-1"):
        assert said in run.said("staging:schema")


def test_a_quarantine_that_breaks_its_contract_blocks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = next_release(OWNERSHIP)
    house.publish(at, [{"amount": "1E+05"}, {}])
    quarantine = staging_assets.quarantine

    def broken(rejected: ibis.Table, source: Any) -> ibis.Table:
        return quarantine(rejected, source).mutate(source_file=ibis.null("string"))

    monkeypatch.setattr(staging_assets, "quarantine", broken)
    run = run_bad(house, at)
    assert "quarantine:quarantine_schema" in run.failed_checks()
    assert "source_file" in run.said("quarantine:quarantine_schema")


# --- curated tables --------------------------------------------------------------------------


def break_curated(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, change: Callable[[ibis.Table], Any]
) -> None:
    transforms = getattr(curated_assets, module)
    transform = getattr(transforms, name)
    monkeypatch.setattr(transforms, name, lambda *given: change(transform(*given)))


def run_broken_curated(house: House, at: Era, *names: str) -> Run:
    """Run a broken curated table over what is staged, and tables that read it: none is changed."""
    before = house.contents(key(at), zones=TRUSTED)
    run = house.run(key(at), assets=[dg.AssetKey(["curated", name]) for name in names])
    assert not run.success
    assert run.materialized == frozenset()
    assert run.started == {f"curated__{names[0]}"}
    assert house.contents(key(at), zones=TRUSTED) == before
    assert before[f"curated.{names[0]}"]
    return run


def twice(t: ibis.Table) -> ibis.Table:
    return ibis.union(t, t, distinct=False)


def test_payments_that_break_their_contract_block_every_table_made_of_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_curated(
        monkeypatch,
        "payments_of",
        "payments",
        lambda t: t.mutate(recipient_key=ibis.null("string")),
    )
    # Release changes are made of staging, whatever became of the payments.
    made_of_payments = [name for name in CURATED_TABLES if name != "release_changes"]
    run = run_broken_curated(house, GENERAL, *made_of_payments)
    assert run.failed_checks() == {"curated/payments:schema"}
    assert "recipient_key" in run.said("curated/payments:schema")


def test_payments_that_repeat_their_key_block(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_curated(monkeypatch, "payments_of", "payments", twice)
    run = run_broken_curated(house, GENERAL, "payments")
    assert run.failed_checks() == {"curated/payments:key_unique", "curated/payments:conservation"}
    assert "59 of 118 rows repeat the key (record_id)" in run.said("curated/payments:key_unique")


@pytest.mark.parametrize("at", [GENERAL, OWNERSHIP], ids=str)
def test_payments_that_lose_a_cent_block(
    house: House, monkeypatch: pytest.MonkeyPatch, at: Era
) -> None:
    measure = "value_of_interest" if at is OWNERSHIP else "amount"

    def lose(t: ibis.Table) -> ibis.Table:
        less = (t[measure] - Decimal("0.01")).cast("decimal(18, 2)")
        return t.mutate(**{measure: (t.source_row == 1).ifelse(less, t[measure])})

    break_curated(monkeypatch, "payments_of", "payments", lose)
    run = run_broken_curated(house, at, "payments", "companies")
    assert run.failed_checks() == {"curated/payments:conservation"}
    report = run.report("curated/payments:conservation")
    difference = Decimal(report[f"{measure}_staged"]) - Decimal(report[f"{measure}_here"])
    assert difference == Decimal("0.01")


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        pytest.param(
            lambda t: t.mutate(weight=t.weight * 0.9), {"weights_sum_to_one"}, id="weights"
        ),
        pytest.param(
            lambda t: t.mutate(
                allocated_amount=(t.slot == 2).ifelse(Decimal("50.01"), t.allocated_amount)
            ),
            {"weights_sum_to_one"},
            id="cents",
        ),
        pytest.param(
            lambda t: t.filter(t.slot == 1),
            {"weights_sum_to_one", "one_row_per_filled_slot"},
            id="slots",
        ),
    ],
)
def test_products_that_do_not_add_up_to_their_payments_block(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[ibis.Table], ibis.Table],
    failed: set[str],
) -> None:
    break_curated(monkeypatch, "products_of", "payment_products", change)
    run = run_broken_curated(house, GENERAL, "payment_products")
    assert run.failed_checks() == {f"curated/payment_products:{x}" for x in failed}


def test_a_lost_investigator_blocks_the_physicians(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_curated(monkeypatch, "investigators_of", "investigators", lambda t: t.filter(t.slot == 1))
    run = run_broken_curated(house, RESEARCH, "investigators", "physicians")
    assert run.failed_checks() == {"curated/investigators:one_row_per_filled_slot"}
    assert "3 filled slots, 2 rows" in run.said("curated/investigators:one_row_per_filled_slot")


@pytest.mark.parametrize("name", ["physicians", "companies", "hospitals"])
def test_an_entity_twice_blocks(house: House, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    break_curated(monkeypatch, "entities_of", name, twice)
    run = run_broken_curated(house, GENERAL, name)
    assert run.failed_checks() == {f"curated/{name}:key_unique"}


def test_after_a_blocked_run_a_good_release_goes_through(house: House) -> None:
    bad, good = next_release(OWNERSHIP), next_release(OWNERSHIP)
    malform(house, bad, lambda x: x[:-40])
    run_bad(house, bad)
    house.publish(good)
    run = house.run(key(good), release=str(good.release))
    assert run.success, run.failures
    assert {x["release"] for x in house.rows("curated.payments", key(good))} == {good.release}


def test_the_bad_files_are_kept_in_raw_as_they_are(house: House) -> None:
    at = next_release(OWNERSHIP)
    path = house.publish(at)
    path.write_bytes(path.read_bytes()[:-40])
    house.run(key(at), release=str(at.release), assets=STAGED)
    [landed] = (house.root / "raw").rglob(at.file_name)
    assert landed.read_bytes() == path.read_bytes()
    assert Path(landed).parent.name == f"release={at.release}"
    assert csv_line(at, clean_row(at)).encode()[:100] in landed.read_bytes()
