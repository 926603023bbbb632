"""Which runs of the openpay command are alive: each holds a lock that ends with its process.

``metadata/running/<run id>``, there from the beginning of a run to its end, or until somebody finds
that its process was killed. The lock is the operating system's, so it needs no clock and no guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _folder(root: Path) -> Path:
    return root / "metadata" / "running"


@contextmanager
def running(root: Path, run_id: str) -> Iterator[None]:
    """Say that a run is alive as long as this context, or this process, lasts.

    After an exception the run stays among those left behind: it may not be recorded.
    """
    from filelock import FileLock

    path = _folder(root) / run_id
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield
        path.unlink()


def left_behind(root: Path) -> Iterator[str]:
    """Yield the id of each run whose process left it; it is forgotten when asked for the next.

    Nobody else is given the same id meanwhile. One that the caller fails on comes again next time.
    """
    from filelock import FileLock, Timeout

    for path in sorted(_folder(root).glob("*")):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue  # its process lives
        try:
            yield path.name
            path.unlink(missing_ok=True)
        finally:
            lock.release()
