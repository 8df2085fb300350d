"""Waiting for locks, and for one's turn: the edge between pure tables and the event loop."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from storage.locks import LockTable, Outcome, Ticket
from storage.refusals import Refusal, engine_failed, transaction_ended
from storage.tenants import Party, Session, Tenant, Transaction, Wait


class InFlight:
    """A request that could not be answered at once."""

    __slots__ = ("cancelled", "id", "size", "task", "wait")

    def __init__(self, request_id: int, size: int) -> None:
        self.id = request_id
        self.size = size
        self.cancelled = False
        self.wait: Wait | None = None
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Wait for no lock and no turn any more, now or later."""
        self.cancelled = True
        if self.wait is not None:
            self.wait.fail(_cancelled())


class WorkingStream(Session, Protocol):
    """A session stream, which does what takes longer in tasks of its own."""

    def later(
        self, request: kv.Request, work: Callable[[InFlight], Coroutine[Any, Any, kv.Reply | None]]
    ) -> None:
        """Run `work` in a task; a reply it returns and a Refusal it raises are sent."""
        ...


def _cancelled() -> Refusal:
    return Refusal(kv.Error.CANCELLED, "the request was cancelled")


class LockWait:
    """One ticket and the future of who waits for it."""

    def __init__(self, locks: LockTable) -> None:
        self._locks = locks
        self.ticket: Ticket | None = None
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def grant(self) -> None:
        """The table gave the lock."""
        if not self.granted.done():
            self.granted.set_result(None)

    def fail(self, refusal: Refusal) -> None:
        """Give up; nothing happens where the lock was got already."""
        if not self.granted.done():
            self.granted.set_exception(refusal)
            self.withdraw()

    def withdraw(self) -> None:
        """Leave the queue."""
        if self.ticket is not None:
            self._locks.cancel(self.ticket)


class Sweeping:
    """Sweeps a table in the background, half of the time at most: the other half is for those who
    have something to ask."""

    def __init__(self, locks: LockTable) -> None:
        self._locks = locks
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Somebody has let go of locks."""
        if self._locks.unswept and (self._task is None or self._task.done()):
            self._task = spawn(self._run(), name="sweep of locks")

    async def close(self) -> None:
        """What is left is in memory only."""
        await cancel(self._task)

    async def _run(self) -> None:
        while self._locks.unswept:
            began = time.perf_counter()
            self._locks.sweep()
            await asyncio.sleep(time.perf_counter() - began)


def deadline_of(timeout_ms: int) -> float | None:
    """When a wait that begins now is over, on the loop's clock; None where there is no limit."""
    return asyncio.get_running_loop().time() + timeout_ms / 1000 if timeout_ms else None


async def lock(
    locks: LockTable,
    transaction: Transaction | Party,
    key: bytes,
    mode: int,
    *,
    request: InFlight,
    deadline: float | None = None,
) -> None:
    """Take a lock, waiting as long as it takes or until `deadline` on the loop's clock.

    Raises Refusal: DEADLOCK, LOCK_TIMEOUT, CANCELLED, TXN_ENDED.
    """
    if transaction.ended:
        raise transaction_ended()
    wait = LockWait(locks)
    outcome = locks.acquire(transaction, key, mode, wait.grant)
    if outcome is Outcome.DEADLOCK:
        raise Refusal(kv.Error.DEADLOCK, "waiting would close a circle", key=key)
    if not isinstance(outcome, Ticket):
        return
    wait.ticket = outcome
    if request.cancelled:
        wait.withdraw()
        raise _cancelled()
    request.wait = wait
    transaction.waits.add(wait)
    timer = None
    if deadline is not None:
        timeout = Refusal(kv.Error.LOCK_TIMEOUT, "the lock was not got in time", key=key)
        timer = asyncio.get_running_loop().call_at(deadline, wait.fail, timeout)
    try:
        await wait.granted
    finally:
        wait.withdraw()
        request.wait = None
        transaction.waits.discard(wait)
        if timer is not None:
            timer.cancel()
    if transaction.ended:
        raise transaction_ended()


class _TurnWait:
    """A commit's wait for a large one of its tenant."""

    def __init__(self, moved: "asyncio.Future[None]") -> None:
        self._moved = moved

    def fail(self, refusal: Refusal) -> None:
        """Give up."""
        if not self._moved.done():
            self._moved.set_exception(refusal)


async def await_turn(tenant: Tenant, transaction: Transaction, request: InFlight) -> None:
    """Wait until a large commit of the tenant is in its place, if there is one: all that follow are
    younger. There may be another one by the time the caller goes on.

    Raises Refusal: what that commit is stuck for just now; CANCELLED, TXN_ENDED.
    """
    rolling = tenant.rolling
    while rolling is not None and tenant.rolling is rolling:
        if rolling.failing is not None:
            raise engine_failed(rolling.failing)
        if request.cancelled:
            raise _cancelled()
        moved = rolling.moved()
        request.wait = wait = _TurnWait(moved)
        transaction.waits.add(wait)
        try:
            await moved
        finally:
            request.wait = None
            transaction.waits.discard(wait)
    if transaction.ended:
        raise transaction_ended()
