"""The picture the autoscaler decides on: every pod and tenant, and since when they are as they are.

Methods are named for what has happened, take the time as an argument, and never wait or speak to
anybody. What a pod goes through is drawn in `pods.py`.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from autoscaler.pods import Cause, Phase, Pod, PodKey, Report
from autoscaler.pool import WakeRate
from autoscaler.scale import ScalePolicy, TenantLoad
from autoscaler.tenants import Limits, Parking, Tenant
from dormouse.base.ids import PodId, TenantId

if TYPE_CHECKING:
    from autoscaler.runtimes.base import Living


FORK_BACKOFF_SECONDS = 0.2
FORK_BACKOFF_MAX_SECONDS = 10.0
GROW_BACKOFF_SECONDS = 1.0
GROW_BACKOFF_MAX_SECONDS = 60.0
DRAIN_SECONDS_UNKNOWN = 600.0
"""How long a pod may drain that was told to before we came, until it is killed."""
LOADS_KEPT_MAX = 1000
"""Loads of tenants that have just fallen asleep; the oldest are forgotten."""


class Fleet:
    """All pods, the forks under way, the tenants that have pods or wait for one."""

    def __init__(self, scale: ScalePolicy | None = None) -> None:
        self.connected = False
        """Whether the runtime can be asked for anything."""
        self.generation = 0
        """The newest: of the pods that are forked from now on."""
        self.pods: dict[PodKey, Pod] = {}
        self.tenants: dict[TenantId, Tenant] = {}
        self.starting: dict[int, float] = {}
        """Tickets of forks that are under way, and when they were asked for."""
        self.wakes: dict[TenantId, float] = {}
        """Tenants that wait for a pod, and since when."""
        self.wake_rate = WakeRate()
        self.fork_after = 0.0
        self.claimed_at = float("-inf")
        self._forking: dict[PodKey, float] = {}
        """When pods that are not warm yet were asked for."""
        self._fork_failures = 0
        self.replace_after = 0.0
        self._replace_failures = 0
        self._scale = scale or ScalePolicy()
        self._naps: OrderedDict[TenantId, TenantLoad] = OrderedDict()

    def __repr__(self) -> str:
        phases = Counter(pod.phase.value for pod in self.pods.values())
        counts = " ".join(f"{name}={count}" for name, count in sorted(phases.items()))
        link = "connected" if self.connected else "cut off"
        return f"<Fleet {link} starting={len(self.starting)} wakes={list(self.wakes)} [{counts}]>"

    def count(self, phase: Phase) -> int:
        """How many pods are in a phase."""
        return sum(pod.phase is phase for pod in self.pods.values())

    def in_phase(self, *phases: Phase) -> Iterator[Pod]:
        """The pods in these phases, oldest first."""
        return (pod for pod in self.pods.values() if pod.phase in phases)

    def of(self, tenant: TenantId, *phases: Phase) -> list[Pod]:
        """The tenant's pods in these phases (in any, if none is named)."""
        record = self.tenants.get(tenant)
        return record.in_phase(*phases) if record is not None else []

    # The runtime

    def runtime_connected(
        self, living: "Mapping[PodKey, Living]", generation: int, now: float
    ) -> list[Pod]:
        """The runtime (again) says which pods live. Returns those that do no longer."""
        self.connected, self.generation = True, generation
        self.starting.clear()
        ended = [pod for key, pod in self.pods.items() if key not in living]
        for pod in ended:
            self._remove(pod, now)
        for key, each in living.items():
            if key not in self.pods:
                self.pod_started(0, key, each.control_address, each.generation, now)
        return ended

    def runtime_lost(self) -> None:
        """Nothing can be asked for now, and forks under way will not be told of."""
        self.connected = False
        self.starting.clear()

    def fork_asked(self, ticket: int, now: float) -> None:
        """A pod was asked for."""
        self.starting[ticket] = now

    def forks_forgotten(self, before: float) -> None:
        """Forks asked for before that time are given up; a pod that comes yet is welcome."""
        self.starting = {ticket: at for ticket, at in self.starting.items() if at >= before}

    def fork_failed(self, ticket: int, now: float) -> None:
        """It will not come; the next try waits a while."""
        self.starting.pop(ticket, None)
        self._back_off(now)

    def pod_started(
        self, ticket: int, key: PodKey, control_address: str, generation: int, now: float
    ) -> Pod:
        """A pod's control port answers."""
        asked = self.starting.pop(ticket, None)
        if asked is not None:
            self._forking[key] = asked
        pod = Pod(key, control_address, generation, Phase.PROBING, now, now, now)
        self.pods[key] = pod
        self.generation = max(self.generation, generation)
        return pod

    def pod_ended(self, key: PodKey, now: float) -> Pod | None:
        """A pod is no more."""
        pod = self.pods.get(key)
        if pod is not None:
            self._remove(pod, now)
            if pod.phase in (Phase.PROBING, Phase.WARM):
                self._back_off(now)  # a pod that cannot even wait would be forked in a circle
        return pod

    def pod_vanished(self, pod: Pod, now: float) -> None:
        """A pod ended with its runtime: no fault of its own, so the next fork need not wait."""
        self._remove(pod, now)

    def _lives(self, pod: Pod) -> bool:
        return self.pods.get(pod.key) is pod

    def _remove(self, pod: Pod, now: float) -> None:
        self.pods.pop(pod.key, None)
        self._forking.pop(pod.key, None)
        if pod.tenant is not None:
            record = self.tenants[pod.tenant]
            record.pods.pop(pod.key, None)
            self._forget_if_done(record, now)

    def _back_off(self, now: float) -> None:
        delay = FORK_BACKOFF_SECONDS * 2 ** min(self._fork_failures, 10)
        self._fork_failures += 1
        self.fork_after = now + min(delay, FORK_BACKOFF_MAX_SECONDS)

    # Tenants

    def tenant(self, tenant: TenantId) -> Tenant:
        """The tenant's record; a new one where there is none."""
        record = self.tenants.get(tenant)
        if record is None:
            load = self._naps.pop(tenant, None) or TenantLoad(self._scale)
            record = self.tenants[tenant] = Tenant(tenant, load)
        return record

    def limits_told(self, tenant: TenantId, limits: Limits, now: float) -> None:
        """Control said what the tenant's settings are, whether it is awake or not."""
        if tenant in self.tenants or limits.pods_min > 0:
            record = self.tenant(tenant)
            record.learn(limits)
            self._forget_if_done(record, now)

    def tenant_deleted(self, tenant: TenantId, now: float, *, version: int = 0) -> None:
        """There is no such tenant (any more), as of this version of its settings: nothing is kept
        ready for it."""
        record = self.tenants.get(tenant)
        if record is not None:
            record.deleted(version)
            self._forget_if_done(record, now)

    def tenant_parking(self, record: Tenant, parking: Parking, now: float) -> None:
        """Its sessions are to be parked from now on, or no longer."""
        record.parking, record.parking_since = parking, now

    def grow_failed(self, tenant: TenantId, cause: Cause, now: float) -> None:
        """A pod that nobody waited for could not be had; the next try waits a while. Where newer
        code is at fault, so does every tenant's."""
        if (record := self.tenants.get(tenant)) is not None:
            record.grow_after = now + _grow_delay(record.grow_failures)
            record.grow_failures += 1
        if cause is Cause.REPLACE:
            self.replace_after = now + _grow_delay(self._replace_failures)
            self._replace_failures += 1

    def _forget_if_done(self, record: Tenant, now: float) -> None:
        kept = record.limits is not None and record.limits.pods_min > 0
        if record.pods or kept or record.id in self.wakes:
            return
        self.tenants.pop(record.id, None)
        if now - record.load.sampled_at < self._scale.window_seconds:
            self._naps[record.id] = record.load
            while len(self._naps) > LOADS_KEPT_MAX:
                self._naps.popitem(last=False)

    def _own(self, pod: Pod, tenant: TenantId) -> None:
        pod.tenant = tenant
        self.tenant(tenant).pods[pod.key] = pod

    def _disown(self, pod: Pod, now: float) -> None:
        if pod.tenant is not None:
            record = self.tenants[pod.tenant]
            pod.tenant = None
            record.pods.pop(pod.key, None)
            self._forget_if_done(record, now)

    # What pods say

    def pod_answered(self, pod: Pod, report: Report, now: float) -> None:
        """A Status call was answered. The pod's own word is the truth about what it is."""
        pod.answered_at, pod.misses = now, 0
        pod.public_key, pod.pod_id = report.public_key, report.pod_id
        if report.tenant is None:
            if pod.phase is Phase.PROBING:
                self._warm(pod, now)
            return
        if pod.phase in (Phase.STAMPING, Phase.KILLED):
            return  # the stamp's own answer decides
        if pod.tenant is None:
            self._own(pod, report.tenant)
        self._note_report(pod, report, now)
        self._note_drain(pod, report, now)

    def _warm(self, pod: Pod, now: float) -> None:
        pod.enter(Phase.WARM, now)
        self._fork_failures = 0
        asked = self._forking.pop(pod.key, None)
        if asked is not None:
            self.wake_rate.forked(now - asked)

    def _note_report(self, pod: Pod, report: Report, now: float) -> None:
        pod.sql_address = report.sql_address
        pod.sessions, pod.active = report.sessions, report.active
        pod.transactions = report.transactions
        pod.holds = {each: pod.holds.get(each, now) for each in report.holds}
        pod.idle_seconds = report.idle_seconds
        pod.cores.add(now, report.cpu_micros / 1e6)
        pod.request_units.add(now, report.request_units)

    def _note_drain(self, pod: Pod, report: Report, now: float) -> None:
        if pod.phase in (Phase.PROBING, Phase.WARM):
            pod.enter(Phase.RUNNING, now)
        match pod.phase:
            case Phase.RUNNING | Phase.ASKING if report.draining:
                # When it ends is the pod's own to know: it was told by another, or by itself.
                until = now + DRAIN_SECONDS_UNKNOWN if report.sessions else now
                self.pod_drained(pod, Cause.ITSELF, until, now)
            case Phase.DRAINING:
                pod.drain_told = report.draining
                if report.draining and not report.sessions:
                    pod.drain_until = min(pod.drain_until, now)

    def pod_missed(self, pod: Pod) -> None:
        """A Status call was not answered in time."""
        pod.misses += 1

    # Wakes

    def wake_asked(self, tenant: TenantId, since: float) -> None:
        """A tenant wants a pod, and has done so since then."""
        self.wakes.setdefault(tenant, since)
        self.tenant(tenant)

    def wake_settled(self, tenant: TenantId, now: float) -> None:
        """It has one, or nobody waits any more."""
        self.wakes.pop(tenant, None)
        if (record := self.tenants.get(tenant)) is not None:
            self._forget_if_done(record, now)

    def tenant_called(self, tenant: TenantId, now: float) -> None:
        """Somebody asked where its pods are, and is about to connect."""
        if (record := self.tenants.get(tenant)) is not None:
            record.woken_at = now

    def pod_claimed(self, pod: Pod, tenant: TenantId, cause: Cause, now: float) -> None:
        """The pod is the tenant's, though it does not know yet."""
        self._own(pod, tenant)
        self.wakes.pop(tenant, None)
        pod.claimed_for, pod.stands_in = cause, cause is Cause.REPLACE
        pod.enter(Phase.STAMPING, now)
        self.wake_rate.note(now)
        self.claimed_at = now

    def pod_released(self, pod: Pod, now: float) -> None:
        """The claimed pod was told nothing and is anybody's again."""
        if pod.phase is Phase.STAMPING and self._lives(pod):
            self._disown(pod, now)
            pod.enter(Phase.WARM, now)

    def pod_unstamped(self, pod: Pod, now: float) -> None:
        """The pod was sent a stamp and says that it is unstamped as before."""
        if pod.phase is Phase.STAMPING and self._lives(pod):
            self._disown(pod, now)
            pod.enter(Phase.PROBING, now)

    def pod_stamped(
        self, pod: Pod, pod_id: PodId, sql_address: str, limits: Limits, now: float
    ) -> None:
        """The pod takes its tenant's sessions."""
        pod.pod_id, pod.sql_address = pod_id, sql_address
        pod.answered_at, pod.idle_seconds, pod.sessions = now, 0.0, 0
        pod.enter(Phase.RUNNING, now)
        if pod.tenant is not None:
            record = self.tenant(pod.tenant)
            record.learn(limits)
            record.grow_failures = 0
            if pod.claimed_for is Cause.REPLACE:
                self._replace_failures = 0

    # Ends

    def drain_asked(self, pod: Pod, now: float) -> None:
        """The pod was asked to drain if nobody is connected."""
        pod.enter(Phase.ASKING, now)

    def drain_refused(self, pod: Pod, now: float) -> None:
        """Somebody was connected, or we do not know; the pod's next report tells."""
        if pod.phase is Phase.ASKING:
            pod.idle_seconds, pod.answered_at = 0.0, now
            pod.enter(Phase.RUNNING, now)

    def pod_drained(self, pod: Pod, cause: Cause, until: float, now: float) -> None:
        """The pod takes no more sessions and ends by itself after `until`, if not sooner."""
        if pod.phase is Phase.KILLED or not self._lives(pod):
            return
        again = pod.phase in (Phase.DRAINING, Phase.RETURNING)
        pod.drain_until = min(pod.drain_until, until) if again else until
        pod.drain_cause, pod.drain_told = cause, True
        pod.returnable = cause is Cause.SCALE_DOWN
        pod.enter(Phase.DRAINING, now)
        if pod.tenant is not None and not again:
            self._note_drained(self.tenant(pod.tenant), cause, now)

    def _note_drained(self, record: Tenant, cause: Cause, now: float) -> None:
        if cause is Cause.SCALE_DOWN:
            record.drained_at = now
        elif cause is Cause.REPLACE:
            stand_in = next((pod for pod in record.pods.values() if pod.stands_in), None)
            if stand_in is not None:
                stand_in.stands_in = False

    def return_asked(self, pod: Pod, now: float) -> None:
        """The draining pod was asked to take sessions again."""
        pod.returnable = False  # asked once: what it answers is final
        pod.enter(Phase.RETURNING, now)

    def return_answered(self, pod: Pod, taken_back: bool, now: float) -> None:
        """It does, or goes on draining."""
        if pod.phase is Phase.RETURNING:
            pod.enter(Phase.RUNNING if taken_back else Phase.DRAINING, now)

    def pod_killed(self, pod: Pod, now: float) -> None:
        """The runtime was told to kill it."""
        pod.phase, pod.since = Phase.KILLED, now


def _grow_delay(failures: int) -> float:
    return min(GROW_BACKOFF_SECONDS * 2.0 ** min(failures, 10), GROW_BACKOFF_MAX_SECONDS)
