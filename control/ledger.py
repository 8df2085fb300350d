"""The usage ledger: an append-only list of what each report added, and sums over it.

A report holds all that a pod has used since its stamp, under a number that grows (sequence). The
ledger keeps the newest report of each pod and books the difference to it.

    report 1   10 reads   ──▶ entry +10       known: 10
    report 3   25 reads   ──▶ entry +15       known: 25
    report 2   18 reads   ──▶ nothing: 25 contains it
    report 3   25 reads   ──▶ nothing, and is acknowledged again

So it does not matter which reports were lost, came twice, late or in another order, nor who brings
them, the pod itself or somebody it told the same: at any time the sum of the entries of a pod is
exactly what its newest report says. What a killed pod used after its last report is all that can be
missing, and pods that are used report every second.

A difference is booked to the time the report was made at, not to when it was heard, but never
before the report that it is a difference to, and never in the future.

Reports that wait at the same moment share one durable transaction. Entries are there for whoever
doubts a sum; after some days they are deleted, and the sums over hours, days and months remain.
A pod is forgotten FORGET_DAYS after it was heard last: long after its certificate has expired, so
that no report can come that would be booked from zero.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiosqlite

from control import rollups
from control.amounts import AMOUNT_NAMES, Amounts
from control.database import Database
from control.metrics import USAGE_REPORTS
from control.periods import DAY_SECONDS
from control.rollups import Addition, Owner, Used
from dormouse.base.clock import Clock
from dormouse.base.tasks import spawn

AMOUNT_MAX = 1 << 50
"""More than a pod can use in its life; a larger amount is refused before it comes here, so that no
sum outgrows the 63 bits of SQLite's integers."""
WAITING_MAX = 20_000
BATCH_MAX = 250
BACKDATED_SECONDS_MAX = 8 * DAY_SECONDS
"""The first report of a pod is booked no further back: longer than a pod's certificate lives."""
FORGET_DAYS = 30
_DELETE_ROWS = 2000

_log = logging.getLogger(__name__)
_SIGN = 1 << 63
_KEYS = ("tenant_id", "pod_id", "sequence", "at_ms", "heard_ms")
_MARKS = ", ".join("?" * (len(_KEYS) + len(AMOUNT_NAMES)))
_COLUMNS = ", ".join((*_KEYS, *AMOUNT_NAMES))
_APPEND = f"INSERT INTO usage_entries ({_COLUMNS}) VALUES ({_MARKS})"
_KNOW = f"INSERT OR REPLACE INTO usage_pods ({_COLUMNS}) VALUES ({_MARKS})"


class LedgerBusy(Exception):
    """The report cannot be taken now, and is to come again."""


def pod_key(tenant_id: int, pod_id: int) -> tuple[int, int]:
    """A pod as it is in the tables: SQLite's integers are signed, pod ids are not."""
    return tenant_id, pod_id - (1 << 64) if pod_id >= _SIGN else pod_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one pod has used since its stamp; see proto/control.proto."""

    tenant_id: int
    pod_id: int
    sequence: int
    at_ms: int = 0
    total: Amounts
    leave: int = 0
    """The number of the pod's leave to spend that was in force; 0: not told."""

    @property
    def key(self) -> tuple[int, int]:
        """The pod's; see `pod_key`."""
        return pod_key(self.tenant_id, self.pod_id)


@dataclass(frozen=True, slots=True)
class Known:
    """The newest report of a pod, as it was booked."""

    sequence: int
    at_ms: int
    total: Amounts


@dataclass(slots=True)
class Booking:
    """What a report does to the ledger."""

    known: Known
    added: Amounts | None
    """None: nothing, it is not new."""
    outcome: str


def book(report: Report, known: Known | None, now_ms: int) -> Booking:
    """Compare a report with what is known of its pod."""
    if known is not None and report.sequence <= known.sequence:
        same = report.sequence < known.sequence or report.total == known.total
        return Booking(known, None, "repeated" if same else "contradicted")
    before = known.total if known is not None else Amounts()
    earliest = known.at_ms if known is not None else now_ms - BACKDATED_SECONDS_MAX * 1000
    at_ms = max(min(report.at_ms or now_ms, now_ms), earliest)
    total = report.total.highest(before)
    # A sum that shrank is a broken pod's. Nothing is taken back for it.
    outcome = "added" if total == report.total else "contradicted"
    return Booking(Known(report.sequence, at_ms, total), total.since(before), outcome)


@dataclass(frozen=True, slots=True)
class Booked:
    """What a transaction of the ledger has made durable."""

    reports: Sequence[Report]
    """Also those that changed nothing."""
    known: Mapping[tuple[int, int], Known]
    additions: Sequence[Addition]
    owners: Mapping[int, Owner]
    """The organisations of the tenants that something was added to."""


def _nobody_listens(_batch: Booked) -> None:
    pass


