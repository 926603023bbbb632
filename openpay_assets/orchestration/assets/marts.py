"""Marts: dbt models over the curated tables, one partition at a time, tests as checks.

dbt writes each mart as a Parquet file in a scratch folder. Only when every model is built and
every test passed are the files committed to the lake, so a failing test changes nothing that
anyone can read.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtCliResource, dbt_assets
from filelock import FileLock

from openpay_assets.contracts.model import Column, ColumnType, Layout, Table
from openpay_assets.contracts.registry import CURATED_TABLES
from openpay_assets.lake.tables import LakeTables, Partition, Written, total_rows
from openpay_assets.lake.warehouse import marts_lock, marts_workspace, write_view_models
from openpay_assets.orchestration.assets import lineage
from openpay_assets.orchestration.assets.curated import staged_from
from openpay_assets.orchestration.assets.health import FINISHED_TABLE
from openpay_assets.orchestration.dbt import compiled_code
from openpay_assets.orchestration.io_managers import LakeIOManager
from openpay_assets.orchestration.partitions import DATASET_YEARS, partition_of
from openpay_assets.settings import PROJECT_ROOT

DBT_FOLDER = PROJECT_ROOT / "dbt"
TARGET_FOLDER = DBT_FOLDER / "target"
FINGERPRINT = TARGET_FOLDER / "fingerprint"
PARSED = ("models", "macros", "tests")
"""Folders of the project that dbt parses."""
LINEAGE = TARGET_FOLDER / "lineage.json"
LAST = FINISHED_TABLE.partition(".")[2]
"""The mart that is committed last; it counts every record once."""
VIEWS = ("view", "lake_view")
"""Materializations of marts that hold no rows of their own."""


class MartsError(RuntimeError):
    """dbt failed outside a run; the message holds what it printed."""


@cache
def manifest_path() -> Path:
    """Return dbt's compiled manifest, made anew when a file of the project changed."""
    path = TARGET_FOLDER / "manifest.json"
    fingerprint = _fingerprint()
    with FileLock(DBT_FOLDER / ".compile.lock"):
        made = all(x.exists() for x in (path, LINEAGE, FINGERPRINT))
        if made and FINGERPRINT.read_text(encoding="utf-8") == fingerprint:
            return path
        _compile()
        manifest = json.loads(path.read_text(encoding="utf-8"))
        lineage.write(LINEAGE, lineage.trace(manifest))
        FINGERPRINT.write_text(fingerprint, encoding="utf-8")
    return path


