"""What statements and roles cost, by day: the sums of reports, and answers from them.

A report (proto/control.proto, StatementReport) holds sums since the pod's stamp; what it adds to
the newest one known of the pod is booked, as in the usage ledger (control/ledger.py). A pod that
begins to count a statement anew gives it another number, and then all of the sum is new.

    statement, number 7   calls 40, 12.0 units    known: 7, 30, 9.0    booked: 10 calls, 3.0 units
    statement, number 9   calls  2,  0.5 units    known: 7, 40, 12.0   booked:  2 calls, 0.5 units

What is known of a pod goes with its last report, and of one that was killed when its certificate
has expired.

Days are those of the organisation's calendar, as usage has them. A day keeps STATEMENTS_MAX
statements of a tenant, those that cost most; the others become one row without a name. (They are
only folded when there are twice as many, so one that was folded may appear again, with less.)

The roles' sums are the tenant's request units, apart from what is told late: pods report usage
every second and this every ten, so the sums lag by ten seconds of use, which a midnight may put on
the next day and the death of a pod may lose; and apart from rounding, a few millionths for a role
and a pod.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import aiosqlite

from control.database import Database
from control.ledger import BACKDATED_SECONDS_MAX, LedgerBusy, pod_key
from control.metrics import STATEMENT_REPORTS
from control.months import UTC_CALENDAR
from control.periods import DAY_SECONDS
from control.rollups import owners_of
from dormouse.base.clock import Clock

STATEMENTS_MAX = 100
"""Of a tenant and a day."""
KNOWN_MAX = 2000
"""Of a pod, which itself keeps a thousand: beyond, those that were heard longest ago are forgotten
and would count in full if they came back."""
WAITING_MAX = 1000
"""Reports in work at a time."""
_OTHERS = 0
_DELETE_ROWS = 2000
_ORDERS = {"request_units": "micro_units", "calls": "calls", "elapsed": "elapsed_micros"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cost:
    """A sum of whatever statements."""

    calls: int = 0
    rows: int = 0
    elapsed_micros: int = 0
    micro_units: int = 0

    def since(self, before: Self) -> Self:
        """What was added since `before`; nothing where something became less."""
        pairs = zip(self.row, before.row, strict=True)
        return type(self)(*(max(new - old, 0) for new, old in pairs))

    def __add__(self, other: Self) -> Self:
        return type(self)(*(a + b for a, b in zip(self.row, other.row, strict=True)))

    @property
    def row(self) -> tuple[int, ...]:
        """The columns, in order."""
        return self.calls, self.rows, self.elapsed_micros, self.micro_units


_NAMES = tuple(field.name for field in fields(Cost))
_COLUMNS = ", ".join(_NAMES)
_SUMS = ", ".join(f"sum({name})" for name in _NAMES)
_ADDED = ", ".join(f"{name} = {name} + excluded.{name}" for name in _NAMES)
_ADD_STATEMENT = (
    f"INSERT INTO statement_days (tenant_id, day, role, query_id, {_COLUMNS})"
    f" VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {_ADDED}"
)
_ADD_ROLE = (
    "INSERT INTO role_days (tenant_id, day, role, calls, micro_units) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,"
    " micro_units = micro_units + excluded.micro_units"
)
_KNOW = (
    "INSERT OR REPLACE INTO statement_known"
    f" (tenant_id, pod_id, role, query_id, number, {_COLUMNS}, heard_ms)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class StatementSum:
    """What a pod says of one statement of a role."""

    role: str
    query_id: int
    """As it is in the tables: signed."""
    query: str
    number: int
    cost: Cost


@dataclass(frozen=True, slots=True)
class RoleSum:
    """What a pod says of a role; the empty name is for what belongs to none."""

    role: str
    calls: int
    micro_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementReport:
    """What a pod's statements and roles have cost since its stamp."""

    tenant_id: int
    pod_id: int
    sequence: int
    at_ms: int
    statements: Sequence[StatementSum]
    roles: Sequence[RoleSum]
    last: bool = False
    """The pod ends: a later report can only be this one once more."""


@dataclass(frozen=True, slots=True)
class StatementLine:
    """A statement in an answer."""

    role: str
    query_id: int
    query: str
    cost: Cost


@dataclass(frozen=True, slots=True)
class Statements:
    """The statements of a period that come first in some order, and all others together."""

    lines: Sequence[StatementLine]
    others: Cost


Known = dict[tuple[str, int], tuple[int, Cost]]
"""Number and sum by role and query id."""


def statement_growth(sum_now: StatementSum, known: Known) -> Cost:
    """What a report adds to a statement."""
    number, before = known.get((sum_now.role, sum_now.query_id), (sum_now.number, Cost()))
    return sum_now.cost.since(before) if number == sum_now.number else sum_now.cost


def role_growth(sum_now: RoleSum, known: Known) -> tuple[int, int]:
    """Calls and millionths of units that a report adds to a role. What belonged to none so far may
    be a role's now, so that one may also become less."""
    _, before = known.get((sum_now.role, _OTHERS), (0, Cost()))
    units = sum_now.micro_units - before.micro_units
    return max(sum_now.calls - before.calls, 0), units if not sum_now.role else max(units, 0)


