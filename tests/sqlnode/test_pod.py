"""The life of a pod over real RPC and TLS: born, stamped once, used by the proxy only, drained."""

import asyncio
import secrets
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dormouse.base.clock import SystemClock
from dormouse.base.rpc import make_channel, make_server
from dormouse.base.tls import Credentials, Identity, Role
from pgwire import frontend
from pgwire.client import LoginClient, ServerError
from pgwire.framing import FrameDecoder
from pgwire.notices import Notice, parse
from proto.pod_pb2 import (
    DrainRequest,
    Owner,
    StampReply,
    StampRequest,
    StatusRequest,
)
from proto.pod_pb2_grpc import PodStub, add_PodServicer_to_server
from sqlnode.config import PodSettings
from sqlnode.pod import ACCESS
from sqlnode.podservice import PodService, make_key
from tests.support.certificates import Authority
from tests.support.cutter import cutting
from tests.support.kv import StorageForTest, storage_running
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
            certificate=self.authority.certificate(Identity(tenant=TENANT), key),
            authority=self.authority.pem,
            storage_address=self.storage.address,
            owner=Owner(name=USER, scram_verifier=str(VERIFIER)),
            database=DATABASE,
            sessions_max=2,
        )
        request.MergeFrom(StampRequest(**changes))  # type: ignore[arg-type]
        reply: StampReply = await self.stub.Stamp(request)
        return reply

    async def connect(self, who: Identity) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        status = await self.stub.Status(StatusRequest())
        host, port = status.sql_address.split(":")
        context = self.authority.credentials(who).for_tls_client()
        name = Identity(tenant=TENANT).server_name
        return await asyncio.open_connection(host, int(port), ssl=context, server_hostname=name)

    async def login(self, user: str = USER) -> "Client":
        reader, writer = await self.connect(Identity(role=Role.PROXY))
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
    async with storage_running(folder, engine="memory") as storage:
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
        async with make_channel(address, caller, POD) as channel:
            yield Pod(service, PodStub(channel), address, storage, authority)
        await service.close()
        await server.stop(0)


