"""Backups of tenants out of the gateway, and tenants made of backups.

    backup    storage, one snapshot ──▶ pages ──▶ frames (dormouse/base/archive.py) ──▶ manifest

    restore   begin ─▶ a tombstone that is due in a day, its rows on their way ── table `restores`
                │        nobody gets a certificate for it, storage takes no session of it
                ├─ pieces, each checked and durable before it is answered
                ▼
              finish: storage has all rows ─▶ it lives, with a new password

A restore that broke off is purged as any other tombstone when it is due, or at once when it is
given up. Nothing of it was ever usable.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from control import scram
from control.actor import OrganisationId
from control.database import Database
from control.deletion import Deletion
from control.journal import Journal
from control.metrics import BACKUPS
from control.peers import Peers
from control.pictures import ASLEEP
from control.quotas import Quotas
from control.registry import Draft, Registry, Tenant, note_of
from control.settings import Settings, change_settings
from control.tenants import OWNER, Described, NoSuchTenant
from control.watchers import Watchers
from dormouse.base import archive
from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId
from proto.kv_pb2 import ExportPage

_log = logging.getLogger(__name__)

_RESTORE_SECONDS = 86_400.0
"""So long may a restore take from its beginning to its end."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a backup says of itself, as far as a restore goes by it."""

    rows: int
    counters: int
    has_catalog: bool
    labels: Mapping[str, str]
    settings: Mapping[str, Any]
    """By the API's names."""


class Backups:
    """Backs tenants up and restores them. `connections_max`: the default of tenants."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        journal: Journal,
        peers: Peers,
        *,
        deletion: Deletion,
        watchers: Watchers,
        quotas: Quotas,
        connections_max: int,
    ) -> None:
        self._database = database
        self._registry = registry
        self._journal = journal
        self._peers = peers
        self._deletion = deletion
        self._watchers = watchers
        self._quotas = quotas
        self._connections_max = connections_max

    async def open(
        self, tenant_id: TenantId, *, facts: Mapping[str, Any], wall_ns: int
    ) -> AsyncIterator[bytes]:
        """The backup file of a tenant, a frame at a time; its first page is there on return.

        `facts` go into the manifest: the tenant's settings, by the API's names, and more. Raises
        NoSuchTenant and Unavailable. What fails later ends the file early, before its manifest.
        """
        tenant = await self._registry.get(tenant_id)
        if tenant is None:
            raise NoSuchTenant(tenant_id)
        pages = self._peers.export(tenant_id)
        first = await anext(pages)
        async with self._database.transaction() as connection:
            await self._journal.write(connection, note_of(tenant, "tenant.backup", {}))
        manifest = {
            "tenant": {"id": tenant.id, "name": tenant.name, "labels": dict(tenant.labels)},
            **facts,
            "created_at": datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).isoformat(),
            "snapshot": first.snapshot,
            "has_catalog": first.has_catalog,
        }
        return self._frames(tenant, manifest, pages)

    async def _frames(
        self, tenant: Tenant, facts: dict[str, Any], pages: AsyncGenerator[ExportPage]
    ) -> AsyncIterator[bytes]:
        summing = archive.Summing()
        yield archive.MAGIC
        try:
            async with aclosing(pages):
                async for page in pages:
                    for piece in _pieces(page):
                        yield await asyncio.to_thread(_summed, summing, piece)
        except Unavailable as error:
            BACKUPS.labels("backup", "failed").inc()
            extra = {"tenant": tenant.id, "reason": str(error)}
            _log.warning("a backup broke off", extra=extra)
            return
        sums = summing.sums
        yield archive.write_manifest(sums.pieces, facts, sums)
        BACKUPS.labels("backup", "done").inc()
        extra = {"tenant": tenant.id, "rows": sums.rows, "bytes": sums.bytes}
        _log.info("tenant backed up", extra=extra)

    async def begin(
        self, name: str, contents: Contents, *, organisation: OrganisationId
    ) -> TenantId:
        """A tenant that rows can be written to, and that is nobody's to use yet.

        Raises registry.NameTaken, registry.NoOrganisation, settings.InvalidSettings, Unavailable.
        """
        settings = change_settings(
            Settings(connections_max=self._connections_max),
            contents.settings,
            connections_default=self._connections_max,
        )
        tenant = await self._registry.reserve(
            Draft(name, contents.labels, settings),
            owner=OWNER,
            organisation=organisation,
            seconds=_RESTORE_SECONDS,
            contents=(contents.rows, contents.counters, int(contents.has_catalog)),
        )
        await self._peers.begin_import(tenant.id)
        return tenant.id

    async def write(self, tenant: TenantId, number: int, frame: bytes) -> None:
        """A piece of the backup, the `number`th; durable on return, and again if sent again.

        Raises NoSuchTenant, archive.Damaged and Unavailable.
        """
        await self._contents(tenant)
        piece = await asyncio.to_thread(archive.read_piece, number, frame)
        is_rows = piece.kind == archive.ROWS
        await self._peers.import_rows(tenant, piece.keys, piece.values, is_rows=is_rows)

    async def finish(self, tenant_id: TenantId) -> tuple[Described, str] | None:
        """Let the tenant live; with its new password, which is kept nowhere. None while storage
        counts its rows: to be asked again.

        Raises NoSuchTenant, peers.NotImported where rows are missing, Unavailable, and what
        Registry.restore raises.
        """
        rows, counters, has_catalog = await self._contents(tenant_id)
        if not await self._peers.finish_import(
            tenant_id, rows=rows, counters=counters, has_catalog=bool(has_catalog)
        ):
            return None
        password = scram.generate_password()
        verifier = await asyncio.to_thread(scram.build_verifier, password, scram.generate_salt())
        back = (await self._registry.restore(tenant_id, verifier=verifier)).tenant
        self._watchers.changed(back)
        await self._quotas.tell(back.id)
        BACKUPS.labels("restore", "done").inc()
        _log.info("tenant restored from a backup", extra={"tenant": back.id, "rows": rows})
        return Described(back, ASLEEP), password

    async def give_up(self, tenant: TenantId) -> None:
        """Remove what has come so far. Raises NoSuchTenant."""
        await self._contents(tenant)
        BACKUPS.labels("restore", "given_up").inc()
        await self._deletion.delete(tenant, purge=True)

    async def _contents(self, tenant: TenantId) -> tuple[int, int, int]:
        row = await self._database.read_one(
            "SELECT rows, counters, has_catalog FROM restores JOIN tenants ON id = tenant_id"
            " WHERE tenant_id = ? AND purged_ns IS NULL AND deleted_ns IS NOT NULL",
            (tenant,),
        )
        if row is None:
            raise NoSuchTenant(tenant)
        return int(row[0]), int(row[1]), int(row[2])


def _pieces(page: ExportPage) -> list[archive.Piece]:
    found = ((archive.ROWS, page.rows), (archive.COUNTERS, page.counters))
    return [archive.Piece(kind, rows.keys, rows.values) for kind, rows in found if rows.keys]


def _summed(summing: archive.Summing, piece: archive.Piece) -> bytes:
    frame = archive.write_piece(summing.sums.pieces, piece)
    summing.add(piece, frame)
    return frame
