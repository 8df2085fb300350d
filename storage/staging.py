"""The commit of a transaction larger than a message, whose writes are in the engine already.

    stage ─▶ s/tenant/pod/txn/0… ┐
    stage ─▶ s/tenant/pod/txn/n… ┼─ commit: record and marker ──▶ rolled forward ──▶ publish, reply
    commit's own writes ─────────┘          (never the whole transaction in memory)

A piece's keys are locked as it comes (storage/intake.py), those that are free. A load into an empty
range is the usual case: one scan between the smallest and the largest key of the piece then shows
that there is nothing to supersede and no conflict, and as the keys stay locked it is still so at
the commit. Such a piece is *clear*.

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
from functools import partial

from dormouse.base import blocks
from proto import kv_pb2 as kv
from storage import pieces
from storage.commit import CommitPath, Intent, judge
from storage.committer import Submission
from storage.engines.interface import EngineError, EngineFull
from storage.layout import record_key
from storage.lockmodes import NO_KEY_UPDATE, SHARE, UPDATE
from storage.locks import Outcome
from storage.pieces import Marker, Piece
from storage.refusals import Refusal, transaction_ended
from storage.shard import Shard
from storage.supersede import growth_of
from storage.tenants import Prepared, Transaction
from storage.waiting import InFlight, await_turn, lock

_YIELD_KEYS = 1024
_ROOM_BYTES = 256 << 10
_LOG_BYTES = 32 << 20
"""Of the disk, beside what is superseded: what is staged gives its room to the versions it becomes,
piece by piece, but the engine's log has all of it once more, or as much as this."""


class Staging:
    """Commits transactions with staged pieces."""

    def __init__(self, shard: Shard, commits: CommitPath) -> None:
        self._shard = shard
        self._commits = commits

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
        return Marker(
            transaction.name, time, due, found, intent.retired, intent.changes_catalog
        ), parts

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
        looking = partial(pieces.current, shard.engine, list(writes))
        records = await shard.admission.read(tenant.share, looking)
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
        reading = partial(pieces.read, self._shard.engine, transaction.name, prepared.parts)
        found = await self._shard.admission.read(transaction.tenant.share, reading)
        if found is None:
            raise transaction_ended()
        return found
