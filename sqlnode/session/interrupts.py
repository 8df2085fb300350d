"""Ways to stop a statement: cancel request, time-outs, the end of the session or of the pod.

A running statement meets an interrupt in one of two places: at a checkpoint between batches, or
while it waits (for storage, for a lock, for a slow client), where its task is cancelled and the
cancellation turned back into the error that caused it:

    cancel_requested ──▶ pending error ──▶ task.cancel() ──▶ CancelledError in the wait
                                                                 └─ `cause` ──▶ SqlError 57014

A commit that has been sent is not interrupted: its outcome would be unknown. `shielded` marks it.
It is asked to give up instead, which it can do as long as it waits for a lock, and says whether it
did. Where it did not, a cancel was too late and is forgotten; the end of the session is met next.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dormouse.base.clock import Clock
from sqlnode.errors import SqlError

if TYPE_CHECKING:
    from sqlnode.session.budget import Budget


class SessionEnded(Exception):
    """The session must end; `error`, if any, is what the client is told (FATAL)."""

    def __init__(self, error: SqlError | None) -> None:
        super().__init__(str(error) if error is not None else "client gone")
        self.error = error


class SessionInterrupts:
    """The interrupts of one session; an `execute.api.Interrupts`."""

    def __init__(self, clock: Clock, slice_seconds: float) -> None:
        self._clock = clock
        self._slice_seconds = slice_seconds
        self._slice_end = 0.0
        self._pending: SqlError | SessionEnded | None = None
        self._running = False
        self._waits = False
        self._shielded = False
        self._give_up: Callable[[], None] | None = None
        self._cancelling = False
        self._timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        """The session's task."""
        self.budget: Budget | None = None
        """What a statement that runs may spend."""

    def begin(self, timeout_ms: int) -> None:
        """A statement runs from here: it can be cancelled, and has `timeout_ms` (0: no limit)."""
        self._running = True
        self._slice_end = self._clock.monotonic() + self._slice_seconds
        if timeout_ms:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout_ms / 1000, self._statement_timeout)

    def end(self) -> None:
        """The statement is over; a cancel that came too late for it is forgotten."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if isinstance(self._pending, SqlError):
            self.cause()

    def wait(self) -> None:
        """The session waits for its client from here: only its end interrupts it.

        Raises SessionEnded where it was told to end before.
        """
        self.check_end()
        self._waits = True

    @property
    def waits(self) -> bool:
        """Whether the session waits for its client."""
        return self._waits

    def waited(self) -> None:
        """The client has sent something."""
        self._waits = False

    @contextmanager
    def shielded(self, give_up: Callable[[], None]) -> Iterator[None]:
        """What runs here is not interrupted, but asked to `give_up` with 57014."""
        self._shielded, self._give_up = True, give_up
        try:
            yield
        except SqlError as error:
            if error.sqlstate == "57014" and isinstance(self._pending, SqlError):
                raise self._pending from None
            raise
        finally:
            self._shielded, self._give_up = False, None
            if isinstance(self._pending, SqlError):
                self._pending = None

    async def checkpoint(self) -> None:
        """See `execute.api.Interrupts.checkpoint`."""
        if self._pending is not None and not self._shielded:
            error = self.cause()
            if error is not None:
                raise error
        if self.budget is not None and self.budget.spending.limited:
            await self.budget.checkpoint()
        if self._clock.monotonic() >= self._slice_end:
            await asyncio.sleep(0)
            self._slice_end = self._clock.monotonic() + self._slice_seconds

    def cancel_requested(self) -> None:
        """A CancelRequest with the right secret; does nothing where no statement runs."""
        self._interrupt(SqlError("57014", "canceling statement due to user request"))

    def _statement_timeout(self) -> None:
        self._interrupt(SqlError("57014", "canceling statement due to statement timeout"))

    def _interrupt(self, error: SqlError) -> None:
        if self._running and self._pending is None:
            self._pending = error
            self._stop()

    def end_session(self, error: SqlError | None) -> None:
        """End the session as soon as it can be: at once if it waits for its client."""
        self._pending = SessionEnded(error)
        if self._running or self._waits:
            self._stop()

    def _stop(self) -> None:
        if not self._shielded:
            self._cancel_task()
        elif self._give_up is not None:
            self._give_up()

    def _cancel_task(self) -> None:
        if self.task is not None and not self.task.done() and not self._cancelling:
            self._cancelling = True
            self.task.cancel()

    def check_end(self) -> None:
        """Raises SessionEnded where the session was told to end meanwhile."""
        if isinstance(self._pending, SessionEnded):
            error = self.cause()
            if error is not None:
                raise error

    def cause(self) -> SqlError | SessionEnded | None:
        """What interrupted the session; takes back the cancellation of its task. An error of a
        statement is forgotten by this, the end of the session is not."""
        error = self._pending
        if isinstance(error, SqlError):
            self._pending = None
        if self._cancelling and self.task is not None:
            self._cancelling = False
            self.task.uncancel()
        return error
