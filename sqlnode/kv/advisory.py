"""Advisory locks of one session: counted here, held in storage in the strongest mode needed.

    pg_advisory_lock(1)          session      {(1, UPDATE): 2}       ends with unlock or the session
    pg_advisory_xact_lock(1)     transaction  [(1, UPDATE), …]       ends with the transaction, or
                                                                     back at a savepoint before it

As in PostgreSQL a session never waits for itself, takes a lock as often as it asks, and must free
it as often; a lock of its transaction it cannot free itself.

What a session holds is lost with the pod's stream to storage: somebody else may have it from then
on. A session with locks of its own is ended then, as by PostgreSQL's crash; a transaction with some
cannot be committed any more (40001).
"""

from __future__ import annotations  # the client makes transactions

import asyncio
import struct
from collections import Counter
from typing import TYPE_CHECKING

from proto import kv_pb2 as kv
from sqlnode.errors import SqlError
from sqlnode.kv.errors import KvRefused, StreamLost, connection_lost, sql_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlnode.kv.client import KvClient
    from sqlnode.kv.transaction import KvTransaction

LOCKS_MAX = 100_000
"""Advisory locks of one session, each counted as often as it is held."""
UNLOCKED_PER_REQUEST = 10_000
SHARED, EXCLUSIVE = kv.SHARE, kv.UPDATE
_NAMES: dict[int, str] = {SHARED: "ShareLock", EXCLUSIVE: "ExclusiveLock"}
_KEY = struct.Struct(">BQQ")
_BIG, _PAIR = 1, 2

Key = bytes
Held = tuple[Key, int]


def big_key(number: int) -> Key:
    """The key of a bigint."""
    return _KEY.pack(_BIG, number & (2**64 - 1), 0)


def pair_key(first: int, second: int) -> Key:
    """The key of two integers."""
    return _KEY.pack(_PAIR, first & (2**32 - 1), second & (2**32 - 1))


def key_parts(key: Key) -> tuple[int, int, int]:
    """pg_locks' classid, objid and objsubid of a key."""
    kind, first, second = _KEY.unpack(key)
    return (first >> 32, first & (2**32 - 1), _BIG) if kind == _BIG else (first, second, _PAIR)


