"""The dbt project, built as the marts assets build it: one partition at a time, on DuckDB.

A small lake holds three datasets of 2023 and one earlier year. The same companies and clinicians
occur in all of them, so whatever adds datasets or years together shows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from openpay_assets.contracts.model import ColumnType
from openpay_assets.contracts.registry import (
    CURATED_TABLES,
    RECONCILIATION_TABLES,
    REFERENCE_TABLES,
    curated_table,
)

PROJECT = Path(__file__).resolve().parents[2] / "dbt"
BUILD_EACH = Path(__file__).parent / "build_each.py"
PARTITION = "{dataset: %s, program_year: 2023}"
DATASETS = ("general", "research", "ownership")
SOURCES = (*CURATED_TABLES, *REFERENCE_TABLES, *RECONCILIATION_TABLES)
SPECIALTY = "Allopathic & Osteopathic Physicians|Internal Medicine"
MART_TYPES = {
    ColumnType.TEXT: "varchar",
    ColumnType.MONEY: "decimal(18,2)",
    ColumnType.SIGNED_MONEY: "decimal(18,2)",
    ColumnType.DATE: "date",
    ColumnType.INTEGER: "bigint",
    ColumnType.YEAR: "integer",
    ColumnType.NUMBER: "double",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.SIGNED_MONEY: "decimal(18,2)",
    ColumnType.TEXTS: "varchar[]",
    ColumnType.TEXT_MAP: "map(varchar, varchar)",
}
Row = dict[str, Any]


def payment(dataset: str, year: int, number: int, **values: Any) -> Row:
    """Return a record of company 100 to clinician 1, unless told otherwise."""
    is_ownership = dataset == "ownership"
    return {
        "dataset": dataset,
        "program_year": year,
        "record_id": str(number),
        "recipient_key": "physician:1",
        "profile_id": "1",
        "recipient_type": None if is_ownership else "physician",
        "specialty": SPECIALTY,
        "state": "CA",
        "company_id": "100",
        "amount": Decimal(10 * number),
        "value_of_interest": Decimal(1000) if is_ownership else None,
        "date_of_payment": None if is_ownership else date(year, 6, number),
        "number_of_payments": 1 if dataset == "general" else None,
        "nature_of_payment": "Food and Beverage" if dataset == "general" else None,
        "is_disputed": number == 2,
        "product_count": 0,
        "investigator_count": 0,
        "release": date(2025, 6, 30),
        **values,
    }


def slot_of(record: Row, slot: int, **values: Any) -> Row:
    """Return a product or investigator slot of a record."""
    keys = ("dataset", "program_year", "record_id", "company_id", "recipient_key", "release")
    return {**{key: record[key] for key in keys}, "slot": slot, **values}


def entity(record: Row, **values: Any) -> Row:
    """Return the row of an entity in the partition of a record."""
    keys = ("dataset", "program_year", "release")
    return {
        **{key: record[key] for key in keys},
        "last_seen_on": record["date_of_payment"],
        **values,
    }


def moved(record: Row, kind: str) -> Row:
    """Return the change of a record that came or left with its release."""
    keys = ("dataset", "program_year", "record_id", "company_id", "recipient_key", "release")
    sign, when = (1, "after") if kind == "added" else (-1, "before")
    measures = {
        name: {f"{name}_{when}": value, f"{name}_moved": sign * value}
        for name in ("amount", "value_of_interest")
        if (value := record[name]) is not None
    }
    return {
        **{key: record[key] for key in keys},
        "kind": kind,
        "company_name": "ACME",
        "changed_columns": [],
        "previous_release": date(2025, 1, 30),
        **measures["amount"],
        **measures.get("value_of_interest", {}),
    }


def names_of(year: int) -> list[str]:
    """Return the names of company 100 in a year: several in one year are real."""
    return [f"ACME {year}", "Acme"]


def difference(dataset: str, year: int) -> Row:
    """Return a total of the dashboard that is off by a record."""
    sides = {"ours": Decimal(3), "published": Decimal(4), "difference": Decimal(-1)}
    counts = {"keys_compared": 1, "keys_off": 1, "release": date(2025, 6, 30)}
    what = {"control": "dashboard", "level": "key", "measure": "records"}
    return {"dataset": dataset, "program_year": year, **what, **sides, **counts}


def small_lake() -> dict[str, list[Row]]:
    """Return the rows of every curated table."""
    hospital = {"recipient_key": "hospital:7", "profile_id": None, "hospital_id": "7"}
    hospital |= {"recipient_type": "teaching_hospital", "specialty": None, "state": None}
    tables: dict[str, list[Row]] = {name: [] for name in SOURCES}
    for dataset, year in [("general", 2022), *((dataset, 2023) for dataset in DATASETS)]:
        first = payment(dataset, year, 1)
        second = payment(dataset, year, 2, company_id="200")
        third = payment(dataset, year, 3, **(hospital if dataset != "ownership" else {}))
        if dataset != "ownership":
            first["product_count"] = 2
            shares = {"weight": 0.5, "allocated_amount": Decimal(5)}
            names = {"product_name": "Eliquis®", "is_named": True}
            tables["payment_products"] += [
                slot_of(first, 1, **shares, **names),
                slot_of(first, 2, **shares, product_name="N/A", is_named=False),
            ]
            tables["hospitals"].append(entity(third, hospital_id="7", hospital_name="General"))
        if dataset == "research":
            third["investigator_count"] = 2
            named = {"profile_id": "1", "associated_amount": third["amount"]}
            tables["investigators"] += [slot_of(third, n, **named) for n in (1, 2)]
        tables["payments"] += [first, second, third]
        tables["release_changes"] += [moved(first, "added"), moved(second, "removed")]
        tables["physicians"].append(entity(first, profile_id="1", last_name=f"{dataset} {year}"))
        tables["companies"] += [
            entity(first, company_id="100", company_name=f"ACME {year}", company_names=names_of(year)),
            entity(second, company_id="200", company_name="Other", company_names=["Other"]),
        ]
        tables["reconciliation"].append(difference(dataset, year))
    release = {"release": date(2025, 6, 30), "source_file": "profiles.csv"}
    tables["supplement"].append({"profile_id": "9", "last_name": "Profiled", **release})
    mapping = {"secondary_profile_id": "1", "primary_profile_id": "8", "resolved_primary": "9"}
    tables["profile_mapping"].append({**mapping, **release})
    profile = {"company_id": "100", "company_name": "Acme Corporation", **release}
    tables["entity_profiles"].append(profile)
    return tables


@dataclass(frozen=True)
class Build:
    """What one run of dbt left behind."""

    folder: Path
    output: str

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / "target" / "manifest.json").read_text("utf-8"))

    @cached_property
    def models(self) -> dict[str, dict[str, Any]]:
        nodes = self.manifest["nodes"].values()
        return {node["name"]: node for node in nodes if node["resource_type"] == "model"}

    @cached_property
    def results(self) -> dict[str, str]:
        found = json.loads((self.folder / "target" / "run_results.json").read_text("utf-8"))
        return {result["unique_id"]: result["status"] for result in found["results"]}

    def file(self, mart: str) -> Path:
        return self.folder / "marts" / f"{mart}.parquet"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(self.folder / "warehouse.duckdb", read_only=True) as connection:
            return connection.execute(sql).fetchall()


def options(folder: Path) -> list[str]:
    project = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    return [*project, "--target-path", str(folder / "target"), "--log-path", str(folder / "logs")]


def run_python(folder: Path, *command: str, stdin: str = "") -> str:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("OPENPAY_", "DBT_"))}
    finished = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=inherited,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    return f"{finished.stdout}\nexit code {finished.returncode}"


def build_of(folder: Path, tables: dict[str, Path], dataset: str) -> dict[str, Any]:
    """Prepare a folder as the caller of dbt does, and return what ``build_each`` is to run."""
    warehouse = folder / "warehouse.duckdb"
    with duckdb.connect(warehouse) as connection:
        connection.execute("create schema curated")
        for name, file in tables.items():
            connection.execute(f"create view curated.{name} as from read_parquet('{file}')")
    (folder / "marts").mkdir()
    # Unit tests do not depend on the partition: once is enough.
    left_out = [] if dataset == "general" else ["--exclude-resource-type", "unit_test"]
    return {
        "environment": {
            "OPENPAY_WAREHOUSE": str(warehouse),
            "OPENPAY_MARTS": str(folder / "marts"),
            "OPENPAY_TEMP": str(folder / "spill"),
        },
        "options": options(folder),
        "arguments": [*left_out, "--vars", PARTITION % dataset],
    }


@pytest.fixture(scope="session")
def all_builds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Build]:
    """A finished build per dataset of 2023, and the project compiled for Redshift beside them."""
    lake = tmp_path_factory.mktemp("lake")
    tables = {}
    for name, rows in small_lake().items():
        tables[name] = lake / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows, curated_table(name).to_arrow()), tables[name])
    folders = {name: tmp_path_factory.mktemp(name) for name in (*DATASETS, "redshift")}
    runs = [build_of(folders[dataset], tables, dataset) for dataset in DATASETS]
    offline = ["--target", "redshift", "--no-introspect", "--no-populate-cache"]
    compile_redshift = ["-m", "dbt.cli.main", "compile", *options(folders["redshift"]), *offline]
    with ThreadPoolExecutor() as pool:
        built = pool.submit(run_python, lake, str(BUILD_EACH), stdin=json.dumps(runs))
        compiled = pool.submit(run_python, lake, *compile_redshift, "--vars", PARTITION % "general")
    outputs = {name: built.result() for name in DATASETS} | {"redshift": compiled.result()}
    return {name: Build(folders[name], outputs[name]) for name in folders}


@pytest.fixture(scope="session")
def builds(all_builds: dict[str, Build]) -> dict[str, Build]:
    return {dataset: all_builds[dataset] for dataset in DATASETS}


@pytest.fixture(scope="session")
def general(builds: dict[str, Build]) -> Build:
    return builds["general"]


def marts(build: Build) -> dict[str, dict[str, Any]]:
    return {name: model for name, model in build.models.items() if model["schema"] == "marts"}


def meta(model: dict[str, Any]) -> dict[str, Any]:
    return model["config"]["meta"]["openpay"]


def is_money(column: str) -> bool:
    return "amount" in column or "value_of_interest" in column


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_partition_builds_and_passes_its_tests(builds: dict[str, Build], dataset: str) -> None:
    build = builds[dataset]
    assert set(build.results.values()) == {"success", "pass"}, build.output


def test_every_unit_test_passes(general: Build) -> None:
    ran = {name: x for name, x in general.results.items() if name.startswith("unit_test.")}
    assert ran.keys() == general.manifest["unit_tests"].keys()
    assert set(ran.values()) == {"pass"}


def test_every_column_is_documented_with_its_name_and_type(builds: dict[str, Build]) -> None:
    for build in builds.values():
        for name, model in build.models.items():
            documented = [(c["name"], c["data_type"]) for c in model["columns"].values()]
            rows = build.query(f"describe {model['schema']}.{name}")
            assert documented == [(row[0], row[1].lower()) for row in rows], name
            assert all(c["description"] for c in model["columns"].values()), name


def test_every_model_says_what_a_row_is(general: Build) -> None:
    for name, model in general.models.items():
        assert model["description"].startswith("One row per "), name


def test_sources_and_staging_models_mean_what_the_contract_says(general: Build) -> None:
    sources = {node["name"]: node for node in general.manifest["sources"].values()}
    assert sources.keys() == set(SOURCES)
    for name in SOURCES:
        contract = {
            c.name: (c.description, MART_TYPES[c.type]) for c in curated_table(name).columns
        }
        source = sources[name]["columns"].values()
        assert {c["name"]: (c["description"], c["data_type"]) for c in source} == contract
        # One fact reads its source itself: it is a view, which readers could not follow further.
        model = general.models.get(f"stg_{name}") or general.models.get(f"fct_{name}", {})
        assert model or name not in CURATED_TABLES
        for column in model.get("columns", {}).values():
            if column["name"] not in ("recency", "product"):
                said = (column["description"], column["data_type"])
                assert said == contract[column["name"]], f"stg_{name}.{column['name']}"


def test_no_mart_with_money_leaves_dataset_out_of_its_grain(general: Build) -> None:
    with_money = {n: m for n, m in marts(general).items() if any(map(is_money, m["columns"]))}
    assert len(with_money) > 8
    for name, model in with_money.items():
        assert {"dataset", "program_year"} <= set(meta(model)["grain"]), name
        assert set(meta(model)["grain"]) <= model["columns"].keys(), name


def test_a_mart_holds_the_money_of_its_partition_alone(builds: dict[str, Build]) -> None:
    for dataset, build in builds.items():
        for name, model in marts(build).items():
            if not meta(model)["partitioned"]:
                continue
            partitions = build.query(f"select distinct dataset, program_year from marts.{name}")
            assert partitions in ([(dataset, 2023)], []), name
        totals = build.query("select sum(amount), sum(value_of_interest) from marts.company_years")
        interest = Decimal(3000) if dataset == "ownership" else None
        assert totals == [(Decimal(60), interest)]


def test_moves_between_releases_are_counted_per_company_and_dataset(
    builds: dict[str, Build],
) -> None:
    for dataset, build in builds.items():
        interest = Decimal(1000) if dataset == "ownership" else None
        assert build.query(
            "select company_id, kind, records, amount_moved, value_of_interest_moved "
            "from marts.release_changes_by_company order by kind"
        ) == [
            ("100", "added", 1, Decimal(10), interest),
            ("200", "removed", 1, Decimal(-20), interest and -interest),
        ]


def test_investigator_money_is_called_associated(builds: dict[str, Build]) -> None:
    research = builds["research"]
    for name in ("fct_investigator_payments", "investigator_years"):
        money = [column for column in research.models[name]["columns"] if is_money(column)]
        assert money
        assert all("associated" in column for column in money)
    named = research.query("select records, associated_amount from marts.investigator_years")
    assert named == [(1, Decimal(30))]


def test_every_grain_is_tested_for_uniqueness(general: Build) -> None:
    tested: dict[str, list[str]] = {}
    for node in general.manifest["nodes"].values():
        test = node.get("test_metadata", {})
        if test.get("name") in ("unique_grain", "unique"):
            arguments = test["kwargs"]
            columns = arguments.get("columns") or [arguments["column_name"]]
            tested[general.manifest["nodes"][node["attached_node"]]["name"]] = columns
    assert tested == {
        name: meta(model)["grain"]
        for name, model in marts(general).items()
        if model["config"]["materialized"] in ("lake", "lake_view")
    }


def test_each_mart_is_one_file_and_nothing_is_kept_in_the_warehouse(general: Build) -> None:
    files = {name for name, m in marts(general).items() if m["config"]["materialized"] == "lake"}
    assert {file.stem for file in (general.folder / "marts").iterdir()} == files
    assert general.query("select count(*) from duckdb_tables()") == [(0,)]


def test_a_mart_without_rows_has_the_columns_of_one_with_rows(builds: dict[str, Build]) -> None:
    empty = pq.ParquetFile(builds["ownership"].file("product_years"))
    filled = pq.ParquetFile(builds["general"].file("product_years"))
    assert (empty.metadata.num_rows, filled.metadata.num_rows) == (0, 2)
    assert empty.schema_arrow == filled.schema_arrow


def test_dimensions_cover_every_partition_of_the_lake(builds: dict[str, Build]) -> None:
    for build in builds.values():
        assert build.query(
            "select last_name, datasets, first_program_year, last_program_year, "
            "primary_profile_id, supplement_last_name from marts.dim_physicians"
        ) == [("general 2023", "general|research|ownership", 2022, 2023, "9", "Profiled")]
        assert build.query(
            "select company_name, canonical_name, reported_names, reported_name_years "
            "from marts.dim_companies where company_id = '100'"
        ) == [
            (
                "ACME 2023",
                "Acme Corporation",
                "ACME 2022|ACME 2023|Acme",
                "ACME 2022 (2022)|ACME 2023 (2023)|Acme (2022, 2023)",
            )
        ]


def test_the_pairs_view_reads_one_mart(general: Build) -> None:
    view = general.models["company_recipient_pairs"]
    assert view["config"]["materialized"] == "view"
    assert view["depends_on"]["nodes"] == ["model.openpay.company_recipient_years"]


def test_the_reconciliation_shows_every_difference_of_every_partition(general: Build) -> None:
    assert general.models["reconciliation"]["config"]["materialized"] == "view"
    assert general.query(
        "select dataset, program_year, ours, published, difference from marts.reconciliation "
        "where program_year = 2023 order by dataset"
    ) == [(x, 2023, Decimal(3), Decimal(4), Decimal(-1)) for x in sorted(DATASETS)]


@pytest.fixture
def redshift(all_builds: dict[str, Build]) -> Build:
    if find_spec("dbt.adapters.redshift") is None:
        pytest.skip("needs the aws extra")
    return all_builds["redshift"]


def test_redshift_replaces_partitions_in_tables(redshift: Build) -> None:
    assert redshift.output.endswith("exit code 0"), redshift.output
    for name, model in marts(redshift).items():
        config = model["config"]
        if meta(model)["partitioned"]:
            assert config["materialized"] == "incremental", name
            assert config["incremental_strategy"] == "delete+insert"
            assert config["unique_key"] == ["dataset", "program_year"]
        else:
            assert config["materialized"] in ("table", "view"), name


def test_redshift_reads_one_partition_of_every_table_it_adds_up(redshift: Build) -> None:
    """On Redshift a mart holds every partition, unlike the files of one run on DuckDB."""
    for name, model in marts(redshift).items():
        sources = [node.split(".")[-1] for node in model["depends_on"]["nodes"]]
        if meta(model)["partitioned"] and not any(x.startswith("stg_") for x in sources):
            compiled = redshift.folder / "target" / "compiled" / "openpay"
            sql = (compiled / model["original_file_path"]).read_text("utf-8")
            reads = sql.count('"marts".') + sql.count('"curated".')
            assert sql.count("dataset = 'general' and program_year = 2023") == reads > 0, name
