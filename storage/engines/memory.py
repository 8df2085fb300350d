"""An engine in memory, for tests: a sorted list of keys beside a dict. Durable for no longer than
the object lives; everything else as the interface promises.
"""

import asyncio
import pickle
from bisect import bisect_left, insort
from collections.abc import Collection, Sequence
from pathlib import Path

from storage.engines.interface import (
    EngineError,
    EngineLost,
    Measure,
    Page,
    Row,
    ScanRange,
    Upkeep,
    Write,
)


class MemoryEngine:
    """See `storage.engines.interface.Engine`."""

    turn_bytes = 64 << 10

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._order: list[bytes] = []
        self._closed = False

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `Engine.get`."""
        self._check()
        return [self._values.get(key) for key in keys]

    def get_now(self, keys: Sequence[bytes]) -> list[bytes | None] | None:
        """See `Engine.get_now`."""
        self._check()
        return [self._values.get(key) for key in keys]

    async def scan(self, ranges: Sequence[ScanRange]) -> list[Page]:
        """See `Engine.scan`."""
        self._check()
        return [self._scan(each) for each in ranges]

    async def apply(self, batch: Collection[Write]) -> None:
        """See `Engine.apply`. The last write of a key wins."""
        self._check()
        for key, value in dict(batch).items():
            self._write(key, value)

    def join(self, batch: Collection[Write]) -> bool:
        """See `Engine.join`."""
        return False

    async def room(self) -> int | None:
        """See `Engine.room`."""
        return None

    async def measure(self, start: bytes, end: bytes) -> Measure:
        """See `Engine.measure`."""
        self._check()
        keys = self._order[bisect_left(self._order, start) : bisect_left(self._order, end)]
        return Measure(len(keys), sum(len(key) + len(self._values[key]) for key in keys))

    async def backup(self, target: Path) -> None:
        """See `Engine.backup`."""
        self._check()
        await asyncio.to_thread(target.write_bytes, pickle.dumps(self._values))

    def tell(self, upkeep: Upkeep) -> None:
        """See `Engine.tell`."""

    async def lost(self) -> EngineLost:
        """See `Engine.lost`."""
        never: asyncio.Future[EngineLost] = asyncio.get_running_loop().create_future()
        return await never

    async def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise EngineError("the engine is closed")

    def _scan(self, wanted: ScanRange) -> Page:
        low = bisect_left(self._order, wanted.start)
        high = bisect_left(self._order, wanted.end)
        if wanted.reverse:
            keys = self._order[max(low, high - wanted.rows_max) : max(low, high)][::-1]
        else:
            keys = self._order[low : min(high, low + wanted.rows_max)]
        rows: list[Row] = []
        size = 0
        for key in keys:
            value = b"" if wanted.keys_only else self._values[key]
            rows.append((key, value))
            size += len(key) + len(value)
            if size >= wanted.bytes_max:
                break
        return Page(rows, len(rows) == max(0, high - low))

    def _write(self, key: bytes, value: bytes | None) -> None:
        if value is not None:
            if key not in self._values:
                insort(self._order, key)
            self._values[key] = value
        elif self._values.pop(key, None) is not None:
            del self._order[bisect_left(self._order, key)]
