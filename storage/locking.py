"""The Lock request: claim, marks, keys, and what is newest under them.

    claim ──▶ marks ──▶ keys ──▶ newest values ──▶ reply
    └ told ┘  └── each may wait ──┘  └ may be read ┘

As long as nothing has to be waited for or read, the reply is made at once.
"""

from functools import partial

from proto import kv_pb2 as kv
from storage.cache import Record
from storage.layout import TIME
from storage.locks import Outcome
from storage.refusals import Refusal, bad_request, catalog_stale, transaction_ended
from storage.shard import Shard
from storage.streams import Stream, check_catalog, packed
from storage.tenants import Tenant, Transaction
from storage.waiting import InFlight, deadline_of, lock

_LOCK_MODES = frozenset(kv.LockMode.values()) - {kv.LOCK_MODE_UNSPECIFIED}


class Locking:
    """Takes the locks of one session."""

    def __init__(self, shard: Shard, tenant: Tenant, stream: Stream) -> None:
        self._shard = shard
        self._tenant = tenant
        self._stream = stream

    def lock(self, request: kv.Request, transaction: Transaction) -> kv.Reply | None:
        """Answer a Lock now, or see to it that it is answered. Raises Refusal."""
        wanted = request.lock
        keys = self._tenant.span.keys(wanted.keys)
        if wanted.mode not in _LOCK_MODES:
            raise bad_request("an unknown lock mode")
        marks = self._tenant.span.keys_or_none(wanted.marks)
        if marks and wanted.marks_mode not in _LOCK_MODES:
            raise bad_request("an unknown lock mode")
        check_locks(self._shard, transaction, len(keys) + len(marks))
        if wanted.claim:
            claiming = partial(self._claim, request, transaction, keys, marks)
            self._stream.later(request, claiming)
            return None
        return self._lock_all(request, transaction, keys, marks)

    async def _claim(
        self,
        request: kv.Request,
        transaction: Transaction,
        keys: list[bytes],
        marks: list[bytes],
        _flight: InFlight,
    ) -> kv.Reply | None:
        await self._tenant.listeners.told_claim(keys, but=self._stream)
        if transaction.ended:
            raise transaction_ended()
        return self._lock_all(request, transaction, keys, marks)

    def _lock_all(
        self, request: kv.Request, transaction: Transaction, keys: list[bytes], marks: list[bytes]
    ) -> kv.Reply | None:
        if marks and not self._marks_now(transaction, marks, int(request.lock.marks_mode)):
            waiting = partial(self._lock_marks, request, transaction, keys, marks)
            self._stream.later(request, waiting)
            return None
        return self._lock_keys(request, transaction, keys)

    def _marks_now(self, transaction: Transaction, marks: list[bytes], mode: int) -> bool:
        """Lock marks and see that none exists, if that needs no waiting. Raises Refusal."""
        locks = self._shard.locks
        for mark in marks:
            if locks.acquire(transaction, mark, mode) is not Outcome.GRANTED:
                return False
        records = self._shard.versions.newest_now(marks, transaction)
        if records is None:
            return False
        self._check_marks(records)
        return True

    async def _lock_marks(
        self,
        request: kv.Request,
        transaction: Transaction,
        keys: list[bytes],
        marks: list[bytes],
        flight: InFlight,
    ) -> kv.Reply | None:
        mode, deadline = int(request.lock.marks_mode), deadline_of(request.lock.timeout_ms)
        for mark in marks:
            await lock(
                self._shard.locks, transaction, mark, mode, request=flight, deadline=deadline
            )
        self._check_marks(await self._shard.versions.newest(marks, transaction))
        if transaction.ended:
            raise transaction_ended()
        return self._lock_keys(request, transaction, keys)

    def _check_marks(self, records: list[Record]) -> None:
        if any(payload is not None for _, payload in records):
            raise catalog_stale(self._tenant.catalog_version)

    def _lock_keys(
        self, request: kv.Request, transaction: Transaction, keys: list[bytes]
    ) -> kv.Reply | None:
        wanted, mode = request.lock, int(request.lock.mode)
        locks = self._shard.locks
        locked = bytearray(b"\1" * len(keys))
        for number, key in enumerate(keys):
            if locks.acquire(transaction, key, mode) is Outcome.GRANTED:
                continue
            if wanted.wait == kv.NOWAIT:
                raise Refusal(kv.Error.LOCK_NOT_AVAILABLE, "the lock is not available", key=key)
            if wanted.wait == kv.SKIP_LOCKED:
                locked[number] = 0
                continue
            rest = partial(self._lock_rest, request, transaction, keys, number)
            self._stream.later(request, rest)
            return None
        return self._lock_answer(request, transaction, keys, locked)

    async def _lock_rest(
        self,
        request: kv.Request,
        transaction: Transaction,
        keys: list[bytes],
        first: int,
        flight: InFlight,
    ) -> kv.Reply | None:
        deadline = deadline_of(request.lock.timeout_ms)
        for key in keys[first:]:
            await lock(
                self._shard.locks,
                transaction,
                key,
                int(request.lock.mode),
                request=flight,
                deadline=deadline,
            )
        locked = bytearray(b"\1" * len(keys))
        return await self._lock_read(request, transaction, keys, locked, flight)

    def _lock_answer(
        self, request: kv.Request, transaction: Transaction, keys: list[bytes], locked: bytearray
    ) -> kv.Reply | None:
        """Answer from memory, or in a task where the engine must be read."""
        snapshot, versions = request.lock.snapshot, self._shard.versions
        got = _chosen(keys, locked)
        records = versions.newest_now(got, transaction)
        if records is None or (snapshot and _unsure(records, snapshot)):
            read = partial(self._lock_read, request, transaction, keys, locked)
            self._stream.later(request, read)
            return None
        if snapshot:
            _check_young(got, [since for since, _ in records], snapshot)
        check_catalog(self._tenant, request)
        return _lock_reply(request, versions.visible, records, locked)

    async def _lock_read(
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
        visible = versions.visible
        check_catalog(self._tenant, request)
        if snapshot:
            times = [
                await versions.removed_at(self._tenant, key, snapshot) if payload is None else since
                for key, (since, payload) in zip(got, records, strict=True)
            ]
            _check_young(got, times, snapshot)
        if transaction.ended:
            raise transaction_ended()
        return _lock_reply(request, visible, records, locked)


def check_locks(shard: Shard, transaction: Transaction, more: int) -> None:
    """Refuse a transaction that would lock too many keys."""
    if shard.locks.count(transaction) + more > shard.limits.txn_locks_max:
        raise Refusal(kv.Error.TOO_LARGE, "the transaction locks too many keys")


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


def _lock_reply(
    request: kv.Request, visible: int, records: list[Record], locked: bytearray
) -> kv.Reply:
    """Skipped keys, which have no record, are answered as absent."""
    if 0 in locked:
        found = iter(records)
        records = [next(found) if chosen else (0, None) for chosen in locked]
    reply = kv.LockReply(
        snapshot=visible,
        values=packed([payload for _, payload in records]),
        versions=b"".join(
            [TIME.pack(0 if payload is None else since) for since, payload in records]
        ),
        locked=bytes(locked),
    )
    return kv.Reply(id=request.id, lock=reply)
