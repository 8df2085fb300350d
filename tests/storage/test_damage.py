"""The collection goes on past damage, and comes back to it."""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import pytest

from dormouse.base import blocks
from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.keys import tenant_prefix
from dormouse.base.metrics import REGISTRY
from dormouse.base.tasks import spawn
from proto import kv_pb2 as kv
from storage.engines.interface import EngineDamaged, EngineError, Page, ScanRange, Write
from storage.engines.memory import MemoryEngine
from storage.layout import (
    HELD_SPAN,
    RECORD_AGE_SPAN,
    Span,
    due_lists,
    tenant_of,
    tenant_spans,
)
from storage.operations import Operations
from storage.shard import Retention, Shard
from tests.storage.test_versions import DirectSession
from tests.support.waiting import until

TENANTS = [TenantId(number) for number in (5, 6, 7)]
FIRST, MIDDLE, LAST = TENANTS
ENDED_SPAN = (b"e", b"f")
_WINDOW = 10
_RETRY = 601


class DamagedEngine(MemoryEngine):
    """Some spans can neither be read nor written."""

    def __init__(self) -> None:
        super().__init__()
        self.damaged: list[Span] = []
        self.met = 0
        """Calls that were refused for it."""
        self.scans = self.applies = 0

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self._meet(keys)
        return await super().get(keys)

    async def scan(self, ranges: Sequence[ScanRange]) -> list[Page]:
        self.scans += 1
        pages = await super().scan(ranges)
        for wanted, page in zip(ranges, pages, strict=True):
            # As SQLite does it: the pages from the start to the last row are read.
            last = wanted.end if page.exhausted else page.rows[-1][0] + b"\0"
            if any(low < last and wanted.start < high for low, high in self.damaged):
                raise EngineDamaged("a page is damaged")
        return pages

    async def apply(self, batch: Iterable[Write]) -> None:
        self.applies += 1
        writes = list(batch)
        for _ in range(3):
            await asyncio.sleep(0)  # others queue behind it
        self._meet([key for key, _ in writes])
        await super().apply(writes)

    def _meet(self, keys: Sequence[bytes]) -> None:
        if any(low <= key < high for low, high in self.damaged for key in keys):
            self.met += 1
            raise EngineDamaged("a page is damaged")

    async def keys(self, span: Span) -> list[bytes]:
        [page] = await super().scan([ScanRange(*span, 10_000, 1 << 30)])
        return [key for key, _ in page.rows]


class Client(DirectSession):
    """A session of one of the tenants."""

    def __init__(self, shard: Shard, tenant: TenantId) -> None:
        super().__init__(shard)
        self._tenant = tenant
        self._txn = 0

    async def open(self) -> None:
        tenant = await self._shard.enter(self._tenant, self)
        self._operations = Operations(self._shard, tenant, PodId(int(self._tenant)), self)

    async def commit(self, **op: Any) -> kv.Reply:
        self._txn += 1
        return await self.call(self._txn, commit=kv.Commit(**op))

    async def put(self, number: int, value: bytes = b"x") -> None:
        key = tenant_prefix(self._tenant) + b"%04d" % number
        writes = kv.Writes(keys=blocks.pack([key]), values=blocks.pack([value]))
        assert (await self.commit(writes=writes)).commit.commit_time


class Rig:
    """Three tenants with a past."""

    def __init__(self) -> None:
        self.engine, self.clock = DamagedEngine(), ManualClock()

    async def start(self, versions: int = 20) -> None:
        retention = Retention(
            window_seconds=_WINDOW, collect_seconds=3600, measure_seconds=3600, record_seconds=30
        )
        self.shard = await Shard.open(self.engine, clock=self.clock, retention=retention)
        self.clients = {tenant: Client(self.shard, tenant) for tenant in TENANTS}
        for client in self.clients.values():
            await client.open()
        await self.write(versions)

    async def write(self, versions: int = 20) -> None:
        for number in range(versions):
            for client in self.clients.values():
                for _ in range(2):
                    await client.put(number)
            self.clock.advance(0.01)

    async def left(self, letters: bytes = b"h") -> dict[TenantId, int]:
        """Keys that tenants have."""
        found = {}
        for tenant in TENANTS:
            keys = [await self.engine.keys(span) for span in tenant_spans(tenant, letters)]
            found[tenant] = sum(map(len, keys))
        return found

    async def come_to(self, letters: bytes, wanted: dict[TenantId, int]) -> None:
        """Wait until tenants have so many keys: staged parts go in the background."""
        for _ in range(1000):
            if await self.left(letters) == wanted:
                return
            await asyncio.sleep(0.005)
        assert await self.left(letters) == wanted

    async def collect(self, seconds: float = _WINDOW + 1) -> None:
        self.clock.advance(seconds)
        await self.shard.collector.collect()


