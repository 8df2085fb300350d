"""Who asks the pods how they are, and how often.

A pod that does something is asked once a second, and one that waits or naps less often: its tenant
falls asleep no later for it, because the pod says itself for how long nobody has used it. Each pod
is asked at a time of its own, so hundreds of them make a steady trickle of calls and no burst; one
that does not answer is not asked again before its call has failed.
"""

import asyncio
import logging
import random
from collections.abc import Callable

import grpc.aio

from autoscaler import metrics
from autoscaler.fleet import Fleet
from autoscaler.podcontrol import PodControl
from autoscaler.pods import Phase, Pod, PodKey
from autoscaler.tenants import Parking
from dormouse.base.clock import Clock
from dormouse.base.tasks import cancel, spawn

STATUS_TIMEOUT = 2.0
BUSY_SECONDS = 1.0
PARKING_SECONDS = 0.5
"""While its sessions are to go: each second it stays costs memory."""
NAP_AFTER = 20.0
NAP_SECONDS = 3.0
"""A tenant that nobody uses is seen to be used again after so long at the most."""
WARM_SECONDS = 10.0
JITTER = 0.1

_log = logging.getLogger(__name__)


class Poller:
    """Asks pods for their Status and notes the answers in the fleet."""

    def __init__(
        self,
        fleet: Fleet,
        pods: PodControl,
        clock: Clock,
        *,
        probe_timeout: float,
        answered: Callable[[Pod, Phase], None],
        unreachable: Callable[[Pod], None],
    ) -> None:
        """`answered` is called after an answer was noted, with the phase before it; `unreachable`
        where nothing listens there."""
        self._fleet = fleet
        self._pods = pods
        self._clock = clock
        self._probe_timeout = probe_timeout
        self._answered = answered
        self._unreachable = unreachable
        self._random = random.Random()
        self._calls: dict[PodKey, asyncio.Task[None]] = {}
        self._due: dict[PodKey, float] = {}

    def __repr__(self) -> str:
        return f"<Poller pods={len(self._due)} calls={len(self._calls)}>"

    def poll_due(self) -> None:
        """Ask those whose time has come."""
        now = self._clock.monotonic()
        for pod in list(self._fleet.pods.values()):
            due = self._due.get(pod.key)
            if due is None:
                # Pods that came together, as after our restart, are spread over their period.
                self._due[pod.key] = now + self._random.random() * BUSY_SECONDS
            elif due <= now and pod.phase not in (Phase.STAMPING, Phase.KILLED):
                self.poll(pod)

    def hurry(self, pod: Pod) -> None:
        """It has something new to tell: ask it within a second, although it was to rest."""
        soon = self._clock.monotonic() + self._random.random() * BUSY_SECONDS
        self._due[pod.key] = min(self._due.get(pod.key, soon), soon)

    def poll(self, pod: Pod, *, patient: bool = False) -> None:
        """Ask it now, unless it is being asked; `patient` waits for it to listen."""
        if pod.key not in self._calls:
            task = spawn(self._ask(pod, patient), name=f"status-{pod.key}")
            self._calls[pod.key] = task
            task.add_done_callback(lambda _: self._calls.pop(pod.key, None))

    def forget(self, pod: Pod) -> None:
        """The pod is no more."""
        self._due.pop(pod.key, None)

    async def close(self) -> None:
        """Give up all calls."""
        await cancel(*self._calls.values())

    async def _ask(self, pod: Pod, patient: bool) -> None:
        timeout = self._probe_timeout if patient else STATUS_TIMEOUT
        try:
            report = await self._pods.status(pod, timeout, patient=patient)
        except grpc.aio.AioRpcError as error:
            metrics.STATUS_FAILURES.inc()
            _log.debug("no status", extra={"pod": pod.key, "code": error.code().name})
            self._fleet.pod_missed(pod)
            self._schedule(pod)
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                self._unreachable(pod)
            return
        if self._fleet.pods.get(pod.key) is pod:
            before = pod.phase
            self._fleet.pod_answered(pod, report, self._clock.monotonic())
            self._schedule(pod)
            self._answered(pod, before)

    def _schedule(self, pod: Pod) -> None:
        if self._fleet.pods.get(pod.key) is pod:
            now = self._clock.monotonic()
            period = self._period(pod, now)
            self._due[pod.key] = now + period * (1 + JITTER * (2 * self._random.random() - 1))

    def _period(self, pod: Pod, now: float) -> float:
        if pod.phase is Phase.WARM:
            return WARM_SECONDS
        record = self._fleet.tenants.get(pod.tenant) if pod.tenant is not None else None
        if record is None or pod.phase is not Phase.RUNNING:
            return BUSY_SECONDS
        if record.parking is not Parking.NO:
            return PARKING_SECONDS
        timeout = record.limits.idle_timeout if record.limits else None
        soon = timeout is not None and pod.idle_at(now) + NAP_SECONDS >= timeout
        return NAP_SECONDS if pod.idle_at(now) >= NAP_AFTER and not soon else BUSY_SECONDS
