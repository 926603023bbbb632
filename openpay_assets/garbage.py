"""How often Python looks for garbage in the processes that run partitions."""

from __future__ import annotations

import atexit
import gc


def collect_less() -> None:
    """Look for garbage after many new objects instead of after 700.

    A run makes millions that stay: modules, plans, events. To walk through them again and again
    took a tenth to a fifth of a small partition's time; twenty mebibytes more are in use. A process
    that ends looks once more, for two seconds; what is frozen by then is left to the system.
    """
    gc.set_threshold(100_000, 50, 100)
    atexit.register(gc.freeze)
