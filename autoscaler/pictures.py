"""A tenant's state in words, for people and for the API."""

from autoscaler.demand import pods_due
from autoscaler.fleet import Fleet
from autoscaler.pods import COMING, ENDING, SERVING, Phase, Pod
from autoscaler.proxies import Held
from autoscaler.tenants import Parking, Tenant
from dormouse.base.ids import TenantId
from proto.autoscaler_pb2 import (
    ASLEEP,
    DRAINING,
    RUNNING,
    WAKING,
    Hold,
    TenantPicture,
)

HOLDS_MAX = 5


def picture(fleet: Fleet, tenant: TenantId, held: Held, now: float) -> TenantPicture:
    """The live picture of one tenant, of which the proxies hold so much; state ASLEEP where no pod
    of it lives."""
    record = fleet.tenants.get(tenant)
    if record is None:
        return TenantPicture(tenant_id=tenant, state=ASLEEP, parked=held.parked)
    pods = record.in_phase()
    if record.in_phase(*SERVING):
        state, because = RUNNING, awake_because(record, now)
    elif coming := record.in_phase(*COMING):
        since = min([fleet.wakes.get(tenant, now), *(pod.since for pod in coming)])
        state, because = WAKING, f"waking for {now - since:.1f} s"
    elif tenant in fleet.wakes:
        state, because = WAKING, f"waits for a pod for {now - fleet.wakes[tenant]:.1f} s"
    elif record.in_phase(*ENDING):
        state, because = DRAINING, "its last pod is ending"
    else:
        state, because = ASLEEP, ""
    return TenantPicture(
        tenant_id=tenant,
        state=state,
        pods=len(pods),
        connections=record.sessions,
        awake_because=because,
        parked=held.parked,
        pods_wanted=pods_due(fleet, record),
        cpu_permille=sum(pod.cpu_permille for pod in pods),
        request_units_per_second=sum(pod.request_units.smooth for pod in pods),
        holds=[
            Hold(backend_pid=each.backend_pid, reason=each.reason)
            for pod in pods
            for each in pod.holds
        ][:HOLDS_MAX],
    )


def awake_because(record: Tenant, now: float) -> str:
    """What keeps a running tenant from sleeping."""
    pods = record.in_phase(*SERVING, Phase.DRAINING)
    if active := sum(pod.active for pod in pods):
        return f"{_sessions(active)} active"
    if transactions := sum(pod.transactions for pod in pods):
        return _held(pods, now) or f"{_sessions(transactions)} in a transaction"
    limits = record.limits
    if limits is None:
        return "its settings are not known yet"
    if limits.pods_min:
        return f"kept awake by its settings (pods_min {limits.pods_min})"
    if limits.idle_timeout is None:
        return "kept awake by its settings (it never sleeps)"
    if record.parking is Parking.SUSPEND:
        return "it is being suspended"
    if record.parking is Parking.IDLE and record.sessions:
        return _held(pods, now) or f"{_sessions(record.sessions)} being parked"
    return f"idle for {max(record.idle_at(now), 0.0):.0f} s of {limits.idle_timeout:g} s"


def _held(pods: list[Pod], now: float) -> str:
    """The session that has held its pod for the longest, in words; empty if none is known."""
    known = [(since, hold) for pod in pods for hold, since in pod.holds.items()]
    if not known:
        return ""
    since, hold = min(known, key=lambda entry: entry[0])
    return f"session {hold.backend_pid} for {now - since:.0f} s: {hold.reason}"


def _sessions(count: int) -> str:
    return f"{count} session" if count == 1 else f"{count} sessions"


def awake_tenants(fleet: Fleet) -> list[TenantId]:
    """All tenants that have a pod or wait for one."""
    return sorted(
        tenant for tenant, record in fleet.tenants.items() if record.pods or tenant in fleet.wakes
    )
