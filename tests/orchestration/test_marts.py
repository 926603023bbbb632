"""Marts in Dagster: dbt's tests are checks, and one that fails changes nothing that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cms_files import era
from house import House, Run

from openpay_assets.contracts.registry import curated_table
from openpay_assets.definitions import lake_io_manager
from openpay_assets.lake.tables import Partition, Written
from openpay_assets.orchestration.assets.marts import stop_unless_whole

KEY = "general|2023"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.close()


def build_marts(house: House) -> Run:
    graph = house.definitions.resolve_asset_graph()
    marts = [x for x in graph.get_all_asset_keys() if x.path[0] == "marts"]
    return house.run(KEY, assets=marts)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_failing_dbt_test_is_a_failed_check_and_the_marts_stay_as_they_were(
    house: House,
) -> None:
    first, second = era("G4", 2023, "2024-06-28"), era("G4", 2023, "2025-01-30")
    house.publish(first, [{}, {}])
    assert house.run(KEY).success
    built = build_marts(house)
    assert built.success, built.failures
    assert built.failed_checks() == set()
    before = {x: house.tables.files(x) for x in house.tables.names("marts")}
    years = house.rows("marts.company_years", KEY)
    assert [x["records"] for x in years] == [2]

    house.publish(second, [{}, {}, {}])
    assert house.run(KEY).success
    lost = Written(
        "curated.payment_products", Partition.parse(KEY), (), second.release, "broken", "G4"
    )
    house.tables.commit(lost, curated_table("payment_products"), rows=0)
    failed = build_marts(house)
    assert not failed.success
    assert failed.failed_checks() == {"marts/fct_payment_products:slots_add_up_to_payments"}
    assert not failed.materialized
    assert {x: house.tables.files(x) for x in house.tables.names("marts")} == before
    assert house.rows("marts.company_years", KEY) == years
    assert not list((house.root / ".scratch").glob("*-marts-*"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_mart_says_which_columns_each_of_its_columns_comes_from(house: House) -> None:
    house.publish(era("G4", 2023))
    assert house.run(KEY).success
    built = build_marts(house)
    lineage = built.metadata["marts/company_years"]["dagster/column_lineage"]
    [amount] = lineage.deps_by_column["amount"]
    assert (amount.asset_key, amount.column_name) == (
        dg.AssetKey(["marts", "company_recipient_years"]),
        "amount",
    )


def test_marts_built_over_other_records_than_the_lake_holds_are_not_committed(
    house: House, tmp_path: Path
) -> None:
    house.publish(era("G4", 2023), [{}, {}])
    assert house.run(KEY).success
    lake = lake_io_manager(house.settings)
    built = tmp_path / "company_years.parquet"
    pq.write_table(pa.table({"records": [1, 1]}), built)
    stop_unless_whole(built, lake, Partition.parse(KEY))
    pq.write_table(pa.table({"records": pa.array([], pa.int64())}), built)
    with pytest.raises(dg.Failure, match="over 0 records, but curated.payments holds 2"):
        stop_unless_whole(built, lake, Partition.parse(KEY))
