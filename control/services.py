"""The parts of control that work on the registry, made once and handed around together."""

from dataclasses import dataclass
from typing import Self

from control.authority import Authority
from control.backups import Backups
from control.config import ControlSettings
from control.database import Database
from control.deletion import Deletion
from control.events import Events
from control.idempotency import Idempotency
from control.invoices.store import Invoices
from control.journal import Journal
from control.keys import Keys
from control.operations import Operations
from control.organisations import Organisations
from control.owners import OwnerNews
from control.peers import Peers
from control.quotas import Quota, Quotas
from control.registry import Registry
from control.sealing import Sealing
from control.tenants import Tenants
from control.trust.expiry import ExpiryWarnings
from control.trust.revoking import Revoking
from control.trust.steward import Steward, StewardFiles
from control.upkeep import Upkeep
from control.watchers import Watchers
from control.webhooks.deliveries import Deliveries
from control.webhooks.store import Webhooks
from dormouse.base.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The tables."""

    database: Database
    """The file they are in."""

    journal: Journal
    events: Events
    operations: Operations
    registry: Registry
    organisations: Organisations
    keys: Keys
    idempotency: Idempotency
    webhooks: Webhooks
    deliveries: Deliveries
    invoices: Invoices

    @classmethod
    def over(cls, database: Database, clock: Clock) -> Self:
        """All of them, over one database."""
        journal = Journal(database, clock)
        events = Events(database, clock)
        operations = Operations(database, clock, journal)
        webhooks = Webhooks(database, clock, journal, events=events)
        return cls(
            database=database,
            journal=journal,
            events=events,
            operations=operations,
            registry=Registry(database, clock, journal, operations, events=events),
            organisations=Organisations(database, clock, journal, events=events),
            keys=Keys(database, clock, journal, events=events),
            idempotency=Idempotency(database, clock),
            webhooks=webhooks,
            deliveries=Deliveries(database, clock, journal, events=events, webhooks=webhooks),
            invoices=Invoices(database),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What is done with them."""

    stores: Stores
    tenants: Tenants
    deletion: Deletion
    backups: Backups
    upkeep: Upkeep
    owner_news: OwnerNews
    quotas: Quotas
    sealing: Sealing
    steward: Steward
    revoking: Revoking
    peers: Peers

    @classmethod
    def over(
        cls,
        stores: Stores,
        *,
        peers: Peers,
        watchers: Watchers,
        settings: ControlSettings,
        clock: Clock,
        authority: Authority,
    ) -> Self:
        """All of them, over the tables and the other roles."""
        owner_news = OwnerNews(stores.database, peers)
        quotas = Quotas(stores.database, peers, default=_quota(settings))
        deletion = _deletion(stores, peers, watchers, settings)
        return cls(
            stores=stores,
            peers=peers,
            owner_news=owner_news,
            quotas=quotas,
            sealing=Sealing(stores.database),
            revoking=Revoking(
                stores.database,
                stores.journal,
                peers,
                clock,
                folder=settings.certs if settings.manages_certificates else None,
                certificate_days=settings.pod_certificate_days,
            ),
            steward=Steward(
                authority,
                _steward_files(settings),
                operations=stores.operations,
                events=stores.events,
                warnings=ExpiryWarnings(stores.database, stores.events, clock),
                peers=peers,
                clock=clock,
                settle_seconds=settings.authority_settle_seconds,
            ),
            tenants=Tenants(
                stores.registry,
                peers,
                stores.operations,
                connections_max=settings.tenant_connections_max,
                watchers=watchers,
                owner_news=owner_news,
                quotas=quotas,
            ),
            deletion=deletion,
            backups=Backups(
                stores.database,
                stores.registry,
                stores.journal,
                peers,
                deletion=deletion,
                watchers=watchers,
                quotas=quotas,
                connections_max=settings.tenant_connections_max,
            ),
            upkeep=_upkeep(stores, settings, clock),
        )


def _upkeep(stores: Stores, settings: ControlSettings, clock: Clock) -> Upkeep:
    return Upkeep(
        keys=stores.keys,
        journal=stores.journal,
        operations=stores.operations,
        idempotency=stores.idempotency,
        events=stores.events,
        webhooks=stores.webhooks,
        deliveries=stores.deliveries,
        clock=clock,
        audit_days=settings.audit_days,
        event_days=settings.event_days,
    )


def _deletion(
    stores: Stores, peers: Peers, watchers: Watchers, settings: ControlSettings
) -> Deletion:
    return Deletion(
        stores.registry,
        peers,
        stores.operations,
        watchers=watchers,
        grace_seconds=settings.delete_grace_days * 86_400,
    )


def _steward_files(settings: ControlSettings) -> StewardFiles:
    if not settings.manages_certificates:
        return StewardFiles(certificates=None, for_clients=None)
    return StewardFiles(certificates=settings.certs, for_clients=settings.ca_file)


def _quota(settings: ControlSettings) -> Quota:
    """Of tenants without one of their own."""
    return Quota(settings.tenant_storage_max_bytes, settings.tenant_recovery_window_seconds)
