"""Staged writes: a transaction larger than a message, kept in the engine until its commit.

    stage ─▶ s/tenant/pod/txn/0… ┐
    stage ─▶ s/tenant/pod/txn/n… ┼─ commit: record and marker ──▶ rolled forward ──▶ publish, reply
    commit's own writes ─────────┘          (never the whole transaction in memory)

A piece's keys are locked as it comes, those that are free. A load into an empty range is the usual
case: one scan between the smallest and the largest key of the piece then shows that there is
nothing to supersede and no conflict, and as the keys stay locked it is still so at the commit. Such
a piece is *clear*.

The commit goes over the other pieces once, to lock their keys and look for conflicts. When all that
could refuse it has been asked, it is one small durable write (storage/rollforward.py says what
follows, and how nobody sees half of it):

    lock, look ─▶ turn: is another large one of the tenant on its way? ─▶ room on the disk?
        ─▶ judge, quota, time ─▶ queue: record, marker, the commit's own writes as a last piece

A disk that is clearly too full for what comes after is asked for its room before, not after: from
the marker on a full disk would hold up every commit of the tenant, until somebody makes room.
"""

import asyncio
from collections.abc import Callable

from dormouse.base import blocks
from proto import kv_pb2 as kv
from storage import pieces
from storage.cache import Record
from storage.caps import staged
from storage.commit import CommitPath, Intent, judge
from storage.committer import Submission
from storage.engines.interface import EngineError, EngineFull, ScanRange
from storage.layout import history_range, record_key
from storage.lockmodes import NO_KEY_UPDATE, SHARE, UPDATE
from storage.locks import Outcome
from storage.pieces import Marker, Name, Piece
from storage.refusals import Refusal, transaction_ended
from storage.shard import Shard
from storage.supersede import growth_of
from storage.tenants import Prepared, Transaction
from storage.waiting import InFlight, await_turn, lock

_PIECES_MAX = 200_000
_YIELD_KEYS = 1024
_ROOM_BYTES = 256 << 10
_LOG_BYTES = 32 << 20
"""Of the disk, beside what is superseded: what is staged gives its room to the versions it becomes,
piece by piece, but the engine's log has all of it once more, or as much as this."""
_NOTHING: Record = (0, None)
Writes = list[tuple[bytes, bytes | None]]


