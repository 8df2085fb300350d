"""A whole pod in this process, from its birth on: real RPC, real mutual TLS, real storage.

async def body(pod: Pod) -> None:
    await pod.stamp()
    client = await pod.login()

with_pod(body)
"""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dormouse.base.clock import SystemClock
from dormouse.base.ids import PodId
from dormouse.base.rpc import make_channel, make_server
from dormouse.base.tls import Credentials, Identity, Role
from pgwire import frontend
from pgwire.client import LoginClient
from pgwire.framing import FrameDecoder
from pgwire.notices import Notice, parse
from proto.pod_pb2 import Owner, StampReply, StampRequest, StatusReply, StatusRequest
from proto.pod_pb2_grpc import PodStub, add_PodServicer_to_server
from sqlnode.config import PodSettings
from sqlnode.pod import ACCESS
from sqlnode.podservice import PodService, make_key
from tests.support.certificates import Authority
from tests.support.kv import StorageForTest, storage_running
from tests.support.linked import SESSION_KEY, hang_up
from tests.support.pod import DATABASE, PASSWORD, USER, VERIFIER
from tests.support.tenant import TENANT

POD = Identity(role=Role.POD)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod behind its RPC server."""

    service: PodService
    stub: Any
    address: str
    storage: StorageForTest
    authority: Authority

    async def stamp(self, **changes: object) -> StampReply:
        status = await self.stub.Status(StatusRequest())
        key = serialization.load_der_public_key(status.public_key)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        request = StampRequest(
            protocol_version=1,
            tenant_id=TENANT,
            certificate=self.authority.certificate(
                Identity(tenant=TENANT), key, pod=PodId(status.pod_id)
            ),
            authority=self.authority.pem,
            storage_address=self.storage.address,
            owner=Owner(name=USER, scram_verifier=str(VERIFIER)),
            database=DATABASE,
            sessions_max=2,
            session_key=SESSION_KEY,
        )
        request.MergeFrom(StampRequest(**changes))  # type: ignore[arg-type]
        reply: StampReply = await self.stub.Stamp(request)
        return reply

    async def status(self) -> StatusReply:
        reply: StatusReply = await self.stub.Status(StatusRequest())
        return reply

    async def connect(self, who: Identity) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        status = await self.stub.Status(StatusRequest())
        host, port = status.sql_address.split(":")
        context = self.authority.credentials(who).for_tls_client()
        name = Identity(tenant=TENANT).server_name
        return await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of the proxy's."""
        return await self.connect(Identity(role=Role.PROXY))

    async def login(self, user: str = USER) -> "Client":
        reader, writer = await self.dial()
        client = Client(
            reader, writer, LoginClient(user, PASSWORD, secrets.token_bytes(18), DATABASE)
        )
        writer.write(client.login.start())
        while not client.login.ready:
            data = await reader.read(65536)
            assert data, "closed during login"
            writer.write(client.login.feed(data))
        return client


@dataclass(slots=True)
class Client:
    """A logged-in client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    login: LoginClient

    async def query(self, text: str) -> str:
        """The type letters of the replies to a simple query."""
        self.writer.write(frontend.build(frontend.Query(text)))
        decoder = FrameDecoder(small=frozenset())
        kinds = ""
        while not kinds.endswith("Z"):
            decoder.feed(await self.reader.read(65536))
            while (frame := decoder.next()) is not None:
                kinds += chr(frame.kind)
        return kinds

    async def last_words(self) -> Notice:
        """The error the server ends the connection with."""
        data = await self.reader.read()
        decoder = FrameDecoder(small=frozenset())
        decoder.feed(data)
        frame = decoder.next()
        assert frame is not None
        assert chr(frame.kind) == "E"
        return parse(frame.body)


@asynccontextmanager
async def pod_born(folder: Path) -> AsyncIterator[Pod]:
    """A pod, and a storage of its own."""
    async with (
        storage_running(folder, engine="memory") as storage,
        pod_beside(storage, folder) as pod,
    ):
        yield pod


@asynccontextmanager
async def pod_beside(storage: StorageForTest, folder: Path) -> AsyncIterator[Pod]:
    """A pod on running storage."""
    authority = storage.authority
    authority.write(folder / "certs", POD)
    settings = PodSettings(certs=folder / "certs", stop_seconds=0.0)
    service = PodService(settings, key=make_key(), clock=SystemClock())
    server = make_server(ACCESS)
    add_PodServicer_to_server(service, server)
    credentials = Credentials.read(settings.certs, Role.POD)
    port = server.add_secure_port("127.0.0.1:0", credentials.for_grpc_server())
    await server.start()
    caller = authority.credentials(Identity(role=Role.AUTOSCALER))
    address = f"127.0.0.1:{port}"
    try:
        async with make_channel(address, caller, POD) as channel:
            yield Pod(service, PodStub(channel), address, storage, authority)
    finally:
        await hang_up()
        await service.close()
        await server.stop(0)


def with_pod(body: Callable[[Pod], Awaitable[None]]) -> None:
    """Run `body` with a fresh pod."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with pod_born(Path(folder)) as pod:
                await body(pod)

    uvloop.run(run())
