"""Documentation generated from the contracts: the data dictionary and the quality rules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from openpay_assets.contracts.model import Column, Dataset, Table
from openpay_assets.contracts.registry import (
    CURATED_TABLES,
    RECONCILIATION_TABLES,
    REFERENCE_TABLES,
    curated_table,
    layouts,
    lineage_columns,
    quarantine_table,
    source_columns,
    staging_table,
)
from openpay_assets.contracts.rules import RULES

GRAIN = {
    "curated.payments": "One row per CMS record of any dataset.",
    "curated.payment_products": "One row per filled product slot of a payment.",
    "curated.investigators": "One row per filled principal investigator slot of a research payment.",
    "curated.physicians": "One row per clinician per partition, as on the latest record.",
    "curated.companies": "One row per company per partition, as on the latest record.",
    "curated.hospitals": "One row per teaching hospital per partition, as on the latest record.",
    "curated.release_changes": "One row per record that differs from the release before in the lake.",
    "curated.supplement": "One row per clinician profile, as the national registries have it.",
    "curated.profile_mapping": "One row per secondary profile of a clinician.",
    "curated.entity_profiles": "One row per company that reports or pays.",
    "curated.hospital_profiles": "One row per teaching hospital.",
    "curated.published_totals": (
        "One row per total that CMS publishes for a partition: control, key and measure."
    ),
    "curated.reconciliation": (
        "One row per control and measure of a partition, and per key that differs."
    ),
    "quarantine.records": "One row per record set aside.",
}


def data_dictionary() -> str:
    """Return the data dictionary page."""
    return "\n".join(_dictionary_lines()) + "\n"


def quality_rules() -> str:
    """Return the page of rules."""
    return "\n".join(_rule_lines()) + "\n"


def _dictionary_lines() -> Iterator[str]:
    yield "# Data dictionary"
    yield ""
    yield "Generated from the contracts (`make docs`). Money is `DECIMAL(18,2)` in US dollars."
    yield "The marts are described in the dbt project and shown in Dagster."
    for name in (*CURATED_TABLES, *REFERENCE_TABLES, *RECONCILIATION_TABLES):
        yield from _table(curated_table(name))
    yield from _table(quarantine_table())
    for dataset in Dataset:
        yield from _staging(dataset)
    yield ""
    yield "## Lineage columns of every staging table"
    yield ""
    yield from _columns(lineage_columns())


def _table(table: Table) -> Iterator[str]:
    yield ""
    yield f"## {table.name}"
    yield ""
    yield f"{GRAIN[table.name]} Key: {', '.join(f'`{x}`' for x in table.key)}."
    yield ""
    yield from _columns(table.columns)


def _columns(columns: tuple[Column, ...]) -> Iterator[str]:
    yield "| column | type | filled | meaning |"
    yield "|---|---|---|---|"
    for c in columns:
        yield f"| `{c.name}` | {c.type} | {'always' if c.required else ''} | {_cell(c.description)} |"


def _staging(dataset: Dataset) -> Iterator[str]:
    table = staging_table(dataset)
    yield ""
    yield f"## {table.name}"
    yield ""
    yield f"One row per accepted {dataset} record. Columns absent from a layout are empty."
    yield ""
    yield "| layout | columns | program years | releases | evidence |"
    yield "|---|---|---|---|---|"
    for x in layouts(dataset):
        years = f"{x.first_program_year} to {x.last_program_year or 'now'}"
        releases = f"{x.first_release} to {x.last_release or 'now'}"
        evidence = f"{'inferred: ' if x.inferred else ''}{x.evidence}"
        yield f"| {x.name} | {len(x.columns)} | {years} | {releases} | {_cell(evidence)} |"
    yield ""
    yield "| column | type | filled | layouts | meaning |"
    yield "|---|---|---|---|---|"
    for c in source_columns(dataset):
        held = ", ".join(x.name for x in layouts(dataset) if c.name in x.source_of)
        filled = "always" if c.required else ""
        yield f"| `{c.name}` | {c.type} | {filled} | {held} | {_cell(c.description)} |"


def _rule_lines() -> Iterator[str]:
    yield "# Quality rules"
    yield ""
    yield "Generated from the contracts (`make docs`). A quarantine rule sets the row aside, whole, in"
    yield "`quarantine.records` with its reasons; a warn rule is counted and named in the row's"
    yield "`warnings`. A rule is asked only where the layout has the columns it needs. What is asked of"
    yield "files, tables and releases as a whole is in [checks.md](checks.md)."
    ordered = sorted(RULES, key=lambda rule: rule.severity)
    for severity, rules in groupby(ordered, key=lambda rule: rule.severity):
        yield ""
        yield f"## {severity}"
        yield ""
        yield "| rule | code | datasets | why |"
        yield "|---|---|---|---|"
        for rule in rules:
            datasets = ", ".join(rule.datasets)
            yield f"| `{rule.name}` | {rule.code} | {datasets} | {_cell(rule.why)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
