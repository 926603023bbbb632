"""Resources: the CMS source and the lake, as Dagster configures them.

What they do is in ``cms`` and ``lake``; here they only get their settings.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from openpay_assets.cms.http import Http, Patience
from openpay_assets.cms.source import CmsSource, source_for
from openpay_assets.lake.raw import RawZone
from openpay_assets.lake.tables import LakeTables


class CmsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where CMS files come from; ``location`` is ``OPENPAY_CMS``. Times are in seconds."""

    location: str
    allow_new_columns: bool = False
    archive_site: str | None = None
    connections: int = 8
    timeout: float = 30.0
    attempts: int = 6
    first_wait: float = 1.0

    def source(self) -> CmsSource:
        """Return the source behind the location."""
        patience = Patience(self.timeout, self.attempts, self.first_wait)
        return self._source(patience)

    def impatient_source(self) -> CmsSource:
        """Return the source for a caller with a minute in all, such as a sensor."""
        patience = Patience(
            timeout=min(self.timeout, 10.0),
            attempts=min(self.attempts, 3),
            first_wait=self.first_wait,
            longest_wait=10.0,
            give_up_after=20.0,
        )
        return self._source(patience)

    def _source(self, patience: Patience) -> CmsSource:
        http = Http(patience, self.connections)
        return source_for(self.location, archive_site=self.archive_site, http=http)


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake folder; ``root`` is ``OPENPAY_LAKE``."""

    root: str

    @property
    def path(self) -> Path:
        """The folder itself."""
        return Path(self.root)

    def raw(self) -> RawZone:
        """Return the raw zone."""
        return RawZone(self.path)

    def tables(self) -> LakeTables:
        """Return the Iceberg tables."""
        return LakeTables(self.path)


class Thresholds(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Shares (0 to 1) above which a partition is blocked."""

    max_quarantine_share: dict[str, float]
    max_wrong_year_share: float
