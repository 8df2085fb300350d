"""What the autoscaler asks of a pod (proto/pod.proto), and the pod's state behind it.

A stamp is one RPC and takes no step twice: credentials from the pod's own key and the certificate
that came, the storage stream, the catalog in one scan, the SQL listener; each phase is timed. A
pod whose stamp failed is of no more use and ends: the autoscaler takes another. The exception is a
storage that does not answer, for another pod would fare no better: the pod is then unstamped as
before, under a new key, so that the certificate it was sent proves nothing any more.

    serving ◀──Drain / TakeBack──▶ draining ──last connection gone──▶ ended
    listens and logs in            listens and says 57P03        deadline: sessions get 57P01
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dormouse.base.clock import Clock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.renewal import LiveCredentials, is_for, switching
from dormouse.base.rpc import make_channel
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Credentials, Identity, Role
from pgwire.scram import Verifier
from proto.control_pb2 import SpendLeave
from proto.control_pb2_grpc import ControlStub
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
)
from proto.pod_pb2_grpc import PodServicer
from sqlnode import priority
from sqlnode.accounts import Accounts, PodCounters
from sqlnode.config import PodSettings
from sqlnode.metering import Metering
from sqlnode.server import SqlServer
from sqlnode.session.moving import RUNNING, present_reason
from sqlnode.session.session import Session
from sqlnode.session.tenant import Tenant
from sqlnode.spending.follower import SpendFollower
from sqlnode.spending.leave import Leave
from sqlnode.spending.scale import Scale
from sqlnode.spending.spending import Spending
from sqlnode.stamping import Phases, StorageAway, open_tenant
from sqlnode.statements.reports import StatementReports

if TYPE_CHECKING:
    from typing import Any

    _Context = grpc.aio.ServicerContext[Any, Any]

PROTOCOL_VERSION = 1
HOLDS_MAX = 5
"""Sessions that are named as keeping their pod."""
_log = logging.getLogger(__name__)


def make_key() -> ec.EllipticCurvePrivateKey:
    """A pod's key pair; the private half never leaves the process."""
    return ec.generate_private_key(ec.SECP256R1())


