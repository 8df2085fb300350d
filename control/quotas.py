"""How much tenants may store, told to storage, which judges every commit by it.

A change is told at once, before its request is answered. A storage that was away then, or has lost
its disk, is told everything once more with every sample of sizes: so a limit that was not heard is
in force a minute later at the latest, and a restart of storage or control changes nothing.

What is told is read and sent under one lock, so an older value never arrives after a newer one.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Protocol

from control.database import Database, Row
from control.metrics import QUOTAS_TOLD
from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId

_SELECT = "SELECT id, storage_max_bytes FROM tenants"
_log = logging.getLogger(__name__)


class Storage(Protocol):
    """Who judges commits (control.peers)."""

    async def set_quotas(
        self, quotas: Mapping[TenantId, int], *, default: int, only_these: bool
    ) -> None:
        """Set quotas in bytes, 0 for none of one's own. Raises Unavailable."""
        ...


class Quotas:
    """The column `tenants.storage_max_bytes`, towards storage."""

    def __init__(self, database: Database, storage: Storage, *, default: int) -> None:
        """`default`: bytes of tenants without a limit of their own; 0: as many as they like."""
        self._database = database
        self._storage = storage
        self._default = default
        self._telling = asyncio.Lock()

    async def tell(self, tenant: TenantId) -> None:
        """A tenant's limit has changed."""
        async with self._telling:
            rows = await self._database.read(f"{_SELECT} WHERE id = ?", (tenant,))
            await self._told(rows, only_these=False)

    async def tell_all(self) -> None:
        """Tell storage all there is to know."""
        async with self._telling:
            rows = await self._database.read(
                f"{_SELECT} WHERE storage_max_bytes > 0 AND purged_ns IS NULL"
            )
            await self._told(rows, only_these=True)

    async def tell_forever(self, seconds: float) -> None:
        """Tell all every `seconds`."""
        while True:
            try:
                await self.tell_all()
            except sqlite3.Error:
                _log.exception("the limits of storage could not be read")
            await asyncio.sleep(seconds)

    async def _told(self, rows: Sequence[Row], *, only_these: bool) -> None:
        quotas = {TenantId(row[0]): int(row[1]) for row in rows}
        try:
            await self._storage.set_quotas(quotas, default=self._default, only_these=only_these)
        except Unavailable:
            QUOTAS_TOLD.labels("unavailable").inc()
            _log.warning("storage does not hear of its limits", extra={"tenants": len(quotas)})
        else:
            QUOTAS_TOLD.labels("heard").inc()
