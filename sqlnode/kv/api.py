"""A transaction as the executor sees it: reads at a snapshot, buffered writes, row locks.

The transaction's own uncommitted writes are visible to its reads (`get`, `scan`) from the next
statement on, as in PostgreSQL: a statement never meets the rows it writes. `lock` and `insert` see
them at once. Nothing reaches storage before the commit except locks and, for large transactions,
staged writes. Isolation is READ COMMITTED (a
new snapshot for every statement), REPEATABLE READ (one snapshot) or SERIALIZABLE (one snapshot,
and what was read is validated at the commit).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Isolation(Enum):
    """Isolation levels that are kept. READ UNCOMMITTED is READ COMMITTED, as in PostgreSQL."""

    READ_COMMITTED = "read committed"
    REPEATABLE_READ = "repeatable read"
    SERIALIZABLE = "serializable"


@dataclass(slots=True)
class Page:
    """Part of a range: keys (without the stripped prefix) and values, in scan order.

    `keys` is empty where only values were asked for, and the other way round.
    """

    keys: list[bytes]
    values: list[bytes]


@dataclass(frozen=True, slots=True)
class Locked:
    """A key after its lock was taken: its newest value, and whether that is what the statement's
    snapshot saw (`changed` False). `locked` is False where SKIP LOCKED left it out."""

    value: bytes | None
    changed: bool
    locked: bool = True
    version: int = 0
    """Commit time of the value; 0 where there is none, or where it is the transaction's own."""


class Transaction(Protocol):
    """One transaction of one session.

    Methods raise SqlError: 40001 conflict or lost locks, 40P01 deadlock, 55P03 lock not available,
    54000 too large, 57014 cancelled, 57P03 storage does not answer.
    """

    @property
    def read_only(self) -> bool:
        """Whether writes are refused (25006)."""
        ...

    async def begin_statement(self) -> None:
        """Begin the next statement: earlier writes become visible to reads, and under READ
        COMMITTED the next read takes a new snapshot."""
        ...

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values at the statement's snapshot, None where there is no row."""
        ...

    def scan(
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
        """Pages of the range [start, end) at the statement's snapshot.

        `rows_hint` is how many rows the caller expects to want (LIMIT); it sizes the first page.
        """
        ...

    async def lock(
        self,
        keys: Sequence[bytes],
        *,
        strength: str = "update",
        wait: str = "wait",
        new: bool = False,
        proves: bool = True,
    ) -> list[Locked]:
        """Take row locks in this order (`strength`, `wait` as in tree.RowLock) and answer the
        newest values. From REPEATABLE READ on a newer version than the snapshot raises 40001, and
        so does a removal, unless the keys are to be `new`; then those behind one that has a row
        need not be locked. `wait` may be "look" for a single key: where somebody else has that, it
        is answered as the snapshot has it, and not locked; with "wait_for_row" so if it has none.
        `proves` False: the caller sees from the answer whether its catalog is the newest."""
        ...

    def forgo(self) -> None:
        """Free what the last `lock` has got that was `new`, or might look instead of waiting, also
        where it raised 40001: nothing was, and will be, made of it."""
        ...

    async def insert(
        self, keys: Sequence[bytes], values: Sequence[bytes], *, unique: Sequence[bool]
    ) -> int | None:
        """Buffer new keys. Those marked `unique` must not exist: they are locked and checked.
        Answers the position of the first key that exists already, or None; nothing is buffered
        where one does."""
        ...

    def load(self, keys: Sequence[bytes], values: Sequence[bytes]) -> int | None:
        """Buffer new keys of a range that nobody else knows yet (an index that is being built).
        Answers the position of the first key this transaction has written already, or None."""
        ...

    def put(self, key: bytes, value: bytes) -> None:
        """Buffer a write of a key that is locked, or that nobody else can write."""
        ...

    def delete(self, key: bytes) -> None:
        """Buffer a deletion of a key that is locked."""
        ...

    def hold_tables(self, tables: Sequence[tuple[int, int]]) -> bool:
        """Lock tables, by OID, in weak modes (`sqlnode.kv.tables`), if nothing has to be asked;
        False where `lock_tables` is needed."""
        ...

    async def lock_tables(self, tables: Sequence[tuple[int, int]], *, nowait: bool = False) -> None:
        """Lock tables, by OID and kv.TableMode, waiting if need be. Raises CatalogStale where one
        has got another shape than the statement was planned with."""
        ...

    def look_anew(self) -> None:
        """Let the next read take a new snapshot under every isolation level: what was committed
        before a lock was got is to be seen."""
        ...

    def retire(self, start: bytes, end: bytes) -> None:
        """At commit, give up a range that no later snapshot reads (DROP, TRUNCATE)."""
        ...

    def change_catalog(self) -> None:
        """Let the commit give the tenant's catalog a new version."""
        ...

    @property
    def statement_writes(self) -> tuple[int, int]:
        """Keys the current statement has written and not staged yet, and their bytes with those of
        the values: what a commit will send for it."""
        ...

    async def flush(self) -> None:
        """Stage buffered writes if they have grown large; call between batches of a bulk write."""
        ...

    async def row_ids(self, count: int) -> range:
        """`count` hidden row ids, greater than those given before by this pod."""
        ...
