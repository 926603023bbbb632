"""Runs that are alive, and those whose process left them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from openpay_assets.lake.running import left_behind, running

HELD = """
import sys, time
from pathlib import Path
from openpay_assets.lake.running import running
with running(Path(sys.argv[1]), "run"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_run_that_ended_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, "run"):
        assert list(left_behind(tmp_path)) == []
    assert list(left_behind(tmp_path)) == []
    assert not list((tmp_path / "metadata" / "running").iterdir())


def test_a_run_is_left_behind_as_soon_as_its_process_is_killed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        assert list(left_behind(tmp_path)) == []
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(left_behind(tmp_path)) == ["run"]
    assert list(left_behind(tmp_path)) == []


def test_a_run_that_raised_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), running(tmp_path, "run"):
        raise KeyboardInterrupt
    assert list(left_behind(tmp_path)) == ["run"]


def test_a_run_that_is_not_dealt_with_comes_again(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk"), running(tmp_path, "run"):
        raise ValueError("disk")
    for run_id in left_behind(tmp_path):
        assert run_id == "run"
        break
    assert list(left_behind(tmp_path)) == ["run"]


def test_nobody_else_is_given_the_same_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="disk"), running(tmp_path, "run"):
        raise ValueError("disk")
    for _ in left_behind(tmp_path):
        assert list(left_behind(tmp_path)) == []
