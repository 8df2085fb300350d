"""A pod that drains, is taken back, says what holds it, and counts what is used of it."""

import asyncio
import ssl
import tempfile
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dormouse.base.ids import TenantId
from dormouse.base.tls import Identity, Role
from pgwire.link import Refused
from pgwire.scram import Verifier
from proto.pod_pb2 import DrainRequest, Owner, RenewRequest, SetOwnerRequest, TakeBackRequest
from sqlnode.podservice import make_key
from tests.support.bornpod import Pod, pod_beside, pod_born, with_pod
from tests.support.certificates import Authority
from tests.support.linked import Linked, Refusal, error, kinds
from tests.support.pod import PASSWORD, USER
from tests.support.tenant import TENANT

PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
FAR = DrainRequest(deadline_ms=3_600_000)


async def taken_back(pod: Pod) -> bool:
    return bool((await pod.stub.TakeBack(TakeBackRequest())).taken_back)


def test_a_draining_pod_says_so_to_newcomers_and_ends_with_its_last_session() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        client = await Linked.open(pod)
        assert (await pod.stub.Drain(FAR)).drained
        for _ in range(3):
            with pytest.raises(Refusal, match="FATAL 57P03: the database system is shutting down"):
                await Linked.open(pod)
        assert await client.rows("SELECT 1") == [("1",)]
        assert not pod.service.ended.is_set()
        await client.give_away()
        await client.close()
        await pod.service.ended.wait()
        assert not await taken_back(pod)

    with_pod(body)


def test_a_pod_that_was_taken_back_serves_again_and_forgets_its_deadline() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        client = await Linked.open(pod)
        await pod.stub.Drain(DrainRequest(deadline_ms=200))
        assert await taken_back(pod)
        assert not (await pod.status()).draining
        other = await Linked.open(pod)
        await asyncio.sleep(0.3)
        for each in (client, other):
            assert await each.rows("SELECT 1") == [("1",)]
            await each.close()
        while (await pod.status()).sessions:
            pass  # the pod learns of it in a moment
        assert not pod.service.ended.is_set()
        assert await taken_back(pod)  # asked twice, because the answer was lost

    with_pod(body)


def test_at_the_deadline_sessions_end_whatever_they_do() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp(sessions_max=5)
        idle, holder, waiting = [await Linked.open(pod) for _ in range(3)]
        knocking = Linked(await pod.dial())
        await idle.query("CREATE TABLE t (a int PRIMARY KEY)")
        await idle.query("INSERT INTO t VALUES (1)")
        await holder.query("BEGIN; DELETE FROM t")
        waiting.send(b"Q\0\0\0\x12DELETE FROM t\0")
        while not (await pod.status()).active:
            pass
        await pod.stub.Drain(FAR)
        await pod.stub.Drain(DrainRequest(deadline_ms=1))  # the last word counts
        for each in (idle, holder, waiting, knocking):
            replies = await each.until("\0")
            assert kinds(replies) == "E"
            notice = error(replies)
            assert (notice.severity, notice.sqlstate) == ("FATAL", "57P01")
            assert notice.message == "terminating connection due to administrator command"
        await pod.service.ended.wait()

    with_pod(body)


def test_an_unstamped_pod_has_nothing_to_be_taken_back_from() -> None:
    async def body(pod: Pod) -> None:
        assert not await taken_back(pod)

    with_pod(body)


def test_a_session_key_that_is_none_fails_the_stamp() -> None:
    async def body(pod: Pod) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await pod.stamp(session_key=b"short")
        assert pod.service.ended.is_set()

    with_pod(body)


