"""The generated pages of the documentation: data dictionary, quality rules, checks.

``python -m openpay_assets.pages docs`` writes them; with ``--check`` it fails when one is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from openpay_assets.contracts.docs import data_dictionary, quality_rules
from openpay_assets.definitions import assets_before_marts


def checks() -> str:
    """Return the page of asset checks."""
    return "\n".join(_check_lines()) + "\n"


def _check_lines() -> Iterator[str]:
    yield "# Checks"
    yield ""
    yield "Generated from the assets (`make docs`). Each check is an asset check in Dagster, kept per"
    yield "partition. When a blocking one fails nothing downstream runs, and readers keep the last good"
    yield "state; where a description says so, a small failure of it warns only. The rules that the"
    yield "`warnings` and `reasons` checks count are in [quality-rules.md](quality-rules.md). The marts"
    yield "have dbt's tests as checks, which stand beside each model in `dbt/models`; all of them pass"
    yield "before a mart is committed."
    for definition in assets_before_marts():
        for key in sorted(definition.keys, key=lambda key: key.to_user_string()):
            specs = [x for x in definition.check_specs if x.asset_key == key]
            if not specs:
                continue
            yield ""
            yield f"## {'.'.join(key.path)}"
            yield ""
            yield "| check | blocks | what it asks |"
            yield "|---|---|---|"
            for spec in specs:
                yield f"| `{spec.name}` | {'yes' if spec.blocking else ''} | {spec.description} |"


PAGES = {
    "data-dictionary.md": data_dictionary,
    "quality-rules.md": quality_rules,
    "checks.md": checks,
}


def main(arguments: list[str]) -> int:
    """Write the pages into a folder, or compare them; return the exit code."""
    folder, check = Path(arguments[0]), "--check" in arguments
    wanted = {folder / name: page() for name, page in PAGES.items()}
    stale = {
        path: text
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        if check:
            sys.stderr.write(f"{path} is stale: run make docs\n")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
