"""The tables of spend limits and of leaves; every limit is in memory besides, for each report of
use asks whether there is one.
"""

import json
from collections.abc import Collection, Mapping, Sequence

import aiosqlite

from control.actor import OrganisationId
from control.database import Database, Row
from control.journal import Journal, Note
from control.registry import VersionMismatch
from control.spending.limits import NO_LIMIT, Limit, Policy, Scope, scope_of
from control.spending.pods import PodKey
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

LEAVES_DAYS = 8
"""Longer than a pod's certificate lives."""
_PRUNE_ROWS = 1000
_COLUMNS = "account, monthly_cents, monthly_units, policy, version"


class Limits:
    """The table `spend_limits`."""

    def __init__(self, database: Database, clock: Clock, journal: Journal) -> None:
        self._database = database
        self._clock = clock
        self._journal = journal
        self._known: dict[int, Limit] = {}

    def __repr__(self) -> str:
        return f"<Limits n={len(self._known)}>"

    def __len__(self) -> int:
        return len(self._known)

    async def load(self) -> None:
        """Read all; to be done before anything is asked."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM spend_limits"
            " WHERE monthly_cents IS NOT NULL OR monthly_units IS NOT NULL"
        )
        self._known = {row[0]: _limit(row) for row in rows}

    def of(self, account: int) -> Limit | None:
        """The limit of an account; None where there is none."""
        return self._known.get(account)

    def accounts(self) -> list[int]:
        """All accounts with a limit."""
        return list(self._known)

    async def read(self, account: int) -> Limit:
        """As it stands, one that was taken away with its version."""
        row = await self._database.read_one(
            f"SELECT {_COLUMNS} FROM spend_limits WHERE account = ?", (account,)
        )
        return _limit(row) if row is not None else NO_LIMIT

    async def put(
        self,
        account: int,
        wanted: Limit,
        *,
        organisation: OrganisationId,
        versions: Collection[int] | None = None,
    ) -> Limit:
        """Set the limit, or take it away; durable on return, and noted in the audit log.

        One that is there already keeps its version. Raises VersionMismatch.
        """
        async with self._database.transaction() as connection:
            before = await _read(connection, account)
            if versions is not None and before.version not in versions:
                raise VersionMismatch(before.version)
            changes = _differences(before, wanted)
            if not changes:
                return before
            rows = await connection.execute_fetchall(
                f"INSERT INTO spend_limits ({_COLUMNS}, changed_ns) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET monthly_cents = excluded.monthly_cents,"
                " monthly_units = excluded.monthly_units, policy = excluded.policy,"
                f" version = excluded.version, changed_ns = excluded.changed_ns"
                f" RETURNING {_COLUMNS}",
                (
                    account,
                    wanted.monthly_cents,
                    wanted.monthly_units,
                    wanted.policy,
                    before.version + 1,
                    self._clock.wall_ns(),
                ),
            )
            after = _limit(tuple(next(iter(rows))))
            await self._journal.write(connection, _note(account, organisation, changes))
        self._know(account, after)
        return after

    async def remove_purged(self) -> list[int]:
        """Forget what is left of tenants whose data is gone and of organisations that were deleted,
        a bounded number; their accounts."""
        gone = (
            "SELECT account FROM spend_limits JOIN tenants ON tenants.id = account"
            " WHERE purged_ns IS NOT NULL UNION ALL SELECT account FROM spend_limits"
            " JOIN organisations ON organisations.id = -account WHERE organisations.deleted_ns"
            " IS NOT NULL LIMIT ?"
        )
        rows = await self._database.write_all(
            f"DELETE FROM spend_limits WHERE account IN ({gone}) RETURNING account", (_PRUNE_ROWS,)
        )
        for (account,) in rows:
            self._known.pop(account, None)
        return [account for (account,) in rows]

    def _know(self, account: int, limit: Limit) -> None:
        if limit.exists:
            self._known[account] = limit
        else:
            self._known.pop(account, None)


class Ceilings:
    """The table `spend_leaves`: how far pods may spend, before they are told."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def keep(self, ceilings: Mapping[PodKey, tuple[int, int]]) -> None:
        """Keep the newest numbers, and how far pods may go by them; durable on return."""
        now_ns = self._clock.wall_ns()
        rows = [(*key, number, ceiling, now_ns) for key, (number, ceiling) in ceilings.items()]
        async with self._database.transaction() as connection:
            await connection.executemany(
                "INSERT OR REPLACE INTO spend_leaves (tenant_id, pod_id, number, ceiling, at_ns)"
                " VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    async def last_life_ms(self) -> int:
        """When this control, or the one before it, heard a pod last."""
        row = await self._database.read_one("SELECT max(heard_ms) FROM usage_pods")
        return int(row[0]) if row is not None and row[0] is not None else 0

    async def alive_since(self, account: int, since_ms: int) -> list[Row]:
        """Tenant, pod, number and ceiling of the account's pods that were heard, or given leave,
        since then."""
        whose = "tenant_id = ?1"
        if account < 0:
            whose = "tenant_id IN (SELECT id FROM tenants WHERE organisation_id = -?1)"
        return await self._database.read(
            "SELECT tenant_id, pod_id, number, ceiling FROM spend_leaves"
            f" WHERE {whose} AND (at_ns >= ?2 * 1000000 OR EXISTS (SELECT 1 FROM usage_pods"
            " WHERE usage_pods.tenant_id = spend_leaves.tenant_id"
            " AND usage_pods.pod_id = spend_leaves.pod_id AND heard_ms >= ?2))",
            (account, since_ms),
        )

    async def of(self, keys: Sequence[PodKey]) -> dict[PodKey, tuple[int, int]]:
        """Numbers and ceilings of pods that ever got one."""
        rows = await self._database.read(
            "SELECT tenant_id, pod_id, number, ceiling FROM spend_leaves WHERE (tenant_id, pod_id)"
            " IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
            (json.dumps([list(key) for key in keys]),),
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def prune(self) -> int:
        """Forget those of pods that were not heard for so long that they cannot live any more, a
        bounded number; how many."""
        oldest_ms = self._clock.wall_ns() // 1_000_000 - LEAVES_DAYS * 86_400 * 1000
        rows = await self._database.write_all(
            "DELETE FROM spend_leaves WHERE (tenant_id, pod_id) IN"
            " (SELECT tenant_id, pod_id FROM spend_leaves WHERE at_ns < ?1 * 1000000"
            " AND NOT EXISTS (SELECT 1 FROM usage_pods"
            " WHERE usage_pods.tenant_id = spend_leaves.tenant_id"
            " AND usage_pods.pod_id = spend_leaves.pod_id AND heard_ms >= ?1) LIMIT ?2)"
            " RETURNING tenant_id",
            (oldest_ms, _PRUNE_ROWS),
        )
        return len(rows)


async def _read(connection: aiosqlite.Connection, account: int) -> Limit:
    select = f"SELECT {_COLUMNS} FROM spend_limits WHERE account = ?"
    rows: Sequence[Row] = [
        tuple(row) for row in await connection.execute_fetchall(select, (account,))
    ]
    return _limit(rows[0]) if rows else NO_LIMIT


def _limit(row: Row) -> Limit:
    _, cents, units, policy, version = row
    return Limit(monthly_cents=cents, monthly_units=units, policy=Policy(policy), version=version)


def _differences(before: Limit, wanted: Limit) -> dict[str, tuple[object, object]]:
    pairs = {
        "monthly_cents": (before.monthly_cents, wanted.monthly_cents),
        "monthly_request_units": (before.monthly_units, wanted.monthly_units),
        "policy": (str(before.policy), str(wanted.policy)),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _note(
    account: int, organisation: OrganisationId, changes: Mapping[str, tuple[object, object]]
) -> Note:
    scope = scope_of(account)
    folder = "tenants" if scope is Scope.TENANT else "organisations"
    return Note(
        action=f"{scope}.spend_limit",
        resource=f"{folder}/{abs(account)}/spend-limit",
        organisation=organisation,
        tenant=TenantId(account) if account > 0 else None,
        changes=changes,
    )
