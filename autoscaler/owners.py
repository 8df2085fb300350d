"""A tenant's owner has a new password: every pod of the tenant is told, and none is missed.

    control: registry ── SetOwner ──▶ pods that run, drain or have not said yet whose they are
                            └───────▶ stamps under way: their certificate may have been issued with
                                      the old password, so they are told before anybody may use them

Who asks is answered when every pod knows. A pod that does not answer makes the answer a failure,
unless it is no more by then; control asks again until it succeeds, so a restart of this process in
between misses nobody either.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio

from autoscaler import metrics
from autoscaler.controller import Controller
from autoscaler.pods import OWNED, Phase, Pod
from dormouse.base.ids import TenantId
from proto.pod_pb2 import Owner

CALL_SECONDS = 2.0
_TOLD = tuple(OWNED - {Phase.STAMPING})
_NOT_ITS_OWN = grpc.StatusCode.FAILED_PRECONDITION
"""What a pod answers that is another tenant's, or nobody's."""

_log = logging.getLogger(__name__)


class NotTold(Exception):
    """Some pod may not know the new password."""


@dataclass(eq=False, slots=True)
class Stamping:
    """A stamp under way, and the newest owner that control told of since it began."""

    owner: Owner | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Owners:
    """Tells the controller's pods."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._stamping: dict[TenantId, set[Stamping]] = {}

    def __repr__(self) -> str:
        return f"<Owners stamping={sorted(self._stamping)}>"

    @asynccontextmanager
    async def stamping(self, tenant: TenantId) -> AsyncIterator[Stamping]:
        """Around a stamp, from before its owner is asked for until the pod is known to run."""
        stamping = Stamping()
        self._stamping.setdefault(tenant, set()).add(stamping)
        try:
            yield stamping
        finally:
            stamping.over.set()
            self._stamping[tenant].discard(stamping)
            if not self._stamping[tenant]:
                del self._stamping[tenant]

    async def until_stamped(self) -> None:
        """Wait for the stamps that are under way now, however they end."""
        for stamping in [each for those in self._stamping.values() for each in those]:
            await stamping.over.wait()

    async def catch_up(self, tenant: TenantId, pod: Pod, stamping: Stamping, known: Owner) -> None:
        """Tell the pod just stamped what came while it was. Raises grpc.aio.AioRpcError."""
        while (owner := stamping.owner) is not None and owner != known:
            await self._controller.pods.set_owner(pod, tenant, owner, CALL_SECONDS)
            known = owner

    async def set(self, tenant: TenantId, owner: Owner) -> int:
        """Return when every pod of the tenant knows; how many were told. Raises NotTold."""
        fleet = self._controller.fleet
        if not fleet.connected:
            raise NotTold("the pods are not known")
        under_way = list(self._stamping.get(tenant, ()))
        for stamping in under_way:
            stamping.owner = owner
        pods = [*fleet.of(tenant, *_TOLD), *fleet.in_phase(Phase.PROBING)]
        told = await asyncio.gather(*(self._tell(pod, tenant, owner) for pod in pods))
        for stamping in under_way:
            await stamping.over.wait()
        _log.info("owner's password told", extra={"tenant": tenant, "pods": sum(told)})
        return sum(told)

    async def _tell(self, pod: Pod, tenant: TenantId, owner: Owner) -> bool:
        """Whether the pod is the tenant's and knows. Raises NotTold."""
        try:
            await self._controller.pods.set_owner(pod, tenant, owner, CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            is_gone = self._controller.fleet.pods.get(pod.key) is not pod
            if is_gone or error.code() is _NOT_ITS_OWN:
                return False
            metrics.OWNERS_NOT_TOLD.inc()
            extra = {"tenant": tenant, "pod": pod.key, "code": error.code().name}
            _log.warning("a pod may not know its owner's password", extra=extra)
            raise NotTold(f"pod {pod.key} does not answer") from error
        return True
