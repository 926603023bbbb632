"""Pandera schemas made from the contracts: what a written table is checked against.

Checks run at depth SCHEMA_AND_DATA, always: a schema that looks at types only is a check that
checks nothing. https://pandera.readthedocs.io/en/stable/ibis.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from openpay_assets.contracts.model import Column, ColumnType, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandera.ibis as pa

DIGITS = "^[0-9]{1,38}$"
SAMPLE = 5


@dataclass(frozen=True)
class Violation:
    """One way in which a table breaks its contract, with a few of the offending values."""

    column: str
    check: str
    sample: tuple[str, ...] = ()


@cache
def _dtypes() -> Mapping[ColumnType, Any]:
    """Pandera types by contract type; Pandera does not know these three by itself."""
    import ibis.expr.datatypes as dt
    from pandera.dtypes import immutable
    from pandera.engines.ibis_engine import DataType, Engine

    def register(kind: ColumnType) -> Any:
        ibis_type = kind.to_ibis()
        both = [ibis_type, ibis_type.copy(nullable=False)]
        if isinstance(ibis_type, dt.Array):
            both.append(dt.Array(dt.string(nullable=False)))

        @immutable
        class ContractType(DataType):  # type: ignore[misc]
            type = ibis_type

            def __init__(self) -> None:
                """Leave the type as it is: the parent would derive one from an argument."""

        registered: Any = Engine.register_dtype(equivalents=both)(ContractType)
        return registered()

    special = (ColumnType.MONEY, ColumnType.TEXTS, ColumnType.TEXT_MAP)
    kinds = {kind: register(kind) for kind in special}
    return {**kinds, ColumnType.SIGNED_MONEY: kinds[ColumnType.MONEY]}


def pandera_schema(table: Table, fixed: Mapping[str, Any] | None = None) -> pa.DataFrameSchema:
    """Return the Pandera schema of a table.

    Every column must be there, in order, with its type, and filled when required; ids are
    digits, money is not negative. ``fixed`` gives columns that hold one value in a partition.
    """
    import pandera.ibis as pa

    return pa.DataFrameSchema(
        {c.name: _column(c, (fixed or {}).get(c.name)) for c in table.columns},
        name=table.name,
        strict=True,
        ordered=True,
    )


def _column(column: Column, fixed: Any) -> pa.Column:
    import pandera.ibis as pa

    checks = []
    if column.pattern == "digits" and column.required:
        checks.append(pa.Check.str_matches(DIGITS, n_failure_cases=SAMPLE))
    if column.type is ColumnType.MONEY:
        checks.append(pa.Check.ge(0, n_failure_cases=SAMPLE))
    if fixed is not None:
        checks.append(pa.Check.eq(fixed, n_failure_cases=SAMPLE))
    dtype = _dtypes().get(column.type) or column.type.to_ibis()
    return pa.Column(dtype, nullable=not column.required, checks=checks)


def violations(
    table: Table, rows: ir.Table, count: int, fixed: Mapping[str, Any] | None = None
) -> list[Violation]:
    """Check rows against a table's contract; an empty list means that it holds.

    ``count`` is how many rows there are: of an empty table only the schema can be judged, since
    Pandera takes the missing answer of an aggregate over nothing for a failure.
    """
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrors

    schema = pandera_schema(table, fixed)
    depth = ValidationDepth.SCHEMA_AND_DATA if count else ValidationDepth.SCHEMA_ONLY
    try:
        with config_context(validation_enabled=True, validation_depth=depth):
            schema.validate(rows, lazy=True)
    except SchemaErrors as errors:
        return [_violation(error) for error in errors.schema_errors]
    return []


def _violation(error: Any) -> Violation:
    name = getattr(error.schema, "name", None) or "table"
    check = str(error.check) if error.check is not None else str(error)
    return Violation(str(name), check, _sample(error.failure_cases))


def _sample(cases: Any) -> tuple[str, ...]:
    """Return a few failure cases as text; Pandera hands over a frame, an expression or a scalar."""
    if cases is None:
        return ()
    if hasattr(cases, "to_pyarrow"):
        rows = cases.limit(SAMPLE).to_pyarrow().to_pylist()
        return tuple(
            str(row.get("record_id", row)) if isinstance(row, dict) else str(row) for row in rows
        )
    if hasattr(cases, "to_dict") and "failure_case" in getattr(cases, "columns", ()):
        found = list(cases["failure_case"].head(SAMPLE))
        return tuple(
            ", ".join(str(v) for v in case.values()) if isinstance(case, dict) else str(case)
            for case in found
        )
    return (str(cases)[:200],)
