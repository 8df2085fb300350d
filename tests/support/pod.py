"""A SQL pod in this process, on storage of its own: what tests of SQL connect clients to.

    async with pod_running(folder) as pod:
        await asyncio.to_thread(run_psql, pod.dsn, "select 1")

The SQL listener speaks without TLS on loopback; the pod's own life (stamp, drain, mutual TLS) is
tested through `sqlnode.pod` itself. Clients that block need a thread: the pod runs in this loop.
"""

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from dormouse.base.clock import Clock, SystemClock
from dormouse.base.ids import TenantId
from pgwire.scram import Verifier
from sqlnode.catalog import store
from sqlnode.config import PodLimits
from sqlnode.server import SqlServer
from sqlnode.session.seals import Seals
from sqlnode.session.tenant import Tenant
from tests.support.kv import StorageForTest, storage_running
from tests.support.tenant import TENANT, tenant_client

USER, PASSWORD, DATABASE = "mouse", "cheese", "den"
VERIFIER = Verifier.of_password(PASSWORD, salt=b"0123456789abcdef", iterations=256)


Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class PodForTest:
    """Where a pod answers, and its inside."""

    host: str
    port: int
    tenant: Tenant
    server: SqlServer

    @property
    def dsn(self) -> str:
        """For psql and psycopg."""
        return f"postgresql://{USER}:{PASSWORD}@{self.host}:{self.port}/{DATABASE}?sslmode=disable"

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it."""
        return await asyncio.open_connection(self.host, self.port)


@asynccontextmanager
async def pod_on(
    storage: StorageForTest,
    *,
    tenant_id: TenantId = TENANT,
    limits: PodLimits | None = None,
    settings: Mapping[str, str] | None = None,
    sessions_max: int = 100,
    session_key: bytes = b"",
    clock: Clock | None = None,
) -> AsyncIterator[PodForTest]:
    """A pod of a tenant on running storage."""
    async with tenant_client(storage, tenant_id) as client:
        tenant = Tenant(
            id=tenant_id,
            database=DATABASE,
            owner=USER,
            owner_verifier=VERIFIER,
            kv=client,
            catalog=await store.load(client, owner=USER, database=DATABASE),
            clock=clock or SystemClock(),
            limits=limits or PodLimits(),
            settings=settings or {},
            sessions_max=sessions_max,
            seals=Seals(session_key, tenant_id) if session_key else None,
        )
        server = SqlServer(tenant, context=None)
        port = await server.start("127.0.0.1")
        try:
            yield PodForTest("127.0.0.1", port, tenant, server)
        finally:
            await server.close()


@asynccontextmanager
async def pod_running(folder: Path, **options: Any) -> AsyncIterator[PodForTest]:
    """A pod on storage of its own, in memory."""
    async with (
        storage_running(folder, engine="memory") as storage,
        pod_on(storage, **options) as pod,
    ):
        yield pod


def run_psql(dsn: str, script: str, *arguments: str) -> str:
    """What psql prints for a script, errors in their places; it goes on after errors."""
    command = ["psql", "--no-psqlrc", "--quiet", "--echo-queries", *arguments, dsn]
    done = subprocess.run(
        command,
        input=script,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


@asynccontextmanager
async def two_sessions() -> AsyncIterator[tuple[Connection, Connection, PodForTest]]:
    """Sessions on two pods of a tenant, each statement a transaction of its own, and the first
    one's pod."""
    with tempfile.TemporaryDirectory() as folder:
        async with (
            storage_running(Path(folder), engine="memory") as storage,
            pod_on(storage) as a,
            pod_on(storage) as b,
            await psycopg.AsyncConnection.connect(a.dsn, autocommit=True) as one,
            await psycopg.AsyncConnection.connect(b.dsn, autocommit=True) as other,
        ):
            yield one, other, a
