"""Connections to pods: mutual TLS from the first byte, to a pod that proves whose it is."""

import asyncio
import functools
import logging
from collections.abc import Callable

from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId
from dormouse.base.tls import Identity
from pgwire.errors import ProtocolViolation
from pgwire.startup import StartupMessage
from proto.autoscaler_pb2 import PodAddress
from proxy import metrics
from proxy.cancelkeys import Target
from proxy.door import Door, tune
from proxy.login import Login, PodRefused
from proxy.relay import End, PodLogin

ATTEMPTS_MAX = 6
RETRY_SECONDS = 0.05
SHUTDOWN_SECONDS = 5.0

_log = logging.getLogger(__name__)


NewKey = Callable[[PodAddress, int, bytes], bytes]
"""Takes the pod, its pid and secret; returns the secret to tell the client instead."""


class Dialer:
    """Finds the session's pod, waking the tenant where it has none."""

    def __init__(self, door: Door, tenant: TenantId, new_key: NewKey) -> None:
        self.woken = False
        self.login: Login | None = None
        self._door = door
        self._tenant = tenant
        self._new_key = new_key

    async def dial(self, startup: StartupMessage) -> tuple[PodAddress, PodLogin]:
        """A pod that has begun to answer the startup message. Raises Unavailable, Rejected."""
        pods = self._door.pods
        for attempt in range(ATTEMPTS_MAX):
            pod = pods.known(self._tenant)
            if pod is None:
                self.woken = True
                pod = await pods.wake(self._tenant)
            if pod is not None:
                end = await self._try(pod, startup)
                if end is not None:
                    return pod, end
                pods.refused(pod)
            await asyncio.sleep(RETRY_SECONDS * 2**attempt)
        raise Unavailable("the database takes no connections right now")

    async def _try(self, pod: PodAddress, startup: StartupMessage) -> PodLogin | None:
        end: PodLogin | None = None
        self.login = Login(functools.partial(self._new_key, pod))
        try:
            async with asyncio.timeout(self._door.limits.dial_timeout):
                end = await connect(
                    self._door, self._tenant, pod.sql_address, PodLogin(self.login, _nobody)
                )
                if end.transport is not None:
                    end.transport.write(startup.build())
            await end.answered
        except (OSError, TimeoutError, PodRefused, ProtocolViolation) as error:
            metrics.DIALS_FAILED.inc()
            extra = {"tenant": self._tenant, "pod": pod.pod_id, "cause": repr(error)}
            _log.info("pod takes no session", extra=extra)
            _close(end)
            return None
        except asyncio.CancelledError:
            _close(end)
            raise
        return end

    def woken_label(self) -> str:
        """For the metric."""
        return "yes" if self.woken else "no"


async def connect(door: Door, tenant: TenantId, address: str, end: PodLogin) -> PodLogin:
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
    tune(transport.get_extra_info("socket"))
    return end


async def cancel(door: Door, target: Target) -> None:
    """Hand a cancel request to the session's pod, and wait until it has taken it."""
    end = PodLogin(Login(lambda _pid, secret: secret), _nobody)
    try:
        async with asyncio.timeout(door.limits.dial_timeout):
            await connect(door, target.tenant, target.address, end)
            if end.transport is not None:
                end.transport.write(target.request.build())
            await end.ready  # the pod answers a cancel request by hanging up
    except (OSError, TimeoutError, ProtocolViolation, PodRefused) as error:
        _log.debug("cancel handed over", extra={"tenant": target.tenant, "cause": repr(error)})
    finally:
        _close(end)


def _nobody(_end: End) -> None:
    """A pod that is lost before it belongs to a session is nobody's loss."""


def _close(end: PodLogin | None) -> None:
    if end is not None and end.transport is not None:
        end.transport.close()
