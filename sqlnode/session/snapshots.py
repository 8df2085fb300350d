"""pg_export_snapshot() and SET TRANSACTION SNAPSHOT: one snapshot for several transactions.

    a: BEGIN; SELECT pg_export_snapshot()  ──▶ 18A3F0C2D4E5F600-0C0FFEE11-1
         └─ holder, a KV transaction: storage has the snapshot pinned, and lets others begin with it
    b: BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '18A3F0…'
         └─ storage: is it exported, now? ──▶ b pins it for itself, and a may end

A snapshot is a time, so its name carries it, and works on every pod of the tenant, with a number
drawn by lot: storage knows what is exported, so a name that was made up, or whose transaction is
over, is refused.
The name says too what SERIALIZABLE must know of the exporter (who lies there deceives himself:
storage validates only against what it knows).

The catalog of an imported snapshot is the one of then: the pod's, if that is older, or else read
once more, at the snapshot.
"""

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sqlnode.catalog import store
from sqlnode.errors import SqlError
from sqlnode.kv.api import Isolation
from sqlnode.kv.usage import system_work

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.kv.client import KvClient
    from sqlnode.kv.transaction import KvTransaction

SNAPSHOTS_MAX = 1000
"""Snapshots that one transaction may export; one more is refused with 54000."""
_NAME = re.compile("([0-9A-F]{16})-([0-3])([0-9A-F]{8})-([0-9A-F]{1,4})")


@dataclass(frozen=True, slots=True)
class SnapshotName:
    """What the text says that pg_export_snapshot() answers."""

    time: int
    is_serializable: bool
    is_read_only: bool
    lot: int
    number: int
    """Among those of its transaction, from 1."""

    def __str__(self) -> str:
        flags = self.is_serializable + 2 * self.is_read_only
        return f"{self.time:016X}-{flags}{self.lot:08X}-{self.number:X}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The name in a text. Raises SqlError 22023."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise invalid(text)
        flags, (time, lot, number) = int(match[2]), (int(match[each], 16) for each in (1, 3, 4))
        return cls(time, bool(flags & 1), bool(flags & 2), lot, number)

    def refuse_serializable(self, *, is_read_only: bool, is_deferrable: bool) -> None:
        """Raises SqlError 0A000 where a serializable transaction may not begin with it."""
        refused = None
        if not self.is_serializable:
            refused = (
                "a serializable transaction cannot import a snapshot from a non-serializable"
                " transaction"
            )
        elif self.is_read_only and not is_read_only:
            refused = (
                "a non-read-only serializable transaction cannot import a snapshot from a"
                " read-only transaction"
            )
        elif is_read_only and is_deferrable:
            refused = "a snapshot-importing transaction must not be READ ONLY DEFERRABLE"
        if refused is not None:
            raise SqlError("0A000", refused)


def invalid(text: str) -> SqlError:
    """Nobody exports a snapshot of this name."""
    return SqlError("22023", f'invalid snapshot identifier: "{text}"')


class Exports:
    """The snapshots that the transaction of one session has exported."""

    def __init__(self, client: "KvClient") -> None:
        self._client = client
        self._holders: list[KvTransaction] = []

    async def add(
        self, transaction: "KvTransaction", *, is_serializable: bool, is_read_only: bool
    ) -> str:
        """Export the snapshot of the statement that runs; its name. Raises SqlError 54000, and
        40001 where storage is lost."""
        if len(self._holders) >= SNAPSHOTS_MAX:
            raise SqlError("54000", f"a transaction exports at most {SNAPSHOTS_MAX} snapshots")
        time = await transaction.look()
        holder = self._client.begin(isolation=Isolation.REPEATABLE_READ, read_only=True)
        holder.session = transaction.session
        self._holders.append(holder)
        lot = secrets.randbelow(2**32 - 1) + 1
        await holder.look(time, exports=lot)
        return str(SnapshotName(time, is_serializable, is_read_only, lot, len(self._holders)))

    async def close(self) -> None:
        """Nobody can import them any more once this returns. Raises SqlError 40001 where storage is
        lost."""
        if self._holders:
            self.end()
            # What is sent later on the same stream is answered later.
            await self._client.current_catalog_version()

    def end(self) -> None:
        """The transaction is over: soon nobody can import them any more."""
        for holder in self._holders:
            holder.rollback()
        self._holders.clear()


async def catalog_of_snapshot(
    client: "KvClient", transaction: "KvTransaction", like: "Catalog"
) -> "Catalog":
    """Take the snapshot of a transaction, and the catalog of then; `like`: another one of the
    tenant. Raises SqlError."""
    snapshot = await transaction.look()
    # A serializable transaction is not to have read what only its planning needs.
    reader = client.begin(isolation=Isolation.REPEATABLE_READ, read_only=True)
    try:
        with system_work():
            await reader.look(snapshot)
            return await store.read_at(reader, client.tenant, like=like)
    finally:
        reader.rollback()


async def catalog_at(client: "KvClient", name: SnapshotName, now: "Catalog") -> "Catalog":
    """The catalog as of an exported snapshot; `now`: the newest. Raises SqlError."""
    if now.version <= name.time:
        return now
    transaction = client.begin(isolation=Isolation.REPEATABLE_READ, read_only=True)
    try:
        with system_work():
            await transaction.look(name.time, imports=name.lot)
            return await store.read_at(transaction, client.tenant, like=now)
    finally:
        transaction.rollback()
