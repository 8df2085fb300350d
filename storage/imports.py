"""A tenant's rows on their way in: nobody sees any of them before all are there.

    begin: no rows, no sessions ──▶ mark, durable ──▶ rows, in small batches ──▶ finish: all there?
                                      │                                           │ one atomic write
                                      └ no session is let in, also after a crash  └▶ the mark goes,
                                                                    the catalog version is there

The mark holds the time that all rows are written at, which is a commit time of its own: every
snapshot of a session that comes later sees them. An import that broke off leaves the mark; the
tenant can go on being imported, or be dropped, and nothing else.

At the end all rows are counted, which may take minutes: who asks is told that it is not done yet,
and asks again.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from dormouse.base import blocks
from dormouse.base.ids import PodId, TenantId
from dormouse.base.keys import tenant_prefix, tenant_span
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from storage.engines.interface import Engine, EngineError, Measure, Write
from storage.exports import TransferRefused, transfer_failed
from storage.layout import (
    TIME,
    catalog_key,
    counter_key,
    import_key,
    record_key,
    tenant_spans,
    with_time,
)
from storage.metrics import TRANSFERRED
from storage.shard import Shard
from storage.tenants import Tenant

WAIT_SECONDS = 20.0
"""How long an answer to `finish` takes at most; counting goes on without whoever asked."""
_KEPT_SECONDS = 60.0
"""How long its outcome is kept."""
_LOOK_SECONDS = 1.0
_BATCH_BYTES = 256 << 10
"""Of one durable write: others' commits get in between."""
_EMPTY = b"thdcvr"
"""The keyspaces in which a tenant may have nothing when it is to be imported."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What has to be there before an import is finished."""

    rows: int
    counters: int
    has_catalog: bool


