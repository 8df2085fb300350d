"""The registry's SQLite file: opened durable, brought to the newest schema, one writer.

A write is durable when its call returns (WAL with synchronous=FULL). Writes share one connection
and queue on its lock; reads go through another one, so that no wake waits for somebody's fsync.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from control.schema import STEPS
from control.vault import Vault

_log = logging.getLogger(__name__)

Row = tuple[Any, ...]


class RegistryError(Exception):
    """The registry's file cannot be used by this release."""


class Database:
    """One open SQLite file, and the keys of the secrets in it."""

    def __init__(
        self, writer: aiosqlite.Connection, reader: aiosqlite.Connection, vault: Vault
    ) -> None:
        self.vault = vault
        self._writer = writer
        self._reader = reader
        self._writing = asyncio.Lock()

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """The rows of a query; it sees every write that has returned."""
        found = await self._reader.execute_fetchall(sql, parameters)
        return [tuple(row) for row in found]

    async def read_one(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """The first row of a query, or None."""
        found = await self.read(sql, parameters)
        return found[0] if found else None

    async def write(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """Run one statement, durably; its first RETURNING row, if there is one."""
        return next(iter(await self.write_all(sql, parameters)), None)

    async def write_all(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement, durably; all its RETURNING rows."""
        async with self._writing:
            found = await self._writer.execute_fetchall(sql, parameters)
        return [tuple(row) for row in found]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """All statements of the block take effect together, or none."""
        async with self._writing:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                await self._writer.execute("COMMIT")
            except BaseException:
                # A task that is cancelled while it waits for BEGIN or COMMIT leaves that to the
                # writer's thread, which does it all the same; so this comes after it, there.
                with contextlib.suppress(sqlite3.OperationalError):  # there is nothing to undo
                    await self._writer.execute("ROLLBACK")
                raise


@asynccontextmanager
async def open_database(file: Path, secrets_file: Path | None = None) -> AsyncIterator[Database]:
    """Open the registry at `file`, making or upgrading it; its secrets are sealed with the keys in
    `secrets_file`, by default `secrets.keys` beside it.

    Raises RegistryError for a file that a newer release has written, and VaultError where the keys
    are not those of this registry.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    vault = Vault.at(secrets_file or file.with_name("secrets.keys"))
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    async with (
        aiosqlite.connect(file, isolation_level=None) as writer,
        aiosqlite.connect(file, isolation_level=None) as reader,
    ):
        # Deleted content is overwritten: a secret that was sealed late must not stay beside.
        pragmas = ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "secure_delete=ON")
        for pragma in pragmas:
            await writer.execute(f"PRAGMA {pragma}")
        for pragma in ("query_only=ON", "busy_timeout=5000"):
            await reader.execute(f"PRAGMA {pragma}")
        # SQLite's own randomness is not promised to be fit for secrets.
        await writer.create_function("secret_bytes", 1, secrets.token_bytes)
        await writer.create_function("sealed", 2, vault.seal)
        await writer.create_function("opened", 2, vault.open)
        database = Database(writer, reader, vault)
        await _upgrade(database, file)
        await _check_keys(database)
        yield database


async def _upgrade(database: Database, file: Path) -> None:
    found = await database.write("PRAGMA user_version")
    version = int(found[0]) if found else 0
    if version > len(STEPS):
        raise RegistryError(f"{file} has schema {version}; this release knows up to {len(STEPS)}")
    if version == len(STEPS):
        return
    for number, step in enumerate(STEPS[version:], start=version + 1):
        async with database.transaction() as connection:
            for statement in step:
                await connection.execute(statement)
            await connection.execute(f"PRAGMA user_version = {number}")
        _log.info("registry upgraded", extra={"schema": number})
    # What was there in plain text before a step sealed it is not to stay in the log of writes.
    await database.write("PRAGMA wal_checkpoint(TRUNCATE)")


async def _check_keys(database: Database) -> None:
    """Raises VaultError where the registry's secrets were sealed with other keys."""
    for (sealed,) in await database.read("SELECT sealed FROM sealed_probe"):
        database.vault.open("probe", sealed)
