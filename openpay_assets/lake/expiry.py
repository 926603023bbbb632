"""Expiry of old releases: asked for by name, never by itself, and never of raw files.

Dropping a release removes its tag and its state. Snapshots that no tag or branch needs then go,
and with them the data files that no snapshot refers to. The newest releases of each partition
stay, and so does whatever is current.

Files are deleted after the commit that lets go of them, since nothing else is safe: a command
killed in between leaves files that no snapshot refers to, and so does a run that was blocked or
killed before its commit. Expiry finds these orphans as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from openpay_assets.contracts.model import Dataset
from openpay_assets.lake import history
from openpay_assets.lake.history import PARTITION, Partition
from openpay_assets.lake.tables import LakeTables, retried

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable

ZONES = ("staging", "quarantine", "curated", "marts")
ORPHANED_AFTER = timedelta(days=1)
"""Age at which a file that no snapshot refers to is nobody's any more.

Younger ones may be those of a run that has not committed yet, which takes minutes or hours; its
process may be on another machine and cannot be asked. A run that does take longer than this fails
and changes nothing, because a commit reads the footers of the files it adds.
"""


@dataclass(frozen=True)
class Expired:
    """What expiry drops of one table.

    ``releases`` pairs a partition (None: the table as a whole) with a release; ``files`` are data
    files and manifests, ``orphans`` those that nothing refers to already; ``size`` is that of
    both in bytes.
    """

    table: str
    releases: tuple[tuple[Partition | None, date], ...]
    snapshots: tuple[int, ...]
    files: tuple[Path, ...]
    orphans: tuple[Path, ...]
    size: int

    def __bool__(self) -> bool:
        return bool(self.releases or self.snapshots or self.orphans)


def plan(tables: LakeTables, keep: int, dataset: Dataset | None = None) -> list[Expired]:
    """Return what ``expire`` would drop, by table; nothing is changed.

    Args:
        tables: the lake's tables.
        keep: how many of the newest releases of each partition stay.
        dataset: only partitions of this dataset; tables rebuilt whole are then left alone.

    Raises ``ValueError`` when ``keep`` is below 1.
    """
    if keep < 1:
        raise ValueError(f"--keep is {keep}; at least the newest release of a partition stays.")
    planned = [
        _plan(name, tables.catalog.load_table(name), keep, dataset)
        for zone in ZONES
        for name in tables.names(zone)
    ]
    return [x for x in planned if x]


def expire(tables: LakeTables, keep: int, dataset: Dataset | None = None) -> list[Expired]:
    """Drop what ``plan`` lists: tags and snapshots in one commit a table, then the files."""
    done = []
    for planned in plan(tables, keep, dataset):
        for attempt in retried():
            with attempt:
                dropped = _drop(tables, planned.table, keep, dataset)
        _remove((*dropped.files, *dropped.orphans))
        done.append(dropped)
    return done


def _plan(name: str, table: IcebergTable, keep: int, dataset: Dataset | None) -> Expired:
    releases = tuple(_outdated(table, keep, dataset))
    tags = {history.tag_name(*x) for x in releases}
    needed = {ref.snapshot_id for tag, ref in table.metadata.refs.items() if tag not in tags}
    snapshots = tuple(
        x.snapshot_id
        for x in table.metadata.snapshots
        if x.snapshot_id not in needed and _is_of(x.summary, dataset)
    )
    gone = _files(table, snapshots)
    kept = _files(
        table, (x.snapshot_id for x in table.metadata.snapshots if x.snapshot_id not in snapshots)
    )
    files = tuple(sorted(gone - kept))
    orphans = tuple(sorted(_orphans(table, gone | kept, dataset)))
    size = sum(x.stat().st_size for x in (*files, *orphans) if x.exists())
    return Expired(name, releases, snapshots, files, orphans, size)


def _orphans(table: IcebergTable, known: set[Path], dataset: Dataset | None) -> Iterator[Path]:
    """Yield old files in a table's own folders that none of its snapshots refers to.

    Files of a dataset are its data files; manifests belong to the table as a whole.
    """
    folder = history.local(table.metadata.location)
    if dataset is None:
        found = (*(folder / "data").rglob("*"), *(folder / "metadata").glob("*.avro"))
    else:
        found = (*(folder / "data" / f"dataset={dataset}").rglob("*"),)
    # One lake may be reached by several paths, and snapshots keep the one they were written by.
    referred = {path.resolve() for path in known}
    before = (datetime.now(UTC) - ORPHANED_AFTER).timestamp()
    for path in found:
        with suppress(FileNotFoundError):
            is_old = path.is_file() and path.stat().st_mtime < before
            if is_old and path.resolve() not in referred:
                yield path


def _outdated(
    table: IcebergTable, keep: int, dataset: Dataset | None
) -> Iterable[tuple[Partition | None, date]]:
    current = history.current_states(table.properties)
    for partition, states in history.release_states(table.properties).items():
        if dataset is not None and (partition is None or partition.dataset is not dataset):
            continue
        for day in sorted(states)[:-keep]:
            if partition is None or current[partition].release != str(day):
                yield partition, day


def _is_of(summary: object, dataset: Dataset | None) -> bool:
    """Whether a snapshot was written for a dataset, as its summary says."""
    said = getattr(summary, "additional_properties", {})
    return dataset is None or said.get(PARTITION, "").startswith(f"{dataset}|")


def _files(table: IcebergTable, snapshots: Iterable[int]) -> set[Path]:
    """Return data files, manifests and manifest lists that snapshots refer to."""
    found: set[str] = set()
    for number in snapshots:
        snapshot = table.metadata.snapshot_by_id(number)
        if snapshot is None:
            continue
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            if manifest.manifest_path not in found:
                found.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                found |= {entry.data_file.file_path for entry in entries}
    return {history.local(location) for location in found}


def _drop(tables: LakeTables, name: str, keep: int, dataset: Dataset | None) -> Expired:
    from pyiceberg.table.update.snapshot import ExpireSnapshots, ManageSnapshots

    from openpay_assets.lake.transactions import OnceApplied

    table = tables.catalog.load_table(name)
    dropped = _plan(name, table, keep, dataset)
    with OnceApplied(table) as transaction:
        for release in dropped.releases:
            if history.tag_name(*release) in table.metadata.refs:
                ManageSnapshots(transaction).remove_tag(history.tag_name(*release)).commit()
        if dropped.releases:
            transaction.remove_properties(*(history.state_property(*x) for x in dropped.releases))
        if dropped.snapshots:
            ExpireSnapshots(transaction).by_ids(list(dropped.snapshots)).commit()
    return dropped


def _remove(files: Iterable[Path]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
        # The folder of a run is its own; others hold more and stay.
        with suppress(OSError):
            path.parent.rmdir()
