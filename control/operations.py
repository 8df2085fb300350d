"""Long actions, mostly on tenants, as records: what was asked for, since when, how it ended.

    suspend   running ─▶ its pods have ended
    delete    running ─▶ its pods have ended (its data stays until the grace period is over)
    purge     running ─▶ its data is gone
    restore   one transaction: succeeded from the start
    rotate    running ─▶ the old authority is trusted by nobody (control/trust/rotation.py);
              on the whole installation, so it has no tenant

A record is made in the transaction that decides the action, so none is forgotten by a restart:
deletions and purges go on then; a suspend does not, for its tenant may have been woken since.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum

import aiosqlite

from control.database import Database, Row
from control.journal import Journal, Note
from control.metrics import OPERATIONS
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

_COLUMNS = "id, kind, tenant_id, status, started_ns, ended_ns, error"
_PRUNE_ROWS = 1000
INTERRUPTED = "interrupted by a restart of control; ask again"


class Kind(StrEnum):
    """What is done."""

    SUSPEND = "suspend"
    DELETE = "delete"
    PURGE = "purge"
    RESTORE = "restore"
    ROTATE = "rotate"


class Status(StrEnum):
    """How far it is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Operation:
    """One action."""

    id: int
    kind: Kind
    tenant: TenantId | None
    """None: it is on the whole installation."""

    status: Status
    started_ns: int
    ended_ns: int | None
    error: str | None
    """For people; of a failed one."""


class Operations:
    """The table `operations`."""

    def __init__(self, database: Database, clock: Clock, journal: Journal) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal

    async def begin(
        self, connection: aiosqlite.Connection, kind: Kind, tenant: TenantId | None
    ) -> Operation:
        """A running operation, in the transaction that is open on `connection`.

        One of that kind that runs already is that one.
        """
        running = f"SELECT {_COLUMNS} FROM operations WHERE tenant_id IS ? AND kind = ?"
        rows = await connection.execute_fetchall(
            f"{running} AND status = 'running'", (tenant, kind)
        )
        for row in rows:
            return _operation(tuple(row))
        (row,) = await connection.execute_fetchall(
            "INSERT INTO operations (kind, tenant_id, status, started_ns)"
            f" VALUES (?, ?, 'running', ?) RETURNING {_COLUMNS}",
            (kind, tenant, self._clock.wall_ns()),
        )
        return _operation(tuple(row))

    def transaction(self) -> AbstractAsyncContextManager[aiosqlite.Connection]:
        """See `Database.transaction`."""
        return self._database.transaction()

    async def start(
        self, kind: Kind, tenant: TenantId | None, *, note: Note | None = None
    ) -> Operation:
        """See `begin`, in a transaction of its own; noted in the audit log, if by anybody."""
        async with self._database.transaction() as connection:
            operation = await self.begin(connection, kind, tenant)
            if note is not None:
                await self._journal.write(connection, note)
            return operation

    async def end(
        self,
        connection: aiosqlite.Connection,
        tenant: TenantId | None,
        kinds: Sequence[Kind],
        *,
        error: str | None = None,
    ) -> None:
        """End a tenant's running operations of those kinds; with an error they have failed."""
        status = Status.SUCCEEDED if error is None else Status.FAILED
        for kind in kinds:
            rows = await connection.execute_fetchall(
                "UPDATE operations SET status = ?, ended_ns = ?, error = ?"
                " WHERE tenant_id IS ? AND kind = ? AND status = 'running' RETURNING 1",
                (status, self._clock.wall_ns(), error, tenant, kind),
            )
            OPERATIONS.labels(kind, status).inc(len(list(rows)))

    async def finish(
        self, tenant: TenantId | None, kind: Kind, *, error: str | None = None
    ) -> None:
        """See `end`, in a transaction of its own."""
        async with self._database.transaction() as connection:
            await self.end(connection, tenant, (kind,), error=error)

    async def get(self, number: int) -> Operation | None:
        """The operation with this id."""
        row = await self._database.read_one(
            f"SELECT {_COLUMNS} FROM operations WHERE id = ?", (number,)
        )
        return _operation(row) if row is not None else None

    async def page(self, tenant: TenantId, *, after: int, limit: int) -> list[Operation]:
        """A tenant's operations by id, those above `after`."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM operations WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT ?",
            (tenant, after, limit),
        )
        return [_operation(row) for row in rows]

    async def running(self, kind: Kind, limit: int) -> list[Operation]:
        """Those that run, oldest first."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM operations WHERE kind = ? AND status = 'running'"
            " ORDER BY id LIMIT ?",
            (kind, limit),
        )
        return [_operation(row) for row in rows]

    async def fail_interrupted(self) -> None:
        """At the start: what nobody goes on with has failed."""
        await self._database.write(
            "UPDATE operations SET status = 'failed', ended_ns = ?, error = ?"
            " WHERE status = 'running' AND kind = 'suspend'",
            (self._clock.wall_ns(), INTERRUPTED),
        )

    async def prune(self, before_ns: int) -> int:
        """Forget those that ended before that, a bounded number at a time; how many."""
        rows = await self._database.write_all(
            "DELETE FROM operations WHERE id IN (SELECT id FROM operations"
            " WHERE ended_ns < ? ORDER BY ended_ns LIMIT ?) RETURNING id",
            (before_ns, _PRUNE_ROWS),
        )
        return len(rows)


def _operation(row: Row) -> Operation:
    number, kind, tenant, status, started_ns, ended_ns, error = row
    return Operation(
        number,
        Kind(kind),
        TenantId(tenant) if tenant is not None else None,
        Status(status),
        started_ns,
        ended_ns,
        error,
    )
