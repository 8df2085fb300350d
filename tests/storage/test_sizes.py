"""What tenants store, told without a walk."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import uvloop

from dormouse.base.ids import TenantId
from dormouse.base.rpc import make_channel
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.engines.interface import EngineError, Measure
from storage.engines.memory import MemoryEngine
from storage.sizes import Size, Sizes
from tests.support.kv import STORAGE, StorageForTest, storage_running

A, B = TenantId(7), TenantId(8)


def _running(body: Callable[[StorageForTest, Any], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with storage_running(
                Path(folder), measure_seconds=0.01, collect_seconds=0.01, **settings
            ) as storage:
                credentials = storage.authority.credentials(Identity(role=Role.CONTROL))
                async with make_channel(storage.address, credentials, STORAGE) as channel:
                    await body(storage, kv_pb2_grpc.StorageAdminStub(channel))

    uvloop.run(whole())


async def _until(stub: Any, expected: dict[int, int]) -> None:
    """Wait until storage says so; pytest's own time limit ends what never comes."""
    found: dict[int, int] = {}
    while found != expected:
        reply = await stub.TenantSizes(kv.TenantSizesRequest())
        found = {each.tenant_id: each.bytes for each in reply.sizes}
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_sizes_follow_what_is_written_collected_and_dropped(engine: str) -> None:
    async def body(storage: StorageForTest, stub: Any) -> None:
        row = 9 + 1 + 8 + 100  # tenant's prefix, key, time, payload
        async with storage.session(A) as one, storage.session(B) as other:
            await one.put({b"%d" % number: b"x" * 100 for number in range(5)})
            await other.put({b"k": b"y" * 100})
            await _until(stub, {A: 5 * row, B: row})
            await one.put({b"1": None, b"2": b"z" * 50})
            await _until(stub, {A: 4 * row - 50, B: row})  # history is collected
        await stub.DropTenant(kv.DropTenantRequest(tenant_id=B))
        await _until(stub, {A: 4 * row - 50, B: 0})
        page = await stub.TenantSizes(kv.TenantSizesRequest(after=A))
        assert [each.tenant_id for each in page.sizes] == [B]
        page = await stub.TenantSizes(kv.TenantSizesRequest(limit=1))
        assert [each.tenant_id for each in page.sizes] == [A]

    _running(body, engine=engine, history_seconds=0.0, recovery_window_seconds=0)


def test_only_control_may_ask() -> None:
    async def body(storage: StorageForTest, _stub: Any) -> None:
        credentials = storage.authority.credentials(Identity(tenant=A))
        async with make_channel(storage.address, credentials, STORAGE) as channel:
            stub: Any = kv_pb2_grpc.StorageAdminStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.TenantSizes(kv.TenantSizesRequest())
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED

    _running(body, engine="memory")


class _Broken(MemoryEngine):
    broken = True

    async def measure(self, start: bytes, end: bytes) -> Measure:
        if self.broken:
            raise EngineError("broken")
        return await super().measure(start, end)


def test_after_a_start_every_tenant_is_measured_and_a_failure_loses_none() -> None:
    async def body() -> None:
        engine = _Broken()
        prefix = (7).to_bytes(8, "big")
        await engine.apply([(b"v" + prefix, b"12345678"), (b"t" + prefix + b"k", b"value")])
        sizes = Sizes(engine)
        await sizes._find_all()
        with pytest.raises(EngineError):
            await sizes.measure_changed()
        assert sizes.page(after=0, limit=10) == []  # unknown is not nothing
        engine.broken = False
        await sizes.measure_changed()
        assert sizes.page(after=0, limit=10) == [Size(A, 15)]
        assert sizes.page(after=7, limit=10) == []
        assert repr(sizes) == "<Sizes known=1 changed=0>"

    asyncio.run(body())
