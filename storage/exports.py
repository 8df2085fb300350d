"""A tenant's rows on their way out: one consistent state, a page at a time, while it is written to.

    snapshot, pinned ──▶ rows, page by page, at the snapshot ──▶ counters ──▶ unpinned

Pages are read as a pod's scans are, in the tenant's own turn (storage/admission.py): a tenant that
is exported slows down no other one more than one that scans. The pin keeps history and what is
dropped or truncated meanwhile.

Counters have no versions, and only go up. They are read last, so none is behind a row that was
numbered by it.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

import grpc

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_prefix, tenant_span
from proto import kv_pb2 as kv
from storage.engines.interface import (
    EngineDamaged,
    EngineError,
    EngineFull,
    Row,
    ScanRange,
)
from storage.layout import catalog_key, counter_key, import_key
from storage.metrics import EXPORTS, TRANSFERRED
from storage.refusals import Refusal, engine_failed
from storage.shard import Shard
from storage.tenants import Tenant
from storage.versions import Wanted

PREFIX_BYTES = len(tenant_prefix(TenantId(1)))
_EXPORTS_MAX = 8
_PAGE_ROWS = 8000
_PAGE_BYTES = 1 << 20


class TransferRefused(Exception):
    """An export or import cannot be; `status` is what its call ends with."""

    def __init__(self, status: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.status = status


def transfer_failed(error: EngineError) -> TransferRefused:
    """What the engine's failure is to control, which exports, imports and drops."""
    status = grpc.StatusCode.UNAVAILABLE
    if isinstance(error, EngineFull):
        status = grpc.StatusCode.RESOURCE_EXHAUSTED
    elif isinstance(error, EngineDamaged):
        status = grpc.StatusCode.DATA_LOSS
    return TransferRefused(status, engine_failed(error).message)


class Exports:
    """The exports of a shard."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._running = 0

    async def pages(self, number: TenantId) -> AsyncGenerator[kv.ExportPage]:
        """See proto/kv.proto, Export. Raises TransferRefused."""
        if self._running >= _EXPORTS_MAX:
            raise TransferRefused(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many exports run")
        shard = self._shard
        tenant = shard.tenants.open(number)
        snapshot, drops = shard.versions.newest_of(tenant), tenant.drops
        self._running += 1
        try:
            with tenant.reading(snapshot), EXPORTS.track_inprogress():
                async for page in self._pages(tenant, snapshot):
                    _check(tenant, drops)
                    TRANSFERRED.labels("export").inc(page.ByteSize())
                    yield page
                # Where nothing was left there was no page to be checked.
                _check(tenant, drops)
        except EngineError as error:
            shard.failures.failed(error)
            raise transfer_failed(error) from error
        except Refusal as refusal:
            text = "the export has taken longer than history is held for it"
            raise TransferRefused(grpc.StatusCode.ABORTED, text) from refusal
        finally:
            self._running -= 1
            shard.tenants.forget_if_idle(tenant)

    async def _pages(self, tenant: Tenant, snapshot: int) -> AsyncIterator[kv.ExportPage]:
        values = await self._shard.engine.get([catalog_key(tenant.id), import_key(tenant.id)])
        if values[1] is not None:
            text = "the tenant's rows are still being imported"
            raise TransferRefused(grpc.StatusCode.FAILED_PRECONDITION, text)
        yield kv.ExportPage(snapshot=snapshot, has_catalog=values[0] is not None)
        async for rows in self._rows(tenant, snapshot):
            yield kv.ExportPage(rows=_packed(rows))
        async for rows in self._counters(tenant):
            yield kv.ExportPage(counters=_packed(rows))

    async def _rows(self, tenant: Tenant, snapshot: int) -> AsyncIterator[list[Row]]:
        start, end = tenant_span(tenant.id)
        while start:
            wanted = Wanted(
                start=start,
                end=end,
                reverse=False,
                snapshot=snapshot,
                rows_max=_PAGE_ROWS,
                bytes_max=_PAGE_BYTES,
            )
            reading = partial(self._shard.versions.scan, tenant, wanted)
            page = await self._shard.admission.read(tenant.share, reading)
            if page.rows:
                yield page.rows
            start = page.resume

    async def _counters(self, tenant: Tenant) -> AsyncIterator[list[Row]]:
        start, end = map(counter_key, tenant_span(tenant.id))
        while True:
            wanted = ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)
            reading = partial(self._shard.engine.scan, [wanted])
            [page] = await self._shard.admission.read(tenant.share, reading)
            if page.rows:
                yield page.rows
            if page.exhausted:
                return
            start = page.rows[-1][0] + b"\0"


def _check(tenant: Tenant, drops: int) -> None:
    """Raises TransferRefused where the tenant's rows went, or go, since `drops` was right."""
    if tenant.dropping or tenant.drops != drops:
        raise TransferRefused(grpc.StatusCode.ABORTED, "the tenant is dropped")


def _packed(rows: list[Row]) -> kv.TenantRows:
    return kv.TenantRows(
        keys=blocks.pack([key[PREFIX_BYTES:] for key, _ in rows]),
        values=blocks.pack([value for _, value in rows]),
    )
