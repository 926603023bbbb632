"""Curated tables: the analytics contract, one meaning per column across all layouts."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from openpay_assets.contracts.model import Layout
from openpay_assets.contracts.registry import curated_table, layouts, staging_table
from openpay_assets.contracts.schema import violations
from openpay_assets.lake.tables import Partition
from openpay_assets.orchestration import checks
from openpay_assets.orchestration.assets.agreement import AGREE
from openpay_assets.orchestration.assets.staging import cents_of, dollars, schema_outcome
from openpay_assets.orchestration.checks import Outcome
from openpay_assets.orchestration.io_managers import LakeIOManager, Pending, Target
from openpay_assets.orchestration.partitions import DATASET_YEARS, partition_of
from openpay_assets.transforms import audits
from openpay_assets.transforms import entities as entities_of
from openpay_assets.transforms import investigators as investigators_of
from openpay_assets.transforms import payments as payments_of
from openpay_assets.transforms import products as products_of

if TYPE_CHECKING:
    import ibis.expr.types as ir

STAGING = "staging"
PAYMENTS, PRODUCTS, INVESTIGATORS = "payments", "payment_products", "investigators"

Transform = Callable[[Mapping[str, "ir.Table"], Layout], "ir.Table"]


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey(name) if name == STAGING else dg.AssetKey(["curated", name])


def curated_asset(
    name: str, inputs: tuple[str, ...], description: str, transform: Transform
) -> dg.AssetsDefinition:
    """Return the asset of a curated table: transform, write, check, and only then commit."""
    key, asked = _key(name), checks.curated_checks(name)

    @dg.asset(
        key=key,
        description=description,
        ins={x: dg.AssetIn(key=_key(x)) for x in inputs},
        partitions_def=DATASET_YEARS,
        io_manager_key="lake",
        group_name="curated",
        kinds={"iceberg"},
        check_specs=checks.specs(key, asked),
        metadata={"dagster/column_schema": column_schema(name)},
    )
    def curated(
        context: dg.AssetExecutionContext, lake: dg.ResourceParam[LakeIOManager], **tables: Any
    ) -> Iterator[dg.Output[Pending] | dg.AssetCheckResult]:
        partition = partition_of(context.partition_key)
        release, layout = staged_from(lake, partition)
        target = Target(partition, release, context.run.run_id, layout.name)
        pending = lake.write(curated_table(name), transform(tables, layout), target)
        outcomes = judge(name, pending, partition, tables, lake)
        yield from checks.report(key, asked, outcomes)
        yield dg.Output(pending)

    return curated


def column_schema(name: str) -> dg.TableSchema:
    """Return a curated table's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                c.name,
                str(c.type),
                description=c.description,
                constraints=dg.TableColumnConstraints(nullable=not c.required),
            )
            for c in curated_table(name).columns
        ]
    )


def staged_from(lake: LakeIOManager, partition: Partition) -> tuple[date, Layout]:
    """Return the release that staging holds of a partition, and its layout.

    Fails when the partition is not staged.
    """
    table = staging_table(partition.dataset).name
    committed = lake.tables.partitions(table).get(partition)
    if committed is None:
        raise dg.Failure(
            f"{partition} is not staged. Materialize staging first.", allow_retries=False
        )
    known = {layout.name: layout for layout in layouts(partition.dataset)}
    return date.fromisoformat(committed.release), known[committed.layout]


def judge(
    name: str,
    pending: Pending,
    partition: Partition,
    tables: Mapping[str, "ir.Table"],
    lake: LakeIOManager,
) -> dict[str, Outcome]:
    """Return the outcome of every check of a curated table."""
    outcomes = [
        *in_contract(pending, partition, lake),
        *_own_checks(name, pending, tables, lake),
    ]
    return {x.name: x for x in outcomes}


def in_contract(
    pending: Pending, partition: Partition | None, lake: LakeIOManager
) -> Iterator[Outcome]:
    """Yield the outcomes that every curated table has: ``schema`` and ``key_unique``."""
    fixed = fixed_columns(partition) if partition else {}
    broken = violations(pending.table, pending.rows, pending.count, fixed)
    yield schema_outcome("schema", pending.table.name, broken)
    key = [column for column in pending.table.key if column not in fixed]
    repeated = int(_one(lake, audits.repeated_keys(pending.rows, key))["repeated"])
    yield Outcome(
        "key_unique",
        repeated == 0,
        f"{repeated:,} of {pending.count:,} rows repeat the key ({', '.join(key)}).",
        {"repeated": repeated},
    )