def test_what_is_idle_and_what_is_not() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp(sessions_max=10)
        client = await Linked.open(pod)
        await asyncio.sleep(0.02)
        before = (await pod.status()).idle_ms
        assert before > 0
        with suppress(Refusal):
            await Linked.open(pod, database="other")
        with suppress(Refusal):
            await Linked.open(pod, user="nobody")
        assert (await pod.status()).idle_ms >= before  # whoever does not get in is no activity
        await client.query("DECLARE c CURSOR WITH HOLD FOR SELECT 1")
        await asyncio.sleep(0.02)
        idle = (await pod.status()).idle_ms
        assert isinstance(await client.give_away(), Refused)
        assert (await pod.status()).idle_ms >= idle
        await client.query("BEGIN")
        assert (await pod.status()).idle_ms == 0
        await client.query("COMMIT")
        client.send(b"P\0\0\0\x10\0SELECT 1\0\0\0" + b"H\0\0\0\4")
        await client.until("1")
        status = await pod.status()
        assert (status.idle_ms, status.transactions, status.active) == (0, 1, 0)

    with_pod(body)


def test_who_holds_a_pod_and_why() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp(sessions_max=20)
        free, cursor, transaction = [await Linked.open(pod) for _ in range(3)]
        plain = await pod.login()
        await cursor.query("DECLARE c CURSOR WITH HOLD FOR SELECT 1")
        await transaction.query("BEGIN")
        held = {each.backend_pid: each.reason for each in (await pod.status()).holds}
        assert held == {
            cursor.pid: "a cursor WITH HOLD is open",
            transaction.pid: "a transaction is open",
            plain.login.pid: "it has no link to a proxy",
        }
        assert free.pid not in held
        busy = await Linked.open(pod)
        await transaction.query("CREATE TABLE k (a int PRIMARY KEY)")
        await transaction.query("INSERT INTO k VALUES (1); COMMIT; BEGIN; DELETE FROM k")
        busy.send(b"Q\0\0\0\x12DELETE FROM k\0")
        while not (await pod.status()).active:
            pass
        reasons = {each.backend_pid: each.reason for each in (await pod.status()).holds}
        assert reasons[busy.pid] == "a statement is running"
        for _ in range(6):
            await (await Linked.open(pod)).query("BEGIN")
        lasting = [each.reason for each in (await pod.status()).holds]
        assert len(lasting) == 5
        assert "a statement is running" not in lasting
        plain.writer.close()

    with_pod(body)


def test_a_pod_counts_what_is_used_of_it() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        fresh = (await pod.status()).usage
        assert (fresh.read_batches, fresh.write_batches, fresh.egress_bytes) == (0, 0, 0)
        client = await Linked.open(pod)
        await client.query("CREATE TABLE t (a int PRIMARY KEY, b text)")
        login = (await pod.status()).usage
        await client.query("INSERT INTO t VALUES (1, repeat('x', 1000))")
        wrote = (await pod.status()).usage
        assert wrote.write_batches == login.write_batches + 1
        assert wrote.write_requests == login.write_requests + 1
        assert 1000 < wrote.write_bytes - login.write_bytes < 1100
        (row,) = await client.rows("SELECT b FROM t WHERE a = 1")
        read = (await pod.status()).usage
        assert len(row[0] or "") == 1000
        assert read.read_batches == wrote.read_batches + 1
        assert read.read_requests == wrote.read_requests + 1
        assert 1000 < read.read_bytes - wrote.read_bytes < 1100
        # T, D, C, Z, and no byte of the link's frames
        sizes = (27, 7 + 4 + 1000, 14, 6)
        assert read.egress_bytes - wrote.egress_bytes == sum(sizes)
        await client.query("SET work_mem = '8MB'")
        after = (await pod.status()).usage
        assert after.egress_bytes - read.egress_bytes == len("CxxxxSET0ZxxxxI")
        assert after.sql_cpu_micros > fresh.sql_cpu_micros
        await client.close()
        while (await pod.status()).sessions:
            pass
        assert (await pod.status()).usage.egress_bytes == after.egress_bytes

    with_pod(body)


