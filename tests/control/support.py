"""What tests of control share: an open registry, stand-ins for the peers, the application."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from control.api.app import make_app
from control.api.gate import Gate
from control.api.routes import make_router
from control.authority import Authority
from control.config import ControlSettings
from control.database import open_database
from control.keys import hash_key
from control.peers import NotImported, Peers, PodPicture
from control.pictures import ASLEEP, UNKNOWN, Awake, Decision, Picture, WarmPool
from control.prices import PriceBook
from control.quotas import Quota
from control.registry import Registry
from control.services import Services, Stores
from control.spending.service import Spending
from control.statements import StatementLedger
from control.status import StatusFile
from control.storage_sampling import StorageLevels
from control.urls import Endpoint
from control.usage import UsageReader
from control.watchers import Watchers
from dormouse.base import blocks
from dormouse.base.clock import Clock, ManualClock
from dormouse.base.errors import Unavailable
from dormouse.base.ids import PodId, TenantId
from proto import kv_pb2

KEY = "dm_admin_test"
ENDPOINT = Endpoint(
    host="localhost",
    port=5433,
    domain="dormouse.localhost",
    ca_file=Path("/data/ca.crt"),
    host_address=None,
)


class FakePeers(Peers):
    """An autoscaler and a storage that remember what they were asked, and may be away."""

    def __init__(self) -> None:
        self.away = False
        self.broken: TenantId | None = None
        self.dropped = asyncio.Event()
        self.quotas: dict[TenantId, Quota] = {}
        self.pages: list[kv_pb2.ExportPage] = []
        """What an export gives, whichever tenant's."""
        self.imported: dict[TenantId, dict[tuple[bool, bytes], bytes]] = {}
        self.asked: list[tuple[str, TenantId]] = []
        self.known: dict[TenantId, Picture] = {}
        self.decisions: list[Decision] = []
        self.warm_pool: WarmPool | None = None
        self.renewals = 0
        self.pod_pictures: dict[TenantId, list[PodPicture]] = {}
        self.unrenewed = 0
        """Pods that cannot be renewed."""
        self.verifiers: dict[TenantId, str] = {}
        """What the pods of each tenant were last told."""

    async def pictures(self, tenants: Sequence[TenantId]) -> dict[TenantId, Picture]:
        if self.away:
            return dict.fromkeys(tenants, UNKNOWN)
        return {tenant: self.known.get(tenant, ASLEEP) for tenant in tenants}

    async def storage_warnings(self) -> list[str]:
        return []

    async def awake(self) -> Awake:
        if self.away:
            raise Unavailable("away")
        return Awake(dict(self.known), self.warm_pool)

    async def explain(
        self, tenant: TenantId, *, decisions_max: int
    ) -> tuple[Picture, list[Decision]]:
        self._ask("explain", tenant)
        return self.known.get(tenant, ASLEEP), self.decisions[:decisions_max]

    async def wake(self, tenant: TenantId) -> None:
        self._ask("wake", tenant)
        self.known[tenant] = Picture("running", 1, 0, "just woken")

    async def suspend(self, tenant: TenantId) -> None:
        self._ask("suspend", tenant)
        self.known.pop(tenant, None)

    async def pods(self, tenant: TenantId) -> list[PodPicture]:
        self._ask("pods", tenant)
        return self.pod_pictures.get(tenant, [])

    async def end_pod(self, tenant: TenantId, pod: PodId) -> None:
        self._ask(f"end {pod}", tenant)

    async def renew_pods(self) -> int:
        if self.away:
            raise Unavailable("away")
        self.renewals += 1
        return self.unrenewed

    async def set_owner(self, tenant: TenantId, *, owner: str, scram_verifier: str) -> None:
        self._ask("set owner", tenant)
        self.verifiers[tenant] = scram_verifier

    async def set_quotas(
        self, quotas: Mapping[TenantId, Quota], *, default: Quota, only_these: bool
    ) -> None:
        if self.away:
            raise Unavailable("away")
        self.quotas = dict(quotas) if only_these else {**self.quotas, **quotas}

    async def export(self, tenant: TenantId) -> AsyncGenerator[kv_pb2.ExportPage]:
        self._ask("export", tenant)
        yield kv_pb2.ExportPage(snapshot=7, has_catalog=True)
        for page in self.pages:
            if self.away:
                raise Unavailable("away")
            yield page

    async def begin_import(self, tenant: TenantId) -> None:
        self._ask("begin_import", tenant)
        self.imported[tenant] = {}

    async def import_rows(
        self, tenant: TenantId, keys: bytes, values: bytes, *, is_rows: bool
    ) -> None:
        self._ask("import", tenant)
        pairs = zip(blocks.unpack_present(keys), blocks.unpack_present(values), strict=True)
        self.imported[tenant] |= {(is_rows, key): value for key, value in pairs}

    counts_left = 0
    """How often storage says that it is still counting."""

    async def finish_import(
        self, tenant: TenantId, *, rows: int, counters: int, has_catalog: bool
    ) -> bool:
        self._ask("finish_import", tenant)
        if len(self.imported[tenant]) != rows + counters:
            raise NotImported("rows are missing")
        self.counts_left -= 1
        return self.counts_left < 0

    async def drop(self, tenant: TenantId) -> None:
        self._ask("drop", tenant)
        self.dropped.set()

    def _ask(self, what: str, tenant: TenantId) -> None:
        if self.away or tenant == self.broken:
            raise Unavailable("away")
        self.asked.append((what, tenant))


