"""Who is served next when several tenants ask at once.

The node has one interpreter, a few reading threads and one disk. A tenant that asks for much would
fill all three with its own queue, and one that asks for little would wait behind it. Three layers
keep that from happening:

    1  what a tenant may spend in all      a token bucket in its pods (the spend limit)
    2  a cap for a tenant on this node     PART of the time, while somebody modest is about
    3  the least served tenant is next     where the node is busy all the same

    frame ──▶ nobody else about? ─ yes ─▶ handled at once, in the order of coming
                     │ no
                     ▼
              a queue for each tenant ──▶ the least served first, a slice of time each ──▶ handled
                                                │
                                                └ passed over while it has had more than its part,
                                                  or has more than that on the way to the disk
    engine read ──▶ READS_PER_READER for each reading thread, one thread's worth is kept for others

Layer three alone is not enough: a queue is short only where the server is idle at times, however
fair the order. So while somebody is about who asks for less than its part, nobody gets more than a
third of the node's time (storage/shares.py), and what is left over stays idle. What it would have
been used for is not lost, it comes later; whoever asks for little has nothing to put off.

    a alone ─────────────▶ all      a, b greedy ──────────▶ all of it, in turns
    a beside a modest b ─▶ 1/3      a, b beside a modest c ▶ 1/3 each, and so on

It has all of it again TOGETHER_SECONDS after the last request of anybody modest.

Time is that of the event loop, of reading threads and of the disk, in one sum: in truth they share
the interpreter and get into each other's way. It is counted only while several are about, and
whoever comes into a queue begins where those stand that are served just now: not behind, so nobody
saves up, and at most DEBT_SECONDS ahead, so nobody is punished for long ago, or for what it did
alone. Who is the least served when it comes does not even wait for the next turn of the event loop.

A slice that has begun is waited for, and from its frame to its reply a request is in several rounds
of the loop. So while somebody modest is about slices are short, a request that takes longer goes on
in the next one (`go_on`), and that begins some rounds later:

    a, greedy   ──slice──                                  ──slice──
    b, modest       ╷    frame taken ─▶ handled ─▶ reply            ╷
                    came                                            comes again

What is on its way to the disk is one queue in the order of commit times, so it must not become
long. While several tenants are about, each may have there what the disk writes in WRITE_SECONDS, or
one commit; its next requests wait, and with them its stream is not read any further.

What is durable comes to its place on the disk later (storage/engines/checkpoints.py), and an fsync
waits behind that as it waits behind another commit. So while it is copied it counts as on its way
once more, and the time it takes as had by those whose bytes it is:

    noisy   ─commit── ──copy──   idle   ─commit── ──copy──   idle     hardly ever the two at once
    quiet       ─commit─    ─commit─  ─commit─                        waits for one, not for both

A request waits here at most as long as the others' slices take and PAUSE_SECONDS_MAX; nothing that
waits here holds anything that another one waits for except row locks of the same tenant, which do
not wait here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from proto import kv_pb2 as kv
from storage.metrics import ADMISSION_WAITING, CONTENDED_TURNS, HELD_BACK
from storage.shares import PAUSE_SECONDS_MAX, Handle, Share, Work

T = TypeVar("T")

TOGETHER_SECONDS = 0.1
"""Tenants that ask within this are about at the same time."""
SLICE_SECONDS = 0.00025
SHORT_SLICE_SECONDS = 0.00005
"""While somebody modest is about: what it asks comes in between any two slices."""
_ROUNDS = 3
"""From the event that a frame has come to the reply that leaves it takes about so many."""
WRITE_SECONDS = 0.001
WRITE_BYTES_MIN = 4 << 10
READS_PER_READER = 2
_FIRST_BYTES_PER_SECOND = 20 << 20
_SMOOTHING = 0.2
_SOON_SECONDS = 0.0005
"""Too short for a timer."""
_TIMER_SECONDS = 0.001
Timer = Callable[[float, Callable[[], None]], asyncio.TimerHandle]


def _later(seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, call)


class Admission:
    """The queues of a shard. Clocks are in seconds and only go forward."""

    def __init__(
        self,
        *,
        readers: int,
        group_bytes_max: int,
        fair: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        worked: Callable[[], float] = time.thread_time,
        later: Timer = _later,
    ) -> None:
        """`readers`: threads of the engine that read; `fair`: else all are served as they come;
        `worked`: what the event loop's thread has worked so far, seconds; `later`: calls something
        after so many seconds."""
        self._fair = fair
        self._clock = clock
        self._later = later
        self._work = Work(worked)
        self._reads_max = readers * READS_PER_READER
        self._own_reads_max = max(1, readers - 1)
        """Of one tenant, while another is about."""
        self._group_bytes_max = group_bytes_max
        self._bytes_per_second = float(_FIRST_BYTES_PER_SECOND)
        self._last: Share | None = None
        self._last_at = 0.0
        self._together_until = 0.0
        self._modest_until = 0.0
        """Somebody who asks for no more than its part counts as about until then."""
        self._waiting: dict[Share, None] = {}
        self._reading = 0
        self._read_waiting: dict[Share, None] = {}
        self._logged: dict[Share | None, int] | None = None
        """Bytes that the engine has yet to copy, of nobody's what was written by one alone; None:
        it has not said that it copies any."""
        self._copying: dict[Share | None, int] = {}
        self._copy_timer: asyncio.TimerHandle | None = None
        self._base = 0.0
        """What who was served last had before; where newcomers begin."""
        self._turn_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

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
        if self._fair and self._others(share, now):
            self._together_until = now + TOGETHER_SECONDS
        if share.modest(now):
            self._modest_until = now + TOGETHER_SECONDS
        self._last, self._last_at = share, now
        if now >= self._together_until and not self._waiting:
            for request in requests:
                handle(request)
            return
        share.queue.extend([(handle, request) for request in requests])
        if share.queue and self._wait(share) and self._next() is share:
            self._serve(share)
        if self._waiting:
            self._call_turn()

    def go_on(self, share: Share, handle: Handle, request: kv.Request) -> None:
        """Handle the rest of a request in its tenant's next turn, before what waits behind it."""
        share.queue.appendleft((handle, request))
        self._wait(share)
        self._call_turn()

    def _wait(self, share: Share) -> bool:
        """Whether it begins to."""
        if share in self._waiting:
            return False
        self._waiting[share] = None
        share.join(self._base)
        ADMISSION_WAITING.set(len(self._waiting))
        return True

    async def read(self, share: Share, work: Callable[[], Awaitable[T]]) -> T:
        """Run a read of the engine when it is the tenant's turn."""
        if self._fair and (self._read_waiting or not self._may_read(share, self._clock())):
            await self._read_turn(share)
        else:
            self._reading += 1
            share.reading += 1
        started = self._clock()
        try:
            return await work()
        finally:
            self._reading -= 1
            share.reading -= 1
            now = self._clock()
            others = any(other is not share for other in self._read_waiting)
            if now < self._together_until or others:
                share.charge(self._work.cost(now - started, now), now)
            self._next_read()

    def _others(self, share: Share, now: float) -> bool:
        """Whether another tenant is about."""
        if self._last is not share and now - self._last_at < TOGETHER_SECONDS:
            return True
        return any(other is not share for other in (*self._waiting, *self._read_waiting))

    def queued(self, share: Share, size: int) -> None:
        """So many bytes of the tenant's are on their way to the disk."""
        share.writing += size

    def written(self, share: Share, size: int) -> None:
        """They have arrived, or will not."""
        share.writing -= size
        if share.queue:
            self._call_turn()

    def applied(self, parts: Sequence[tuple[Share | None, int]], seconds: float) -> None:
        """A group of these tenants' bytes took so long: what the disk can do, and who had it."""
        size = sum(part for _, part in parts)
        if size >= WRITE_BYTES_MIN:
            rate = size / max(seconds, 1e-6)
            self._bytes_per_second += _SMOOTHING * (rate - self._bytes_per_second)
        self._charge(parts, seconds)
        if self._logged is not None:
            contended = self.contended
            for share, part in parts:
                owner = share if contended else None
                self._logged[owner] = self._logged.get(owner, 0) + part

    def copying(self) -> None:
        """See `storage.engines.interface.Upkeep`: those whose bytes these are wait for it, but not
        for long."""
        self._copying, self._logged = self._logged or {}, {}
        if self.contended:
            for share, part in self._copying.items():
                if share is not None:
                    share.copying = part
            self._copy_timer = self._later(PAUSE_SECONDS_MAX, self._go_on)

    def copied(self, seconds: float) -> None:
        """See `storage.engines.interface.Upkeep`: and it is charged to them."""
        self._go_on()
        parts, self._copying = self._copying, {}
        self._charge([*parts.items()], seconds)

    def _go_on(self) -> None:
        """Nobody waits for what is copied any more."""
        if self._copy_timer is not None:
            self._copy_timer.cancel()
            self._copy_timer = None
            for share in self._copying:
                if share is not None:
                    share.copying = 0
            if self._waiting:
                self._call_turn()

    def _charge(self, parts: Sequence[tuple[Share | None, int]], seconds: float) -> None:
        """The disk was busy for so long with these tenants' bytes."""
        now = self._clock()
        size = sum(part for _, part in parts)
        if now < self._together_until:
            for share, part in parts:
                if share is not None and part:
                    share.charge(self._work.cost(seconds * part / size, now), now)

    def _call_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            # After what has arrived meanwhile, so that it takes part.
            asyncio.get_running_loop().call_soon(self._turn, _ROUNDS)

    def _turn(self, rounds: int) -> None:
        """Serve who is next, after so many rounds of the event loop while nobody may have more than
        its part."""
        if rounds and self._capped(self._clock()):
            asyncio.get_running_loop().call_soon(self._turn, rounds - 1)
            return
        self._turn_due = False
        share = self._next()
        if share is not None:
            self._serve(share)

    def _serve(self, share: Share) -> None:
        """Handle requests of a tenant for a slice of time."""
        started = now = self._clock()
        self._base = max(self._base, share.served)
        bound = self._write_bound(started)
        end = started + (SHORT_SLICE_SECONDS if self._capped(started) else SLICE_SECONDS)
        try:
            while share.queue and now < end and share.writing < bound:
                handle, request = share.queue.popleft()
                handle(request)
                now = self._clock()
        finally:
            CONTENDED_TURNS.inc()
            now = self._clock()
            share.charge(self._work.cost(now - started, now), now)
            if not share.queue:
                del self._waiting[share]
                ADMISSION_WAITING.set(len(self._waiting))
            if self._waiting:
                self._call_turn()

    def _next(self) -> Share | None:
        now = self._clock()
        bound = self._write_bound(now)
        able = [share for share in self._waiting if share.writing < bound]
        if now < self._together_until:
            able = [share for share in able if share.copying < bound]
        if self._capped(now):
            able = self._paid(able, now)
        return min(able, key=lambda share: share.place(now), default=None)

    def _capped(self, now: float) -> bool:
        """Whether nobody may have more than its part."""
        return now < self._together_until and now < self._modest_until

    def _write_bound(self, now: float) -> int:
        return self.write_bytes_max if now < self._together_until else self._group_bytes_max

    def _paid(self, shares: Sequence[Share], now: float) -> list[Share]:
        """Those that have had no more than their part; the others are looked at again in time."""
        paid = [share for share in shares if share.paid_until <= now + _SOON_SECONDS]
        if len(paid) < len(shares):
            held = [share for share in shares if share.paid_until > now + _SOON_SECONDS]
            for share in held:
                share.held_at = now
            HELD_BACK.inc(len(held))
            due = [share.paid_until for share in held]
            self._wake_at(min([self._together_until, self._modest_until, *due]), now)
        return paid

    def _wake_at(self, when: float, now: float) -> None:
        if self._timer is not None:
            if self._timer_at <= when:
                return
            self._timer.cancel()
        self._timer_at = when
        delay = max(when - now, _TIMER_SECONDS)
        self._timer = self._later(delay, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._call_turn()
        self._next_read()

    def _may_read(self, share: Share, now: float) -> bool:
        """Whether a thread is free for it and it has had no more than its part."""
        if self._reading >= self._reads_max:
            return False
        if now >= self._together_until:
            return True
        if share.reading >= self._own_reads_max:
            return False
        return not self._capped(now) or bool(self._paid([share], now))

    async def _read_turn(self, share: Share) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        share.reads.append(turn)
        if share not in self._read_waiting:
            self._read_waiting[share] = None
            share.join(self._base)
        self._next_read()
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._reading -= 1
                share.reading -= 1
                self._next_read()
            raise

    def _next_read(self) -> None:
        now = self._clock()
        while able := [share for share in self._read_waiting if self._may_read(share, now)]:
            share = min(able, key=lambda share: share.place(now))
            turn = share.reads.popleft()
            if not share.reads:
                del self._read_waiting[share]
            if not turn.done():
                self._base = max(self._base, share.served)
                self._reading += 1
                share.reading += 1
                turn.set_result(None)