def with_pod(body: Callable[[Pod], Awaitable[None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with pod_born(Path(folder)) as pod:
                await body(pod)

    asyncio.run(run())


def test_a_stamped_pod_serves_the_proxy() -> None:
    async def body(pod: Pod) -> None:
        before = await pod.stub.Status(StatusRequest())
        assert (before.tenant_id, before.sql_address) == (0, "")
        reply = await pod.stamp()
        assert reply.pod_id == before.pod_id != 0
        assert [phase.name for phase in reply.phases] == [
            "credentials",
            "storage and catalog",
            "listener",
        ]
        client = await pod.login()
        assert client.login.settings["server_version"].startswith("15.")
        assert await client.query("SHOW work_mem") == "TDCZ"
        assert await client.query("BEGIN") == "CZ"
        status = await pod.stub.Status(StatusRequest())
        assert (status.tenant_id, status.sessions, status.transactions) == (TENANT, 1, 1)
        assert status.active == 0
        client.writer.close()

    with_pod(body)


def test_a_pod_is_stamped_once() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await pod.stamp()
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION

    with_pod(body)


def test_a_stamp_that_fails_ends_the_pod() -> None:
    async def body(pod: Pod) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await pod.stamp(settings={"work_mem": "lots"})
        assert pod.service.ended.is_set()

    with_pod(body)


def test_a_stamp_survives_broken_handshakes_with_storage() -> None:
    async def body(pod: Pod) -> None:
        async with cutting(pod.storage.address) as cutter:
            cutter.refuse_first = 3
            await pod.stamp(storage_address=cutter.address)
            assert cutter.refuse_first == 0
        assert not pod.service.ended.is_set()

    with_pod(body)


def test_a_handshake_on_a_busy_machine_may_take_its_time() -> None:
    async def body(pod: Pod) -> None:
        async with cutting(pod.storage.address) as cutter:
            cutter.delay_seconds = 0.2
            await pod.stamp(storage_address=cutter.address)

    with_pod(body)


def test_without_storage_a_pod_stays_unstamped_and_takes_another_stamp() -> None:
    async def body(pod: Pod) -> None:
        before = await pod.stub.Status(StatusRequest())
        async with cutting(pod.storage.address) as cutter:
            cutter.lose_requests = True
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await pod.stamp(storage_address=cutter.address)
        assert caught.value.code() is grpc.StatusCode.ABORTED
        after = await pod.stub.Status(StatusRequest())
        assert (after.tenant_id, after.draining) == (0, False)
        assert after.public_key != before.public_key
        await pod.stamp()
        client = await pod.login()
        assert await client.query("SELECT 1") == "TDCZ"

    with_pod(body)


@pytest.mark.parametrize("role", [Role.PROXY, Role.STORAGE, Role.CONTROL, Role.POD])
def test_only_the_autoscaler_may_call(role: Role) -> None:
    async def body(pod: Pod) -> None:
        credentials = pod.authority.credentials(Identity(role=role))
        async with make_channel(pod.address, credentials, POD) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await PodStub(channel).Status(StatusRequest())
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED

    with_pod(body)


@pytest.mark.parametrize(
    "who", [Identity(tenant=TENANT), Identity(role=Role.AUTOSCALER), Identity(role=Role.POD)]
)
def test_only_the_proxy_may_speak_sql(who: Identity) -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        reader, writer = await pod.connect(who)
        writer.write(LoginClient(USER, PASSWORD, b"n" * 18, DATABASE).start())
        with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()

    with_pod(body)


def test_strangers_do_not_learn_which_users_exist() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        with pytest.raises(ServerError) as caught:
            await pod.login("nobody")
        assert caught.value.notice.sqlstate == "28P01"
        assert caught.value.notice.message == 'password authentication failed for user "nobody"'
        assert caught.value.notice.severity == "FATAL"

    with_pod(body)


def test_one_client_too_many() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        clients = [await pod.login() for _ in range(2)]
        with pytest.raises(ServerError) as caught:
            await pod.login()
        assert caught.value.notice.sqlstate == "53300"
        for client in clients:
            client.writer.close()

    with_pod(body)


def test_drain_only_if_idle_changes_nothing_while_a_client_is_there() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        client = await pod.login()
        assert not (await pod.stub.Drain(DrainRequest(if_idle=True))).drained
        assert await client.query("SHOW work_mem") == "TDCZ"
        assert not (await pod.stub.Status(StatusRequest())).draining
        client.writer.close()
        await client.writer.wait_closed()
        while (await pod.stub.Status(StatusRequest())).sessions:
            pass  # the pod learns of it in a moment
        assert (await pod.stub.Drain(DrainRequest(if_idle=True))).drained
        assert pod.service.ended.is_set()

    with_pod(body)


def test_a_drain_lets_sessions_go_on_and_then_ends_them() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        client, other = await pod.login(), await pod.login()
        assert (await pod.stub.Drain(DrainRequest(deadline_ms=3_600_000))).drained
        assert await client.query("SHOW work_mem") == "TDCZ"
        assert (await pod.stub.Status(StatusRequest())).draining
        assert not pod.service.ended.is_set()
        pod.service.stop()
        for each in (client, other):
            notice = await each.last_words()
            assert (notice.severity, notice.sqlstate) == ("FATAL", "57P01")

    with_pod(body)


def test_an_unstamped_pod_drains_at_once() -> None:
    async def body(pod: Pod) -> None:
        assert (await pod.stub.Drain(DrainRequest())).drained
        assert pod.service.ended.is_set()

    with_pod(body)


def test_sigterm_ends_a_forked_pod(tmp_path: Path) -> None:
    """`pod.run` in a process of its own, as the pod host runs it."""
    Authority().write(tmp_path, POD)
    code = (
        "import sys; from pathlib import Path; from sqlnode import pod; "
        "from sqlnode.config import PodSettings; "
        "pod.run(PodSettings(certs=Path(sys.argv[1])), lambda a: print(a, flush=True))"
    )

    async def body() -> None:
        import sys

        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        assert line.startswith("127.0.0.1:")
        process.terminate()
        assert await process.wait() == 0

    asyncio.run(body())
