"""What a tenant, an organisation or everybody together used in a period and what it costs.

Everything comes from the sums in the registry, so asking wakes nobody. What is stored and not
booked yet is added (control/storage_sampling.py).

A period is days of the organisation's calendar (control/months.py). Of everybody together it is
each organisation's own days of that date: their March is everyone's March.

A month is charged as a whole, because its allowance is: the cost of a part of it is the cost of the
month up to the part's end less the cost up to its beginning. So the days of a month add up to it
exactly, and a day on which the allowance runs out costs what came after.

Forecast: the rest of the month as the last week was, or as the time since the first use if that is
shorter, at the prices that will be in force.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from control import rollups
from control.amounts import Amounts
from control.database import Database
from control.months import UTC_CALENDAR, Calendar, first_day, month_number
from control.periods import DAY_SECONDS, HOUR_SECONDS, Span
from control.prices import Cost, Free, Measured, Piece, PriceBook, Version, cost_of_month
from control.rollups import EVERYONE, Used, of_organisation
from control.storage_sampling import StorageLevels
from control.units import system_units
from dormouse.base.clock import Clock
from dormouse.base.units import Units, units_of

FORECAST_DAYS = 7
_DAY = timedelta(days=1)
Days = Mapping[int, Used]
"""Use by the beginning of its day."""


@dataclass(frozen=True, slots=True)
class Part:
    """Use between two moments, and its cost."""

    day: date
    """The day it begins with."""
    start: int
    end: int
    used: Used
    cost: Cost

    def beside(self, other: "Part | None") -> "Part":
        """Together with another's of the same days."""
        if other is None:
            return self
        return replace(self, used=self.used + other.used, cost=self.cost + other.cost)

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
    time_zone: str
    """Whose days they are, at the period's beginning."""
    whole: Part
    days: Sequence[Part]
    stored_bytes: int
    currency: str
    as_of: int
    forecast: Forecast | None
    """None: the period is over, has not begun, or goes on beyond the month."""


