"""Where a month stands against a limit: what is used, what it costs, and the units that are left.

Pure. Money is counted by what usage and invoices are made of (control/usage.py, `Month`).

A limit in money becomes units by the dearest way to spend them. A unit costs its price beyond the
free allowance, and its egress besides where that has a price (a unit is never more than a KiB to
clients); so at the worst the next units cost

    money │            ╱ price of a unit + of its egress
          │          ╱
          │      _-‾   price of its egress alone
          │ _-‾
          └──────────────────── units
               └ the allowance is used up

and what is left in money buys as many units as this line says. Whoever spends them in a cheaper
way finds more left at the next report. A tenant's next unit never costs more than that either: its
part of the organisation's allowance grows with its use.

What grows by the clock alone is not foreseen here, storage and the time of pods: it is in the cost
each time that one looks.
"""

from dataclasses import dataclass
from fractions import Fraction

from control.prices import PriceBook, Version
from control.spending.limits import (
    PERCENTS,
    Limit,
    Policy,
    cost_micros,
    micro_units,
)
from control.usage import Month
from dormouse.base.units import MICRO, WEIGHTS

DUST = MICRO // 10
"""A tenth of a unit: less than that is nothing left. Shares of pods are rounded down."""
_BOUNDLESS = 10**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """An account's month as it is now."""

    start: int
    end: int
    """Unix seconds."""
    micro_units: int
    cost_micros: int
    free_micro_units: int
    """What is left of the allowance to all of the organisation."""
    version: Version
    """The prices in force."""


def position_of(month: Month, book: PriceBook, now: int) -> Position:
    """From the month under way, at a unix second in it."""
    return Position(
        start=month.start,
        end=month.end,
        micro_units=month.micro_units,
        cost_micros=month.cost(book).total,
        free_micro_units=month.free(book).micro_units,
        version=month.version(book, now),
    )


@dataclass(frozen=True, slots=True)
class Stand:
    """A month against a limit."""

    position: Position
    limit: Limit
    room: int
    """Millionths of a unit that may still be used; may be below zero."""
    by_money: bool
    """Whether it is the amount in cents that is reached first."""

    @property
    def is_reached(self) -> bool:
        """Whether nothing is left."""
        return self.room < DUST

    @property
    def permille(self) -> int:
        """How much of the limit is used, rounded down; 1000 or more exactly where it is reached."""
        used = max(self._part_of_units(), self._part_of_money())
        return max(used, 1000) if self.is_reached else min(used, 999)

    @property
    def percent(self) -> int:
        """The highest of 50, 75, 90 and 100 that was reached; 0: none."""
        return max((each for each in PERCENTS if self.permille >= each * 10), default=0)

    @property
    def is_held(self) -> bool:
        """Whether the account is stopped or slowed down."""
        return self.is_reached and self.limit.policy is not Policy.NOTIFY

    @property
    def over_micro_units(self) -> int:
        """How far a limit in units was passed."""
        return max(-self.room, 0) if not self.by_money else 0

    def _part_of_units(self) -> int:
        most, used = micro_units(self.limit), self.position.micro_units
        return 0 if not most else used * 1000 // most

    def _part_of_money(self) -> int:
        most, used = cost_micros(self.limit), self.position.cost_micros
        if most is None:
            return 0
        if most:
            return used * 1000 // most
        # Of a limit of nothing the free allowance is the measure.
        units = self.position.micro_units
        return units * 1000 // max(units + max(self.room, 0), 1)


def stand_of(position: Position, limit: Limit) -> Stand | None:
    """Where the account stands; None without a limit."""
    if not limit.exists:
        return None
    in_units = micro_units(limit)
    money = cost_micros(limit)
    by_units = in_units - position.micro_units if in_units is not None else _BOUNDLESS
    by_money = (
        units_for(money - position.cost_micros, position) if money is not None else _BOUNDLESS
    )
    return Stand(position, limit, min(by_units, by_money), by_money < by_units)


def units_for(money: int, position: Position) -> int:
    """Millionths of a unit that `money`, millionths of the currency, buys at the least."""
    if money <= 0:
        # With nothing left to pay, what is still free may be used.
        return min(position.free_micro_units, _free_of_charge(position)) if money == 0 else money
    free = position.free_micro_units
    egress = egress_price(position.version)
    if egress * free >= money:
        return int(money / egress)
    price = unit_price(position.version) + egress
    return free + int((money - egress * free) / price) if price else _BOUNDLESS


def _free_of_charge(position: Position) -> int:
    """Units that cost nothing whatever they are spent on."""
    if egress_price(position.version):
        return 0
    return position.free_micro_units if unit_price(position.version) else _BOUNDLESS


def unit_price(version: Version) -> Fraction:
    """Of a millionth of a unit beyond the allowance, in millionths of the currency."""
    if version.basis == "pod_seconds":
        return Fraction(0)
    return Fraction(version.per_million_units, MICRO * MICRO)


def egress_price(version: Version) -> Fraction:
    """What a millionth of a unit of egress costs besides, at the most."""
    return Fraction(version.per_thousand_egress_gib, 1000 * 1024 * WEIGHTS.egress_mib)