class AdvisoryLocks:
    """See the module. `transaction` is the one the session has open, `lost` ends the session."""

    def __init__(
        self,
        client: KvClient,
        pid: int,
        *,
        transaction: Callable[[], KvTransaction | None],
        lost: Callable[[], None],
    ) -> None:
        self._client = client
        self._pid = pid
        self._transaction = transaction
        self._lost = lost
        self._counts: dict[Held, int] = {}
        self._in_transaction: list[Held] = []
        self._in_transaction_counts: Counter[Held] = Counter()
        self._total = 0
        self._of_statement: list[Held] = []
        """What the statement that runs has taken beyond the transaction."""
        self._epoch = 0
        """Of the stream that has what is held; 0: nothing was ever asked for on it."""

    def __repr__(self) -> str:
        return f"<AdvisoryLocks {len(self._counts)}, {len(self._in_transaction)} to the end>"

    @property
    def held(self) -> bool:
        """Whether the session holds some beyond its transactions."""
        return bool(self._counts)

    # --- taking --------------------------------------------------------------------------------

    async def lock(self, key: Key, mode: int, *, wait: bool, lasts: bool) -> bool:
        """Take a lock; False where it is not free and there is no waiting. `lasts`: beyond the
        transaction. Raises SqlError 40P01, 55P03, 57014, 54000, 40001."""
        if self._total >= LOCKS_MAX:
            raise SqlError("53200", "out of shared memory", hint=f"At most {LOCKS_MAX} are held.")
        transaction = self._transaction()
        self._follow_stream()
        if self._mode(key) < mode and not await self._ask(key, mode, transaction, wait=wait):
            return False
        if lasts:
            self._counts[key, mode] = self._counts.get((key, mode), 0) + 1
            self._of_statement.append((key, mode))
            self._client.holders[self] = None
        else:
            self._in_transaction.append((key, mode))
            self._in_transaction_counts[key, mode] += 1
        self._total += 1
        return True

    def _follow_stream(self) -> None:
        if self._epoch != self._client.epoch:
            if self._counts or self._in_transaction:
                raise connection_lost()
            self._epoch = self._client.epoch

    async def _ask(
        self, key: Key, mode: int, transaction: KvTransaction | None, *, wait: bool
    ) -> bool:
        advisory = kv.Advisory(
            key=key,
            mode=kv.LockMode.ValueType(mode),
            wait=kv.WAIT if wait else kv.NOWAIT,
            timeout_ms=0 if transaction is None else transaction.lock_timeout_ms,
        )
        request = kv.Request(advisory=advisory, session=self._pid)
        if transaction is not None:
            transaction.bind(request)
        try:
            await self._client.call(request, epoch=self._epoch)
        except KvRefused as refused:
            if refused.code == kv.Error.LOCK_NOT_AVAILABLE:
                return False
            raise sql_error(refused) from refused
        except StreamLost as lost:
            raise connection_lost() from lost
        except asyncio.CancelledError:
            self._client.cancel(request.id)
            self._tell([key])  # it may have been got at the same moment
            raise
        return True

    async def everyones(self) -> kv.ListLocksReply:
        """All advisory locks of the tenant, the locks of tables that storage or this pod knows of,
        and the row locks somebody waits for. Raises DormouseError."""
        try:
            request = kv.Request(locks=kv.ListLocks())
            found = (await self._client.call(request, retry=True)).locks
            found.locks.extend(self._client.tables.states())
            return found
        except KvRefused as refused:
            raise sql_error(refused) from refused
        except StreamLost as lost:
            raise connection_lost() from lost

    # --- freeing -------------------------------------------------------------------------------

    def unlock(self, key: Key, mode: int) -> str | None:
        """Free a lock once; what to warn of where the session does not hold it."""
        count = self._counts.get((key, mode), 0)
        if not count:
            return f"you don't own a lock of type {_NAMES[mode]}"
        self._total -= 1
        if count > 1:
            self._counts[key, mode] = count - 1
        else:
            del self._counts[key, mode]
            self._tell([key])
        self._forget_holder()
        return None

    def unlock_all(self) -> None:
        """Free all that last beyond the transaction."""
        keys = [key for key, _ in self._counts]
        self._total -= sum(self._counts.values())
        self._counts.clear()
        self._tell(keys)
        self._forget_holder()

    def next_statement(self) -> None:
        """What was taken so far stays."""
        self._of_statement.clear()

    def take_back_statement(self) -> None:
        """The statement begins anew, and will take them again."""
        while self._of_statement:
            self.unlock(*self._of_statement.pop())

    def mark(self) -> int:
        """For a savepoint."""
        return len(self._in_transaction)

    def restore(self, mark: int) -> None:
        """Back to a savepoint: what the transaction took since is free."""
        if len(self._in_transaction) == mark:
            return
        gone = self._in_transaction[mark:]
        self._total -= len(gone)
        del self._in_transaction[mark:]
        self._in_transaction_counts -= Counter(gone)  # what is at zero goes
        self._tell([key for key, _ in gone])

    def check(self) -> None:
        """The transaction is about to commit: on the stream that has the session's locks, or not at
        all. Raises SqlError 40001 where they are lost."""
        if not self._in_transaction and not self._counts:
            return
        if self._epoch != self._client.epoch:
            raise connection_lost()
        transaction = self._transaction()
        if transaction is not None:
            transaction.tie()

    def stream_broke(self) -> None:
        """The client's stream is gone, and with it what it held."""
        if self._counts:
            self._lost()

    def close(self) -> None:
        """The session ends."""
        self._counts.clear()
        self._in_transaction.clear()
        self._in_transaction_counts.clear()
        self._forget_holder()
        if self._epoch:
            unlock = kv.Unlock(session_ends=True)
            self._client.send(kv.Request(unlock=unlock, session=self._pid), epoch=self._epoch)

    def _forget_holder(self) -> None:
        if not self._counts:
            self._client.holders.pop(self, None)

    def _mode(self, key: Key) -> int:
        """The strongest mode in which a key is held."""
        for mode in (EXCLUSIVE, SHARED):
            held = key, mode
            if held in self._counts or held in self._in_transaction_counts:
                return mode
        return 0

    def _tell(self, keys: list[Key]) -> None:
        """Let storage know what is still held of these."""
        names = list(dict.fromkeys(keys))
        for at in range(0, len(names), UNLOCKED_PER_REQUEST):
            kept = [
                kv.Kept(key=key, mode=kv.LockMode.ValueType(self._mode(key)))
                for key in names[at : at + UNLOCKED_PER_REQUEST]
            ]
            request = kv.Request(unlock=kv.Unlock(kept=kept), session=self._pid)
            self._client.free(request, epoch=self._epoch)