def play(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(body)


def _of(tenant: TenantId, letter: bytes) -> Span:
    [span] = tenant_spans(tenant, letter)
    return span


@pytest.mark.parametrize("letter", [b"h", b"hw"])
def test_a_tenant_with_damaged_history_is_left_alone_and_tried_again(letter: bytes) -> None:
    async def body() -> None:
        rig = Rig()
        await rig.start()
        rig.engine.damaged = [_of(MIDDLE, bytes([each])) for each in letter]
        await rig.collect()
        assert await rig.left() == {FIRST: 0, MIDDLE: 20, LAST: 0}
        gauge = "dormouse_storage_collection_damaged_tenants"
        assert REGISTRY.get_sample_value(gauge) == 1
        await rig.collect(1)  # what could be put aside is
        applies = rig.engine.applies
        await rig.collect(1)
        assert rig.engine.applies == applies  # nobody is bothered by another attempt
        rig.engine.damaged = []
        await rig.write(5)
        await rig.collect()
        assert await rig.left() == {FIRST: 0, MIDDLE: 20 + 2 * 5, LAST: 0}
        await rig.collect(_RETRY)
        await rig.collect(1)
        assert await rig.left() == {FIRST: 0, MIDDLE: 0, LAST: 0}
        assert await rig.engine.keys(ENDED_SPAN) == await rig.engine.keys(HELD_SPAN) == []
        assert REGISTRY.get_sample_value(gauge) == 0
        await rig.shard.close()

    play(body())


def test_lists_of_everybody_are_collected_on_both_sides_of_a_gap() -> None:
    async def body() -> None:
        rig = Rig()
        await rig.start(200)
        lists = await rig.engine.keys(ENDED_SPAN)
        assert len(lists) == 600
        gap = rig.engine.damaged = [(lists[290], lists[310])]
        await rig.collect()
        left = await rig.engine.keys(ENDED_SPAN)
        # Behind it the next nanosecond is looked for: commits of one are told apart by nothing.
        assert set(lists[290:310]) <= set(left)
        assert len(left) < 25
        assert sum((await rig.left()).values()) == len(left)
        scans, applies = rig.engine.scans, rig.engine.applies
        await rig.collect(1)
        assert rig.engine.scans - scans < 10  # it is known where it can be read
        assert rig.engine.applies == applies
        await rig.collect(_RETRY)
        assert len(await rig.engine.keys(ENDED_SPAN)) == len(left)
        rig.engine.damaged = []
        await rig.collect(_RETRY)
        assert await rig.engine.keys(ENDED_SPAN) == []
        assert sum((await rig.left()).values()) == 0
        await rig.shard.close()
        assert gap

    play(body())


def test_all_of_the_lists_may_be_damaged() -> None:
    async def body() -> None:
        rig = Rig()
        await rig.start()
        rig.engine.damaged = [(b"e", b"f"), (b"y", b"z"), (b"w", b"x")]
        await rig.collect()
        assert await rig.left() == dict.fromkeys(TENANTS, 20)
        rig.engine.damaged = []
        await rig.collect(_RETRY)
        assert await rig.left() == dict.fromkeys(TENANTS, 0)
        await rig.shard.close()

    play(body())


def test_lists_that_cannot_be_removed_are_nobodys_fault() -> None:
    """Removing a row may touch its page's neighbour."""

    async def body() -> None:
        rig = Rig()
        await rig.start()
        low, high = due_lists(rig.clock.wall_ns() + 10**12)
        readable = DamagedEngine.scan

        async def scan(self: DamagedEngine, ranges: Sequence[ScanRange]) -> list[Page]:
            damaged, self.damaged = self.damaged, []
            try:
                return await readable(self, ranges)
            finally:
                self.damaged = damaged

        rig.engine.scan = scan.__get__(rig.engine)  # type: ignore[method-assign]
        rig.engine.damaged = [(low, high)]
        await rig.collect()
        assert await rig.left() == dict.fromkeys(TENANTS, 0)
        assert len(await rig.engine.keys(ENDED_SPAN)) == 60
        assert REGISTRY.get_sample_value("dormouse_storage_collection_damaged_tenants") == 0
        applies = rig.engine.applies
        await rig.collect(1)
        assert rig.engine.applies == applies
        rig.engine.damaged = []
        await rig.collect(_RETRY)
        assert await rig.engine.keys(ENDED_SPAN) == []
        await rig.shard.close()

    play(body())


def test_records_and_fences_of_others_go_by_age() -> None:
    async def body() -> None:
        rig = Rig()
        await rig.start()
        for client in rig.clients.values():
            await client.call(resolve=kv.Resolve(txn=10_000))
        before = await rig.left(b"xf")
        assert set(before.values()) == {41}
        rig.engine.damaged = [_of(MIDDLE, b"x"), _of(MIDDLE, b"f")]
        await rig.collect(40)
        assert await rig.left(b"xf") == {FIRST: 0, MIDDLE: 41, LAST: 0}
        lists = await rig.engine.keys(RECORD_AGE_SPAN)
        assert len(lists) == 40
        applies = rig.engine.applies
        await rig.collect(1)
        assert rig.engine.applies == applies
        rig.engine.damaged = []
        await rig.collect(_RETRY)
        assert await rig.left(b"xf") == dict.fromkeys(TENANTS, 0)
        assert await rig.engine.keys(RECORD_AGE_SPAN) == []
        await rig.shard.close()

    play(body())


def test_staged_pieces_of_others_go() -> None:
    async def body() -> None:
        rig = Rig()
        await rig.start(1)
        for tenant, client in rig.clients.items():
            writes = kv.Writes(
                keys=blocks.pack([tenant_prefix(tenant) + b"k"]), values=blocks.pack([b"v"])
            )
            await client.call(500, stage=kv.Stage(writes=writes))
        rig.engine.damaged = [(b"s", b"t")]
        for client in rig.clients.values():
            await client.call(500, end=kv.End())
        await until(lambda: rig.engine.met >= len(TENANTS))
        rig.engine.damaged = [_of(MIDDLE, b"s")]
        await rig.collect()
        await rig.come_to(b"s", {FIRST: 0, MIDDLE: 1, LAST: 0})
        await rig.write(1)
        await rig.collect()
        left = await rig.left()
        assert left[FIRST] == left[LAST] == 0 < left[MIDDLE]  # it is left alone in all
        rig.engine.damaged = []
        await rig.collect(_RETRY)
        await rig.come_to(b"sh", dict.fromkeys(TENANTS, 0))
        await rig.shard.close()

    play(body())


def test_a_shorter_window_of_a_damaged_tenant_holds_up_nobody() -> None:
    async def body() -> None:
        rig = Rig()
        await rig.start()
        rig.engine.damaged = [_of(MIDDLE, b"h")]
        await rig.shard.set_windows(dict.fromkeys(TENANTS, 1), only_these=True, default=None)
        await rig.collect(2)
        assert await rig.left() == {FIRST: 0, MIDDLE: 20, LAST: 0}
        rig.engine.damaged = []
        await rig.collect(_RETRY)
        assert await rig.left() == dict.fromkeys(TENANTS, 0)
        await rig.shard.close()

    play(body())


def test_what_waits_behind_a_damaged_removal_is_written() -> None:
    async def body() -> None:
        rig = Rig()
        await rig.start(1)
        rig.engine.damaged = [_of(MIDDLE, b"h")]
        doomed = tenant_spans(MIDDLE, b"h")[0][0]
        removal = spawn(rig.shard.committer.write([(doomed, None)]), name="removal")
        await asyncio.sleep(0)  # it is queued, and by itself
        commits = [spawn(client.put(1), name="commit") for client in rig.clients.values()]
        found = await asyncio.gather(removal, *commits, return_exceptions=True)
        assert isinstance(found[0], EngineError)
        assert found[1:] == [None] * 3
        assert tenant_of(doomed) == MIDDLE
        await rig.shard.close()

    play(body())
