"""Run manifests: what one run read, wrote and found, however it was launched and however it ended.

``metadata/runs/run_id=<id>/manifest.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openpay_assets.lake.whole import write_whole


@dataclass
class Manifest:
    """One run.

    ``steps`` holds the seconds, outcome and assets of each step, ``assets`` rows and dollars in
    and out, ``checks`` the outcome of each. ``partition`` is the job of a run that has none.
    """

    run_id: str
    partition: str
    job: str = ""
    status: str = "started"
    release: str | None = None
    code_version: str = ""
    started_at: str = ""
    ended_at: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    assets: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


def manifest_path(root: Path, run_id: str) -> Path:
    """Return where the manifest of a run lies."""
    return root / "metadata" / "runs" / f"run_id={run_id}" / "manifest.json"


def write_manifest(root: Path, manifest: Manifest) -> Path:
    """Write a manifest whole or not at all; return its path."""
    text = json.dumps(vars(manifest), indent=2, default=str)
    return write_whole(manifest_path(root, manifest.run_id), f"{text}\n")


def read_manifest(root: Path, run_id: str) -> Manifest:
    """Read a manifest back; ``FileNotFoundError`` when the run left none."""
    return Manifest(**json.loads(manifest_path(root, run_id).read_text(encoding="utf-8")))


def read_manifests(root: Path) -> Iterator[Manifest]:
    """Yield the manifest of every run, in no order."""
    for path in root.glob("metadata/runs/run_id=*/manifest.json"):
        yield Manifest(**json.loads(path.read_text(encoding="utf-8")))
