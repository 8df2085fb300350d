"""What can be done with a tenant that lives: create, describe, change, suspend.

Creating touches the registry alone: no pod, no storage, so it is as fast as one durable write.
Deleting has its own module (control/deletion.py).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from control import scram
from control.actor import DEFAULT_ORGANISATION, OrganisationId
from control.filters import Filter
from control.live import Live, Sort, summarise
from control.metrics import SETTINGS_CHANGES
from control.operations import Kind, Operation, Operations
from control.owners import OwnerNews
from control.peers import Peers
from control.pictures import UNKNOWN, Decision, Picture
from control.quotas import Quotas
from control.registry import Draft, Registry, Tenant, note_of
from control.settings import change_settings, differences
from control.watchers import Watchers
from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantId

OWNER = "owner"
"""The first role of every tenant. A fixed name: a tenant's own might be one that PostgreSQL
reserves (`public`, `pg_…`)."""

ASLEEP = "asleep"
DELETED = "deleted"


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


@dataclass(frozen=True, slots=True)
class NewPassword:
    """What a reset has made."""

    tenant: Tenant
    password: str = field(repr=False)
    is_known: bool
    """Whether every pod that runs knows it by now."""


class Tenants:
    """The operations on tenants. A new tenant has `connections_max`; `watchers` hear of changes."""

    def __init__(
        self,
        registry: Registry,
        peers: Peers,
        operations: Operations,
        *,
        connections_max: int,
        watchers: Watchers,
        owner_news: OwnerNews,
        quotas: Quotas,
    ) -> None:
        self._owner_news = owner_news
        self._quotas = quotas
        self._registry = registry
        self._peers = peers
        self._operations = operations
        self._watchers = watchers
        self._connections_max = connections_max

    async def create(
        self,
        name: str,
        *,
        organisation: OrganisationId = DEFAULT_ORGANISATION,
        labels: Mapping[str, str] | None = None,
    ) -> tuple[Tenant, str]:
        """Register a tenant; returns it with its password, which is kept nowhere.

        Raises registry.NameTaken and registry.NoOrganisation.
        """
        password, verifier = await _new_password()
        tenant = await self._registry.add(
            name=name,
            owner=OWNER,
            database=name,
            scram_verifier=verifier,
            connections_max=self._connections_max,
            organisation=organisation,
            labels=labels,
        )
        return tenant, password

    async def get(self, tenant_id: TenantId) -> Described:
        """One tenant. Raises NoSuchTenant."""
        return (await self._describe([await self.registered(tenant_id)]))[0]

    async def registered(self, tenant_id: TenantId) -> Tenant:
        """One tenant, without asking how it is just now. Raises NoSuchTenant."""
        tenant = await self._registry.get(tenant_id)
        if tenant is None:
            raise NoSuchTenant(tenant_id)
        return tenant

    async def page(
        self, *, after: int, limit: int, where: Filter, state: str | None = None
    ) -> list[Described]:
        """See Registry.page; of one state, if one is given.

        Raises errors.Unavailable where nobody tells the state, which is `unknown` of all then.
        """
        if state == UNKNOWN.state:
            return await self._unknown(after=after, limit=limit, where=where)
        if state == DELETED:
            where = replace(where, deleted=True)
        elif state is not None:
            pictures = (await self._peers.awake()).pictures
            # One that sleeps with parked sessions has a picture, too.
            if state == ASLEEP:
                awake = [each for each, picture in pictures.items() if picture.state != ASLEEP]
                where = replace(where, apart_from=awake)
            else:
                found = [each for each, picture in pictures.items() if picture.state == state]
                where = replace(where, among=found)
        found_tenants = await self._registry.page(after=after, limit=limit, where=where)
        return await self._describe(found_tenants)

    async def _unknown(self, *, after: int, limit: int, where: Filter) -> list[Described]:
        """Those whose state nobody tells: while the autoscaler is away all of them, else none."""
        page = await self._registry.page(after=after, limit=limit, where=where)
        found = await self._describe(page)
        return [each for each in found if each.picture.state == UNKNOWN.state]

    async def change(
        self,
        tenant_id: TenantId,
        change: Mapping[str, Any],
        *,
        versions: Collection[int] | None = None,
    ) -> Tenant:
        """Change settings, by the API's names; the tenant as it is now.

        Raises NoSuchTenant, settings.InvalidSettings, and registry.VersionMismatch where the
        tenant has none of the `versions`.
        """

        def make(draft: Draft) -> Draft:
            settings = change_settings(
                draft.settings, change, connections_default=self._connections_max
            )
            for name in differences(draft.settings, settings):
                SETTINGS_CHANGES.labels(name).inc()
            return replace(draft, settings=settings)

        tenant = await self._change(tenant_id, make, action="tenant.settings", versions=versions)
        if not change.keys().isdisjoint(("storage_max_bytes", "recovery_window_seconds")):
            await self._quotas.tell(tenant.id)
        return tenant

    async def describe_as(
        self,
        tenant_id: TenantId,
        *,
        name: str | None = None,
        labels: Mapping[str, str] | None = None,
        versions: Collection[int] | None = None,
    ) -> Tenant:
        """Give it another name, other labels; None leaves them. Old addresses stop at once.

        Raises NoSuchTenant, registry.NameTaken and registry.VersionMismatch.
        """

        def make(draft: Draft) -> Draft:
            return replace(
                draft,
                name=draft.name if name is None else name,
                labels=draft.labels if labels is None else labels,
            )

        return await self._change(tenant_id, make, action="tenant.change", versions=versions)

    async def reset_password(self, tenant_id: TenantId) -> NewPassword:
        """A new password of the first role, which is kept nowhere. Raises NoSuchTenant.

        Waits a while for the pods that run to know it; what fails there is tried again behind.
        """
        password, verifier = await _new_password()
        tenant = await self._registry.set_verifier(tenant_id, verifier)
        if tenant is None:
            raise NoSuchTenant(tenant_id)
        return NewPassword(tenant, password, await self._owner_news.tell(tenant_id))

    async def explain(self, tenant_id: TenantId, *, decisions_max: int) -> Explained:
        """A tenant and why it is as it is. Raises NoSuchTenant and errors.Unavailable."""
        tenant = await self.registered(tenant_id)
        picture, decisions = await self._peers.explain(tenant_id, decisions_max=decisions_max)
        return Explained(Described(tenant, picture), decisions)

    async def live(self, *, sort: Sort, limit: int) -> Live:
        """The tenants with pods or sessions, the first `limit` by `sort`.

        Raises errors.Unavailable.
        """
        awake = await self._peers.awake()
        names = await self._registry.names(list(awake.pictures))
        return summarise(awake, names, sort=sort, limit=limit)

    async def wake(self, tenant_id: TenantId) -> Described:
        """Wake a tenant as a connection would. Raises NoSuchTenant and errors.Unavailable."""
        await self.registered(tenant_id)
        await self._peers.wake(tenant_id)
        return await self.get(tenant_id)

    async def suspend(self, tenant_id: TenantId) -> tuple[Described, Operation]:
        """Put a tenant to sleep at once. Raises NoSuchTenant and errors.Unavailable."""
        tenant = await self.registered(tenant_id)
        note = note_of(tenant, "tenant.suspend", {})
        operation = await self._operations.start(Kind.SUSPEND, tenant_id, note=note)
        try:
            await self._peers.suspend(tenant_id)
        except DormouseError as error:
            await self._operations.finish(tenant_id, Kind.SUSPEND, error=str(error))
            raise
        await self._operations.finish(tenant_id, Kind.SUSPEND)
        return await self.get(tenant_id), operation

    async def _change(
        self,
        tenant_id: TenantId,
        make: Callable[[Draft], Draft],
        *,
        action: str,
        versions: Collection[int] | None,
    ) -> Tenant:
        changed = await self._registry.change(tenant_id, make, action=action, versions=versions)
        if changed is None:
            raise NoSuchTenant(tenant_id)
        if changed.tenant.version != changed.before.version:
            self._watchers.changed(changed.tenant)
        return changed.tenant

    async def _describe(self, tenants: Sequence[Tenant]) -> list[Described]:
        pictures = await self._peers.pictures([tenant.id for tenant in tenants])
        return [Described(tenant, pictures[tenant.id]) for tenant in tenants]


async def _new_password() -> tuple[str, str]:
    password = scram.generate_password()
    verifier = await asyncio.to_thread(scram.build_verifier, password, scram.generate_salt())
    return password, verifier
