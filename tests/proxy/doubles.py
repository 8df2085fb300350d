"""A pod, a control and an autoscaler for the proxy to talk to, and a proxy between them."""

import asyncio
import dataclasses
import itertools
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from dormouse.base.ids import TenantId
from dormouse.base.role import Service
from dormouse.base.rpc import Access, make_server
from dormouse.base.tls import Identity, Role
from pgwire import backend, notices
from pgwire.framing import Frame, FrameDecoder
from pgwire.startup import CancelRequest, StartupDecoder, StartupMessage
from proto import autoscaler_pb2_grpc, control_pb2_grpc
from proto.autoscaler_pb2 import (
    SERVE,
    PodAddress,
    Pods,
    PodsChange,
    Proxies,
    ProxyAddress,
    SessionsAck,
    SessionsReport,
    WakeRequest,
    WatchPodsRequest,
)
from proto.control_pb2 import (
    ResolveTenantRequest,
    Tenant,
    TenantChange,
    TenantSettings,
    WatchTenantsRequest,
)
from proxy import metrics
from proxy.__main__ import serve
from proxy.config import ProxyLimits, ProxySettings
from tests.support.certificates import Authority
from tests.support.waiting import until

AUTHORITY = Authority()
PASSWORD = "open sesame"
_ids = itertools.count(1)


