"""Deleting tenants, bringing them back, and removing their data when its time has come.

    delete ─▶ tombstone (durable; no pod gets its certificate any more)
                 │ its pods end              ── operation `delete`
                 ├── grace period ── restore ─▶ as before, with a new session key
                 ▼
              due: pods end, data goes       ── operation `purge`

What is interrupted, by an absent role or by an end of this one, is taken up again: the tombstones
and the operations that run are the list of what is to be done.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from control.metrics import TENANTS_TO_PURGE
from control.operations import Kind, Operation, Operations, Status
from control.peers import Peers
from control.registry import Registry, Tenant
from control.tenants import NoSuchTenant
from control.watchers import Watchers
from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantId

_log = logging.getLogger(__name__)

_PAGE = 100
_LOOK_SECONDS = 30.0
"""How late the end of a grace period may be noticed."""

_RETRY_SECONDS_MIN = 1.0
_RETRY_SECONDS_MAX = 60.0
_PATIENCE_SECONDS = 10.0


class Deletion:
    """Deletes, restores and purges tenants."""

    def __init__(
        self,
        registry: Registry,
        peers: Peers,
        operations: Operations,
        *,
        watchers: Watchers,
        grace_seconds: float,
    ) -> None:
        self._registry = registry
        self._peers = peers
        self._operations = operations
        self._watchers = watchers
        self._grace_seconds = grace_seconds
        self._more = asyncio.Event()

    async def delete(self, tenant_id: TenantId, *, purge: bool = False) -> tuple[Tenant, Operation]:
        """Delete a tenant; with `purge` its data goes at once. Raises NoSuchTenant.

        Waits for a while for the operation; if that takes longer, it goes on behind.
        """
        grace = 0 if purge else self._grace_seconds
        deleted = await self._registry.mark_deleted(tenant_id, grace_seconds=grace)
        if deleted is None:
            raise NoSuchTenant(tenant_id)
        self._watchers.deleted(deleted.tenant)
        act = self._purge if deleted.operation.kind is Kind.PURGE else self._end_pods
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await act(tenant_id)
        except (DormouseError, TimeoutError) as error:
            reason = str(error) or "time-out"
            extra = {"tenant": tenant_id, "reason": reason, "operation": deleted.operation.id}
            _log.warning("deleting goes on later", extra=extra)
            self._more.set()
        return deleted.tenant, await self._current(deleted.operation)

    async def restore(
        self, tenant_id: TenantId, *, name: str | None = None
    ) -> tuple[Tenant, Operation]:
        """Bring a deleted tenant back. Raises what Registry.restore raises."""
        restored = await self._registry.restore(tenant_id, name=name)
        self._watchers.changed(restored.tenant)
        return restored.tenant, await self._current(restored.operation)

    async def work_forever(self) -> None:
        """Take up what was interrupted, and purge what is due."""
        pause = _RETRY_SECONDS_MIN
        while True:
            self._more.clear()
            due = await self._registry.to_purge(_PAGE)
            running = await self._operations.running(Kind.DELETE, _PAGE)
            ending = [each.tenant for each in running if each.tenant is not None]
            TENANTS_TO_PURGE.set(len(due))
            if not due and not ending:
                await self._wait()
                continue
            done = await self._each(self._end_pods, [each for each in ending if each not in due])
            if await self._each(self._purge, due) and done:
                pause = _RETRY_SECONDS_MIN
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_SECONDS_MAX)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._more.wait()
        except TimeoutError:
            return  # time to look whether a grace period is over

    async def _each(
        self, act: Callable[[TenantId], Awaitable[None]], tenants: Sequence[TenantId]
    ) -> bool:
        """Whether it worked for all of them; one that fails does not hold up the others."""
        failures: list[DormouseError] = []
        for tenant in tenants:
            try:
                await act(tenant)
            except DormouseError as error:
                failures.append(error)
        if failures:
            extra = {"tenants": len(failures), "reason": str(failures[0])}
            _log.warning("deleting is put off", extra=extra)
        return not failures

    async def _end_pods(self, tenant: TenantId) -> None:
        await self._peers.suspend(tenant)
        await self._operations.finish(tenant, Kind.DELETE)

    async def _purge(self, tenant: TenantId) -> None:
        await self._operations.start(Kind.PURGE, tenant)
        await self._peers.suspend(tenant)
        await self._peers.drop(tenant)
        await self._registry.mark_purged(tenant)
        _log.info("tenant purged", extra={"tenant": tenant})

    async def _current(self, operation: Operation) -> Operation:
        found = await self._operations.get(operation.id)
        return found if found is not None else operation


def is_running(operation: Operation) -> bool:
    """Whether it has not ended yet."""
    return operation.status is Status.RUNNING
