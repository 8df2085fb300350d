"""Draws up invoices: of a month that goes on, and of one that is over and about to be closed.

An invoice has its own month and, if it is the next one to be closed, what was booked to earlier
months after those were closed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from control import rollups
from control.database import Database
from control.invoices.document import Invoice
from control.invoices.lines import ORGANISATION
from control.invoices.sections import Billed, Part, Section, charge_month
from control.invoices.seller import Seller
from control.invoices.store import Invoices, State
from control.invoices.sums import OpenMonth, Sums
from control.months import Calendar
from control.prices import PriceBook
from control.rollups import Used
from dormouse.base.clock import Clock

OPEN_MAX = 24
"""Drafts in a list: months that are not closed, the oldest first."""


@dataclass(frozen=True, slots=True)
class Buyer:
    """An organisation as its invoice has it."""

    id: int
    name: str
    billing_address: str
    calendar: Calendar
    created: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class Basis:
    """An invoice and the sums it was made from: while they have not grown, nothing is missing."""

    invoice: Invoice
    months: tuple[int, ...]
    """Their numbers: its own, and earlier ones with late use."""
    sums: dict[int, Used]
    """By the begin of their month."""
    is_whole: bool
    """Whether the lines of all tenants are the organisation's sums."""


class Drafts:
    """Makes invoices from the ledger's sums."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        book: PriceBook,
        seller: Seller,
    ) -> None:
        self.database = database
        self.clock = clock
        self.book = book
        self.seller = seller
        self.invoices = Invoices(database)
        self._sums = Sums(database, book)
        # One large organisation after the other: each is seconds of work and megabytes.
        self._drawing = asyncio.Semaphore(1)

    async def buyer(self, organisation: int) -> Buyer | None:
        """An organisation, deleted or not."""
        row = await self.database.read_one(
            "SELECT id, name, billing_address, time_zone, zones, created_ns FROM organisations"
            " WHERE id = ?",
            (organisation,),
        )
        if row is None:
            return None
        number, name, address, zone, zones, created_ns = row
        calendar = Calendar.read(zone, zones)
        return Buyer(number, name, address, calendar, created_ns // 1_000_000_000)

    async def current(self, buyer: Buyer) -> Invoice:
        """The draft of the month under way, by tenant."""
        number = buyer.calendar.number_of(self._now())
        return (await self.draw_up(buyer, await self._state(buyer), number)).invoice

    async def open_ones(self, buyer: Buyer) -> list[Invoice]:
        """The drafts of all months that are not closed, for the organisation as if it were one
        tenant; the newest first."""
        state, last = await self._state(buyer), buyer.calendar.number_of(self._now())
        first = min(state.month, last)
        numbers = range(max(first, last - OPEN_MAX + 1), last + 1)
        return [await self._together(buyer, state, number) for number in reversed(numbers)]

    async def draw_up(
        self, buyer: Buyer, state: State, number: int, *, is_closing: bool = False
    ) -> Basis:
        """The invoice of a month; of one that is closed, from what is booked alone."""
        month = self._month(buyer, number, is_closing=is_closing)
        sums = await self._sums.totals(month)
        async with self._drawing:
            parts = await self._sums.parts(month, Billed())
            sections = await asyncio.to_thread(charge_month, number, parts, Billed())
            is_whole = _used(parts) == sum(sums.values(), Used())
            months = [number]
            for late in await self._late(buyer, state, number):
                before = await self.invoices.billed(buyer.id, late.number)
                totals = await self._sums.totals(late)
                parts = await self._sums.parts(late, before)
                is_whole = is_whole and _used(parts) == sum(totals.values(), Used())
                sections += await asyncio.to_thread(charge_month, late.number, parts, before)
                sums |= totals
                months.append(late.number)
        kept = [each for each in sections if each.says_something]
        tenants = {line.tenant_id for section in kept for line in section.lines}
        names = await self._sums.names(sorted(tenants - {ORGANISATION}))
        return Basis(self._invoice(buyer, month, kept, names), tuple(months), sums, is_whole)

    async def totals(self, buyer: Buyer, months: Sequence[int]) -> dict[int, Used]:
        """The sums of months, by their begin."""
        found: dict[int, Used] = {}
        for number in months:
            found |= await self._sums.totals(self._month(buyer, number, is_closing=True))
        return found

    async def _together(self, buyer: Buyer, state: State, number: int) -> Invoice:
        """`draw_up`, with one line where there is one for each tenant: the same sums."""
        month = self._month(buyer, number, is_closing=False)
        fees = {ORGANISATION: await self._users(month)}
        parts = await self._sums.parts_together(month, Billed())
        sections = charge_month(number, parts, Billed(), fees)
        for late in await self._late(buyer, state, number):
            before = await self.invoices.billed(buyer.id, late.number)
            fees = {ORGANISATION: await self._users(late) - len(before.with_fee)}
            parts = await self._sums.parts_together(late, before)
            sections += charge_month(late.number, parts, before.together(), fees)
        kept = [each for each in sections if each.says_something]
        return self._invoice(buyer, month, kept, {})

    async def _users(self, month: OpenMonth) -> int:
        return await rollups.count_users(
            self.database, month.borders, month.organisation, now=self._now()
        )

    async def _late(self, buyer: Buyer, state: State, number: int) -> list[OpenMonth]:
        """Closed months of which something is to be invoiced with the month `number`."""
        if number != state.month:
            return []
        before = buyer.calendar.border(number)
        found = await self._sums.late(buyer.id, state.since, before)
        return [self._month(buyer, late, is_closing=True) for late in found if late < number]

    async def _state(self, buyer: Buyer) -> State:
        known = await self.invoices.state(buyer.id)
        return known or State(buyer.id, 0, buyer.calendar.number_of(buyer.created))

    def _month(self, buyer: Buyer, number: int, *, is_closing: bool) -> OpenMonth:
        until = None if is_closing else self._now()
        return OpenMonth(buyer.id, buyer.calendar, number, until)

    def _invoice(
        self, buyer: Buyer, month: OpenMonth, sections: Sequence[Section], names: dict[int, str]
    ) -> Invoice:
        start, end = month.borders
        return Invoice(
            organisation_id=buyer.id,
            organisation=buyer.name,
            billing_address=buyer.billing_address,
            month=month.number,
            time_zone=buyer.calendar.zone(month.number),
            start=start,
            end=end,
            made_ns=self.clock.wall_ns(),
            day=buyer.calendar.date_of(self._now()),
            currency=self.book.currency,
            seller=self.seller,
            sections=tuple(sections),
            names=names,
        )

    def _now(self) -> int:
        return self.clock.wall_ns() // 1_000_000_000


def _used(parts: Sequence[Part]) -> Used:
    return sum((used for part in parts for used in part.uses.values()), Used())
