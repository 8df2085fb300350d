"""The gRPC face of a shard: the session stream for pods, administration for control."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc

from dormouse.base.ids import TENANT_ID_MAX, TenantId
from dormouse.base.rpc import Access
from dormouse.base.tls import Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.handshakes import Handshakes
from storage.layout import tenant_spans
from storage.session import SessionStream
from storage.shard import Shard

ACCESS = {
    "/dormouse.kv.v1.Kv/Session": Access(any_tenant=True),
    "/dormouse.kv.v1.StorageAdmin/DropTenant": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/TenantStats": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/TenantSizes": Access(roles=frozenset({Role.CONTROL})),
    "/dormouse.kv.v1.StorageAdmin/SetQuotas": Access(roles=frozenset({Role.CONTROL})),
}
"""Who may call what; the session itself confines a tenant's pods to their tenant."""

_SIZES_MAX = 10_000
"""Tenants in one answer."""
_QUOTA_MAX = 1 << 62

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

    async def DropTenant(  # noqa: N802
        self, request: kv.DropTenantRequest, context: Any
    ) -> kv.DropTenantReply:
        """End the tenant's sessions and remove all it has."""
        self._handshakes.called(context.peer())
        number = await _tenant(request.tenant_id, context)
        await self._shard.drop(number)
        return kv.DropTenantReply()

    async def TenantStats(  # noqa: N802
        self, request: kv.TenantStatsRequest, context: Any
    ) -> kv.TenantStatsReply:
        """Count what a tenant has. Costs a walk over its data."""
        self._handshakes.called(context.peer())
        number = await _tenant(request.tenant_id, context)
        keys = size = 0
        for span in tenant_spans(number):
            measure = await self._shard.engine.measure(*span)
            size += measure.bytes
            keys += measure.keys if span[0].startswith(b"t") else 0
        tenant = self._shard.tenants.find(number)
        if tenant is None:
            return kv.TenantStatsReply(keys=keys, bytes=size)
        locks = sum(map(self._shard.locks.count, tenant.transactions.values()))
        return kv.TenantStatsReply(
            keys=keys, bytes=size, sessions=len(tenant.sessions), locks=locks
        )

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
        """Take over how much tenants may store."""
        self._handshakes.called(context.peer())
        numbers = [each.bytes_max for each in request.quotas] + [request.default_bytes_max]
        if max(numbers) > _QUOTA_MAX:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such quota")
        quotas = {await _tenant(each.tenant_id, context): each.bytes_max for each in request.quotas}
        default = request.default_bytes_max if request.HasField("default_bytes_max") else None
        await self._shard.quotas.change(quotas, only_these=request.only_these, default=default)
        return kv.SetQuotasReply()


async def _tenant(number: int, context: Any) -> TenantId:
    if not 0 < number <= TENANT_ID_MAX:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no such tenant id")
    return TenantId(number)
