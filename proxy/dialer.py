"""Connections to pods: mutual TLS from the first byte, to a pod that proves whose it is.

A pod that cannot be reached, or takes no sessions now, is passed over for a while and another one
tried; where the picture has none the tenant is woken. That goes for a login as for a session that
is to be taken up.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable

from dormouse.base.errors import DormouseError, Unavailable
from dormouse.base.ids import PodId, TenantId
from dormouse.base.tls import Identity, peer_pod
from pgwire import link as links
from pgwire.errors import ProtocolViolation
from pgwire.link import LINK_OPTION, RESUME_OPTION, Link
from pgwire.startup import StartupMessage
from proto.autoscaler_pb2 import PodAddress
from proxy import metrics
from proxy.cancelkeys import Target
from proxy.door import Door, tune
from proxy.errors import pod_gone
from proxy.login import Login, PodRefused
from proxy.relay import PodLogin
from proxy.stopwatch import Stopwatch

LOGIN_ATTEMPTS_MAX = 6
RESUME_ATTEMPTS_MAX = 40
LOST_MAX = 3
"""So many pods may die over taking up one session."""
RETRY_SECONDS = 0.05
RETRY_SECONDS_MAX = 1.6
SHUTDOWN_SECONDS = 5.0

_CANCEL_LINK = Link.new(1)
_FAILURES = (OSError, TimeoutError, PodRefused, ProtocolViolation)

_log = logging.getLogger(__name__)


class PodUnfit(Exception):
    """A pod could not be reached, or takes no sessions."""


Seat = tuple[PodAddress, PodLogin]
"""A pod, and the connection to it."""


class Dialer:
    """Finds a pod for a session, waking the tenant where it has none."""

    def __init__(
        self, door: Door, tenant: TenantId, link: Link, watch: Stopwatch | None = None
    ) -> None:
        """On `watch` it laps the parts `wake`, `dial` and `login`."""
        self.woken = False
        self.login: Login | None = None
        """Of the last pod that was tried."""
        self.failure: DormouseError = Unavailable("the database takes no connections right now")
        """Why there is no pod, as long as there is none."""
        self._lost = 0
        self._watch = watch or Stopwatch(door.clock)
        self._door = door
        self._tenant = tenant
        self._link = link

    async def dial(self, startup: StartupMessage) -> Seat:
        """A pod that has begun to answer the startup message. Raises Unavailable, Rejected."""
        packet = self._linked(startup).build()

        async def begin(pod: PodAddress) -> PodLogin:
            return await self._send(await self.connect(pod), packet, resumes=False)

        return await self._find(begin, LOGIN_ATTEMPTS_MAX)

    async def resume(self, user: str, sealed: bytes, *, spare: Seat | None = None) -> Seat:
        """A pod that has taken the session up; `spare`, a connection that waits, is tried first.

        A wake that fails for now is tried again. Raises ResumeRefused, Unavailable, Rejected.
        """
        startup = StartupMessage({"user": user}, protocol_options={RESUME_OPTION: "on"})
        packet = self._linked(startup).build() + links.resume(sealed)
        slots = self._door.slots

        async def begin(pod: PodAddress) -> PodLogin:
            nonlocal spare
            if spare is not None:
                end, spare = spare[1], None
                return await self._take_up(end, packet)
            async with slots.one_of(self._tenant):
                return await self._take_up(await self.connect(pod, resumes=True), packet)

        first = None if spare is None else spare[0]
        return await self._find(begin, RESUME_ATTEMPTS_MAX, first=first, patient=True)

    async def connect(self, pod: PodAddress, *, resumes: bool = False) -> PodLogin:
        """A connection on which nothing has been said. Raises OSError, TimeoutError."""
        end = PodLogin(Login(self._link, resumes=resumes))
        try:
            async with asyncio.timeout(self._door.limits.dial_timeout):
                await connect(self._door, self._tenant, pod.sql_address, end)
        except BaseException:
            end.close()
            raise
        return end

    async def other_than(self, pod: PodId | None) -> PodAddress | None:
        """A pod for a session that is to leave `pod`. Raises Unavailable, Rejected."""
        pods = self._door.pods
        return pods.known(self._tenant, but=pod) or await pods.wake(self._tenant, but=pod)

    async def _find(
        self,
        begin: Callable[[PodAddress], Awaitable[PodLogin]],
        attempts_max: int,
        *,
        first: PodAddress | None = None,
        patient: bool = False,
    ) -> Seat:
        pods = self._door.pods
        for attempt in range(attempts_max):
            try:
                pod = first or pods.known(self._tenant) or await self._wake()
                first = None
                if pod is not None:
                    return pod, await self._begin(begin, pod)
            except PodUnfit:
                pass  # it is passed over now
            except DormouseError as error:
                if not patient or not error.retryable:
                    raise
                self.failure = error
            await asyncio.sleep(min(RETRY_SECONDS * 2**attempt, RETRY_SECONDS_MAX))
        raise self.failure

    async def _wake(self) -> PodAddress | None:
        self.woken = True
        self._watch.lap("dial")
        try:
            return await self._door.pods.wake(self._tenant)
        finally:
            self._watch.lap("wake")

    async def _begin(
        self, begin: Callable[[PodAddress], Awaitable[PodLogin]], pod: PodAddress
    ) -> PodLogin:
        """Raises PodUnfit."""
        try:
            return await begin(pod)
        except _FAILURES as error:
            self._watch.lap("dial")  # it was in vain
            self.not_taken(pod, error)
            raise PodUnfit from error

    async def _take_up(self, end: PodLogin, packet: bytes) -> PodLogin:
        try:
            async with asyncio.timeout(self._door.limits.dial_timeout):
                return await self._send(end, packet, resumes=True)
        except OSError as error:  # a timeout is one
            self.lose(error)
            raise

    def lose(self, error: Exception | None = None) -> None:
        """A pod has died over the session, or fallen silent. Raises Rejected when it is enough."""
        self._lost += 1
        if self._lost >= LOST_MAX:
            raise pod_gone() from error

    async def _send(self, end: PodLogin, packet: bytes, *, resumes: bool) -> PodLogin:
        """Say the first words and wait for the first answer, of a resumed session for the last."""
        self.login = end.login
        self._watch.lap("dial")
        try:
            if end.transport is not None:
                end.transport.write(packet)
            await (end.ready if resumes else end.answered)
        except BaseException:
            end.close()
            raise
        self._watch.lap("login")
        return end

    def not_taken(self, pod: PodAddress, error: Exception) -> None:
        """The pod could not be reached, or takes no sessions."""
        metrics.DIALS_FAILED.inc()
        extra = {"tenant": self._tenant, "pod": pod.pod_id, "cause": repr(error)}
        _log.info("pod takes no session", extra=extra)
        self._door.pods.refused(pod)

    def _linked(self, startup: StartupMessage) -> StartupMessage:
        options = {**startup.protocol_options, LINK_OPTION: self._link.option()}
        return StartupMessage(startup.parameters, startup.minor, options)


async def connect(door: Door, tenant: TenantId, address: str, end: PodLogin) -> None:
    """Connect `end` to a pod. Raises OSError (also for a pod that is not the tenant's)."""
    host, _, port = address.rpartition(":")
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: end,
        host.strip("[]"),
        int(port),
        ssl=door.pod_tls,
        server_hostname=Identity(tenant=tenant).server_name,
        ssl_handshake_timeout=door.limits.dial_timeout,
        ssl_shutdown_timeout=SHUTDOWN_SECONDS,
    )
    _refuse_revoked(door, tenant, transport)
    tune(transport.get_extra_info("socket"), door.limits.unread_timeout)


def _refuse_revoked(door: Door, tenant: TenantId, transport: asyncio.Transport) -> None:
    """Raises ConnectionError where the certificate is of a pod that is not to be spoken to."""
    if len(door.revocations):  # as a rule there are none, and a certificate takes time to read
        shown: ssl.SSLObject = transport.get_extra_info("ssl_object")
        if door.revocations.has(tenant, peer_pod(shown.getpeercert)):
            transport.abort()
            raise ConnectionError("the pod is revoked")


async def cancel(door: Door, target: Target) -> None:
    """Hand a cancel request to the session's pod, and wait until it has taken it."""
    end = PodLogin(Login(_CANCEL_LINK))
    try:
        async with asyncio.timeout(door.limits.dial_timeout):
            await connect(door, target.tenant, target.address, end)
            if end.transport is not None:
                end.transport.write(target.request.build())
            await end.ready  # the pod answers a cancel request by hanging up
    except _FAILURES as error:
        _log.debug("cancel handed over", extra={"tenant": target.tenant, "cause": repr(error)})
    finally:
        end.close()
