"""Tenants and keys: names, ids, tombstones, restarts."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from control.actor import DEFAULT_ORGANISATION, EVERYTHING
from control.database import RegistryError, open_database
from control.filters import Filter
from control.keys import generate_key, hash_key
from control.registry import (
    Draft,
    NameTaken,
    Registry,
    Tenant,
    VersionMismatch,
)
from control.schema import STEPS
from control.services import Stores
from control.settings import Settings
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from tests.control.support import registry_at, stores_at


async def _add(registry: Registry, name: str) -> Tenant:
    return await registry.add(
        name=name, owner="owner", database=name, scram_verifier="v", connections_max=10
    )


def test_an_id_never_comes_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            first = await _add(registry, "a")
            assert await registry.mark_deleted(first.id)
            await registry.mark_purged(first.id)
        # Not after a restart either, nor where the tombstone itself is lost.
        with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
            connection.execute("DELETE FROM tenants")
        connection.close()
        async with registry_at(tmp_path) as registry:
            assert (await _add(registry, "a")).id > first.id
            assert (await registry.counts()).ever == 2
            assert (await registry.counts()).registered == 1

    asyncio.run(body())


def test_names_are_unique_among_the_living(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            first = await _add(registry, "a")
            with pytest.raises(NameTaken):
                await _add(registry, "a")
            assert await registry.mark_deleted(first.id, grace_seconds=60)
            assert not await registry.mark_deleted(first.id, grace_seconds=60)
            assert await registry.get(first.id) is None
            second = await _add(registry, "a")
            assert await registry.page(after=0, limit=10, where=Filter(name="a")) == [second]

    asyncio.run(body())


def test_searching_finds_parts_of_names_and_ids(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            shop, shop2, other = [await _add(registry, name) for name in ("shop", "my-shop2", "b")]

            async def search(text: str) -> list[int]:
                found = await registry.page(after=0, limit=10, where=Filter(search=text))
                return [each.id for each in found]

            assert await search("shop") == [shop.id, shop2.id]
            assert await search("y-sh") == [shop2.id]
            assert await search(f"shop-{shop.id}") == [shop.id]
            assert await search(str(other.id)) == [other.id]
            assert await search("%") == []

    asyncio.run(body())


def test_many_at_once_get_one_name_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            results = await asyncio.gather(
                *(_add(registry, f"n{number % 5}") for number in range(40)), return_exceptions=True
            )
            made = [each for each in results if isinstance(each, Tenant)]
            assert sorted(tenant.name for tenant in made) == [f"n{number}" for number in range(5)]
            assert sum(isinstance(each, NameTaken) for each in results) == 35

    asyncio.run(body())


def test_pages_join_to_the_whole(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            made = [(await _add(registry, f"t{number}")).id for number in range(7)]
            await registry.mark_deleted(made.pop(3))
            found: list[TenantId] = []
            while page := await registry.page(after=found[-1] if found else 0, limit=2):
                assert len(page) <= 2
                found += [tenant.id for tenant in page]
            assert found == made

    asyncio.run(body())


def test_a_tombstone_keeps_no_secret_and_waits_for_its_purge(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            tenant = await _add(registry, "a")
            tombstone = await registry.mark_deleted(tenant.id)
            assert tombstone is not None
            assert (tombstone.tenant.name, tombstone.tenant.sealed_session_key) == ("a", b"")
        async with registry_at(tmp_path) as registry:
            assert await registry.to_purge(10) == [tenant.id]
            await registry.mark_purged(tenant.id)
            assert await registry.to_purge(10) == []

    asyncio.run(body())
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
        secrets = connection.execute(
            "SELECT scram_verifier, sealed_session_key FROM tenants"
        ).fetchall()
        assert secrets == [("", b"")]
    connection.close()


def test_keys_are_stored_hashed(tmp_path: Path) -> None:
    key = generate_key()

    async def body() -> None:
        async with stores_at(tmp_path) as stores:
            for _ in range(2):
                await stores.keys.add_admin_hash(hash_key(key), label="x")
            found = await stores.keys.find(key)
            assert found is not None
            assert (found.reach, found.label) == (EVERYTHING, "x")
            assert await stores.keys.find(key + "x") is None
            assert await stores.keys.find("") is None

    asyncio.run(body())
    assert all(key.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_the_file_is_private_durable_and_of_this_release(tmp_path: Path) -> None:
    file = tmp_path / "registry.sqlite"

    async def body() -> None:
        async with open_database(file) as database:
            assert await database.write("PRAGMA synchronous") == (2,)
            assert await database.write("PRAGMA journal_mode") == ("wal",)
            with pytest.raises(sqlite3.OperationalError):
                await database.read("DELETE FROM tenants")
        assert file.stat().st_mode & 0o777 == 0o600
        with sqlite3.connect(file) as connection:
            connection.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
        connection.close()
        with pytest.raises(RegistryError, match="schema"):
            async with open_database(file):
                pass

    asyncio.run(body())


def test_a_tenant_of_an_older_file_gets_one_key_for_good(tmp_path: Path) -> None:
    file = tmp_path / "registry.sqlite"
    with sqlite3.connect(file) as connection:
        for statement in STEPS[0]:
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO api_keys (hash, scope, label, created_ns) VALUES (?, 'admin', 'old', 1)",
            (hash_key("dm_admin_old"),),
        )
        connection.executemany(
            "INSERT INTO tenants (name, owner, database, scram_verifier, connections_max,"
            " idle_timeout_seconds, created_ns, deleted_ns) VALUES (?, 'o', 'd', 'v', 9, ?, 1, ?)",
            [("a", 120, None), ("b", 0, None), ("c", 0, 5)],
        )
    connection.close()

    async def body() -> tuple[list[Tenant], list[bytes]]:
        async with stores_at(tmp_path) as stores:
            key = await stores.keys.find("dm_admin_old")
            assert key is not None
            assert (key.reach, key.label) == (EVERYTHING, "old")
            (organisation,) = await stores.organisations.page(after=0, limit=10)
            assert organisation.name == "default"
            assert await stores.registry.to_purge(10) == [TenantId(3)]
            found = await stores.registry.page(after=0, limit=10)
            return found, [stores.registry.session_key_of(tenant) for tenant in found]

    upgraded, keys = asyncio.run(body())
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]
    assert {tenant.organisation for tenant in upgraded} == {DEFAULT_ORGANISATION}
    assert upgraded[0].settings == Settings(connections_max=9, idle_timeout_seconds=120)
    assert asyncio.run(body()) == (upgraded, keys)
    with sqlite3.connect(file) as connection:
        row = connection.execute(
            "SELECT sealed_session_key FROM tenants WHERE name = 'c'"
        ).fetchone()
        assert row == (b"",)
    connection.close()


def test_the_session_key_is_its_tenants_and_is_not_shown(tmp_path: Path) -> None:
    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            made = [await _add(registry, name) for name in ("a", "b")]
            keys = {registry.session_key_of(tenant) for tenant in made}
            assert [len(key) for key in keys] == [32, 32]
            assert all(repr(key) not in repr(made) for key in keys)
            assert await registry.page(after=0, limit=9) == made

    asyncio.run(body())


def test_settings_change_by_version_or_not_at_all(tmp_path: Path) -> None:
    def widen(draft: Draft) -> Draft:
        networks = ("10.0.0.0/8", "::1/128")
        settings = replace(draft.settings, never_sleeps=True, pods_max=3, allowed_networks=networks)
        return replace(draft, settings=settings)

    def fail(_draft: Draft) -> Draft:
        raise RuntimeError

    async def body() -> None:
        async with registry_at(tmp_path) as registry:
            tenant = await _add(registry, "a")
            changed = await registry.change(tenant.id, widen, action="test", versions={1})
            assert changed is not None
            assert changed.before == tenant
            assert changed.tenant.settings.pods_max == 3
            assert changed.tenant.version == 2
            assert changed.tenant.sealed_session_key == tenant.sealed_session_key
            with pytest.raises(VersionMismatch):
                await registry.change(tenant.id, widen, action="test", versions={1})
            with pytest.raises(RuntimeError):
                await registry.change(tenant.id, fail, action="test")
            same = await registry.change(tenant.id, widen, action="test")
            assert same is not None
            assert same.tenant.version == 2
            assert await registry.change(TenantId(99), widen, action="test") is None
        async with registry_at(tmp_path) as registry:
            assert await registry.get(tenant.id) == changed.tenant
            await registry.mark_deleted(tenant.id)
            assert await registry.change(tenant.id, widen, action="test") is None

    asyncio.run(body())


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with open_database(tmp_path / "r.sqlite") as database:
            registry = Stores.over(database, ManualClock()).registry

            async def failing() -> None:
                async with database.transaction() as connection:
                    await connection.execute("DROP TABLE tenants")
                    raise RuntimeError

            with pytest.raises(RuntimeError):
                await failing()
            assert await registry.page(after=0, limit=1) == []

    asyncio.run(body())
