"""What tests of control share: an open registry, stand-ins for the peers, the application."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from control.api.app import make_app
from control.api.routes import make_router
from control.config import ControlSettings
from control.database import open_database
from control.peers import Peers
from control.pictures import ASLEEP, UNKNOWN, Awake, Decision, Picture, WarmPool
from control.prices import PriceBook
from control.registry import Registry, hash_key
from control.status import StatusFile
from control.storage_sampling import StorageLevels
from control.tenants import Tenants
from control.urls import Endpoint
from control.usage import UsageReader
from control.watchers import Watchers
from dormouse.base.clock import ManualClock
from dormouse.base.errors import Unavailable
from dormouse.base.ids import TenantId

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
        self.asked: list[tuple[str, TenantId]] = []
        self.known: dict[TenantId, Picture] = {}
        self.decisions: list[Decision] = []
        self.warm_pool: WarmPool | None = None

    async def pictures(self, tenants: Sequence[TenantId]) -> dict[TenantId, Picture]:
        if self.away:
            return dict.fromkeys(tenants, UNKNOWN)
        return {tenant: self.known.get(tenant, ASLEEP) for tenant in tenants}

    async def awake(self) -> Awake:
        if self.away:
            raise Unavailable("away")
        return Awake(dict(self.known), self.warm_pool)

    async def explain(
        self, tenant: TenantId, *, decisions_max: int
    ) -> tuple[Picture, list[Decision]]:
        self._ask("explain", tenant)
        return self.known.get(tenant, ASLEEP), self.decisions[:decisions_max]

    async def suspend(self, tenant: TenantId) -> None:
        self._ask("suspend", tenant)
        self.known.pop(tenant, None)

    async def drop(self, tenant: TenantId) -> None:
        self._ask("drop", tenant)
        self.dropped.set()

    def _ask(self, what: str, tenant: TenantId) -> None:
        if self.away or tenant == self.broken:
            raise Unavailable("away")
        self.asked.append((what, tenant))


@asynccontextmanager
async def registry_at(folder: Path) -> AsyncIterator[Registry]:
    async with open_database(folder / "registry.sqlite") as database:
        yield Registry(database, ManualClock())


@asynccontextmanager
async def api_at(
    folder: Path,
    peers: Peers,
    *,
    requests_max: int = 256,
    key: str | None = KEY,
    watchers: Watchers | None = None,
    clock: ManualClock | None = None,
    book: PriceBook | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, without a network between; `key` None sends none."""
    clock = clock or ManualClock()
    settings = ControlSettings(
        registry=folder / "registry.sqlite",
        authority=folder,
        certs=folder,
        rpc_address="",
        autoscaler_address="",
        storage_address="",
        requests_max=requests_max,
        body_bytes_max=1000,
    )
    async with open_database(folder / "registry.sqlite") as database:
        registry = Registry(database, clock)
        levels = StorageLevels(database, clock)
        await registry.add_key_hash(hash_key(KEY), scope="admin", label="ann")

        async def is_ready() -> bool:
            return True

        app = make_app(
            settings,
            router=make_router(
                tenants=Tenants(
                    registry, peers, connections_max=10, watchers=watchers or Watchers()
                ),
                registry=registry,
                endpoint=ENDPOINT,
                status_file=StatusFile(folder / "status.json"),
                clock=clock,
                usage=UsageReader(database, levels, book or PriceBook(), clock),
            ),
            registry=registry,
            clock=clock,
            is_ready=is_ready,
        )
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers=headers
        ) as client:
            yield client