class Staging:
    """Takes staged pieces, and commits transactions that have any."""

    def __init__(self, shard: Shard, commits: CommitPath) -> None:
        self._shard = shard
        self._commits = commits

    def add(
        self, transaction: Transaction, message: kv.Writes, writes: Writes
    ) -> "tuple[Prepared, asyncio.Future[int]]":
        """Queue a piece (`writes` is the message, checked); what `look` is to complete, and the
        bytes staged so far when durable.

        Raises Refusal (TOO_LARGE, TOO_MUCH_STAGED, TOO_MANY_LOCKS).
        """
        size = len(message.keys) + len(message.values)
        staged_bytes = transaction.staged_bytes + size
        self._shard.caps.check_staged(transaction, size)
        if transaction.pieces >= _PIECES_MAX:
            raise Refusal(kv.Error.TOO_LARGE, "the transaction stages too much")
        keys = [key for key, _ in writes]
        self._shard.caps.check_new_locks(transaction, keys)
        locks = self._shard.locks
        held = locks.acquire_free(transaction, keys, UPDATE)
        locked = all(locks.mode_held(transaction, key) >= NO_KEY_UPDATE for key in held)
        prepared = Prepared(held, locked)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        durable: asyncio.Future[None] = loop.create_future()

        def done(error: EngineError | None) -> None:
            transaction.staging.discard(durable)
            durable.set_result(None)
            if answer.done():
                return
            if error is None:
                answer.set_result(staged_bytes)
            else:
                answer.set_exception(error)
                self._shard.end(transaction)

        parts = pieces.packed(message.keys, message.values)
        prepared.parts = range(transaction.pieces, transaction.pieces + len(parts))
        prepared.count = len(writes)
        rows = pieces.rows(_name(transaction), transaction.pieces, parts)
        share = transaction.tenant.share
        self._shard.committer.submit(Submission(rows, done, size, share=share))
        staged(transaction, size)
        transaction.pieces = prepared.parts.stop
        transaction.prepared.append(prepared)
        transaction.staging.add(durable)
        return prepared, answer

    async def look(self, transaction: Transaction, prepared: Prepared, writes: Writes) -> None:
        """Find out whether a piece is clear. Raises Refusal (QUOTA) where the clear ones alone are
        more than the tenant may store: a load need not send the rest."""
        if not prepared.locked or not writes:
            return
        keys = [key for key, _ in writes]
        low, high = min(keys), max(keys) + b"\0"
        spans = [(low, high), history_range(low, high)]
        pages = await self._shard.engine.scan([ScanRange(*span, 1, 1) for span in spans])
        prepared.clear = not any(page.rows for page in pages)
        quotas, tenant = self._shard.quotas, transaction.tenant.id
        if prepared.clear and quotas.of(tenant):
            prepared.growth = growth_of(writes, dict.fromkeys(keys, _NOTHING))
            quotas.check(tenant, sum(each.growth for each in transaction.prepared))

    async def commit(
        self,
        transaction: Transaction,
        intent: Intent,
        request: InFlight,
        done: Callable[[int, Refusal | None], None],
    ) -> None:
        """Commit staged pieces and the intent's own writes. Raises Refusal."""
        while transaction.staging:
            await asyncio.wait(transaction.staging)
        shard, tenant = self._shard, transaction.tenant
        intent.growth = sum(prepared.growth for prepared in transaction.prepared)
        superseded = 0
        for prepared in transaction.prepared:
            if not prepared.clear:
                writes = await self._piece(transaction, prepared)
                superseded += await self._prepare(
                    transaction, writes, prepared.held, intent, request
                )
        shard.caps.check_new_locks(transaction, intent.writes)
        if transaction.ended:
            raise transaction_ended()
        held = shard.locks.acquire_free(transaction, intent.writes, UPDATE)
        superseded += await self._prepare(transaction, intent.writes, held, intent, request)
        keys = intent.keys
        while True:
            await await_turn(tenant, transaction, request)
            await self._check_disk(transaction, superseded)
            newest = await shard.versions.newest(keys, transaction)
            if transaction.ended:
                raise transaction_ended()
            if tenant.rolling is None:
                break
        judge(intent, transaction, dict(zip(keys, newest, strict=True)))
        self._commits.check_room(tenant, intent)
        self._submit(transaction, intent, bool(superseded), done)

    def _submit(
        self,
        transaction: Transaction,
        intent: Intent,
        overwrites: bool,
        done: Callable[[int, Refusal | None], None],
    ) -> None:
        """The commit itself."""
        shard, tenant = self._shard, transaction.tenant
        time = shard.clock.next()
        if overwrites:
            tenant.last_overwrite = time
            tenant.removals.lost(time)
        if intent.changes_catalog:
            tenant.catalog_next = time
        marker, parts = self._marker(transaction, intent, time)
        rolling = tenant.roll(time)

        def finished() -> None:
            transaction.pieces = 0
            self._commits.finish(transaction, intent, time, done)

        def decided(error: EngineError | None) -> None:
            if error is None:
                shard.versions.visible = time
                shard.roll_forwards.begin(tenant, rolling, marker, finished)
            else:
                tenant.rolled(rolling)
                self._commits.failed(transaction, error, done)

        rows = pieces.rows(marker.name, transaction.pieces, parts)
        record = record_key(*marker.name)
        shard.committer.submit(
            Submission(
                [(marker.key, marker.packed()), *rows],
                decided,
                intent.size,
                time,
                record,
                tenant.share,
            )
        )
        if tenant.validator.watches:
            tenant.validator.wrote(time, shard.locks.held(transaction), intent.retired)
        transaction.commits(time)

    def _marker(
        self, transaction: Transaction, intent: Intent, time: int
    ) -> tuple[Marker, list[bytes]]:
        """What is written of the commit, and the parts of its own writes."""
        found = [Piece(each.parts, each.count, each.clear) for each in transaction.prepared]
        parts: list[bytes] = []
        if intent.writes:
            keys, values = list(intent.writes), list(intent.writes.values())
            parts = pieces.packed(blocks.pack(keys), blocks.pack(values))
            place = range(transaction.pieces, transaction.pieces + len(parts))
            found.append(Piece(place, len(intent.writes), clear=False))
        due = time + self._shard.windows.of(transaction.tenant.id)
        name = _name(transaction)
        return Marker(name, time, due, found, intent.retired, intent.changes_catalog), parts

    async def _check_disk(self, transaction: Transaction, superseded: int) -> None:
        """Raises Refusal (DISK_FULL) where there is no room for what comes after the marker."""
        room = await self._shard.engine.room()
        log_bytes = min(2 * transaction.staged_bytes, _LOG_BYTES)
        if room is not None and room < superseded + log_bytes + _ROOM_BYTES:
            raise EngineFull(f"{room} bytes are left")

    async def _prepare(
        self,
        transaction: Transaction,
        writes: pieces.Writes,
        held_before: list[bytes],
        intent: Intent,
        request: InFlight,
    ) -> int:
        """Lock what is left of a piece and look for conflicts; the bytes it supersedes."""
        shard, tenant = self._shard, transaction.tenant
        if transaction.ended:
            raise transaction_ended()
        own = {key for key in held_before if shard.locks.mode_held(transaction, key) >= SHARE}
        for number, key in enumerate(held_before):
            await self._lock(transaction, key, request)
            if number % _YIELD_KEYS == _YIELD_KEYS - 1:
                await asyncio.sleep(0)
                if transaction.ended:
                    raise transaction_ended()
        records = await pieces.current(shard.engine, list(writes))
        if shard.quotas.of(tenant.id):
            intent.growth += growth_of(writes.items(), records)
        for key in writes if intent.snapshot else ():
            since, payload = records[key]
            if key in own or key in intent.absent:
                continue
            if payload is None:
                since = await shard.versions.removed_at(tenant, key, intent.snapshot)
            if since > intent.snapshot:
                raise Refusal(kv.Error.CONFLICT, "a younger version", key=key, version=since)
        old = [(key, payload) for key, (_, payload) in records.items() if payload is not None]
        return sum(len(key) + len(payload) for key, payload in old)

    async def _lock(self, transaction: Transaction, key: bytes, request: InFlight) -> None:
        locks = self._shard.locks
        if locks.mode_held(transaction, key) >= NO_KEY_UPDATE:
            return
        if locks.acquire(transaction, key, UPDATE) is not Outcome.GRANTED:
            await lock(locks, transaction, key, UPDATE, request=request)

    async def _piece(self, transaction: Transaction, prepared: Prepared) -> pieces.Writes:
        found = await pieces.read(self._shard.engine, _name(transaction), prepared.parts)
        if found is None:
            raise transaction_ended()
        return found


def _name(transaction: Transaction) -> Name:
    return transaction.tenant.id, transaction.pod, transaction.number
