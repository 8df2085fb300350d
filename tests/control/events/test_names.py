"""Looking names up without waiting for those who look."""

import asyncio
import threading

import pytest

from control.webhooks import names
from control.webhooks.addresses import Address
from control.webhooks.names import LOOKUPS_MAX, Names, NoSuchName


def test_a_name_has_addresses_or_is_none() -> None:
    async def run() -> None:
        resolver = Names()
        found = await resolver.resolve("localhost")
        assert found
        assert all(each.is_loopback for each in found)
        assert [str(each) for each in await resolver.resolve("192.0.2.1")] == ["192.0.2.1"]
        for nothing in ("nowhere.invalid", "a" * 64 + ".invalid"):
            with pytest.raises(NoSuchName, match="does not resolve"):
                await resolver.resolve(nothing)

    asyncio.run(run())


def test_lookups_that_hang_hold_nobody_up_and_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = threading.Event()

    def look(host: str) -> tuple[list[Address], str]:
        if host == "slow.test":
            assert answer.wait(20)
        return [], f"{host} is none"

    monkeypatch.setattr(names, "_look", look)

    async def refused(resolver: Names, host: str) -> str:
        try:
            await resolver.resolve(host)
        except NoSuchName as error:
            return str(error)
        raise AssertionError

    async def run() -> None:
        resolver = Names()
        slow = [
            asyncio.get_running_loop().create_task(refused(resolver, "slow.test"))
            for _ in range(LOOKUPS_MAX - 1)
        ]
        await asyncio.sleep(0)
        assert await refused(resolver, "quick.test") == "quick.test is none"
        # Who stops waiting does not end the lookup, which counts on.
        slow[0].cancel()
        last = asyncio.get_running_loop().create_task(refused(resolver, "slow.test"))
        await asyncio.sleep(0)
        assert await refused(resolver, "quick.test") == "too many names are being looked up"
        answer.set()
        assert await last == "slow.test is none"
        assert set(await asyncio.gather(*slow[1:])) == {"slow.test is none"}
        async with asyncio.timeout(20):
            while True:  # until the one that nobody waits for has ended, too
                if await refused(resolver, "quick.test") == "quick.test is none":
                    break
                await asyncio.sleep(0.01)

    asyncio.run(run())
