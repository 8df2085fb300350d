"""Closes months: turns what a month has come to into an invoice that stays.

A month is closed when it has been over for the settling time, so that reports that come late are in
it. What comes later still goes to the next invoice. The registry knows for each organisation which
month is to be closed next, so it does not matter when control runs: after a long absence the months
are closed one after the other, each exactly once.

    look for due months ─▶ book what is stored up to the month's end
                        ─▶ draw up the invoice              (reads only, may be repeated)
                        ─▶ BEGIN  nothing was booked to its months meanwhile?
                                  the month is still the next one?
                                  invoice, audit, event, next month     COMMIT

Drawing up a large invoice takes seconds, and reports must come in meanwhile; so it is done outside
the transaction, and again if the sums have grown under it. Sums only grow, so equal sums mean that
nothing was booked.

A month in which nothing was used gets no invoice and no number. Time between the looks, and the
first look after the start, is for pods to tell what they used while control was away.
"""

import asyncio
import logging
import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import aiosqlite

from control.actor import OrganisationId
from control.database import Database
from control.events import Event, EventKind, Events
from control.invoices.document import Invoice, UnknownFormat, moment_text, pack
from control.invoices.drafts import Basis, Buyer, Drafts
from control.invoices.store import State, advance, begin, insert, note_invoiced
from control.invoices.sums import ROW_JSON
from control.journal import Journal, Note, created
from control.metrics import INVOICE_SECONDS, INVOICES, INVOICES_DUE
from control.months import Calendar
from control.storage_sampling import book_until

PAGE = 100
ATTEMPTS_MAX = 5
RETRY_SECONDS = 3600
"""An organisation whose month could not be closed is tried again after that."""
_log = logging.getLogger(__name__)


class Contradiction(Exception):
    """The sums of the tenants are not the organisation's."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How months are closed."""

    settle_seconds: int
    number_prefix: str = ""


