"""All tenants that are awake at one moment: the busiest first, and what they add up to. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from control.pictures import Awake, Picture, WarmPool
from dormouse.base.ids import TenantId


class Sort(StrEnum):
    """What comes first: most of it, or the name's first letter."""

    CPU = "cpu"
    REQUEST_UNITS = "ru"
    SESSIONS = "sessions"
    PARKED = "parked"
    PODS = "pods"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class LiveTenant:
    """A tenant that is awake."""

    id: TenantId
    name: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class LiveTotals:
    """Sums over all tenants that are awake."""

    awake: int
    pods: int
    connections: int
    parked: int
    cpu_permille: int
    request_units_per_second: float


@dataclass(frozen=True, slots=True)
class Live:
    """Some tenants that are awake, the sums over all of them, and the pods in reserve."""

    tenants: list[LiveTenant]
    totals: LiveTotals
    warm_pool: WarmPool | None


_AMOUNTS: Mapping[Sort, Callable[[Picture], float]] = {
    Sort.CPU: lambda picture: picture.cpu_permille or 0,
    Sort.REQUEST_UNITS: lambda picture: picture.request_units_per_second or 0,
    Sort.SESSIONS: lambda picture: picture.connections or 0,
    Sort.PARKED: lambda picture: picture.parked or 0,
    Sort.PODS: lambda picture: picture.pods or 0,
}


def summarise(awake: Awake, names: Mapping[TenantId, str], *, sort: Sort, limit: int) -> Live:
    """The first `limit` by `sort`; equals by CPU, request units and name, so that rows stay put."""

    def rank(tenant: LiveTenant) -> tuple[float, float, float, str, int]:
        picture = tenant.picture
        if sort is Sort.NAME:
            return 0, 0, 0, tenant.name, tenant.id
        return (
            -_AMOUNTS[sort](picture),
            -_AMOUNTS[Sort.CPU](picture),
            -_AMOUNTS[Sort.REQUEST_UNITS](picture),
            tenant.name,
            tenant.id,
        )

    found = [
        LiveTenant(number, names.get(number, ""), each) for number, each in awake.pictures.items()
    ]
    return Live(sorted(found, key=rank)[:limit], _totals(awake), awake.warm_pool)


def _totals(awake: Awake) -> LiveTotals:
    pictures = awake.pictures.values()
    return LiveTotals(
        awake=len(pictures),
        pods=sum(each.pods or 0 for each in pictures),
        connections=sum(each.connections or 0 for each in pictures),
        parked=sum(each.parked or 0 for each in pictures),
        cpu_permille=sum(each.cpu_permille or 0 for each in pictures),
        request_units_per_second=sum(each.request_units_per_second or 0 for each in pictures),
    )
