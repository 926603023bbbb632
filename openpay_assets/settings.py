"""Settings of one openpay environment, read from ``OPENPAY_*`` variables.

Every environment is declared here; an unknown one is an error that names the known ones.
Nothing set means a laptop: DuckDB, a folder, a SQLite catalog.
"""

from __future__ import annotations

import os
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Environment(StrEnum):
    """Where openpay runs."""

    DEV = "dev"
    STG = "stg"
    PROD = "prod"


class EngineName(StrEnum):
    """What evaluates a transform."""

    DUCKDB = "duckdb"
    SPARK = "spark"


class Settings(BaseSettings):
    """One environment.

    Units: memory limits as DuckDB writes them (``2GB``), shares between 0 and 1, times in seconds.
    ``cms`` is a folder of CMS-named files or the URL of a CMS site, ``cms_archives`` where the ZIPs
    of archived program years lie when they are not CMS's own. ``connections`` download one file.
    ``watch_*`` are of the release sensor: on from the start, how often it asks, and how many
    runs it lets wait or run at once.
    Raises ``pydantic.ValidationError`` on an unknown environment or engine.
    """

    model_config = SettingsConfigDict(env_prefix="OPENPAY_", extra="ignore", frozen=True)

    env: Environment = Environment.DEV
    lake: str = ".openpay/lake"
    cms: str = ".openpay/cms"
    engine: EngineName = EngineName.DUCKDB
    memory_limit: str = "2GB"
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    allow_new_columns: bool = False
    cms_archives: str | None = None
    connections: int = Field(8, ge=1)
    cms_timeout: float = Field(30.0, gt=0)
    cms_attempts: int = Field(6, ge=1)
    cms_first_wait: float = Field(1.0, ge=0)
    watch_cms: bool = False
    watch_seconds: int = Field(3600, ge=5)
    watch_max_runs: int = Field(6, ge=1)
    max_quarantine_share_general: Decimal = Field(Decimal("0.02"), ge=0, le=1)
    max_quarantine_share_research: Decimal = Field(Decimal("0.02"), ge=0, le=1)
    max_quarantine_share_ownership: Decimal = Field(Decimal("0.05"), ge=0, le=1)
    max_wrong_year_share: Decimal = Field(Decimal("0.0001"), ge=0, le=1)

    @field_validator("lake", "cms")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return value if "://" in value else str(Path(value).expanduser().resolve())

    def max_quarantine_share(self, dataset: str) -> Decimal:
        """Share of quarantined rows (0 to 1) above which a partition of ``dataset`` is blocked."""
        share: Decimal = getattr(self, f"max_quarantine_share_{dataset}")
        return share

    @property
    def dagster_home(self) -> Path:
        """Folder of the Dagster instance: ``DAGSTER_HOME``, or a folder inside a local lake."""
        if home := os.environ.get("DAGSTER_HOME"):
            return Path(home)
        return Path(".dagster").resolve() if "://" in self.lake else Path(self.lake) / ".dagster"
