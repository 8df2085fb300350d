"""Insertions of one transaction: which of the unique keys exists already.

A key that must be new is locked and looked at in one request. Those that the transaction knows of
by itself, for it has written or locked them, are not asked for.
"""

from collections.abc import Sequence

from sqlnode.kv.buffer import Missing, WriteBuffer
from sqlnode.kv.errors import read_conflict
from sqlnode.kv.reads import ReadSet
from sqlnode.kv.rowlocks import RowLocks


class Insertions:
    """`reads` is what of the transaction is validated, None for nothing."""

    def __init__(self, buffer: WriteBuffer, rows: RowLocks, reads: ReadSet | None) -> None:
        self._buffer = buffer
        self._rows = rows
        self._reads = reads

    async def taken(self, keys: Sequence[bytes], unique: Sequence[bool]) -> int | None:
        """Position of the first unique key that exists; locks those it must ask for."""
        asked = [at for at, checked in enumerate(unique) if checked]
        checked_keys = [keys[at] for at in asked]
        if self._rows.disjoint(checked_keys) and self._buffer.are_new(checked_keys):
            return await self._first_existing(keys, asked)
        seen: set[bytes] = set()
        asked = []
        for at, key in enumerate(keys):
            if not unique[at]:
                continue
            own = self._rows.known(key)
            if key in seen or (own is not None and own.value is not None):
                # What comes before may exist already, and then is the one to report.
                earlier = await self._first_existing(keys, asked)
                return at if earlier is None else earlier
            seen.add(key)
            if own is None:
                asked.append(at)
        return await self._first_existing(keys, asked)

    async def _first_existing(self, keys: Sequence[bytes], asked: Sequence[int]) -> int | None:
        if not asked:
            return None
        found = await self._rows.lock_new([keys[at] for at in asked])
        for at, each in zip(asked, found, strict=True):
            if each.value is not None:
                if self._reads and each.changed and keys[at] in self._reads:
                    raise read_conflict()
                return at
        return None

    def load(self, keys: Sequence[bytes], values: Sequence[bytes]) -> int | None:
        """Put rows that nobody else can have; position of the first key the transaction has put
        itself, with what comes before it put."""
        buffer = self._buffer
        if buffer.are_new(keys):
            buffer.put_all(keys, values)
            return None
        for at, key in enumerate(keys):
            found = buffer.newest(key)
            if not isinstance(found, Missing) and found is not None:
                return at
            buffer.put(key, values[at])
        return None