class StatementLedger:
    """The tables of control/steps/statements.py."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._in_work = 0

    def __repr__(self) -> str:
        return f"<StatementLedger in_work={self._in_work}>"

    # --- reports -----------------------------------------------------------------------------

    async def add(self, report: StatementReport) -> int:
        """Book what is new in a report; durable on return. The pod's highest sequence so far.
        Raises LedgerBusy."""
        if self._in_work >= WAITING_MAX:
            raise LedgerBusy("too many statement reports are waiting")
        self._in_work += 1
        try:
            async with self._database.transaction() as connection:
                return await self._book(connection, report)
        finally:
            self._in_work -= 1

    async def _book(self, connection: aiosqlite.Connection, report: StatementReport) -> int:
        now_ms = self._clock.wall_ns() // 1_000_000
        pod = pod_key(report.tenant_id, report.pod_id)
        found = await _rows(
            connection,
            "SELECT sequence, at_ms, ended FROM statement_pods WHERE tenant_id = ? AND pod_id = ?",
            pod,
        )
        if found and (report.sequence <= found[0][0] or found[0][2]):
            STATEMENT_REPORTS.labels("repeated").inc()
            return max(int(found[0][0]), report.sequence)
        earliest = found[0][1] if found else now_ms - BACKDATED_SECONDS_MAX * 1000
        at_ms = max(min(report.at_ms or now_ms, now_ms), earliest)
        owners = await owners_of(connection, {report.tenant_id})
        owner = owners.get(report.tenant_id)
        calendar = owner.calendar if owner is not None else UTC_CALENDAR
        day, _ = calendar.day_of(at_ms // 1000)
        known = await _known(connection, pod, report)
        await _add(connection, report, known, day)
        await _remember(connection, pod, report, now_ms)
        await connection.execute(
            "INSERT OR REPLACE INTO statement_pods"
            " (tenant_id, pod_id, sequence, at_ms, heard_ms, ended) VALUES (?, ?, ?, ?, ?, ?)",
            (*pod, report.sequence, at_ms, now_ms, report.last),
        )
        await _fold(connection, report.tenant_id, day)
        STATEMENT_REPORTS.labels("added").inc()
        return report.sequence

    async def compact(self, *, days: float) -> int:
        """Delete days that are older, texts that no day refers to any more, and pods that are long
        gone; how many rows went."""
        second = self._clock.wall_ns() // 1_000_000_000
        oldest = second - int(days * DAY_SECONDS)
        gone_ms = (second - BACKDATED_SECONDS_MAX) * 1000
        removed = 0
        for sql, parameters in (
            (_delete("statement_days", "tenant_id, day, role, query_id", "day < ?"), (oldest,)),
            (_delete("role_days", "tenant_id, day, role", "day < ?"), (oldest,)),
            (_delete("statement_known", "tenant_id, pod_id, role, query_id", _OF_GONE), (gone_ms,)),
            (_delete("statement_pods", "tenant_id, pod_id", "heard_ms < ?"), (gone_ms,)),
            (_delete("statement_texts", "tenant_id, query_id", "last_day < ?"), (oldest,)),
        ):
            removed += await self._delete(sql, parameters)
        return removed

    async def _delete(self, sql: str, parameters: tuple[int, ...]) -> int:
        """A bounded piece at a time: reports come in between."""
        removed = 0
        while True:
            async with self._database.transaction() as connection:
                count = (await connection.execute(sql, parameters)).rowcount
            removed += count
            if count < _DELETE_ROWS:
                return removed

    # --- answers -----------------------------------------------------------------------------

    async def statements(
        self, tenant_id: int, start: int, end: int, *, order: str, limit: int
    ) -> Statements:
        """The statements of the days that begin from `start` to before `end`, the most expensive
        first by `order`: request_units, calls or elapsed."""
        period = (tenant_id, start, end)
        rows = await self._database.read(
            f"SELECT role, days.query_id, coalesce(query, ''), {_SUMS} FROM statement_days AS days"
            " LEFT JOIN statement_texts AS texts ON texts.tenant_id = days.tenant_id"
            " AND texts.query_id = days.query_id"
            " WHERE days.tenant_id = ? AND day >= ? AND day < ? AND days.query_id <> 0"
            f" GROUP BY role, days.query_id ORDER BY sum({_ORDERS[order]}) DESC, days.query_id"
            " LIMIT ?",
            (*period, limit),
        )
        lines = [StatementLine(row[0], row[1], row[2], Cost(*row[3:])) for row in rows]
        total = await self._database.read_one(
            f"SELECT {_SUMS} FROM statement_days WHERE tenant_id = ? AND day >= ? AND day < ?",
            period,
        )
        whole = Cost(*(number or 0 for number in total or ()))
        return Statements(lines, whole.since(sum((line.cost for line in lines), Cost())))

    async def roles(self, tenant_id: int, start: int, end: int) -> list[RoleSum]:
        """What roles cost in the days that begin from `start` to before `end`, dearest first."""
        rows = await self._database.read(
            "SELECT role, sum(calls), max(sum(micro_units), 0) FROM role_days"
            " WHERE tenant_id = ? AND day >= ? AND day < ?"
            " GROUP BY role ORDER BY 3 DESC, role",
            (tenant_id, start, end),
        )
        return [RoleSum(*row) for row in rows]


_OF_GONE = (
    "(tenant_id, pod_id) IN (SELECT tenant_id, pod_id FROM statement_pods WHERE heard_ms < ?)"
)


def _delete(table: str, key: str, condition: str) -> str:
    return (
        f"DELETE FROM {table} WHERE ({key}) IN"
        f" (SELECT {key} FROM {table} WHERE {condition} LIMIT {_DELETE_ROWS})"
    )


async def _rows(
    connection: aiosqlite.Connection, sql: str, parameters: Iterable[Any]
) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.execute_fetchall(sql, tuple(parameters))]


async def _known(
    connection: aiosqlite.Connection, pod: tuple[int, int], report: StatementReport
) -> Known:
    """What is known of the report's statements and roles."""
    keys = [(each.role, each.query_id) for each in report.statements]
    keys += [(each.role, _OTHERS) for each in report.roles]
    marks = ", ".join(["(?, ?)"] * len(keys))
    rows = (
        await _rows(
            connection,
            f"SELECT role, query_id, number, {_COLUMNS} FROM statement_known"
            f" WHERE tenant_id = ? AND pod_id = ? AND (role, query_id) IN (VALUES {marks})",
            (*pod, *(part for key in keys for part in key)),
        )
        if keys
        else []
    )
    return {(row[0], row[1]): (row[2], Cost(*row[3:])) for row in rows}


