"""Counters: durable, outside any transaction, never back.

The value in memory runs ahead of the disk: an increment takes its number at once, then waits for
its group commit before it is answered. A number whose write failed was never given to anybody; the
counter is then read again from the engine.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from storage.committer import Committer, Submission
from storage.engines.interface import Engine, EngineError
from storage.layout import TIME, counter_key

_COUNTERS_MAX = 50_000
_WRAP = 1 << 64

Answer = Callable[[int, EngineError | None], None]
"""Called with the value before the increment once it is durable."""


@dataclass(slots=True)
class _Counter:
    value: int
    unwritten: int = 0


class Counters:
    """All counters of a shard; those in use are kept in memory."""

    def __init__(self, engine: Engine, committer: Committer) -> None:
        self._engine = engine
        self._committer = committer
        self._counters: OrderedDict[bytes, _Counter] = OrderedDict()
        self._loading: dict[bytes, asyncio.Lock] = {}

    def add_now(self, key: bytes, delta: int, answer: Answer) -> bool:
        """Add where the counter is in memory; otherwise `load` it first and call again."""
        counter = self._counters.get(key)
        if counter is None:
            return False
        self._counters.move_to_end(key)
        previous = counter.value
        counter.value = (previous + delta) % _WRAP
        counter.unwritten += 1

        def done(error: EngineError | None) -> None:
            counter.unwritten -= 1
            if error is not None and self._counters.get(key) is counter:
                del self._counters[key]
            answer(previous, error)

        writes = [(counter_key(key), TIME.pack(counter.value))]
        self._committer.submit(Submission(writes, done, len(key) + TIME.size))
        return True

    async def load(self, key: bytes) -> None:
        """Bring a counter into memory."""
        lock = self._loading.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if key not in self._counters:
                    [value] = await self._engine.get([counter_key(key)])
                    found = 0 if value is None else int(TIME.unpack(value)[0])
                    self._counters[key] = _Counter(found)
        finally:
            if not lock.locked():
                self._loading.pop(key, None)
        self._shrink()

    def forget(self, start: bytes, end: bytes) -> None:
        """The counters in a range are gone from the engine."""
        for key in [key for key in self._counters if start <= key < end]:
            del self._counters[key]

    def _shrink(self) -> None:
        excess = len(self._counters) - _COUNTERS_MAX
        if excess > 0:
            old = [key for key, _ in zip(self._counters, range(2 * excess), strict=False)]
            for key in old:
                if not self._counters[key].unwritten:
                    del self._counters[key]
