"""Who joins a group that is on its way to the disk, and what becomes of it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import pytest

from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from storage.admission import Admission
from storage.committer import GROUP_JOINED_MAX, JOINED_BYTES_MAX, Committer, Submission
from storage.engines.interface import EngineDamaged, EngineError, EngineLost, Write
from storage.engines.memory import MemoryEngine
from storage.failures import Failures
from storage.layout import LAST_COMMIT, TIME, record_key
from storage.shares import Share
from storage.sizes import Sizes

NOISY, QUIET, OTHER = TenantId(1), TenantId(2), TenantId(3)


class OpenEngine(MemoryEngine):
    """Every batch waits until it is let go, and can be joined until then."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[Write]] = []
        self.errors: list[EngineError] = []
        """What the next ones fail with."""
        self.damaged: bytes | None = None
        """A key that cannot be written."""
        self._go = asyncio.Semaphore(0)
        self._open = False

    def go(self, batches: int = 1) -> None:
        """Let so many through."""
        for _ in range(batches):
            self._go.release()

    async def apply(self, batch: Collection[Write]) -> None:
        self.batches.append(list(batch))
        self._open = True
        await self._go.acquire()
        self._open = False
        if self.errors:
            raise self.errors.pop()
        if any(key == self.damaged for key, _ in self.batches[-1]):
            raise EngineDamaged("a page is damaged")
        await super().apply(self.batches[-1])

    def join(self, batch: Collection[Write]) -> bool:
        if self._open:
            self.batches[-1] += batch
        return self._open


class Bench:
    """A committer, and what it has told."""

    def __init__(self) -> None:
        self.engine = OpenEngine()
        failures, sizes = Failures(ManualClock()), Sizes(self.engine)
        admission = Admission(readers=2, group_bytes_max=1 << 20)
        self.committer = Committer(
            self.engine,
            sizes,
            admission,
            failures,
            group_bytes_max=1 << 20,
            queue_bytes_max=1 << 20,
        )
        self.told: list[tuple[bytes, str]] = []
        self.shares = {tenant: Share() for tenant in (NOISY, QUIET, OTHER)}
        self.time = 0

    def submit(
        self, name: bytes, tenant: TenantId | None, *, size: int = 100, alone: bool = False
    ) -> None:
        def done(error: EngineError | None) -> None:
            self.told.append((name, "" if error is None else str(error)))

        self.time += 1
        record = b"" if tenant is None else record_key(tenant, PodId(1), self.time)
        share = None if tenant is None else self.shares[tenant]
        time = self.time if tenant else 0
        self.committer.submit(
            Submission([(name, b"")], done, size, time, record, share=share, alone=alone)
        )

    async def applied(self, batches: int) -> None:
        """Let so many batches through, one after the other."""
        for _ in range(batches):
            self.engine.go()
            for _ in range(5):
                await asyncio.sleep(0)

    def groups(self) -> list[list[bytes]]:
        """The names in each batch."""
        return [[key for key, _ in batch if key.isalpha()] for batch in self.engine.batches]


def run(body: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        bench = Bench()
        bench.submit(b"large", NOISY, size=50_000)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bench.groups() == [[b"large"]]
        await body(bench)
        bench.engine.go(100)
        await bench.committer.close()

    asyncio.run(whole())


def told(*names: bytes, error: str = "") -> list[tuple[bytes, str]]:
    return [(name, error) for name in names]


def test_others_join_in_their_order_and_are_told_in_it() -> None:
    async def body(bench: Bench) -> None:
        for name, tenant in ((b"quiet", QUIET), (b"system", None), (b"other", OTHER)):
            bench.submit(name, tenant)
        assert bench.told == []
        await bench.applied(1)
        assert bench.groups() == [[b"large", b"quiet", b"system", b"other"]]
        assert bench.told == told(b"large", b"quiet", b"system", b"other")
        assert await bench.engine.get([LAST_COMMIT]) == [TIME.pack(bench.time)]
        assert bench.committer.keys_written == len(bench.engine.batches[0])

    run(body)


@pytest.mark.parametrize(
    ("tenant", "size", "alone"),
    [(NOISY, 100, False), (QUIET, JOINED_BYTES_MAX + 1, False), (QUIET, 100, True)],
)
def test_who_does_not_join(tenant: TenantId, size: int, alone: bool) -> None:
    """One's own, what is large, and what is applied alone; nor does who came after it."""

    async def body(bench: Bench) -> None:
        bench.submit(b"first", tenant, size=size, alone=alone)
        bench.submit(b"second", OTHER)
        await bench.applied(3)
        second = [[b"first"], [b"second"]] if alone else [[b"first", b"second"]]
        assert bench.groups() == [[b"large"], *second]
        assert bench.told == told(b"large", b"first", b"second")

    run(body)


def test_what_is_applied_alone_is_not_joined() -> None:
    async def body(bench: Bench) -> None:
        await bench.applied(1)
        bench.submit(b"alone", NOISY, alone=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        bench.submit(b"quiet", QUIET)
        await bench.applied(2)
        assert bench.groups() == [[b"large"], [b"alone"], [b"quiet"]]

    run(body)


def test_only_so_many_join_one_group() -> None:
    async def body(bench: Bench) -> None:
        names = [b"x" * (1 + number) for number in range(GROUP_JOINED_MAX + 2)]
        tenants = [TenantId(10 + number) for number in range(len(names))]
        bench.shares |= {tenant: Share() for tenant in tenants}
        for name, tenant in zip(names, tenants, strict=True):
            bench.submit(name, tenant)
        await bench.applied(2)
        first = names[:GROUP_JOINED_MAX]
        assert bench.groups() == [[b"large", *first], names[GROUP_JOINED_MAX:]]
        assert bench.told == told(b"large", *names)

    run(body)


def test_who_joined_fails_with_the_group_and_with_what_waits_behind() -> None:
    async def body(bench: Bench) -> None:
        bench.submit(b"quiet", QUIET)
        bench.submit(b"behind", QUIET)
        bench.engine.errors = [EngineError("no room")]
        await bench.applied(1)
        assert bench.told == told(b"large", b"quiet", b"behind", error="no room")
        bench.submit(b"later", QUIET)
        await bench.applied(1)
        assert bench.groups() == [[b"large", b"quiet"], [b"later"]]
        assert bench.told[3:] == told(b"later")

    run(body)


def test_nobody_is_told_anything_of_a_group_whose_outcome_is_open() -> None:
    async def body(bench: Bench) -> None:
        bench.submit(b"quiet", QUIET)
        bench.engine.errors = [EngineLost("the fsync failed")]
        await bench.applied(1)
        assert bench.groups() == [[b"large", b"quiet"]]
        assert bench.told == []
        with pytest.raises(EngineError, match="ending"):
            bench.submit(b"later", OTHER)

    run(body)


@pytest.mark.parametrize("damaged", [b"large", b"quiet"])
def test_damage_is_nobodys_but_its_tenants(damaged: bytes) -> None:
    async def body(bench: Bench) -> None:
        bench.engine.damaged = damaged
        bench.submit(b"quiet", QUIET)
        bench.submit(b"behind", OTHER)
        await bench.applied(4)
        assert sorted(bench.told) == [
            (name, "a page is damaged" if name == damaged else "")
            for name in (b"behind", b"large", b"quiet")
        ]
        there = await bench.engine.get([b"behind", b"large", b"quiet"])
        assert [value is None for value in there] == [
            name == damaged for name in (b"behind", b"large", b"quiet")
        ]

    run(body)
