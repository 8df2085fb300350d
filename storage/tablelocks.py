"""The requests that lock tables: one stream's LockTables and Recalled.

weak mode ────────────────────────▶ queue ──▶ got ──▶ changed since it was planned? ──▶ reply
strong ──▶ recall (storage.wanted) ──▶ ▲
            └─ the deadline and NOWAIT count from here too: a recall takes what a pod's answer takes
"""

import asyncio
from collections.abc import Callable
from functools import partial

from proto import kv_pb2 as kv
from storage.layout import table_lock_key
from storage.lockmodes import STRONG, table_mode
from storage.locks import Outcome
from storage.refusals import Refusal, bad_request, catalog_stale, transaction_ended
from storage.shard import Shard
from storage.tenants import Tenant, Transaction
from storage.waiting import InFlight, WorkingStream, deadline_of, lock

TABLES_MAX = 10_000
"""Tables in one request."""
_MODES = frozenset(kv.TableMode.values()) - {kv.TABLE_MODE_UNSPECIFIED}


class TableLocking:
    """See the module. `find` gives the transaction of a number and a session, made if need be, or
    None where it has ended."""

    def __init__(
        self,
        shard: Shard,
        tenant: Tenant,
        stream: WorkingStream,
        find: Callable[[int, int], Transaction | None],
    ) -> None:
        self._shard = shard
        self._tenant = tenant
        self._stream = stream
        self._find = find

    def lock(self, request: kv.Request, transaction: Transaction) -> kv.Reply | None:
        """Take table locks. Raises Refusal."""
        wanted = request.lock_tables
        if len(wanted.tables) > TABLES_MAX or any(
            each.mode not in _MODES or not each.table for each in wanted.tables
        ):
            raise bad_request("no such table lock")
        self._shard.caps.check_locks(transaction, len(wanted.tables))
        for number, each in enumerate(wanted.tables):
            mode = table_mode(each.mode)
            if mode & STRONG or not self._take(transaction, each.table, mode, wanted.savepoint):
                rest = partial(self._rest, request, transaction, number)
                self._stream.later(request, rest)
                return None
        return self._answer(request)

    async def _rest(
        self, request: kv.Request, transaction: Transaction, first: int, flight: InFlight
    ) -> kv.Reply:
        wanted = request.lock_tables
        deadline = deadline_of(wanted.timeout_ms)
        for each in wanted.tables[first:]:
            mode = table_mode(each.mode)
            try:
                if mode & STRONG:
                    await self._want(transaction, each.table, deadline)
                await self._wait(request, transaction, each.table, mode, flight, deadline)
            finally:
                self._shard.settle(transaction, each.table)
        return self._answer(request)

    async def _want(self, transaction: Transaction, table: int, deadline: float | None) -> None:
        if transaction.ended:
            raise transaction_ended()
        transaction.tables[table] = None
        try:
            async with asyncio.timeout_at(deadline):
                await self._tenant.tables.want(table, transaction)
        except TimeoutError:
            text = "the lock was not got in time"
            raise Refusal(kv.Error.LOCK_TIMEOUT, text) from None

    async def _wait(
        self,
        request: kv.Request,
        transaction: Transaction,
        table: int,
        mode: int,
        flight: InFlight,
        deadline: float | None,
    ) -> None:
        savepoint = request.lock_tables.savepoint
        if transaction.ended:
            raise transaction_ended()
        if flight.cancelled:
            raise Refusal(kv.Error.CANCELLED, "the request was cancelled")
        if self._take(transaction, table, mode, savepoint):
            return
        if request.lock_tables.wait != kv.WAIT:
            raise Refusal(kv.Error.LOCK_NOT_AVAILABLE, "the lock is not available")
        locks, key = self._shard.locks, table_lock_key(self._tenant.id, table)
        before = locks.mode_held(transaction, key)
        await lock(locks, transaction, key, mode, request=flight, deadline=deadline)
        self._got(transaction, table, before, savepoint)

    def _take(self, transaction: Transaction, table: int, mode: int, savepoint: int) -> bool:
        """Take a lock if that needs no waiting."""
        locks, key = self._shard.locks, table_lock_key(self._tenant.id, table)
        before = locks.mode_held(transaction, key)
        if locks.acquire(transaction, key, mode) is not Outcome.GRANTED:
            return False
        self._got(transaction, table, before, savepoint)
        return True

    def _got(self, transaction: Transaction, table: int, before: int, savepoint: int) -> None:
        key = table_lock_key(self._tenant.id, table)
        transaction.tables[table] = None
        if savepoint and self._shard.locks.mode_held(transaction, key) != before:
            transaction.undo.append((savepoint, key, before))

    def _answer(self, request: kv.Request) -> kv.Reply:
        wanted, changes = request.lock_tables, self._tenant.tables.changes
        planned = wanted.catalog_version
        if planned and any(changes.of(each.table) > planned for each in wanted.tables):
            raise catalog_stale(self._tenant.catalog_version)
        return kv.Reply(id=request.id, lock_tables=kv.LockTablesReply())

    def recalled(self, request: kv.Request) -> kv.Reply:
        """Hold what the pod's transactions have noted. Raises Refusal."""
        recalled = request.recalled
        for each in recalled.locks:
            if each.mode not in _MODES or table_mode(each.mode) & STRONG or not each.txn:
                raise bad_request("no such table lock")
            transaction = self._find(each.txn, each.session)
            if transaction is None:
                continue
            mode = table_mode(each.mode)
            if not self._take(transaction, recalled.table, mode, each.savepoint):
                raise bad_request("a lock that the pod cannot have")
        if not recalled.more:
            self._tenant.tables.answered(self._stream, recalled.recall)
        return kv.Reply(id=request.id, recalled=kv.RecalledReply())
