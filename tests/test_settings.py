"""Settings: nothing set is a laptop; every environment is declared; what is unknown is refused."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from openpay_assets.settings import EngineName, Environment, Settings


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPENPAY_") or name == "DAGSTER_HOME":
            monkeypatch.delenv(name)


def test_nothing_set_is_a_laptop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings()
    assert (settings.env, settings.engine) == (Environment.DEV, EngineName.DUCKDB)
    assert settings.lake == str(tmp_path / ".openpay" / "lake")
    assert settings.cms == str(tmp_path / ".openpay" / "cms")
    assert settings.threads >= 1
    assert not settings.allow_new_columns
    assert settings.dagster_home == tmp_path / ".openpay" / "lake" / ".dagster"


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("OPENPAY_ENV", "prod", "env", Environment.PROD),
        ("OPENPAY_ENGINE", "spark", "engine", EngineName.SPARK),
        ("OPENPAY_LAKE", "/data/lake", "lake", "/data/lake"),
        (
            "OPENPAY_CMS",
            "https://openpaymentsdata.cms.gov",
            "cms",
            "https://openpaymentsdata.cms.gov",
        ),
        ("OPENPAY_MEMORY_LIMIT", "512MB", "memory_limit", "512MB"),
        ("OPENPAY_THREADS", "3", "threads", 3),
        ("OPENPAY_ALLOW_NEW_COLUMNS", "1", "allow_new_columns", True),
        (
            "OPENPAY_MAX_QUARANTINE_SHARE_GENERAL",
            "0.5",
            "max_quarantine_share_general",
            Decimal("0.5"),
        ),
    ],
)
def test_a_setting_is_read_from_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(Settings(), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("OPENPAY_ENV", "production", "'dev', 'stg' or 'prod'"),
        ("OPENPAY_ENGINE", "polars", "'duckdb'"),
    ],
)
def test_an_unknown_environment_or_engine_is_refused_with_the_known_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, known: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert known in str(refused.value)
    assert value in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENPAY_THREADS", "0"),
        ("OPENPAY_THREADS", "many"),
        ("OPENPAY_MAX_QUARANTINE_SHARE_GENERAL", "1.5"),
        ("OPENPAY_MAX_QUARANTINE_SHARE_OWNERSHIP", "-0.1"),
        ("OPENPAY_MAX_WRONG_YEAR_SHARE", "2"),
    ],
)
def test_a_value_out_of_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_a_folder_is_made_absolute_and_home_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert Settings(lake="lake", cms="~/cms").lake == str(tmp_path / "lake")
    assert Settings(lake="lake", cms="~/cms").cms == "/home/someone/cms"


def test_dagster_lives_where_dagster_home_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "/var/dagster")
    assert Settings().dagster_home == Path("/var/dagster")


def test_each_dataset_has_its_own_limit_of_quarantine() -> None:
    settings = Settings(max_quarantine_share_research=Decimal("0.1"))
    shares = [settings.max_quarantine_share(x) for x in ("general", "research", "ownership")]
    assert shares == [Decimal("0.02"), Decimal("0.1"), Decimal("0.05")]


def test_settings_do_not_change_once_made() -> None:
    with pytest.raises(ValidationError):
        Settings().threads = 4  # type: ignore[misc]
