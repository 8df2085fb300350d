"""What control asks of the autoscaler and of storage, with a time limit on every question."""

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio

from control.pictures import (
    ASLEEP,
    UNKNOWN,
    Awake,
    Decision,
    Picture,
    read_awake,
    read_decision,
    read_picture,
)
from control.quotas import Quota
from dormouse.base.errors import Unavailable
from dormouse.base.ids import PodId, TenantId
from proto import autoscaler_pb2, autoscaler_pb2_grpc, kv_pb2, kv_pb2_grpc

_PROTOCOL_VERSION = 1
_WAKE_SECONDS = 30.0
_SUSPEND_SECONDS = 20.0
_SET_OWNER_SECONDS = 12.0
_RENEW_SECONDS = 120.0
_DROP_SECONDS = 60.0
_SIZES_SECONDS = 10.0
_QUOTAS_SECONDS = 5.0
_HEALTH_SECONDS = 1.0
_WRITES_FAIL = {
    "full": "the disk of storage is full: nothing can be written until there is room",
    "io": "the disk of storage takes no writes: see the log of storage",
}
T = TypeVar("T")

_IMPORT_SECONDS = 120.0
_AUTOSCALER_AWAY = "the autoscaler does not answer"


class NotImported(Exception):
    """Storage does not take the rows, or does not have those that were to come."""


