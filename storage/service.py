"""The gRPC face of a shard: the session stream for pods, administration for control."""

import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from dormouse.base.ids import TENANT_ID_MAX, TenantId
from dormouse.base.rpc import Access
from dormouse.base.tls import Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.engines.interface import EngineError
from storage.exports import Exports, TransferRefused, transfer_failed
from storage.handshakes import Handshakes
from storage.imports import Expected, Imports
from storage.layout import tenant_spans
from storage.session import SessionStream
from storage.shard import Shard

T = TypeVar("T")

_log = logging.getLogger(__name__)

ACCESS = {
    "/dormouse.kv.v1.Kv/Session": Access(any_tenant=True),
    "/dormouse.kv.v1.StorageAdmin/DropTenant": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/TenantStats": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/Health": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/TenantSizes": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/SetQuotas": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/Export": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/BeginImport": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/ImportRows": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/FinishImport": Access(roles=frozenset({Role.CONTROL})),
}
"""Who may call what; the session itself confines a tenant's pods to their tenant."""

_SIZES_MAX = 10_000
"""Tenants in one answer."""
_QUOTA_MAX = 1 << 62
_WINDOW_SECONDS_MAX = 366 * 86_400

if TYPE_CHECKING:
    _Kv = kv_pb2_grpc.KvServicer
    _Admin = kv_pb2_grpc.StorageAdminServicer
else:
    _Kv = object
    _Admin = object


class KvService(_Kv):
    """Opens sessions."""

    def __init__(self, shard: Shard, handshakes: Handshakes) -> None:
        self._shard = shard
        self._handshakes = handshakes

    async def Session(  # noqa: N802 (the name is the protocol's)
        self, _requests: Any, context: Any
    ) -> AsyncIterator[kv.ServerFrame]:
        """Serve one stream; it reads and writes the context itself, a frame at a time."""
        self._handshakes.called(context.peer())
        await SessionStream(self._shard, context).run()
        nothing: tuple[kv.ServerFrame, ...] = ()
        for frame in nothing:
            yield frame


