"""What can be done with a tenant: create, describe, change, suspend, delete.

Creating touches the registry alone: no pod, no storage, so it is as fast as one durable write.
Deleting first makes a durable tombstone, so that no pod is ever given the tenant's certificate
again, and then ends its pods and removes its data; what is interrupted there is taken up again.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from control import scram
from control.live import Live, Sort, summarise
from control.metrics import SETTINGS_CHANGES, TENANTS_TO_PURGE
from control.peers import Peers
from control.pictures import Decision, Picture
from control.registry import Registry, Tenant
from control.settings import change_settings, differences
from control.watchers import Watchers
from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantId

_log = logging.getLogger(__name__)

OWNER = "owner"
"""The first role of every tenant. A fixed name: a tenant's own might be one that PostgreSQL
reserves (`public`, `pg_…`)."""

_PURGE_PAGE = 100
_RETRY_SECONDS_MIN = 1.0
_RETRY_SECONDS_MAX = 60.0
_PURGE_PATIENCE_SECONDS = 10.0


class NoSuchTenant(Exception):
    """There is no living tenant with this id."""


@dataclass(frozen=True, slots=True)
class Described:
    """A tenant with its live picture."""

    tenant: Tenant
    picture: Picture


@dataclass(frozen=True, slots=True)
class Explained:
    """A tenant with the latest decisions about it, newest first."""

    described: Described
    decisions: Sequence[Decision]


class Tenants:
    """The operations on tenants. A new tenant has `connections_max`; `watchers` hear of changes."""

    def __init__(
        self, registry: Registry, peers: Peers, *, connections_max: int, watchers: Watchers
    ) -> None:
        self._registry = registry
        self._peers = peers
        self._watchers = watchers
        self._connections_max = connections_max
        self._to_purge = asyncio.Event()

    async def create(self, name: str) -> tuple[Tenant, str]:
        """Register a tenant; returns it with its password, which is kept nowhere.

        Raises registry.NameTaken.
        """
        password = scram.generate_password()
        verifier = await asyncio.to_thread(scram.build_verifier, password, scram.generate_salt())
        tenant = await self._registry.add(
            name=name,
            owner=OWNER,
            database=name,
            scram_verifier=verifier,
            connections_max=self._connections_max,
        )
        _log.info("tenant created", extra={"tenant": tenant.id})
        return tenant, password

    async def get(self, tenant_id: TenantId) -> Described:
        """One tenant. Raises NoSuchTenant."""
        tenant = await self._registry.get(tenant_id)
        if tenant is None:
            raise NoSuchTenant(tenant_id)
        return (await self._describe([tenant]))[0]

    async def page(self, *, after: int, limit: int, name: str | None) -> list[Described]:
        """See Registry.page."""
        return await self._describe(await self._registry.page(after=after, limit=limit, name=name))

    async def change(
        self,
        tenant_id: TenantId,
        change: Mapping[str, Any],
        *,
        versions: Collection[int] | None = None,
    ) -> Tenant:
        """Change settings, by the API's names; the tenant as it is now.

        Raises NoSuchTenant, settings.InvalidSettings, and registry.VersionMismatch where the
        settings have none of the `versions`.
        """
        make = partial(change_settings, change=change, connections_default=self._connections_max)
        changed = await self._registry.change_settings(tenant_id, make, versions=versions)
        if changed is None:
            raise NoSuchTenant(tenant_id)
        if differs := differences(changed.before, changed.tenant.settings):
            self._watchers.changed(changed.tenant)
            _note(changed.tenant, differs)
        return changed.tenant

    async def explain(self, tenant_id: TenantId, *, decisions_max: int) -> Explained:
        """A tenant and why it is as it is. Raises NoSuchTenant and errors.Unavailable."""
        tenant = await self._registry.get(tenant_id)
        if tenant is None:
            raise NoSuchTenant(tenant_id)
        picture, decisions = await self._peers.explain(tenant_id, decisions_max=decisions_max)
        return Explained(Described(tenant, picture), decisions)

    async def live(self, *, sort: Sort, limit: int) -> Live:
        """The tenants with pods or sessions, the first `limit` by `sort`.

        Raises errors.Unavailable.
        """
        awake = await self._peers.awake()
        names = await self._registry.names(list(awake.pictures))
        return summarise(awake, names, sort=sort, limit=limit)

    async def suspend(self, tenant_id: TenantId) -> Described:
        """Put a tenant to sleep at once. Raises NoSuchTenant and errors.Unavailable."""
        if await self._registry.get(tenant_id) is None:
            raise NoSuchTenant(tenant_id)
        await self._peers.suspend(tenant_id)
        return await self.get(tenant_id)

    async def delete(self, tenant_id: TenantId) -> bool:
        """Delete a tenant for good. Raises NoSuchTenant.

        Returns whether its data is gone already; if not, that goes on behind.
        """
        tombstone = await self._registry.mark_deleted(tenant_id)
        if tombstone is None:
            raise NoSuchTenant(tenant_id)
        self._watchers.deleted(tombstone)
        _log.info("tenant deleted", extra={"tenant": tenant_id})
        try:
            async with asyncio.timeout(_PURGE_PATIENCE_SECONDS):
                await self._purge(tenant_id)
        except (DormouseError, TimeoutError) as error:
            _log.warning(
                "a deleted tenant's data is removed later",
                extra={"tenant": tenant_id, "reason": str(error) or "time-out"},
            )
            self._to_purge.set()
            return False
        return True

    async def purge_forever(self) -> None:
        """Finish deletions that were interrupted, by an absent role or by an end of this one."""
        pause = _RETRY_SECONDS_MIN
        while True:
            self._to_purge.clear()
            waiting = await self._registry.to_purge(_PURGE_PAGE)
            TENANTS_TO_PURGE.set(len(waiting))
            if not waiting:
                await self._to_purge.wait()
            elif await self._purge_all(waiting):
                pause = _RETRY_SECONDS_MIN
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RETRY_SECONDS_MAX)

    async def _purge_all(self, waiting: Sequence[TenantId]) -> bool:
        """Whether all of them are gone; one that fails does not hold up the others."""
        failures: list[DormouseError] = []
        for tenant in waiting:
            try:
                await self._purge(tenant)
            except DormouseError as error:
                failures.append(error)
        if failures:
            _log.warning(
                "deleting is put off", extra={"tenants": len(failures), "reason": str(failures[0])}
            )
        return not failures

    async def _purge(self, tenant: TenantId) -> None:
        await self._peers.suspend(tenant)
        await self._peers.drop(tenant)
        await self._registry.mark_purged(tenant)
        _log.info("tenant purged", extra={"tenant": tenant})

    async def _describe(self, tenants: Sequence[Tenant]) -> list[Described]:
        pictures = await self._peers.pictures([tenant.id for tenant in tenants])
        return [Described(tenant, pictures[tenant.id]) for tenant in tenants]


def _note(tenant: Tenant, differs: Mapping[str, tuple[Any, Any]]) -> None:
    """The audit line: what was changed; who did it is bound to the request (see api.gate)."""
    for setting in differs:
        SETTINGS_CHANGES.labels(setting).inc()
    changes = {name: {"old": old, "new": new} for name, (old, new) in differs.items()}
    _log.info(
        "tenant settings changed",
        extra={"tenant": tenant.id, "version": tenant.settings_version, "changes": changes},
    )
