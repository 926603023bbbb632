"""What there is of each partition: what CMS offers, what the lake holds, how its last run ended.

Read from the tables, the raw zone and the run manifests; nothing is run and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpay_assets.contracts.model import Dataset
from openpay_assets.contracts.registry import staging_table
from openpay_assets.lake.manifest import Manifest, read_manifests
from openpay_assets.lake.raw import RawZone
from openpay_assets.lake.tables import LakeTables, Partition

if TYPE_CHECKING:
    from openpay_assets.settings import Settings


def partitions(settings: Settings) -> list[dict[str, Any]]:
    """Return a row per partition that is staged or was ever run, by dataset and year.

    ``release`` and ``run_id`` are those that staging holds, the zones how many rows each holds, all
    None without any; ``checks`` counts those of that run. ``last_run`` is how the newest run of the
    partition ended, which may be another: one that was blocked left the tables as they were.
    """
    root = Path(settings.lake)
    tables = LakeTables(root)
    staged = {p: c for d in Dataset for p, c in tables.partitions(staging_table(d).name).items()}
    zones = {
        "staging": staged,
        "quarantine": tables.partitions("quarantine.records"),
        "payments": tables.partitions("curated.payments"),
        "marts": tables.partitions("marts.company_years"),
    }
    runs = {run.run_id: run for run in read_manifests(root)}
    last_runs = _last_of_each(runs.values())
    rows = []
    for partition in sorted({*staged, *last_runs}):
        held = staged.get(partition)
        rows.append(
            {
                "partition": str(partition),
                "release": held.release if held else None,
                "run_id": held.run_id if held else None,
                **{
                    zone: found[partition].rows if partition in found else None
                    for zone, found in zones.items()
                },
                # A run of the UI that just ended is recorded by a sensor, within a minute.
                "checks": _counted(runs.get(held.run_id)) if held else {},
                "last_run": _ended(last_runs.get(partition)),
            }
        )
    return rows


def releases(settings: Settings) -> list[dict[str, Any]]:
    """Return a row per partition: the releases that CMS offers, that are landed and can be read."""
    from openpay_assets.definitions import cms_resource
    from openpay_assets.orchestration.sensors import held_releases

    raw, tables = RawZone(Path(settings.lake)), LakeTables(Path(settings.lake))
    offered: dict[Partition, set[str]] = {}
    for published in cms_resource(settings).source().releases():
        partition = Partition(published.file.dataset, published.file.program_year)
        offered.setdefault(partition, set()).add(str(published.file.release))
    staged = {d: staging_table(d).name for d in Dataset}
    readable = {p: x for name in staged.values() for p, x in tables.history(name).items() if p}
    current = {partition: str(day) for partition, day in held_releases(tables).items()}
    return [
        {
            "partition": str(partition),
            "offered": sorted(offered.get(partition, ())),
            "landed": [str(day) for day in raw.releases(partition)],
            "readable": [str(day) for day in sorted(readable.get(partition, {}))],
            "current": current.get(partition),
            "up_to_date": current.get(partition, "") >= max(offered.get(partition, {""})),
        }
        for partition in sorted({*offered, *raw.partitions(), *readable, *current})
    ]


def _last_of_each(runs: Iterable[Manifest]) -> dict[Partition, Manifest]:
    in_order = sorted(runs, key=lambda run: run.started_at)
    # A run of the references has no partition, and its manifest the name of the job.
    return {Partition.parse(x.partition): x for x in in_order if "|" in x.partition}


def _ended(run: Manifest | None) -> dict[str, Any]:
    if run is None:
        return {}
    shown = ("run_id", "status", "release", "started_at", "ended_at", "error")
    return {name: getattr(run, name) for name in shown}


def _counted(run: Manifest | None) -> dict[str, int]:
    if run is None or not run.checks:
        return {}
    failed = [c for c in run.checks if not c["passed"]]
    blocking = sum(1 for c in failed if c["blocking"])
    return {
        "passed": len(run.checks) - len(failed),
        "warned": len(failed) - blocking,
        "failed": blocking,
    }
