"""The life of a pod over real RPC and TLS: born, stamped once, used by the proxy only, drained."""

import asyncio
import ssl
from pathlib import Path

import grpc
import grpc.aio
import pytest

from dormouse.base.rpc import make_channel
from dormouse.base.tls import Identity, Role
from pgwire.client import LoginClient, ServerError
from proto.pod_pb2 import (
    DrainRequest,
    StatusRequest,
)
from proto.pod_pb2_grpc import PodStub
from tests.support.bornpod import POD, Pod, with_pod
from tests.support.certificates import Authority
from tests.support.cutter import cutting
from tests.support.pod import DATABASE, PASSWORD, USER
from tests.support.tenant import TENANT


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
