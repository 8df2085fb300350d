"""New passwords on their way to pods that run: who has one they may not know yet.

    BEGIN ─ the new verifier ─ "tenant 17 has news" ─ COMMIT    durable together
                                     │
             autoscaler.SetOwner ◀───┘ at once, then again until it succeeds, also after a restart
                                     │
                       the note goes, if no newer reset has renewed it meanwhile

The verifier is read when it is sent, and one telling of a tenant ends before the next begins: what
pods hear last is what the registry holds. A pod that is stamped meanwhile is the autoscaler's to
see to (autoscaler/owners.py).
"""

import asyncio
import logging
import sqlite3
from weakref import WeakValueDictionary

import aiosqlite

from control.database import Database
from control.metrics import OWNERS_UNTOLD
from control.peers import Peers
from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantId

_PAGE = 100
_LOOK_SECONDS = 30.0
_RETRY_SECONDS_MIN = 0.5
_RETRY_SECONDS_MAX = 30.0
PATIENCE_SECONDS = 3.0
"""How long a reset waits to be able to say that every pod knows."""

_log = logging.getLogger(__name__)


async def note_news(connection: aiosqlite.Connection, tenant: TenantId) -> None:
    """Note, in the open transaction, that the tenant's pods are to be told its owner's verifier."""
    await connection.execute(
        "INSERT INTO owner_news (tenant_id, number) VALUES (?, 1)"
        " ON CONFLICT (tenant_id) DO UPDATE SET number = number + 1",
        (tenant,),
    )


class OwnerNews:
    """The table `owner_news`, and telling what is in it."""

    def __init__(self, database: Database, peers: Peers) -> None:
        self._database = database
        self._peers = peers
        self._locks: WeakValueDictionary[TenantId, asyncio.Lock] = WeakValueDictionary()
        self._more = asyncio.Event()

    def __repr__(self) -> str:
        return f"<OwnerNews telling={sorted(self._locks)}>"

    async def tell(self, tenant: TenantId) -> bool:
        """Tell the tenant's pods; whether all of them know by now. What fails goes on behind."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._tell(tenant)
        except (DormouseError, TimeoutError) as error:
            extra = {"tenant": tenant, "reason": str(error) or "time-out"}
            _log.warning("running pods may not know their owner's new password", extra=extra)
            self._more.set()
            return False
        return True

    async def work_forever(self) -> None:
        """Tell what could not be told, or was cut off by the end of this process."""
        pause = _RETRY_SECONDS_MIN
        while True:
            self._more.clear()
            try:
                is_done = await self._work()
            except sqlite3.Error:
                _log.exception("owners' news could not be read")
                is_done = False
            if is_done:
                pause = _RETRY_SECONDS_MIN
                await self._wait()
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_SECONDS_MAX)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._more.wait()
        except TimeoutError:
            return

    async def _work(self) -> bool:
        """Whether nothing is left."""
        rows = await self._database.read("SELECT tenant_id FROM owner_news LIMIT ?", (_PAGE,))
        OWNERS_UNTOLD.set(len(rows))
        told = [await self.tell(TenantId(row[0])) for row in rows]
        return all(told) and len(rows) < _PAGE

    async def _tell(self, tenant: TenantId) -> None:
        """Raises Unavailable."""
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            await self._tell_newest(tenant)

    async def _tell_newest(self, tenant: TenantId) -> None:
        row = await self._database.read_one(
            "SELECT number, owner, scram_verifier FROM owner_news"
            " JOIN tenants ON id = tenant_id WHERE tenant_id = ? AND deleted_ns IS NULL",
            (tenant,),
        )
        number = None
        if row is not None:
            number, owner, verifier = row
            await self._peers.set_owner(tenant, owner=owner, scram_verifier=verifier)
        # Of a deleted tenant no pod is left, and one that comes back is stamped with what is there.
        await self._database.write(
            "DELETE FROM owner_news WHERE tenant_id = ?1 AND (?2 IS NULL OR number = ?2)",
            (tenant, number),
        )
