"""What control asks of the autoscaler and of storage, with a time limit on every question."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import grpc.aio

from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId
from proto import autoscaler_pb2, autoscaler_pb2_grpc, kv_pb2, kv_pb2_grpc

_SUSPEND_SECONDS = 20.0
_DROP_SECONDS = 60.0
_STATES = {
    autoscaler_pb2.ASLEEP: "asleep",
    autoscaler_pb2.WAKING: "waking",
    autoscaler_pb2.RUNNING: "running",
    autoscaler_pb2.DRAINING: "draining",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """How a tenant is just now. `pods` and `connections` are None where `state` is `unknown`."""

    state: str
    pods: int | None
    connections: int | None
    awake_because: str = ""


ASLEEP = Picture("asleep", 0, 0)
UNKNOWN = Picture("unknown", None, None)
"""The autoscaler does not answer. Its tenants may well be running."""


class Peers:
    """The two roles control depends on."""

    def __init__(
        self,
        *,
        autoscaler: grpc.aio.Channel,
        storage: grpc.aio.Channel,
        picture_timeout_seconds: float,
    ) -> None:
        self._autoscaler = autoscaler_pb2_grpc.AutoscalerStub(autoscaler)
        self._storage = kv_pb2_grpc.StorageAdminStub(storage)
        self._picture_timeout_seconds = picture_timeout_seconds

    async def pictures(self, tenants: Sequence[TenantId]) -> dict[TenantId, Picture]:
        """The live picture of each tenant; all UNKNOWN while the autoscaler is away."""
        if not tenants:
            return {}
        request = autoscaler_pb2.DescribeTenantsRequest(tenant_ids=tenants)
        try:
            reply = await self._autoscaler.DescribeTenants(
                request, timeout=self._picture_timeout_seconds
            )
        except grpc.aio.AioRpcError:
            return dict.fromkeys(tenants, UNKNOWN)
        found = {TenantId(each.tenant_id): _picture(each) for each in reply.tenants}
        return {tenant: found.get(tenant, ASLEEP) for tenant in tenants}

    async def suspend(self, tenant: TenantId) -> None:
        """Put the tenant to sleep; no pod of it is left on return. Raises Unavailable."""
        request = autoscaler_pb2.SuspendRequest(tenant_id=tenant)
        try:
            await self._autoscaler.Suspend(request, timeout=_SUSPEND_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise Unavailable("the autoscaler does not answer") from error

    async def drop(self, tenant: TenantId) -> None:
        """Remove the tenant's data; it is gone on return. Raises Unavailable."""
        request = kv_pb2.DropTenantRequest(tenant_id=tenant)
        try:
            await self._storage.DropTenant(request, timeout=_DROP_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("storage does not answer") from error


def _picture(found: autoscaler_pb2.TenantPicture) -> Picture:
    return Picture(_STATES[found.state], found.pods, found.connections, found.awake_because)
