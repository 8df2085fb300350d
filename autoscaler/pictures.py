"""A tenant's state in words, for people and for the API."""

from autoscaler.fleet import Fleet, Phase
from dormouse.base.ids import TenantId
from proto.autoscaler_pb2 import ASLEEP, DRAINING, RUNNING, WAKING, TenantPicture


def picture(fleet: Fleet, tenant: TenantId, now: float) -> TenantPicture:
    """The live picture of one tenant; state ASLEEP where nothing of it lives."""
    awake = fleet.of(tenant, Phase.RUNNING, Phase.ASKING)
    stamping = fleet.of(tenant, Phase.STAMPING)
    ending = fleet.of(tenant, Phase.DRAINING, Phase.KILLED)
    pods = [*awake, *stamping, *ending]
    sessions = sum(pod.sessions for pod in pods)
    if awake:
        state = RUNNING
        idle = min(pod.idle_at(now) for pod in awake)
        known = [pod.idle_timeout for pod in awake if pod.idle_timeout is not None]
        limit = f" of {max(known):.0f} s" if known else ""
        because = f"{sessions} sessions" if sessions else f"idle for {idle:.0f} s{limit}"
    elif stamping or tenant in fleet.wakes:
        state = WAKING
        since = min([fleet.wakes.get(tenant, now), *(pod.since for pod in stamping)])
        because = f"waking for {now - since:.1f} s"
    elif ending:
        state, because = DRAINING, "its last pod is ending"
    else:
        state, because = ASLEEP, ""
    return TenantPicture(
        tenant_id=tenant,
        state=state,
        pods=len(pods),
        connections=sessions,
        awake_because=because,
    )


def awake_tenants(fleet: Fleet) -> list[TenantId]:
    """All tenants that have a pod or wait for one."""
    owned = {pod.tenant for pod in fleet.pods.values() if pod.tenant is not None}
    return sorted(owned | set(fleet.wakes))
