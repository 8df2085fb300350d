"""The lines of an invoice: who used what, and what of it is to be paid. Pure.

An organisation's use is charged as one (control/prices.py): one rounding for each thing that is
charged in each part of a month. A line has a tenant's part of that. Parts are differences of
rounded running sums,

    tenants     A        B        C                   exact parts     2.4   2.4   2.4
    running     2.4      4.8      7.2                 lines           2     3     2
    rounded     2        5        7

so each is within a millionth of its exact value, and whatever is added up over the lines,
quantities, free quantities or money, is exactly what it is of the organisation.

A part of a month may be charged again when something was booked late. Then the lines have the
difference between what stands now and what has been charged: to whom the late use belongs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from enum import StrEnum

from control.prices import Cost, Free, Measured, Version, charge
from control.rollups import Used
from dormouse.base.units import units_of

ORGANISATION = 0
"""The tenant id of a line that is no single tenant's."""


class Kind(StrEnum):
    """What a line is for, and what its quantity counts."""

    UNITS = "request_units"
    """Millionths of a request unit, as the next four; whatever the cause."""
    SQL_CPU = "request_units.sql_cpu"
    READS = "request_units.reads"
    WRITES = "request_units.writes"
    EGRESS_UNITS = "request_units.egress"
    POD_TIME = "pod_time"
    """Milliseconds."""
    STORAGE = "storage"
    """KiB × seconds."""
    EGRESS = "egress"
    """Bytes."""
    FEE = "fee"
    """Tenants."""


CAUSES = (Kind.SQL_CPU, Kind.READS, Kind.WRITES, Kind.EGRESS_UNITS)
"""Of request units, in the order of dormouse.base.units.Units."""


@dataclass(frozen=True, slots=True)
class Line:
    """A tenant's part of what is charged."""

    tenant_id: int
    kind: Kind
    quantity: int
    free: int
    """So much of the quantity costs nothing."""
    amount: int
    """Millionths of the currency."""

    @property
    def says_something(self) -> bool:
        """Whether it changes anything."""
        return bool(self.quantity or self.free or self.amount)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a part of a month stands: what all tenants used in it, and what was left of the month's
    allowance when it began."""

    left: Free
    total: Used = field(default_factory=Used)

    def after(self) -> Free:
        """What is left of the allowance when it is over."""
        return self.left.after(Measured.of(self.total))

    def cost(self, version: Version) -> Cost:
        """Without fees."""
        return charge(version, Measured.of(self.total), self.left)

    def free(self) -> Free:
        """So much of the use costs nothing."""
        left, used = self.left, Measured.of(self.total)
        return Free(
            min(left.micro_units, used.micro_units),
            min(left.pod_millis, used.pod_millis),
            min(left.storage_kib_seconds, used.storage_kib_seconds),
        )


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts of `total` by weight, which add up to it; weights are not negative and not all
    zero."""
    whole, running, given, parts = sum(weights), 0, 0, []
    for weight in weights:
        running += weight
        reached = (2 * total * running + whole) // (2 * whole)
        parts.append(reached - given)
        given = reached
    return parts


def lines_between(
    version: Version, was: Standing, left: Free, uses: Mapping[int, Used]
) -> list[Line]:
    """What `uses`, by tenant, add to what was charged; `left`: of the allowance, as it is now."""
    now = Standing(left, was.total + sum(uses.values(), Used()))
    cost, before = now.cost(version), was.cost(version)
    free, free_before = now.free(), was.free()
    lines: list[Line] = []
    if version.basis == "request_units":
        shares = _unit_shares(was.total, uses)
        more_free = free.micro_units - free_before.micro_units
        lines += _lines(Kind.UNITS, shares, more_free, cost.request_units - before.request_units)
    else:
        shares = [(t, Kind.POD_TIME, used.amounts.pod_millis) for t, used in uses.items()]
        more_free = free.pod_millis - free_before.pod_millis
        lines += _lines(Kind.POD_TIME, shares, more_free, cost.pod_time - before.pod_time)
    shares = [(t, Kind.STORAGE, used.storage_kib_seconds) for t, used in uses.items()]
    more_free = free.storage_kib_seconds - free_before.storage_kib_seconds
    lines += _lines(Kind.STORAGE, shares, more_free, cost.storage - before.storage)
    if version.per_thousand_egress_gib:
        shares = [(t, Kind.EGRESS, used.amounts.egress_bytes) for t, used in uses.items()]
        lines += _lines(Kind.EGRESS, shares, 0, cost.egress - before.egress)
    return lines


_Share = tuple[int, Kind, int]
"""A tenant, and how much of what it used."""


def _unit_shares(before: Used, uses: Mapping[int, Used]) -> list[_Share]:
    """Request units by tenant and cause: what each adds to the units of the sum so far."""
    running, reached, shares = before.amounts, astuple(units_of(before.amounts)), []
    for tenant, used in uses.items():
        running = running + used.amounts
        units = astuple(units_of(running))
        for kind, new, old in zip(CAUSES, units, reached, strict=True):
            shares.append((tenant, kind, new - old))
        reached = units
    return shares


def _lines(kind: Kind, shares: Sequence[_Share], free: int, amount: int) -> Iterator[Line]:
    weights = [weight for _, _, weight in shares]
    if not any(weights):
        # Late use in an earlier part of the month took allowance away from this one.
        if free or amount:
            yield Line(ORGANISATION, kind, 0, free, amount)
        return
    parts = zip(shares, apportion(free, weights), apportion(amount, weights), strict=True)
    for (tenant, kind, quantity), free_part, amount_part in parts:
        line = Line(tenant, kind, quantity, free_part, amount_part)
        if line.says_something:
            yield line
