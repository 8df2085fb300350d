"""What control asks of the autoscaler, over real mutual TLS against one that is made up."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from control.authority import Authority
from control.peers import Peers
from control.pictures import ASLEEP, UNKNOWN, Decision, Hold, Picture, WarmPool
from dormouse.base import rpc
from dormouse.base.clock import SystemClock
from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId
from dormouse.base.rpc import Access
from dormouse.base.tls import Credentials, Identity, Role
from proto import autoscaler_pb2, autoscaler_pb2_grpc

_METHODS = ("DescribeTenants", "ExplainTenant", "Suspend", "SetOwner", "RenewPods")
_ACCESS = {
    f"/dormouse.autoscaler.v1.Autoscaler/{method}": Access(frozenset({Role.CONTROL}))
    for method in _METHODS
}
_MESSAGE = autoscaler_pb2.TenantPicture(
    tenant_id=7,
    state=autoscaler_pb2.RUNNING,
    pods=2,
    connections=5,
    awake_because="5 sessions",
    parked=3,
    pods_wanted=4,
    cpu_permille=1234,
    request_units_per_second=0.5,
    holds=[autoscaler_pb2.Hold(backend_pid=9, reason="a lock")],
)
_PICTURE = Picture(
    "running",
    2,
    5,
    "5 sessions",
    parked=3,
    pods_wanted=4,
    cpu_permille=1234,
    request_units_per_second=0.5,
    holds=(Hold(9, "a lock"),),
)


class _Autoscaler(autoscaler_pb2_grpc.AutoscalerServicer):
    """One tenant is awake; tenants from 100 on are nobody's. What proxies ask is not asked here."""

    Wake: Any = None
    WatchPods: Any = None
    ReportSessions: Any = None
    EndPod: Any = None
    ListPods: Any = None

    def __init__(self) -> None:
        self.owners: list[tuple[int, str, str]] = []
        self.warm_pool: autoscaler_pb2.WarmPool | None = autoscaler_pb2.WarmPool(ready=1, wanted=2)

    async def DescribeTenants(  # noqa: N802
        self, request: autoscaler_pb2.DescribeTenantsRequest, _context: Any
    ) -> autoscaler_pb2.DescribeTenantsReply:
        named = 7 in request.tenant_ids or not request.tenant_ids
        return autoscaler_pb2.DescribeTenantsReply(
            tenants=[_MESSAGE] if named else [], warm_pool=self.warm_pool
        )

    async def ExplainTenant(  # noqa: N802
        self, request: autoscaler_pb2.ExplainTenantRequest, _context: Any
    ) -> autoscaler_pb2.ExplainTenantReply:
        picture = _MESSAGE if request.tenant_id == 7 else None
        decision = autoscaler_pb2.Decision(
            at_unix_ms=5,
            action="wake",
            reason="asked",
            inputs={"pods": "0", "cores": "1", "b": "2"},
        )
        # More than was asked for: what comes from elsewhere is bounded here too.
        return autoscaler_pb2.ExplainTenantReply(picture=picture, decisions=[decision] * 9)

    async def Suspend(  # noqa: N802
        self, request: autoscaler_pb2.SuspendRequest, context: Any
    ) -> autoscaler_pb2.SuspendReply:
        if request.tenant_id >= 100:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such tenant")
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "a pod is still there")
        raise AssertionError

    async def SetOwner(  # noqa: N802
        self, request: autoscaler_pb2.SetOwnerRequest, context: Any
    ) -> autoscaler_pb2.SetOwnerReply:
        if request.tenant_id >= 100:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "a pod does not answer")
        self.owners.append((request.tenant_id, request.name, request.scram_verifier))
        return autoscaler_pb2.SetOwnerReply(pods=1)

    async def RenewPods(  # noqa: N802
        self, _request: autoscaler_pb2.RenewPodsRequest, _context: Any
    ) -> autoscaler_pb2.RenewPodsReply:
        return autoscaler_pb2.RenewPodsReply(renewed=5, left=2)


