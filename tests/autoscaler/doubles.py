"""Doubles of control and pods behind real mTLS gRPC, and a runtime that makes such pods."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from autoscaler.actions import Policy
from autoscaler.controller import Controller
from autoscaler.core import Core
from autoscaler.fleet import Fleet
from autoscaler.limits import Defaults
from autoscaler.podcontrol import PodControl
from autoscaler.pods import PodKey
from autoscaler.runtimes.base import Connected, Ended, Living, RuntimeEvent, Started
from autoscaler.service import ACCESS
from autoscaler.waker import WakeLimits
from dormouse.base.clock import SystemClock
from dormouse.base.rpc import Access, make_channel, make_server
from dormouse.base.tasks import spawn
from dormouse.base.tls import Identity, Role
from proto import autoscaler_pb2_grpc, control_pb2_grpc, pod_pb2_grpc
from proto.autoscaler_pb2 import PodAddress, PodsChange, WatchPodsRequest
from proto.control_pb2 import (
    IssuePodReply,
    IssuePodRequest,
    RenewPodReply,
    RenewPodRequest,
    SpendLeave,
    Tenant,
    TenantChange,
    TenantSettings,
    WatchTenantsRequest,
)
from proto.pod_pb2 import (
    DrainReply,
    DrainRequest,
    Hold,
    RenewReply,
    RenewRequest,
    SetOwnerReply,
    SetOwnerRequest,
    StampReply,
    StampRequest,
    StatusReply,
    StatusRequest,
    TakeBackReply,
    TakeBackRequest,
    Usage,
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
        self.active = 0
        self.idle_ms = 0
        self.cpu_micros = 0
        self.usage = Usage()
        self.holds: list[Hold] = []
        self.draining = False
        self.deadlines: list[int] = []
        """Of the drains it was told of, in milliseconds; -1 for "if idle"."""
        self.polls = 0
        self.owners: list[str] = []
        """Verifiers it was told after its stamp."""
        self.renewals: list[RenewRequest] = []
        self.generation = runtime.generation
        self.keys = 1
        self.address = ""
        self._server: Any = None

    async def start(self) -> None:
        methods = ("Stamp", "Drain", "TakeBack", "Status", "SetOwner", "Renew")
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
        await self.runtime.stamps_may_end.wait()
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
        self.deadlines.append(-1 if request.if_idle else request.deadline_ms)
        self.draining = True
        if not self.sessions or not request.deadline_ms:
            self.empty()
        return DrainReply(drained=True)

    def empty(self) -> None:
        """Its last session goes."""
        self.sessions = self.active = 0
        if self.draining and "immortal" not in self.faults:
            self.end(0)

    async def TakeBack(  # noqa: N802
        self, request: TakeBackRequest, context: Any
    ) -> TakeBackReply:
        self.draining = "stays away" in self.faults
        return TakeBackReply(taken_back=not self.draining)

    async def SetOwner(  # noqa: N802
        self, request: SetOwnerRequest, context: Any
    ) -> SetOwnerReply:
        if "deaf" in self.faults:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "a broken pod")
        if self.stamp is None or self.stamp.tenant_id != request.tenant_id:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not its pod")
            raise RuntimeError("abort raises")
        self.owners.append(request.owner.scram_verifier)
        return SetOwnerReply()

    async def Renew(self, request: RenewRequest, context: Any) -> RenewReply:  # noqa: N802
        if self.stamp is None or self.stamp.tenant_id != request.tenant_id:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not its pod")
            raise RuntimeError("abort raises")
        self.renewals.append(request)
        return RenewReply()

    async def Status(self, request: StatusRequest, context: Any) -> StatusReply:  # noqa: N802
        self.polls += 1
        return StatusReply(
            protocol_version=1,
            tenant_id=self.stamp.tenant_id if self.stamp else 0,
            pod_id=int(self.key),
            sql_address=self.sql_address if self.stamp else "",
            sessions=self.sessions,
            active=self.active,
            idle_ms=self.idle_ms,
            cpu_micros=self.cpu_micros,
            usage=self.usage,
            holds=self.holds,
            draining=self.draining,
            public_key=f"key {self.keys} of {self.key}".encode(),
        )

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
        self.urgent: list[bool] = []
        self.killed: list[PodKey] = []
        self.generation = 1
        self.stamps_may_end = asyncio.Event()
        self.stamps_may_end.set()
        self.starts_may_end = asyncio.Event()
        self.starts_may_end.set()
        self.ended: list[asyncio.Task[None]] = []
        self._starting: list[asyncio.Task[None]] = []
        self._events: asyncio.Queue[RuntimeEvent] = asyncio.Queue()

    def start(self, ticket: int, *, urgent: bool) -> None:
        self.urgent.append(urgent)
        self._starting.append(spawn(self._start(ticket), name="fake-fork"))

    async def close(self) -> None:
        self.starts_may_end.set()
        await asyncio.gather(*self._starting)
        await asyncio.gather(*self.ended, *(pod.stop() for pod in self.pods.values()))

    async def _start(self, ticket: int) -> None:
        pod = FakePod(self, self.faults.pop(0) if self.faults else set())
        await self.starts_may_end.wait()
        await pod.start()
        self.pods[pod.key] = pod
        self.tell(Started(ticket, pod.key, pod.address, pod.generation))

    def kill(self, pod: PodKey) -> None:
        self.killed.append(pod)
        if pod in self.pods:
            self.pods[pod].end(-9)

    def tell(self, event: RuntimeEvent) -> None:
        self._events.put_nowait(event)

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        # A new user is told what lives, not what happened to the one before.
        self._events = asyncio.Queue()
        yield self.picture()
        while True:
            yield await self._events.get()

    def picture(self) -> Connected:
        living = {pod.key: Living(pod.address, pod.generation) for pod in self.pods.values()}
        return Connected(living, self.generation)

    def upgrade(self) -> None:
        """New pods are of newer code from now on."""
        self.generation += 1
        self.tell(self.picture())

    def stamped(self, tenant: int) -> list[FakePod]:
        return [pod for pod in self.pods.values() if pod.stamp and pod.stamp.tenant_id == tenant]


class FakeControl(control_pb2_grpc.ControlServicer):
    """Issues to every tenant but 404; `outages` are the statuses it fails with."""

    def __init__(self) -> None:
        self.issued: list[IssuePodRequest] = []
        self.outages: list[grpc.StatusCode] = []
        self.settings = TenantSettings(connections_max=7)
        """Of every tenant that has none of its own."""
        self.spending = SpendLeave()
        """What every pod is told it may spend."""
        self.settings_of: dict[int, TenantSettings] = {}
        self.watches: list[WatchTenantsRequest] = []
        self._streams: set[asyncio.Queue[TenantChange | None]] = set()
        self._versions = itertools.count(1)

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
            settings=self._settings(request.tenant_id),
            session_key=bytes(32),
            spending=self.spending,
        )

    async def RenewPod(self, request: RenewPodRequest, context: Any) -> RenewPodReply:  # noqa: N802
        if self.outages:
            await context.abort(self.outages.pop(0), "out of order")
        return RenewPodReply(certificate=request.public_key, authority=b"both")

    async def WatchTenants(  # noqa: N802
        self, request: WatchTenantsRequest, context: Any
    ) -> AsyncIterator[TenantChange]:
        self.watches.append(request)
        stream: asyncio.Queue[TenantChange | None] = asyncio.Queue()
        self._streams.add(stream)
        try:
            yield TenantChange()
            kept = [tenant for tenant, each in self.settings_of.items() if each.pods_min]
            for tenant in [*request.tenant_ids, *(kept if request.with_pods_min else [])]:
                yield self._change(tenant)
            while (change := await stream.get()) is not None:
                yield change
        finally:
            self._streams.discard(stream)

    def change(self, tenant: int, settings: TenantSettings | None) -> None:
        """New settings of a tenant; None: it is deleted."""
        if settings is not None:
            newer = TenantSettings(version=next(self._versions))
            newer.MergeFrom(settings)
            self.settings_of[tenant] = newer
        change = self._change(tenant)
        if settings is None:
            change.deleted = True
            change.tenant.settings.version = next(self._versions)
        for stream in self._streams:
            stream.put_nowait(change)

    def cut(self) -> None:
        """End all streams."""
        for stream in self._streams:
            stream.put_nowait(None)

    def _change(self, tenant: int) -> TenantChange:
        return TenantChange(tenant=Tenant(tenant_id=tenant, settings=self._settings(tenant)))

    def _settings(self, tenant: int) -> TenantSettings:
        return self.settings_of.get(tenant, self.settings)

    async def ResolveTenant(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    ReportUsage = ReportStatements = ResolveTenant
    WatchSpending: Any = ResolveTenant


class Harness:
    """An autoscaler over doubles, reached through real gRPC."""

    def __init__(self, core: Core, runtime: FakeRuntime, control: FakeControl) -> None:
        self.core = core
        self.controller: Controller = core.controller
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

    def watch(self, number: int = 0, address: str = "") -> "Watch":
        request = WatchPodsRequest(protocol_version=1, proxy_number=number, peer_address=address)
        return Watch(self.stub().WatchPods(request))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)


class Watch:
    """A proxy's stream, read in the background: what it knows by now."""

    def __init__(self, stream: Any) -> None:
        self.number = 0
        self.others: dict[int, str] = {}
        self.complete = False
        self.ended: grpc.StatusCode | None = None
        self.changes: list[PodsChange] = []
        self.pods: dict[int, list[PodAddress]] = {}
        self._stream = stream
        self._task = spawn(self._read(), name="watch")

    async def _read(self) -> None:
        try:
            while isinstance(change := await self._stream.read(), PodsChange):
                self._note(change)
        except grpc.aio.AioRpcError as error:
            self.ended = error.code()

    def _note(self, change: PodsChange) -> None:
        self.changes.append(change)
        if change.HasField("proxies"):
            self.number = change.proxies.your_number
            self.others = {each.number: each.peer_address for each in change.proxies.others}
        elif change.HasField("pods"):
            self.pods[change.pods.tenant_id] = list(change.pods.pods)
        self.complete = self.complete or change.complete

    def wishes(self, tenant: int) -> list[int]:
        return sorted(pod.wish for pod in self.pods.get(tenant, []))

    def stop(self) -> None:
        self._stream.cancel()


