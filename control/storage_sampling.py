"""Storage over time: what storage says of every tenant every few minutes, as KiB × seconds.

    sample      12:00     12:05              12:10     control away     14:00
    level       40 KiB    40 KiB             64 KiB                     64 KiB
    booked      ├─────────┼── nothing: the ──┤ 40 KiB × 600 s           │
                            level stands     ├──────── 64 KiB × … ──────┤

A level holds from the sample that found it to the sample that finds another. Then it is booked, by
its day and month, for exactly the seconds it stood; a level that stands for days is booked once a
day. Days are the organisation's (control/months.py), and UTC's for the sums over everyone: a level
is cut at the borders of both. What is not booked yet is added whenever somebody asks. Bytes are
rounded up to whole KiB.

The levels and how far they are booked are in the registry, changed in the same transaction as the
sums, so a restart loses nothing and books nothing twice; and while control is away the last level
it saw stands. A tenant storage does not speak of keeps its level: storage may just have started. A
deleted tenant's level ends when its data is gone.

What all of an organisation's tenants store now is read off sums by the moment up to which they are
booked, which triggers keep true of the levels (control/steps/listing.py): with 100,000 tenants a
look at one's usage is to read a few rows.

Nothing here asks a tenant anything: a sample wakes nobody.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import aiosqlite

from control import rollups
from control.database import Database
from control.metrics import STORAGE_SAMPLES, STORED_BYTES
from control.months import UTC_CALENDAR, Calendar
from control.periods import DAY_SECONDS, Span, cut
from control.rollups import Addition, Used
from dormouse.base.clock import Clock
from dormouse.base.errors import Unavailable

SPANS = (Span.DAY, Span.MONTH)
"""An hour's storage is not kept: it would be a row an hour for every tenant that sleeps."""
PAGE = 5_000
_log = logging.getLogger(__name__)


