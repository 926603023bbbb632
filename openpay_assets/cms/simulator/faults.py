"""Faults that a simulated site can be told to have: what goes wrong, how often, and where."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """How an answer goes wrong."""

    STALL = "stall"
    """Half of the body comes, then nothing, and the connection stays open."""
    RESET = "reset"
    """Half of the body comes, then the connection is reset."""
    BUSY = "429"
    """Too many requests; try again in a second."""
    BROKEN = "500"
    UNAVAILABLE = "503"
    TRUNCATED = "truncated"
    """The length is right, but the connection ends after half of the body."""
    SHORT = "short"
    """Half of the file is sent as if it were all: the length agrees with what comes."""
    NO_RANGE = "no-range"
    """A range is asked for and the whole file comes."""
    CHANGED = "changed"
    """From this request on the file has another ETag and another day, as after a new upload."""


FOREVER = -1
_SPEC = re.compile(r"(?P<kind>[a-z0-9-]+)(?::(?P<times>\d+|\*))?(?:@(?P<where>.+))?\Z")
FILES = "/openpayments/"


@dataclass
class Fault:
    """One fault: ``times`` answers, or all, to requests whose path holds ``where``."""

    kind: FaultKind
    times: int = 1
    where: str = FILES

    @classmethod
    def parse(cls, spec: str) -> Fault:
        """Read ``KIND[:TIMES][@WHERE]``, such as ``reset:2@OP_DTL_GNRL``; ``*`` means always.

        Raises ``ValueError`` with the kinds there are.
        """
        found = _SPEC.match(spec)
        kinds = [str(kind) for kind in FaultKind]
        if found is None or found["kind"] not in kinds:
            raise ValueError(
                f"{spec} is not a fault such as reset:2@OP_DTL_GNRL. Kinds: {', '.join(kinds)}."
            )
        times = FOREVER if found["times"] == "*" else int(found["times"] or 1)
        return cls(FaultKind(found["kind"]), times, found["where"] or FILES)


class Faults:
    """The faults that are still to happen; each request takes at most one."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Plan another one."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Forget those that have not happened."""
        with self._lock:
            self._faults.clear()

    def take(self, path: str) -> FaultKind | None:
        """Return what goes wrong with the answer to a request, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.times and fault.where in path:
                    fault.times -= fault.times > 0
                    return fault.kind
        return None
