"""OpenLineage events: which tables each run read and wrote, for catalogs that collect them.

``metadata/lineage/run_id=<id>.jsonl``, one event a line, whole or not at all. The run is an OpenLineage
job of its own and the parent of one job per asset. Datasets are the tables of the lake, and what
CMS published. Written as plain JSON: importing OpenLineage's Python client imports all the ways it
can send events, 0.3 s, which is more than the rest of a small partition's records takes. A test
reads every event back with the client's classes.
https://openlineage.io/docs/spec/object-model
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from openpay_assets.contracts.registry import quarantine_table, staging_table
from openpay_assets.lake.history import Partition
from openpay_assets.lake.manifest import Manifest
from openpay_assets.lake.schema_versions import read_versions
from openpay_assets.lake.whole import write_whole

NAMESPACE = "openpay"
"""Of the jobs; datasets have the lake or the CMS site as theirs."""

SPEC = "https://openlineage.io/spec"
RUN_EVENT = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS = {
    "columnLineage": ("1-2-0", "ColumnLineageDatasetFacet"),
    "errorMessage": ("1-0-1", "ErrorMessageRunFacet"),
    "jobType": ("2-0-3", "JobTypeJobFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
    "parent": ("1-1-0", "ParentRunFacet"),
    "schema": ("1-2-0", "SchemaDatasetFacet"),
}
"""Version and name of the schema of each facet."""

COMPLETED, ABORTED = "COMPLETE", "ABORT"
ENDS = {"succeeded": COMPLETED, "failed": "FAIL"}
"""By status of a run or a step; any other was aborted."""

Json = dict[str, Any]


def lineage_path(root: Path, run_id: str) -> Path:
    """Return where the events of a run lie."""
    return root / "metadata" / "lineage" / f"run_id={run_id}.jsonl"


def write_lineage(root: Path, manifest: Manifest, upstream: Mapping[str, Sequence[str]]) -> Path:
    """Write the events of a run that ended; ``upstream`` gives the assets each asset reads."""
    lines = (json.dumps(event) + "\n" for event in lineage_events(root, manifest, upstream))
    return write_whole(lineage_path(root, manifest.run_id), "".join(lines))


def lineage_events(
    root: Path, manifest: Manifest, upstream: Mapping[str, Sequence[str]]
) -> list[Json]:
    """Return the events of a run: it starts, its assets start and end, it ends."""
    started, ended = _of_run(manifest)
    # Sorting keeps the order of equal times, so an asset starts before it ends.
    assets = sorted(_of_assets(root, manifest, upstream), key=lambda x: str(x["eventTime"]))
    return [started, *assets, ended]


def asset_run_id(run_id: str, asset: str) -> str:
    """Return the OpenLineage id of one asset's part in a run; the same each time it is asked for."""
    return str(uuid.uuid5(uuid.UUID(run_id), asset))


def _of_run(manifest: Manifest) -> tuple[Json, Json]:
    run: Json = {"runId": manifest.run_id}
    ended = run if manifest.status == "succeeded" else {**run, "facets": _error(manifest)}
    job = _job(manifest, manifest.job, "JOB")
    began = manifest.started_at or manifest.ended_at  # Canceled in the queue, it never began.
    kind = ENDS.get(manifest.status, ABORTED)
    return (
        _event(manifest, "START", began, run, job),
        _event(manifest, kind, manifest.ended_at, ended, job),
    )


def _of_assets(
    root: Path, manifest: Manifest, upstream: Mapping[str, Sequence[str]]
) -> Iterator[Json]:
    for step in manifest.steps.values():
        if "started_at" not in step:
            continue
        for asset in step["assets"]:
            inputs = [_dataset(manifest, x) for x in upstream.get(asset, ())]
            inputs += _published(manifest, asset)
            run: Json = {
                "runId": asset_run_id(manifest.run_id, asset),
                "facets": _parent(manifest),
            }
            job = _job(manifest, asset, "ASSET")
            output = _dataset(manifest, asset)
            started_at, ended_at = step["started_at"], step.get("ended_at", manifest.ended_at)
            yield _event(manifest, "START", started_at, run, job, inputs, [output])
            kind = _end(manifest, asset, step["status"])
            if kind == COMPLETED:
                output = _described(root, manifest, asset, output)
            else:
                run = {**run, "facets": {**run["facets"], **_error(manifest)}}
            yield _event(manifest, kind, ended_at, run, job, inputs, [output])


