"""A node's queues without the node: a clock that only moves where work is done, and what of it was
whose."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from proto import kv_pb2 as kv
from storage.admission import SLICE_SECONDS, Admission
from storage.shares import Share

TURNS = 100_000


class Timer:
    """What is due on the node's clock."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Node:
    """A clock, tenants, and a record of what was handled. Time passes where work is done, and
    where there is none until the next timer."""

    def __init__(self, *, readers: int = 1) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.admission = Admission(
            readers=readers,
            group_bytes_max=8 << 20,
            clock=lambda: self.now,
            worked=lambda: 0.0,
            later=cast("Any", self.later),
        )
        self.idle = 0
        """Turns of the event loop in which nothing was handled."""
        self.shares: dict[str, Share] = {}
        self.left: set[str] = set()
        self.handled: list[tuple[str, int]] = []
        self.waits: list[float] = []
        """How long each request of the tenant "quiet" waited."""

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, call))
        return self.timers[-1]

    def ask(self, tenant: str, count: int, *, seconds: float = SLICE_SECONDS / 5) -> None:
        """So many requests in one frame, each of which takes so long."""
        share = self.shares.setdefault(tenant, Share())
        asked = self.now

        def handle(request: kv.Request) -> None:
            if tenant == "quiet":
                self.waits.append(self.now - asked)
            self.now += seconds
            self.handled.append((tenant, request.id))

        first = sum(1 for name, _ in self.handled if name == tenant) + len(share.queue)
        self.admission.admit(share, handle, [kv.Request(id=first + n) for n in range(count)])

    def ask_often(self, tenant: str, *, every: float, seconds: float = SLICE_SECONDS / 5) -> None:
        """One request now and then, until it has left."""
        if tenant in self.left:
            return
        self.ask(tenant, 1, seconds=seconds)
        self.later(every, lambda: self.ask_often(tenant, every=every, seconds=seconds))

    def part_of(self, tenant: str, since: int, began: float, *, seconds: float) -> float:
        """Of the time since then, what was spent on the tenant."""
        count = sum(1 for name, _ in self.handled[since:] if name == tenant)
        return count * seconds / (self.now - began)

    async def turn(self) -> None:
        """Whatever is due now; where there is nothing, whatever is due next."""
        seen = len(self.handled)
        await asyncio.sleep(0)
        self.idle = self.idle + 1 if len(self.handled) == seen else 0
        due = [timer for timer in self.timers if timer.call is not None]
        if self.idle > 5 and due:
            self.now = max(self.now, min(timer.at for timer in due))
        self.timers = [timer for timer in due if timer.at > self.now]
        for timer in sorted(due, key=lambda timer: timer.at):
            if timer.at <= self.now and timer.call is not None:
                self.idle = 0
                timer.call()

    async def settle(self, *tenants: str) -> None:
        """Until nothing of theirs (of nobody's) waits."""
        shares = [self.shares[name] for name in tenants or self.shares]
        for _ in range(TURNS):
            if not any(share.queue for share in shares):
                return
            await self.turn()
        raise AssertionError("requests are left")

    async def until(self, count: int) -> None:
        """Until so many requests were handled."""
        for _ in range(TURNS):
            if len(self.handled) >= count:
                return
            await self.turn()
        raise AssertionError("requests are not handled")

    async def run(self, seconds: float) -> None:
        """Until so much time has passed."""
        end = self.now + seconds
        while self.now < end:
            await self.turn()
