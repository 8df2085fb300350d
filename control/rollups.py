"""Sums over hours, days and months, kept up while the ledger grows.

An addition reaches all three sums in the transaction that makes it, so they never disagree with
the entries, and whoever reads a month reads a handful of rows. The sums of all tenants together are
kept the same way, under a tenant id that nobody has, and those of an organisation under its own
number below zero. A tenant counts to the organisation it has when it is booked.

Days and months are those of the organisation's calendar (control/months.py), for its tenants as for
itself; of the sums over everyone, and of tenants that the registry does not know, UTC's.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import aiosqlite

from control.amounts import AMOUNT_NAMES, Amounts
from control.database import Database, Row
from control.months import UTC_CALENDAR, Calendar, border_range
from control.periods import Span, start_of

COLUMNS = (*AMOUNT_NAMES, "storage_kib_seconds")
"""Of a sum, in the table's order."""
_ADD = (
    f"INSERT INTO usage_rollups (tenant_id, span, start, {', '.join(COLUMNS)})"
    f" VALUES ({', '.join('?' * (3 + len(COLUMNS)))}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in COLUMNS)
)

EVERYONE = 0
"""The tenant id of the sums over all tenants."""


def of_organisation(number: int) -> int:
    """The tenant id of the sums over an organisation."""
    return -number


@dataclass(frozen=True, slots=True)
class Used:
    """What was used in a period: of pods, and of storage in KiB × seconds."""

    amounts: Amounts = field(default_factory=Amounts)
    storage_kib_seconds: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.amounts + other.amounts, self.storage_kib_seconds + other.storage_kib_seconds
        )

    def __sub__(self, before: "Used") -> "Used":
        """What came to `before`, of sums that only grow."""
        return Used(
            self.amounts.since(before.amounts),
            max(self.storage_kib_seconds - before.storage_kib_seconds, 0),
        )

    def __bool__(self) -> bool:
        return bool(self.amounts) or bool(self.storage_kib_seconds)

    @classmethod
    def from_row(cls, row: Row) -> "Used":
        """From the columns of a sum, in their order."""
        return cls(Amounts.from_row(row[:-1]), row[-1])

    @property
    def row(self) -> tuple[int, ...]:
        """The columns of a sum, in their order."""
        return (*self.amounts.row, self.storage_kib_seconds)


@dataclass(frozen=True, slots=True)
class Addition:
    """What a tenant used at a moment, in unix seconds."""

    tenant_id: int
    second: int
    used: Used


async def add(
    connection: aiosqlite.Connection,
    additions: Sequence[Addition],
    spans: Iterable[Span] = tuple(Span),
) -> "dict[int, Owner]":
    """Add to the sums, inside the transaction that is open on `connection`. Returns the tenants'
    organisations."""
    sums: dict[tuple[int, Span, int], Used] = {}
    spans = tuple(spans)
    owners = await owners_of(connection, {each.tenant_id for each in additions})
    for each in additions:
        owner = owners.get(each.tenant_id)
        calendar = owner.calendar if owner is not None else UTC_CALENDAR
        own = (each.tenant_id,) if owner is None else (each.tenant_id, owner.account)
        for span in spans:
            start, everyone = start_of(span, each.second, calendar), start_of(span, each.second)
            for key in ((EVERYONE, span, everyone), *((account, span, start) for account in own)):
                sums[key] = sums[key] + each.used if key in sums else each.used
    rows = [(*key, *used.row) for key, used in sums.items()]
    await connection.executemany(_ADD, rows)
    return owners


@dataclass(frozen=True, slots=True)
class Owner:
    """The organisation of a tenant."""

    organisation: int
    calendar: Calendar

    @property
    def account(self) -> int:
        """The tenant id of its sums."""
        return of_organisation(self.organisation)


async def owners_of(connection: aiosqlite.Connection, tenants: set[int]) -> dict[int, Owner]:
    """The organisations of tenants, deleted ones included."""
    rows = await connection.execute_fetchall(
        "SELECT tenants.id, organisation_id, time_zone, zones FROM tenants"
        " JOIN organisations ON organisations.id = organisation_id"
        " WHERE tenants.id IN (SELECT value FROM json_each(?))",
        (json.dumps(sorted(tenants)),),
    )
    return {row[0]: Owner(row[1], Calendar.read(row[2], row[3])) for row in rows}


async def read(
    database: Database, span: Span, start: int, end: int, *, tenant_id: int = EVERYONE
) -> dict[int, Used]:
    """The sums of the periods that begin from `start` to before `end`, by their beginning. Periods
    without use are left out."""
    rows = await database.read(
        f"SELECT start, {', '.join(COLUMNS)} FROM usage_rollups"
        " WHERE tenant_id = ? AND span = ? AND start >= ? AND start < ? ORDER BY start",
        (tenant_id, span, start, end),
    )
    return {row[0]: Used.from_row(row[1:]) for row in rows}


async def users(
    database: Database, month: int, account: int, *, after: int, limit: int, now: int
) -> list[int]:
    """Ids of tenants of an organisation's account, or of EVERYONE, that used anything in a month
    (by its number) up to now, by id, a page at a time."""
    low, high = border_range(month)
    whose = "organisation_id = -?2" if account else "?2 = 0"
    rows = await database.read(
        f"SELECT id FROM tenants WHERE id > ?1 AND {whose} AND (EXISTS"
        " (SELECT 1 FROM usage_rollups WHERE tenant_id = id AND span = 'month'"
        " AND start BETWEEN ?3 AND ?4) OR (?5 >= ?3 AND EXISTS"
        " (SELECT 1 FROM storage_levels WHERE tenant_id = id AND bytes > 0 AND booked < ?6)))"
        " ORDER BY id LIMIT ?7",
        (max(after, EVERYONE), account, low, high, now, border_range(month + 1)[0], limit),
    )
    return [row[0] for row in rows]


async def organisations(database: Database, month: int) -> list[int]:
    """Organisations whose tenants used anything in a month, by its number."""
    rows = await database.read(
        "SELECT DISTINCT -tenant_id FROM usage_rollups WHERE span = ? AND start BETWEEN ? AND ?"
        " AND tenant_id < ? ORDER BY 1",
        (Span.MONTH, *border_range(month), EVERYONE),
    )
    return [row[0] for row in rows]


async def count_users(
    database: Database, month: tuple[int, int], organisation: int, *, now: int
) -> int:
    """How many tenants of an organisation used anything in a month, from its begin to its end, up
    to now; what they have stored and nobody has booked yet counts."""
    start, end = month
    row = await database.read_one(
        "SELECT count(*) FROM (SELECT tenant_id FROM usage_rollups"
        " JOIN tenants ON tenants.id = tenant_id"
        " WHERE span = 'month' AND start = ?1 AND organisation_id = ?3"
        " UNION SELECT tenant_id FROM storage_levels JOIN tenants ON tenants.id = tenant_id"
        " WHERE bytes > 0 AND max(booked, ?1) < min(?2, ?4) AND organisation_id = ?3)",
        (start, end, organisation, now),
    )
    return int(row[0]) if row is not None else 0
