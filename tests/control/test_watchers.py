"""Who hears of changes: from the first empty message on, in order, at a bounded distance."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control.registry import Tenant
from control.settings import Settings
from control.tenants import Tenants
from control.watchers import QUEUE_MAX, WATCHERS_MAX, Refusal, Watchers, WatchRefused
from dormouse.base import tasks
from dormouse.base.ids import TenantId
from proto.control_pb2 import TenantChange
from tests.control.support import FakePeers, registry_at


def _tenant(number: int) -> Tenant:
    return Tenant(
        id=TenantId(number),
        name="a",
        owner="owner",
        database="a",
        scram_verifier="verifier",
        session_key=b"k" * 32,
        created_ns=0,
        settings=Settings(connections_max=number),
        settings_version=1,
    )


async def _begun(watchers: Watchers) -> AsyncIterator[TenantChange]:
    stream = watchers.watch()
    assert await anext(stream) == TenantChange()
    return stream


async def _refusal(stream: AsyncIterator[TenantChange]) -> Refusal:
    with pytest.raises(WatchRefused) as refused:
        await anext(stream)
    return refused.value.refusal


def test_changes_are_heard_in_the_order_they_were_made(tmp_path: Path) -> None:
    async def body() -> None:
        watchers = Watchers()
        async with registry_at(tmp_path) as registry:
            tenants = Tenants(registry, FakePeers(), connections_max=5, watchers=watchers)
            tenant, _ = await tenants.create("shop")
            stream = await _begun(watchers)
            changes = [{"connections_max": 10 + number} for number in range(20)]
            made = await asyncio.gather(*(tenants.change(tenant.id, each) for each in changes))
            await tenants.change(tenant.id, changes[-1])  # nothing new: nothing is told
            await tenants.delete(tenant.id)
            heard = [await anext(stream) for _ in range(len(changes) + 1)]
        by_version = sorted(made, key=lambda each: each.settings_version)
        assert [each.tenant.settings.connections_max for each in heard[:-1]] == [
            each.settings.connections_max for each in by_version
        ]
        assert not any(each.deleted for each in heard[:-1])
        assert (heard[-1].deleted, heard[-1].tenant.name) == (True, "shop")

    asyncio.run(body())


def test_a_slow_watcher_is_cut_and_the_others_are_not() -> None:
    async def body() -> None:
        watchers = Watchers()
        slow, quick = await _begun(watchers), await _begun(watchers)
        for number in range(1, QUEUE_MAX + 2):
            watchers.changed(_tenant(number))
            change = await anext(quick)
            assert change.tenant.settings.connections_max == number
        assert await _refusal(slow) is Refusal.TOO_SLOW
        watchers.deleted(_tenant(1))
        assert (await anext(quick)).deleted

    asyncio.run(body())


def test_the_number_of_watchers_is_bounded() -> None:
    async def body() -> None:
        watchers = Watchers()
        streams = [await _begun(watchers) for _ in range(WATCHERS_MAX)]
        assert await _refusal(watchers.watch()) is Refusal.TOO_MANY
        await streams.pop().aclose()  # type: ignore[attr-defined]
        await _begun(watchers)
        assert await _refusal(watchers.watch()) is Refusal.TOO_MANY

    asyncio.run(body())


def test_closing_ends_every_stream_and_begins_none() -> None:
    async def body() -> None:
        watchers = Watchers()
        stream = await _begun(watchers)
        waiting = tasks.spawn(_refusal(stream), name="waiting")
        await asyncio.sleep(0)
        watchers.close()
        assert await waiting is Refusal.CLOSING
        assert await _refusal(watchers.watch()) is Refusal.CLOSING

    asyncio.run(body())


def test_nobody_is_told_a_secret() -> None:
    async def body() -> None:
        watchers = Watchers()
        stream = await _begun(watchers)
        watchers.changed(_tenant(1))
        told = (await anext(stream)).SerializeToString()
        assert b"verifier" not in told
        assert b"kkkk" not in told

    asyncio.run(body())
