"""How many things may be under way at a time, in all and for one tenant.

Those of one tenant wait in a queue of their own before they wait in the common one, so that a
tenant with many sessions and a pod that does not answer holds up itself, and others hardly.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dormouse.base.ids import TenantId


class Slots:
    """See the module."""

    def __init__(self, in_all: int, of_one: int) -> None:
        self._all = asyncio.Semaphore(in_all)
        self._of_one = of_one
        self._tenants: dict[TenantId, tuple[asyncio.Semaphore, int]] = {}

    def __repr__(self) -> str:
        return f"<Slots tenants={len(self._tenants)}>"

    @asynccontextmanager
    async def one_of(self, tenant: TenantId) -> AsyncIterator[None]:
        """Wait for a slot and have it inside the block."""
        own, users = self._tenants.get(tenant, (asyncio.Semaphore(self._of_one), 0))
        self._tenants[tenant] = own, users + 1
        try:
            async with own, self._all:
                yield
        finally:
            _, users = self._tenants[tenant]
            if users == 1:
                del self._tenants[tenant]
            else:
                self._tenants[tenant] = own, users - 1
