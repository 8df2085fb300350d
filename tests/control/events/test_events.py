"""Events: with the change or not at all, for those within reach, for some months."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from control.actor import Access, OrganisationId, Reach, Scope
from control.events import DATA, DATA_BYTES_MAX, Event, EventKind
from control.organisations import Organisation
from control.registry import Draft, Tenant
from control.services import Stores
from dormouse.base.clock import ManualClock
from tests.control.events.support import SenderRig, created_event, rig_at
from tests.control.support import stores_at

_ADMIN = Reach(Scope.ADMIN, Access.READ)
_DAY_NS = 86_400 * 10**9


def _run(folder: Path, body: Callable[[SenderRig], Awaitable[None]]) -> None:
    async def run() -> None:
        async with rig_at(folder) as rig:
            await body(rig)

    asyncio.run(run())


def test_an_event_is_there_if_and_only_if_its_change_is(tmp_path: Path) -> None:
    async def body(rig: SenderRig) -> None:
        webhook, _ = await rig.webhook("https://example.com/")
        with pytest.raises(RuntimeError, match="the change"):
            await _fail_after_recording(rig)
        assert await rig.stores.events.page(after=0, limit=10, reach=_ADMIN) == []
        assert await rig.deliveries(webhook) == []
        number = await rig.record()
        (found,) = await rig.stores.events.page(after=0, limit=10, reach=_ADMIN)
        assert (found.id, found.event) == (number, created_event())
        assert [each.event.id for each in await rig.deliveries(webhook)] == [number]

    _run(tmp_path, body)


async def _fail_after_recording(rig: SenderRig) -> None:
    async with rig.database.transaction() as connection:
        await rig.stores.events.record(connection, created_event())
        raise RuntimeError("the change fails")


def test_data_is_what_is_documented(tmp_path: Path) -> None:
    async def body(rig: SenderRig) -> None:
        kind = EventKind.TENANT_CREATED
        for data in ({}, {"name": "a", "secret": "b"}, {"nom": "a"}):
            with pytest.raises(ValueError, match=r"tenant\.created has"):
                await rig.record(Event(kind=kind, organisation=OrganisationId(1), data=data))
        with pytest.raises(ValueError, match="bytes"):
            await rig.record(Event(kind=kind, data={"name": "x" * DATA_BYTES_MAX}))
        assert await rig.stores.events.page(after=0, limit=10, reach=_ADMIN) == []

    _run(tmp_path, body)


def test_the_page_about_events_has_every_kind_and_every_name() -> None:
    page = (Path(__file__).parents[3] / "docs" / "events.md").read_text()
    rows = re.findall(r"^\| `([a-z]+\.[a-z_]+)` \| ([^|]*) \|", page, flags=re.MULTILINE)
    documented = {kind: set(re.findall(r"`([a-z_]+)`", data)) for kind, data in rows}
    assert documented == {str(kind): set(names) for kind, names in DATA.items()}
    assert DATA.keys() == set(EventKind)


def test_old_events_go_with_their_deliveries(tmp_path: Path) -> None:
    async def body(rig: SenderRig) -> None:
        webhook, _ = await rig.webhook("https://example.com/")
        for _ in range(3):
            await rig.record()
            rig.clock.advance(86_400)
        events = rig.stores.events
        assert await events.prune(rig.clock.wall_ns() - 2 * _DAY_NS) == 1
        left = [each.id for each in await events.page(after=0, limit=10, reach=_ADMIN)]
        assert left == [2, 3]
        assert [each.event.id for each in await rig.deliveries(webhook)] == left
        assert await events.prune(rig.clock.wall_ns() - 2 * _DAY_NS) == 0

    _run(tmp_path, body)


def test_what_happens_to_tenants_and_keys_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        clock = ManualClock()
        async with stores_at(tmp_path, clock) as stores:
            acme = await stores.organisations.add(name="acme", time_zone="UTC")
            tenant = await _live_and_die(stores, acme, clock)
            reach = Reach(Scope.ORGANISATION, Access.READ, acme.id)
            spare, _ = await stores.keys.add(reach, label="o", expires_ns=None, created_by=None)
            other, _ = await stores.keys.add(reach, label="p", expires_ns=None, created_by=None)
            await stores.keys.revoke(other.id)
            await stores.organisations.delete(acme.id)
            found = await stores.events.page(after=0, limit=100, reach=_ADMIN)
        told = [(each.event.kind.value, dict(each.event.data)) for each in found]
        key = {"label": "t", "scope": "tenant", "access": "write"}
        until = found[3].event.data["restorable_until"]
        assert told[:8] == [
            ("tenant.created", {"name": "shop"}),
            ("key.created", {"key": 1, **key}),
            ("tenant.renamed", {"name": "store", "before": "shop"}),
            ("tenant.deleted", {"name": "store", "restorable_until": until}),
            ("tenant.restored", {"name": "shop2"}),
            ("tenant.deleted", {"name": "shop2", "restorable_until": None}),
            ("key.revoked", {"key": 1, **key}),
            ("tenant.purged", {"name": "shop2"}),
        ]
        assert until == "2023-11-14T22:14:20Z"
        assert [kind for kind, _ in told[8:]] == ["key.created"] * 2 + ["key.revoked"] * 2
        assert [data["key"] for _, data in told[8:]] == [spare.id, other.id, other.id, spare.id]
        assert {each.event.organisation for each in found} == {acme.id}
        assert {each.event.tenant for each in found[:8]} == {tenant.id}

    asyncio.run(run())


async def _live_and_die(stores: Stores, owner: Organisation, clock: ManualClock) -> Tenant:
    registry = stores.registry
    tenant = await registry.add(
        name="shop",
        owner="shop",
        database="shop",
        scram_verifier="v",
        connections_max=1,
        organisation=owner.id,
    )
    reach = Reach(Scope.TENANT, Access.WRITE, owner.id, tenant.id)
    await stores.keys.add(reach, label="t", expires_ns=None, created_by=None)

    def renamed(draft: Draft) -> Draft:
        return Draft("store", draft.labels, draft.settings)

    def relabelled(draft: Draft) -> Draft:
        return Draft(draft.name, {"a": "b"}, draft.settings)

    await registry.change(tenant.id, renamed, action="tenant.rename")
    await registry.change(tenant.id, renamed, action="tenant.rename")  # it has that name
    await registry.change(tenant.id, relabelled, action="tenant.labels")
    await registry.mark_deleted(tenant.id, grace_seconds=60)
    await registry.restore(tenant.id, name="shop2")
    clock.advance(1)
    await registry.mark_deleted(tenant.id)
    clock.advance(1)
    await registry.mark_deleted(tenant.id)  # it is deleted already
    await registry.mark_purged(tenant.id)
    await registry.mark_purged(tenant.id)
    return tenant
