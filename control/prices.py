"""The price book: what use costs, in whole millionths of the currency.

A book is a list of versions, each in force from a day on, as the organisation's calendar has it. A
month in which the version changes is charged in pieces, in order of time.

    used ──▶ less what is left of the month's free allowance ──▶ × price ──▶ rounded, a line

Rounding: each line of each piece is rounded once, to the nearest millionth, halves up; the cost is
the sum of the lines. The allowance belongs to the organisation. A tenant's part of it is its part
of the use, rounded down to the ledger's own units, so no allowance is given twice.

Two ways to charge for pods (`Version.basis`): by request units, or by the time that pods are there
with a monthly fee for every tenant that used anything. Storage and egress cost the same in both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from control.months import Calendar
from control.rollups import Used
from dormouse.base.config import ConfigError
from dormouse.base.units import MICRO, rounded, units_of

KIB_SECONDS_PER_GIB_HOUR = (1 << 20) * 3600
_GIB = 1 << 30
VERSIONS_MAX = 1000

_Price = Annotated[int, Field(ge=0, le=10**12)]
_Quantity = Annotated[int, Field(ge=0, le=10**12)]


class Version(BaseModel):
    """Prices from a day on, in millionths of the currency."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    effective_from: Annotated[date, Field(strict=False)]
    basis: Literal["request_units", "pod_seconds"] = "request_units"
    per_million_units: _Price = 200_000
    per_thousand_pod_seconds: _Price = 0
    monthly_fee: _Price = 0
    """For each tenant that used anything in the month; `pod_seconds` only."""
    per_thousand_gib_hours: _Price = 684_932
    per_thousand_egress_gib: _Price = 0
    """Beside what egress weighs in units."""
    free_units: _Quantity = 50_000_000
    """Units of an organisation in a month that cost nothing."""
    free_gib_hours: _Quantity = 7_300
    free_pod_seconds: _Quantity = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """What prices are for: of pods one of the first two, by the version's basis."""

    micro_units: int = 0
    pod_millis: int = 0
    storage_kib_seconds: int = 0
    egress_bytes: int = 0

    @classmethod
    def of(cls, used: Used) -> Self:
        """From the ledger's sums."""
        return cls(
            micro_units=units_of(used.amounts).total,
            pod_millis=used.amounts.pod_millis,
            storage_kib_seconds=used.storage_kib_seconds,
            egress_bytes=used.amounts.egress_bytes,
        )


@dataclass(frozen=True, slots=True)
class Free:
    """What is left of an allowance, in the ledger's units."""

    micro_units: int = 0
    pod_millis: int = 0
    storage_kib_seconds: int = 0

    @classmethod
    def of_month(cls, version: Version) -> Self:
        """The whole allowance."""
        return cls(
            micro_units=version.free_units * MICRO,
            pod_millis=version.free_pod_seconds * 1000,
            storage_kib_seconds=version.free_gib_hours * KIB_SECONDS_PER_GIB_HOUR,
        )

    def after(self, used: Measured) -> "Free":
        """What `used` leaves of it."""
        return Free(
            max(self.micro_units - used.micro_units, 0),
            max(self.pod_millis - used.pod_millis, 0),
            max(self.storage_kib_seconds - used.storage_kib_seconds, 0),
        )

    def part(self, own: Measured, everyone: Measured) -> "Free":
        """What one tenant has of it, by its part of what all have used."""
        return Free(
            _part(self.micro_units, own.micro_units, everyone.micro_units),
            _part(self.pod_millis, own.pod_millis, everyone.pod_millis),
            _part(self.storage_kib_seconds, own.storage_kib_seconds, everyone.storage_kib_seconds),
        )


def _part(free: int, own: int, everyone: int) -> int:
    return own if everyone <= free else free * own // everyone


@dataclass(frozen=True, slots=True)
class Cost:
    """What a period costs, line by line, in millionths of the currency."""

    request_units: int = 0
    pod_time: int = 0
    storage: int = 0
    egress: int = 0
    fee: int = 0

    @property
    def total(self) -> int:
        """The sum of the lines."""
        return self.request_units + self.pod_time + self.storage + self.egress + self.fee

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.request_units + other.request_units,
            self.pod_time + other.pod_time,
            self.storage + other.storage,
            self.egress + other.egress,
            self.fee + other.fee,
        )


def charge(version: Version, used: Measured, free: Free) -> Cost:
    """What `used` costs beyond `free`, without a fee."""
    beyond = max(used.storage_kib_seconds - free.storage_kib_seconds, 0)
    by_time = version.basis == "pod_seconds"
    units = 0 if by_time else max(used.micro_units - free.micro_units, 0)
    millis = max(used.pod_millis - free.pod_millis, 0) if by_time else 0
    return Cost(
        request_units=rounded(Fraction(units * version.per_million_units, MICRO * MICRO)),
        pod_time=rounded(Fraction(millis * version.per_thousand_pod_seconds, MICRO)),
        storage=rounded(
            Fraction(beyond * version.per_thousand_gib_hours, 1000 * KIB_SECONDS_PER_GIB_HOUR)
        ),
        egress=rounded(Fraction(used.egress_bytes * version.per_thousand_egress_gib, 1000 * _GIB)),
    )


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a month under one version: what one tenant used and what all did."""

    version: Version
    own: Measured
    everyone: Measured


def cost_of_month(pieces: Sequence[Piece], *, tenants: int = 1) -> Cost:
    """What `own` costs in a month; the allowance is that of the version the month began with.

    `tenants`: how many of them `own` is the use of, for the fee, which is that of the last version.
    """
    if not pieces:
        return Cost()
    left = Free.of_month(pieces[0].version)
    cost = Cost()
    for piece in pieces:
        cost += charge(piece.version, piece.own, left.part(piece.own, piece.everyone))
        left = left.after(piece.everyone)
    last = pieces[-1].version
    return cost + Cost(fee=last.monthly_fee * tenants if last.basis == "pod_seconds" else 0)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All versions, the oldest first."""

    currency: str = "USD"
    versions: tuple[Version, ...] = field(
        default_factory=lambda: (Version(effective_from=date(1970, 1, 1)),)
    )

    def at(self, day: date) -> Version:
        """The version in force on a day."""
        return next(v for v in reversed(self.versions) if v.effective_from <= day)

    def cut(self, start: int, end: int, calendar: Calendar) -> list[tuple[Version, int, int]]:
        """The time from `start` to `end` by the version in force, in order; seconds."""
        if start >= end:
            return []
        last = calendar.date_of(end - 1)
        begun = [version for version in self.versions if version.effective_from <= last]
        borders = [*(calendar.day_start(version.effective_from) for version in begun[1:]), end]
        pieces = []
        for version, border in zip(begun, borders, strict=True):
            stop = min(border, end)
            if start < stop:
                pieces.append((version, start, stop))
                start = stop
        return pieces


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    versions: Annotated[list[Version], Field(min_length=1, max_length=VERSIONS_MAX)]


def read_book(file: Path | None) -> PriceBook:
    """The book in a JSON file; the built-in one without a file. Raises ConfigError."""
    if file is None:
        return PriceBook()
    try:
        found = _File.model_validate(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise ConfigError(f"price_book: {file}: {error}") from error
    days = [version.effective_from for version in found.versions]
    if days != sorted(set(days)):
        raise ConfigError(f"price_book: {file}: versions must be in the order of their days")
    first = found.versions[0].model_copy(update={"effective_from": date(1970, 1, 1)})
    return PriceBook(found.currency, (first, *found.versions[1:]))
