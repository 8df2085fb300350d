"""A simulated month of many tenants of one organisation: how long its invoice takes to close, to
read and to print, and whether it adds up to the ledger.

The ledger, the closing and the printing are control's own, on a registry of their own; only time is
virtual. Every tenant uses something of everything on every day, so no line is left out.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from bench.breakdown import DoesNotAddUp
from bench.stats import table
from control import rollups
from control.amounts import AMOUNT_NAMES, Amounts
from control.database import Database, open_database
from control.invoices.closing import Closing, Terms
from control.invoices.csvfile import csv_text
from control.invoices.document import Invoice
from control.invoices.drafts import Drafts
from control.invoices.pdf import pdf_bytes
from control.invoices.seller import Seller
from control.months import Calendar, border_range, first_day, month_number
from control.periods import Span
from control.prices import PriceBook, Version
from control.rollups import Addition, Used, of_organisation
from control.services import Stores
from control.storage_sampling import StorageLevels
from control.usage import UsageReader
from dormouse.base.clock import ManualClock

ZONE = "Asia/Tokyo"
MONTH = month_number(date(2026, 3, 1))
_BOOK = PriceBook(
    "USD", (Version(effective_from=date(1970, 1, 1), per_thousand_egress_gib=90_000_000),)
)
_HOUR_SECONDS = 3600
T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--invoice-tenants",
        type=int,
        nargs="+",
        default=[1_000, 10_000],
        metavar="N",
        help="tenants of the organisation (default: 1000 10000)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure; returns the figures."""
    found = {}
    for tenants in options.invoice_tenants:
        with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder:
            found[str(tenants)] = asyncio.run(measure(Path(folder), tenants))
    names = list(next(iter(found.values())))
    rows = [(name, *(f"{each[name]:,}" for each in found.values())) for name in names]
    print(table(("tenants", *(f"{int(each):,}" for each in found)), rows))
    return found


@dataclass
class Stopwatch:
    """Seconds by what was done."""

    seconds: dict[str, float] = field(default_factory=dict)

    async def wait(self, name: str, work: Awaitable[T]) -> T:
        """Measure something that is awaited."""
        begin = time.perf_counter()
        result = await work
        self.seconds[name] = round(time.perf_counter() - begin, 3)
        return result

    def call(self, name: str, work: Callable[[], T]) -> T:
        """Measure a call."""
        begin = time.perf_counter()
        result = work()
        self.seconds[name] = round(time.perf_counter() - begin, 3)
        return result


async def measure(folder: Path, tenants: int) -> dict[str, Any]:
    """The figures of one month; raises DoesNotAddUp."""
    calendar, watch = Calendar.of(ZONE), Stopwatch()
    clock = ManualClock(wall_ns=calendar.border(MONTH) * 10**9)
    async with open_database(folder / "registry.sqlite") as database:
        stores = Stores.over(database, clock)
        organisation = (await stores.organisations.add(name="acme", time_zone=ZONE)).id
        await watch.wait(
            "seconds to book the month",
            _simulate(database, clock, organisation, tenants),
        )
        drafts = Drafts(database, clock, book=_BOOK, seller=Seller(name="Dormouse"))
        buyer = await drafts.buyer(organisation)
        if buyer is None:
            raise DoesNotAddUp("the organisation is gone")
        await watch.wait("seconds to draw up a draft", drafts.current(buyer))
        clock.advance(calendar.border(MONTH + 1) + 86_400 - clock.wall_ns() // 10**9)
        closing = Closing(
            drafts, journal=stores.journal, events=stores.events, terms=Terms(_HOUR_SECONDS)
        )
        await watch.wait("seconds to close the month", closing.close_due())
        invoice = await watch.wait("seconds to read the invoice", drafts.invoices.get(1))
        if invoice is None:
            raise DoesNotAddUp("there is no invoice")
        await check(database, clock, invoice)
        watch.call("seconds to write CSV", lambda: csv_text(invoice))
        pdf = watch.call("seconds to print PDF", lambda: pdf_bytes(invoice, None))
        size = await database.read_one("SELECT length(document) FROM invoices")
    return {
        **watch.seconds,
        "lines": sum(len(section.lines) for section in invoice.sections),
        "bytes of the snapshot": size[0] if size is not None else 0,
        "bytes of the PDF": len(pdf),
    }


async def check(database: Database, clock: ManualClock, invoice: Invoice) -> None:
    """Raises DoesNotAddUp unless the invoice is what the ledger and the usage API say."""
    account = of_organisation(invoice.organisation_id)
    low, high = border_range(invoice.month)
    months = await rollups.read(database, Span.MONTH, low, high, tenant_id=account)
    booked = sum(months.values(), Used())
    counted = sum((used for s in invoice.sections for used in s.uses.values()), Used())
    usage = await UsageReader(database, StorageLevels(database, clock), _BOOK, clock).read(
        first_day(invoice.month), first_day(invoice.month + 1), account=account
    )
    lines = sum(line.amount for _, line in invoice.lines())
    if not (counted == booked and lines == invoice.total == usage.whole.cost.total):
        raise DoesNotAddUp(f"lines {lines}, usage {usage.whole.cost.total}")


async def _simulate(
    database: Database, clock: ManualClock, organisation: int, tenants: int
) -> None:
    """Make the tenants, and book a month of theirs, day by day."""
    chance = random.Random(tenants)
    now_ns = clock.wall_ns()
    async with database.transaction() as connection:
        await connection.executemany(
            "INSERT INTO tenants (name, owner, database, scram_verifier, connections_max,"
            " created_ns, organisation_id) VALUES (?, 'owner', 'shop', '', 1, ?, ?)",
            [(f"shop-{number}", now_ns, organisation) for number in range(tenants)],
        )
    rows = await database.read("SELECT id FROM tenants WHERE organisation_id = ?", (organisation,))
    ids = [row[0] for row in rows]
    levels = StorageLevels(database, clock)
    for day in range(31):
        await levels.take({each: chance.randrange(1 << 34) for each in ids})
        second = clock.wall_ns() // 10**9 + chance.randrange(86_000)
        additions = [Addition(each, second, Used(_amounts(chance))) for each in ids]
        async with database.transaction() as connection:
            await rollups.add(connection, additions)
        # The last day is not over yet: its draft is measured.
        clock.advance(86_400 if day < 30 else 86_399)


def _amounts(chance: random.Random) -> Amounts:
    return Amounts(*(chance.randrange(1, 10**7) for _ in AMOUNT_NAMES))