def kib(size: int) -> int:
    """Bytes as KiB, a begun one counted whole."""
    return -(-size // 1024)


def booked(
    tenant_id: int, size: int, start: int, end: int, calendar: Calendar = UTC_CALENDAR
) -> list[Addition]:
    """A level that stood from `start` to `end`, by the calendar's days and UTC's."""
    additions = []
    for _, seconds in cut(Span.DAY, start, end, calendar) if size else ():
        for _, part in cut(Span.DAY, start, start + seconds):
            additions.append(Addition(tenant_id, start, Used(storage_kib_seconds=kib(size) * part)))
            start += part
    return additions


class StorageLevels:
    """The table `storage_levels` and, of storage, `usage_rollups`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def take(self, sizes: Mapping[int, int]) -> int:
        """Note what tenants store now, in bytes; how many levels were booked."""
        now = self._clock.wall_ns() // 1_000_000_000
        known = await self._known(list(sizes))
        changed = {}
        for tenant_id, size in sizes.items():
            before, since = known.get(tenant_id, (0, now))
            if size != before or (size and now - since >= DAY_SECONDS):
                changed[tenant_id] = size
        if changed:
            async with self._database.transaction() as connection:
                await _write(connection, changed, now)
        return len(changed)

    async def end_purged(self) -> int:
        """End the levels of tenants whose data is gone; how many that were."""
        rows = await self._database.read(
            "SELECT tenant_id FROM storage_levels JOIN tenants ON id = tenant_id"
            " WHERE purged_ns IS NOT NULL AND bytes > 0 LIMIT ?",
            (PAGE,),
        )
        return await self.take({row[0]: 0 for row in rows}) if rows else 0

    async def now(
        self, account: int, calendar: Calendar = UTC_CALENDAR
    ) -> tuple[int, list[Addition]]:
        """Bytes stored now by a tenant (or the others of control/rollups.py that have a tenant id),
        and what is not booked of it yet."""
        second = self._clock.wall_ns() // 1_000_000_000
        if account > 0:
            levels = (
                "SELECT bytes, (bytes + 1023) / 1024, booked FROM storage_levels"
                " WHERE bytes > 0 AND tenant_id = ?"
            )
        else:
            # Of several tenants, those that were booked at the same moment count as one.
            whose = "? = 0" if account == rollups.EVERYONE else "organisation_id = -?"
            levels = (
                "SELECT sum(bytes), sum(kib), booked FROM storage_sums"
                f" WHERE {whose} GROUP BY booked"
            )
        rows = await self._database.read(levels, (account,))
        open_levels = [
            addition
            for _, whole_kib, since in rows
            for addition in booked(account, whole_kib * 1024, since, second, calendar)
        ]
        return sum(row[0] for row in rows), open_levels

    async def _known(self, tenants: Sequence[int]) -> dict[int, tuple[int, int]]:
        if not tenants:
            return {}
        rows = await self._database.read(
            "SELECT tenant_id, bytes, booked FROM storage_levels WHERE tenant_id BETWEEN ? AND ?",
            (min(tenants), max(tenants)),
        )
        return {row[0]: (row[1], row[2]) for row in rows}


async def book_until(connection: aiosqlite.Connection, organisation: int, end: int) -> None:
    """Book what an organisation's tenants have stored up to a moment that is past, inside the
    transaction that is open on `connection`; what is booked further is left alone."""
    rows = await connection.execute_fetchall(
        "SELECT tenant_id, bytes FROM storage_levels WHERE booked < ? AND bytes > 0"
        " AND tenant_id IN (SELECT id FROM tenants WHERE organisation_id = ?)",
        (end, organisation),
    )
    await _write(connection, {row[0]: row[1] for row in rows}, end)


async def _write(connection: aiosqlite.Connection, sizes: Mapping[int, int], now: int) -> None:
    """Book the levels of before up to `now`, and note those of now.

    The levels are read again here: somebody may have booked them since they were compared.
    """
    rows = await connection.execute_fetchall(
        "SELECT tenant_id, bytes, booked FROM storage_levels"
        " WHERE tenant_id IN (SELECT value FROM json_each(?))",
        (json.dumps(list(sizes)),),
    )
    known = {row[0]: (row[1], row[2]) for row in rows}
    owners = await rollups.owners_of(connection, set(sizes))
    changes, additions = [], []
    for tenant_id, size in sizes.items():
        before, since = known.get(tenant_id, (0, now))
        owner = owners.get(tenant_id)
        calendar = owner.calendar if owner is not None else UTC_CALENDAR
        additions += booked(tenant_id, before, since, now, calendar)
        # The clock may have been put back: no second is booked twice.
        changes.append((tenant_id, size, max(since, now)))
    await rollups.add(connection, additions, SPANS)
    await connection.executemany(
        # Not REPLACE, which would keep what it replaces from the sums (control/steps/listing.py).
        "INSERT INTO storage_levels (tenant_id, bytes, booked) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET bytes = excluded.bytes, booked = excluded.booked",
        changes,
    )


class Sizes(Protocol):
    """Where sizes come from: storage (control.peers)."""

    async def sizes(self, *, after: int, limit: int) -> dict[int, int]:
        """Bytes by tenant id, of ids above `after`, by id. Raises Unavailable."""
        ...


async def sample(levels: StorageLevels, source: Sizes) -> None:
    """Ask storage for all sizes and note them. Raises Unavailable."""
    after = total = 0
    while True:
        sizes = await source.sizes(after=after, limit=PAGE)
        await levels.take(sizes)
        total += sum(sizes.values())
        if len(sizes) < PAGE:
            break
        after = max(sizes)
    await levels.end_purged()
    STORED_BYTES.set(total)


async def sample_forever(levels: StorageLevels, source: Sizes, seconds: float) -> None:
    """Sample every `seconds`; an absent storage is asked again next time."""
    while True:
        try:
            await sample(levels, source)
        except Unavailable:
            STORAGE_SAMPLES.labels("unavailable").inc()
            _log.warning("storage does not say what tenants store")
        else:
            STORAGE_SAMPLES.labels("taken").inc()
        await asyncio.sleep(seconds)
