"""Checkpoints beside the writer: when there is one, and that the log stays short."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from dormouse.base.tasks import cancel, spawn
from storage.engines import checkpoints
from storage.engines.checkpoints import LOG_PAGES_MAX, PAGES, REST_PAGES_MAX, Checkpoints
from storage.engines.interface import EngineError, ScanRange
from storage.engines.sqlite import SqliteEngine


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PAUSE_SECONDS", 0.0)


class Pages:
    """A log, and what was copied of it."""

    def __init__(self) -> None:
        self.log: list[tuple[int, int] | EngineError] = []
        self.calls: list[str] = []
        self.writing: asyncio.Event | None = None
        """Set when the writer rests; None: it always does."""
        self.checkpoints = Checkpoints(self.copy("beside"), self.copy("between"), self.rest)

    def copy(self, name: str) -> Callable[[], Awaitable[tuple[int, int]]]:
        async def call() -> tuple[int, int]:
            self.calls.append(name)
            found = self.log.pop(0)
            if isinstance(found, EngineError):
                raise found
            return found

        return call

    def copying(self) -> None:
        self.calls.append("copying")

    def copied(self, seconds: float) -> None:
        assert seconds > 0
        self.calls.append("copied")

    async def rest(self) -> None:
        if self.writing is not None:
            self.calls.append("resting")
            await self.writing.wait()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


def running(body: Callable[[Pages], Awaitable[None]]) -> None:
    async def whole() -> None:
        pages = Pages()
        task = spawn(pages.checkpoints.run(), name="checkpoints")
        try:
            await body(pages)
        finally:
            await cancel(task)

    uvloop.run(whole())


def test_there_is_one_as_soon_as_enough_is_written_and_not_before() -> None:
    async def body(pages: Pages) -> None:
        pages.log = [(10, 10)]
        pages.checkpoints.wrote(PAGES - 1)
        await pages.settle()
        assert pages.calls == []
        pages.checkpoints.wrote(1)
        await pages.settle()
        assert pages.calls == ["beside"]
        assert repr(pages.checkpoints) == "<Checkpoints 0 pages>"

    running(body)


def test_the_writer_waits_only_for_a_short_rest_of_a_long_log() -> None:
    async def body(pages: Pages) -> None:
        long, rest = LOG_PAGES_MAX, REST_PAGES_MAX
        for found, then in (
            ((long - 1, long - 1), []),
            ((long, long - rest - 1), []),
            ((long, long - rest), [(long, long)]),
        ):
            pages.log, pages.calls = [found, *then], []
            pages.checkpoints.wrote(PAGES)
            await pages.settle()
            assert pages.calls == ["beside", *(["between"] if then else [])]

    running(body)


def test_one_that_fails_is_tried_again_with_the_next() -> None:
    async def body(pages: Pages) -> None:
        pages.log = [EngineError("disk"), (1, 1)]
        for _ in range(2):
            pages.checkpoints.wrote(PAGES)
            await pages.settle()
        assert pages.calls == ["beside", "beside"]

    running(body)


def test_who_wants_to_hears_of_every_piece_and_of_its_end() -> None:
    async def body(pages: Pages) -> None:
        pages.checkpoints.upkeep = pages
        pages.log = [(LOG_PAGES_MAX, LOG_PAGES_MAX), (1, 1), EngineError("disk")]
        for _ in range(2):
            pages.checkpoints.wrote(PAGES)
            await pages.settle()
        first, second = ["copying", "beside", "between", "copied"], ["copying", "beside", "copied"]
        assert pages.calls == [*first, *second]

    running(body)


def test_a_piece_is_told_at_once_and_copied_when_the_writer_rests() -> None:
    async def body(pages: Pages) -> None:
        pages.checkpoints.upkeep = pages
        pages.log, pages.writing = [(1, 1)], asyncio.Event()
        pages.checkpoints.wrote(PAGES)
        await pages.settle()
        assert pages.calls == ["copying", "resting"]
        pages.writing.set()
        await pages.settle()
        assert pages.calls == ["copying", "resting", "beside", "copied"]

    running(body)


def test_readers_give_way_and_the_copier_to_all_of_them(tmp_path: Path) -> None:
    def working() -> list[int]:
        """Niceness of each thread of this process that gives way, beyond this one's."""
        threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
        here = os.getpriority(os.PRIO_PROCESS, 0)
        return sorted(
            os.getpriority(os.PRIO_PROCESS, thread) - here
            for thread in threads
            if os.sched_getscheduler(thread) == os.SCHED_BATCH
        )

    async def body() -> None:
        assert working() == []
        engine = await SqliteEngine.open(tmp_path / "storage.sqlite", readers=2)
        assert working() == [0, 0, 5]
        await engine.close()

    uvloop.run(body())


def test_pieces_are_copied_though_the_writer_never_rests(tmp_path: Path) -> None:
    async def body() -> None:
        engine = await SqliteEngine.open(tmp_path / "storage.sqlite")
        told: list[str] = []

        class Told:
            def copying(self) -> None:
                told.append("copying")

            def copied(self, seconds: float) -> None:
                told.append("copied")

        engine.tell(Told())
        batch = [(b"%04d" % row, b"x" * 3000) for row in range(PAGES)]

        async def write() -> None:
            while told.count("copied") < 3:
                await engine.apply(batch)

        async with asyncio.timeout(60):
            # There is always another one that waits.
            await asyncio.gather(*[write() for _ in range(3)])
        assert told[:4] == ["copying", "copied", "copying", "copied"]
        await engine.close()

    uvloop.run(body())


def test_the_log_stays_short_while_it_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LOG_PAGES_MAX", 256)
    file = tmp_path / "storage.sqlite"
    log = file.with_name(file.name + "-wal")
    batches, rows = 300, 50

    async def body() -> None:
        engine = await SqliteEngine.open(file)
        longest = 0
        for number in range(batches):
            batch = [(b"%04d-%04d" % (row, number), b"x" * 3000) for row in range(rows)]
            await engine.apply(batch)
            longest = max(longest, log.stat().st_size)
        written = batches * rows * 3000
        assert longest < written / 3
        await engine.close()
        engine = await SqliteEngine.open(file)
        [page] = await engine.scan([ScanRange(b"0", b"1", 1 << 30, 1 << 40)])
        assert len(page.rows) == batches * rows
        await engine.close()

    uvloop.run(body())
