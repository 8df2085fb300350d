"""An engine that stops where a test says so: between two batches, before a read, without room."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from storage.engines.interface import (
    Engine,
    EngineError,
    EngineLost,
    Measure,
    Page,
    ScanRange,
    Upkeep,
    Write,
)
from storage.layout import MARKER_SPAN


class StoppableEngine:
    """Hands everything on to another engine, which outlives it."""

    def __init__(self, engine: Engine, *, turn_bytes: int = 1) -> None:
        self._engine = engine
        self.turn_bytes = turn_bytes
        self.applies_left: int | None = None
        """Batches that go through after one with a marker, that one included; None: all."""
        self.stopped = asyncio.Event()
        """Set when one does not: it waits for `resume`."""
        self.holds = False
        """Whether, from the next marker on, staged parts are not read before `go`."""
        self.fails: Callable[[list[Write]], EngineError | None] = lambda batch: None
        """What a batch fails with."""
        self.bytes_free: int | None = None
        self._resumed = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()
        self._marked = False

    def stop_at_once(self) -> None:
        """Count batches from the next one on."""
        self._marked = True

    def resume(self) -> None:
        """Let all batches through again."""
        self.applies_left = None
        self._resumed.set()
        self._resumed = asyncio.Event()

    def go(self) -> None:
        """Read staged parts again."""
        self.holds = False
        self._go.set()

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        if any(key.startswith(b"s") for key in keys):
            await self._go.wait()
        return await self._engine.get(keys)

    def get_now(self, keys: Sequence[bytes]) -> list[bytes | None] | None:
        return self._engine.get_now(keys)

    async def scan(self, ranges: Sequence[ScanRange]) -> list[Page]:
        return await self._engine.scan(ranges)

    async def apply(self, batch: Iterable[Write]) -> None:
        writes = list(batch)
        if error := self.fails(writes):
            raise error
        marks = any(MARKER_SPAN[0] <= key < MARKER_SPAN[1] and value for key, value in writes)
        self._marked = self._marked or marks
        if self._marked and self.applies_left is not None:
            if not self.applies_left:
                self.stopped.set()
                await self._resumed.wait()
            else:
                self.applies_left -= 1
        if marks and self.holds:
            self._go.clear()
        await self._engine.apply(writes)

    def join(self, batch: Collection[Write]) -> bool:
        return False

    async def room(self) -> int | None:
        return self.bytes_free

    async def measure(self, start: bytes, end: bytes) -> Measure:
        return await self._engine.measure(start, end)

    async def backup(self, target: Path) -> None:
        await self._engine.backup(target)

    def tell(self, upkeep: Upkeep) -> None:
        self._engine.tell(upkeep)

    async def lost(self) -> EngineLost:
        return await self._engine.lost()

    async def close(self) -> None:
        """The engine under it stays open."""
