"""OpenLineage events: what a run read and wrote, in the words of the specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import staging_table
from openpay_assets.lake.manifest import Manifest
from openpay_assets.lake.openlineage import RUN_EVENT, lineage_path, write_lineage
from openpay_assets.lake.schema_versions import record_schema

RUN_ID = "6f1c1c0e-3f27-4b6c-a0f5-2f5c8f1c3b11"
UPSTREAM = {
    "staging": ["raw_files"],
    "quarantine": ["raw_files"],
    "marts/fct_payments": ["curated/payments"],
}


def at(second: int) -> str:
    return f"2025-01-30T08:00:{second:02d}+00:00"


def step(began: int, ended: int, *assets: str, status: str = "succeeded") -> dict[str, Any]:
    return {
        "assets": list(assets),
        "status": status,
        "started_at": at(began),
        "ended_at": at(ended),
    }


def manifest(**changes: Any) -> Manifest:
    said: dict[str, Any] = {
        "run_id": RUN_ID,
        "partition": "general|2023",
        "job": "partition",
        "status": "succeeded",
        "code_version": "1.2.3",
        "started_at": at(0),
        "ended_at": at(30),
        "settings": {"lake": "/data/lake", "cms": "https://cms.example"},
        "steps": {
            "raw_files": step(1, 2, "raw_files"),
            "stage": step(3, 6, "staging", "quarantine"),
            "marts": step(6, 9, "marts/fct_payments"),
        },
        "assets": {
            "raw_files": {"path": "/data/lake/raw/OP_DTL_GNRL_PGYR2023_P01302025.csv"},
            "staging": {"dagster/partition_row_count": 59},
            "quarantine": {"dagster/partition_row_count": 1},
            "marts/fct_payments": {
                "dagster/column_lineage": {
                    "amount": [["curated", "payments", "amount"]],
                    "loaded": [],
                }
            },
        },
    }
    return Manifest(**{**said, **changes})


def events(root: Path, of: Manifest) -> list[dict[str, Any]]:
    path = write_lineage(root, of, UPSTREAM)
    assert path == root / f"metadata/lineage/run_id={RUN_ID}.jsonl" == lineage_path(root, RUN_ID)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ends(found: list[dict[str, Any]]) -> dict[str, str]:
    """How each job ended."""
    return {x["job"]["name"]: x["eventType"] for x in found if x["eventType"] != "START"}


def of(found: list[dict[str, Any]], job: str) -> dict[str, Any]:
    """The event with which a job ended."""
    [event] = [x for x in found if x["job"]["name"] == job and x["eventType"] != "START"]
    return event


def test_the_run_and_each_asset_start_and_end_in_order(tmp_path: Path) -> None:
    found = events(tmp_path, manifest())
    assert [x["eventTime"] for x in found] == sorted(x["eventTime"] for x in found)
    assert (found[0]["eventType"], found[0]["job"]["name"]) == ("START", "partition")
    assert (found[-1]["eventType"], found[-1]["job"]["name"]) == ("COMPLETE", "partition")
    jobs = {"partition", "raw_files", "staging", "quarantine", "marts/fct_payments"}
    assert ends(found) == dict.fromkeys(jobs, "COMPLETE")
    assert len(found) == 2 * len(jobs)
    for event in found:
        assert event["job"]["namespace"] == "openpay"
        assert event["schemaURL"] == RUN_EVENT


def test_an_asset_is_a_run_of_its_own_whose_parent_is_the_run(tmp_path: Path) -> None:
    found = events(tmp_path, manifest())
    staging = [x["run"] for x in found if x["job"]["name"] == "staging"]
    assert len({x["run"]["runId"] for x in found}) == 5
    assert staging[0]["runId"] == staging[1]["runId"] != RUN_ID
    parent = staging[0]["facets"]["parent"]
    assert parent["run"] == {"runId": RUN_ID}
    assert parent["job"] == {"namespace": "openpay", "name": "partition"}
    again = events(tmp_path, manifest())
    assert again == found


def test_inputs_and_outputs_are_tables_of_the_lake_and_files_of_cms(tmp_path: Path) -> None:
    found = events(tmp_path, manifest())
    raw, staging, mart = (of(found, x) for x in ("raw_files", "staging", "marts/fct_payments"))
    lake = "file:///data/lake"
    assert raw["inputs"] == [
        {"namespace": "https://cms.example", "name": "OP_DTL_GNRL_PGYR2023_P01302025.csv"}
    ]
    assert staging["inputs"] == [{"namespace": lake, "name": "raw_files"}]
    [out] = staging["outputs"]
    assert (out["namespace"], out["name"]) == (lake, "staging.general")
    assert mart["inputs"] == [{"namespace": lake, "name": "curated.payments"}]
    assert mart["outputs"][0]["name"] == "marts.fct_payments"


def test_an_output_says_its_rows_its_columns_and_where_those_come_from(tmp_path: Path) -> None:
    table = staging_table(Dataset.GENERAL)
    record_schema(tmp_path, table, "run-1")
    found = events(tmp_path, manifest())
    [staging] = of(found, "staging")["outputs"]
    assert staging["outputFacets"]["outputStatistics"]["rowCount"] == 59
    fields = staging["facets"]["schema"]["fields"]
    assert [x["name"] for x in fields] == table.column_names
    assert {"name": "amount", "type": "money"} in fields
    [mart] = of(found, "marts/fct_payments")["outputs"]
    assert mart["facets"]["columnLineage"]["fields"] == {
        "amount": {
            "inputFields": [
                {"namespace": "file:///data/lake", "name": "curated.payments", "field": "amount"}
            ]
        }
    }
    assert mart["outputFacets"] == {}


def test_a_failed_run_says_which_assets_failed_and_why(tmp_path: Path) -> None:
    whole = manifest()
    failed = manifest(
        status="failed",
        error="quarantine_share: 12 %",
        steps={**whole.steps, "stage": step(3, 6, "staging", "quarantine", status="failed")}
        | {"marts": {"assets": ["marts/fct_payments"], "status": "planned"}},
        assets={k: v for k, v in whole.assets.items() if k in ("raw_files", "staging")},
    )
    found = events(tmp_path, failed)
    assert ends(found) == {
        "partition": "FAIL",
        "raw_files": "COMPLETE",
        "staging": "COMPLETE",  # Committed before its step failed.
        "quarantine": "FAIL",
    }
    for job in ("partition", "quarantine"):
        error = of(found, job)["run"]["facets"]["errorMessage"]
        assert error["message"] == "quarantine_share: 12 %"


@pytest.mark.parametrize("began", [at(0), ""])
def test_a_canceled_run_is_aborted_though_it_may_never_have_begun(
    tmp_path: Path, began: str
) -> None:
    steps = {"stage": {"assets": ["staging"], "status": "started", "started_at": at(3)}}
    canceled = manifest(
        status="canceled", started_at=began, steps=steps if began else {}, assets={}
    )
    found = events(tmp_path, canceled)
    assert set(ends(found).values()) == {"ABORT"}
    assert found[0]["eventTime"] == (began or at(30))
    if began:
        assert of(found, "staging")["eventTime"] == at(30)


def test_events_that_cannot_be_written_leave_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_lineage(tmp_path, manifest(), UPSTREAM)
    assert not lineage_path(tmp_path, RUN_ID).exists()


@pytest.mark.parametrize("status", ["succeeded", "failed", "canceled"])
def test_openlineages_own_classes_accept_every_event(tmp_path: Path, status: str) -> None:
    record_schema(tmp_path, staging_table(Dataset.GENERAL), "run-1")
    for event in events(tmp_path, manifest(status=status)):
        built = _with_openlineage(event)
        assert built.schemaURL == event["schemaURL"]
        assert built.eventTime == event["eventTime"]


def _with_openlineage(event: dict[str, Any]) -> Any:
    """Build an event with the client's classes, which refuse fields that they do not know."""
    from openlineage.client.event_v2 import (
        InputDataset,
        Job,
        OutputDataset,
        Run,
        RunEvent,
        RunState,
    )

    def dataset(kind: Any, said: dict[str, Any]) -> Any:
        return kind(
            **{k: _facets(v) if k.lower().endswith("facets") else v for k, v in said.items()}
        )

    run, job = event["run"], event["job"]
    return RunEvent(
        eventType=RunState[event["eventType"]],
        eventTime=event["eventTime"],
        run=Run(runId=run["runId"], facets=_facets(run.get("facets", {}))),
        job=Job(namespace=job["namespace"], name=job["name"], facets=_facets(job["facets"])),
        inputs=[dataset(InputDataset, x) for x in event["inputs"]],
        outputs=[dataset(OutputDataset, x) for x in event["outputs"]],
        producer=event["producer"],
    )


def _facets(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    from openlineage.client import facet_v2

    column, schema, parent = (
        facet_v2.column_lineage_dataset,
        facet_v2.schema_dataset,
        facet_v2.parent_run,
    )
    makers = {
        "columnLineage": lambda fields: column.ColumnLineageDatasetFacet(
            fields={
                name: column.Fields([column.InputField(**x) for x in said["inputFields"]])
                for name, said in fields.items()
            }
        ),
        "errorMessage": facet_v2.error_message_run.ErrorMessageRunFacet,
        "jobType": facet_v2.job_type_job.JobTypeJobFacet,
        "outputStatistics": (
            facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
        ),
        "parent": lambda run, job: parent.ParentRunFacet(parent.Run(**run), parent.Job(**job)),
        "schema": lambda fields: schema.SchemaDatasetFacet(
            fields=[schema.SchemaDatasetFacetFields(**x) for x in fields]
        ),
    }
    built = {}
    for name, said in found.items():
        content = {k: v for k, v in said.items() if not k.startswith("_")}
        built[name] = makers[name](**content)
        assert built[name]._schemaURL == said["_schemaURL"], name
        assert said["_producer"]
    return built
