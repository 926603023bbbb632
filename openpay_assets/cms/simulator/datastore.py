"""The query API of CMS's site over simulated files: at most 500 rows a call, everything text.

What CMS refuses is refused: a larger limit, an operator or a property it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from openpay_assets.cms.csv import read_csv_sql, read_header
from openpay_assets.cms.simulator.site import PublishedFile
from openpay_assets.cms.simulator.vocabulary import read_data
from openpay_assets.contracts.model import ColumnType, Dataset
from openpay_assets.contracts.registry import layouts, source_columns
from openpay_assets.contracts.sql import sql_name, sql_text

MOST_ROWS = 500
_COMPARISONS = ("=", "<>", "<", "<=", ">", ">=", "like")
_LISTS = ("in", "not in")
OPERATORS = (*_COMPARISONS, *_LISTS, "between")
_PART = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\[(\w+)\])?(\[\d*\])?\Z")
_FLAGS = {"count": True, "results": True, "schema": True, "keys": True}


class QueryError(ValueError):
    """A query that CMS's site refuses."""


def from_parameters(parameters: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Turn ``conditions[0][property]=...`` and the like into the JSON form of a query.

    Raises ``QueryError`` on a parameter that has neither form.
    """
    query: dict[str, Any] = {}
    slots: dict[str, dict[int, Any]] = {}
    for name, value in parameters:
        found = _PART.match(name)
        if found is None:
            raise QueryError(f"JSON Schema validation failed: {name}")
        key, slot, part, is_list = found.groups()
        if slot is None:
            query[key] = value
            continue
        items = slots.setdefault(key, {})
        if part is None:
            items[int(slot)] = value
        elif is_list:
            items.setdefault(int(slot), {}).setdefault(part, []).append(value)
        else:
            items.setdefault(int(slot), {})[part] = value
    return {
        **query,
        **{key: [items[slot] for slot in sorted(items)] for key, items in slots.items()},
    }


def run_query(file: PublishedFile, query: Mapping[str, Any]) -> dict[str, Any]:
    """Answer a query over a file: its rows, their number, and the columns when asked.

    Raises ``QueryError`` when CMS would not answer it.
    """
    import duckdb

    header = read_header(file.path)
    columns = {name.lower(): name for name in header}
    flags = {name: _flag(query.get(name, default)) for name, default in _FLAGS.items()}
    limit, offset = _whole(query, "limit", MOST_ROWS), _whole(query, "offset", 0)
    if not 1 <= limit <= MOST_ROWS:
        raise QueryError(f"JSON Schema validation failed: limit is {limit}, at most {MOST_ROWS}")
    asked = query.get("properties") or list(columns)
    where = " AND ".join(["true", *(_condition(x, columns) for x in query.get("conditions") or [])])
    orders = ", ".join(_order(x, columns) for x in query.get("sorts") or [])
    table = f"{read_csv_sql(file.path, header)} WHERE {where}"
    selected = ", ".join(f"{_value(name, columns)} AS {sql_name(name)}" for name in asked)
    answer: dict[str, Any] = {}
    with duckdb.connect() as connection:
        if flags["results"]:
            order = f" ORDER BY {orders}" if orders else ""
            rows = connection.execute(
                f"SELECT {selected} FROM {table}{order} LIMIT {limit} OFFSET {offset}"
            ).fetchall()
            answer["results"] = [
                dict(zip(asked, row, strict=True)) if flags["keys"] else list(row) for row in rows
            ]
        if flags["count"]:
            answer["count"] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
    if flags["schema"]:
        fields = {name: {"type": "text", "description": cms} for name, cms in columns.items()}
        answer["schema"] = {file.distribution_id: {"fields": fields}}
    answer["query"] = {
        "resources": [{"id": file.distribution_id, "alias": "t"}],
        "properties": asked,
        "keys": flags["keys"],
        "limit": limit,
        "offset": offset,
    }
    return answer


def dictionary(identifier: str) -> dict[str, Any] | None:
    """Return CMS's data dictionary of the current layout of a dataset; None when it is not known."""
    kinds = {row["dictionary"]: row["kind"] for row in read_data("catalog_items.csv")}
    kind = kinds.get(identifier)
    if kind not in set(Dataset):
        return None
    dataset = Dataset(kind)
    described = {column.name: column for column in source_columns(dataset)}
    fields = [
        {
            "name": cms,
            "description": described[name].description,
            "type": "number" if described[name].type is ColumnType.MONEY else "string",
            "title": cms.lower(),
        }
        for cms, name in layouts(dataset)[-1].columns
    ]
    title = f"{dataset.title()} Payment File Attributes"
    return {"identifier": identifier, "data": {"title": title, "fields": fields}}


def _flag(value: Any) -> bool:
    return value not in (False, "false", "0")


def _whole(query: Mapping[str, Any], name: str, default: int) -> int:
    value = str(query.get(name, default))
    if not value.isdecimal():
        raise QueryError(f"JSON Schema validation failed: {name} is {value}")
    return int(value)


def _value(name: Any, columns: Mapping[str, str]) -> str:
    """Return the SQL of a property: text, empty when there is none."""
    if name not in columns:
        raise QueryError(f"Column not found: {name}")
    return f"coalesce({sql_name(columns[name])}, '')"


def _condition(condition: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    value = _value(condition.get("property"), columns)
    given, operator = condition.get("value", ""), str(condition.get("operator", "=")).lower()
    if operator in _COMPARISONS:
        return f"{value} {operator} {sql_text(str(given))}"
    items = [sql_text(str(x)) for x in (given if isinstance(given, list) else [given])]
    if operator in _LISTS:
        return f"{value} {operator} ({', '.join(items)})"
    if operator == "between" and len(items) == 2:
        return f"{value} BETWEEN {items[0]} AND {items[1]}"
    raise QueryError(f"Invalid condition: {operator} with {len(items)} values")


def _order(sort: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    direction = str(sort.get("order", "asc")).lower()
    if direction not in ("asc", "desc"):
        raise QueryError(f"JSON Schema validation failed: order is {direction}")
    return f"{_value(sort.get('property'), columns)} {direction}"
