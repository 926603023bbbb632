"""Run manifests: written whole, read back the same, replaced by the end of their run."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from openpay_assets.lake.manifest import Manifest, manifest_path, read_manifest, write_manifest


def _manifest(**changes: object) -> Manifest:
    return Manifest(run_id="abc", partition="general|2023", **changes)  # type: ignore[arg-type]


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = _manifest(
        status="failed",
        release="2024-06-28",
        settings={"threads": 2},
        assets={"staging": {"rows": 499}},
        checks=[{"name": "conservation", "passed": True}],
        error="header_known: no layout",
    )
    path = write_manifest(tmp_path, manifest)
    assert path == tmp_path / "metadata/runs/run_id=abc/manifest.json"
    assert read_manifest(tmp_path, "abc") == manifest


def test_what_json_cannot_hold_is_written_as_text(tmp_path: Path) -> None:
    assets = {"staging": {"dollars": Decimal("1.10"), "day": date(2024, 6, 28)}}
    write_manifest(tmp_path, _manifest(assets=assets))
    read = read_manifest(tmp_path, "abc").assets
    assert read == {"staging": {"dollars": "1.10", "day": "2024-06-28"}}


def test_the_manifest_of_a_run_is_replaced_as_the_run_goes_on(tmp_path: Path) -> None:
    write_manifest(tmp_path, _manifest())
    write_manifest(tmp_path, _manifest(status="succeeded"))
    assert read_manifest(tmp_path, "abc").status == "succeeded"


def test_a_manifest_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path, _manifest())

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_manifest(tmp_path, _manifest(status="succeeded"))
    monkeypatch.undo()
    assert read_manifest(tmp_path, "abc").status == "started"


def test_a_run_without_a_manifest_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path, "never")
    assert not manifest_path(tmp_path, "never").parent.exists()