@asynccontextmanager
async def stores_at(folder: Path, clock: Clock | None = None) -> AsyncIterator[Stores]:
    async with open_database(folder / "registry.sqlite") as database:
        yield Stores.over(database, clock or ManualClock())


@asynccontextmanager
async def registry_at(folder: Path) -> AsyncIterator[Registry]:
    async with stores_at(folder) as stores:
        yield stores.registry


def settings_at(folder: Path, **changes: Any) -> ControlSettings:
    values: dict[str, Any] = {
        "registry": folder / "registry.sqlite",
        "authority": folder,
        "certs": folder,
        "rpc_address": "",
        "autoscaler_address": "",
        "storage_address": "",
        "body_bytes_max": 1000,
        "tenant_connections_max": 10,
        **changes,
    }
    return ControlSettings(**values)


def services_over(
    stores: Stores,
    peers: Peers,
    *,
    folder: Path,
    watchers: Watchers | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> Services:
    return Services.over(
        stores,
        peers=peers,
        watchers=watchers or Watchers(),
        settings=settings_at(folder, **settings),
        clock=clock or ManualClock(),
        authority=Authority.open(folder, clock or ManualClock()),
    )


@dataclass(frozen=True, slots=True)
class Rig:
    """The application, and what it stands on."""

    app: Gate
    services: Services

    def client(self, key: str | None = KEY, *, address: str = "192.0.2.1") -> httpx.AsyncClient:
        """A client without a network between; `key` None sends none."""
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        transport = httpx.ASGITransport(
            self.app, raise_app_exceptions=False, client=(address, 1234)
        )
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


@asynccontextmanager
async def rig_at(
    folder: Path,
    peers: Peers,
    *,
    watchers: Watchers | None = None,
    clock: Clock | None = None,
    book: PriceBook | None = None,
    **changes: Any,
) -> AsyncIterator[Rig]:
    clock = clock or ManualClock()
    settings = settings_at(folder, **changes)
    async with open_database(settings.registry) as database:
        stores = Stores.over(database, clock)
        levels = StorageLevels(database, clock)
        await stores.keys.add_admin_hash(hash_key(KEY), label="ann")
        services = services_over(
            stores, peers, folder=folder, watchers=watchers, clock=clock, **changes
        )

        async def is_ready() -> bool:
            return True

        usage = UsageReader(database, levels, book or PriceBook(), clock)
        router = make_router(
            services=services,
            settings=settings,
            endpoint=ENDPOINT,
            status_file=StatusFile(folder / "status.json"),
            clock=clock,
            usage=usage,
            spending=Spending.over(stores, usage, clock),
            statements=StatementLedger(database, clock),
        )
        app = make_app(settings, router=router, stores=stores, clock=clock, is_ready=is_ready)
        yield Rig(app, services)


@asynccontextmanager
async def api_at(
    folder: Path,
    peers: Peers,
    *,
    key: str | None = KEY,
    watchers: Watchers | None = None,
    **changes: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, without a network between; `key` None sends none."""
    async with (
        rig_at(folder, peers, watchers=watchers, **changes) as rig,
        rig.client(key) as client,
    ):
        yield client
