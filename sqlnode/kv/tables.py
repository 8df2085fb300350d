"""Table locks as a pod has them: weak ones noted in memory, all others asked of storage.

    hold(t, ROW EXCLUSIVE) ──▶ nobody wants a strong lock of t ──▶ noted: no request at all
                           └─▶ somebody does, or has changed t ──▶ LockTables, in storage's queue

    storage: TableWord(t, recall 3) ──▶ what the open transactions have noted ──▶ Recalled(3)

`storage.wanted` has the whole picture. What matters here: a note is worth something only on the
stream that it was made under. With its first note a transaction is tied to that stream, so its
commit, and the requests that build on others, reach storage before the stream ends, or never. One
that goes on after that is told 40001, for somebody else may have locked the table meanwhile.

While there is no stream nothing can be noted: who has just come back learns with the hello what is
wanted, and which catalog is the newest.
"""

from __future__ import annotations  # the client makes transactions

from typing import TYPE_CHECKING

from proto import kv_pb2 as kv
from sqlnode.errors import SqlError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlnode.kv.transaction import KvTransaction

TABLES_MAX = 10_000
"""Tables that one transaction may lock."""
LOCKS_PER_REQUEST = 20_000
CHANGED_MAX = 10_000
"""Tables whose last change is remembered; of the others it is known that it was before those."""

ACCESS_SHARE, ROW_SHARE, ROW_EXCLUSIVE = kv.ACCESS_SHARE, kv.ROW_SHARE, kv.ROW_EXCLUSIVE
TableLock = tuple[int, int]
"""A table's OID and a kv.TableMode."""


class HeldTables:
    """The table locks of one transaction. Modes of a table are or-ed, each a bit by its number."""

    __slots__ = ("_asked", "_modes", "_undo")

    def __init__(self) -> None:
        self._modes: dict[int, int] = {}
        self._asked: dict[int, int] = {}
        self._undo: list[tuple[int, int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._modes)

    def __repr__(self) -> str:
        return f"<HeldTables {len(self._modes)}, {len(self._asked)} known to storage>"

    def missing(self, tables: Iterable[TableLock]) -> list[TableLock]:
        """What of these is to be got still. ACCESS EXCLUSIVE leaves nothing to wish for."""
        modes = self._modes
        return [
            each
            for each in tables
            if not modes.get(each[0], 0) & (1 << each[1] | 1 << kv.ACCESS_EXCLUSIVE)
        ]

    def add(self, tables: Iterable[TableLock], savepoint: int, *, asked: bool) -> None:
        """They are got, behind this savepoint; `asked`: from storage. Raises SqlError 53200."""
        modes = self._modes
        for table, mode in tables:
            before = modes.get(table, 0)
            if not before and len(modes) >= TABLES_MAX:
                raise _too_many()
            if savepoint:
                self._undo.append((savepoint, table, 1 << mode))
            modes[table] = before | 1 << mode
            if asked:
                self._asked[table] = self._asked.get(table, 0) | 1 << mode

    def recall(self, table: int) -> Iterator[tuple[int, int]]:
        """(mode, savepoint) of what storage does not know of a table; it does from now on."""
        noted = self._modes.get(table, 0) & ~self._asked.get(table, 0)
        if noted:
            self._asked[table] = self._asked.get(table, 0) | noted
        behind = {bit: point for point, of, bit in self._undo if of == table}
        for mode in (ACCESS_SHARE, ROW_SHARE, ROW_EXCLUSIVE):
            if noted & 1 << mode:
                yield mode, behind.get(1 << mode, 0)

    def forget(self, savepoint: int) -> None:
        """The locks got behind this savepoint are free again."""
        while self._undo and self._undo[-1][0] >= savepoint:
            _, table, bit = self._undo.pop()
            for modes in (self._modes, self._asked):
                if table in modes:
                    modes[table] &= ~bit
                    if not modes[table]:
                        del modes[table]

    def clear(self) -> None:
        """The transaction has ended."""
        self._modes.clear()
        self._asked.clear()
        self._undo.clear()

    def noted(self) -> Iterator[TableLock]:
        """What storage does not know of."""
        for table, modes in self._modes.items():
            noted = modes & ~self._asked.get(table, 0)
            for mode in (ACCESS_SHARE, ROW_SHARE, ROW_EXCLUSIVE):
                if noted & 1 << mode:
                    yield table, mode


def _too_many() -> SqlError:
    hint = "You might need to increase max_locks_per_transaction."
    return SqlError("53200", "out of shared memory", hint=hint)


class PodTables:
    """What a pod knows of its tenant's tables. `send` sends a request on the present stream."""

    def __init__(self, pod: int, send: Callable[[kv.Request], None]) -> None:
        self.ready = False
        """Whether there is a stream, and what is wanted is known."""
        self.users: dict[KvTransaction, None] = {}
        """The transactions that have noted something."""
        self._pod = pod
        self._send = send
        self._wanted: set[int] = set()
        self._changed: dict[int, int] = {}
        self._floor = 0

    def __repr__(self) -> str:
        return f"<PodTables {len(self.users)} users, wanted {sorted(self._wanted)}>"

    def greeted(self, hello: kv.HelloReply) -> None:
        """A stream has begun."""
        self._wanted = set(hello.tables)
        self._changed.clear()
        self._floor = hello.catalog_version
        self.ready = True

    def stream_broke(self) -> None:
        """Nothing is known any more."""
        self.ready = False

    def told(self, words: Sequence[kv.TableWord]) -> None:
        """Storage says which strong locks there are, and are no more."""
        for word in words:
            if word.recall:
                self._wanted.add(word.table)
                self._report(word)
            else:
                self._wanted.discard(word.table)
                self._note_change(word.table, word.changed)

    def free(self, tables: Iterable[TableLock], catalog_version: int) -> bool:
        """Whether weak locks of these may be noted, for a statement planned with this catalog."""
        return self.ready and not self.contended(tables, catalog_version)

    def contended(self, tables: Iterable[TableLock], catalog_version: int) -> bool:
        """Whether somebody wants a strong lock of one of these, or has changed it since."""
        wanted, changed, floor = self._wanted, self._changed, self._floor
        for table, _ in tables:
            if table in wanted or changed.get(table, floor) > catalog_version:
                return True
        return False

    def states(self) -> Iterator[kv.LockState]:
        """What only this pod knows, for pg_locks."""
        for user in self.users:
            for table, mode in user.tables.held.noted():
                yield kv.LockState(
                    table=table,
                    table_mode=kv.TableMode.ValueType(mode),
                    granted=True,
                    fast_path=True,
                    pod_id=self._pod,
                    session=user.session,
                    txn=user.number,
                )

    def _note_change(self, table: int, version: int) -> None:
        self._changed.pop(table, None)
        self._changed[table] = version
        if len(self._changed) > CHANGED_MAX:
            self._floor = max(self._floor, self._changed.pop(next(iter(self._changed))))

    def _report(self, word: kv.TableWord) -> None:
        locks = [lock for user in self.users for lock in user.tables.recall(word.table)]
        while True:
            part, locks = locks[:LOCKS_PER_REQUEST], locks[LOCKS_PER_REQUEST:]
            recalled = kv.Recalled(
                recall=word.recall, table=word.table, locks=part, more=bool(locks)
            )
            self._send(kv.Request(recalled=recalled))
            if not locks:
                return
