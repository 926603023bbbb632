"""The Spark engine: its session, its files, and a partition through the Dagster job on it."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cms_files import clean_row, era, hospital, write_file
from on_spark import ON_SPARK
from partition_tables import PartitionTables, partition_tables

from openpay_assets.cms.csv import StrictParseError
from openpay_assets.contracts.registry import (
    CURATED_TABLES,
    curated_table,
    quarantine_table,
    source_columns,
    staging_table,
)
from openpay_assets.contracts.schema import violations
from openpay_assets.definitions import build_definitions
from openpay_assets.engines.spark import SparkEngine, session_config
from openpay_assets.lake.tables import LakeTables, Partition
from openpay_assets.settings import EngineName, Settings

AT = era("G4", 2023, "2024-06-28")
SCRATCH = Path("/lake/.scratch/1-x")


def test_a_session_is_local_offline_and_stays_in_its_scratch() -> None:
    config = session_config("2GB", 3, SCRATCH)

    assert config["spark.master"] == "local[3]"
    assert config["spark.driver.bindAddress"] == config["spark.driver.host"] == "127.0.0.1"
    assert config["spark.ui.enabled"] == "false"
    assert Path(config["spark.local.dir"]).is_relative_to(SCRATCH)
    assert Path(config["spark.sql.warehouse.dir"]).is_relative_to(SCRATCH)


@pytest.mark.parametrize(
    ("limit", "heap"),
    [
        ("2GB", "1907m"),
        ("2GiB", "2048m"),
        ("1.5 gib", "1536m"),
        ("800000000", "762m"),
        ("100MB", "512m"),
    ],
)
def test_the_memory_limit_is_the_heap_in_the_units_of_duckdb(limit: str, heap: str) -> None:
    assert session_config(limit, 1, SCRATCH)["spark.driver.memory"] == heap


@pytest.mark.parametrize("limit", ["2 apples", "", "80%"])
def test_a_memory_limit_that_is_no_size_says_how_to_write_one(limit: str) -> None:
    with pytest.raises(ValueError, match="Write a number and a unit, such as 2GB"):
        session_config(limit, 1, SCRATCH)


@pytest.mark.parametrize(("own", "stops"), [(True, 1), (False, 0)])
def test_closing_stops_a_session_that_lives_in_the_scratch_and_no_other(
    own: bool, stops: int, tmp_path: Path
) -> None:
    folder = tmp_path / "scratch" if own else tmp_path / "elsewhere"
    stopped: list[bool] = []
    conf = SimpleNamespace(get=lambda *_: str(folder / "spark"))
    session: Any = SimpleNamespace(
        _sc=SimpleNamespace(getConf=lambda: conf), stop=lambda: stopped.append(True)
    )

    SparkEngine(session, memory_limit="1GB", threads=1, scratch=tmp_path / "scratch").close()

    assert len(stopped) == stops


@pytest.fixture(scope="module")
def written(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[PartitionTables, Path]:
    """A partition with a row set aside, and the folder it was written to, named like partitions."""
    root = tmp_path_factory.mktemp("written")
    path = write_file(root, AT, [clean_row(AT, 1), clean_row(AT, 2, {"amount": "1E+5"})])
    folder = root / "dataset=research" / "program_year=1999" / "made_up=1"
    return partition_tables(engine, path, folder), folder


def test_files_are_named_plainly_and_nothing_else_is_left(
    written: tuple[PartitionTables, Path],
) -> None:
    _, out = written

    left = {str(x.relative_to(out)) for x in out.rglob("*.*")}
    made = ("staging", "staging/quarantined", "quarantine", "payments", "payment_products")
    assert {x for x in left if not x.endswith("part-0.parquet")} == set()
    assert {f"{name}/part-0.parquet" for name in made} <= left


def test_files_have_the_types_of_the_contract(written: tuple[PartitionTables, Path]) -> None:
    found, _ = written

    for name, files in found.files.items():
        contracted = found.tables[name].to_arrow()
        for file in files:
            schema = pq.read_schema(file)
            expected = [x for x in contracted if x.name in schema.names]
            assert schema.names == [x.name for x in expected], name
            assert [_shape(x.type) for x in schema] == [_shape(x.type) for x in expected], name
            assert {
                pq.read_metadata(file).row_group(0).column(i).compression
                for i in range(pq.read_metadata(file).num_columns)
            } == {"ZSTD"}


def test_files_lack_the_columns_that_the_layout_lacks_and_readers_find_them_empty(
    written: tuple[PartitionTables, Path], engine: Any
) -> None:
    found, _ = written
    table = staging_table(AT.dataset)
    lacking = {c.name for c in source_columns(AT.dataset)} - set(AT.layout.source_of)
    assert lacking

    (file,) = found.files[table.name]
    (row,) = engine.to_rows(engine.read_parquet([file], table))

    assert set(table.column_names) - set(pq.read_schema(file).names) == lacking
    assert list(row) == table.column_names
    assert {row[name] for name in lacking} == {None}


def _shape(kind: Any) -> str:
    """Write a type without the names that a writer gives to the inside of lists and maps."""
    return re.sub(r" not null| \('\w+'\)", "", str(kind)).replace("item:", "element:")


def test_a_table_without_files_is_empty_with_its_columns(engine: Any) -> None:
    table = staging_table(AT.dataset)

    bound = engine.read_parquet([], table)

    assert bound.schema() == table.to_ibis()
    assert engine.to_rows(bound) == []


def test_folders_named_like_partitions_add_no_columns(
    engine: Any, written: tuple[PartitionTables, Path]
) -> None:
    found, _ = written
    table = found.tables["curated.payments"]
    bound = engine.read_parquet(found.files[table.name], table)

    assert list(bound.columns) == table.column_names
    assert engine.to_rows(bound.select("dataset", "program_year")) == [
        {"dataset": "general", "program_year": 2023}
    ]


def test_files_from_before_a_column_are_read_with_it_empty(engine: Any, tmp_path: Path) -> None:
    table = curated_table("companies")
    row = {"dataset": "general", "program_year": 2023, "company_id": "1", "amount": Decimal("1.00")}
    newer, older = tmp_path / "newer.parquet", tmp_path / "older.parquet"
    schema = table.to_arrow()
    pq.write_table(pa.Table.from_pylist([row], schema=schema), newer)
    without = schema.remove(schema.get_field_index("amount"))
    pq.write_table(pa.Table.from_pylist([{**row, "company_id": "2"}], schema=without), older)

    for files, expected in (([older], [None]), ([older, newer], [None, Decimal("1.00")])):
        bound = engine.read_parquet(files, table)
        assert list(bound.columns) == table.column_names
        amounts = engine.to_rows(bound.select("amount"))
        assert sorted((x["amount"] for x in amounts), key=str, reverse=True) == expected


def test_the_contract_of_a_table_is_checked_alike(engine: Any, tmp_path: Path) -> None:
    table = curated_table("companies")
    row = {"dataset": "general", "program_year": 2023, "records": 1, "release": AT.release}
    row["company_names"] = ["ACME"]
    rows = [
        {**row, "company_id": "100", "amount": Decimal("1.00")},
        {**row, "company_id": "101", "amount": Decimal("-1.00")},
        {**row, "company_id": "102", "amount": None, "program_year": 2022, "records": None},
    ]
    path = tmp_path / "companies.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.to_arrow()), path)

    found = violations(table, engine.read_parquet([path], table), 3, {"program_year": 2023})

    assert {(x.column, x.check.strip("<>").split(":")[0], x.sample) for x in found} == {
        ("program_year", "Check equal_to", ("2022",)),
        ("records", "not_nullable", ("{'records': None}",)),
        ("amount", "not_nullable", ("{'amount': None}",)),
        ("amount", "Check greater_than_or_equal_to", ("-1.00",)),
    }


def test_a_file_that_is_not_well_formed_is_refused_alike(engine: Any, tmp_path: Path) -> None:
    path = write_file(tmp_path, AT, [clean_row(AT)])
    path.write_text(path.read_text("utf-8") + '"cut', encoding="utf-8")
    key = AT.layout.source_of["record_id"]

    with (
        pytest.raises(StrictParseError, match=r"line 3, column 1 .*quote opens and does not close"),
        engine.read_raw(path, AT.layout.header, key, []),
    ):
        pass


@pytest.mark.parametrize("name", [pytest.param("spark", marks=ON_SPARK)])
@pytest.mark.usefixtures("spark_session")
def test_a_partition_runs_through_the_job_on_the_engine_of_the_settings(
    name: str, tmp_path: Path
) -> None:
    rows = [clean_row(AT, n, hospital(AT) if n % 2 else None) for n in range(1, 101)]
    rows[7]["amount"] = "1E+5"
    write_file(tmp_path / "cms", AT, rows)
    lake = tmp_path / "lake"
    settings = Settings(
        lake=str(lake), cms=str(tmp_path / "cms"), engine=EngineName(name), threads=2
    )
    keys = [
        "raw_files",
        "removed_list",
        "staging",
        "quarantine",
        *(["curated", x] for x in CURATED_TABLES),
    ]

    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        result = (
            build_definitions(settings)
            .resolve_job_def("partition")
            .execute_in_process(
                partition_key="general|2023",
                asset_selection=[dg.AssetKey(key) for key in keys],
                instance=instance,
            )
        )

    assert result.success
    outputs = [e.step_materialization_data for e in result.get_asset_materialization_events()]
    engines = {
        x.materialization.metadata["engine"].value
        for x in outputs
        if "engine" in x.materialization.metadata
    }
    assert engines == {name}
    tables = LakeTables(lake)
    kept = tables.partitions("staging.general")[Partition(AT.dataset, 2023)]
    assert (kept.rows, kept.release) == (99, "2024-06-28")
    assert _count(tables, quarantine_table().name) == 1
    assert _count(tables, curated_table("payments").name) == 99
    assert not list((lake / ".scratch").iterdir())


def _count(tables: LakeTables, name: str) -> int:
    [(count,)] = duckdb.read_parquet([str(x) for x in tables.files(name)]).count("*").fetchall()
    return int(count)