class AdminService(_Admin):
    """What control asks."""

    def __init__(self, shard: Shard, handshakes: Handshakes) -> None:
        self._shard = shard
        self._handshakes = handshakes
        self._exports = Exports(shard)
        self._imports = Imports(shard)

    async def DropTenant(  # noqa: N802
        self, request: kv.DropTenantRequest, context: Any
    ) -> kv.DropTenantReply:
        """End the tenant's sessions and remove all it has."""
        self._handshakes.called(context.peer())
        number = await _tenant(request.tenant_id, context)
        await self._done(self._shard.drop(number), context)
        return kv.DropTenantReply()

    async def TenantStats(  # noqa: N802
        self, request: kv.TenantStatsRequest, context: Any
    ) -> kv.TenantStatsReply:
        """Count what a tenant has. Costs a walk over its data."""
        self._handshakes.called(context.peer())
        number = await _tenant(request.tenant_id, context)
        measures = {
            span[0][:1]: await self._done(self._shard.engine.measure(*span), context)
            for span in tenant_spans(number)
        }
        history = measures[b"h"]
        reply = kv.TenantStatsReply(
            keys=measures[b"t"].keys,
            bytes=sum(measure.bytes for measure in measures.values()),
            history_keys=history.keys,
            history_bytes=history.bytes + measures[b"d"].bytes,
            oldest_readable=self._shard.oldest_readable(number),
        )
        tenant = self._shard.tenants.find(number)
        if tenant is not None:
            reply.sessions = len(tenant.sessions)
            reply.locks = sum(map(self._shard.locks.count, tenant.transactions.values()))
            reply.oldest_held = min(tenant.pins.values(), default=0)
        return reply

    async def Health(  # noqa: N802
        self, _request: kv.HealthRequest, context: Any
    ) -> kv.HealthReply:
        """Say whether writes fail just now."""
        self._handshakes.called(context.peer())
        return kv.HealthReply(writes_failing=self._shard.failures.writes)

    async def TenantSizes(  # noqa: N802
        self, request: kv.TenantSizesRequest, context: Any
    ) -> kv.TenantSizesReply:
        """What tenants store, a page at a time; costs no walk."""
        self._handshakes.called(context.peer())
        limit = min(request.limit or _SIZES_MAX, _SIZES_MAX)
        page = self._shard.sizes.page(after=request.after, limit=limit)
        sizes = [kv.TenantSize(tenant_id=each.tenant, bytes=each.bytes) for each in page]
        return kv.TenantSizesReply(sizes=sizes)

    async def SetQuotas(  # noqa: N802
        self, request: kv.SetQuotasRequest, context: Any
    ) -> kv.SetQuotasReply:
        """Take over how much tenants may store, and how long their past is kept."""
        self._handshakes.called(context.peer())
        numbers = [each.bytes_max for each in request.quotas] + [request.default_bytes_max]
        windows = [each.window_seconds for each in request.quotas]
        if max(numbers) > _QUOTA_MAX or max(windows, default=0) > _WINDOW_SECONDS_MAX:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such quota")
        quotas = {await _tenant(each.tenant_id, context): each.bytes_max for each in request.quotas}
        default = request.default_bytes_max if request.HasField("default_bytes_max") else None
        change = self._shard.quotas.change(quotas, only_these=request.only_these, default=default)
        await self._done(change, context)
        await self._done(self._set_windows(request), context)
        return kv.SetQuotasReply()

    async def _set_windows(self, request: kv.SetQuotasRequest) -> None:
        has_default = request.HasField("default_window_seconds")
        await self._shard.set_windows(
            {
                TenantId(each.tenant_id): (
                    each.window_seconds if each.HasField("window_seconds") else None
                )
                for each in request.quotas
            },
            only_these=request.only_these,
            default=request.default_window_seconds if has_default else None,
        )

    async def Export(  # noqa: N802
        self, request: kv.ExportRequest, context: Any
    ) -> AsyncIterator[kv.ExportPage]:
        """Send a tenant's rows, a page at a time."""
        self._handshakes.called(context.peer())
        number = await _tenant(request.tenant_id, context)
        try:
            # Closed with the call, whose client may be gone: it holds a snapshot.
            async with aclosing(self._exports.pages(number)) as pages:
                async for page in pages:
                    await context.write(page)
        except TransferRefused as refusal:
            await context.abort(refusal.status, str(refusal))
        except grpc.aio.BaseError:
            # Whoever asked has gone, in the middle of a page; gRPC would log it as an error.
            _log.info("an export was given up", extra={"tenant": number})
        nothing: tuple[kv.ExportPage, ...] = ()
        for page in nothing:
            yield page

    async def BeginImport(  # noqa: N802
        self, request: kv.BeginImportRequest, context: Any
    ) -> kv.BeginImportReply:
        """Open an empty tenant for rows from elsewhere."""
        number = await _tenant(request.tenant_id, context)
        await self._imported(self._imports.begin(number), context)
        return kv.BeginImportReply()

    async def ImportRows(  # noqa: N802
        self, request: kv.ImportRowsRequest, context: Any
    ) -> kv.ImportRowsReply:
        """Write rows of a tenant that is imported."""
        number = await _tenant(request.tenant_id, context)
        work = self._imports.write(number, request.rows, request.counters)
        await self._imported(work, context)
        return kv.ImportRowsReply()

    async def FinishImport(  # noqa: N802
        self, request: kv.FinishImportRequest, context: Any
    ) -> kv.FinishImportReply:
        """Let sessions into a tenant whose rows are all there."""
        number = await _tenant(request.tenant_id, context)
        expected = Expected(request.rows, request.counters, has_catalog=request.has_catalog)
        is_done = await self._imported(self._imports.finish(number, expected), context)
        return kv.FinishImportReply(counting=not is_done)

    async def _done(self, work: Awaitable[T], context: Any) -> T:
        try:
            return await work
        except EngineError as error:
            self._shard.failures.failed(error)
            refusal = transfer_failed(error)
            await context.abort(refusal.status, str(refusal))
            raise

    async def _imported(self, work: Awaitable[T], context: Any) -> T:
        self._handshakes.called(context.peer())
        try:
            return await work
        except TransferRefused as refusal:
            await context.abort(refusal.status, str(refusal))
            raise


async def _tenant(number: int, context: Any) -> TenantId:
    if not 0 < number <= TENANT_ID_MAX:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such tenant id")
    return TenantId(number)
