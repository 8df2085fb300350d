"""What one tenant may have in all: a cap is met by whoever asks for more, and by nobody else."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage.config import Limits
from tests.storage.gauges import value
from tests.support.kv import KvClient, KvError, storage_running

Body = Callable[[KvClient, KvClient, KvClient], Awaitable[None]]


def running(body: Body, **limits: Any) -> None:
    """Two streams of one tenant and one of another."""

    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory", limits=Limits(**limits)) as storage,
                storage.session(TenantId(7)) as one,
                storage.session(TenantId(7)) as two,
                storage.session(TenantId(8)) as other,
            ):
                await body(one, two, other)

    uvloop.run(whole())


async def refused(waiting: Awaitable[Any]) -> str:
    with pytest.raises(KvError) as caught:
        await waiting
    return kv.Error.Code.Name(caught.value.error.code)


async def until(name: str, wanted: float) -> None:
    for _ in range(1000):
        if value(name) == wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{name} is {value(name)}")


def keys(count: int, first: int = 0) -> list[bytes]:
    return [b"%04d" % number for number in range(first, first + count)]


def test_open_transactions() -> None:
    async def body(one: KvClient, two: KvClient, other: KvClient) -> None:
        before = value("refused_total", reason="too_many_txns")
        await one.pin(1)
        await one.pin(2)
        await two.pin(1)
        assert value("transactions") == 3
        assert await refused(two.pin(2)) == "TOO_MANY_TXNS"
        assert value("refused_total", reason="too_many_txns") == before + 1
        await other.pin(1)
        await one.pin(1)  # one that is open goes on
        await one.end(2)
        await two.pin(2)
        assert value("transactions") == 4
        assert await refused(one.put({b"a": b"b"})) == "TOO_MANY_TXNS"

    running(body, txns_max=3)
    assert value("transactions") == 0


def test_locks_of_all_transactions_and_sessions() -> None:
    async def body(one: KvClient, two: KvClient, other: KvClient) -> None:
        await one.lock(1, keys(60))
        await other.lock(1, keys(90))
        assert value("locks") == 150
        await two.lock(1, keys(40, first=60), mode=kv.SHARE)
        assert await refused(one.lock(2, keys(1, first=60), mode=kv.SHARE)) == "TOO_MANY_LOCKS"
        assert await refused(two.put({b"x": b"y"})) == "TOO_MANY_LOCKS"
        assert await refused(one.stage(1, {b"x": b"y"})) == "TOO_MANY_LOCKS"
        wanted = kv.Advisory(key=b"\1" * 17, mode=kv.UPDATE, wait=kv.WAIT)
        assert await refused(one.send(session=1, advisory=wanted)) == "TOO_MANY_LOCKS"
        await other.lock(1, keys(10, first=90))
        await other.end(1)
        await one.end(1)
        await one.lock(2, keys(60), mode=kv.SHARE)
        await two.end(1)
        await one.end(2)
        assert value("locks") == 0

    running(body, tenant_locks_max=100)


def test_staged_bytes_of_all_transactions() -> None:
    async def body(one: KvClient, two: KvClient, other: KvClient) -> None:
        large: dict[bytes, bytes | None] = {b"k": b"x" * 6_000}
        size = await one.stage(1, large)
        assert value("staged_bytes") == size > 6_000
        assert await refused(two.stage(1, large)) == "TOO_MUCH_STAGED"
        await other.stage(1, large)
        await one.commit(1, {})
        await two.stage(1, large)
        await two.end(1)
        await two.stage(2, large)
        assert await refused(one.stage(2, large)) == "TOO_MUCH_STAGED"
        await two.close()
        await until("staged_bytes", size)
        await one.stage(3, large)

    running(body, tenant_staged_bytes_max=10_000)
    assert value("staged_bytes") == 0


def test_requests_in_flight_on_all_streams() -> None:
    async def body(one: KvClient, two: KvClient, other: KvClient) -> None:
        async def waiting(client: KvClient, txn: int) -> "asyncio.Future[Any]":
            future = client.send(txn=txn, lock=kv.Lock(keys=client.keys([b"k"]), mode=kv.UPDATE))
            await client.get(b"k")
            return future

        await one.lock(1, [b"k"])
        first = await waiting(one, 2)
        second = await waiting(two, 1)
        assert value("requests_in_flight") == 2
        third = two.send(txn=2, lock=kv.Lock(keys=two.keys([b"k"]), mode=kv.UPDATE))
        await until("requests_in_flight", 3)
        assert await refused(one.get(b"k")) == "BUSY"
        assert await refused(two.get(b"k")) == "BUSY"
        await other.put({b"k": b"v"})
        two.cancel(third)
        assert await refused(third) == "CANCELLED"
        assert await two.get(b"k") == [None]
        await two.close()
        assert second.done() or second.cancel()
        await until("requests_in_flight", 1)
        await one.end(1)
        assert (await first).locked == b"\1"

    running(body, tenant_requests_max=3)
    assert value("requests_in_flight") == 0


def test_bytes_of_requests_in_flight() -> None:
    async def body(one: KvClient, two: KvClient, other: KvClient) -> None:
        await one.lock(1, [b"k"])
        task = spawn(one.put({b"k": b"x" * 6_000}), name="put")
        await until("requests_in_flight", 1)
        assert await refused(two.put({b"l": b"x" * 6_000})) == "BUSY"
        assert await two.get(b"l") == [None]
        await other.put({b"l": b"x" * 6_000})
        await one.end(1)
        await task
        await two.put({b"l": b"x" * 6_000})

    running(body, tenant_request_bytes_max=10_000)
