"""A transaction over a dict: versions, snapshots and locks without storage.

`MemoryStore` keeps every committed version of a key. A `MemoryTransaction` reads at the snapshot of
its statement and buffers its writes; locks are granted at once, for one test drives all sessions.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from sqlnode.errors import SqlError
from sqlnode.kv.api import Locked, Page

PAGE_ROWS = 3


@dataclass
class MemoryStore:
    """Committed versions by key, oldest first: (commit time, value or None)."""

    versions: dict[bytes, list[tuple[int, bytes | None]]] = field(default_factory=dict)
    time: int = 0
    next_row_id: int = 1
    requests: int = 0

    def at(self, key: bytes, snapshot: int) -> bytes | None:
        """The value of a key at a time."""
        for time, value in reversed(self.versions.get(key, [])):
            if time <= snapshot:
                return value
        return None

    def commit(self, writes: dict[bytes, bytes | None]) -> None:
        """Apply writes at a new time."""
        self.time += 1
        for key, value in writes.items():
            self.versions.setdefault(key, []).append((self.time, value))


class MemoryTransaction:
    """See `sqlnode.kv.api.Transaction`."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        repeatable: bool = False,
        frozen: bool = False,
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self.store = store
        self.snapshot = store.time
        self.writes: dict[bytes, bytes | None] = {}
        self._visible: dict[bytes, bytes | None] = {}
        self.locks: list[tuple[bytes, str]] = []
        self.read_only = False
        self._repeatable = repeatable
        self._frozen = frozen or repeatable
        """Keep the first snapshot; without `repeatable` as a statement that has just begun."""
        self._page_rows = page_rows

    async def begin_statement(self) -> None:
        """Take a new snapshot (READ COMMITTED); earlier writes become visible to reads."""
        self._visible = dict(self.writes)
        if not self._frozen:
            self.snapshot = self.store.time

    def commit(self) -> None:
        """Make the buffered writes visible."""
        self.store.commit(self.writes)
        self.writes = {}

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.store.requests += 1
        return [self._read(key, self.snapshot) for key in keys]

    def _read(self, key: bytes, snapshot: int) -> bytes | None:
        if key in self._visible:
            return self._visible[key]
        return self.store.at(key, snapshot)

    def _newest(self, key: bytes) -> bytes | None:
        return self.writes[key] if key in self.writes else self.store.at(key, self.store.time)

    async def scan(
        self,
        start: bytes,
        end: bytes,
        *,
        reverse: bool = False,
        strip: int = 0,
        keys: bool = True,
        values: bool = True,
        rows_hint: int = 0,
    ) -> AsyncIterator[Page]:
        self.store.requests += 1
        snapshot = self.snapshot
        known = sorted({*self.store.versions, *self._visible}, reverse=reverse)
        found = [
            (key, value)
            for key in known
            if start <= key < end and (value := self._read(key, snapshot)) is not None
        ]
        for at in range(0, len(found), self._page_rows):
            part = found[at : at + self._page_rows]
            yield Page(
                [key[strip:] for key, _ in part] if keys else [],
                [value for _, value in part] if values else [],
            )

    async def lock(
        self,
        keys: Sequence[bytes],
        *,
        strength: str = "update",
        wait: str = "wait",
        new: bool = False,
        proves: bool = True,
    ) -> list[Locked]:
        self.store.requests += 1
        found = []
        for key in keys:
            self.locks.append((key, strength))
            if key in self.writes:
                found.append(Locked(self.writes[key], changed=False))
                continue
            newest = self.store.at(key, self.store.time)
            changed = newest != self.store.at(key, self.snapshot)
            if changed and self._repeatable:
                raise SqlError("40001", "could not serialize access due to concurrent update")
            found.append(Locked(newest, changed=changed))
        return found

    def forgo(self) -> None:
        """Nothing: nobody else wants its locks."""

    async def insert(
        self, keys: Sequence[bytes], values: Sequence[bytes], *, unique: Sequence[bool]
    ) -> int | None:
        for place, (key, checks) in enumerate(zip(keys, unique, strict=True)):
            if checks and self._newest(key) is not None:
                return place
        self.writes.update(zip(keys, values, strict=True))
        return None

    def load(self, keys: Sequence[bytes], values: Sequence[bytes]) -> int | None:
        self.writes.update(zip(keys, values, strict=True))
        return None

    def put(self, key: bytes, value: bytes) -> None:
        self.writes[key] = value

    def delete(self, key: bytes) -> None:
        self.writes[key] = None

    def hold_tables(self, tables: Sequence[tuple[int, int]]) -> bool:
        return True

    async def lock_tables(self, tables: Sequence[tuple[int, int]], *, nowait: bool = False) -> None:
        pass

    def look_anew(self) -> None:
        pass

    def retire(self, start: bytes, end: bytes) -> None:
        for key in {*self.store.versions, *self.writes}:
            if start <= key < end:
                self.writes[key] = None

    def change_catalog(self) -> None:
        pass

    @property
    def statement_writes(self) -> tuple[int, int]:
        return len(self.writes), sum(len(k) + len(v or b"") for k, v in self.writes.items())

    async def flush(self) -> None:
        pass

    async def row_ids(self, count: int) -> range:
        first = self.store.next_row_id
        self.store.next_row_id += count
        return range(first, first + count)
