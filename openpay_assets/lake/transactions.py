"""Iceberg transactions that look at a table's metadata once per change instead of all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.table import Transaction

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata


class OnceApplied(Transaction):
    """A PyIceberg transaction; what it commits is the same.

    PyIceberg applies every staged update to a deep copy of the metadata each time it looks at
    it, some forty times a commit, and the copies grow with the snapshots that releases keep.
    """

    _seen: tuple[Any, Any, TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        """The metadata with every staged update; copied again only when one was staged."""
        seen = self._seen
        if seen is None or seen[0] is not self._table.metadata or seen[1] is not self._updates:
            seen = (self._table.metadata, self._updates, super().table_metadata)
            self._seen = seen
        return seen[2]
