"""What a spend limit says: of one tenant or of an organisation, for a month, in cents or in units.

An account is a number, as in control/rollups.py: a tenant's id, or an organisation's below zero.
"""

from dataclasses import dataclass
from enum import StrEnum

from dormouse.base.units import MICRO

PERCENTS = (50, 75, 90, 100)
"""Of a limit, at which a notice is given."""
CENTS_MAX = 10**12
UNITS_MAX = 10**13
MICROS_PER_CENT = 10_000
"""Millionths of the currency."""


class Policy(StrEnum):
    """What happens at the limit."""

    STOP = "stop"
    THROTTLE = "throttle"
    NOTIFY = "notify"


class Scope(StrEnum):
    """Whose limit it is."""

    TENANT = "tenant"
    ORGANISATION = "organisation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A limit as it was set; without both amounts it is none."""

    monthly_cents: int | None = None
    """What is paid beyond the free allowance, in hundredths of the currency."""

    monthly_units: int | None = None
    """Request units, all of them, also those that are free."""

    policy: Policy = Policy.STOP
    version: int = 1

    @property
    def exists(self) -> bool:
        """Whether there is anything to be reached."""
        return self.monthly_cents is not None or self.monthly_units is not None


NO_LIMIT = Limit()


def scope_of(account: int) -> Scope:
    """Whose account it is."""
    return Scope.TENANT if account > 0 else Scope.ORGANISATION


def micro_units(limit: Limit) -> int | None:
    """The limit in units as millionths."""
    return None if limit.monthly_units is None else limit.monthly_units * MICRO


def cost_micros(limit: Limit) -> int | None:
    """The limit in money as millionths of the currency."""
    return None if limit.monthly_cents is None else limit.monthly_cents * MICROS_PER_CENT


def amount_in_words(cents: int, currency: str) -> str:
    """`$20.00`, `20.00 EUR`."""
    amount = f"{cents // 100}.{cents % 100:02d}"
    return f"${amount}" if currency == "USD" else f"{amount} {currency}"


def in_words(
    *, cents: int | None = None, units: int | None = None, scope: Scope, currency: str
) -> str:
    """One amount of a limit, for people: `50000 request units a month`."""
    if units is not None:
        text = f"{units} request units a month"
    else:
        text = f"{amount_in_words(cents or 0, currency)} a month"
    return f"the organisation's {text}" if scope is Scope.ORGANISATION else text