@dataclass(frozen=True, slots=True)
class PodPicture:
    """A pod as the autoscaler sees it."""

    pod: PodId
    phase: str
    sessions: int
    cpu_permille: int


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
        found = read_awake(reply).pictures
        return {tenant: found.get(tenant, ASLEEP) for tenant in tenants}

    async def awake(self) -> Awake:
        """All tenants that have pods or sessions. Raises Unavailable."""
        request = autoscaler_pb2.DescribeTenantsRequest()
        try:
            reply = await self._autoscaler.DescribeTenants(
                request, timeout=self._picture_timeout_seconds
            )
        except grpc.aio.AioRpcError as error:
            raise Unavailable(_AUTOSCALER_AWAY) from error
        return read_awake(reply)

    async def explain(
        self, tenant: TenantId, *, decisions_max: int
    ) -> tuple[Picture, list[Decision]]:
        """The tenant's picture and the latest decisions, newest first. Raises Unavailable."""
        request = autoscaler_pb2.ExplainTenantRequest(tenant_id=tenant, decisions_max=decisions_max)
        try:
            reply = await self._autoscaler.ExplainTenant(
                request, timeout=self._picture_timeout_seconds
            )
        except grpc.aio.AioRpcError as error:
            raise Unavailable(_AUTOSCALER_AWAY) from error
        decisions = [read_decision(each) for each in reply.decisions[:decisions_max]]
        return read_picture(reply.picture), decisions

    async def wake(self, tenant: TenantId) -> None:
        """Wake the tenant; a pod of it takes sessions on return. Raises Unavailable."""
        request = autoscaler_pb2.WakeRequest(protocol_version=_PROTOCOL_VERSION, tenant_id=tenant)
        try:
            await self._autoscaler.Wake(request, timeout=_WAKE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("no pod could be had in time") from error

    async def suspend(self, tenant: TenantId) -> None:
        """Put the tenant to sleep; no pod of it is left on return. Raises Unavailable."""
        request = autoscaler_pb2.SuspendRequest(tenant_id=tenant)
        try:
            await self._autoscaler.Suspend(request, timeout=_SUSPEND_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise Unavailable(_AUTOSCALER_AWAY) from error

    async def set_owner(self, tenant: TenantId, *, owner: str, scram_verifier: str) -> None:
        """Tell the tenant's pods their owner's password; all know on return. Raises Unavailable."""
        request = autoscaler_pb2.SetOwnerRequest(
            tenant_id=tenant, name=owner, scram_verifier=scram_verifier
        )
        try:
            await self._autoscaler.SetOwner(request, timeout=_SET_OWNER_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("not every pod could be told") from error

    async def renew_pods(self) -> int:
        """Have every pod sent another certificate; how many may not have it. Raises Unavailable."""
        request = autoscaler_pb2.RenewPodsRequest()
        try:
            reply = await self._autoscaler.RenewPods(request, timeout=_RENEW_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(_AUTOSCALER_AWAY) from error
        return reply.left

    async def pods(self, tenant: TenantId) -> list[PodPicture]:
        """The tenant's pods. Raises Unavailable."""
        request = autoscaler_pb2.ListPodsRequest(tenant_id=tenant)
        try:
            reply = await self._autoscaler.ListPods(request, timeout=self._picture_timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(_AUTOSCALER_AWAY) from error
        return [
            PodPicture(PodId(each.pod_id), each.phase, each.sessions, each.cpu_permille)
            for each in reply.pods
        ]

    async def end_pod(self, tenant: TenantId, pod: PodId) -> None:
        """End a pod at once; there may be none like it. Raises Unavailable."""
        request = autoscaler_pb2.EndPodRequest(tenant_id=tenant, pod_id=pod)
        try:
            await self._autoscaler.EndPod(request, timeout=self._picture_timeout_seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise Unavailable(_AUTOSCALER_AWAY) from error

    async def sizes(self, *, after: int, limit: int) -> dict[int, int]:
        """Bytes stored by tenant id, of ids above `after`, by id. Raises Unavailable."""
        request = kv_pb2.TenantSizesRequest(after=after, limit=limit)
        try:
            reply = await self._storage.TenantSizes(request, timeout=_SIZES_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("storage does not answer") from error
        return {each.tenant_id: each.bytes for each in reply.sizes}

    async def storage_warnings(self) -> list[str]:
        """A sentence for people where storage cannot do its work; one that is away says nothing."""
        try:
            reply = await self._storage.Health(kv_pb2.HealthRequest(), timeout=_HEALTH_SECONDS)
        except grpc.aio.AioRpcError:
            return []
        failing = reply.writes_failing
        return [_WRITES_FAIL.get(failing, _WRITES_FAIL["io"])] if failing else []

    async def set_quotas(
        self, quotas: Mapping[TenantId, Quota], *, default: Quota, only_these: bool
    ) -> None:
        """How much tenants may store, and how long their past is kept; see proto/kv.proto. Raises
        Unavailable."""
        request = kv_pb2.SetQuotasRequest(
            quotas=[
                kv_pb2.TenantQuota(
                    tenant_id=each, bytes_max=quota.bytes_max, window_seconds=quota.window_seconds
                )
                for each, quota in quotas.items()
            ],
            only_these=only_these,
            default_bytes_max=default.bytes_max,
            default_window_seconds=default.window_seconds,
        )
        try:
            await self._storage.SetQuotas(request, timeout=_QUOTAS_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("storage does not answer") from error

    async def export(self, tenant: TenantId) -> AsyncGenerator[kv_pb2.ExportPage]:
        """The tenant's rows at one snapshot (proto/kv.proto). Raises Unavailable."""
        call = self._storage.Export(kv_pb2.ExportRequest(tenant_id=tenant))
        try:
            async for page in call:
                yield page
        except grpc.aio.AioRpcError as error:
            raise Unavailable(_reason(error)) from error
        finally:
            call.cancel()

    async def begin_import(self, tenant: TenantId) -> None:
        """Have storage take rows for a tenant that has none. Raises Unavailable, NotImported."""
        request = kv_pb2.BeginImportRequest(tenant_id=tenant)
        await _importing(self._storage.BeginImport(request, timeout=_IMPORT_SECONDS))

    async def import_rows(
        self, tenant: TenantId, keys: bytes, values: bytes, *, is_rows: bool
    ) -> None:
        """Rows, or else counters, as blocks; durable on return. Raises Unavailable, NotImported."""
        rows = kv_pb2.TenantRows(keys=keys, values=values)
        request = kv_pb2.ImportRowsRequest(
            tenant_id=tenant,
            rows=rows if is_rows else None,
            counters=None if is_rows else rows,
        )
        await _importing(self._storage.ImportRows(request, timeout=_IMPORT_SECONDS))

    async def finish_import(
        self, tenant: TenantId, *, rows: int, counters: int, has_catalog: bool
    ) -> bool:
        """All rows are there; False: they are being counted, ask again. Raises NotImported where
        they are not, and Unavailable."""
        request = kv_pb2.FinishImportRequest(
            tenant_id=tenant, rows=rows, counters=counters, has_catalog=has_catalog
        )
        reply = await _importing(self._storage.FinishImport(request, timeout=_IMPORT_SECONDS))
        return not reply.counting

    async def drop(self, tenant: TenantId) -> None:
        """Remove the tenant's data; it is gone on return. Raises Unavailable."""
        request = kv_pb2.DropTenantRequest(tenant_id=tenant)
        try:
            await self._storage.DropTenant(request, timeout=_DROP_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise Unavailable("storage does not answer") from error


async def _importing(call: Awaitable[T]) -> T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            raise NotImported(error.details() or "storage does not take the rows") from error
        raise Unavailable(_reason(error)) from error


def _reason(error: grpc.aio.AioRpcError) -> str:
    """For people: what storage has said, where it was storage that said it."""
    said = (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.DATA_LOSS,
    )
    text = error.details() if error.code() in said else None
    return text or "storage does not answer"
