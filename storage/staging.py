"""Staged writes: a transaction larger than a message, kept in the engine until its commit.

    stage ─▶ s/tenant/pod/txn/0… ┐
    stage ─▶ s/tenant/pod/txn/n… ┼─ commit: one atomic batch, read and written a piece at a time
    commit writes ───────────────┘          (never the whole transaction in memory)

A piece's keys are locked as it comes, those that are free. A load into an empty range is the usual
case: one scan between the smallest and the largest key of the piece then shows that there is
nothing to supersede and no conflict, and as the keys stay locked it is still so at the commit. Such
a piece is *clear*.

The commit goes over the other pieces twice: once to lock their keys and look for conflicts, and
once, while the engine's transaction is open, to turn them into versions. Both passes see the same
versions, for by then all keys are locked. A later piece may write a key of an earlier one: it meets
the same old version, so history gets the same entry again and the last write wins.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from dormouse.base import blocks
from proto import kv_pb2 as kv
from storage.cache import Record
from storage.caps import staged
from storage.commit import (
    CommitPath,
    Intent,
    first_versions,
    growth_of,
    judge,
    side_writes,
    version_writes,
)
from storage.committer import Submission
from storage.engines.interface import EngineError, ScanRange, Write
from storage.layout import TIME, ended_key, history_range, record_key, staged_key, time_of
from storage.lockmodes import NO_KEY_UPDATE, SHARE, UPDATE
from storage.locks import Outcome
from storage.refusals import Refusal, transaction_ended
from storage.shard import Shard
from storage.tenants import Prepared, Tenant, Transaction
from storage.waiting import InFlight, lock

_PIECES_MAX = 200_000
_PART_BYTES = 8 << 10
"""Of a piece in one row of the engine. SQLite reads all of a row to compare its key, for each row
that it looks for: with rows of 1 MiB a commit that overwrites 20 MB took seven seconds."""
_SPARSE_ROWS = 64
_YIELD_KEYS = 1024
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

        piece = blocks.pack([message.keys, message.values])
        parts = [piece[at : at + _PART_BYTES] for at in range(0, len(piece), _PART_BYTES)]
        prepared.parts = range(transaction.pieces, transaction.pieces + len(parts))
        rows = list(zip(_part_keys(transaction, prepared.parts), parts, strict=True))
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
        overwrites = False
        intent.growth = sum(prepared.growth for prepared in transaction.prepared)
        for prepared in transaction.prepared:
            if not prepared.clear:
                writes = dict(await self._piece(transaction, prepared))
                overwrites |= await self._prepare(
                    transaction, writes, prepared.held, intent, request
                )
        self._shard.caps.check_new_locks(transaction, intent.writes)
        if transaction.ended:
            raise transaction_ended()
        held = shard.locks.acquire_free(transaction, intent.writes, UPDATE)
        overwrites |= await self._prepare(transaction, intent.writes, held, intent, request)
        keys = intent.keys
        newest = await shard.versions.newest(keys, transaction)
        if transaction.ended:
            raise transaction_ended()
        judge(intent, transaction, dict(zip(keys, newest, strict=True)))
        self._commits.check_room(tenant, intent)
        time = shard.clock.next()
        if overwrites:
            tenant.last_overwrite = time
            tenant.removals.lost(time)
        changed = shard.locks.held(transaction)

        def finished(error: EngineError | None) -> None:
            if error is None:
                shard.cache.forget(changed)
                transaction.pieces = 0
            self._commits.finish(transaction, intent, time, error, done)

        side, retired = side_writes(tenant, intent, time)
        window = shard.windows.of(tenant.id)
        shard.committer.submit(
            Submission(
                side,
                finished,
                intent.size,
                time,
                record_key(tenant.id, transaction.pod, transaction.number),
                tenant.share,
                retired,
                window,
                self._chunks(transaction, intent, time, time + window),
            )
        )
        shard.sizes.grew(tenant.id, intent.growth)
        tenant.validator.wrote(time, changed, intent.retired)
        transaction.committing = True

    async def _prepare(
        self,
        transaction: Transaction,
        writes: dict[bytes, bytes | None],
        held_before: list[bytes],
        intent: Intent,
        request: InFlight,
    ) -> bool:
        """Lock what is left of a piece and look for conflicts; whether it supersedes anything."""
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
        records = await self._current(list(writes))
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
        return any(records[key][1] is not None for key in writes)

    async def _lock(self, transaction: Transaction, key: bytes, request: InFlight) -> None:
        locks = self._shard.locks
        if locks.mode_held(transaction, key) >= NO_KEY_UPDATE:
            return
        if locks.acquire(transaction, key, UPDATE) is not Outcome.GRANTED:
            await lock(locks, transaction, key, UPDATE, request=request)

    async def _chunks(
        self, transaction: Transaction, intent: Intent, time: int, due: int
    ) -> AsyncIterator[Sequence[Write]]:
        """New versions, a piece at a time; what they supersede can go at `due`."""
        tenant: Tenant = transaction.tenant

        def superseding(writes: Writes, records: dict[bytes, Record], number: int) -> list[Write]:
            new = version_writes(writes, records, time)
            if new.ended:
                place = ended_key(due, tenant.id, time, number)
                new.batch.append((place, blocks.pack(new.ended)))
            return new.batch

        for number, prepared in enumerate(transaction.prepared):
            writes = await self._piece(transaction, prepared)
            if prepared.clear:
                yield first_versions(writes, time)
            else:
                records = await self._current([key for key, _ in writes])
                yield superseding(writes, records, number + 1)
        records = await self._current(list(intent.writes))
        # The list of the group, of what is retired, has the number 0.
        yield superseding(list(intent.writes.items()), records, len(transaction.prepared) + 1)
        yield [(key, None) for key in _part_keys(transaction, range(transaction.pieces))]

    async def _piece(self, transaction: Transaction, prepared: Prepared) -> Writes:
        found = await self._shard.engine.get(_part_keys(transaction, prepared.parts))
        parts = [part for part in found if part is not None]
        if len(parts) < len(found):
            raise transaction_ended()
        keys, values = blocks.unpack_present(b"".join(parts))
        return list(zip(blocks.unpack_present(keys), blocks.unpack(values), strict=True))

    async def _current(self, keys: list[bytes]) -> dict[bytes, Record]:
        """The newest versions of keys that are locked, past the cache: it is not worth filling."""
        engine = self._shard.engine
        if len(keys) > _SPARSE_ROWS:
            span = ScanRange(min(keys), max(keys) + b"\0", _SPARSE_ROWS, 1 << 20)
            [page] = await engine.scan([span])
            if page.exhausted:
                found = dict(page.rows)
                return {key: _record(found.get(key)) for key in keys}
        values = await engine.get(keys)
        return {key: _record(value) for key, value in zip(keys, values, strict=True)}


def _part_keys(transaction: Transaction, parts: range) -> list[bytes]:
    tenant, pod, number = transaction.tenant.id, transaction.pod, transaction.number
    return [staged_key(tenant, pod, number, part) for part in parts]


def _record(value: bytes | None) -> Record:
    return (0, None) if value is None else (time_of(value), value[TIME.size :])