def _end(manifest: Manifest, asset: str, status: str) -> str:
    """Return how an asset ended: staging is committed even if its step then fails to promote it."""
    return COMPLETED if asset in manifest.assets else ENDS.get(status, ABORTED)


def _event(
    manifest: Manifest,
    kind: str,
    at: str,
    run: Json,
    job: Json,
    inputs: Sequence[Json] = (),
    outputs: Sequence[Json] = (),
) -> Json:
    return {
        "eventType": kind,
        "eventTime": at,
        "run": run,
        "job": job,
        "inputs": list(inputs),
        "outputs": list(outputs),
        "producer": _producer(manifest),
        "schemaURL": RUN_EVENT,
    }


def _job(manifest: Manifest, name: str, kind: str) -> Json:
    facet = {"processingType": "BATCH", "integration": "DAGSTER", "jobType": kind}
    return {"namespace": NAMESPACE, "name": name, "facets": _facet(manifest, "jobType", facet)}


def _parent(manifest: Manifest) -> Json:
    run, job = {"runId": manifest.run_id}, {"namespace": NAMESPACE, "name": manifest.job}
    return _facet(manifest, "parent", {"run": run, "job": job})


def _error(manifest: Manifest) -> Json:
    facet = {"message": manifest.error or manifest.status, "programmingLanguage": "PYTHON"}
    return _facet(manifest, "errorMessage", facet)


def _dataset(manifest: Manifest, asset: str) -> Json:
    return {"namespace": _uri(manifest.settings["lake"]), "name": _table(manifest, asset)}


def _table(manifest: Manifest, asset: str) -> str:
    """Return the table of an asset as ``zone.name``; what is no table keeps the asset's name."""
    if asset == "staging":
        return staging_table(Partition.parse(manifest.partition).dataset).name
    return quarantine_table().name if asset == "quarantine" else asset.replace("/", ".")


def _published(manifest: Manifest, asset: str) -> list[Json]:
    """Return the CMS files that an asset of the raw zone landed."""
    metadata = manifest.assets.get(asset, {})
    path, files = metadata.get("path"), metadata.get("files")
    names = sorted(files) if isinstance(files, dict) else []
    if path and "/" in path:
        names.append(Path(path).name)
    return [{"namespace": _uri(manifest.settings["cms"]), "name": name} for name in names]


def _described(root: Path, manifest: Manifest, asset: str, output: Json) -> Json:
    """Add to what an asset wrote its rows, its columns and what those are computed from."""
    metadata = manifest.assets.get(asset, {})
    facets: Json = {}
    if versions := read_versions(root, output["name"]):
        fields = [{"name": x["name"], "type": x["type"]} for x in versions[-1].columns]
        facets |= _facet(manifest, "schema", {"fields": fields})
    if lineage := metadata.get("dagster/column_lineage"):
        columns = {
            column: {
                "inputFields": [
                    {
                        "namespace": output["namespace"],
                        "name": _table(manifest, "/".join(table)),
                        "field": name,
                    }
                    for *table, name in sources
                ]
            }
            for column, sources in lineage.items()
            if sources
        }
        facets |= _facet(manifest, "columnLineage", {"fields": columns})
    rows = metadata.get("dagster/partition_row_count", metadata.get("dagster/row_count"))
    statistics = (
        {} if rows is None else _facet(manifest, "outputStatistics", {"rowCount": int(rows)})
    )
    return {**output, "facets": facets, "outputFacets": statistics}


def _facet(manifest: Manifest, name: str, content: Json) -> Json:
    version, schema = FACETS[name]
    url = f"{SPEC}/facets/{version}/{schema}.json#/$defs/{schema}"
    return {name: {"_producer": _producer(manifest), "_schemaURL": url, **content}}


def _producer(manifest: Manifest) -> str:
    return f"urn:openpay:{manifest.code_version}"


def _uri(location: str) -> str:
    return location if "://" in location else f"file://{location}"
