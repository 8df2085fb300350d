"""How much a tenant may store: what is refused, what is not, and what the estimate is worth."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.keys import tenant_prefix
from dormouse.base.rpc import make_channel
from dormouse.base.tasks import spawn
from dormouse.base.tls import Identity, Role
from proto import kv_pb2 as kv
from proto import kv_pb2_grpc
from storage.engines.memory import MemoryEngine
from storage.layout import stored_spans
from storage.operations import Operations
from storage.shard import Retention, Shard
from storage.tenants import Tenant
from storage.waiting import InFlight
from tests.support.kv import STORAGE, KvClient, KvError, StorageForTest, storage_running

A, B = TenantId(7), TenantId(8)
ROW = 9 + 1 + 8 + 100
"""A row of a key of one byte and a value of a hundred: with the tenant's prefix and the time."""
VALUE = b"x" * 100


class _Stub:
    """What control asks of storage."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def quota(self, tenant: TenantId, size: int, **more: Any) -> None:
        quotas = [kv.TenantQuota(tenant_id=tenant, bytes_max=size)]
        await self._stub.SetQuotas(kv.SetQuotasRequest(quotas=quotas, **more))

    async def default(self, size: int) -> None:
        await self._stub.SetQuotas(kv.SetQuotasRequest(default_bytes_max=size))

    async def measured(self, tenant: TenantId, size: int) -> None:
        """Wait until a tenant was measured with this size, history included."""
        found = None
        while found != size:
            reply = await self._stub.TenantSizes(kv.TenantSizesRequest())
            found = {each.tenant_id: each.bytes for each in reply.sizes}.get(tenant)
            await asyncio.sleep(0.005)


Body = Callable[[StorageForTest, _Stub], Awaitable[None]]


async def _with_storage(folder: Path, body: Body, **options: Any) -> None:
    given = {"engine": "memory", "measure_seconds": 0.01, "history_seconds": 3600.0, **options}
    async with storage_running(folder, **given) as storage:
        credentials = storage.authority.credentials(Identity(role=Role.CONTROL))
        async with make_channel(storage.address, credentials, STORAGE) as channel:
            await body(storage, _Stub(kv_pb2_grpc.StorageAdminStub(channel)))


def _running(body: Body, **options: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_with_storage(Path(folder), body, **options))


async def _refused(work: Awaitable[Any]) -> kv.Error:
    with pytest.raises(KvError) as refused:
        await work
    assert refused.value.name == "QUOTA"
    return refused.value.error


async def _put(client: KvClient, writes: Mapping[bytes, bytes | None]) -> None:
    """Write in a transaction of its own, which ends also where it is refused, as a pod's does."""
    txn = client.txn()
    try:
        await client.commit(txn, writes)
    except KvError:
        await client.end(txn)
        raise


async def _fill(client: KvClient, rows: int) -> None:
    await _put(client, {b"%d" % number: VALUE for number in range(rows)})


def test_growing_ends_at_the_limit_and_deleting_makes_room_at_once() -> None:
    async def body(storage: StorageForTest, control: _Stub) -> None:
        async with storage.session(A) as one, storage.session(B) as other:
            await control.quota(A, 5 * ROW)
            await _fill(one, 4)
            await control.measured(A, 4 * ROW)
            await _put(one, {b"4": VALUE})
            error = await _refused(_put(one, {b"5": b""}))
            assert (error.used, error.limit) == (5 * ROW, 5 * ROW)
            await _put(one, {b"4": b"y" * 100})  # no larger than before
            await _put(one, {b"0": None, b"5": VALUE})
            await _refused(_put(one, {b"4": b"y" * 101}))
            await _put(one, {b"1": None})  # what it was stays in history for an hour
            await _put(one, {b"6": VALUE})
            await _refused(_put(one, {b"7": b""}))
            await _fill(other, 9)  # others have none

    # What is on its way to the disk when a walk begins may be missed: walks are rare here.
    _running(body, measure_seconds=1.0)


def test_a_raised_limit_and_one_taken_away_hold_at_once() -> None:
    async def body(storage: StorageForTest, control: _Stub) -> None:
        async with storage.session(A) as one:
            await _fill(one, 2)
            await control.measured(A, 2 * ROW)
            await control.quota(A, 2 * ROW)
            await _refused(_put(one, {b"2": VALUE}))
            await control.quota(A, 3 * ROW)
            await _put(one, {b"2": VALUE})
            await _refused(_put(one, {b"3": VALUE}))
            await control.quota(A, 0)
            await _put(one, {b"3": VALUE})

    _running(body)


