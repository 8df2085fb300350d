"""How tenants are just now and why, as the autoscaler tells it (proto/autoscaler.proto)."""

from collections.abc import Mapping
from dataclasses import dataclass

from dormouse.base.ids import TenantId
from proto import autoscaler_pb2

_STATES = {
    autoscaler_pb2.ASLEEP: "asleep",
    autoscaler_pb2.WAKING: "waking",
    autoscaler_pb2.RUNNING: "running",
    autoscaler_pb2.DRAINING: "draining",
}


@dataclass(frozen=True, slots=True)
class Hold:
    """A session that cannot be parked, by its backend pid, and why."""

    backend_pid: int
    reason: str


@dataclass(frozen=True, slots=True)
class Picture:
    """How a tenant is just now. The numbers are None where `state` is `unknown`."""

    state: str
    pods: int | None
    connections: int | None
    """Sessions that have a pod."""

    awake_because: str = ""
    parked: int | None = 0
    """Sessions that wait at a proxy without a pod."""

    pods_wanted: int | None = 0
    cpu_permille: int | None = 0
    """Of one core, all pods together, over the last seconds."""

    request_units_per_second: float | None = 0.0
    holds: tuple[Hold, ...] = ()


ASLEEP = Picture("asleep", 0, 0)
UNKNOWN = Picture(
    "unknown",
    None,
    None,
    parked=None,
    pods_wanted=None,
    cpu_permille=None,
    request_units_per_second=None,
)
"""The autoscaler does not answer. Its tenants may well be running."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was done about a tenant, why, and what that was based on."""

    at_unix_ms: int
    action: str
    reason: str
    inputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WarmPool:
    """Pods that wait for a tenant."""

    ready: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Awake:
    """Every tenant that has pods or sessions, and the pods that wait for the next to wake."""

    pictures: Mapping[TenantId, Picture]
    warm_pool: WarmPool | None
    """None: the autoscaler does not tell."""


def read_picture(message: autoscaler_pb2.TenantPicture) -> Picture:
    """One tenant's picture."""
    return Picture(
        state=_STATES[message.state],
        pods=message.pods,
        connections=message.connections,
        awake_because=message.awake_because,
        parked=message.parked,
        pods_wanted=message.pods_wanted,
        cpu_permille=message.cpu_permille,
        request_units_per_second=message.request_units_per_second,
        holds=tuple(Hold(each.backend_pid, each.reason) for each in message.holds),
    )


def read_decision(message: autoscaler_pb2.Decision) -> Decision:
    """One decision; its inputs by name, for they come in any order."""
    inputs = dict(sorted(message.inputs.items()))
    return Decision(message.at_unix_ms, message.action, message.reason, inputs)


def read_awake(reply: autoscaler_pb2.DescribeTenantsReply) -> Awake:
    """All that is awake."""
    pool = reply.warm_pool
    return Awake(
        {TenantId(each.tenant_id): read_picture(each) for each in reply.tenants},
        WarmPool(pool.ready, pool.wanted) if reply.HasField("warm_pool") else None,
    )
