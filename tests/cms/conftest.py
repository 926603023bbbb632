"""What several tests of the publisher share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from faulty_site import FaultySite, serving

from openpay_assets.cms.http import Http, Patience


@pytest.fixture
def site() -> Iterator[FaultySite]:
    """A site on this machine that fails as it is told."""
    with serving() as running:
        yield running


@pytest.fixture
def http() -> Http:
    """A client that hardly waits."""
    return Http(Patience(timeout=0.5, attempts=3, first_wait=0.001, longest_wait=0.05), 4)
