"""Which columns of the registry hold sealed secrets, and how they are sealed anew under a new key.

    add a key ──▶ the file has new and old ──▶ rows are sealed anew, some at a time
                                                    │
    what was written meanwhile is found by ◀────────┤ a minute later: nothing left, twice running
    the next look                                   ▼
                                               old keys are forgotten

Every step is durable by itself, so a control that dies in between goes on at its next start. The
old keys outlive the last row by a look or two: somebody may have sealed under them and not have
written yet.
"""

import asyncio
import logging
import sqlite3
from dataclasses import dataclass

from control.database import Database
from control.metrics import SEALED_ANEW
from control.registry import SESSION_KEY
from control.webhooks.store import WEBHOOK_SECRET

_log = logging.getLogger(__name__)

_BATCH_ROWS = 500
_LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A BLOB column that is empty or sealed for `purpose`, of a table with rowids."""

    table: str
    column: str
    purpose: str


COLUMNS: tuple[SealedColumn, ...] = (
    SealedColumn("sealed_probe", "sealed", "probe"),
    SealedColumn("tenants", "sealed_session_key", SESSION_KEY),
    SealedColumn("webhooks", "sealed_secret", WEBHOOK_SECRET),
    SealedColumn("webhooks", "sealed_previous_secret", WEBHOOK_SECRET),
    SealedColumn("webhooks", "sealed_secret", "webhook secret"),
    SealedColumn("webhooks", "sealed_previous_secret", "webhook secret"),
)
"""All of them: what is not listed here is lost when its key is forgotten."""


class Sealing:
    """Keeps the registry's secrets sealed under the newest key."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._quiet_looks = 0
        self._working = asyncio.Lock()

    @property
    def key_ids(self) -> list[str]:
        """The names of the keys, the one that seals first."""
        return self._database.vault.key_ids

    async def rotate(self) -> int:
        """Make a new key and seal everything under it; how many secrets that were.

        Raises VaultError where too many old keys are still there.
        """
        async with self._working:
            await asyncio.to_thread(self._database.vault.add_key)
            self._quiet_looks = 0
            count = await self._seal_anew()
        _log.info("secrets sealed anew", extra={"count": count})
        return count

    async def look(self) -> None:
        """Go on with a rotation that is not over; one look of `look_forever`."""
        vault = self._database.vault
        if len(vault.key_ids) == 1:
            return
        async with self._working:
            count = await self._seal_anew()
            self._quiet_looks = 0 if count else self._quiet_looks + 1
            if self._quiet_looks >= 2:
                await asyncio.to_thread(vault.forget_old_keys)
                _log.info("old secret keys forgotten", extra={"key": vault.key_ids[0]})

    async def look_forever(self) -> None:
        """Look every minute; a failure (a full disk, say) is logged and tried again."""
        while True:
            try:
                await self.look()
            except (sqlite3.Error, OSError):
                _log.exception("secrets could not be sealed anew")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _seal_anew(self) -> int:
        return sum([await self._column(column) for column in COLUMNS])

    async def _column(self, where: SealedColumn) -> int:
        """Batch by batch, so that nobody waits long for the writer."""
        table, column = where.table, where.column
        after, count = -1, 0
        while True:
            rows = await self._database.read(
                f"SELECT rowid, {column} FROM {table} WHERE rowid > ? AND {column} <> x''"
                " ORDER BY rowid LIMIT ?",
                (after, _BATCH_ROWS),
            )
            if not rows:
                return count
            after = rows[-1][0]
            old = [row for row, sealed in rows if not self._database.vault.is_current(sealed)]
            if old:
                count += await self._seal_rows(where, old)

    async def _seal_rows(self, where: SealedColumn, rows: list[int]) -> int:
        column = where.column
        async with self._database.transaction() as connection:
            for row in rows:
                await connection.execute(
                    f"UPDATE {where.table} SET {column} = sealed(?1, opened(?1, {column}))"
                    f" WHERE rowid = ?2 AND {column} <> x''",
                    (where.purpose, row),
                )
        SEALED_ANEW.inc(len(rows))
        return len(rows)