@dataclass(slots=True)
class _Batch:
    """What one transaction writes."""

    known: dict[tuple[int, int], Known]
    now_ms: int
    entries: list[tuple[int, ...]] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    changed: set[tuple[int, int]] = field(default_factory=set)
    outcomes: list[str] = field(default_factory=list)

    def take(self, report: Report) -> None:
        key = report.key
        booking = book(report, self.known.get(key), self.now_ms)
        self.outcomes.append(booking.outcome)
        self.known[key] = now = booking.known
        if booking.outcome == "contradicted":
            # Refusing would only make a broken pod send it for ever.
            _log.error("a usage report contradicts an earlier one", extra={"report": repr(report)})
        if booking.added is None:
            return
        self.changed.add(key)
        if booking.added:
            head = (*key, now.sequence, now.at_ms, self.now_ms)
            self.entries.append((*head, *booking.added.row))
            second = now.at_ms // 1000
            self.additions.append(Addition(report.tenant_id, second, Used(booking.added)))


class Ledger:
    """The tables `usage_pods`, `usage_entries` and, of pods, `usage_rollups`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        on_booked: Callable[[Booked], None] = _nobody_listens,
    ) -> None:
        """`on_booked` hears of every batch before anything else is written."""
        self._database = database
        self._clock = clock
        self._on_booked = on_booked
        self._waiting: deque[tuple[Report, asyncio.Future[int]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Ledger waiting={len(self._waiting)}>"

    async def add(self, report: Report) -> int:
        """Bring the ledger up to `report`; durable on return. Returns the pod's highest sequence so
        far. Raises LedgerBusy."""
        if len(self._waiting) >= WAITING_MAX:
            raise LedgerBusy("too many usage reports are waiting")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((report, future))
        if self._writing is None or self._writing.done():
            self._writing = spawn(self._write_all(), name="usage ledger")
        return await future

    async def _write_all(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_MAX))]
            try:
                known = await self._write([report for report, _ in some])
            except BaseException as error:  # whoever waits must hear of it, whatever it is
                for _, future in some:
                    if not future.done():
                        future.set_exception(LedgerBusy(f"the ledger cannot be written: {error}"))
                if isinstance(error, sqlite3.Error):
                    _log.exception("the usage ledger cannot be written")
                    continue
                raise
            for report, future in some:
                if not future.done():
                    future.set_result(known[report.key].sequence)

    async def _write(self, reports: Sequence[Report]) -> dict[tuple[int, int], Known]:
        now_ms = self._clock.wall_ns() // 1_000_000
        async with self._database.transaction() as connection:
            known = await _known(connection, {report.key for report in reports})
            batch = _Batch(known, now_ms)
            for report in reports:
                batch.take(report)
            await connection.executemany(_APPEND, batch.entries)
            rows = [
                (*key, now.sequence, now.at_ms, now_ms, *now.total.row)
                for key, now in known.items()
                if key in batch.changed
            ]
            await connection.executemany(_KNOW, rows)
            owners = await rollups.add(connection, batch.additions)
        self._on_booked(Booked(reports, known, batch.additions, owners))
        for outcome in batch.outcomes:
            USAGE_REPORTS.labels(outcome).inc()
        return known

    async def compact(self, *, entries_days: float, hours_days: float) -> int:
        """Delete entries and hourly sums that are older than that, and pods that are long gone. No
        sum over days or months changes. Returns how many rows went."""
        second = self._clock.wall_ns() // 1_000_000_000
        oldest_ms = (second - int(entries_days * DAY_SECONDS)) * 1000
        # Entries are in the order of their coming: the old ones are the first.
        removed = await self._delete(
            "DELETE FROM usage_entries WHERE heard_ms < ? AND id IN"
            " (SELECT id FROM usage_entries ORDER BY id LIMIT ?)",
            oldest_ms,
        )
        removed += await self._delete(
            "DELETE FROM usage_rollups WHERE (tenant_id, span, start) IN (SELECT tenant_id, span,"
            " start FROM usage_rollups WHERE span = 'hour' AND start < ? LIMIT ?)",
            second - int(hours_days * DAY_SECONDS),
        )
        return removed + await self._delete(
            "DELETE FROM usage_pods WHERE (tenant_id, pod_id) IN"
            " (SELECT tenant_id, pod_id FROM usage_pods WHERE heard_ms < ? LIMIT ?)",
            (second - FORGET_DAYS * DAY_SECONDS) * 1000,
        )

    async def _delete(self, sql: str, oldest: int) -> int:
        """A bounded piece at a time: reports come in between."""
        removed = 0
        while True:
            async with self._database.transaction() as connection:
                found = await connection.execute(sql, (oldest, _DELETE_ROWS))
                count = found.rowcount
            removed += count
            if count < _DELETE_ROWS:
                return removed


async def _known(
    connection: aiosqlite.Connection, keys: set[tuple[int, int]]
) -> dict[tuple[int, int], Known]:
    marks = ", ".join(["(?, ?)"] * len(keys))
    rows = await connection.execute_fetchall(
        f"SELECT {_COLUMNS} FROM usage_pods WHERE (tenant_id, pod_id) IN (VALUES {marks})",
        [number for key in keys for number in key],
    )
    return {
        (row[0], row[1]): Known(row[2], row[3], Amounts.from_row(tuple(row[5:]))) for row in rows
    }
