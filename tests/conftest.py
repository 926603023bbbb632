"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from staged import Stager

from openpay_assets.garbage import collect_less

collect_less()

# An example is a query or two: none is slow, but the first one compiles and machines are shared.
settings.register_profile("openpay", deadline=None, max_examples=25)
settings.load_profile("openpay")

REAL_FILES = Path(__file__).parents[2] / "shared" / "data"


LONGEST_FIRST = ("ui", "cli", "engines", "orchestration", "dbt")
"""Folders of tests that run whole partitions: started last, one of them would be waited for."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with the longest tests first, for the workers to begin with."""
    rank = {name: n for n, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@pytest.fixture(scope="session")
def stager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stager]:
    """Stages rows of an era on DuckDB, through a CMS file and the strict parser."""
    stager = Stager(tmp_path_factory.mktemp("staged"))
    yield stager
    stager.close()


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder of real CMS files; skips without it, unless OPENPAY_DEMAND names ``real``."""
    if not REAL_FILES.is_dir():
        reason = f"no real CMS files: {REAL_FILES} is not a folder"
        if "real" in os.environ.get("OPENPAY_DEMAND", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    return REAL_FILES
