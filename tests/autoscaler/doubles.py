"""Doubles of control and pods behind real mTLS gRPC, and a runtime that makes such pods."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from autoscaler.controller import Controller
from autoscaler.decide import Policy
from autoscaler.fleet import Fleet, PodKey
from autoscaler.podcontrol import PodControl
from autoscaler.runtimes.base import Connected, Ended, Living, RuntimeEvent, Started
from autoscaler.service import ACCESS, AutoscalerService
from autoscaler.waker import WakeLimits, Waker
from dormouse.base.clock import SystemClock
from dormouse.base.rpc import Access, make_channel, make_server
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Identity, Role
from proto import autoscaler_pb2_grpc, control_pb2_grpc, pod_pb2_grpc
from proto.control_pb2 import IssuePodReply, IssuePodRequest, TenantSettings
from proto.pod_pb2 import (
    DrainReply,
    DrainRequest,
    StampReply,
    StampRequest,
    StatusReply,
    StatusRequest,
)
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from proto.autoscaler_pb2_grpc import AutoscalerAsyncStub

AUTHORITY = Authority()
_AUTOSCALER = Access(roles=frozenset({Role.AUTOSCALER}))
_pids = itertools.count(1000)


async def serve(identity: Identity, table: dict[str, Access], add: Any) -> tuple[Any, str]:
    server = make_server(table)
    add(server)
    credentials = AUTHORITY.credentials(identity).for_grpc_server()
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    return server, f"127.0.0.1:{port}"


class FakePod(pod_pb2_grpc.PodServicer):
    """A pod without SQL. Its attributes are what it reports; `faults` what goes wrong."""

    def __init__(self, runtime: "FakeRuntime", faults: set[str]) -> None:
        self.key = PodKey(str(next(_pids)))
        self.runtime = runtime
        self.faults = faults
        self.stamp: StampRequest | None = None
        self.sessions = 0
        self.idle_ms = 0
        self.draining = False
        self.keys = 1
        self.address = ""
        self._server: Any = None

    async def start(self) -> None:
        methods = ("Stamp", "Drain", "Status")
        table = {f"/dormouse.pod.v1.Pod/{name}": _AUTOSCALER for name in methods}
        self._server, self.address = await serve(
            Identity(role=Role.POD),
            table,
            lambda server: pod_pb2_grpc.add_PodServicer_to_server(self, server),
        )

    async def Stamp(self, request: StampRequest, context: Any) -> StampReply:  # noqa: N802
        self.runtime.stamps.append((int(request.tenant_id), self.key))
        if "hang" in self.faults:
            await asyncio.sleep(60)
        if "no storage" in self.faults:
            self.faults.discard("no storage")
            self.keys += 1
            await context.abort(grpc.StatusCode.ABORTED, "storage does not answer")
        if "fail" in self.faults:
            await context.abort(grpc.StatusCode.INTERNAL, "a broken pod")
        if self.stamp is not None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "stamped before")
        self.stamp = request
        return StampReply(protocol_version=1, sql_address=self.sql_address, pod_id=int(self.key))

    @property
    def sql_address(self) -> str:
        return f"127.0.0.1:{self.key}"

    async def Drain(self, request: DrainRequest, context: Any) -> DrainReply:  # noqa: N802
        if request.if_idle and self.sessions:
            return DrainReply(drained=False)
        self.draining = True
        if "immortal" not in self.faults:
            self.end(0)
        return DrainReply(drained=True)

    async def Status(self, request: StatusRequest, context: Any) -> StatusReply:  # noqa: N802
        return StatusReply(
            protocol_version=1,
            tenant_id=self.stamp.tenant_id if self.stamp else 0,
            pod_id=int(self.key),
            sql_address=self.sql_address if self.stamp else "",
            sessions=self.sessions,
            idle_ms=self.idle_ms,
            draining=self.draining,
            public_key=f"key {self.keys} of {self.key}".encode(),
        )

    async def TakeBack(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def end(self, status: int) -> None:
        if self.runtime.pods.pop(self.key, None) is not None:
            self.runtime.tell(Ended(self.key, status))
            self.runtime.ended.append(spawn(self.stop(), name="stop-fake-pod"))

    async def stop(self) -> None:
        await asyncio.sleep(0.05)  # lets the answer to Drain go out
        await self._server.stop(None)


class FakeRuntime:
    """Makes fake pods; `faults` are handed to the pods to come, one set each."""

    def __init__(self) -> None:
        self.pods: dict[PodKey, FakePod] = {}
        self.faults: list[set[str]] = []
        self.stamps: list[tuple[int, PodKey]] = []
        self.killed: list[PodKey] = []
        self.ended: list[asyncio.Task[None]] = []
        self._starting: list[asyncio.Task[None]] = []
        self._events: asyncio.Queue[RuntimeEvent] = asyncio.Queue()

    def start(self, ticket: int) -> None:
        self._starting.append(spawn(self._start(ticket), name="fake-fork"))

    async def close(self) -> None:
        await asyncio.gather(*self._starting)
        await asyncio.gather(*self.ended, *(pod.stop() for pod in self.pods.values()))

    async def _start(self, ticket: int) -> None:
        pod = FakePod(self, self.faults.pop(0) if self.faults else set())
        await pod.start()
        self.pods[pod.key] = pod
        self.tell(Started(ticket, pod.key, pod.address, 1))

    def kill(self, pod: PodKey) -> None:
        self.killed.append(pod)
        if pod in self.pods:
            self.pods[pod].end(-9)

    def tell(self, event: RuntimeEvent) -> None:
        self._events.put_nowait(event)

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        # A new user is told what lives, not what happened to the one before.
        self._events = asyncio.Queue()
        yield Connected({pod.key: Living(pod.address, 1) for pod in self.pods.values()}, 1)
        while True:
            yield await self._events.get()

    def stamped(self, tenant: int) -> list[FakePod]:
        return [pod for pod in self.pods.values() if pod.stamp and pod.stamp.tenant_id == tenant]


class FakeControl(control_pb2_grpc.ControlServicer):
    """Issues to every tenant but 404; `outage` is the status it fails with."""

    def __init__(self) -> None:
        self.issued: list[IssuePodRequest] = []
        self.outages: list[grpc.StatusCode] = []
        self.idle_timeout_seconds = 0

    async def IssuePod(self, request: IssuePodRequest, context: Any) -> IssuePodReply:  # noqa: N802
        if self.outages:
            await context.abort(self.outages.pop(0), "out of order")
        if request.tenant_id == 404:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such tenant")
        self.issued.append(request)
        return IssuePodReply(
            certificate=b"certificate",
            authority=b"authority",
            owner="demo",
            database="demo",
            settings=TenantSettings(
                connections_max=7, idle_timeout_seconds=self.idle_timeout_seconds
            ),
        )

    async def ResolveTenant(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    ReportUsage = ResolveTenant


class Harness:
    """An autoscaler over doubles, reached through real gRPC."""

    def __init__(self, controller: Controller, runtime: FakeRuntime, control: FakeControl) -> None:
        self.controller = controller
        self.runtime = runtime
        self.control = control
        self.address = ""
        self._channels: list[grpc.aio.Channel] = []

    @property
    def fleet(self) -> Fleet:
        return self.controller.fleet

    def stub(self, role: Role = Role.PROXY) -> "AutoscalerAsyncStub":
        credentials = AUTHORITY.credentials(Identity(role=role))
        channel = make_channel(self.address, credentials, Identity(role=Role.AUTOSCALER))
        self._channels.append(channel)
        return autoscaler_pb2_grpc.AutoscalerStub(channel)

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)


LIMITS = WakeLimits(wake_timeout=10.0, stamp_timeout=1.0, wakes_max=100, idle_timeout=300.0)


@asynccontextmanager
async def autoscaler(
    runtime: FakeRuntime | None = None,
    *,
    policy: Policy | None = None,
    limits: WakeLimits = LIMITS,
    keep: bool = False,
) -> AsyncIterator[Harness]:
    """Bring an autoscaler up with a full pool. With `keep` the runtime's pods outlive it."""
    control = FakeControl()
    control_server, control_address = await serve(
        Identity(role=Role.CONTROL),
        {"/dormouse.control.v1.Control/IssuePod": _AUTOSCALER},
        lambda server: control_pb2_grpc.add_ControlServicer_to_server(control, server),
    )
    credentials = AUTHORITY.credentials(Identity(role=Role.AUTOSCALER))
    used = runtime or FakeRuntime()
    controller = Controller(
        Fleet(), policy or Policy(stamp_timeout=1.0), used, PodControl(credentials), SystemClock()
    )
    channel = make_channel(control_address, credentials, Identity(role=Role.CONTROL))
    waker = Waker(controller, control_pb2_grpc.ControlStub(channel), "127.0.0.1:7", limits)
    harness = Harness(controller, used, control)
    running = spawn(controller.run(), name="controller")
    service = AutoscalerService(controller, waker)
    server, harness.address = await serve(
        Identity(role=Role.AUTOSCALER),
        ACCESS,
        lambda server: autoscaler_pb2_grpc.add_AutoscalerServicer_to_server(service, server),
    )
    try:
        assert await controller.until_warm(20.0)
        yield harness
    finally:
        await harness.close()
        await server.stop(0)
        await cancel(running)
        await channel.close(None)
        await control_server.stop(0)
        if not keep:
            await used.close()
