"""Generated pages: stale ones are told, and every check of an asset is on its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from openpay_assets import pages
from openpay_assets.contracts.rules import RULES
from openpay_assets.definitions import assets_before_marts


def test_a_stale_or_missing_page_fails_the_check_until_it_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pages.main([str(tmp_path), "--check"]) == 1
    assert not list(tmp_path.iterdir())
    assert pages.main([str(tmp_path)]) == 0
    assert {x.name for x in tmp_path.iterdir()} == set(pages.PAGES)
    assert pages.main([str(tmp_path), "--check"]) == 0
    (tmp_path / "checks.md").write_text("old")
    capsys.readouterr()
    assert pages.main([str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'checks.md'} is stale: run make docs\n"


def test_every_rule_and_every_check_is_on_its_page() -> None:
    rules, checks = pages.quality_rules(), pages.checks()
    assert [x.name for x in RULES if f"| `{x.name}` |" not in rules] == []
    specs = [x for definition in assets_before_marts() for x in definition.check_specs]
    lines = [f"| `{x.name}` | {'yes' if x.blocking else ''} | {x.description} |" for x in specs]
    assert len(lines) > 50
    assert [x for x in lines if x not in checks] == []
