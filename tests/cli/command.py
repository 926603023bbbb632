"""The openpay command in a process of its own, on a lake of its own."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

from openpay_assets.settings import PROJECT_ROOT


class OpenPay:
    """The command on one lake and one CMS folder."""

    def __init__(self, lake: Path, cms: Path) -> None:
        self.lake, self.cms = lake, cms

    @property
    def environment(self) -> dict[str, str]:
        """What the command sees."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENPAY_", "DAGSTER_"))}
        return {
            **kept,
            "OPENPAY_LAKE": str(self.lake),
            "OPENPAY_CMS": str(self.cms),
            "COLUMNS": "200",
        }

    def command(self, *arguments: str) -> list[str]:
        """The full command line."""
        return [sys.executable, "-m", "openpay_assets.cli", *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the command in a process group of its own, so that all of it can be killed."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            cwd=PROJECT_ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def rows(self, sql: str) -> list[dict[str, str]]:
        """Rows of a query."""
        done = self("query", sql, "--format", "csv")
        assert done.returncode == 0, done.stderr
        return list(csv.DictReader(io.StringIO(done.stdout)))

    def hashes(self) -> dict[str, str]:
        """A hash of the contents of every table, run ids left out."""
        from openpay_assets.query import connect
        from openpay_assets.settings import Settings

        found = {}
        with connect(Settings(lake=str(self.lake), cms=str(self.cms))) as connection:
            tables = connection.execute(
                "SELECT table_schema || '.' || table_name FROM information_schema.tables "
                "WHERE table_schema IN ('staging', 'quarantine', 'curated', 'marts')"
            ).fetchall()
            for (name,) in tables:
                columns = [c[0] for c in connection.execute(f"DESCRIBE {name}").fetchall()]
                row = ", ".join(f'"{c}"' for c in columns if c != "run_id")
                found[name] = connection.execute(
                    f"SELECT count(*) || ':' || coalesce(bit_xor(hash({row})), 0) FROM {name}"
                ).fetchall()[0][0]
        return found


class Lenient(OpenPay):
    """Lets the dirt of a small simulated file through the share limit."""

    @property
    def environment(self) -> dict[str, str]:
        """With a higher limit."""
        return {**super().environment, "OPENPAY_MAX_QUARANTINE_SHARE_GENERAL": "0.2"}
