"""How much tenants may store, and how long their past is kept: told to storage, which sees to it.

A change is told at once, before its request is answered. A storage that was away then, or has lost
its disk, is told everything once more with every sample of sizes: so a limit that was not heard is
in force a minute later at the latest, and a restart of storage or control changes nothing.

What is told is read and sent under one lock, so an older value never arrives after a newer one.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from control.database import Database, Row
from control.metrics import QUOTAS_TOLD
from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId

_SELECT = "SELECT id, storage_max_bytes, recovery_window_seconds FROM tenants"
_SPECIAL = "(storage_max_bytes > 0 OR recovery_window_seconds IS NOT NULL)"
"""To the letter as the index tenants_with_quota has it."""
_log = logging.getLogger(__name__)


class Quota(NamedTuple):
    """What holds for one tenant, or for those without one of their own."""

    bytes_max: int
    """Of current rows; 0: none of its own, or as many as it likes."""
    window_seconds: int | None
    """The recovery window; None: not its own."""


class Storage(Protocol):
    """Who judges commits and keeps the past (control.peers)."""

    async def set_quotas(
        self, quotas: Mapping[TenantId, Quota], *, default: Quota, only_these: bool
    ) -> None:
        """Set quotas. Raises Unavailable."""
        ...


class Quotas:
    """Two columns of `tenants`, towards storage."""

    def __init__(self, database: Database, storage: Storage, *, default: Quota) -> None:
        """`default`: of tenants without one of their own."""
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
            rows = await self._database.read(f"{_SELECT} WHERE {_SPECIAL} AND purged_ns IS NULL")
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
        quotas = {TenantId(row[0]): Quota(row[1], row[2]) for row in rows}
        try:
            await self._storage.set_quotas(quotas, default=self._default, only_these=only_these)
        except Unavailable:
            QUOTAS_TOLD.labels("unavailable").inc()
            _log.warning("storage does not hear of its limits", extra={"tenants": len(quotas)})
        else:
            QUOTAS_TOLD.labels("heard").inc()