LIMITS = WakeLimits(wake_timeout=60.0, stamp_timeout=30.0, wakes_max=100)
PATIENT = Policy(stamp_timeout=30.0, probe_timeout=60.0, ask_timeout=60.0, drain_grace=60.0)
"""The times are guards: a test that lets one run out sets its own."""


@asynccontextmanager
async def autoscaler(
    runtime: FakeRuntime | None = None,
    *,
    policy: Policy | None = None,
    limits: WakeLimits = LIMITS,
    control: FakeControl | None = None,
    keep: bool = False,
) -> AsyncIterator[Harness]:
    """Bring an autoscaler up with a full pool. With `keep` the runtime's pods outlive it."""
    fake = control or FakeControl()
    methods = ("IssuePod", "RenewPod", "WatchTenants")
    control_server, control_address = await serve(
        Identity(role=Role.CONTROL),
        {f"/dormouse.control.v1.Control/{name}": _AUTOSCALER for name in methods},
        lambda server: control_pb2_grpc.add_ControlServicer_to_server(fake, server),
    )
    credentials = AUTHORITY.credentials(Identity(role=Role.AUTOSCALER))
    used = runtime or FakeRuntime()
    channel = make_channel(control_address, credentials, Identity(role=Role.CONTROL))
    core = Core(
        policy=policy or PATIENT,
        limits=limits,
        defaults=Defaults(),
        runtime=used,
        pods=PodControl(credentials),
        control=control_pb2_grpc.ControlStub(channel),
        storage_address="127.0.0.1:7",
        control_address="127.0.0.1:8",
        clock=SystemClock(),
    )
    harness = Harness(core, used, fake)
    server, harness.address = await serve(
        Identity(role=Role.AUTOSCALER),
        ACCESS,
        lambda server: autoscaler_pb2_grpc.add_AutoscalerServicer_to_server(core.service, server),
    )
    try:
        assert await core.until_ready(20.0)
        yield harness
    finally:
        await harness.close()
        await server.stop(0)
        await core.close()
        await channel.close(None)
        await control_server.stop(0)
        if not keep:
            await used.close()