class Closing:
    """Closes what is due."""

    def __init__(self, drafts: Drafts, *, journal: Journal, events: Events, terms: Terms) -> None:
        self._drafts = drafts
        self._database: Database = drafts.database
        self._journal = journal
        self._events = events
        self._terms = terms
        self._put_off: dict[int, int] = {}
        """Organisations that failed, until when; at most those that are due."""

    async def close_forever(self, seconds: float) -> None:
        """Look every so often; the first time after as long."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.close_due()
            except sqlite3.Error:
                INVOICES.labels("failed").inc()
                _log.exception("invoices could not be closed")

    async def close_due(self) -> int:
        """Close every month that is due; how many invoices that made."""
        await self._begin_new()
        made = 0
        before = self._now() - self._terms.settle_seconds
        self._put_off = {each: end for each, end in self._put_off.items() if end > self._now()}
        while True:
            # Those that are put off are still due: they are read over.
            due = await self._drafts.invoices.due(before, PAGE + len(self._put_off))
            due = [state for state in due if state.organisation not in self._put_off]
            if not due:
                break
            busy = await self._pass_over_idle(due)
            for state in busy:
                made += await self._close(state)
        INVOICES_DUE.set(await self._drafts.invoices.count_due(before))
        return made

    async def _begin_new(self) -> None:
        """Note organisations that are new: their first month is the one they were made in."""
        while found := await self._drafts.invoices.unknown(PAGE):
            states = []
            for number, created_ns, zone, zones in found:
                calendar = Calendar.read(zone, zones)
                month = calendar.number_of(created_ns // 1_000_000_000)
                states.append((number, 0, month, calendar.border(month + 1)))
            async with self._database.transaction() as connection:
                await begin(connection, states)

    async def _pass_over_idle(self, due: Sequence[State]) -> list[State]:
        """Go on to the next month where nothing is to be invoiced; the others."""
        numbers = [state.organisation for state in due]
        before = self._now()
        marks = ", ".join("?" * len(numbers))
        rows = await self._database.read(
            "SELECT DISTINCT -r.tenant_id FROM usage_rollups r LEFT JOIN invoice_months m"
            " ON m.organisation_id = -r.tenant_id AND m.start = r.start"
            f" WHERE r.tenant_id IN ({marks}) AND r.span = 'month' AND r.start < ?"
            f" AND m.used IS NOT {ROW_JSON} UNION"
            " SELECT organisation_id FROM storage_levels JOIN tenants ON tenants.id = tenant_id"
            f" WHERE bytes > 0 AND organisation_id IN ({marks})",
            (*(-number for number in numbers), before, *numbers),
        )
        used = {row[0] for row in rows}
        idle = [state for state in due if state.organisation not in used]
        steps = []
        for state in idle:
            buyer = await self._drafts.buyer(state.organisation)
            if buyer is None:
                self._put_off[state.organisation] = before + RETRY_SECONDS
            else:
                steps.append((state, buyer.calendar.border(state.month + 2)))
        async with self._database.transaction() as connection:
            for state, end in steps:
                await advance(connection, state, following=state.month + 1, due=end)
        INVOICES.labels("empty").inc(len(steps))
        return [state for state in due if state.organisation in used]

    async def _close(self, state: State) -> int:
        """Close one month; how many invoices that made. A failure is logged and put off."""
        try:
            with INVOICE_SECONDS.time():
                invoice = await self.close(state)
        except (Contradiction, UnknownFormat, ValueError, LookupError, zlib.error) as error:
            INVOICES.labels("contradicted").inc()
            extra = {"organisation": state.organisation, "reason": str(error)}
            _log.error("a month cannot be closed", extra=extra)
            self._put_off[state.organisation] = self._now() + RETRY_SECONDS
            return 0
        INVOICES.labels("empty" if invoice is None else "closed").inc()
        return int(invoice is not None)

    async def close(self, state: State) -> Invoice | None:
        """Close the month that is the next one; None: nothing was used, or somebody else has
        closed it. Raises Contradiction."""
        buyer = await self._drafts.buyer(state.organisation)
        if buyer is None:
            raise Contradiction("there is no such organisation")
        end = buyer.calendar.border(state.month + 1)
        if end > self._now():
            # Its calendar has changed since it was noted as due.
            async with self._database.transaction() as connection:
                await advance(connection, state, following=state.month, due=end)
            return None
        async with self._database.transaction() as connection:
            await book_until(connection, buyer.id, end)
        for _ in range(ATTEMPTS_MAX):
            basis = await self._drafts.draw_up(buyer, state, state.month, is_closing=True)
            packed = await asyncio.to_thread(pack, basis.invoice)
            if not basis.is_whole:
                continue
            async with self._database.transaction() as connection:
                # Nobody books while this transaction is open.
                if await self._drafts.totals(buyer, basis.months) == basis.sums:
                    return await self._keep(connection, basis, packed, buyer, state)
        raise Contradiction("the sums of the tenants are not the organisation's")

    async def _keep(
        self,
        connection: aiosqlite.Connection,
        basis: Basis,
        packed: bytes,
        buyer: Buyer,
        state: State,
    ) -> Invoice | None:
        following = state.month + 1
        due = buyer.calendar.border(following + 1)
        if not await advance(connection, state, following=following, due=due):
            return None
        await note_invoiced(connection, buyer.id, basis.sums)
        if not any(section.lines for section in basis.invoice.sections):
            return None
        kept = await insert(connection, basis.invoice, packed, prefix=self._terms.number_prefix)
        organisation = OrganisationId(buyer.id)
        await self._journal.write(
            connection,
            Note(
                action="invoice.close",
                resource=f"invoices/{kept.id}",
                organisation=organisation,
                changes=created(number=kept.number, month=kept.month_name, cost_micros=kept.total),
            ),
        )
        await self._events.record(
            connection,
            Event(
                kind=EventKind.INVOICE_CLOSED,
                organisation=organisation,
                data={
                    "invoice": kept.id,
                    "number": kept.number,
                    "currency": kept.currency,
                    "total_cents": kept.payable.total,
                    "period_start": moment_text(kept.start),
                    "period_end": moment_text(kept.end),
                },
            ),
        )
        return kept

    def _now(self) -> int:
        return self._drafts.clock.wall_ns() // 1_000_000_000
