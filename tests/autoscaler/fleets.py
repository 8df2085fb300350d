"""Fleets in every state, made by hand for tests of decisions."""

from autoscaler.fleet import Fleet
from autoscaler.pods import OWNED, HeldSession, Phase, Pod, PodKey, Report
from autoscaler.runtimes.base import Living
from autoscaler.tenants import Limits
from dormouse.base.ids import PodId, TenantId

A, B = TenantId(1), TenantId(2)
IDLE = 60.0
LIMITS = Limits(idle_timeout=IDLE, pods_min=0, pods_max=4)


def report(
    tenant: TenantId | None = None,
    *,
    sessions: int = 0,
    active: int = 0,
    transactions: int = 0,
    idle: float = 0.0,
    cpu_micros: int = 0,
    draining: bool = False,
    holds: tuple[HeldSession, ...] = (),
) -> Report:
    """What a pod might say."""
    return Report(
        tenant=tenant,
        pod_id=PodId(1),
        sql_address="127.0.0.1:1",
        sessions=sessions,
        active=active,
        transactions=transactions,
        idle_seconds=idle,
        cpu_micros=cpu_micros,
        request_units=0.0,
        draining=draining,
        public_key=b"key",
        holds=holds,
    )


def living(*keys: str, generation: int = 1) -> dict[PodKey, Living]:
    """What a runtime says that has these pods."""
    return {PodKey(key): Living("host:1", generation) for key in keys}


def fleet_of(
    *phases: Phase, tenant: TenantId = A, limits: Limits | None = LIMITS, generation: int = 1
) -> tuple[Fleet, list[Pod]]:
    """A fleet with a pod in each phase; those that have an owner are `tenant`'s."""
    fleet = Fleet()
    fleet.runtime_connected(living(*map(str, range(len(phases)))), generation, 0.0)
    pods = list(fleet.pods.values())
    for pod, phase in zip(pods, phases, strict=True):
        if phase in OWNED:
            fleet.pod_answered(pod, report(tenant), 0.0)
        pod.phase = phase
    if tenant in fleet.tenants:
        fleet.tenants[tenant].limits = limits
    return fleet, pods
