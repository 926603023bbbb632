"""The engines, each behind the same fixture; Spark's session is one for all tests."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from on_spark import ON_SPARK

from openpay_assets.engines.duckdb import DuckDBEngine


@pytest.fixture(scope="session")
def spark_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A local session; skips without pyspark or Java, unless OPENPAY_DEMAND names ``spark``."""
    missing = [
        what
        for what, is_there in (
            ("pyspark (pip install 'openpay[spark]')", importlib.util.find_spec("pyspark")),
            ("Java 17", shutil.which("java") or os.environ.get("JAVA_HOME")),
        )
        if not is_there
    ]
    if missing:
        reason = f"no {' and no '.join(missing)}"
        if "spark" in os.environ.get("OPENPAY_DEMAND", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    from pyspark.sql import SparkSession

    from openpay_assets.engines.spark import session_config

    builder = SparkSession.builder
    for key, value in session_config("1GB", 2, tmp_path_factory.mktemp("spark")).items():
        builder = builder.config(key, value)
    # Queries over a few hundred rows end before a second compiler or collector has repaid its time.
    quick = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    builder = builder.config("spark.driver.extraJavaOptions", quick)
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module", params=["duckdb", pytest.param("spark", marks=ON_SPARK)])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """Each engine in turn, on two threads and little memory."""
    options: dict[str, Any] = {
        "memory_limit": "1GB",
        "threads": 2,
        "scratch": tmp_path_factory.mktemp("engine") / "scratch",
    }
    if request.param == "duckdb":
        engine: Any = DuckDBEngine(**options)
    else:
        session = request.getfixturevalue("spark_session")
        from openpay_assets.engines.spark import SparkEngine

        engine = SparkEngine(session, **options)
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _collect_garbage() -> Iterator[None]:
    """Let a test's garbage go while its filters of warnings hold."""
    yield
    gc.collect()