class PodService(PodServicer):
    """The pod's side of proto/pod.proto. `ended` is set when the pod has nothing left to do."""

    def __init__(
        self, settings: PodSettings, *, key: ec.EllipticCurvePrivateKey, clock: Clock
    ) -> None:
        self._settings = settings
        self._key = key
        self._clock = clock
        self._pod_id = PodId(secrets.randbits(64) or 1)
        self._stamped = False
        self._draining = False
        self._tenant: Tenant | None = None
        self._server: SqlServer | None = None
        self._accounts: Accounts | None = None
        self._metering: Metering | None = None
        self._statements: StatementReports | None = None
        self._follower: SpendFollower | None = None
        self._control: grpc.aio.Channel | None = None
        self._credentials: LiveCredentials | None = None
        self._sql_address = ""
        self._deadline: asyncio.Task[None] | None = None
        self._born = clock.monotonic()
        self.ended = asyncio.Event()
        self.rehearsal: asyncio.Task[None] | None = None
        """What a warm pod does to pass the time."""

    # --- Stamp -------------------------------------------------------------------------------

    async def Stamp(self, request: StampRequest, context: "_Context") -> StampReply:  # noqa: N802
        """See proto/pod.proto."""
        if request.protocol_version != PROTOCOL_VERSION:
            text = f"this pod speaks version {PROTOCOL_VERSION}"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        if self._stamped or self._draining:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "stamped or draining")
        verifier = Verifier.parse(request.owner.scram_verifier)
        if verifier is None or not request.tenant_id or not request.owner.name:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tenant or owner not usable")
            raise RuntimeError("abort raises")
        self._stamped = True
        priority.OWN.restore()  # from here on somebody waits for it
        await cancel(self.rehearsal)
        phases = Phases()
        try:
            await self._become(request, verifier, phases)
        except StorageAway:
            _log.warning("storage does not answer", extra={"tenant": request.tenant_id})
            self._key, self._stamped = make_key(), False
            await context.abort(grpc.StatusCode.ABORTED, "storage does not answer")
        except asyncio.CancelledError:
            _log.warning("whoever stamped is gone", extra={"tenant": request.tenant_id})
            self.stop()
            raise
        except Exception:
            _log.exception("stamp failed", extra={"tenant": request.tenant_id})
            self.stop()
            raise
        _log.info("stamped", extra={"tenant": request.tenant_id, "phases": str(phases)})
        return StampReply(
            protocol_version=PROTOCOL_VERSION,
            sql_address=self._sql_address,
            pod_id=self._pod_id,
            phases=phases.reply(),
        )

    async def _become(self, request: StampRequest, verifier: Verifier, phases: Phases) -> None:
        credentials = LiveCredentials(self._certified(request.certificate, request.authority))
        self._credentials = credentials
        tls = switching(credentials.tls_server, lambda: credentials.tls_server)
        phases.end("credentials")
        tenant = await open_tenant(
            request, verifier, credentials, self._settings, self._clock, self._pod_id
        )
        phases.end("storage and catalog")
        tenant.draining = self._draining
        self._tenant = tenant
        self._server = SqlServer(tenant, context=tls, on_gone=self._connection_gone)
        port = await self._server.start(self._settings.host)
        self._sql_address = f"{self._settings.host}:{port}"
        self._accounts = Accounts(
            PodCounters(tenant, self._server), self._clock, share=tenant.costs.share_cpu
        )
        scale = Scale(self._accounts, tenant.kv.usage, self._clock)
        leave = SpendLeave.FromString(request.spending)
        tenant.spending.begin_with(Leave.of_message(leave), scale)
        if request.control_address:
            self._meter(request, credentials, self._accounts, tenant.spending)
            self._report_statements(self._accounts, tenant)
        phases.end("listener")

    def _meter(
        self,
        request: StampRequest,
        credentials: LiveCredentials,
        accounts: Accounts,
        spending: Spending,
    ) -> None:
        # Connected by the first report: the first client does not wait for it.
        control = Identity(role=Role.CONTROL)
        self._control = make_channel(request.control_address, credentials, control)
        stub = ControlStub(self._control)
        tenant_id = TenantId(request.tenant_id)
        metering = self._metering = Metering(
            accounts,
            stub.ReportUsage,
            self._clock,
            tenant=tenant_id,
            pod=self._pod_id,
            leave=lambda: spending.leave.number,
        )
        metering.start()
        follower = self._follower = SpendFollower(
            spending, stub, metering.tell, tenant=tenant_id, pod=self._pod_id
        )
        follower.start()
        spending.on_need(metering.hurry, follower.hurry)

    def _report_statements(self, accounts: Accounts, tenant: Tenant) -> None:
        if self._control is None:
            raise RuntimeError("there is nobody to report to")
        self._statements = StatementReports(
            tenant.costs,
            accounts.used,
            ControlStub(self._control).ReportStatements,
            tenant=tenant.id,
            pod=self._pod_id,
        )
        self._statements.start()

    # --- What changes later -------------------------------------------------------------------

    async def SetOwner(  # noqa: N802
        self, request: SetOwnerRequest, context: "_Context"
    ) -> SetOwnerReply:
        """See proto/pod.proto."""
        tenant = await self._of_tenant(request.tenant_id, context)
        verifier = Verifier.parse(request.owner.scram_verifier)
        if verifier is None or request.owner.name != tenant.owner:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "owner not usable")
            raise RuntimeError("abort raises")
        tenant.owner_verifier = verifier
        _log.info("owner's password replaced", extra={"tenant": tenant.id})
        return SetOwnerReply()

    async def Renew(self, request: RenewRequest, context: "_Context") -> RenewReply:  # noqa: N802
        """See proto/pod.proto."""
        tenant = await self._of_tenant(request.tenant_id, context)
        renewed = self._certified(request.certificate, request.authority)
        if self._credentials is None or not is_for(renewed, tenant.id):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this pod's certificate")
            raise RuntimeError("abort raises")
        self._credentials.replace(renewed)
        _log.info("certificate replaced", extra={"tenant": tenant.id})
        return RenewReply()

    def _certified(self, certificate: bytes, authority: bytes) -> Credentials:
        key = self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return Credentials(key=key, certificate=certificate, authority=authority)

    async def _of_tenant(self, number: int, context: "_Context") -> Tenant:
        """What was stamped, if it was for that tenant; otherwise the call is refused."""
        tenant = self._tenant
        if tenant is None or tenant.id != number:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not that tenant's pod")
            raise RuntimeError("abort raises")
        return tenant

    # --- Drain -------------------------------------------------------------------------------

    async def Drain(self, request: DrainRequest, context: "_Context") -> DrainReply:  # noqa: N802
        """See proto/pod.proto. The deadline of the last call counts."""
        connections = self._connections()
        if request.if_idle and connections:
            return DrainReply(drained=False)
        self._drain()
        if connections:
            await cancel(self._deadline)
            seconds = request.deadline_ms / 1000
            self._deadline = spawn(self._end_in(seconds), name="drain deadline")
        return DrainReply(drained=True)

    async def TakeBack(  # noqa: N802
        self, request: TakeBackRequest, context: "_Context"
    ) -> TakeBackReply:
        """See proto/pod.proto. A pod that is not draining has nothing to be taken back from."""
        if self._tenant is None or self.ended.is_set():
            return TakeBackReply(taken_back=False)
        await cancel(self._deadline)
        self._deadline = None
        if self._draining:
            self._draining = self._tenant.draining = False
            _log.info("taken back", extra={"connections": self._connections()})
        return TakeBackReply(taken_back=True)

    def _connections(self) -> int:
        return self._server.connections if self._server is not None else 0

    def _drain(self) -> None:
        """From here on no session is taken; without any the pod ends. Nothing awaits in here."""
        if not self._draining:
            self._draining = True
            _log.info("draining", extra={"connections": self._connections()})
        if self._tenant is not None:
            self._tenant.draining = True
        self._connection_gone()

    def _connection_gone(self) -> None:
        if self._draining and not self._connections():
            self.ended.set()

    async def _end_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._server is not None:
            _log.warning("sessions ended at the deadline", extra={"left": self._connections()})
            await self._server.end_connections()

    def stop(self) -> None:
        """SIGTERM: end now; sessions get 57P01."""
        self._drain()
        if self._server is not None:
            self._server.end_sessions()
        self.ended.set()

    async def close(self) -> None:
        """Let go of everything."""
        await cancel(self._deadline, self.rehearsal)
        if self._server is not None:
            await self._server.close()
        if self._tenant is not None:
            await self._tenant.kv.close()
        if self._follower is not None:
            await self._follower.close()
        metering, self._metering = self._metering, None
        if metering is not None:
            await metering.close(self._settings.report_seconds)
        statements, self._statements = self._statements, None
        if statements is not None:
            await statements.close(self._settings.statement_report_seconds)
        if self._control is not None:
            await self._control.close(None)

    # --- Status ------------------------------------------------------------------------------

    async def Status(self, request: StatusRequest, context: "_Context") -> StatusReply:  # noqa: N802
        """See proto/pod.proto."""
        times = os.times()
        reply = StatusReply(
            protocol_version=PROTOCOL_VERSION,
            pod_id=self._pod_id,
            cpu_micros=int((times.user + times.system) * 1_000_000),
            draining=self._draining,
            public_key=self._key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            ),
        )
        tenant = self._tenant
        if tenant is None:
            reply.idle_ms = int((self._clock.monotonic() - self._born) * 1000)
            return reply
        sessions = tenant.sessions.values()
        reply.tenant_id = tenant.id
        reply.sql_address = self._sql_address
        reply.sessions = len(sessions)
        reply.transactions = sum(each.transactions.active for each in sessions)
        reply.active = tenant.active
        reply.idle_ms = int(tenant.idle_seconds * 1000)
        reply.holds.extend(holds(sessions))
        if self._accounts is not None:
            reply.usage.CopyFrom(self._accounts.usage())
        return reply


def holds(sessions: Iterable[Session]) -> list[Hold]:
    """A few sessions that could not be given away now, and why: before those that only run a
    statement those that will still be there when it is over."""
    reasons = ((present_reason(each), each.pid) for each in sessions)
    held = sorted(((r == RUNNING, pid, r) for r, pid in reasons if r))[:HOLDS_MAX]
    return [Hold(backend_pid=pid, reason=reason) for _, pid, reason in held]
