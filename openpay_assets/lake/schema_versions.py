"""Schema versions: how the columns of each table changed over time.

``metadata/schema_versions/<zone>.<table>.json``, one entry for each time that a commit brought other
columns than the commit before. A column is its name, its type and whether it must be filled.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from openpay_assets.lake.whole import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from openpay_assets.contracts.model import Table


@dataclass(frozen=True)
class SchemaVersion:
    """The columns of a table from one commit on, until the next version.

    ``version`` counts from 1; ``run_id`` and ``at`` are of the first commit that had them.
    """

    version: int
    fingerprint: str
    run_id: str
    at: str
    columns: list[dict[str, str | bool]]
    """``name``, ``type`` and ``required`` of each, in order."""


def read_versions(root: Path, table: str) -> list[SchemaVersion]:
    """Return the versions of a table, oldest first; none before its first commit."""
    try:
        text = _path(root, table).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [SchemaVersion(**version) for version in json.loads(text)]


def record_schema(root: Path, table: Table, run_id: str) -> None:
    """Note the columns that a run just committed, if they are not those committed before.

    Nearly always they are, so the lock is only taken when they differ.
    """
    if not _is_current(root, table):
        _append(root, table, run_id)


def _append(root: Path, table: Table, run_id: str) -> None:
    from filelock import FileLock

    path = _path(root, table.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / ".lock"):
        if _is_current(root, table):
            return
        versions = read_versions(root, table.name)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        new = SchemaVersion(len(versions) + 1, _fingerprint(table), run_id, now, _columns(table))
        text = json.dumps([asdict(x) for x in (*versions, new)], indent=2)
        write_whole(path, f"{text}\n")


def _is_current(root: Path, table: Table) -> bool:
    versions = read_versions(root, table.name)
    return bool(versions) and versions[-1].fingerprint == _fingerprint(table)


def _fingerprint(table: Table) -> str:
    return hashlib.sha256(json.dumps(_columns(table)).encode()).hexdigest()


def _columns(table: Table) -> list[dict[str, str | bool]]:
    return [{"name": c.name, "type": str(c.type), "required": c.required} for c in table.columns]


def _path(root: Path, table: str) -> Path:
    return root / "metadata" / "schema_versions" / f"{table}.json"
