"""Garbage is collected less often where partitions run, and still collected."""

from __future__ import annotations

import subprocess
import sys

import pytest

DAGSTER = "from openpay_assets.definitions import defs; defs()"
COMMAND = (
    "import sys; sys.argv = ['openpay', '--help']; from openpay_assets.cli import main; main()"
)


@pytest.mark.parametrize("entry", [DAGSTER, COMMAND])
def test_a_process_that_runs_partitions_collects_less_often(entry: str) -> None:
    told = "import atexit, gc; atexit.register(lambda: print(gc.get_threshold(), gc.isenabled()))"
    found = subprocess.run(
        [sys.executable, "-c", f"{told}\n{entry}"], capture_output=True, text=True, check=True
    )
    assert found.stdout.splitlines()[-1] == "(100000, 50, 100) True"