def fixed_columns(partition: Partition) -> dict[str, Any]:
    """Return the columns that have one value in all rows of a partition."""
    return {"dataset": str(partition.dataset), "program_year": partition.program_year}


def _own_checks(
    name: str, pending: Pending, tables: Mapping[str, "ir.Table"], lake: LakeIOManager
) -> Iterator[Outcome]:
    if name == PAYMENTS:
        yield _conserved(pending, tables[STAGING], lake)
    elif name == PRODUCTS:
        yield from _products_add_up(pending, tables[PAYMENTS], lake)
    elif name == INVESTIGATORS:
        slots = int(_one(lake, audits.investigator_slots(tables[PAYMENTS]))["rows"] or 0)
        yield _filled_slots(slots, pending.count)
    elif name in AGREE:
        yield from AGREE[name](pending, lake)


def _conserved(pending: Pending, staged: "ir.Table", lake: LakeIOManager) -> Outcome:
    before, after = _one(lake, audits.totals(staged)), _one(lake, audits.totals(pending.rows))
    measures = [x for x in before if x != "rows"]
    same = before["rows"] == after["rows"] and all(
        cents_of(before[x]) == cents_of(after[x]) for x in measures
    )
    return Outcome(
        "conservation",
        same,
        f"{before['rows']:,} rows and {dollars(cents_of(before['amount']))} dollars staged; "
        f"{after['rows']:,} rows and {dollars(cents_of(after['amount']))} dollars here.",
        {f"{x}_staged": str(before[x]) for x in before}
        | {f"{x}_here": str(after[x]) for x in before},
    )


def _products_add_up(
    pending: Pending, payments: "ir.Table", lake: LakeIOManager
) -> Iterator[Outcome]:
    found = _one(lake, audits.product_shares(pending.rows))
    expected = _one(lake, audits.with_products(payments))
    off = int(found["off"] or 0)
    ours, theirs = cents_of(found["amount"]), cents_of(expected["amount"])
    yield Outcome(
        "weights_sum_to_one",
        off == 0 and ours == theirs,
        f"{off:,} payments whose weights do not sum to 1; {dollars(ours)} dollars allocated of {dollars(theirs)}.",
        {"payments_off": off, "allocated": dollars(ours), "payments": dollars(theirs)},
    )
    yield _filled_slots(int(expected["rows"] or 0), pending.count)


def _filled_slots(slots: int, rows: int) -> Outcome:
    return Outcome(
        "one_row_per_filled_slot",
        slots == rows,
        f"{slots:,} filled slots, {rows:,} rows.",
        {"slots": slots, "rows": rows},
    )


def _one(lake: LakeIOManager, expression: "ir.Table") -> dict[str, Any]:
    return lake.engine.to_rows(expression)[0]


CURATED_ASSETS = [
    curated_asset(
        PAYMENTS,
        (STAGING,),
        "One row per CMS record, with one meaning per column across every layout.",
        lambda t, layout: payments_of.payments(t[STAGING], layout.dataset),
    ),
    curated_asset(
        PRODUCTS,
        (STAGING, PAYMENTS),
        "One row per filled product slot; weights sum to 1 and dollars to the payment.",
        lambda t, layout: products_of.payment_products(t[STAGING], layout),
    ),
    curated_asset(
        INVESTIGATORS,
        (STAGING, PAYMENTS),
        "One row per filled principal investigator slot of a research payment.",
        lambda t, layout: investigators_of.investigators(t[STAGING], layout),
    ),
    curated_asset(
        "physicians",
        (PAYMENTS, INVESTIGATORS),
        "One row per clinician, as seen on the latest record of the partition.",
        lambda t, _: entities_of.physicians(t[PAYMENTS], t[INVESTIGATORS]),
    ),
    curated_asset(
        "companies",
        (PAYMENTS,),
        "One row per company, as seen on the latest record of the partition.",
        lambda t, _: entities_of.companies(t[PAYMENTS]),
    ),
    curated_asset(
        "hospitals",
        (PAYMENTS,),
        "One row per teaching hospital, as seen on the latest record of the partition.",
        lambda t, _: entities_of.hospitals(t[PAYMENTS]),
    ),
]
