"""Requests on their way: what is sent next, what is awaited, what a broken stream does to each.

    submit ──▶ outbox ─┬─▶ frame ──▶ in flight ──▶ answered
               locks ──┘               │
                 ▲                     └─ stream broke: again (pure reads) or StreamLost
                 └── at most half of the places: a commit that frees locks always finds one

No I/O here: the stream asks for the next frame and hands in replies.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from proto import kv_pb2 as kv
from sqlnode.kv.errors import KvRefused, StreamLost
from sqlnode.kv.usage import COUNTED_APART, IS_SYSTEM_WORK, KvUsage

WAITING_MAX = 65_536
"""Requests that may wait for a place on the stream; more are refused as BUSY."""


@dataclass(slots=True, eq=False)
class Limits:
    """What storage takes; careful guesses until it has said so in HelloReply."""

    frame_bytes_max: int = 4 << 20
    txn_bytes_max: int = 1 << 30
    requests_max: int = 256


@dataclass(slots=True, eq=False)
class Call:
    """One request and who waits for its reply."""

    request: kv.Request
    future: asyncio.Future[kv.Reply] | None
    """None: nobody wants to know."""
    bound: bool
    """Makes sense only on the stream it was made for (locks, pins, staged writes)."""
    retry: bool
    """May be sent again on the next stream though it may have been carried out."""
    size: int
    is_lock: bool
    elsewhere: int = 0
    """The catalog version it proves on another stream than it was made for; 0: none."""
    is_system: bool = field(default_factory=IS_SYSTEM_WORK.get)
    """Work that nobody pays for; a call remembers it from where it was made."""
    apart: KvUsage | None = field(default_factory=COUNTED_APART.get)
    """Where it is counted once more."""

    def fail(self, error: Exception) -> None:
        """Tell who waits, if anybody still does."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)

    def move(self) -> None:
        """It goes on another stream than it was made for."""
        if self.elsewhere:
            self.request.catalog_version = self.elsewhere
            self.size = self.request.ByteSize() + 8

    @property
    def abandoned(self) -> bool:
        """Nobody waits any more."""
        return self.future is not None and self.future.done()


@dataclass(slots=True, eq=False)
class Calls:
    """All calls of one client."""

    limits: Limits = field(default_factory=Limits)
    usage: KvUsage = field(default_factory=KvUsage)
    system_usage: KvUsage = field(default_factory=KvUsage)
    _outbox: deque[Call] = field(default_factory=deque)
    _locks: deque[Call] = field(default_factory=deque)
    _in_flight: dict[int, Call] = field(default_factory=dict)
    _locks_in_flight: int = 0

    def __len__(self) -> int:
        return len(self._outbox) + len(self._locks) + len(self._in_flight)

    def __repr__(self) -> str:
        return (
            f"<Calls {len(self._outbox)} waiting, {len(self._locks)} locks waiting, "
            f"{len(self._in_flight)} in flight>"
        )

    def add(self, call: Call) -> None:
        """Queue a call. One that can never be sent, or finds the queue full, fails at once."""
        if call.size > self.limits.frame_bytes_max:
            call.fail(KvRefused(kv.Error(code=kv.Error.TOO_LARGE, message="larger than a frame")))
        elif len(self._outbox) + len(self._locks) >= WAITING_MAX:
            call.fail(KvRefused(kv.Error(code=kv.Error.BUSY, message="too many requests wait")))
        else:
            (self._locks if call.is_lock else self._outbox).append(call)

    def next_frame(self) -> kv.ClientFrame | None:
        """The calls that can be sent now as one frame; None if there are none."""
        requests: list[kv.Request] = []
        room = self.limits.frame_bytes_max
        room = self._take(self._outbox, requests, room, self.limits.requests_max)
        if self._locks:
            # Locks wait for others; places are kept for those who would end the waiting.
            places = self.limits.requests_max // 2 - self._locks_in_flight
            before = len(self._in_flight)
            limit = min(self.limits.requests_max, before + places)
            self._take(self._locks, requests, room, limit)
            self._locks_in_flight += len(self._in_flight) - before
        return kv.ClientFrame(requests=requests) if requests else None

    def _take(
        self, queue: deque[Call], requests: list[kv.Request], room: int, in_flight_max: int
    ) -> int:
        while queue and len(self._in_flight) < in_flight_max:
            call = queue[0]
            if call.abandoned:
                queue.popleft()
                continue
            if call.size > room and requests:
                return 0
            queue.popleft()
            room -= call.size
            requests.append(call.request)
            if call.request.WhichOneof("op") != "cancel":
                self._in_flight[call.request.id] = call
        return room

    def answer(self, reply: kv.Reply) -> None:
        """Hand a reply to who waits for it. Replies nobody waits for are dropped."""
        call = self._in_flight.pop(reply.id, None)
        if call is None:
            return
        if call.is_lock:
            self._locks_in_flight -= 1
        if not reply.HasField("error"):
            if call.is_system:
                self.system_usage.count(call.request, reply)
            else:
                self.usage.count(call.request, reply, call.apart)
        future = call.future
        if future is None or future.done():
            return
        if reply.HasField("error"):
            future.set_exception(KvRefused(reply.error))
        else:
            future.set_result(reply)

    def stream_broke(self) -> None:
        """Sort out what the broken stream leaves: sent again, still waiting, or failed."""
        again = []
        for call in self._in_flight.values():
            if call.retry and not call.bound:
                again.append(call)
            else:
                call.fail(StreamLost(sent=True))
        self._in_flight.clear()
        self._locks_in_flight = 0
        kept = [call for call in self._outbox if not call.bound]
        for call in [*self._outbox, *self._locks]:
            if call.bound:
                call.fail(StreamLost(sent=False))
        self._locks = deque([call for call in self._locks if not call.bound])
        self._outbox = deque([*again, *kept])
        for call in self._outbox:
            call.move()

    def fail_waiting(self, error: Exception) -> None:
        """Fail everything that waits to be sent."""
        for call in [*self._outbox, *self._locks]:
            call.fail(error)
        self._outbox.clear()
        self._locks.clear()
