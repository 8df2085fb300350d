"""A tenant's certificate opens its own span and nothing else; every refusal is counted."""

import asyncio
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_prefix, tenant_span
from dormouse.base.rpc import make_channel
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.handshakes import Handshakes
from tests.support.certificates import Authority
from tests.support.kv import STORAGE, KvClient, KvError, StorageForTest, storage_running

A, B = TenantId(7), TenantId(8)
KEY_A, KEY_B = tenant_prefix(A) + b"k", tenant_prefix(B) + b"k"
PAST_A = tenant_span(A)[1]


def running(body: Callable[[StorageForTest], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with storage_running(Path(folder), engine="memory", **settings) as storage:
                await body(storage)

    uvloop.run(whole())


async def counted(storage: StorageForTest, line: str) -> float:
    def fetch() -> str:
        with urllib.request.urlopen(storage.metrics) as page:
            return str(page.read().decode())

    text = await asyncio.to_thread(fetch)
    found = [each.rsplit(" ", 1)[1] for each in text.splitlines() if each.startswith(line)]
    return float(found[0]) if found else 0.0


def writes(*keys: bytes) -> kv.Writes:
    return kv.Writes(keys=blocks.pack(keys), values=blocks.pack([b""] * len(keys)))


SYSTEM = b"mlast-commit"
FOREIGN: dict[str, dict[str, Any]] = {
    "get": {"get": kv.Get(keys=blocks.pack([KEY_A, KEY_B]))},
    "get system": {"get": kv.Get(keys=blocks.pack([SYSTEM]))},
    "get nothing": {"get": kv.Get(keys=blocks.pack([b""]))},
    "get short": {"get": kv.Get(keys=blocks.pack([KEY_A[:5]]))},
    "scan other": {"scan": kv.Scan(start=KEY_B, end=KEY_B + b"z")},
    "scan across": {"scan": kv.Scan(start=KEY_A, end=PAST_A + b"\0")},
    "scan into": {"scan": kv.Scan(start=b"t", end=KEY_A)},
    "scan all": {"scan": kv.Scan(start=b"", end=b"\xff")},
    "scan system": {"scan": kv.Scan(start=b"a", end=b"t")},
    "scan history": {"scan": kv.Scan(start=b"h" + KEY_A[1:], end=b"h" + KEY_A[1:] + b"z")},
    "lock": {"lock": kv.Lock(keys=blocks.pack([KEY_B]), mode=kv.UPDATE)},
    "stage": {"stage": kv.Stage(writes=writes(KEY_A, KEY_B))},
    "commit": {"commit": kv.Commit(writes=writes(KEY_B))},
    "commit system": {"commit": kv.Commit(writes=writes(SYSTEM))},
    "absent": {"commit": kv.Commit(absent=blocks.pack([KEY_B]))},
    "retired": {"commit": kv.Commit(retired=[kv.Range(start=KEY_A, end=KEY_B)])},
    "increment": {"increment": kv.Increment(key=KEY_B, delta=1)},
}


def test_foreign_keys_and_ranges_are_refused_and_counted() -> None:
    async def body(storage: StorageForTest) -> None:
        line = 'dormouse_storage_refused_total{reason="outside_tenant"}'
        async with storage.session(A) as client, storage.session(B) as other:
            await other.put({b"k": b"secret"})
            for number, (name, op) in enumerate(FOREIGN.items()):
                before = await counted(storage, line)
                with pytest.raises(KvError) as refused:
                    await client.send(txn=1000 + number, **op)
                assert refused.value.name == "OUTSIDE_TENANT", name
                assert await counted(storage, line) == before + 1, name
            await client.put({b"k": b"mine"})
            whole = await client.send(scan=kv.Scan(start=tenant_prefix(A), end=PAST_A))
            assert blocks.unpack(whole.values) == [b"mine"]
            assert await other.get(b"k") == [b"secret"]

    running(body)


MALFORMED: dict[str, dict[str, Any]] = {
    "no operation": {},
    "no block": {"get": kv.Get(keys=b"")},
    "short block": {"get": kv.Get(keys=b"\xff\xff\xff\xff")},
    "absent key": {"get": kv.Get(keys=blocks.pack([None]))},
    "long block": {"get": kv.Get(keys=blocks.pack([KEY_A]) + b"x")},
    "future": {"get": kv.Get(keys=blocks.pack([KEY_A]), snapshot=2**64 - 1)},
    "pin without transaction": {"txn": 0, "get": kv.Get(keys=blocks.pack([KEY_A]), pin=True)},
    "backwards": {"scan": kv.Scan(start=KEY_A + b"b", end=KEY_A + b"a")},
    "no mode": {"lock": kv.Lock(keys=blocks.pack([KEY_A]))},
    "bad mode": {"lock": kv.Lock(keys=blocks.pack([KEY_A]), mode=kv.LockMode.ValueType(9))},
    "fewer values": {
        "commit": kv.Commit(writes=kv.Writes(keys=blocks.pack([KEY_A]), values=blocks.pack([])))
    },
    "no values": {"stage": kv.Stage(writes=kv.Writes(keys=blocks.pack([KEY_A])))},
    "no transaction": {"txn": 0, "commit": kv.Commit(writes=writes(KEY_A))},
    "long key": {"get": kv.Get(keys=blocks.pack([KEY_A + bytes(20_000)]))},
    "resolve nothing": {"resolve": kv.Resolve()},
}


def test_malformed_requests_are_refused_and_the_stream_goes_on() -> None:
    async def body(storage: StorageForTest) -> None:
        async with storage.session(A) as client:
            for number, (name, op) in enumerate(MALFORMED.items()):
                with pytest.raises(KvError) as refused:
                    await client.send(**{"txn": 1000 + number, **op})
                assert refused.value.name == "BAD_REQUEST", name
            await client.put({b"k": b"v"})
            assert await client.get(b"k") == [b"v"]

    running(body)


async def session_code(stub: Any, hello: kv.Hello) -> grpc.StatusCode:
    """How storage ends the session."""
    return (await session_end(stub, hello))[0]


async def session_end(stub: Any, hello: kv.Hello) -> tuple[grpc.StatusCode, str]:
    """Likewise, with what it says. A write that meets the refusal on its way is INTERNAL here, on
    the client's side alone; then the session is asked for again."""
    for _ in range(10):
        call = stub.Session()
        with suppress(grpc.aio.AioRpcError):
            await call.write(kv.ClientFrame(hello=hello))
            await call.read()
        code = grpc.StatusCode(await call.code())
        if code != grpc.StatusCode.INTERNAL:
            return code, await call.details() or ""
    raise AssertionError("no refusal in ten sessions")


def test_a_hello_must_name_the_tenant_of_the_certificate() -> None:
    async def body(storage: StorageForTest) -> None:
        line = 'dormouse_storage_refused_total{reason="outside_tenant"}'
        credentials = storage.authority.credentials(Identity(tenant=A))
        async with make_channel(storage.address, credentials, STORAGE) as channel:
            stub = kv_pb2_grpc.KvStub(channel)
            before = await counted(storage, line)
            code = await session_code(
                stub, kv.Hello(protocol_version=kv.PROTOCOL_VERSION, tenant_id=B)
            )
            assert code == grpc.StatusCode.PERMISSION_DENIED
            assert await counted(storage, line) == before + 1

    running(body)


@pytest.mark.parametrize("version", [0, 1, kv.PROTOCOL_VERSION + 1])
def test_a_pod_of_another_protocol_is_refused_and_told_why(version: int) -> None:
    """One of before answers no recall: what it does is under no lock of a table."""

    async def body(storage: StorageForTest) -> None:
        line = 'dormouse_storage_refused_total{reason="version"}'
        before = await counted(storage, line)
        credentials = storage.authority.credentials(Identity(tenant=A))
        async with make_channel(storage.address, credentials, STORAGE) as channel:
            hello = kv.Hello(protocol_version=version, tenant_id=A)
            code, why = await session_end(kv_pb2_grpc.KvStub(channel), hello)
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert f"speaks version {version}, storage {kv.PROTOCOL_VERSION}" in why
        assert await counted(storage, line) > before

    running(body)


@pytest.mark.parametrize("role", [Role.CONTROL, Role.PROXY, Role.POD])
def test_roles_open_no_session(role: Role) -> None:
    async def body(storage: StorageForTest) -> None:
        credentials = storage.authority.credentials(Identity(role=role))
        async with make_channel(storage.address, credentials, STORAGE) as channel:
            hello = kv.Hello(protocol_version=kv.PROTOCOL_VERSION, tenant_id=A)
            code = await session_code(kv_pb2_grpc.KvStub(channel), hello)
            assert code == grpc.StatusCode.PERMISSION_DENIED
        line = 'dormouse_rpc_refused_total{method="/dormouse.kv.v1.Kv/Session",reason="role"}'
        assert await counted(storage, line) >= 1

    running(body)


def test_a_tenant_may_not_administer() -> None:
    async def body(storage: StorageForTest) -> None:
        credentials = storage.authority.credentials(Identity(tenant=A))
        async with make_channel(storage.address, credentials, STORAGE) as channel:
            stub: Any = kv_pb2_grpc.StorageAdminStub(channel)
            for call in (
                stub.DropTenant(kv.DropTenantRequest(tenant_id=A)),
                stub.TenantStats(kv.TenantStatsRequest(tenant_id=A)),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED

    running(body)


def test_strangers_get_no_connection_and_are_counted() -> None:
    async def body(storage: StorageForTest) -> None:
        line = 'dormouse_storage_refused_total{reason="handshake"}'
        before = await counted(storage, line)
        nobody = grpc.ssl_channel_credentials(storage.authority.pem)
        stranger = Authority("another installation").credentials(Identity(tenant=A))
        foreign = grpc.ssl_channel_credentials(
            storage.authority.pem, stranger.key, stranger.certificate
        )
        options = [("grpc.ssl_target_name_override", STORAGE.server_name)]
        hello = kv.Hello(protocol_version=kv.PROTOCOL_VERSION, tenant_id=A)
        for credentials in (nobody, foreign):
            async with grpc.aio.secure_channel(storage.address, credentials, options) as channel:
                code = await session_code(kv_pb2_grpc.KvStub(channel), hello)
                assert code == grpc.StatusCode.UNAVAILABLE
        async with grpc.aio.insecure_channel(storage.address) as channel:
            code = await session_code(kv_pb2_grpc.KvStub(channel), hello)
            assert code == grpc.StatusCode.UNAVAILABLE
        async with storage.session(A) as client:
            assert await client.get(b"k") == [None]
        for _ in range(500):
            if await counted(storage, line) >= before + 3:
                return
            await asyncio.sleep(0.02)
        raise AssertionError("strangers are not counted")

    running(body, handshake_seconds=0.2)


def test_a_handshake_without_a_call_is_a_refusal() -> None:
    clock = ManualClock()
    handshakes = Handshakes(clock, patience_seconds=5)
    for peer in ("ipv4:127.0.0.1:1", "ipv4:127.0.0.1:2"):
        handshakes.begun()
        handshakes.called(peer)
        handshakes.called(peer)
    handshakes.begun()
    clock.advance(4)
    handshakes.begun()
    assert handshakes.expire() == 0
    clock.advance(2)
    assert handshakes.expire() == 1
    handshakes.called("ipv4:127.0.0.1:3")
    clock.advance(9)
    assert handshakes.expire() == 0


def test_dropping_a_tenant_ends_its_sessions_and_leaves_its_neighbour() -> None:
    async def body(storage: StorageForTest) -> None:
        credentials = storage.authority.credentials(Identity(role=Role.CONTROL))
        channel = make_channel(storage.address, credentials, STORAGE)
        async with channel, storage.session(A) as client, storage.session(B) as other:
            stub: Any = kv_pb2_grpc.StorageAdminStub(channel)
            for each in (client, other):
                await each.put({b"%d" % n: b"x" for n in range(2500)})
                await each.put({b"1": b"y", b"2": None})
                await each.increment(b"s", 3)
            stats = await stub.TenantStats(kv.TenantStatsRequest(tenant_id=A))
            assert (stats.keys, stats.sessions) == (2499, 1)
            await client.lock(client.txn(), [b"1"])
            await stub.DropTenant(kv.DropTenantRequest(tenant_id=A))
            await stub.DropTenant(kv.DropTenantRequest(tenant_id=A))
            stats = await stub.TenantStats(kv.TenantStatsRequest(tenant_id=A))
            assert (stats.keys, stats.bytes, stats.sessions, stats.locks) == (0, 0, 0, 0)
            async with storage.session(A) as again:
                assert await again.scan(b"", b"\xff") == []
                assert await again.increment(b"s", 1) == 0
            assert len(await other.scan(b"", b"\xff")) == 2499
            assert await other.increment(b"s", 1) == 3

    running(body)


def test_a_client_of_the_wrong_tenant_is_not_confused_by_pod_numbers() -> None:
    async def body(storage: StorageForTest) -> None:
        async with storage.session(A, pod=5) as one, storage.session(B, pod=5) as other:
            time = await one.commit(1, {b"k": b"v"})
            assert await one.resolve(1) == time
            assert await other.resolve(1) == 0
            assert isinstance(one, KvClient)

    running(body)