def test_whoever_has_none_of_its_own_has_the_default() -> None:
    async def body(storage: StorageForTest, control: _Stub) -> None:
        async with storage.session(A) as one, storage.session(B) as other:
            await _fill(one, 2)
            await _fill(other, 2)
            await control.measured(A, 2 * ROW)
            await control.measured(B, 2 * ROW)
            await control.quota(A, 3 * ROW)
            await control.default(2 * ROW)
            await asyncio.sleep(0.05)
            await control.measured(B, 2 * ROW)
            await _put(one, {b"2": VALUE})
            while await _fits(other, {b"9": b""}):  # until it has been walked over
                await _put(other, {b"9": None})
            await control.quota(B, 9 * ROW, only_these=True)
            await _put(other, {b"2": VALUE})
            await _refused(_put(one, {b"3": VALUE}))  # its own is gone, the default is there

    _running(body)


async def _fits(client: KvClient, writes: Mapping[bytes, bytes | None]) -> bool:
    try:
        await _put(client, writes)
    except KvError as error:
        if error.name != "QUOTA":
            raise
        return False
    return True


def test_staged_writes_are_refused_as_soon_as_they_are_too_many() -> None:
    async def body(storage: StorageForTest, control: _Stub) -> None:
        async with storage.session(A) as one:
            await _fill(one, 2)
            await control.measured(A, 2 * ROW)
            await control.quota(A, 5 * ROW)
            load = one.txn()
            await one.stage(load, {b"a": VALUE, b"b": VALUE})
            await _refused(one.stage(load, {b"c": VALUE, b"d": VALUE}))
            await one.end(load)
            # What stages and does not grow goes through, however much it stages.
            update = one.txn()
            for byte in b"uvwxyz":
                await one.stage(update, {b"0": bytes([byte]) * 100, b"1": bytes([byte]) * 100})
            await one.commit(update, {})
            # What overwrites is only judged by its commit, and there by what it adds.
            load = one.txn()
            await one.stage(load, {b"0": b"v" * 200})
            await one.stage(load, {b"1": b"v" * 400})
            await _refused(one.commit(load, {}))
            await one.end(load)
            delete = one.txn()
            await one.stage(delete, {b"0": None, b"1": None})
            await one.commit(delete, {})
            await _fill(one, 5)

    _running(body)


def test_what_was_given_up_makes_room_before_its_rows_are_gone() -> None:
    async def body(storage: StorageForTest, control: _Stub) -> None:
        async with storage.session(A) as one:
            await _fill(one, 5)
            await control.measured(A, 5 * ROW)
            await control.quota(A, 5 * ROW)
            given_up = kv.Range(start=one.prefix + b"0", end=one.prefix + b"5")
            marks = {b"m": b"dropped"}  # the catalog's: more than nothing, and let through
            await one.commit(one.txn(), marks, retired=[given_up])
            anew = dict.fromkeys((b"a", b"b", b"c", b"d"), VALUE)
            fits = await _fits(one, anew)
            while not fits:  # until what was given up has been counted
                await asyncio.sleep(0.005)
                fits = await _fits(one, anew)
            await _refused(_put(one, {b"e": VALUE}))

    _running(body)


@pytest.mark.parametrize("engine", ["memory", "sqlite"])
def test_a_restart_forgets_no_limit(engine: str) -> None:
    async def first(storage: StorageForTest, control: _Stub) -> None:
        async with storage.session(A) as one:
            await _fill(one, 2)
        await control.default(3 * ROW)
        await control.quota(A, 2 * ROW)

    async def second(storage: StorageForTest, control: _Stub) -> None:
        async with storage.session(A) as one, storage.session(B) as other:
            await control.measured(A, 2 * ROW)
            await _refused(_put(one, {b"2": VALUE}))
            await _fill(other, 3)
            await control.measured(B, 3 * ROW)
            await _refused(_put(other, {b"3": VALUE}))

    with tempfile.TemporaryDirectory() as folder:
        if engine == "sqlite":
            uvloop.run(_with_storage(Path(folder), first, engine=engine))
            uvloop.run(_with_storage(Path(folder), second, engine=engine))
        else:
            uvloop.run(_with_storage(Path(folder), first))


