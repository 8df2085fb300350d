"""Sealed columns: older files are sealed at a start, keys are rotated and lost."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from control import sealing
from control.database import Database, open_database
from control.registry import Tenant
from control.schema import STEPS
from control.sealing import COLUMNS, Sealing
from control.services import Stores
from control.steps import trust
from control.vault import VaultError
from dormouse.base.clock import ManualClock

KEY = bytes(range(32))


@asynccontextmanager
async def _open(folder: Path) -> AsyncIterator[tuple[Database, Stores]]:
    async with open_database(folder / "registry.sqlite", folder / "keys") as database:
        yield database, Stores.over(database, ManualClock())


async def _add(stores: Stores, name: str) -> Tenant:
    return await stores.registry.add(
        name=name, owner="o", database="d", scram_verifier="v", connections_max=5
    )


def _old_file(file: Path) -> None:
    """As the release before sealing left it, with one tenant."""
    before = STEPS.index(trust.STEP)
    connection = sqlite3.connect(file)
    connection.create_function("secret_bytes", 1, lambda count: KEY[:count])
    for step in STEPS[:before]:
        for statement in step:
            connection.execute(statement)
    connection.execute(
        "INSERT INTO tenants (name, owner, database, scram_verifier, connections_max, created_ns,"
        " session_key) VALUES ('a', 'o', 'd', 'v', 9, 1, ?)",
        (KEY,),
    )
    connection.execute(f"PRAGMA user_version = {before}")
    connection.commit()
    connection.close()


def _files_with(folder: Path, secret: bytes) -> list[Path]:
    return [file for file in folder.glob("registry.sqlite*") if secret in file.read_bytes()]


def test_plain_keys_of_an_older_file_are_sealed_and_leave_no_trace(tmp_path: Path) -> None:
    _old_file(tmp_path / "registry.sqlite")
    assert _files_with(tmp_path, KEY)

    async def body() -> None:
        async with _open(tmp_path) as (_, stores):
            (tenant,) = await stores.registry.page(after=0, limit=9)
            assert stores.registry.session_key_of(tenant) == KEY
            assert not _files_with(tmp_path, KEY)

    asyncio.run(body())


def test_a_registry_without_its_keys_does_not_open(tmp_path: Path) -> None:
    async def body() -> None:
        async with _open(tmp_path):
            pass
        (tmp_path / "keys").unlink()
        with pytest.raises(VaultError, match="put back the file that belongs to the registry"):
            async with _open(tmp_path):
                pass

    asyncio.run(body())


def test_a_rotation_seals_everything_anew_and_then_forgets_the_old_key(tmp_path: Path) -> None:
    async def body() -> None:
        async with _open(tmp_path) as (database, stores):
            made = [await _add(stores, f"t{number}") for number in range(sealing._BATCH_ROWS + 2)]
            keys = {each.id: stores.registry.session_key_of(each) for each in made}
            late = database.vault.seal("session key", KEY)  # by somebody who has not written yet
            work = Sealing(database)
            assert await work.rotate() == len(made) + 1
            await work.look()
            await database.write(
                "UPDATE tenants SET sealed_session_key = ? WHERE id = ?", (late, made[0].id)
            )
            keys[made[0].id] = KEY
            await work.look()
            assert len(database.vault.key_ids) == 2
            await work.look()
            await work.look()
            assert len(database.vault.key_ids) == 1
        async with _open(tmp_path) as (_, stores):
            found = await stores.registry.page(after=0, limit=2000)
            assert {each.id: stores.registry.session_key_of(each) for each in found} == keys

    asyncio.run(body())


def test_a_rotation_that_was_cut_short_goes_on_at_the_next_start(tmp_path: Path) -> None:
    async def body() -> None:
        async with _open(tmp_path) as (database, stores):
            tenant = await _add(stores, "a")
            before = stores.registry.session_key_of(tenant)
            database.vault.add_key()
        async with _open(tmp_path) as (database, stores):
            work = Sealing(database)
            for _ in range(3):
                await work.look()
            assert len(database.vault.key_ids) == 1
        async with _open(tmp_path) as (_, stores):
            again = await stores.registry.get(tenant.id)
            assert again is not None
            assert stores.registry.session_key_of(again) == before

    asyncio.run(body())


def test_every_sealed_column_of_the_schema_is_listed(tmp_path: Path) -> None:
    async def body() -> None:
        async with _open(tmp_path) as (database, _):
            found = set()
            for (table,) in await database.read(
                "SELECT name FROM sqlite_master WHERE type='table'"
            ):
                for row in await database.read(f"PRAGMA table_info({table})"):
                    if str(row[1]).startswith("sealed"):
                        found.add((table, row[1]))
            assert found == {(each.table, each.column) for each in COLUMNS}

    asyncio.run(body())
