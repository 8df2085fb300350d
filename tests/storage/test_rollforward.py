"""Large commits that are put in their place bit by bit: a crash between any two of the bits, and
what was there before and after, beside a twin that is a dict."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from storage.engines.interface import Engine
from storage.engines.memory import MemoryEngine
from storage.layout import due_lists, tenant_spans
from storage.shard import Retention, Shard
from tests.storage.stoppable import StoppableEngine
from tests.storage.test_engine_conformance import open_memory, open_slatedb, open_sqlite
from tests.storage.test_versions import PREFIX, TENANT, DirectSession, scanned

Writes = dict[bytes, bytes | None]
TXN = 7
GIVEN_UP = b"x"
"""What the keys of a range begin with that the commit retires."""
WINDOW_SECONDS = 10
_RETENTION = Retention(
    window_seconds=WINDOW_SECONDS, collect_seconds=3600, measure_seconds=3600, record_seconds=1
)


def block(writes: Writes) -> kv.Writes:
    keys = blocks.pack([PREFIX + key for key in writes])
    return kv.Writes(keys=keys, values=blocks.pack(list(writes.values())))


def after(rows: Writes, *changes: Writes) -> list[tuple[bytes, bytes]]:
    for each in changes:
        rows = {**rows, **each}
    return sorted((key, value) for key, value in rows.items() if value is not None)


@dataclass
class Case:
    """What was there, what a transaction stages, and what its commit brings along."""

    before: Writes
    pieces: list[Writes]
    rest: Writes = field(default_factory=dict)
    clock: ManualClock = field(default_factory=ManualClock)
    time: int = 0
    """Of the commit before."""

    @property
    def old(self) -> list[tuple[bytes, bytes]]:
        return after(self.before)

    @property
    def new(self) -> list[tuple[bytes, bytes]]:
        return after(self.before, *self.pieces, self.rest)

    async def start(self, engine: StoppableEngine) -> tuple[Shard, DirectSession]:
        shard = await Shard.open(engine, clock=self.clock, retention=_RETENTION)
        session = DirectSession(shard)
        await session.open()
        return shard, session

    async def begin(self, engine: StoppableEngine) -> None:
        """Write what was before, and let a large commit begin that never ends."""
        shard, session = await self.start(engine)
        self.clock.advance(1)
        reply = await session.call(1, commit=kv.Commit(writes=block({b"-": b"", **self.before})))
        reply = await session.call(2, commit=kv.Commit(writes=block({b"-": None})))
        self.time = reply.commit.commit_time
        self.clock.advance(1)
        for piece in self.pieces:
            assert (await session.call(TXN, stage=kv.Stage(writes=block(piece)))).HasField("stage")
        committing = spawn(self.commit(session), name="commit")
        stopping = spawn(engine.stopped.wait(), name="stop")
        await asyncio.wait({committing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await cancel(committing, stopping)
        await die(shard)

    async def commit(self, session: DirectSession) -> int:
        commit = kv.Commit(
            writes=block(self.rest),
            retired=[kv.Range(start=PREFIX + GIVEN_UP, end=PREFIX + GIVEN_UP + b"z")],
            changes_catalog=True,
        )
        return (await session.call(TXN, commit=commit)).commit.commit_time

    async def check(self, engine: StoppableEngine, *, committed: bool) -> None:
        """All of it is there or nothing, and nothing is left over."""
        shard, session = await self.start(engine)
        assert await scanned(session, 0, 3, reverse=False) == (self.new if committed else self.old)
        if self.time:
            assert await scanned(session, self.time, 3, reverse=False) == self.old
        resolved = (await session.call(resolve=kv.Resolve(txn=TXN))).resolve.commit_time
        assert bool(resolved) == committed
        tenant = shard.tenants.open(TENANT)
        assert tenant.catalog_version == resolved
        if committed:
            past = await scanned(session, resolved - 1, 2, reverse=True)
            assert past == self.old[::-1]
            assert (await engine.measure(*tenant_spans(TENANT, b"r")[0])).keys == 1
        late = kv.Commit(writes=block({b"-": b""}))
        if not committed:
            assert (await session.call(TXN, commit=late)).error.code == kv.Error.TXN_ENDED
        await session.call(TXN + 1, commit=late)
        await session.call(TXN + 2, commit=kv.Commit(writes=block({b"-": None})))
        self.clock.advance(3 * WINDOW_SECONDS)
        await shard.collector.collect()
        spans = [*tenant_spans(TENANT), due_lists(1 << 63)]
        left = {span[0][:1]: (await engine.measure(*span)).keys for span in spans}
        assert await scanned(session, 0, 3, reverse=False) == (
            [row for row in self.new if not row[0].startswith(GIVEN_UP)] if committed else self.old
        )
        del left[b"t"]
        kept = {letter for letter, keys in left.items() if keys}
        assert kept <= {b"v"} | ({b"f"} if not committed else set())
        await shard.close()


async def live(case: Case, engine: StoppableEngine) -> None:
    """Take up what there is to do, until it is done or the engine stops."""
    shards: list[Shard] = []

    async def work() -> None:
        shards.append(await Shard.open(engine, clock=case.clock, retention=_RETENTION))
        await shards[0].roll_forwards.over(TENANT)

    working = spawn(work(), name="work")
    stopping = spawn(engine.stopped.wait(), name="stop")
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    await cancel(working, stopping)
    for shard in shards:
        await die(shard)


async def die(shard: Shard) -> None:
    """As a process does: nothing more is written."""
    with suppress(asyncio.CancelledError):
        await cancel(shard.committer._task, *shard._background)
    await shard.roll_forwards.close()


FIXED = Case(
    before={b"a": b"0", b"b": b"0", b"c": b"0", b"d": b"0", b"e": b"0", b"x1": b"given up"},
    pieces=[
        {b"a": b"1", b"b": None, b"c": b"1", b"n1": b"1", b"n2": b"1"},
        {b"a": None, b"b": b"2", b"c": b"2", b"n1": None, b"e": None},
        {b"z%d" % number: b"clear" for number in range(3)},
        {b"z1": None, b"n2": b"2", b"e": None},
    ],
    rest={b"d": b"3", b"z2": None, b"b": None},
)
"""Put and put, remove and put, put and remove the same key, with and without an old version."""


def fixed() -> Case:
    return Case(dict(FIXED.before), FIXED.pieces, FIXED.rest)


@pytest.mark.parametrize("opener", [open_memory, open_sqlite, open_slatedb])
def test_a_crash_between_any_two_batches(
    opener: Callable[[Path], Awaitable[Engine]],
) -> None:
    async def crashed(after_applies: int) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            case, engine = fixed(), await opener(Path(folder))
            stoppable = StoppableEngine(engine)
            stoppable.applies_left = after_applies
            await case.begin(stoppable)
            if not isinstance(engine, MemoryEngine):
                await engine.close()
                engine = await opener(Path(folder))
            await case.check(StoppableEngine(engine), committed=after_applies > 0)
            await engine.close()
            return stoppable.stopped.is_set()

    async def all_of_them() -> None:
        applies = 0
        while await crashed(applies):
            applies += 1
        assert applies > 12

    asyncio.run(all_of_them())


names = st.sampled_from([b"a", b"b", b"c", b"d"])
several = st.dictionaries(names, st.none() | st.binary(max_size=2), max_size=4)


@given(
    before=st.dictionaries(names, st.binary(max_size=2), max_size=4),
    pieces=st.lists(several, min_size=1, max_size=4).filter(any),
    rest=several,
    crashes=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 400)), max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_crash_after_crash_however_the_batches_are_cut(
    before: Writes, pieces: list[Writes], rest: Writes, crashes: list[tuple[int, int]]
) -> None:
    case, engine = Case(before, pieces, rest), MemoryEngine()

    async def body() -> None:
        committed = True
        for number, (applies, turn_bytes) in enumerate(crashes):
            stoppable = StoppableEngine(engine, turn_bytes=turn_bytes)
            stoppable.applies_left = applies
            if not number:
                await case.begin(stoppable)
                committed = applies > 0
                continue
            stoppable.stop_at_once()
            await live(case, stoppable)
        if not crashes:
            await case.begin(StoppableEngine(engine, turn_bytes=100))
        await case.check(StoppableEngine(engine), committed=committed)

    asyncio.run(body())
