"""Staged pieces on their way in: cut into turns between which others are served, and what is there
when one of them fails, the transaction ends, or the process dies in the middle."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from storage import damage
from storage.engines.interface import EngineDamaged, EngineError, EngineFull, Write
from storage.engines.memory import MemoryEngine
from storage.layout import STAGED_SPAN
from storage.pieces import PART_BYTES
from storage.refusals import Refusal
from storage.shard import Shard
from storage.spans import TenantSpan
from tests.storage.gauges import value
from tests.storage.stoppable import StoppableEngine
from tests.storage.test_rolling import BANK, Rig, refused, running, seen
from tests.storage.test_versions import PREFIX, TENANT, DirectSession
from tests.support.waiting import until

PARTS = 12
HELD_AT = 3
PIECE: dict[bytes, bytes | None] = {
    b"p%02d" % n: bytes([n]) * (PART_BYTES - 100) for n in range(PARTS)
}
MORE: dict[bytes, bytes | None] = {b"more": b"x" * 40}


def parts_in(batch: list[Write]) -> int:
    """Parts of a piece that a batch writes."""
    return sum(1 for key, part in batch if key.startswith(b"s") and part)


async def parts_left(rig: Rig) -> int:
    return (await rig.engine.measure(*STAGED_SPAN)).keys


def watched(rig: Rig, fails_at: int = 1 << 30) -> list[list[Write]]:
    """The batches from now on; the one with that part finds no room."""
    batches: list[list[Write]] = []

    def look(batch: list[Write]) -> EngineError | None:
        batches.append(batch)
        written = sum(map(parts_in, batches))
        return EngineFull("no room") if parts_in(batch) and written >= fails_at else None

    rig.engine.fails = look
    return batches


async def held(rig: Rig, txn: int) -> "asyncio.Future[Any]":
    """A piece that is being staged, stopped in the middle."""
    rig.engine.stopped.clear()
    rig.engine.applies_left = HELD_AT
    rig.engine.stop_at_once()
    staging = rig.shop.send(txn=txn, stage=kv.Stage(writes=rig.shop.writes(PIECE)))
    await rig.engine.stopped.wait()
    return staging


def test_a_commit_of_another_tenant_comes_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        batches = watched(rig)
        async with rig.storage.session(BANK) as bank:
            staging = await held(rig, 1)
            putting = bank.send(txn=9, commit=kv.Commit(writes=bank.writes({b"k": b"v"})))
            await bank.get(b"k")
            rig.engine.resume()
            await asyncio.gather(putting, staging)
        [commit] = [at for at, batch in enumerate(batches) if not parts_in(batch)]
        assert commit <= HELD_AT + 2 < len(batches) - 3
        assert max(parts_in(batch) for batch in batches) == 1  # a part is more than a turn here
        await rig.shop.commit(1, {})
        assert {key: row for key, row in (await seen(rig.shop)).items() if key in PIECE} == PIECE

    running(monkeypatch, body)


def test_others_have_the_event_loop_in_between() -> None:
    async def whole() -> None:
        shard = await Shard.open(MemoryEngine(), clock=ManualClock())
        session = DirectSession(shard)
        await session.open()
        keys = [PREFIX + b"%06d" % number for number in range(20_000)]
        writes = kv.Writes(keys=blocks.pack(keys), values=blocks.pack([b""] * len(keys)))
        staging = spawn(session.call(7, stage=kv.Stage(writes=writes)), name="stage")
        locked, turns = [0], 0
        while not staging.done():
            await asyncio.sleep(0)
            turns += 1
            locked.append(shard.locks.total)
        assert locked[-1] == len(keys)
        assert max(after - before for before, after in pairwise(locked)) <= 2000
        assert turns > 20  # ten to unpack it, ten to lock it
        await session.call(7, end=kv.End())
        await shard.close()

    uvloop.run(whole())


def test_pieces_keep_their_order_and_the_commit_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(rig: Rig) -> None:
        client, answers = rig.shop, []
        for number in range(20):
            writes = {b"same": b"%d" % number, b"own%02d" % number: b"x" * 500 * number}
            stage = kv.Stage(writes=client.writes(writes))
            answers.append(client.send(txn=1, stage=stage))
        await client.send(txn=1, commit=kv.Commit(writes=client.writes(MORE)))
        sizes = [(await answer).bytes_staged for answer in answers]
        assert sizes == sorted(set(sizes))
        rows = await seen(client)
        assert rows[b"same"] == b"19"
        assert [rows[b"own%02d" % number] for number in range(20)] == [
            b"x" * 500 * number for number in range(20)
        ]
        assert await parts_left(rig) == 0

    running(monkeypatch, body)


def test_a_turn_that_fails_takes_the_transaction_along_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(rig: Rig) -> None:
        batches = watched(rig, fails_at=5)
        async with rig.storage.session(BANK) as bank:
            stage = kv.Stage(writes=rig.shop.writes(PIECE))
            first = rig.shop.send(txn=1, stage=stage)
            second = rig.shop.send(txn=1, stage=kv.Stage(writes=rig.shop.writes(MORE)))
            putting = bank.put({b"k": b"v"})
            assert await refused(first) == "DISK_FULL"
            assert await refused(second) == "TXN_ENDED"
            assert await putting
        assert sum(map(parts_in, batches)) == 5
        assert await refused(rig.shop.commit(1, {})) == "DISK_FULL"
        assert value("staged_bytes") == 0
        rig.engine.fails = lambda batch: None
        await none_left(rig)

    running(monkeypatch, body)


def test_a_transaction_that_ends_in_the_middle_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(rig: Rig) -> None:
        batches = watched(rig)
        for txn in (1, 2, 3):
            batches.clear()
            staging = await held(rig, txn)
            await rig.shop.end(txn)
            rig.engine.resume()
            assert await refused(staging) == "TXN_ENDED"
            await rig.shop.put({b"k0": b"old"})
            await none_left(rig)
            assert sum(map(parts_in, batches)) < PARTS
        assert value("staged_bytes") == value("transactions") == 0

    running(monkeypatch, body)


def test_a_bad_key_is_refused_before_anything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        batches = watched(rig)
        writes = rig.shop.writes(PIECE)
        keys = [*blocks.unpack_present(writes.keys)[:-1], b"elsewhere"]
        bad = kv.Writes(keys=blocks.pack(keys), values=writes.values)
        assert await refused(rig.shop.send(txn=1, stage=kv.Stage(writes=bad))) == "OUTSIDE_TENANT"
        assert value("staged_bytes") == value("locks") == 0
        assert not any(map(parts_in, batches))
        await rig.shop.stage(1, MORE)
        await rig.shop.commit(1, {})
        assert (await seen(rig.shop))[b"more"] == MORE[b"more"]

    running(monkeypatch, body)


def removed_in(batch: list[Write]) -> int:
    return sum(1 for key, part in batch if key.startswith(b"s") and part is None)


async def none_left(rig: Rig) -> None:
    for _ in range(1000):
        if not await parts_left(rig):
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


def test_what_is_rolled_back_goes_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(rig: Rig) -> None:
        large: dict[bytes, bytes | None] = {b"large": b"x" * 100 * PART_BYTES}
        await rig.shop.stage(1, large)
        await rig.shop.stage(2, PIECE)
        assert await parts_left(rig) > 100 + PARTS
        batches = watched(rig)
        await rig.shop.end(1)
        await rig.shop.end(2)
        await none_left(rig)
        removed = [removed_in(batch) for batch in batches]
        assert max(removed) == 32
        assert all(len(batch) == removed_in(batch) for batch in batches)  # nobody else's with it

    running(monkeypatch, body)


@pytest.mark.parametrize("error", [EngineFull("no room"), EngineDamaged("torn")])
def test_what_cannot_be_removed_goes_with_a_later_pass(
    monkeypatch: pytest.MonkeyPatch, error: EngineError
) -> None:
    async def body(rig: Rig) -> None:
        await rig.shop.stage(1, PIECE)
        await rig.shop.stage(2, {b"large": b"x" * 100 * PART_BYTES})
        failed = 0

        def fails(batch: list[Write]) -> EngineError | None:
            nonlocal failed
            failed += bool(removed_in(batch))
            return error if removed_in(batch) else None

        rig.engine.fails = fails
        await rig.shop.end(1)
        await rig.shop.end(2)
        await until(lambda: failed >= 2)
        await rig.shop.put({b"k0": b"old"})
        rig.engine.fails = lambda batch: None
        await none_left(rig)

    monkeypatch.setattr(damage, "_RETRY_TICKS", 0)
    running(monkeypatch, body, collect_seconds=0.02)


@pytest.mark.parametrize("error", [EngineFull("no room"), EngineDamaged("torn")])
def test_what_waits_behind_a_removal_that_fails_is_written(error: EngineError) -> None:
    async def whole() -> None:
        engine = StoppableEngine(MemoryEngine())
        shard = await Shard.open(engine, clock=ManualClock())
        session = DirectSession(shard)
        await session.open()
        tenant = shard.tenants.find(TENANT)
        share = None if tenant is None else tenant.share
        engine.fails = lambda batch: error if removed_in(batch) else None
        keys = [PREFIX + b"k"]
        commit = kv.Commit(writes=kv.Writes(keys=blocks.pack(keys), values=blocks.pack([b"v"])))
        parts = [b"s" + PREFIX[1:] + b"part"]
        removing = spawn(shard.committer.remove(parts, share=share), name="remove")
        committing = spawn(session.call(1, commit=commit), name="commit")
        assert (await committing).commit.commit_time
        with pytest.raises(type(error)):
            await removing
        await shard.close()

    uvloop.run(whole())


@pytest.mark.parametrize("applies", [1, 4, PARTS - 1])
def test_a_crash_in_the_middle_of_a_piece(applies: int) -> None:
    async def whole() -> None:
        engine = MemoryEngine()
        stoppable = StoppableEngine(engine)
        shard = await Shard.open(stoppable, clock=ManualClock())
        session = DirectSession(shard)
        await session.open()
        stoppable.stop_at_once()
        stoppable.applies_left = applies
        keys = blocks.pack([PREFIX + key for key in PIECE])
        stage = kv.Stage(writes=kv.Writes(keys=keys, values=blocks.pack(list(PIECE.values()))))
        staging = spawn(session.call(7, stage=stage), name="stage")
        await stoppable.stopped.wait()
        assert (await engine.measure(*STAGED_SPAN)).keys == applies
        await cancel(staging, shard.committer._task, *shard._background)
        await shard.intake.close()
        for transaction in list(shard.tenants.open(TENANT).transactions.values()):
            shard.end(transaction)  # for the metrics, which are of the whole process
        again = await Shard.open(StoppableEngine(engine), clock=ManualClock())
        assert (await engine.measure(*STAGED_SPAN)).keys == 0
        session = DirectSession(again)
        await session.open()
        assert not (await session.call(resolve=kv.Resolve(txn=7))).resolve.commit_time
        await again.close()

    uvloop.run(whole())


rows = st.lists(st.tuples(st.binary(max_size=40), st.none() | st.binary(max_size=40)), max_size=30)


@given(rows=rows, rows_max=st.integers(1, 10), bytes_max=st.integers(1, 400))
def test_cut_writes_are_the_writes(
    rows: list[tuple[bytes, bytes | None]], rows_max: int, bytes_max: int
) -> None:
    span = TenantSpan(TENANT)
    keys = [PREFIX + key for key, _ in rows]
    message = kv.Writes(keys=blocks.pack(keys), values=blocks.pack([value for _, value in rows]))
    cut = list(span.cut_writes(message, rows_max=rows_max, bytes_max=bytes_max))
    assert all(0 < len(some) <= rows_max for some in cut)
    assert [row for some in cut for row in some] == span.writes(message)


Spoil = Callable[[kv.Writes], None]


def _short(message: kv.Writes) -> None:
    message.values = message.values[:-1]


def _uneven(message: kv.Writes) -> None:
    message.values = blocks.pack([b"one", b"two", b"three"])


def _absent(message: kv.Writes) -> None:
    message.keys = blocks.pack([PREFIX, None])


def _outside(message: kv.Writes) -> None:
    message.keys = blocks.pack([PREFIX, b"t"])


@pytest.mark.parametrize("spoil", [_short, _uneven, _absent, _outside])
def test_what_cannot_be_cut_is_refused_like_what_cannot_be_read(spoil: Spoil) -> None:
    span = TenantSpan(TENANT)
    message = kv.Writes(
        keys=blocks.pack([PREFIX + b"a", PREFIX + b"b"]), values=blocks.pack([b"1", b"2"])
    )
    spoil(message)
    with pytest.raises(Refusal) as whole:
        span.writes(message)
    with pytest.raises(Refusal) as cut:
        list(span.cut_writes(message, rows_max=1, bytes_max=1000))
    assert cut.value.code == whole.value.code
