"""A table's codecs and writer, made once per descriptor and shared by all plans.

Making them generates code, which costs as much as planning a short statement. Descriptors are
immutable, so the object itself is the key: a changed table is another descriptor.
"""

from dataclasses import dataclass

from sqlnode.catalog.descriptors import Index, Table
from sqlnode.execute.writer import TableWriter
from sqlnode.rowkeys import IndexKeys, row_keys
from sqlnode.rows import RowDecoder, RowLayout

TABLES_MAX = 512
"""Descriptors remembered; all are forgotten beyond."""


@dataclass(frozen=True, slots=True)
class Codecs:
    """What reads and writes one table."""

    table: Table
    layout: RowLayout
    rows: IndexKeys
    writer: TableWriter
    indexes: dict[int, IndexKeys]

    def keys(self, index: Index | None) -> IndexKeys:
        """The keys of one index (None: of the rows)."""
        return self.rows if index is None or index.primary else self.indexes[index.oid]

    def decoder(self, positions: tuple[int, ...]) -> RowDecoder:
        """A decoder of the columns at `positions`."""
        return self.layout.decoder(positions)


_known: dict[int, Codecs] = {}


def codecs(table: Table) -> Codecs:
    """The codecs of a table."""
    # Keyed by identity; the entry holds the table, so that its id is not given to another.
    found = _known.get(id(table))
    if found is None:
        if len(_known) >= TABLES_MAX:
            _known.clear()
        layout = RowLayout(table)
        indexes = {index.oid: IndexKeys(table, index) for index in table.indexes}
        writer = TableWriter(table, layout)
        found = Codecs(table, layout, row_keys(table), writer, indexes)
        _known[id(table)] = found
    return found