def _with_autoscaler(
    folder: Path,
    body: Callable[[Peers, _Autoscaler, Callable[[], Awaitable[None]]], Awaitable[None]],
) -> None:
    """Runs `body` with the peers, the autoscaler, and what ends it."""

    async def run() -> None:
        authority = Authority.open(folder / "authority", SystemClock())
        for role in (Role.CONTROL, Role.AUTOSCALER):
            authority.ensure_role(folder, role)
        service = _Autoscaler()
        server = rpc.make_server(_ACCESS)
        autoscaler_pb2_grpc.add_AutoscalerServicer_to_server(service, server)
        credentials = Credentials.read(folder, "autoscaler").for_grpc_server()
        port = server.add_secure_port("127.0.0.1:0", credentials)
        await server.start()
        own = Credentials.read(folder, "control")
        address, identity = f"127.0.0.1:{port}", Identity(role=Role.AUTOSCALER)
        try:
            async with rpc.make_channel(address, own, identity) as channel:
                peers = Peers(autoscaler=channel, storage=channel, picture_timeout_seconds=5)
                await body(peers, service, lambda: server.stop(None))
        finally:
            await server.stop(None)

    asyncio.run(run())


def test_everything_that_is_told_is_read(tmp_path: Path) -> None:
    async def body(peers: Peers, service: _Autoscaler, _end: object) -> None:
        seven, eight = TenantId(7), TenantId(8)
        assert await peers.pictures([seven, eight]) == {seven: _PICTURE, eight: ASLEEP}
        assert await peers.pictures([]) == {}
        awake = await peers.awake()
        assert (awake.pictures, awake.warm_pool) == ({seven: _PICTURE}, WarmPool(1, 2))
        service.warm_pool = None
        assert (await peers.awake()).warm_pool is None
        decision = Decision(5, "wake", "asked", {"b": "2", "cores": "1", "pods": "0"})
        picture, decisions = await peers.explain(seven, decisions_max=2)
        assert (picture, decisions) == (_PICTURE, [decision] * 2)
        assert list(decisions[0].inputs) == ["b", "cores", "pods"]
        assert (await peers.explain(eight, decisions_max=1))[0] == ASLEEP

    _with_autoscaler(tmp_path, body)


def test_suspending_nobody_is_done(tmp_path: Path) -> None:
    async def body(peers: Peers, _service: _Autoscaler, _end: object) -> None:
        await peers.suspend(TenantId(100))
        with pytest.raises(Unavailable):
            await peers.suspend(TenantId(7))

    _with_autoscaler(tmp_path, body)


def test_owners_are_told_or_that_is_said(tmp_path: Path) -> None:
    async def body(peers: Peers, service: _Autoscaler, _end: object) -> None:
        await peers.set_owner(TenantId(7), owner="owner", scram_verifier="v")
        assert service.owners == [(7, "owner", "v")]
        with pytest.raises(Unavailable):
            await peers.set_owner(TenantId(100), owner="owner", scram_verifier="v")

    _with_autoscaler(tmp_path, body)


def test_how_many_pods_are_not_renewed_is_told(tmp_path: Path) -> None:
    async def body(peers: Peers, _service: object, end: Callable[[], Awaitable[None]]) -> None:
        assert await peers.renew_pods() == 2
        await end()
        with pytest.raises(Unavailable):
            await peers.renew_pods()

    _with_autoscaler(tmp_path, body)


def test_an_autoscaler_that_is_away(tmp_path: Path) -> None:
    async def body(peers: Peers, _service: _Autoscaler, end: Callable[[], Awaitable[None]]) -> None:
        await end()
        assert await peers.pictures([TenantId(7)]) == {7: UNKNOWN}
        with pytest.raises(Unavailable, match="autoscaler"):
            await peers.awake()
        with pytest.raises(Unavailable, match="autoscaler"):
            await peers.explain(TenantId(7), decisions_max=1)

    _with_autoscaler(tmp_path, body)
