"""Who is served next when several tenants ask at once: the one that was served least.

The node has one event loop, a few reading threads and one disk. A tenant that asks for much would
fill all three with its own queue, and one that asks for little would wait behind it.

    frame ──▶ nobody else about? ─ yes ─▶ handled at once, in the order of coming
                     │ no
                     ▼
              a queue for each tenant ──▶ the least served first, a slice of time each ──▶ handled
                                                │
                                                └ passed over while it has more than its part
                                                  on the way to the disk
    engine read ──▶ READS_PER_READER for each reading thread, the least served first

Served is time: on the event loop, and of reading threads. It is counted only while several are
about, and whoever comes into a queue begins where those stand that are served just now (start-time
fair queueing): not behind, so nobody saves up, and at most DEBT_SECONDS ahead, so nobody is
punished for long ago, or for what it did alone.

Part of the disk: what is on its way to the disk is one queue in the order of commit times, so it
must not become long. While several tenants are about, each may have there what the disk writes in
WRITE_SECONDS; its next requests wait, and with them its stream is not read any further.

A request waits here at most as long as the others' slices take; nothing that waits here holds
anything that another one waits for except row locks of the same tenant, which do not wait here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from proto import kv_pb2 as kv
from storage.metrics import ADMISSION_WAITING, CONTENDED_TURNS

T = TypeVar("T")
Handle = Callable[[kv.Request], None]

TOGETHER_SECONDS = 0.1
"""Tenants that ask within this are about at the same time."""
SLICE_SECONDS = 0.0005
DEBT_SECONDS = 0.1
WRITE_SECONDS = 0.004
WRITE_BYTES_MIN = 64 << 10
READS_PER_READER = 2
_FIRST_BYTES_PER_SECOND = 20 << 20
_SMOOTHING = 0.2


class Share:
    """One tenant's account; made with the tenant's live state."""

    __slots__ = ("queue", "reads", "served", "writing")

    def __init__(self) -> None:
        self.served = 0.0
        """Seconds, on the scale of all shares."""
        self.queue: deque[tuple[Handle, kv.Request]] = deque()
        self.reads: deque[asyncio.Future[None]] = deque()
        self.writing = 0
        """Bytes on their way to the disk."""

    def __repr__(self) -> str:
        return (
            f"<Share served={self.served:.3f} queue={len(self.queue)} reads={len(self.reads)}"
            f" writing={self.writing}>"
        )


class Admission:
    """The queues of a shard. Clocks are in seconds and only go forward."""

    def __init__(
        self,
        *,
        readers: int,
        group_bytes_max: int,
        fair: bool = True,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`readers`: threads of the engine that read; `fair`: else all are served as they come."""
        self._fair = fair
        self._clock = clock
        self._reads_max = readers * READS_PER_READER
        self._group_bytes_max = group_bytes_max
        self._bytes_per_second = float(_FIRST_BYTES_PER_SECOND)
        self._last: Share | None = None
        self._last_at = 0.0
        self._together_until = 0.0
        self._waiting: dict[Share, None] = {}
        self._reading = 0
        self._read_waiting: dict[Share, None] = {}
        self._base = 0.0
        """What who was served last had before; where newcomers begin."""
        self._turn_due = False

    def __repr__(self) -> str:
        return f"<Admission {len(self._waiting)} tenants wait, {self._reading} reads>"

    @property
    def contended(self) -> bool:
        """Whether several tenants have been about lately."""
        return self._clock() < self._together_until

    @property
    def write_bytes_max(self) -> int:
        """What a tenant may have on the way to the disk while others are about."""
        part = int(self._bytes_per_second * WRITE_SECONDS)
        return min(max(part, WRITE_BYTES_MIN), self._group_bytes_max)

    def admit(self, share: Share, handle: Handle, requests: Iterable[kv.Request]) -> None:
        """Handle the requests, now or when it is the tenant's turn; each one's order is kept."""
        now = self._clock()
        if share is not self._last and self._fair:
            if now - self._last_at < TOGETHER_SECONDS:
                self._together_until = now + TOGETHER_SECONDS
            self._last = share
        self._last_at = now
        if now >= self._together_until and not self._waiting:
            for request in requests:
                handle(request)
            return
        share.queue.extend([(handle, request) for request in requests])
        if share.queue and share not in self._waiting:
            self._waiting[share] = None
            self._level(share)
            ADMISSION_WAITING.set(len(self._waiting))
        self._call_turn()

    async def read(self, share: Share, work: Callable[[], Awaitable[T]]) -> T:
        """Run a read of the engine when it is the tenant's turn."""
        if self._fair and (self._reading >= self._reads_max or self._read_waiting):
            await self._read_turn(share)
        else:
            self._reading += 1
        started = self._clock()
        try:
            return await work()
        finally:
            if self.contended or any(other is not share for other in self._read_waiting):
                share.served += self._clock() - started
            self._reading -= 1
            self._next_read()

    def queued(self, share: Share, size: int) -> None:
        """So many bytes of the tenant's are on their way to the disk."""
        share.writing += size

    def written(self, share: Share, size: int) -> None:
        """They have arrived, or will not."""
        share.writing -= size
        if share.queue:
            self._call_turn()

    def applied(self, size: int, seconds: float) -> None:
        """A group of `size` bytes took so long: what the disk can do."""
        if size >= WRITE_BYTES_MIN:
            rate = size / max(seconds, 1e-6)
            self._bytes_per_second += _SMOOTHING * (rate - self._bytes_per_second)

    def _level(self, share: Share) -> None:
        """A tenant joins those that wait."""
        share.served = min(max(share.served, self._base), self._base + DEBT_SECONDS)

    def _call_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            # After what has arrived meanwhile, so that it takes part.
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Serve the least served tenant that may be served, for a slice."""
        self._turn_due = False
        share = self._next()
        if share is None:
            return
        started = self._clock()
        end = started + SLICE_SECONDS
        self._base = max(self._base, share.served)
        try:
            while share.queue:
                handle, request = share.queue.popleft()
                handle(request)
                if self._clock() >= end:
                    break
        finally:
            CONTENDED_TURNS.inc()
            share.served += self._clock() - started
            if not share.queue:
                del self._waiting[share]
                ADMISSION_WAITING.set(len(self._waiting))
            if self._waiting:
                self._call_turn()

    def _next(self) -> Share | None:
        bound = self.write_bytes_max if self.contended else self._group_bytes_max
        able = [share for share in self._waiting if share.writing < bound]
        return min(able, key=_served, default=None)

    async def _read_turn(self, share: Share) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share.reads.append(turn)
        if share not in self._read_waiting:
            self._read_waiting[share] = None
            self._level(share)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._reading -= 1
                self._next_read()
            raise

    def _next_read(self) -> None:
        while self._reading < self._reads_max and self._read_waiting:
            share = min(self._read_waiting, key=_served)
            turn = share.reads.popleft()
            if not share.reads:
                del self._read_waiting[share]
            if not turn.done():
                self._base = max(self._base, share.served)
                self._reading += 1
                turn.set_result(None)


def _served(share: Share) -> float:
    return share.served
