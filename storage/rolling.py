"""A commit that has happened and is not in its place yet: what others of its tenant know of it.

    T ─ marker ──▶ ▓▓▓▓▓▓▓░░░░░░ ──▶ in its place
        │  snapshots of the tenant: T - 1        │ from here on newer ones
        │  commits of the tenant: wait ──────────▶ go on

There is one of a tenant at most, for whoever wants to be the next waits. The work is done in
storage/rollforward.py.
"""

import asyncio

from storage.engines.interface import EngineError


class Rolling:
    """One such commit, from the moment it has its time."""

    __slots__ = ("_waiting", "failing", "restarted", "time")

    def __init__(self, time: int, *, restarted: bool) -> None:
        self.time = time
        self.restarted = restarted
        """It began in a process that has died: nothing holds the locks of its keys."""
        self.failing: EngineError | None = None
        """Why it does not go on just now; it is tried again."""
        self._waiting: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        state = "stuck" if self.failing else "going on"
        return f"<Rolling {self.time} {state}, {len(self._waiting)} wait>"

    def moved(self) -> asyncio.Future[None]:
        """Done when it is over, or has failed for now; to be cancelled or awaited."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def wake(self) -> None:
        """Let all who wait look again, in the order in which they came."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
