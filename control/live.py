"""All tenants with pods or sessions at one moment: the busiest first, and their sums. Pure.

A tenant that sleeps while clients of it stay connected is among them, for its parked sessions.
"""

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
    """A tenant that is awake, or has parked sessions."""

    id: TenantId
    name: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class LiveTotals:
    """Sums over all of them."""

    awake: int
    pods: int
    connections: int
    parked: int
    cpu_permille: int
    request_units_per_second: float


@dataclass(frozen=True, slots=True)
class Live:
    """The first of them, the sums over all, and the pods in reserve."""

    tenants: list[LiveTenant]
    more: int
    """So many others are left out."""

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
    more = max(len(found) - limit, 0)
    return Live(sorted(found, key=rank)[:limit], more, _totals(awake), awake.warm_pool)


def _totals(awake: Awake) -> LiveTotals:
    pictures = awake.pictures.values()
    return LiveTotals(
        awake=sum(each.state != "asleep" for each in pictures),
        pods=sum(each.pods or 0 for each in pictures),
        connections=sum(each.connections or 0 for each in pictures),
        parked=sum(each.parked or 0 for each in pictures),
        cpu_permille=sum(each.cpu_permille or 0 for each in pictures),
        request_units_per_second=sum(each.request_units_per_second or 0 for each in pictures),
    )
