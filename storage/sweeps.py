"""Walks over the history of tenants whose recovery window has become shorter.

What is superseded is filed for when it can go by the window of its commit, so a shorter window must
be walked for: once, from the first key to the last, a few seconds in each pass of the collection.
What the shorter window keeps then goes at its old time; so does all that a restart leaves unwalked.
"""

from collections.abc import Awaitable, Callable, Iterable

from dormouse.base.ids import TenantId
from storage.layout import (
    HISTORY_SPAN,
    RETIRED_SPAN,
    ended_at,
    is_retired,
    next_tenant,
    tenant_of,
    tenant_spans,
)
from storage.remover import Remover, now, rest
from storage.windows import Windows

_SWEEP_SECONDS = 10.0
"""Of each pass."""


class Sweeps:
    """The walks that are to be made. `floor_of`: versions superseded at or before it can go;
    `drop_retired`: removes a retired range by its key."""

    def __init__(
        self,
        remover: Remover,
        windows: Windows,
        floor_of: Callable[[TenantId], int],
        drop_retired: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._remover = remover
        self._damaged = remover.damaged
        self._windows = windows
        self._floor_of = floor_of
        self._drop_retired = drop_retired
        self._shorter: dict[TenantId, bytes] = {}
        """Whose history is to be walked, and where the walk goes on."""
        self._default_shorter = False

    def shortened(self, tenants: Iterable[TenantId], *, default: bool) -> None:
        """The windows of these are shorter now, or the `default`: what they no longer keep goes
        with the next passes."""
        self._shorter.update(dict.fromkeys(tenants, b""))
        self._default_shorter = self._default_shorter or default

    async def go_on(self) -> int:
        """Walk the history of tenants whose window has become shorter, for a while; rows
        removed."""
        if self._default_shorter:
            await self._find_inheriting()
            self._default_shorter = False
        removed, until = 0, now() + _SWEEP_SECONDS
        for tenant in self.behind():
            with self._damaged.sparing(tenant):
                removed += await self._sweep_tenant(tenant, until)
            if now() > until:
                break
        return removed

    def behind(self) -> list[TenantId]:
        """Whose history is to be walked now."""
        return [tenant for tenant in self._shorter if tenant not in self._damaged]

    async def _find_inheriting(self) -> None:
        """All tenants with a past that have no window of their own. One costs a small read."""
        for span in (HISTORY_SPAN, RETIRED_SPAN):
            start, end = span
            while True:
                found = await self._remover.page_past_damage(start, end, 1)
                if not found.rows:
                    break
                first = found.rows[0][0]
                if self._windows.inherits(tenant_of(first)):
                    self._shorter[tenant_of(first)] = b""
                start = next_tenant(first)

    async def _sweep_tenant(self, tenant: TenantId, until: float) -> int:
        """Go on with the walk of a tenant, until it is done or the time has come."""
        removed = 0
        for low, end in tenant_spans(tenant, b"dhr"):
            while (start := max(low, place := self._shorter[tenant])) < end:
                began = now()
                page = await self._remover.page(start, end)
                floor = self._floor_of(tenant)
                dead = [key for key, value in page.rows if ended_at(key, value) <= floor]
                if is_retired(start):
                    for key in dead:
                        await self._drop_retired(key)
                else:
                    await self._remover.remove(dead, "history")
                removed += len(dead)
                if self._shorter[tenant] != place:
                    return removed  # it has become shorter still: the next pass begins anew
                self._shorter[tenant] = end if page.exhausted else page.rows[-1][0] + b"\0"
                await rest(began)
                if now() > until:
                    return removed
        del self._shorter[tenant]
        return removed