class FakePod:
    """Speaks enough of the protocol for drivers. `refuse`: an SQLSTATE to turn sessions away with.

    Statements: `select 1`; `rows N` answers N rows of 1 kB; `sleep` waits for a cancel; `die` cuts
    the connection between messages, `tear` in the middle of one.
    """

    def __init__(self, tenant: int = 17, *, identity: int | None = None) -> None:
        self.id = next(_ids)
        self.tenant = tenant
        self.refuse = ""
        self.startups: list[StartupMessage] = []
        self.copied = 0
        self.cancel_came = asyncio.Event()
        self.take_cancels = asyncio.Event()
        """Until it is set, cancel requests are not taken."""
        self.take_cancels.set()
        self.address = ""
        self.wish = SERVE
        self.sessions_told = 0
        """What the autoscaler tells of its sessions."""
        self._identity = identity or tenant
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._sleeping: dict[tuple[int, bytes], asyncio.Event] = {}

    async def start(self) -> None:
        credentials = AUTHORITY.credentials(Identity(tenant=TenantId(self._identity)))
        context: ssl.SSLContext = credentials.for_tls_server(mutual=True)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.hang_up()

    @property
    def connections(self) -> int:
        return len(self._writers)

    def hang_up(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._session(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        startup = StartupDecoder()
        while (packet := startup.next()) is None:
            startup.feed(await some(reader))
        if isinstance(packet, CancelRequest):
            self.cancel_came.set()
            await self.take_cancels.wait()
            self._sleeping[packet.pid, packet.secret].set()
            return
        assert isinstance(packet, StartupMessage)
        self.startups.append(packet)
        if self.refuse:
            writer.write(notices.error_response(notices.Notice("FATAL", self.refuse, "not now")))
            return
        frames = FrameDecoder()
        frames.feed(startup.rest())
        writer.write(backend.authentication_cleartext())
        password = (await next_frame(frames, reader)).body.rstrip(b"\0").decode()
        if password != PASSWORD:
            writer.write(notices.error_response(notices.Notice("FATAL", "28P01", "wrong password")))
            return
        key = (4321, len(self.startups).to_bytes(4, "big"))
        self._sleeping[key] = asyncio.Event()
        writer.write(
            backend.AUTHENTICATION_OK
            + backend.parameter_status("server_version", "15.0")
            + backend.parameter_status("client_encoding", "UTF8")
            + backend.backend_key_data(*key)
            + backend.READY_IDLE
        )
        while (frame := await next_frame(frames, reader)).kind != ord("X"):
            if frame.kind == ord("d"):
                self.copied += len(frame.body)
            elif frame.kind == ord("Q"):
                await self._query(frame.body.rstrip(b"\0").decode(), writer, self._sleeping[key])

    async def _query(
        self, text: str, writer: asyncio.StreamWriter, cancelled: asyncio.Event
    ) -> None:
        field = backend.Field("value", 0, 0, 25, -1, -1, 0)
        if match := re.fullmatch(r"rows (\d+)", text):
            writer.write(backend.row_description([field]))
            batch = backend.data_rows([backend.cells([b"x" * 1000] * 100)], 100)
            for _ in range(int(match[1]) // 100):
                writer.write(batch)
                await writer.drain()
        elif text == "sleep":
            await cancelled.wait()
            cancelled.clear()
            error = notices.Notice("ERROR", "57014", "canceling statement due to user request")
            writer.write(notices.error_response(error) + backend.READY_IDLE)
            return
        elif text in ("die", "tear"):
            if text == "tear":
                writer.write(backend.data_rows([backend.cells([b"x" * 1000])], 1)[:500])
            await writer.drain()
            writer.close()
            raise ConnectionResetError
        elif text == "copy":
            writer.write(backend.copy_in_response(1))
            return
        else:
            writer.write(backend.row_description([field]))
            writer.write(backend.data_rows([backend.cells([b"1"])], 1))
        writer.write(backend.command_complete("SELECT 1") + backend.READY_IDLE)


async def some(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(65536)
    if not data:
        raise ConnectionResetError
    return data


async def next_frame(frames: FrameDecoder, reader: asyncio.StreamReader) -> Frame:
    while (frame := frames.next()) is None:
        frames.feed(await some(reader))
    return frame


class FakePlane(control_pb2_grpc.ControlServicer, autoscaler_pb2_grpc.AutoscalerServicer):
    """Control and autoscaler in one. `tenants`: id → name; `running`: what is watched."""

    def __init__(self) -> None:
        self.tenants = {17: "demo"}
        self.settings: dict[int, TenantSettings] = {}
        self.running: dict[int, list[FakePod]] = {}
        self.sleeping: dict[int, list[FakePod]] = {}
        """Pods that each wake of the tenant brings, one after the other."""
        self.wakes = 0
        self.resolves = 0
        self.reports: list[SessionsReport] = []
        self.wake_fails: grpc.StatusCode | None = None
        self.proxies: dict[int, str] = {}
        """Proxy number → peer address."""
        self._watchers: dict[int, asyncio.Queue[PodsChange | None]] = {}
        self._tenant_watchers: set[asyncio.Queue[TenantChange | None]] = set()
        self._servers: list[Any] = []

    async def start(self) -> tuple[str, str]:
        proxy = Access(roles=frozenset({Role.PROXY}))
        methods = ("Wake", "WatchPods", "ReportSessions")
        scaler_table = {f"/dormouse.autoscaler.v1.Autoscaler/{name}": proxy for name in methods}
        control_table = {
            f"/dormouse.control.v1.Control/{name}": proxy
            for name in ("ResolveTenant", "WatchTenants")
        }
        addresses = []
        for role, table, add in (
            (Role.CONTROL, control_table, control_pb2_grpc.add_ControlServicer_to_server),
            (Role.AUTOSCALER, scaler_table, autoscaler_pb2_grpc.add_AutoscalerServicer_to_server),
        ):
            server = make_server(table)
            add(self, server)
            credentials = AUTHORITY.credentials(Identity(role=role)).for_grpc_server()
            addresses.append(f"127.0.0.1:{server.add_secure_port('127.0.0.1:0', credentials)}")
            await server.start()
            self._servers.append(server)
        return addresses[0], addresses[1]

    async def stop(self) -> None:
        for server in self._servers:
            await server.stop(None)
        self._servers.clear()

    def pods(self, tenant: int) -> Pods:
        return Pods(
            tenant_id=tenant,
            pods=[
                PodAddress(
                    pod_id=pod.id,
                    sql_address=pod.address,
                    wish=pod.wish,
                    sessions=pod.sessions_told,
                )
                for pod in self.running.get(tenant, [])
            ],
        )

    @property
    def watchers(self) -> int:
        """How many proxies follow the pods."""
        return len(self._watchers)

    def publish(self, tenant: int) -> None:
        for queue in self._watchers.values():
            queue.put_nowait(PodsChange(pods=self.pods(tenant)))

    def cut_pod_streams(self) -> None:
        for queue in self._watchers.values():
            queue.put_nowait(None)

    async def ResolveTenant(self, request: ResolveTenantRequest, context: Any) -> Tenant:  # noqa: N802
        self.resolves += 1
        if self.tenants.get(request.tenant_id) != request.name:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such tenant")
        return self.tenant(request.tenant_id)

    def tenant(self, tenant: int) -> Tenant:
        return Tenant(
            tenant_id=tenant,
            name=self.tenants.get(tenant, ""),
            settings=self.settings.get(tenant, TenantSettings()),
        )

    def change(self, tenant: int) -> TenantChange:
        return TenantChange(tenant=self.tenant(tenant), deleted=tenant not in self.tenants)

    def tell_change(self, tenant: int) -> None:
        """Tell every proxy of the tenant as it is now."""
        for queue in self._tenant_watchers:
            queue.put_nowait(self.change(tenant))

    def cut_tenant_streams(self) -> None:
        for queue in self._tenant_watchers:
            queue.put_nowait(None)

    async def WatchTenants(  # noqa: N802
        self, request: WatchTenantsRequest, context: Any
    ) -> AsyncIterator[TenantChange]:
        queue: asyncio.Queue[TenantChange | None] = asyncio.Queue()
        self._tenant_watchers.add(queue)
        try:
            yield TenantChange()
            for tenant in request.tenant_ids:
                yield self.change(tenant)
            while (change := await queue.get()) is not None:
                yield change
        finally:
            self._tenant_watchers.discard(queue)

    async def Wake(self, request: WakeRequest, context: Any) -> Pods:  # noqa: N802
        self.wakes += 1
        if self.wake_fails is not None:
            await context.abort(self.wake_fails, "no")
        tenant = request.tenant_id
        if self.sleeping.get(tenant):
            self.running[tenant] = [self.sleeping[tenant].pop(0)]
        return self.pods(tenant)

    async def WatchPods(  # noqa: N802
        self, request: WatchPodsRequest, context: Any
    ) -> AsyncIterator[PodsChange]:
        queue: asyncio.Queue[PodsChange | None] = asyncio.Queue()
        number = request.proxy_number or next(_ids)
        self.proxies[number] = request.peer_address
        self._watchers[number] = queue
        self._publish_proxies()
        try:
            change = await queue.get()  # the number, first of all
            for tenant in self.running:
                queue.put_nowait(PodsChange(pods=self.pods(tenant)))
            queue.put_nowait(PodsChange(complete=True))
            while change is not None:
                yield change
                change = await queue.get()
        finally:
            if self._watchers.get(number) is queue:
                del self._watchers[number], self.proxies[number]
                self._publish_proxies()

    def _publish_proxies(self) -> None:
        for number, queue in self._watchers.items():
            others = [
                ProxyAddress(number=other, peer_address=address)
                for other, address in self.proxies.items()
                if other != number and address
            ]
            proxies = Proxies(your_number=number, others=others)
            queue.put_nowait(PodsChange(proxies=proxies))

    async def IssuePod(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    async def ReportSessions(  # noqa: N802
        self, request: SessionsReport, context: Any
    ) -> SessionsAck:
        self.reports.append(request)
        return SessionsAck()

    ReportUsage = Suspend = DescribeTenants = ExplainTenant = IssuePod
    RenewPod = RenewPods = EndPod = ListPods = SetOwner = ReportStatements = IssuePod
    WatchSpending: Any = IssuePod


class Setup:
    """A proxy with one tenant, demo-17, whose pod `pod` is asleep until it is woken."""

    def __init__(
        self, plane: FakePlane, pod: FakePod, service: Service, settings: ProxySettings
    ) -> None:
        self.plane = plane
        self.pod = pod
        self.service = service
        self.settings = settings
        self.port = self.port_of("address")
        self.ca = settings.certs / "ca.crt"

    def port_of(self, what: str) -> int:
        """The port of one of the proxy's listeners."""
        return int(str(self.service.ready[what]).rpartition(":")[2])

    async def publish(self, tenant: int = 17) -> None:
        """Tell every proxy of the tenant's pods as they are now; they know when this returns."""
        known = pod_changes() + self.plane.watchers
        self.plane.publish(tenant)
        await until(lambda: pod_changes() >= known)

    def conninfo(self, **overrides: str) -> str:
        values = {
            "host": "127.0.0.1",
            "port": str(self.port),
            "user": "demo.demo-17",
            "dbname": "demo",
            "password": f"'{PASSWORD}'",
            "sslmode": "require",
            "gssencmode": "disable",
            "connect_timeout": "20",
            **overrides,
        }
        return " ".join(f"{name}={value}" for name, value in values.items() if value)


def pod_changes() -> float:
    """How much the proxies have been told of pods and of each other."""
    return float(metrics.POD_CHANGES._value.get())


def write_certificates(folder: Path) -> None:
    AUTHORITY.write(folder, Identity(role=Role.PROXY))
    # Towards clients the proxy is a server like any other; the name in the certificate is its own.
    AUTHORITY.write(folder / "sql", Identity(role=Role.PROXY))
    for kind in ("key", "crt"):
        (folder / "sql" / f"proxy.{kind}").rename(folder / f"sql.{kind}")


@asynccontextmanager
async def proxied(
    folder: Path,
    limits: ProxyLimits | None = None,
    *,
    asleep: bool = False,
    pod: FakePod | None = None,
    **others: Any,
) -> AsyncIterator[Setup]:
    """`others`: settings of the proxy."""
    write_certificates(folder)
    plane = FakePlane()
    pod = pod or FakePod()
    await pod.start()
    (plane.sleeping if asleep else plane.running)[17] = [pod]
    control, autoscaler = await plane.start()
    settings = ProxySettings(
        certs=folder,
        control_address=control,
        autoscaler_address=autoscaler,
        port=0,
        limits=limits or ProxyLimits(),
        **others,
    )
    try:
        async with serve(settings) as service:
            await until(lambda: metrics.TENANTS_FOLLOWED._value.get() == 1)
            yield Setup(plane, pod, service, settings)
    finally:
        pod.stop()
        await plane.stop()


@asynccontextmanager
async def another_proxy(first: Setup, **others: Any) -> AsyncIterator[Setup]:
    """A second proxy of the same installation, with `others` of its settings its own."""
    settings = dataclasses.replace(first.settings, **{"listen_fds": (), **others})
    async with serve(settings) as service:
        yield Setup(first.plane, first.pod, service, settings)
