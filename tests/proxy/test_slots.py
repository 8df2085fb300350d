"""Slots: so many at a time, of a tenant and in all, and nothing is left behind."""

import asyncio

from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from proxy.slots import Slots


def test_a_tenant_with_many_holds_up_itself() -> None:
    async def main() -> None:
        slots = Slots(in_all=3, of_one=2)
        entered: list[int] = []
        leave = asyncio.Event()

        async def use(tenant: int) -> None:
            async with slots.one_of(TenantId(tenant)):
                entered.append(tenant)
                await leave.wait()

        users = [spawn(use(tenant), name="user") for tenant in (1, 1, 1, 1, 2, 2)]
        await asyncio.sleep(0.01)
        assert entered == [1, 1, 2]
        users[2].cancel()  # one that waits
        leave.set()
        await asyncio.gather(*users, return_exceptions=True)
        assert sorted(entered) == [1, 1, 1, 2, 2]
        assert repr(slots) == "<Slots tenants=0>"

    asyncio.run(main())
