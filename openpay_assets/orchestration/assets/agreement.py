"""Agreement of a partition's entities with the reference tables of the same release.

A reference of another release says nothing about the partition: CMS lists only recipients and
companies of its seven-year window, so the checks are then not applicable, and say so.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from openpay_assets.contracts.registry import curated_table
from openpay_assets.orchestration.checks import Outcome
from openpay_assets.orchestration.io_managers import LakeIOManager, Pending
from openpay_assets.transforms import references

if TYPE_CHECKING:
    import ibis.expr.types as ir

MAX_MISSING_PROFILES = 0.00001
SAMPLE = 5


def physicians(pending: Pending, lake: LakeIOManager) -> Iterator[Outcome]:
    """Compare clinicians with the supplement, after the profile mapping."""
    release = pending.written.release
    if said := not_applicable(lake, "supplement", release):
        yield Outcome("profile_fk", True, said)
        yield Outcome("npi_agrees", True, said)
        return
    supplement, mapping = (
        lake.load_whole(curated_table(x)) for x in ("supplement", "profile_mapping")
    )
    missing, sample = _found(lake, references.unknown_profiles(pending.rows, supplement, mapping))
    share = missing / pending.count if pending.count else 0.0
    yield Outcome(
        "profile_fk",
        not missing,
        f"{missing:,} of {pending.count:,} profiles are not in the supplement of {release} "
        f"({share:.3%}; limit {MAX_MISSING_PROFILES:.3%})"
        + _said([x["profile_id"] for x in sample]),
        {"missing": missing, "share": share},
        stops=share > MAX_MISSING_PROFILES,
    )
    other, sample = _found(lake, references.other_npis(pending.rows, supplement, mapping))
    yield Outcome(
        "npi_agrees",
        not other,
        f"{other:,} of {pending.count:,} clinicians have another NPI in the supplement of {release}"
        + _said([f"{x['profile_id']} {x['npi']} not {x['profile_npi']}" for x in sample]),
        {"other": other},
    )


def _missing(
    check: str, table: str, key: str, what: str
) -> Callable[[Pending, LakeIOManager], Iterator[Outcome]]:
    """Return what compares the key of an entity with a reference table."""

    def compare(pending: Pending, lake: LakeIOManager) -> Iterator[Outcome]:
        release = pending.written.release
        if said := not_applicable(lake, table, release):
            yield Outcome(check, True, said)
            return
        known = lake.load_whole(curated_table(table))
        missing, sample = _found(lake, references.missing_keys(pending.rows, known, key))
        yield Outcome(
            check,
            not missing,
            f"{missing:,} of {pending.count:,} {what} are not in {table} of {release}"
            + _said([x[key] for x in sample]),
            {"missing": missing},
        )

    return compare


def not_applicable(lake: LakeIOManager, table: str, release: date) -> str:
    """Say why a reference table cannot be compared with a release; empty when it can."""
    committed = lake.tables.whole(f"curated.{table}")
    if committed is not None and committed.release == str(release):
        return ""
    held = f"is of {committed.release}" if committed else "was never landed"
    return f"Not applicable: {table} of release {release} is asked for, the lake's {held}."


def _found(lake: LakeIOManager, rows: "ir.Table") -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows there are, and the first of them."""
    count = int(lake.engine.to_rows(rows.aggregate(n=rows.count()))[0]["n"])
    first = rows.order_by(rows.columns[0]).limit(SAMPLE)
    return count, lake.engine.to_rows(first) if count else []


def _said(values: list[str]) -> str:
    return f": {', '.join(values)}." if values else "."


AGREE: Mapping[str, Callable[[Pending, LakeIOManager], Iterator[Outcome]]] = {
    "physicians": physicians,
    "companies": _missing("entity_fk", "entity_profiles", "company_id", "companies"),
    "hospitals": _missing("ccn_fk", "hospital_profiles", "hospital_ccn", "hospitals"),
}
"""What a table of entities is compared with, by its name."""
