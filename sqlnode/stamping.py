"""What turns a warm pod into a tenant's: storage stream and catalog, with the time each took."""

import asyncio
import time

from dormouse.base.clock import Clock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.renewal import LiveCredentials
from dormouse.base.tasks import cancel, spawn
from pgwire.scram import Verifier
from proto.pod_pb2 import Phase, StampRequest
from sqlnode.catalog import store
from sqlnode.catalog.catalog import Catalog
from sqlnode.config import PodSettings
from sqlnode.errors import SqlError
from sqlnode.kv.client import KvClient
from sqlnode.session.seals import Seals
from sqlnode.session.settings import Settings
from sqlnode.session.tenant import Tenant


class StorageAway(Exception):
    """Storage did not answer in time; nothing of the tenant was read."""


class Phases:
    """What the time of a stamp went to, in order."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._phases: list[Phase] = []

    def end(self, name: str) -> None:
        """The phase that began with the last one's end is over."""
        now = time.perf_counter()
        self._phases.append(Phase(name=name, micros=int((now - self._last) * 1_000_000)))
        self._last = now

    def reply(self) -> list[Phase]:
        """For StampReply."""
        return self._phases

    def __str__(self) -> str:
        return ", ".join(f"{phase.name} {phase.micros / 1000:.1f} ms" for phase in self._phases)


async def open_tenant(
    request: StampRequest,
    verifier: Verifier,
    credentials: LiveCredentials,
    settings: PodSettings,
    clock: Clock,
    pod_id: PodId,
) -> Tenant:
    """Connect to storage under the tenant's certificate and read its catalog in one round trip.

    Raises StorageAway, SqlError where the stamp's settings are none, ValueError where its session
    key is none, and what the storage client raises.
    """
    Settings(request.settings, internal={})  # a bad default must fail the stamp, not every login
    tenant_id = TenantId(request.tenant_id)
    seals = Seals(request.session_key, tenant_id) if request.session_key else None
    client = KvClient(
        request.storage_address, credentials, tenant=tenant_id, pod=pod_id, keeps_catalog=True
    )
    client.start()
    try:
        catalog = await _first_catalog(client, request, settings.storage_seconds)
    except BaseException:
        await client.close()
        raise
    client.usage.clear()  # what it took to get here is not the tenant's doing
    return Tenant(
        id=tenant_id,
        database=request.database,
        owner=request.owner.name,
        owner_verifier=verifier,
        kv=client,
        catalog=catalog,
        clock=clock,
        limits=settings.limits,
        settings=dict(request.settings),
        sessions_max=request.sessions_max or settings.limits.sessions_max,
        seals=seals,
    )


async def _first_catalog(client: KvClient, request: StampRequest, patience: float) -> Catalog:
    """The catalog, asked for in the first frame; `patience` is for storage's first answer only."""
    loading = spawn(_load(client, request), name="catalog")
    greeting = spawn(client.greeted.wait(), name="storage answers")
    try:
        either = await asyncio.wait(
            {loading, greeting}, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        if not either[0]:
            raise StorageAway
        return await loading
    finally:
        await cancel(loading, greeting)


async def _load(client: KvClient, request: StampRequest) -> Catalog:
    while True:
        try:
            return await store.load(client, owner=request.owner.name, database=request.database)
        except SqlError:
            # Before the first answer it can only be a stream that broke while it was opened.
            if client.greeted.is_set():
                raise