def _compile() -> None:
    """Compile the project for any one partition, which needs no data."""
    command = [sys.executable, "-m", "dbt.cli.main", "--quiet", "compile", "--no-introspect"]
    folders = ["--project-dir", str(DBT_FOLDER), "--profiles-dir", str(DBT_FOLDER)]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(  # noqa: S603
            [*command, "--no-populate-cache", *folders],
            env={
                **os.environ,
                "HOME": home,
                "OPENPAY_DATASET": "general",
                "OPENPAY_PROGRAM_YEAR": "2013",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise MartsError(f"dbt compile failed:\n{done.stdout}{done.stderr}")


def _fingerprint() -> str:
    digest = hashlib.sha256()
    # Not the whole folder: dbt leaves thousands of files in its target.
    sources = [x for name in PARSED for x in (DBT_FOLDER / name).rglob("*") if x.is_file()]
    for path in sorted([*sources, *DBT_FOLDER.glob("*.yml")]):
        digest.update(str(path.relative_to(DBT_FOLDER)).encode() + path.read_bytes())
    return digest.hexdigest()


class MartsTranslator(DagsterDbtTranslator):  # type: ignore[misc]
    """Sources are the curated assets, models are ``marts/<name>``."""

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Name an asset after its zone."""
        zone = "curated" if dbt_resource_props["resource_type"] == "source" else "marts"
        return dg.AssetKey([zone, dbt_resource_props["name"]])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:  # noqa: ARG002
        """Put every model in the group of the marts."""
        return "marts"


def marts_asset() -> dg.AssetsDefinition:
    """Return the marts as one multi-asset; dbt parses its project the first time."""

    @dbt_assets(  # type: ignore[untyped-decorator]
        manifest=manifest_path(),
        name="marts",
        exclude="resource_type:unit_test",
        partitions_def=DATASET_YEARS,
        dagster_dbt_translator=MartsTranslator(),
    )
    def marts(
        context: dg.AssetExecutionContext,
        dbt: DbtCliResource,
        lake: dg.ResourceParam[LakeIOManager],
    ) -> Iterator[Any]:
        partition = partition_of(context.partition_key)
        scratch = Path(lake.root) / ".scratch" / f"{os.getpid()}-marts-{uuid.uuid4().hex[:8]}"
        with marts_lock(lake.tables.root), marts_workspace(lake.tables, scratch) as folder:
            release, layout = finished_curated(lake, partition)
            lake.close_engine()  # dbt has as much memory, in this process
            with _environment(folder, lake, partition):
                invocation = dbt.cli(
                    ["build", "--exclude-resource-type", "unit_test"],
                    context=context,
                    target_path=folder / "target",
                )
                events: list[Any] = []
                try:
                    events.extend(invocation.stream())
                except Exception:
                    yield from (e for e in events if not isinstance(e, dg.Output))
                    raise
            stop_unless_whole(folder / "marts" / f"{LAST}.parquet", lake, partition)
            manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
            counted: dict[str, dict[str, int]] = {}
            for name, node in _built_models(manifest).items():
                written = Written(
                    table=f"marts.{name}",
                    partition=partition,
                    files=_keep(
                        folder / "marts" / f"{name}.parquet", lake.tables, name, context.run.run_id
                    ),
                    release=release,
                    run_id=context.run.run_id,
                    layout=layout.name,
                )
                rows = total_rows(written.files)
                partitioned = node["config"]["meta"]["openpay"]["partitioned"]
                kind = "partition_row_count" if partitioned else "row_count"
                counted[name] = {f"dagster/{kind}": rows}
                lake.tables.commit(
                    written,
                    mart_table(name, folder / "marts" / f"{name}.parquet", written.files),
                    rows=rows,
                    whole_table=not partitioned,
                )
            write_view_models(lake.tables.root, _view_models(compiled_code(invocation), manifest))
        yield from _described(events, counted)

    definition: dg.AssetsDefinition = marts
    return definition


def finished_curated(lake: LakeIOManager, partition: Partition) -> tuple[date, Layout]:
    """Return the release that every curated table of a partition holds, and its layout.

    Fails when they hold different ones: a run was stopped halfway, or another is at work.
    """
    release, layout = staged_from(lake, partition)
    for name in CURATED_TABLES:
        held = lake.tables.partitions(f"curated.{name}").get(partition)
        if held is None or held.release != str(release):
            raise dg.Failure(
                f"{partition} is staged from release {release}, but curated.{name} holds "
                f"{held.release if held else 'nothing'}: a run of it was stopped, or another one is "
                f"at work. Run the whole partition.",
                allow_retries=False,
            )
    return release, layout


def stop_unless_whole(built: Path, lake: LakeIOManager, partition: Partition) -> None:
    """Fail unless a mart counts as many records as the curated payments of its partition.

    dbt's tests compare what it built with what it read; this compares it with the lake.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    counted = pc.sum(pq.read_table(built, columns=["records"])["records"]).as_py() or 0
    held = lake.tables.partitions("curated.payments")[partition].rows
    if counted != held:
        raise dg.Failure(
            f"The marts of {partition} were built over {counted:,} records, but curated.payments "
            f"holds {held:,}. Nothing was committed.",
            allow_retries=False,
        )


def _described(events: Sequence[Any], counted: Mapping[str, Mapping[str, int]]) -> Iterator[Any]:
    """Add to each model what its columns come from and, unless it is a view, its rows."""
    traced = lineage.read(LINEAGE)
    for event in events:
        if isinstance(event, dg.Output):
            model = str(event.metadata["unique_id"].value).split(".")[-1]
            yield event.with_metadata(
                {
                    **event.metadata,
                    "dagster/column_lineage": traced.get(model),
                    **counted.get(model, {}),
                }
            )
        else:
            yield event


def _built_models(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the models that hold rows by name, the one that says a partition is finished last."""
    models = {
        node["name"]: node
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["config"]["materialized"] == "lake"
    }
    return dict(sorted(models.items(), key=lambda x: x[0] == LAST))


def _view_models(compiled: Mapping[str, str], manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the compiled SQL of the views among the marts."""
    return {
        node["name"]: compiled[unique_id]
        for unique_id, node in manifest["nodes"].items()
        if node["resource_type"] == "model"
        and node["schema"] == "marts"
        and node["config"]["materialized"] in VIEWS
        and unique_id in compiled
    }


def _keep(source: Path, tables: LakeTables, name: str, run_id: str) -> tuple[Path, ...]:
    """Move a mart's file from scratch into the lake; no file for no rows."""
    import pyarrow.parquet as pq

    if pq.read_metadata(source).num_rows == 0:
        return ()
    target = tables.folder(f"marts.{name}") / "data" / f"{run_id}-{uuid.uuid4().hex[:8]}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    return (source.rename(target),)


def mart_table(name: str, source: Path, kept: tuple[Path, ...]) -> Table:
    """Return a mart as a table of the lake, its columns read off the file that dbt wrote."""
    import pyarrow.parquet as pq

    schema = pq.read_schema(kept[0] if kept else source)
    kinds = {str(kind.to_arrow()): kind for kind in ColumnType}
    columns = tuple(
        Column(field.name, kinds[_arrow_name(field.type)], required=False, description="")
        for field in schema
    )
    return Table(f"marts.{name}", columns)


def _arrow_name(kind: Any) -> str:
    import pyarrow as pa

    return str(pa.list_(pa.field("element", pa.string()))) if pa.types.is_list(kind) else str(kind)


@contextmanager
def _environment(folder: Path, lake: LakeIOManager, partition: Partition) -> Iterator[None]:
    """Tell dbt which partition to build and where; put the environment back afterwards.

    The warehouse is named ``~/warehouse.duckdb`` in dbt's profile, so its place is told by HOME:
    a profile that changes would make dbt parse its whole project for every run.
    """
    told = {
        "HOME": str(folder),
        "OPENPAY_DATASET": str(partition.dataset),
        "OPENPAY_PROGRAM_YEAR": str(partition.program_year),
        "OPENPAY_MARTS": str(folder / "marts"),
        "OPENPAY_MEMORY_LIMIT": lake.memory_limit,
        "OPENPAY_THREADS": str(lake.threads),
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def dbt_resource() -> DbtCliResource:
    """Return the dbt command line on this project."""
    from openpay_assets.orchestration.dbt import DbtInProcess

    return DbtInProcess(
        project_dir=str(DBT_FOLDER),
        profiles_dir=str(DBT_FOLDER),
        # Never started; looked for all the same, and an environment need not be on the PATH.
        dbt_executable=str(Path(sys.executable).with_name("dbt")),
    )
