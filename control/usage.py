"""What a tenant, or everybody together, used in a period and what it costs.

Everything comes from the sums in the registry, so asking wakes nobody. What is stored and not
booked yet is added (control/storage_sampling.py).

A month is charged as a whole, because its allowance is: the cost of a part of it is the cost of the
month up to the part's end less the cost up to its beginning. So the days of a month add up to it
exactly, and a day on which the allowance runs out costs what came after.

Forecast: the rest of the month as the last week was, or as the time since the first use if that is
shorter, at the prices that will be in force.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from control import rollups
from control.amounts import Amounts
from control.database import Database
from control.periods import DAY_SECONDS, HOUR_SECONDS, Span, next_start, start_of
from control.prices import Cost, Measured, Piece, PriceBook, cost_of_month
from control.rollups import EVERYONE, Used
from control.storage_sampling import StorageLevels
from control.units import system_units
from dormouse.base.clock import Clock
from dormouse.base.units import Units, units_of

FORECAST_DAYS = 7
Days = Mapping[int, Used]
"""Use by the beginning of its day."""


@dataclass(frozen=True, slots=True)
class Part:
    """Use between two moments, and its cost."""

    start: int
    end: int
    used: Used
    cost: Cost

    @property
    def units(self) -> Units:
        """The request units of the tenant."""
        return units_of(self.used.amounts)

    @property
    def system(self) -> int:
        """Millionths of a unit of work that nobody pays for."""
        return system_units(self.used.amounts)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the month will have come to at its end."""

    month_end: int
    micro_units: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class Usage:
    """The answer to a question about a period."""

    tenant_id: int
    whole: Part
    days: Sequence[Part]
    stored_bytes: int
    currency: str
    as_of: int
    forecast: Forecast | None
    """None: the period is over, has not begun, or goes on beyond the month."""


@dataclass(slots=True)
class _Month:
    """The days of a month, of one tenant and of everyone."""

    start: int
    own: Days
    everyone: Days
    tenants: int
    """How many of them `own` is the use of."""

    def cost(self, book: PriceBook, until: int) -> Cost:
        """Of the days before `until`."""
        pieces = self.pieces(book, until)
        used = any(day < until for day in self.own)
        return cost_of_month(pieces, tenants=self.tenants if used else 0)

    def pieces(self, book: PriceBook, until: int) -> list[Piece]:
        return [
            Piece(version, _measured(self.own, begin, end), _measured(self.everyone, begin, end))
            for version, begin, end in book.cut(self.start, until)
        ]


def _sum(days: Days, start: int, end: int) -> Used:
    return sum((used for day, used in days.items() if start <= day < end), Used())


def _measured(days: Days, start: int, end: int) -> Measured:
    return Measured.of(_sum(days, start, end))


def scaled(used: Used, numerator: int, denominator: int) -> Used:
    """A part or a multiple of use, rounded down."""
    return Used(
        Amounts(*(number * numerator // denominator for number in used.amounts.row)),
        used.storage_kib_seconds * numerator // denominator,
    )


def expected(days: Days, now: int, end: int) -> Used:
    """What will be used until `end` if it goes on as in the last week."""
    recent = {day: used for day, used in days.items() if day > now - FORECAST_DAYS * DAY_SECONDS}
    if not recent:
        return Used()
    seen = max(now - min(recent), HOUR_SECONDS)
    return scaled(_sum(recent, 0, end), max(end - now, 0), seen)


@dataclass(slots=True)
class UsageReader:
    """Answers questions about use."""

    database: Database
    levels: StorageLevels
    book: PriceBook
    clock: Clock

    async def read(
        self, start: int, end: int, *, tenant_id: int = EVERYONE, by_day: bool = False
    ) -> Usage:
        """The use from `start` to before `end` (days in unix seconds), of a tenant or everyone."""
        now = self.clock.wall_ns() // 1_000_000_000
        months, first = [], start_of(Span.MONTH, start)
        while first < end:
            months.append(await self._month(first, tenant_id))
            first = next_start(Span.MONTH, first)
        parts = [part for month in months for part in self._parts(month, start, end)]
        stored, _ = await self.levels.now(None if tenant_id == EVERYONE else tenant_id)
        return Usage(
            tenant_id=tenant_id,
            whole=Part(
                start,
                end,
                sum((part.used for part in parts), Used()),
                sum((part.cost for part in parts), Cost()),
            ),
            days=parts if by_day else (),
            stored_bytes=stored,
            currency=self.book.currency,
            as_of=now,
            forecast=(
                await self._forecast(months[-1], tenant_id, now)
                if start <= now < end <= next_start(Span.MONTH, start_of(Span.MONTH, now))
                else None
            ),
        )

    def _parts(self, month: _Month, start: int, end: int) -> list[Part]:
        """A part for every day of the period in the month that adds anything."""
        stop = min(next_start(Span.MONTH, month.start), end)
        parts = []
        day = max(month.start, start)
        before = month.cost(self.book, day)
        while day < stop:
            after = month.cost(self.book, day + DAY_SECONDS)
            used = month.own.get(day, Used())
            if used or after != before:
                parts.append(Part(day, day + DAY_SECONDS, used, _less(after, before)))
            day, before = day + DAY_SECONDS, after
        return parts

    async def _month(self, start: int, tenant_id: int) -> _Month:
        end = next_start(Span.MONTH, start)
        everyone = await self._days(EVERYONE, start, end)
        own = everyone if tenant_id == EVERYONE else await self._days(tenant_id, start, end)
        tenants = 1
        if tenant_id == EVERYONE:
            tenants = await rollups.count_users(self.database, start)
        return _Month(start, own, everyone, tenants)

    async def _days(self, tenant_id: int, start: int, end: int) -> Days:
        days = await rollups.read(self.database, Span.DAY, start, end, tenant_id=tenant_id)
        _, levels = await self.levels.now(None if tenant_id == EVERYONE else tenant_id)
        for each in levels:
            if start <= each.second < end:
                days[each.second] = days.get(each.second, Used()) + each.used
        return days

    async def _forecast(self, month: _Month, tenant_id: int, now: int) -> Forecast:
        end = next_start(Span.MONTH, month.start)
        week = now - FORECAST_DAYS * DAY_SECONDS
        week -= week % DAY_SECONDS
        rest: list[Used] = []
        for number, days in ((tenant_id, month.own), (EVERYONE, month.everyone)):
            earlier = await self._days(number, week, month.start) if week < month.start else {}
            rest.append(expected({**earlier, **days}, now, end))
        today = now - now % DAY_SECONDS
        later = _later(today, rest[0], month.own), _later(today, rest[1], month.everyone)
        ahead = replace(month, own=later[0], everyone=later[1])
        total = _sum(ahead.own, month.start, end)
        return Forecast(end, units_of(total.amounts).total, ahead.cost(self.book, end))


def _later(today: int, rest: Used, days: Days) -> Days:
    """The days with what is still expected booked to tomorrow, or today on the month's last day."""
    tomorrow = today + DAY_SECONDS
    at = tomorrow if start_of(Span.MONTH, tomorrow) == start_of(Span.MONTH, today) else today
    return {**days, at: days.get(at, Used()) + rest}


def _less(after: Cost, before: Cost) -> Cost:
    return Cost(
        after.request_units - before.request_units,
        after.pod_time - before.pod_time,
        after.storage - before.storage,
        after.egress - before.egress,
        after.fee - before.fee,
    )
