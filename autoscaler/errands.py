"""What pods are asked to do about their end, and what is noted when they answer.

The fleet has noted each question before it is put, so a decision made meanwhile knows of it. An
answer that is lost leaves the pod's next report to tell what became of it.
"""

import logging
from collections.abc import Callable

import grpc.aio

from autoscaler import metrics
from autoscaler.actions import Why
from autoscaler.fleet import Fleet
from autoscaler.history import History
from autoscaler.podcontrol import PodControl
from autoscaler.pods import Cause, Pod
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

DRAIN_CALL_SECONDS = 3.0

_log = logging.getLogger(__name__)


class Errands:
    """The calls; each is run as a task of its own."""

    def __init__(
        self,
        fleet: Fleet,
        pods: PodControl,
        clock: Clock,
        history: History,
        ask_timeout: float,
        step: Callable[[TenantId | None], None],
    ) -> None:
        """`step` is called with the tenant whose pod has answered."""
        self._fleet = fleet
        self._pods = pods
        self._clock = clock
        self._history = history
        self._ask_timeout = ask_timeout
        self._step = step

    async def drain_if_idle(self, pod: Pod, cause: Cause, why: Why) -> None:
        """Have the pod end if nobody is connected."""
        try:
            drained = await self._pods.drain(pod, self._ask_timeout, if_idle=True, deadline_ms=0)
        except grpc.aio.AioRpcError as error:
            # It may have drained or not: its next report says, or its end does.
            _log.info("drain not answered", extra={"pod": pod.key, "code": error.code().name})
            drained = False
        now = self._clock.monotonic()
        if drained:
            action = "sleep" if cause is Cause.IDLE else cause.value
            self._history.explain(pod.tenant, action, why, pod)
            metrics.SUSPENDS.labels(cause.value).inc()
            self._fleet.pod_drained(pod, cause, now, now)
        else:
            self._fleet.drain_refused(pod, now)
        self._step(pod.tenant)

    async def drain(self, pod: Pod) -> None:
        """Tell the pod to take no more sessions and to end by its time."""
        left = max(pod.drain_until - self._clock.monotonic(), 0.0)
        try:
            await self._pods.drain(
                pod, DRAIN_CALL_SECONDS, if_idle=False, deadline_ms=round(1000 * left)
            )
        except grpc.aio.AioRpcError as error:
            # Ended before it could answer, or hung: then it is told again, and killed in the end.
            _log.info("drain not answered", extra={"pod": pod.key, "code": error.code().name})

    async def take_back(self, pod: Pod) -> None:
        """Ask the draining pod to take sessions again."""
        try:
            taken = await self._pods.take_back(pod, self._ask_timeout)
            outcome = "taken back" if taken else "too late"
        except grpc.aio.AioRpcError as error:
            _log.info("take back not answered", extra={"pod": pod.key, "code": error.code().name})
            taken, outcome = False, "no answer"
        metrics.TAKE_BACKS.labels(outcome).inc()
        if self._fleet.pods.get(pod.key) is pod:
            self._fleet.return_answered(pod, taken, self._clock.monotonic())
            self._step(pod.tenant)
