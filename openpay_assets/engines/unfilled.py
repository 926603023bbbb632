"""Columns that an expression leaves empty whatever its rows are: no engine need write them.

A dataset or layout fills two thirds of the columns of a wide table; to write the others as NULL,
row by row, takes a tenth of the time. A file without a column is a file in which it is NULL, by
the rules of Iceberg and for every reader of the lake.
https://iceberg.apache.org/spec/#column-projection
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis.expr.operations as ops

from openpay_assets.contracts.model import Column, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir

_STRICT = (
    ops.Alias,
    ops.Cast,
    ops.TryCast,
    ops.RegexReplace,
    ops.StringReplace,
    ops.Lowercase,
    ops.LStrip,
)
"""Operations that make NULL of NULL."""


def written_columns(expression: ir.Table, table: Table) -> list[Column]:
    """Return the columns of a table that an expression may fill, and those that it must."""
    empty = {name for name, value in expression.op().values.items() if _is_null(value)}
    return [column for column in table.columns if column.required or column.name not in empty]


def _is_null(value: ops.Value) -> bool:
    while isinstance(value, (ops.Field, *_STRICT)):
        if isinstance(value, ops.Field):
            derived = value.rel.values.get(value.name)
            if derived is None or not isinstance(value.rel, (ops.Project, ops.Filter)):
                return False
            value = derived
        else:
            value = value.arg
    if isinstance(value, ops.IfElse):
        return _is_null(value.true_expr) and _is_null(value.false_null_expr)
    if isinstance(value, ops.SearchedCase):
        return all(_is_null(x) for x in (*value.results, value.default))
    if isinstance(value, ops.Coalesce):
        return all(_is_null(x) for x in value.arg)
    return isinstance(value, ops.Literal) and value.value is None