class Imports:
    """The imports of a shard. Raises TransferRefused throughout."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._finishing: dict[tuple[TenantId, Expected], asyncio.Task[TransferRefused | None]] = {}

    async def begin(self, number: TenantId) -> None:
        """See proto/kv.proto, BeginImport; one that has begun may begin again."""
        async with self._exclusive(number) as tenant:
            if await _time_of(self._shard.engine, number):
                return
            for span in tenant_spans(number, _EMPTY):
                if (await self._shard.engine.measure(*span)).keys:
                    raise _refused("the tenant has rows")
            await self._mark(tenant)

    async def write(self, number: TenantId, rows: kv.TenantRows, counters: kv.TenantRows) -> None:
        """See proto/kv.proto, ImportRows."""
        async with self._exclusive(number) as tenant:
            time = await self._begun(number)
            prefix = tenant_prefix(number)
            writes: list[Write] = [
                (prefix + key, with_time(time, value)) for key, value in _pairs(rows)
            ]
            writes += [(counter_key(prefix + key), value) for key, value in _pairs(counters)]
            for batch in _batches(writes):
                try:
                    await self._apply(tenant, batch)
                finally:
                    # A session of before may have left word that there is nothing.
                    self._shard.cache.forget([key for key, _ in batch])
                    self._shard.counters.forget(*tenant_span(number))
                    self._shard.sequences.forget(*tenant_span(number))

    async def finish(
        self, number: TenantId, expected: Expected, *, wait_seconds: float = WAIT_SECONDS
    ) -> bool:
        """See proto/kv.proto, FinishImport: whether it is finished, or else goes on counting. What
        is finished may be finished again."""
        key = (number, expected)
        if key not in self._finishing:
            self._finishing[key] = spawn(self._outcome(number, expected), name=f"import {number}")
        task = self._finishing[key]
        done, _ = await asyncio.wait({task}, timeout=wait_seconds)
        if not done:
            return False
        if (refusal := task.result()) is not None:
            self._finishing.pop(key, None)  # what is missing may come
            raise refusal
        return True

    async def _outcome(self, number: TenantId, expected: Expected) -> TransferRefused | None:
        """What `finish` raises; kept for a while, for who asks again."""
        try:
            await self._finish(number, expected)
        except TransferRefused as refusal:
            return refusal
        finally:
            loop = asyncio.get_running_loop()
            loop.call_later(_KEPT_SECONDS, self._finishing.pop, (number, expected), None)
        return None

    async def _finish(self, number: TenantId, expected: Expected) -> None:
        async with self._exclusive(number) as tenant:
            time = await _time_of(self._shard.engine, number)
            low, high = tenant_span(number)
            rows = await self._counted(tenant, low, high)
            counters = await self._counted(tenant, counter_key(low), counter_key(high))
            if (rows.keys, counters.keys) != (expected.rows, expected.counters):
                found = f"{rows.keys} rows and {counters.keys} counters"
                wanted = f"{expected.rows} and {expected.counters}"
                raise _refused(f"{found} are there, {wanted} were to come")
            if not time:
                return  # it was finished before
            writes: list[Write] = [(import_key(number), None)]
            if expected.has_catalog:
                writes.append((catalog_key(number), TIME.pack(time)))
            await self._apply(tenant, writes)

    async def _counted(self, tenant: Tenant, start: bytes, end: bytes) -> Measure:
        """How much there is; given up when the tenant is to be dropped."""
        measuring = spawn(self._shard.engine.measure(start, end), name="count imported rows")
        try:
            while not (await asyncio.wait({measuring}, timeout=_LOOK_SECONDS))[0]:
                if tenant.dropping:
                    raise TransferRefused(grpc.StatusCode.UNAVAILABLE, "the tenant is dropped")
            return measuring.result()
        finally:
            await cancel(measuring)

    @asynccontextmanager
    async def _exclusive(self, number: TenantId) -> AsyncIterator[Tenant]:
        """The tenant, which takes no session inside the block."""
        tenant = self._shard.tenants.open(number)
        if tenant.importing or tenant.dropping:
            text = "the tenant is being written to or dropped"
            raise TransferRefused(grpc.StatusCode.UNAVAILABLE, text)
        if tenant.sessions or tenant.transactions:
            raise _refused("the tenant is in use")
        tenant.importing = True
        try:
            yield tenant
        except EngineError as error:
            raise transfer_failed(error) from error
        finally:
            tenant.importing = False
            self._shard.tenants.forget_if_idle(tenant)

    async def _begun(self, number: TenantId) -> int:
        time = await _time_of(self._shard.engine, number)
        if not time:
            raise _refused("the tenant is not being imported")
        return time

    async def _mark(self, tenant: Tenant) -> None:
        shard, time = self._shard, self._shard.clock.next()

        def published() -> None:
            shard.versions.visible = time

        mark = [(import_key(tenant.id), TIME.pack(time)), shard.windows.begin(tenant.id, time)]
        record = record_key(tenant.id, PodId(0), 0)
        await shard.committer.commit(mark, time=time, record=record, published=published)

    async def _apply(self, tenant: Tenant, writes: Sequence[Write]) -> None:
        await self._shard.committer.room()
        TRANSFERRED.labels("import").inc(_size(writes))
        await self._shard.committer.write(writes, share=tenant.share)


async def _time_of(engine: Engine, number: TenantId) -> int:
    """The time of an import that has begun; 0: there is none."""
    [mark] = await engine.get([import_key(number)])
    return 0 if mark is None else int(TIME.unpack(mark)[0])


def _pairs(rows: kv.TenantRows) -> Iterator[tuple[bytes, bytes]]:
    if not rows.keys:
        return iter(())
    try:
        keys, values = blocks.unpack_present(rows.keys), blocks.unpack_present(rows.values)
    except blocks.BadBlock as error:
        raise TransferRefused(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
    if len(keys) != len(values):
        raise TransferRefused(grpc.StatusCode.INVALID_ARGUMENT, "keys without values")
    return zip(keys, values, strict=True)


def _batches(writes: Sequence[Write]) -> Iterator[list[Write]]:
    batch: list[Write] = []
    size = 0
    for write in writes:
        batch.append(write)
        size += _size([write])
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _size(writes: Sequence[Write]) -> int:
    return sum(len(key) + len(value or b"") for key, value in writes)


def _refused(text: str) -> TransferRefused:
    return TransferRefused(grpc.StatusCode.FAILED_PRECONDITION, text)
