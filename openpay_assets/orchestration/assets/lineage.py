"""Column lineage of the marts, read off dbt's compiled SQL with sqlglot.

Computed once per version of the dbt project and kept beside its manifest: tracing two hundred
columns takes seconds, which no run should pay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

Lineage = dict[str, dict[str, list[tuple[str, str, str]]]]
"""By model and column: the columns it depends on, as (zone, table, column)."""

ZONES = {"dbt_staging": "curated", "curated": "curated", "marts": "marts"}
STAGING_PREFIX = "stg_"


def trace(manifest: Mapping[str, Any]) -> Lineage:
    """Return the lineage of every mart of a compiled manifest."""
    schema = _schema(manifest)
    return {
        node["name"]: dict(_columns(node, schema))
        for node in manifest["nodes"].values()
        if node["resource_type"] == "model" and node["schema"] == "marts"
    }


def _schema(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return column names and types of every relation, as sqlglot wants them."""
    schema: dict[str, Any] = {}
    relations = [
        *(n for n in manifest["nodes"].values() if n["resource_type"] == "model"),
        *manifest["sources"].values(),
    ]
    for node in relations:
        columns = {name: c.get("data_type") or "text" for name, c in node["columns"].items()}
        table = node.get("identifier") or node["name"]
        schema.setdefault(node["database"], {}).setdefault(node["schema"], {})[table] = columns
    return schema


def _columns(
    node: Mapping[str, Any], schema: dict[str, Any]
) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage
    from sqlglot.optimizer import build_scope, qualify

    query = qualify.qualify(
        parse_one(node["compiled_code"], dialect="duckdb"), schema=schema, dialect="duckdb"
    )
    scope = build_scope(query)
    for column in node["columns"]:
        found = set()
        for step in lineage(column, query, schema=schema, scope=scope, dialect="duckdb").walk():
            if isinstance(step.source, exp.Table) and step.source.db in ZONES:
                table = step.source.name.removeprefix(STAGING_PREFIX)
                found.add((ZONES[step.source.db], table, step.name.split(".")[-1].strip('"')))
        yield column, sorted(found)


def write(path: Path, traced: Lineage) -> None:
    """Keep a lineage."""
    path.write_text(json.dumps(traced), encoding="utf-8")


def read(path: Path) -> Mapping[str, dg.TableColumnLineage]:
    """Return a kept lineage as Dagster shows it, by model."""
    traced: Lineage = json.loads(path.read_text(encoding="utf-8"))
    return {
        model: dg.TableColumnLineage(
            {
                column: [
                    dg.TableColumnDep(asset_key=dg.AssetKey([zone, table]), column_name=name)
                    for zone, table, name in depends_on
                ]
                for column, depends_on in columns.items()
            }
        )
        for model, columns in traced.items()
    }
