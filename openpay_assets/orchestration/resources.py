"""Resources: the CMS source and the lake, as Dagster configures them.

What they do is in ``cms`` and ``lake``; here they only get their settings.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from openpay_assets.cms.source import CmsSource, source_for
from openpay_assets.lake.raw import RawZone
from openpay_assets.lake.tables import LakeTables


class CmsResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Where CMS files come from; ``location`` is ``OPENPAY_CMS``."""

    location: str
    allow_new_columns: bool = False

    def source(self) -> CmsSource:
        """Return the source behind the location."""
        return source_for(self.location)


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