def test_a_dropped_tenant_leaves_no_limit_behind() -> None:
    async def body() -> None:
        engine = MemoryEngine()
        shard = await Shard.open(engine, clock=ManualClock())
        await shard.quotas.change({A: 5}, only_these=False, default=None)
        assert shard.quotas.of(A) == 5
        await shard.drop(A)
        assert shard.quotas.of(A) == 0
        await shard.close()
        again = await Shard.open(engine, clock=ManualClock())
        assert again.quotas.of(A) == 0
        await again.close()

    asyncio.run(body())


def test_only_control_may_set_limits() -> None:
    async def body(storage: StorageForTest, control: _Stub) -> None:
        credentials = storage.authority.credentials(Identity(tenant=A))
        async with make_channel(storage.address, credentials, STORAGE) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _Stub(kv_pb2_grpc.StorageAdminStub(channel)).quota(A, 1 << 40)
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED

    _running(body)


# --- the estimate --------------------------------------------------------------------------------

_KEYS = st.sampled_from([b"a", b"b", b"cc", b"ddd", b"e" * 40])
_WRITES = st.dictionaries(_KEYS, st.none() | st.binary(max_size=300), min_size=1, max_size=4)
_STEPS = st.lists(
    st.tuples(st.sampled_from(["commit", "stage", "walk"]), _WRITES), min_size=1, max_size=25
)


class _Stream:
    """A session's stream: replies are kept."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[kv.Reply] = asyncio.Queue()

    def end(self, reason: str) -> None:
        raise AssertionError(reason)

    def tell_notification(self, notification: kv.Notification) -> None:
        raise AssertionError(notification)

    def tell_catalog(self, version: int) -> None:
        raise AssertionError(version)

    def tell_table(self, word: kv.TableWord) -> None:
        raise AssertionError(word)

    def cut(self, reason: str) -> None:
        raise AssertionError(reason)

    def reply(self, reply: kv.Reply) -> None:
        self.replies.put_nowait(reply)

    def go_on(self, request: kv.Request, work: Callable[[kv.Request], kv.Reply | None]) -> None:
        reply = work(request)
        if reply is not None:
            self.reply(reply)

    def later(self, request: kv.Request, work: Callable[[InFlight], Any]) -> None:
        async def run() -> None:
            reply = await work(InFlight(request.id, 0))
            if reply is not None:
                self.reply(reply)

        spawn(run(), name="a request")


class _Rig:
    """One tenant of a shard with a limit it never meets."""

    def __init__(self, shard: Shard, tenant: Tenant, stream: _Stream) -> None:
        self.shard = shard
        self.stream = stream
        self.operations = Operations(shard, tenant, PodId(1), stream)
        self.numbers = iter(range(1, 1000))

    async def ask(self, **request: Any) -> None:
        reply = self.operations.handle(kv.Request(id=1, **request))
        reply = reply or await self.stream.replies.get()
        assert not reply.HasField("error"), reply

    async def step(self, kind: str, writes: dict[bytes, bytes | None]) -> None:
        message = kv.Writes(**_packed(writes))
        txn = next(self.numbers)
        if kind == "walk":
            await self.shard.sizes.measure_changed()
        elif kind == "stage":
            await self.ask(txn=txn, stage=kv.Stage(writes=message))
            await self.ask(txn=txn, commit=kv.Commit())
        else:
            await self.ask(txn=txn, commit=kv.Commit(writes=message))


def _packed(writes: dict[bytes, bytes | None]) -> dict[str, bytes]:
    keys = blocks.pack([tenant_prefix(A) + key for key in writes])
    return {"keys": keys, "values": blocks.pack(list(writes.values()))}


@settings(max_examples=60, deadline=None)
@given(_STEPS)
def test_between_walks_the_estimate_is_what_a_walk_would_find(
    steps: list[tuple[str, dict[bytes, bytes | None]]],
) -> None:
    async def body() -> None:
        engine = MemoryEngine()
        still = Retention(history_seconds=3600.0, collect_seconds=3600.0, measure_seconds=3600.0)
        shard = await Shard.open(engine, clock=ManualClock(), retention=still)
        stream = _Stream()
        await shard.quotas.change({A: 1 << 40}, only_these=False, default=None)
        rig = _Rig(shard, await shard.enter(A, stream), stream)
        await shard.sizes.measure_urgent()
        for kind, writes in steps:
            await rig.step(kind, writes)
            current, *_history = stored_spans(A)
            assert shard.sizes.current(A) == (await engine.measure(*current)).bytes
        await shard.close()

    asyncio.run(body())
