"""The requests that lock rows: one stream's Lock, and Forgo.

        free ────────────────────────────────▶ got ──▶ newest version ──▶ young enough? ──▶ reply
keys ──┤                                        ▲      (memory or engine)
        somebody else's ──▶ look? ──▶ queue ────┘
                            └─ there is no row, or one that is too young: that is the reply
"""

from collections.abc import Callable
from functools import partial

from proto import kv_pb2 as kv
from storage.cache import Record
from storage.lockmodes import row_mode
from storage.locks import Outcome
from storage.refusals import Refusal, bad_request, transaction_ended
from storage.replies import lock_reply
from storage.shard import Shard
from storage.tenants import Tenant, Transaction
from storage.waiting import InFlight, WorkingStream, deadline_of, lock

_MODES = frozenset(kv.LockMode.values()) - {kv.LOCK_MODE_UNSPECIFIED}
_LOOKING = (kv.LOOK, kv.WAIT_FOR_ROW)


class RowLocking:
    """See the module. `find` gives the transaction of a request, made if need be; `check_catalog`
    refuses a request that goes by an older catalog. Both raise Refusal."""

    def __init__(
        self,
        shard: Shard,
        tenant: Tenant,
        stream: WorkingStream,
        find: Callable[[kv.Request], Transaction],
        check_catalog: Callable[[kv.Request], None],
    ) -> None:
        self._shard = shard
        self._tenant = tenant
        self._stream = stream
        self._find = find
        self._check_catalog = check_catalog

    def lock(self, request: kv.Request) -> kv.Reply | None:
        """Take row locks. Raises Refusal."""
        keys = self._tenant.span.keys(request.lock.keys)
        if request.lock.mode not in _MODES:
            raise bad_request("an unknown lock mode")
        if request.lock.wait in _LOOKING and len(keys) != 1:
            raise bad_request("of several keys each may be there or not")
        transaction = self._find(request)
        transaction.tentative = []
        self._shard.caps.check_locks(transaction, len(keys))
        return self._take(request, transaction, keys)

    def _take(
        self, request: kv.Request, transaction: Transaction, keys: list[bytes]
    ) -> kv.Reply | None:
        wanted, mode = request.lock, row_mode(request.lock.mode)
        locks = self._shard.locks
        locked = bytearray(b"\1" * len(keys))
        noted = _is_noted(wanted)
        for number, key in enumerate(keys):
            before = locks.mode_held(transaction, key) if noted else mode
            if locks.acquire(transaction, key, mode) is Outcome.GRANTED:
                if before < mode:
                    _note(transaction, wanted, key, before)
                continue
            if wanted.wait == kv.NOWAIT:
                raise Refusal(kv.Error.LOCK_NOT_AVAILABLE, "the lock is not available", key=key)
            if wanted.wait == kv.SKIP_LOCKED:
                locked[number] = 0
                continue
            work = self._look if wanted.wait in _LOOKING else self._wait
            self._stream.later(request, partial(work, request, transaction, keys, number))
            return None
        return self._answer(request, transaction, keys, locked)

    async def _look(
        self,
        request: kv.Request,
        transaction: Transaction,
        keys: list[bytes],
        first: int,
        flight: InFlight,
    ) -> kv.Reply | None:
        """Answer the row of the one key, or wait for it."""
        wanted, versions = request.lock, self._shard.versions
        snapshot = wanted.snapshot or versions.newest_of(self._tenant)
        [row] = await versions.get(self._tenant, keys, snapshot)
        if row is not None and wanted.wait == kv.WAIT_FOR_ROW:
            return await self._wait(request, transaction, keys, first, flight)
        self._check_catalog(request)
        return lock_reply(request, snapshot, [(snapshot, row)], bytearray(1))

    async def _wait(
        self,
        request: kv.Request,
        transaction: Transaction,
        keys: list[bytes],
        first: int,
        flight: InFlight,
    ) -> kv.Reply | None:
        wanted, locks = request.lock, self._shard.locks
        mode, deadline = row_mode(wanted.mode), deadline_of(wanted.timeout_ms)
        noted = _is_noted(wanted)
        locked = bytearray(b"\1" * len(keys))
        absent = 0  # so many keys are known to have no row
        for number, key in enumerate(keys[first:], first):
            if transaction.ended:
                raise transaction_ended()
            before = locks.mode_held(transaction, key) if noted else mode
            if locks.acquire(transaction, key, mode) is not Outcome.GRANTED:
                if wanted.new and await self._is_any_there(keys[absent:number], transaction):
                    locked[number:] = bytes(len(keys) - number)
                    break
                absent = number
                if wanted.snapshot:
                    await self._refuse_young(key, wanted.snapshot, transaction)
                await lock(locks, transaction, key, mode, request=flight, deadline=deadline)
            if before < mode:
                _note(transaction, wanted, key, before)
        return await self._read(request, transaction, keys, locked, flight)

    async def _is_any_there(self, keys: list[bytes], transaction: Transaction) -> bool:
        records = await self._shard.versions.newest(keys, transaction)
        return any(payload is not None for _, payload in records)

    async def _refuse_young(self, key: bytes, snapshot: int, transaction: Transaction) -> None:
        """Whoever has it now: what is known to be too young will not grow older."""
        records = self._shard.versions.newest_now([key], transaction)
        if records is not None:
            await self._check_age([key], records, snapshot)

    def _answer(
        self, request: kv.Request, transaction: Transaction, keys: list[bytes], locked: bytearray
    ) -> kv.Reply | None:
        """Answer from memory, or in a task where the engine must be read."""
        snapshot, versions = request.lock.snapshot, self._shard.versions
        got = _chosen(keys, locked)
        records = versions.newest_now(got, transaction)
        if records is None or (snapshot and _unsure(records, snapshot)):
            read = partial(self._read, request, transaction, keys, locked)
            self._stream.later(request, read)
            return None
        if snapshot:
            _check_young(got, [since for since, _ in records], snapshot)
        self._check_catalog(request)
        return lock_reply(request, versions.newest_of(self._tenant), records, locked)

    async def _read(
        self,
        request: kv.Request,
        transaction: Transaction,
        keys: list[bytes],
        locked: bytearray,
        _flight: InFlight,
    ) -> kv.Reply:
        versions, snapshot = self._shard.versions, request.lock.snapshot
        got = _chosen(keys, locked)
        records = await versions.newest(got, transaction)
        visible = versions.newest_of(self._tenant)
        self._check_catalog(request)
        if snapshot:
            await self._check_age(got, records, snapshot)
        if transaction.ended:
            raise transaction_ended()
        return lock_reply(request, visible, records, locked)

    async def _check_age(self, keys: list[bytes], records: list[Record], snapshot: int) -> None:
        times = [
            await self._shard.versions.removed_at(self._tenant, key, snapshot)
            if payload is None
            else since
            for key, (since, payload) in zip(keys, records, strict=True)
        ]
        _check_young(keys, times, snapshot)

    def forgo(self, transaction: Transaction) -> None:
        """Give back what the last request got, if it was tentative."""
        for key, before in reversed(transaction.tentative):
            self._shard.locks.lower(transaction, key, before)
            if transaction.undo and transaction.undo[-1][1] == key:
                transaction.undo.pop()
        transaction.tentative = []


def _is_noted(wanted: kv.Lock) -> bool:
    """Whether something can take back what a request gets."""
    return wanted.savepoint != 0 or wanted.tentative


def _note(transaction: Transaction, wanted: kv.Lock, key: bytes, before: int) -> None:
    """Remember what `Undo` and `Forgo` go back to."""
    if wanted.savepoint:
        transaction.undo.append((wanted.savepoint, key, before))
    if wanted.tentative:
        transaction.tentative.append((key, before))


def _chosen(keys: list[bytes], locked: bytearray) -> list[bytes]:
    """The keys that were not skipped."""
    return (
        [key for key, chosen in zip(keys, locked, strict=True) if chosen] if 0 in locked else keys
    )


def _unsure(records: list[Record], snapshot: int) -> bool:
    """Whether history must tell if an absent key was removed after the snapshot."""
    return any(payload is None and since > snapshot for since, payload in records)


def _check_young(keys: list[bytes], times: list[int], snapshot: int) -> None:
    for key, time in zip(keys, times, strict=True):
        if time > snapshot:
            raise Refusal(kv.Error.CONFLICT, "a younger version", key=key, version=time)
