"""Who is told when a tenant changes: every watcher at its own pace, up to a bound.

    change ──▶ queue of watcher 1 ──▶ its stream        nothing here waits for a watcher
          └──▶ queue of watcher 2 ──▶ its stream        full: the watcher is cut, and asks anew

    a stream:  empty │ some tenants as they are now │ every change from the empty message on
                     └─ read while changes queue ───┘ (but none that is older than what was read)

A watcher that was cut off, for whatever reason, trusts nothing it remembers and asks again. That is
why a cut is harmless, and why nothing is kept for those who are away.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from typing import Self

from control.messages import tenant_message
from control.metrics import TENANT_CHANGES, WATCHERS, WATCHERS_CUT
from control.registry import Tenant
from dormouse.base.ids import TenantId
from proto import control_pb2

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


@dataclass(frozen=True, slots=True)
class Change:
    """A tenant as it is at some version; its deletion is one, and its restoring another."""

    tenant_id: TenantId
    version: int
    message: control_pb2.TenantChange

    @classmethod
    def of(cls, tenant: Tenant) -> Self:
        """A tenant that lives."""
        message = control_pb2.TenantChange(tenant=tenant_message(tenant))
        return cls(tenant.id, tenant.version, message)

    @classmethod
    def of_deleted(cls, tenant_id: TenantId, name: str = "", version: int = 0) -> Self:
        """A tenant that is no more, or never was."""
        settings = control_pb2.TenantSettings(version=version)
        gone = control_pb2.Tenant(tenant_id=tenant_id, name=name, settings=settings)
        message = control_pb2.TenantChange(tenant=gone, deleted=True)
        return cls(tenant_id, version, message)


_Queue = asyncio.Queue[Change | Refusal]


class Watchers:
    """Fans the changes of tenants out."""

    def __init__(self) -> None:
        self._queues: set[_Queue] = set()
        self._closing = False

    def __repr__(self) -> str:
        return f"<Watchers n={len(self._queues)} backlog={[q.qsize() for q in self._queues]}>"

    def changed(self, tenant: Tenant) -> None:
        """Tell of a new name or settings, or of a restored tenant. To be called before anything
        else is awaited after the write, so that changes are told in the order of their making."""
        TENANT_CHANGES.labels("settings").inc()
        self._publish(Change.of(tenant))

    def deleted(self, tenant: Tenant) -> None:
        """Tell that the tenant is no more; see `changed`."""
        TENANT_CHANGES.labels("deleted").inc()
        self._publish(Change.of_deleted(tenant.id, tenant.name, tenant.version))

    def close(self) -> None:
        """End every stream, and begin none any more."""
        self._closing = True
        for queue in list(self._queues):
            self._cut(queue, Refusal.CLOSING)

    async def watch(self, now: AsyncIterator[Change]) -> AsyncIterator[control_pb2.TenantChange]:
        """An empty message, what `now` reads, then every change. Raises WatchRefused."""
        queue = self._begin()
        told: dict[TenantId, int] = {}
        try:
            yield control_pb2.TenantChange()
            async for read in now:
                told[read.tenant_id] = read.version
                yield read.message
            while True:
                if queue.empty():
                    told.clear()  # nothing that comes from here on is older
                change = await queue.get()
                if isinstance(change, Refusal):
                    raise WatchRefused(change)
                if change.version > told.get(change.tenant_id, 0):
                    yield change.message
        finally:
            self._queues.discard(queue)
            WATCHERS.set(len(self._queues))

    def _begin(self) -> _Queue:
        if self._closing:
            raise WatchRefused(Refusal.CLOSING)
        if len(self._queues) >= WATCHERS_MAX:
            WATCHERS_CUT.labels(Refusal.TOO_MANY.name.lower()).inc()
            raise WatchRefused(Refusal.TOO_MANY)
        queue: _Queue = asyncio.Queue(QUEUE_MAX)
        self._queues.add(queue)
        WATCHERS.set(len(self._queues))
        return queue

    def _publish(self, change: Change) -> None:
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
