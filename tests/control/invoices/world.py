"""What tests of invoices share: a ledger, a calendar, and the closing of months on one file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from control import rollups
from control.amounts import Amounts
from control.database import Database, open_database
from control.invoices.closing import Closing, Terms
from control.invoices.document import Invoice, pack
from control.invoices.drafts import Drafts
from control.invoices.seller import Seller
from control.invoices.store import insert
from control.invoices.sums import Sums
from control.ledger import Ledger, Report
from control.months import UTC_CALENDAR, border_range, month_number
from control.periods import Span
from control.prices import PriceBook
from control.rollups import Used
from control.services import Stores
from control.storage_sampling import StorageLevels
from control.usage import UsageReader
from dormouse.base.clock import ManualClock

DAY = 86_400
SETTLE = 3600


def at(text: str) -> int:
    """Unix seconds of a moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@dataclass
class World:
    """Control's tables and what works on them."""

    database: Database
    clock: ManualClock
    book: PriceBook
    seller: Seller
    stores: Stores
    ledger: Ledger
    levels: StorageLevels
    usage: UsageReader
    drafts: Drafts
    closing: Closing
    sums: Sums
    totals: dict[tuple[int, int], Amounts] = field(default_factory=dict)
    sequence: int = 0

    def go_to(self, text: str) -> None:
        """Let time pass until a moment."""
        self.clock.advance(at(text) - self.clock.wall_ns() // 10**9)

    async def organisation(self, name: str, zone: str = "UTC") -> int:
        return (await self.stores.organisations.add(name=name, time_zone=zone)).id

    async def tenant(self, name: str, organisation: int) -> int:
        added = await self.stores.registry.add(
            name=name,
            owner="o",
            database="d",
            scram_verifier="v",
            connections_max=1,
            organisation=organisation,  # type: ignore[arg-type]
        )
        return added.id

    async def use(
        self, tenant: int, *, pod: int = 1, at_second: int | None = None, **amounts: int
    ) -> None:
        """A report of a pod; of a moment that is past, if it comes late."""
        self.sequence += 1
        total = self.totals.get((tenant, pod), Amounts()) + Amounts(**amounts)
        self.totals[tenant, pod] = total
        second = self.clock.wall_ns() // 10**9 if at_second is None else at_second
        await self.ledger.add(
            Report(
                tenant_id=tenant,
                pod_id=pod,
                sequence=self.sequence,
                at_ms=second * 1000,
                total=total,
            )
        )

    async def invoices(self, organisation: int) -> list[Invoice]:
        """The closed ones, the oldest first."""
        heads = await self.drafts.invoices.page(organisation, before=None, limit=1000)
        found = [await self.drafts.invoices.get(head.id) for head in reversed(heads)]
        return [each for each in found if each is not None]

    async def month(self, organisation: int, number: int) -> Used:
        """What the ledger has for a month of an organisation."""
        low, high = border_range(number)
        found = await rollups.read(self.database, Span.MONTH, low, high, tenant_id=-organisation)
        return sum(found.values(), Used())


@asynccontextmanager
async def world_at(
    folder: Path, start: str, *, book: PriceBook | None = None, **seller: Any
) -> AsyncIterator[World]:
    clock = ManualClock(wall_ns=at(start) * 10**9)
    async with open_world(folder, clock, book=book, **seller) as world:
        yield world


@asynccontextmanager
async def open_world(
    folder: Path, clock: ManualClock, *, book: PriceBook | None = None, **seller: Any
) -> AsyncIterator[World]:
    """The world of a file that may be there already."""
    book = book or PriceBook()
    async with open_database(folder / "registry.sqlite") as database:
        stores = Stores.over(database, clock)
        levels = StorageLevels(database, clock)
        who = Seller(**seller)
        drafts = Drafts(database, clock, book=book, seller=who)
        yield World(
            database=database,
            clock=clock,
            book=book,
            seller=who,
            stores=stores,
            ledger=Ledger(database, clock),
            levels=levels,
            usage=UsageReader(database, levels, book, clock),
            drafts=drafts,
            sums=Sums(database, book),
            closing=Closing(
                drafts,
                journal=stores.journal,
                events=stores.events,
                terms=Terms(settle_seconds=SETTLE, number_prefix="DM-"),
            ),
        )


async def add_invoice(database: Database, organisation: int, **fields: Any) -> int:
    """A closed invoice of March 2026 without a line; its id."""
    number = month_number(date(2026, 3, 1))
    invoice = Invoice(
        organisation_id=organisation,
        organisation="acme",
        billing_address="",
        month=number,
        time_zone="UTC",
        start=UTC_CALENDAR.border(number),
        end=UTC_CALENDAR.border(number + 1),
        made_ns=at("2026-04-02") * 10**9,
        day=date(2026, 4, 2),
        currency="EUR",
        seller=Seller(),
        sections=(),
    )
    invoice = replace(invoice, **fields)
    async with database.transaction() as connection:
        kept = await insert(connection, invoice, pack(invoice), prefix="")
    return kept.id or 0