def test_a_session_moves_between_stamped_pods() -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            here_folder, there_folder = Path(folder, "here"), Path(folder, "there")
            async with (
                pod_born(here_folder) as here,
                pod_beside(here.storage, there_folder) as there,
            ):
                await here.stamp()
                await there.stamp()
                client = await Linked.open(here)
                await client.query("CREATE TABLE t (a int)")
                await client.query("PREPARE p AS INSERT INTO t VALUES (7) RETURNING a")
                await here.stub.Drain(FAR)
                moved = await client.moved(there)
                await here.service.ended.wait()
                assert await moved.rows("EXECUTE p") == [("7",)]
                assert (await there.status()).sessions == 1

    uvloop.run(run())


def _owner(tenant: int, password: str, name: str = USER) -> SetOwnerRequest:
    verifier = Verifier.of_password(password, salt=b"another salt 123")
    return SetOwnerRequest(owner=Owner(name=name, scram_verifier=str(verifier)), tenant_id=tenant)


def test_a_new_password_holds_at_once_and_open_sessions_go_on() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp(sessions_max=5)
        client = await Linked.open(pod)
        await pod.stub.SetOwner(_owner(TENANT, "another"))
        with pytest.raises(Refusal, match="28P01"):
            await Linked.open(pod)
        assert await client.rows("SELECT 1") == [("1",)]
        await pod.stub.SetOwner(_owner(TENANT, PASSWORD))
        await (await Linked.open(pod)).close()

    with_pod(body)


def test_another_tenants_password_is_refused() -> None:
    async def body(pod: Pod) -> None:
        assert await _code(pod.stub.SetOwner(_owner(TENANT, "x"))) is PRECONDITION
        await pod.stamp()
        assert await _code(pod.stub.SetOwner(_owner(TENANT + 1, "x"))) is PRECONDITION
        unusable = grpc.StatusCode.INVALID_ARGUMENT
        assert await _code(pod.stub.SetOwner(_owner(TENANT, "x", name="other"))) is unusable
        await (await Linked.open(pod)).close()

    with_pod(body)


def _renewal(pod: Pod, public_key: bytes, tenant: int = TENANT) -> RenewRequest:
    key = serialization.load_der_public_key(public_key)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    other = Authority("another")
    return RenewRequest(
        tenant_id=TENANT,
        certificate=other.certificate(Identity(tenant=TenantId(tenant)), key),
        authority=pod.authority.pem + other.pem,
    )


def test_a_pod_takes_another_certificate_and_trusts_another_authority() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp(sessions_max=5)
        client = await Linked.open(pod)
        public_key = (await pod.status()).public_key
        renewal = _renewal(pod, public_key)
        await pod.stub.Renew(renewal)
        with pytest.raises(ssl.SSLCertVerificationError):
            await pod.dial()  # the proxy has not heard of the new authority
        assert await client.rows("SELECT 1") == [("1",)]
        trusting = replace(
            pod.authority.credentials(Identity(role=Role.PROXY)), authority=renewal.authority
        )
        host, port = (await pod.status()).sql_address.split(":")
        _, writer = await asyncio.open_connection(
            host,
            int(port),
            ssl=trusting.for_tls_client(),
            server_hostname=Identity(tenant=TENANT).server_name,
        )
        writer.close()

    with_pod(body)


def test_a_certificate_that_is_not_the_pods_is_refused() -> None:
    async def body(pod: Pod) -> None:
        key = (await pod.status()).public_key
        assert await _code(pod.stub.Renew(_renewal(pod, key))) is PRECONDITION
        await pod.stamp(sessions_max=5)
        unusable = grpc.StatusCode.INVALID_ARGUMENT
        other = (
            make_key()
            .public_key()
            .public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        assert await _code(pod.stub.Renew(_renewal(pod, other))) is unusable
        assert await _code(pod.stub.Renew(_renewal(pod, key, TENANT + 1))) is unusable
        nothing = RenewRequest(tenant_id=TENANT, certificate=b"x", authority=b"y")
        assert await _code(pod.stub.Renew(nothing)) is unusable
        await (await Linked.open(pod)).close()

    with_pod(body)


async def _code(call: Awaitable[object]) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code()
