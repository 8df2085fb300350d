"""The tables of invoices: closed ones, what has been invoiced of each month, what is to be closed.

A closed invoice is never changed and never goes (the tables refuse it), so its id, the row's, is
also its number: they count up from 1 without a gap in one installation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import aiosqlite

from control.database import Database, Row
from control.invoices.document import FORMAT, Invoice, unpack
from control.invoices.money import Payable, digits_of
from control.invoices.sections import Billed
from control.invoices.sums import used_text
from control.months import month_name
from control.rollups import Used

_HEAD = (
    "id, number, organisation_id, month, period_start, period_end, closed_ns, currency,"
    " total_micros, payable"
)
NUMBER_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Head:
    """A closed invoice in a list."""

    id: int
    number: str
    organisation_id: int
    month_name: str
    start: int
    end: int
    closed_ns: int
    currency: str
    total: int
    """Millionths of the currency, before tax."""
    payable: str
    """With tax, as it is printed."""


@dataclass(frozen=True, slots=True)
class State:
    """How far the months of an organisation are closed."""

    organisation: int
    since: int
    """Months that begin before it are not invoiced."""
    month: int
    """The number of the one that is closed next."""


class Invoices:
    """The tables `invoices`, `invoice_months` and `invoice_states`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, number: int) -> Invoice | None:
        """A closed invoice. Raises UnknownFormat."""
        row = await self._database.read_one(
            "SELECT id, number, format, document FROM invoices WHERE id = ?", (number,)
        )
        return unpack(*row) if row is not None else None

    async def organisation_of(self, number: int) -> int | None:
        """Whose closed invoice it is."""
        row = await self._database.read_one(
            "SELECT organisation_id FROM invoices WHERE id = ?", (number,)
        )
        return int(row[0]) if row is not None else None

    async def page(self, organisation: int, *, before: int | None, limit: int) -> list[Head]:
        """Closed invoices, the newest first, those below the id `before`."""
        rows = await self._database.read(
            f"SELECT {_HEAD} FROM invoices WHERE organisation_id = ?1 AND (?2 IS NULL OR id < ?2)"
            " ORDER BY id DESC LIMIT ?3",
            (organisation, before, limit),
        )
        return [_head(row) for row in rows]

    async def billed(self, organisation: int, month: int) -> Billed:
        """What has been invoiced of a month, in its own invoice and in later ones."""
        rows = await self._database.read(
            "SELECT id, number, format, document FROM invoices"
            " WHERE organisation_id = ? AND month >= ? ORDER BY id",
            (organisation, month),
        )
        found = [unpack(*row) for row in rows]
        return Billed.of(
            section for each in found for section in each.sections if section.month == month
        )

    async def state(self, organisation: int) -> State | None:
        """How far an organisation is; None: nothing was closed and nothing is known."""
        row = await self._database.read_one(
            "SELECT organisation_id, since, month FROM invoice_states WHERE organisation_id = ?",
            (organisation,),
        )
        return State(*row) if row is not None else None

    async def due(self, before: int, limit: int) -> list[State]:
        """Those whose next month was over before that, the longest ago first."""
        rows = await self._database.read(
            "SELECT organisation_id, since, month FROM invoice_states WHERE due < ?"
            " ORDER BY due LIMIT ?",
            (before, limit),
        )
        return [State(*row) for row in rows]

    async def count_due(self, before: int) -> int:
        """How many they are."""
        row = await self._database.read_one(
            "SELECT count(*) FROM invoice_states WHERE due < ?", (before,)
        )
        return int(row[0]) if row is not None else 0

    async def unknown(self, limit: int) -> list[Row]:
        """Organisations that have no state yet: id, created_ns, time_zone, zones. Ids count up and
        states are made in their order, so they are those above all that have one."""
        return await self._database.read(
            "SELECT id, created_ns, time_zone, zones FROM organisations WHERE id >"
            " (SELECT coalesce(max(organisation_id), 0) FROM invoice_states) ORDER BY id LIMIT ?",
            (limit,),
        )


async def begin(connection: aiosqlite.Connection, states: list[tuple[int, int, int, int]]) -> None:
    """Note organisations: id, since, month, due; those that are noted stay."""
    await connection.executemany(
        "INSERT OR IGNORE INTO invoice_states (organisation_id, since, month, due)"
        " VALUES (?, ?, ?, ?)",
        states,
    )


async def advance(
    connection: aiosqlite.Connection, state: State, *, following: int, due: int
) -> bool:
    """Go on to another month, unless somebody else has; whether it was done."""
    found = await connection.execute(
        "UPDATE invoice_states SET month = ?, due = ? WHERE organisation_id = ? AND month = ?",
        (following, due, state.organisation, state.month),
    )
    return found.rowcount == 1


async def insert(
    connection: aiosqlite.Connection,
    invoice: Invoice,
    packed: bytes,
    *,
    prefix: str,
) -> Invoice:
    """Keep a closed invoice under the next number; it with id and number."""
    highest = "SELECT coalesce(max(id), 0) FROM invoices"
    ((before,),) = await connection.execute_fetchall(highest)
    number = before + 1
    name = f"{prefix}{number:0{NUMBER_DIGITS}d}"
    await connection.execute(
        f"INSERT INTO invoices ({_HEAD}, format, document)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            name,
            invoice.organisation_id,
            invoice.month,
            invoice.start,
            invoice.end,
            invoice.made_ns,
            invoice.currency,
            invoice.total,
            invoice.payable.total,
            FORMAT,
            packed,
        ),
    )
    return replace(invoice, id=number, number=name)


async def note_invoiced(
    connection: aiosqlite.Connection, organisation: int, months: Mapping[int, Used]
) -> None:
    """What of months, by their begin, has been invoiced from now on."""
    await connection.executemany(
        "INSERT OR REPLACE INTO invoice_months (organisation_id, start, used) VALUES (?, ?, ?)",
        [(organisation, start, used_text(used)) for start, used in months.items()],
    )


def _head(row: Row) -> Head:
    number, name, organisation, month, start, end, closed_ns, currency, total, payable = row
    shown = Payable(digits_of(currency), payable, 0).text(payable)
    return Head(
        number, name, organisation, month_name(month), start, end, closed_ns, currency, total, shown
    )
