"""Sequences: each number once, in order, whatever dies; beside a model that counts in a list."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.clock import SystemClock
from dormouse.base.ids import TenantId
from proto import kv_pb2 as kv
from storage.engines.interface import EngineError
from storage.sequences import LOG_AHEAD, Block, Shape, State, log_count, returned, take
from storage.shard import Shard
from tests.storage.test_transfer import A, B, exported, running
from tests.support.failingengine import FailingEngine
from tests.support.kv import KvClient, KvError, StorageForTest, storage_running
from tests.support.storageprocess import Child, prepare

TENANT = TenantId(7)
INT8_MIN, INT8_MAX = -(2**63), 2**63 - 1
SMALL = st.integers(-60, 60)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    low, high = sorted((draw(SMALL), draw(SMALL)))
    if draw(st.booleans()):  # at an end of what fits
        low, high = (INT8_MAX - 50, INT8_MAX) if draw(st.booleans()) else (INT8_MIN, INT8_MIN + 50)
    increment = draw(st.integers(-9, 9).filter(bool))
    return Shape(draw(st.integers(low, high)), increment, low, high, draw(st.booleans()))


def counted(state: State, shape: Shape, count: int) -> list[int]:
    """The next numbers, one step at a time; a block ends where the range does."""
    found: list[int] = []
    value, called = state.last, state.called
    while len(found) < count:
        following = value + shape.increment if called else value
        if called and not shape.min <= following <= shape.max:
            if found or not shape.cycle:
                break
            following = shape.min if shape.increment > 0 else shape.max
        found.append(following)
        value, called = following, True
    return found


@given(shapes(), st.lists(st.sampled_from(["take", "crash", "return"]) | st.integers(1, 90)))
def test_a_sequence_counts_as_the_model_does(shape: Shape, steps: list[Any]) -> None:
    state = State(shape.start, called=False, covered=shape.start)
    on_disk = None
    seen: set[int] = set()
    block: list[int] = []
    for step in steps:
        if step == "crash":
            state = on_disk or State(shape.start, called=False, covered=shape.start)
            block = []
        elif step == "return" and len(block) > 1:
            unused = block[1:]
            state = returned(state, unused[0], unused[-1], shape.increment)
            assert state.last == block[0]
            seen -= set(unused)
            block = block[:1]
        elif step != "return":
            count = 1 if step == "take" else step
            expected = counted(state, shape, count)
            given_, state, writes = take(state, shape, count)
            step_ = shape.increment
            block = [given_.first + n * step_ for n in range(given_.count)]
            assert block == expected
            assert all(INT8_MIN <= each <= INT8_MAX for each in (state.last, state.covered))
            if writes:
                on_disk = State(state.covered, state.called, state.covered)
            if block:  # nothing is given that the disk does not have as given
                assert on_disk is not None
                assert (on_disk.last - block[-1]) * step_ >= 0
            if not shape.cycle:
                assert not seen & set(block)
            seen |= set(block)


def test_what_others_have_taken_since_is_not_taken_back() -> None:
    shape = Shape(1, 1, 1, 1000, False)
    _, state, _ = take(State(1, called=False, covered=1), shape, 10)
    assert log_count(state, 1) == LOG_AHEAD
    _, after, writes = take(state, shape, 1)
    assert not writes
    assert returned(after, 6, 10, 1) is after
    assert returned(state, 6, 10, 1) == State(5, called=True, covered=42)


def test_another_increment_or_direction_does_not_use_what_the_disk_has() -> None:
    _, state, _ = take(State(1, called=False, covered=1), Shape(1, 1, 1, 1000, False), 5)
    for increment in (20, -1):
        block, _, writes = take(state, Shape(1, increment, -1000, 1000, False), 3)
        assert writes, increment
        assert block.first == 5 + increment


def test_over_the_wire(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            storage_running(tmp_path) as storage,
            storage.session(TENANT) as client,
            storage.session(TENANT, pod=2) as other,
        ):
            assert await client.take(b"s") == range(1, 2)
            assert await other.take(b"s", 4) == range(2, 6)
            assert await client.look(b"s") == (5, True, 28)
            await other.give_back(b"s", range(4, 6))
            assert await client.take(b"s", 40) == range(4, 44)
            await client.set_sequence(b"s", 7, is_called=False)
            assert await other.look(b"s") == (7, False, 0)
            assert await other.take(b"s") == range(7, 8)
            assert await other.look(b"fresh") == (1, False, 0)
            down = {"start": -1, "increment": -2, "min": -3, "max": -1}
            assert await client.take(b"d", 9, **down) == range(-1, -5, -2)
            assert not await client.take(b"d", **down)
            assert await client.take(b"d", **down, cycle=True) == range(-1, -3, -2)
            asked = [each.take(b"many") for each in (client, other) * 100]
            assert sorted(each[0] for each in await asyncio.gather(*asked)) == list(range(1, 201))
            for sequence in (kv.Sequence(key=client.prefix), kv.Sequence(key=b"t" + bytes(9))):
                with pytest.raises(KvError):
                    await client.send(sequence=sequence)
            with pytest.raises(KvError, match="BAD_REQUEST"):
                await client.take(b"s", increment=0)

    uvloop.run(run())


def test_numbers_that_nothing_can_come_before_are_not_taken_back() -> None:
    for at, increment in ((INT8_MIN, 1), (INT8_MAX, -1)):
        state = State(at, called=True, covered=at)
        assert returned(state, at, at, increment) is state
        assert returned(state, at, at, -increment).last == at + increment


def test_a_write_that_fails_gives_nothing_and_takes_nothing() -> None:
    async def run() -> None:
        engine, shape = FailingEngine(), Shape(1, 1, 1, 1000, False)
        shard = await Shard.open(engine, clock=SystemClock())
        key = b"t" + bytes(16)

        async def taken(*counts: int) -> list[tuple[Block, bool]]:
            while shard.sequences.state(key) is None:
                await shard.sequences.load(key, 1)
            loop = asyncio.get_running_loop()
            answers = [loop.create_future() for _ in counts]
            for count, answer in zip(counts, answers, strict=True):

                def done(
                    block: Block,
                    error: EngineError | None,
                    answer: asyncio.Future[tuple[Block, bool]] = answer,
                ) -> None:
                    answer.set_result((block, error is None))

                shard.sequences.take(key, shape, count, done)
            return list(await asyncio.gather(*answers))

        assert await taken(1) == [(Block(1, 1), True)]
        engine.failing = True
        assert await taken(2) == [(Block(2, 2), True)]  # covered
        # The second waits for the write of the first, and fails with it.
        assert [fine for _, fine in await taken(40, 1)] == [False, False]
        engine.failing = False
        block = (await taken(1))[0][0]
        assert block == Block(34, 1)  # what the disk had as given is skipped
        await shard.close()
        again = await Shard.open(engine, clock=SystemClock())
        await again.sequences.load(key, 1)
        assert again.sequences.state(key) == State(block.first, called=True, covered=block.first)
        await again.close()

    uvloop.run(run())


async def take_until_killed(
    client: KvClient, seen: list[range], enough: asyncio.Event, count: int
) -> None:
    while True:
        seen.append(await client.take(b"s", count))
        if len(seen) >= 300:
            enough.set()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_number_twice_over_the_end_of_storage(tmp_path: Path, number: signal.Signals) -> None:
    authority = prepare(tmp_path)
    seen: list[range] = []

    async def one_round(child: Child, pod: int) -> None:
        storage = child.storage(authority)
        enough, mine = asyncio.Event(), list[range]()
        async with storage.session(TENANT, pod=pod) as client:
            taking = [take_until_killed(client, mine, enough, n) for n in (1, 1, 3, 40)]
            running_ = asyncio.gather(*taking, return_exceptions=True)
            await enough.wait()
            if number == signal.SIGTERM:
                running_.cancel()
                await asyncio.gather(running_, return_exceptions=True)
                await client.look(b"s")  # what was asked before has its answer
            await asyncio.to_thread(child.end, number)
            await asyncio.gather(running_, return_exceptions=True)
        seen.extend(mine)

    for pod in range(3):
        uvloop.run(one_round(Child(tmp_path), 100 + pod))
    given_ = [each for block in seen for each in block]
    assert len(given_) == len(set(given_)) > 900


def test_a_clean_end_skips_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        for first in (1, 4, 7):
            async with (
                storage_running(tmp_path, engine="sqlite") as storage,
                storage.session(TENANT) as client,
            ):
                assert await client.take(b"s", 3) == range(first, first + 3)

    uvloop.run(run())


def test_a_restored_sequence_goes_on_behind_what_was_given() -> None:
    async def body(storage: StorageForTest, admin: Any) -> None:
        async with storage.session(A) as client:
            before = await client.take(b"s", 5)
            await client.put({b"row": b"%d" % before[-1]})
            pages, rows = await exported(admin, A)
        await admin.BeginImport(kv.BeginImportRequest(tenant_id=B))
        for page in pages:
            request = kv.ImportRowsRequest(tenant_id=B, rows=page.rows, counters=page.counters)
            await admin.ImportRows(request)
        await admin.FinishImport(kv.FinishImportRequest(tenant_id=B, rows=len(rows), counters=1))
        async with storage.session(B) as client:
            assert (await client.take(b"s"))[0] > before[-1]

    running(body)
