"""A tenant's storage client for tests of the SQL pod: real storage, real streams.

def test_x() -> None:
    with_tenant(body)          # body(client) is a coroutine function
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from dormouse.base.ids import PodId, TenantId
from dormouse.base.tls import Identity
from sqlnode.kv.client import KvClient
from tests.support.kv import StorageForTest, storage_running

TENANT = TenantId(7)
_pods = itertools.count(1000)


@asynccontextmanager
async def tenant_client(
    storage: StorageForTest, tenant: TenantId = TENANT
) -> AsyncIterator[KvClient]:
    """A started client of one pod of `tenant`."""
    credentials = storage.authority.credentials(Identity(tenant=tenant))
    client = KvClient(storage.address, credentials, tenant=tenant, pod=PodId(next(_pods)))
    client.start()
    try:
        yield client
    finally:
        await client.close()


def with_tenant(body: Callable[[KvClient], Awaitable[None]], **settings: Any) -> None:
    """Run `body` with a client of fresh storage (in memory)."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory", **settings) as storage,
                tenant_client(storage) as client,
            ):
                await body(client)

    asyncio.run(run())
