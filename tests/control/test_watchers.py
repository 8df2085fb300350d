"""Who hears of changes: from the first empty message on, in order, at a bounded distance."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from control.current import current_tenants
from control.registry import Draft, Registry, Tenant
from control.settings import Settings
from control.watchers import QUEUE_MAX, WATCHERS_MAX, Change, Refusal, Watchers, WatchRefused
from dormouse.base import tasks
from dormouse.base.ids import TenantId
from proto.control_pb2 import TenantChange
from tests.control.support import FakePeers, registry_at, services_over, stores_at


def _keep_awake(draft: Draft) -> Draft:
    return replace(draft, settings=replace(draft.settings, pods_min=1))


def _tenant(number: int, version: int = 1) -> Tenant:
    return Tenant(
        id=TenantId(number),
        name="a",
        owner="owner",
        database="a",
        scram_verifier="verifier",
        sealed_session_key=b"k" * 32,
        created_ns=0,
        settings=Settings(connections_max=number),
        version=version,
    )


async def _add(registry: Registry, name: str) -> Tenant:
    return await registry.add(
        name=name, owner="owner", database=name, scram_verifier="v", connections_max=5
    )


async def _read(*changes: Change) -> AsyncIterator[Change]:
    for change in changes:
        yield change


async def _begun(watchers: Watchers) -> AsyncIterator[TenantChange]:
    stream = watchers.watch(_read())
    assert await anext(stream) == TenantChange()
    return stream


async def _refusal(stream: AsyncIterator[TenantChange]) -> Refusal:
    with pytest.raises(WatchRefused) as refused:
        await anext(stream)
    return refused.value.refusal


def test_changes_are_heard_in_the_order_they_were_made(tmp_path: Path) -> None:
    async def body() -> None:
        watchers = Watchers()
        async with stores_at(tmp_path) as stores:
            services = services_over(
                stores, FakePeers(), folder=tmp_path, watchers=watchers, tenant_connections_max=5
            )
            tenants = services.tenants
            tenant, _ = await tenants.create("shop")
            stream = await _begun(watchers)
            changes = [{"connections_max": 10 + number} for number in range(20)]
            made = await asyncio.gather(*(tenants.change(tenant.id, each) for each in changes))
            await tenants.change(tenant.id, changes[-1])  # nothing new: nothing is told
            await services.deletion.delete(tenant.id)
            heard = [await anext(stream) for _ in range(len(changes) + 1)]
        by_version = sorted(made, key=lambda each: each.version)
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
        watchers.deleted(_tenant(1, version=3))
        assert (await anext(quick)).deleted

    asyncio.run(body())


def test_the_number_of_watchers_is_bounded() -> None:
    async def body() -> None:
        watchers = Watchers()
        streams = [await _begun(watchers) for _ in range(WATCHERS_MAX)]
        assert await _refusal(watchers.watch(_read())) is Refusal.TOO_MANY
        await streams.pop().aclose()  # type: ignore[attr-defined]
        await _begun(watchers)
        assert await _refusal(watchers.watch(_read())) is Refusal.TOO_MANY

    asyncio.run(body())


def test_closing_ends_every_stream_and_begins_none() -> None:
    async def body() -> None:
        watchers = Watchers()
        stream = await _begun(watchers)
        waiting = tasks.spawn(_refusal(stream), name="waiting")
        await asyncio.sleep(0)
        watchers.close()
        assert await waiting is Refusal.CLOSING
        assert await _refusal(watchers.watch(_read())) is Refusal.CLOSING

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


def test_what_is_read_at_the_beginning_is_never_taken_back() -> None:
    async def body() -> None:
        watchers = Watchers()

        async def now() -> AsyncIterator[Change]:
            # Changes that are told while the tenants are read, older and newer than what is read.
            watchers.changed(_tenant(1, version=2))
            watchers.changed(_tenant(2, version=9))
            watchers.changed(_tenant(3, version=1))
            yield Change.of(_tenant(1, version=2))
            yield Change.of(_tenant(2, version=8))
            yield Change.of_deleted(TenantId(3), "a", 2)
            watchers.deleted(_tenant(1, version=3))

        stream = watchers.watch(now())
        heard = [await anext(stream) for _ in range(6)]
        told = [(each.tenant.tenant_id, each.deleted) for each in heard]
        assert told == [(0, False), (1, False), (2, False), (3, True), (2, False), (1, True)]
        watchers.changed(_tenant(2, version=10))
        assert (await anext(stream)).tenant.tenant_id == 2

    asyncio.run(body())


def test_a_watcher_that_is_cut_while_it_begins_learns_it_then() -> None:
    async def body() -> None:
        watchers = Watchers()

        async def now() -> AsyncIterator[Change]:
            for number in range(1, QUEUE_MAX + 2):
                watchers.changed(_tenant(number))
            yield Change.of(_tenant(1))

        stream = watchers.watch(now())
        await anext(stream)
        await anext(stream)
        assert await _refusal(stream) is Refusal.TOO_SLOW

    asyncio.run(body())


def test_those_asked_for_and_those_kept_awake_are_read(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            made = [(await _add(registry, f"t{number}")).id for number in range(520)]
            for kept in made[:-1]:
                await registry.change(kept, _keep_awake, action="test")
            gone = made[0]
            await registry.mark_deleted(gone)

            async def read(asked: list[TenantId], *, kept_awake: bool) -> list[TenantChange]:
                stream = current_tenants(registry, asked, kept_awake=kept_awake)
                return [change.message async for change in stream]

            everybody = await read([*made, TenantId(2**64 - 1)], kept_awake=False)
            assert [each.tenant.tenant_id for each in everybody] == [*made, 2**64 - 1]
            dead = [each.tenant for each in everybody if each.deleted]
            assert [(each.tenant_id, each.name) for each in dead] == [(gone, "t0"), (2**64 - 1, "")]
            assert [each.tenant.tenant_id for each in await read([], kept_awake=True)] == made[1:-1]
            assert await read([], kept_awake=False) == []

    asyncio.run(body())
