"""How one transaction comes by table locks: noted where that will do, asked for otherwise."""

from __future__ import annotations  # the client makes transactions

from typing import TYPE_CHECKING

from dormouse.base import blocks
from proto import kv_pb2 as kv
from sqlnode.kv.errors import KvRefused, StreamLost, connection_lost, sql_error
from sqlnode.kv.tables import ACCESS_SHARE, ROW_EXCLUSIVE, HeldTables, TableLock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlnode.kv.client import KvClient
    from sqlnode.kv.savepoints import Savepoints
    from sqlnode.kv.transaction import KvTransaction

_ANY_CATALOG = 2**64 - 1
_STREAMS_MAX = 10
"""Streams that may break again before one of them could be used."""


class TableLocks:
    """The table locks of `owner`."""

    __slots__ = ("_client", "_owner", "_savepoints", "guard", "held")

    def __init__(self, owner: KvTransaction, client: KvClient, savepoints: Savepoints) -> None:
        self._owner = owner
        self._client = client
        self._savepoints = savepoints
        self.held = HeldTables()
        self.guard = False
        """Whether the statement that runs holds the tables it uses."""

    def __repr__(self) -> str:
        return f"<TableLocks {self.held!r}>"

    def next_statement(self) -> None:
        """Another statement begins, which may use other tables."""
        self.guard = False

    def hold(self, tables: Sequence[TableLock]) -> bool:
        """Note weak locks; False where storage must be asked. Raises SqlError 40001, 53200."""
        missing = self.held.missing(tables)
        if missing:
            if not self._client.tables.free(missing, self._catalog(missing)):
                return False
            self._owner.tie()
            self.held.add(missing, self._savepoints.newest, asked=False)
            self._client.tables.users[self._owner] = None
        self.guard = bool(tables)
        return True

    async def lock(self, tables: Sequence[TableLock], *, nowait: bool = False) -> None:
        """See `sqlnode.kv.api.Transaction.lock_tables`."""
        await self._stream_begun()
        if all(mode <= ROW_EXCLUSIVE for _, mode in tables) and self.hold(tables):
            return
        missing = self.held.missing(tables)
        if missing:
            await self._ask(missing, nowait=nowait)
        self.guard = bool(tables)

    async def _ask(self, missing: Sequence[TableLock], *, nowait: bool) -> None:
        catalog = self._catalog(missing)
        lock = kv.LockTables(
            tables=[
                kv.TableLock(table=table, mode=kv.TableMode.ValueType(mode))
                for table, mode in missing
            ],
            wait=kv.NOWAIT if nowait else kv.WAIT,
            timeout_ms=self._owner.lock_timeout_ms,
            savepoint=self._savepoints.locking(),
            catalog_version=0 if catalog == _ANY_CATALOG else catalog,
        )
        await self._owner.locked(kv.Request(lock_tables=lock))
        self.held.add(missing, lock.savepoint, asked=True)
        self._client.tables.users[self._owner] = None

    def recall(self, table: int) -> list[kv.RecalledLock]:
        """The locks of a table that storage does not know of, and holds from now on."""
        locks = []
        for mode, savepoint in self.held.recall(table):
            self._owner.enlist()
            self._savepoints.locked(savepoint)
            locks.append(
                kv.RecalledLock(
                    txn=self._owner.number,
                    session=self._owner.session,
                    mode=kv.TableMode.ValueType(mode),
                    savepoint=savepoint,
                )
            )
        return locks

    def forget(self, savepoint: int) -> None:
        """What was got behind this savepoint is free again."""
        self.held.forget(savepoint)

    def close(self) -> None:
        """The transaction has ended."""
        self.held.clear()
        self._client.tables.users.pop(self._owner, None)

    def _catalog(self, tables: Sequence[TableLock]) -> int:
        """The catalog the tables must not have changed since. Who only reads, at a snapshot that he
        has, goes by the catalog of that time whatever has come after."""
        if self._owner.at_old_snapshot and all(mode == ACCESS_SHARE for _, mode in tables):
            return _ANY_CATALOG
        return self._owner.catalog_version

    async def _stream_begun(self) -> None:
        """While there is no stream nobody knows what is wanted. A question that belongs to none is
        answered on the next one."""
        for _ in range(_STREAMS_MAX):
            if self._client.tables.ready:
                return
            try:
                nothing = kv.Request(get=kv.Get(keys=blocks.pack([])))
                await self._client.call(nothing, retry=True)
            except KvRefused as refused:
                raise sql_error(refused) from refused
            except StreamLost as lost:
                raise connection_lost() from lost
        raise connection_lost()