async def _add(
    connection: aiosqlite.Connection, report: StatementReport, known: Known, day: int
) -> None:
    tenant = report.tenant_id
    grown = [(each, statement_growth(each, known)) for each in report.statements]
    grown = [(each, growth) for each, growth in grown if any(growth.row)]
    await connection.executemany(
        _ADD_STATEMENT,
        [(tenant, day, each.role, each.query_id, *growth.row) for each, growth in grown],
    )
    roles = [(tenant, day, each.role, *role_growth(each, known)) for each in report.roles]
    await connection.executemany(_ADD_ROLE, roles)
    await connection.executemany(
        "INSERT INTO statement_texts (tenant_id, query_id, query, last_day) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET last_day = excluded.last_day"
        " WHERE last_day < excluded.last_day",
        [(tenant, each.query_id, each.query, day) for each, _ in grown],
    )


async def _remember(
    connection: aiosqlite.Connection, pod: tuple[int, int], report: StatementReport, now_ms: int
) -> None:
    if report.last:
        await connection.execute(
            "DELETE FROM statement_known WHERE tenant_id = ? AND pod_id = ?", pod
        )
        return
    rows = [
        (*pod, each.role, each.query_id, each.number, *each.cost.row, now_ms)
        for each in report.statements
    ]
    rows += [
        (*pod, each.role, _OTHERS, 0, each.calls, 0, 0, each.micro_units, now_ms)
        for each in report.roles
    ]
    await connection.executemany(_KNOW, rows)
    await connection.execute(
        "DELETE FROM statement_known WHERE tenant_id = ? AND pod_id = ? AND (role, query_id) IN"
        " (SELECT role, query_id FROM statement_known WHERE tenant_id = ? AND pod_id = ?"
        f" AND query_id <> 0 ORDER BY heard_ms DESC LIMIT -1 OFFSET {KNOWN_MAX})",
        (*pod, *pod),
    )


async def _fold(connection: aiosqlite.Connection, tenant: int, day: int) -> None:
    """Where a day has twice as many statements as it keeps, add the cheap ones to the others."""
    [(count,)] = await _rows(
        connection,
        "SELECT count(*) FROM statement_days WHERE tenant_id = ? AND day = ?",
        (tenant, day),
    )
    if count <= 2 * STATEMENTS_MAX:
        return
    cheap = await _rows(
        connection,
        f"SELECT role, query_id, {_COLUMNS} FROM statement_days"
        " WHERE tenant_id = ? AND day = ? AND query_id <> 0"
        " ORDER BY micro_units DESC, query_id LIMIT -1 OFFSET ?",
        (tenant, day, STATEMENTS_MAX),
    )
    others = sum((Cost(*row[2:]) for row in cheap), Cost())
    await connection.executemany(
        "DELETE FROM statement_days WHERE tenant_id = ? AND day = ? AND role = ? AND query_id = ?",
        [(tenant, day, row[0], row[1]) for row in cheap],
    )
    await connection.execute(_ADD_STATEMENT, (tenant, day, "", _OTHERS, *others.row))
    _log.debug("statements of a day were folded", extra={"tenant": tenant, "rows": len(cheap)})
