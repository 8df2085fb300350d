"""What a tenant, an organisation or everybody together used in a period and what it costs.

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
from control.rollups import EVERYONE, Used, of_organisation
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

    def beside(self, other: "Part | None") -> "Part":
        """Together with another of the same time."""
        if other is None:
            return self
        return Part(self.start, self.end, self.used + other.used, self.cost + other.cost)

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
    """The days of a month, of one account and of its organisation."""

    start: int
    account: int
    own: Days
    whole: int
    """The organisation's account."""
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

    async def has_organisation(self, number: int) -> bool:
        """Whether there is or was one."""
        found = await self.database.read_one("SELECT 1 FROM organisations WHERE id = ?", (number,))
        return found is not None

    async def read(
        self, start: int, end: int, *, tenant_id: int = EVERYONE, by_day: bool = False
    ) -> Usage:
        """The use from `start` to before `end` (days in unix seconds), of a tenant or of another
        account of control/rollups.py."""
        now = self.clock.wall_ns() // 1_000_000_000
        step = DAY_SECONDS if by_day else end - start
        parts: dict[int, Part] = {}
        first, months = start_of(Span.MONTH, start), []
        while first < end:
            months = await self._months(first, tenant_id)
            for month in months:
                for part in self._parts(month, start, end, step):
                    parts[part.start] = part.beside(parts.get(part.start))
            first = next_start(Span.MONTH, first)
        stored, _ = await self.levels.now(tenant_id)
        return Usage(
            tenant_id=tenant_id,
            whole=Part(
                start,
                end,
                sum((part.used for part in parts.values()), Used()),
                sum((part.cost for part in parts.values()), Cost()),
            ),
            days=[parts[day] for day in sorted(parts)] if by_day else (),
            stored_bytes=stored,
            currency=self.book.currency,
            as_of=now,
            forecast=(
                await self._forecast(months, now)
                if start <= now < end <= next_start(Span.MONTH, start_of(Span.MONTH, now))
                else None
            ),
        )

    def _parts(self, month: _Month, start: int, end: int, step: int) -> list[Part]:
        """The period in the month in steps of days or as a whole, where anything was added."""
        stop = min(next_start(Span.MONTH, month.start), end)
        parts = []
        at = max(month.start, start)
        before = month.cost(self.book, at)
        while at < stop:
            until = min(at + step, stop)
            after = month.cost(self.book, until)
            used = _sum(month.own, at, until)
            if used or after != before:
                parts.append(Part(at, until, used, _less(after, before)))
            at, before = until, after
        return parts

    async def _months(self, start: int, account: int) -> list[_Month]:
        """One month of an account; of everyone, one for each organisation, for each is charged by
        itself."""
        end = next_start(Span.MONTH, start)
        if account > EVERYONE:
            owner = await self.database.read_one(
                "SELECT organisation_id FROM tenants WHERE id = ?", (account,)
            )
            days = await self._days(account, start, end)
            whole = of_organisation(owner[0]) if owner is not None else account
            return [_Month(start, account, days, whole, await self._days(whole, start, end), 1)]
        found = await rollups.organisations(self.database, start)
        numbers = found if account == EVERYONE else [-account]
        months = []
        for number in numbers:
            whole = of_organisation(number)
            days = await self._days(whole, start, end)
            tenants = await rollups.count_users(self.database, start, number)
            months.append(_Month(start, whole, days, whole, days, tenants))
        return months

    async def _days(self, tenant_id: int, start: int, end: int) -> Days:
        days = await rollups.read(self.database, Span.DAY, start, end, tenant_id=tenant_id)
        _, levels = await self.levels.now(tenant_id)
        for each in levels:
            if start <= each.second < end:
                days[each.second] = days.get(each.second, Used()) + each.used
        return days

    async def _forecast(self, months: Sequence[_Month], now: int) -> Forecast:
        end = next_start(Span.MONTH, start_of(Span.MONTH, now))
        each = [await self._ahead(month, now, end) for month in months]
        total = sum((_sum(month.own, month.start, end) for month in each), Used())
        cost = sum((month.cost(self.book, end) for month in each), Cost())
        return Forecast(end, units_of(total.amounts).total, cost)

    async def _ahead(self, month: _Month, now: int, end: int) -> _Month:
        """The month with what is expected of its rest."""
        week = now - FORECAST_DAYS * DAY_SECONDS
        week -= week % DAY_SECONDS
        rest: list[Used] = []
        for number, days in ((month.account, month.own), (month.whole, month.everyone)):
            earlier = await self._days(number, week, month.start) if week < month.start else {}
            rest.append(expected({**earlier, **days}, now, end))
        today = now - now % DAY_SECONDS
        later = _later(today, rest[0], month.own), _later(today, rest[1], month.everyone)
        return replace(month, own=later[0], everyone=later[1])


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
