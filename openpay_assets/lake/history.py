"""Release history: each release of a partition stays readable after a newer one is committed.

A commit tags its Iceberg snapshot with partition and release, in the same transaction, and
writes the state of that release to a table property, for a partition without rows has no
snapshot of its own. Tags keep snapshots, and with them data files, from being expired. Tables
that are rebuilt whole are tagged by the newest release that is in them.
https://iceberg.apache.org/docs/latest/branching/
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpay_assets.contracts.model import Dataset

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable
    from pyiceberg.table import Transaction

RELEASE, RUN_ID, ROWS = "openpay.release", "openpay.run_id", "openpay.rows"
PARTITION, LAYOUT = "openpay.partition", "openpay.layout"
COMMITTED_AT, COMPOSITION = "openpay.committed_at", "openpay.composition"
HISTORY = "openpay.history"
WHOLE = "all"
"""Stands for the partition in the history of a table that is rebuilt whole."""


@dataclass(frozen=True, order=True)
class Partition:
    """A dataset and a program year, written ``general|2023``."""

    dataset: Dataset
    program_year: int

    def __str__(self) -> str:
        return f"{self.dataset}|{self.program_year}"

    @classmethod
    def parse(cls, key: str) -> Partition:
        """Read ``general|2023``; ``ValueError`` on anything else."""
        dataset, _, year = key.partition("|")
        return cls(Dataset(dataset), int(year))


@dataclass(frozen=True)
class CommittedPartition:
    """What was committed of one partition: the current state, or that of a release."""

    release: str
    run_id: str
    rows: int
    committed_at: str
    layout: str

    @classmethod
    def read(cls, state: Mapping[str, Any]) -> CommittedPartition:
        """Read a state as it stands in a table property."""
        return cls(
            release=state[RELEASE],
            run_id=state[RUN_ID],
            rows=int(state[ROWS]),
            committed_at=state[COMMITTED_AT],
            layout=state[LAYOUT],
        )


def tag_name(partition: Partition | None, release: date | str) -> str:
    """Return the Iceberg tag of a release: ``general-2023-2025-01-30``; ``all-...`` of a whole table."""
    owner = WHOLE if partition is None else f"{partition.dataset}-{partition.program_year}"
    return f"{owner}-{release}"


def state_property(partition: Partition | None, release: date | str) -> str:
    """Return the table property that holds the state of a release."""
    return f"{HISTORY}.{partition or WHOLE}|{release}"


def current_states(properties: Mapping[str, str]) -> dict[Partition, CommittedPartition]:
    """Return what is committed now, by partition; a table without partitions has none."""
    states = [json.loads(v) for k, v in properties.items() if k.startswith(f"{PARTITION}.")]
    return {
        Partition.parse(x[PARTITION]): CommittedPartition.read(x)
        for x in states
        if x[PARTITION] != WHOLE
    }


def whole_state(properties: Mapping[str, str]) -> CommittedPartition | None:
    """Return what is committed now of a table without partitions."""
    text = properties.get(f"{PARTITION}.{WHOLE}")
    return CommittedPartition.read(json.loads(text)) if text else None


def release_states(
    properties: Mapping[str, str],
) -> dict[Partition | None, dict[date, CommittedPartition]]:
    """Return the readable releases, oldest first, by partition; None is the table as a whole."""
    found: dict[Partition | None, dict[date, CommittedPartition]] = defaultdict(dict)
    for key, value in sorted(properties.items()):
        if key.startswith(f"{HISTORY}."):
            owner, _, day = key.removeprefix(f"{HISTORY}.").rpartition("|")
            partition = None if owner == WHOLE else Partition.parse(owner)
            found[partition][date.fromisoformat(day)] = CommittedPartition.read(json.loads(value))
    return dict(found)


def newest(releases: Mapping[date, CommittedPartition], day: date) -> date | None:
    """Return the newest release that is not after a day."""
    return max((x for x in releases if x <= day), default=None)


def record(
    transaction: Transaction,
    partition: Partition | None,
    state: Mapping[str, str],
    *,
    whole_table: bool,
) -> None:
    """Stage the current state, and the state and the tag of its release.

    The same release again replaces its tag. A whole table is not tagged again by a run that went
    back to an older release of a partition: the newest release then stays as it was.
    """
    metadata = transaction.table_metadata
    text = json.dumps(state)
    properties = {f"{PARTITION}.{partition or WHOLE}": text}
    owner, release, kept = partition, state[RELEASE], text
    if whole_table or partition is None:
        owner = None
        release, composition = _composition(metadata.properties, partition, state)
        kept = json.dumps({**state, COMPOSITION: composition})
        recorded = metadata.properties.get(state_property(None, release))
        before = json.loads(recorded)[COMPOSITION] if recorded else {}
        if any(composition.get(name, "") < day for name, day in before.items()):
            transaction.set_properties(properties)
            return
    transaction.set_properties({**properties, state_property(owner, release): kept})
    _tag(transaction, tag_name(owner, release), int(state[ROWS]))


def _composition(
    properties: Mapping[str, str], partition: Partition | None, state: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Return the newest release in a whole table, and the release of each partition in it."""
    others = {str(p): x.release for p, x in current_states(properties).items()}
    composition = {**others, str(partition or WHOLE): state[RELEASE]}
    return max(composition.values()), composition


def _tag(transaction: Transaction, name: str, rows: int) -> None:
    from pyiceberg.table.update.snapshot import ManageSnapshots

    metadata = transaction.table_metadata
    snapshot = metadata.current_snapshot_id
    if rows and snapshot is not None:
        ManageSnapshots(transaction).create_tag(snapshot, name).commit()
    elif name in metadata.refs:
        # Without rows there is nothing to keep; the property says that the release is empty.
        ManageSnapshots(transaction).remove_tag(name).commit()


def tagged_snapshot(table: IcebergTable, partition: Partition | None, release: date) -> int:
    """Return the snapshot of a release.

    Raises ``LookupError`` when its tag is gone, for instance removed by another tool.
    """
    name = tag_name(partition, release)
    if name not in table.metadata.refs:
        raise LookupError(
            f"{'.'.join(table.name())} records release {release} of {partition or 'the table'}, but "
            f"its tag {name} is gone. Run that release again."
        )
    return int(table.metadata.refs[name].snapshot_id)


def local(location: str) -> Path:
    """Return the path of a file that Iceberg names."""
    return Path(location.removeprefix("file://"))