@dataclass(frozen=True, slots=True)
class Month:
    """A month of one account, and of its organisation, by days."""

    number: int
    calendar: Calendar
    account: int
    own: Days
    whole: int
    """The organisation's account."""
    everyone: Days
    tenants: int
    """How many of them `own` is the use of."""

    @property
    def start(self) -> int:
        """When it begins."""
        return self.calendar.border(self.number)

    @property
    def end(self) -> int:
        """When it is over."""
        return self.calendar.border(self.number + 1)

    @property
    def used(self) -> Used:
        """What the account used in all of it."""
        return _sum(self.own, self.start, self.end)

    @property
    def micro_units(self) -> int:
        """Millionths of request units that the account used in all of it."""
        return units_of(self.used.amounts).total

    def cost(self, book: PriceBook, until: int | None = None) -> Cost:
        """Of the days before `until`, or of all."""
        until = self.end if until is None else until
        used = any(day < until for day in self.own)
        return cost_of_month(self._pieces(book, until), tenants=self.tenants if used else 0)

    def free(self, book: PriceBook) -> Free:
        """What is left of the allowance that the organisation's tenants share."""
        left = Free.of_month(book.at(first_day(self.number)))
        return left.after(_measured(self.everyone, self.start, self.end))

    def version(self, book: PriceBook, second: int) -> Version:
        """The prices in force at a moment."""
        return book.at(self.calendar.date_of(second))

    def _pieces(self, book: PriceBook, until: int) -> list[Piece]:
        return [
            Piece(version, _measured(self.own, begin, end), _measured(self.everyone, begin, end))
            for version, begin, end in book.cut(self.start, until, self.calendar)
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

    async def whose(self, account: int) -> tuple[int, Calendar]:
        """The organisation's account of a tenant's or organisation's, and its calendar; of
        EVERYONE and of what the registry does not know, itself and UTC's."""
        which = "(SELECT organisation_id FROM tenants WHERE id = ?)" if account > 0 else "-?"
        row = await self.database.read_one(
            f"SELECT id, time_zone, zones FROM organisations WHERE id = {which}", (account,)
        )
        if row is None:
            return account, UTC_CALENDAR
        return of_organisation(row[0]), Calendar.read(row[1], row[2])

    async def today(self, account: int) -> date:
        """The day it is in the account's calendar."""
        _, calendar = await self.whose(account)
        return calendar.date_of(self._now())

    async def month(self, account: int) -> Month:
        """The month under way of a tenant's account or an organisation's (not of EVERYONE), with
        what is used and stored up to now. For limits and drafts; nobody is woken."""
        _, calendar = await self.whose(account)
        [month] = await self._months(calendar.number_of(self._now()), account)
        return month

    async def read(
        self, first: date, to: date, *, account: int = EVERYONE, by_day: bool = False
    ) -> Usage:
        """The use from the day `first` to before `to`, of a tenant or of another account of
        control/rollups.py."""
        now = self._now()
        _, calendar = await self.whose(account)
        parts: dict[date, Part] = {}
        months: list[Month] = []
        for number in range(month_number(first), month_number(to - _DAY) + 1):
            months = await self._months(number, account)
            for month in months:
                for part in self._parts(month, first, to, by_day=by_day):
                    parts[part.day] = part.beside(parts.get(part.day))
        stored, _ = await self.levels.now(account)
        today = calendar.date_of(now)
        is_open = first <= today < to <= first_day(month_number(today) + 1)
        return Usage(
            tenant_id=account,
            time_zone=calendar.zone(month_number(first)),
            whole=Part(
                first,
                calendar.day_start(first),
                calendar.day_start(to),
                sum((part.used for part in parts.values()), Used()),
                sum((part.cost for part in parts.values()), Cost()),
            ),
            days=[parts[day] for day in sorted(parts)] if by_day else (),
            stored_bytes=stored,
            currency=self.book.currency,
            as_of=now,
            forecast=await self._forecast(months, calendar, now) if is_open else None,
        )

    def _now(self) -> int:
        return self.clock.wall_ns() // 1_000_000_000

    def _parts(self, month: Month, first: date, to: date, *, by_day: bool) -> list[Part]:
        """The period in the month by days or as a whole, where anything was added."""
        day = max(first, first_day(month.number))
        stop = min(to, first_day(month.number + 1))
        parts = []
        at = month.calendar.day_start(day)
        before = month.cost(self.book, at)
        while day < stop:
            following = day + _DAY if by_day else stop
            until = month.calendar.day_start(following)
            after = month.cost(self.book, until)
            used = _sum(month.own, at, until)
            if used or after != before:
                parts.append(Part(day, at, until, used, _less(after, before)))
            day, at, before = following, until, after
        return parts

    async def _months(self, number: int, account: int) -> list[Month]:
        """One month of an account; of everyone, one for each organisation, for each is charged by
        itself."""
        if account == EVERYONE:
            found = await rollups.organisations(self.database, number)
            return [each for own in found for each in await self._months(number, -own)]
        whole, calendar = await self.whose(account)
        own = await self._days(account, number, calendar)
        if account != whole:
            everyone = await self._days(whole, number, calendar)
            return [Month(number, calendar, account, own, whole, everyone, 1)]
        tenants = 1
        if account < 0:
            borders = calendar.border(number), calendar.border(number + 1)
            now = self._now()
            tenants = await rollups.count_users(self.database, borders, -account, now=now)
        return [Month(number, calendar, account, own, account, own, tenants)]

    async def _days(self, account: int, number: int, calendar: Calendar) -> Days:
        start, end = calendar.border(number), calendar.border(number + 1)
        return await self._days_between(account, start, end, calendar)

    async def _days_between(self, account: int, start: int, end: int, calendar: Calendar) -> Days:
        days = await rollups.read(self.database, Span.DAY, start, end, tenant_id=account)
        _, levels = await self.levels.now(account, calendar)
        for each in levels:
            if start <= each.second < end:
                day, _ = calendar.day_of(each.second)
                days[day] = days.get(day, Used()) + each.used
        return days

    async def _forecast(self, months: Sequence[Month], calendar: Calendar, now: int) -> Forecast:
        each = [await self._ahead(month, now) for month in months]
        total = sum((month.used for month in each), Used())
        cost = sum((month.cost(self.book) for month in each), Cost())
        _, end = calendar.month_of(now)
        return Forecast(end, units_of(total.amounts).total, cost)

    async def _ahead(self, month: Month, now: int) -> Month:
        """The month with what is expected of its rest."""
        calendar = month.calendar
        week, _ = calendar.day_of(now - FORECAST_DAYS * DAY_SECONDS)
        later: list[Days] = []
        for account, days in ((month.account, month.own), (month.whole, month.everyone)):
            earlier: Days = {}
            if week < month.start:
                earlier = await self._days_between(account, week, month.start, calendar)
            rest = expected({**earlier, **days}, now, month.end)
            later.append(_later(calendar.day_of(now), rest, days, month.end))
        return replace(month, own=later[0], everyone=later[1])


def _later(today: tuple[int, int], rest: Used, days: Days, end: int) -> Days:
    """The days with what is still expected booked to tomorrow, or today on the month's last day."""
    at = today[1] if today[1] < end else today[0]
    return {**days, at: days.get(at, Used()) + rest} if rest else days


def _less(after: Cost, before: Cost) -> Cost:
    return Cost(
        after.request_units - before.request_units,
        after.pod_time - before.pod_time,
        after.storage - before.storage,
        after.egress - before.egress,
        after.fee - before.fee,
    )
