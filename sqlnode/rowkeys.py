"""Where rows and index entries are: from values to keys and ranges of keys.

    row              prefix  key columns                                  → the whole row
    row, no key      prefix  hidden row id                                → the whole row
    unique index     prefix  indexed columns                              → suffix of the row's key
    other index      prefix  indexed columns  suffix of the row's key     → suffix of the row's key

The *prefix* is tenant, table and index (17 bytes); the *suffix* of a row's key is all that follows
it. NULLs are not equal to each other, so an entry of a unique index with a NULL among its columns
is written like one of a non-unique index: it can neither collide nor be looked for.
"""

from collections.abc import Callable, Sequence
from typing import Any

from dormouse.base import keys
from dormouse.base.ids import TenantId
from dormouse.base.keys import KeyColumn, Span
from sqlnode.catalog.descriptors import Index, Table
from sqlnode.errors import unsupported
from sqlnode.types.base import Value
from sqlnode.types.registry import by_oid

_PLAIN_INT = KeyColumn("int")
ROW_ID = _PLAIN_INT
"""How the hidden row id of a table without a primary key is written."""

Bound = tuple[Value, bool]
"""A value, which must not be NULL, and whether rows equal to it belong to the range."""

PREFIX_BYTES = keys.INDEX_PREFIX_BYTES
_BPCHAR = 1042


class IndexKeys:
    """The keys of one index of a table, or (index None) of its rows under hidden row ids."""

    def __init__(self, table: Table, index: Index | None) -> None:
        tenant = TenantId(table.tenant)
        index_id = table.heap_index_id if index is None else index.index_id
        self.prefix = keys.index_prefix(tenant, table.table_id, index_id)
        self.span: Span = (self.prefix, keys.prefix_end(self.prefix))
        """All keys of the index."""
        self.is_row = index is None or index.primary
        """Whether the rows themselves are here, rather than entries that lead to them."""
        self.unique = index is not None and (index.unique or index.primary)
        if index is None:
            self.positions: tuple[int, ...] = ()
            """Positions of the key columns among the table's live columns."""
            self._columns = [ROW_ID]
        else:
            place = {column.number: at for at, column in enumerate(table.live)}
            self.positions = tuple(place[column.number] for column in index.columns)
            self._columns = [
                KeyColumn(_kind(table, at), column.descending, column.nulls_first)
                for at, column in zip(self.positions, index.columns, strict=True)
            ]
        self._is_plain_int = bool(self.positions) and self._columns == [_PLAIN_INT]
        self._blank = [
            at for at, position in enumerate(self.positions) if _is_bpchar(table, position)
        ]
        self._encoders = [keys.column_encoder(column) for column in self._columns]
        self._encode = keys.key_encoder(self.prefix, self._columns)
        self.values_of = _picker(self.positions)
        """values_of(row) → the values of the key columns in a full row."""

    # --- keys ---

    def encode(self, values: Sequence[Value]) -> bytes:
        """The key of these column values (for a table without primary key: of the row id).

        With fewer values than columns it is what all keys with these values start with.
        """
        if self._blank:
            values = self._without_blanks(values)
        return self._encode(values)

    def encode_row(self, row: Sequence[Value]) -> bytes:
        """The key of a full row in the primary key's index."""
        return self.encode(self.values_of(row))

    def encode_rows(self, rows: Sequence[Sequence[Value]]) -> list[bytes]:
        """The keys of full rows in the primary key's index."""
        if len(rows) == 1:
            return [self.encode_row(rows[0])]
        return self.encode_many(list(map(self.values_of, rows)))

    def encode_many(self, values: Sequence[Sequence[Value]]) -> list[bytes]:
        """Keys of values of all key columns, none of which is NULL."""
        if self._is_plain_int:
            return keys.int_keys(self.prefix, [only for (only,) in values])
        return list(map(self.encode, values))

    def encode_row_ids(self, row_ids: Sequence[int]) -> list[bytes]:
        """The keys of rows under hidden row ids."""
        if len(row_ids) == 1:
            return [self.encode((row_ids[0],))]
        return keys.int_keys(self.prefix, row_ids)

    def entry(self, row: Sequence[Value], row_key: bytes) -> tuple[bytes, bytes]:
        """Key and value of the index entry that leads to `row`, which is stored at `row_key`."""
        values = self.values_of(row)
        suffix = row_key[PREFIX_BYTES:]
        key = self.encode(values)
        return (key if self.unique and None not in values else key + suffix), suffix

    def checks(self, row: Sequence[Value]) -> bool:
        """Whether the key of this row must not exist yet: a unique index and no NULL."""
        return self.unique and None not in self.values_of(row)

    def row_key(self, entry_value: bytes) -> bytes:
        """In the index of the rows: the key of the row an entry leads to, by the entry's value."""
        return self.prefix + entry_value

    def shown(self, row: Sequence[Value]) -> Sequence[Value]:
        """The key's values, for the DETAIL of an error."""
        return self.values_of(row)

    # --- ranges ---

    def bounds(
        self, equal: Sequence[Value] = (), *, low: Bound | None = None, high: Bound | None = None
    ) -> Span:
        """The range of rows whose first columns equal `equal` (None: IS NULL) and whose next
        column lies between `low` and `high`.

        With either bound NULLs in that column are left out. The range may be empty (start ≥ end).
        """
        start = self.encode(equal)
        end = keys.prefix_end(start)
        if low is None and high is None:
            return start, end
        at = len(equal)
        column = self._columns[at]
        start, end = self._without_nulls(start, end, column)
        base = self.encode(equal)
        if column.descending:
            low, high = high, low
        if low is not None:
            value = base + self._one(at, low[0])
            start = value if low[1] else keys.prefix_end(value)
        if high is not None:
            value = base + self._one(at, high[0])
            end = keys.prefix_end(value) if high[1] else value
        return start, end

    def _without_nulls(self, start: bytes, end: bytes, column: KeyColumn) -> Span:
        null = start + keys.null_bytes(column)
        if column.nulls_first:
            return keys.prefix_end(null), end
        return start, null

    def _one(self, at: int, value: Value) -> bytes:
        return self._encoders[at](value.rstrip(" ") if at in self._blank else value)

    def _without_blanks(self, values: Sequence[Value]) -> list[Value]:
        # char(n) compares without its trailing blanks.
        changed = list(values)
        for at in self._blank:
            if at < len(changed) and changed[at] is not None:
                changed[at] = changed[at].rstrip(" ")
        return changed


def row_keys(table: Table) -> IndexKeys:
    """The keys of the rows themselves."""
    return IndexKeys(table, table.primary)


def _kind(table: Table, position: int) -> str:
    kind = by_oid(table.live[position].type)
    if kind.key_kind is None:
        raise unsupported(f"an index on a column of type {kind.name}")
    return kind.key_kind


def _is_bpchar(table: Table, position: int) -> bool:
    return table.live[position].type == _BPCHAR


def _picker(positions: Sequence[int]) -> Callable[[Sequence[Value]], tuple[Any, ...]]:
    if len(positions) == 1:
        (only,) = positions
        return lambda row: (row[only],)

    def pick(row: Sequence[Value]) -> tuple[Any, ...]:
        return tuple([row[position] for position in positions])

    return pick
