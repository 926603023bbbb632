"""What marks a test that runs on Spark."""

from __future__ import annotations

import pytest

ON_SPARK = (
    pytest.mark.spark,
    # PySpark leaves the sockets over which it collected rows to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
    # PySpark 4.0 still passes pandas 3 an argument that it ignores.
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:DeprecationWarning"),
)
