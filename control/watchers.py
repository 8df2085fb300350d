"""Who is told when a tenant changes: every watcher at its own pace, up to a bound.

    change ──▶ queue of watcher 1 ──▶ its stream        nothing here waits for a watcher
          └──▶ queue of watcher 2 ──▶ its stream        full: the watcher is cut, and asks anew

A watcher that was cut off, for whatever reason, trusts nothing it remembers and asks again. That is
why a cut is harmless, and why nothing is kept for those who are away.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from enum import Enum

from control.messages import tenant_message
from control.metrics import TENANT_CHANGES, WATCHERS, WATCHERS_CUT
from control.registry import Tenant
from proto.control_pb2 import TenantChange

QUEUE_MAX = 1024
WATCHERS_MAX = 64

_log = logging.getLogger(__name__)


class Refusal(Enum):
    """Why a stream is not begun, or ends."""

    TOO_MANY = f"there are {WATCHERS_MAX} watchers already"
    TOO_SLOW = "did not keep up; ask again"
    CLOSING = "this side ends; ask again"


class WatchRefused(Exception):
    """A stream that is not begun or has ended; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


_Queue = asyncio.Queue[TenantChange | Refusal]


class Watchers:
    """Fans the changes of tenants out."""

    def __init__(self) -> None:
        self._queues: set[_Queue] = set()
        self._closing = False

    def __repr__(self) -> str:
        return f"<Watchers n={len(self._queues)} backlog={[q.qsize() for q in self._queues]}>"

    def changed(self, tenant: Tenant) -> None:
        """Tell of new settings. To be called before anything else is awaited after the write, so
        that changes are told in the order in which they were made."""
        TENANT_CHANGES.labels("settings").inc()
        self._publish(TenantChange(tenant=tenant_message(tenant)))

    def deleted(self, tenant: Tenant) -> None:
        """Tell that the tenant is no more; see `changed`."""
        TENANT_CHANGES.labels("deleted").inc()
        self._publish(TenantChange(tenant=tenant_message(tenant), deleted=True))

    def close(self) -> None:
        """End every stream, and begin none any more."""
        self._closing = True
        for queue in list(self._queues):
            self._cut(queue, Refusal.CLOSING)

    async def watch(self) -> AsyncIterator[TenantChange]:
        """An empty change, then every change from then on. Raises WatchRefused."""
        if self._closing:
            raise WatchRefused(Refusal.CLOSING)
        if len(self._queues) >= WATCHERS_MAX:
            WATCHERS_CUT.labels(Refusal.TOO_MANY.name.lower()).inc()
            raise WatchRefused(Refusal.TOO_MANY)
        queue: _Queue = asyncio.Queue(QUEUE_MAX)
        self._queues.add(queue)
        WATCHERS.set(len(self._queues))
        try:
            yield TenantChange()
            while True:
                change = await queue.get()
                if isinstance(change, Refusal):
                    raise WatchRefused(change)
                yield change
        finally:
            self._queues.discard(queue)
            WATCHERS.set(len(self._queues))

    def _publish(self, change: TenantChange) -> None:
        for queue in list(self._queues):
            if queue.full():
                _log.warning("a watcher of tenants is cut", extra={"changes_unread": queue.qsize()})
                WATCHERS_CUT.labels(Refusal.TOO_SLOW.name.lower()).inc()
                self._cut(queue, Refusal.TOO_SLOW)
            else:
                queue.put_nowait(change)

    def _cut(self, queue: _Queue, refusal: Refusal) -> None:
        """The watcher learns nothing but that it has to ask again."""
        self._queues.discard(queue)
        WATCHERS.set(len(self._queues))
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(refusal)
