"""Checkpoints beside the writer: from SQLite's log into its file, while commits go on.

Left to itself SQLite does this inside a COMMIT, as soon as the log has 1000 pages: every few groups
one of them copies 4 MB and syncs twice, and all tenants wait for it. Here a thread of its own
copies small pieces; a commit then shares the disk with a piece, instead of waiting for all of it.
A piece begins while the writer rests, if it does soon: who has waited for a large group is not to
wait at the disk for that group's pages as well. And it is told (`Upkeep`), so that storage may keep
back who filled the log (storage/admission.py).

    writer   ─c──c──c──c──c──c──c──c──c─┐  ┌─c──c──▶        c: a group of commits
    beside     ─copy─   ─copy─   ─copy─ │  │                a rest: what was written meanwhile
    between                             └a ┘rest            now the log begins anew

A log begins anew only once all of it is copied, which it never is while the writer goes on. So when
it is long, the writer makes room for one last piece: what was written during the piece before.

What does not go well is tried again with the next piece. Until then the log grows, as it does while
somebody reads it for long.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from storage.engines.interface import EngineError, Upkeep
from storage.metrics import CHECKPOINTS

PAGES = 50
"""In the log, about, before there is something to copy. A commit that comes meanwhile waits at the
disk behind the piece: 0.5 ms, and 20 µs for each page."""
PAUSE_SECONDS = 0.008
"""Between two pieces: what comes meanwhile is copied together."""
LOG_PAGES_MAX = 12_288
"""48 MB: then the log is to begin anew, and everybody waits for some milliseconds. What a crash
leaves of it is written once more at the next start."""
REST_PAGES_MAX = 1024
"""More than this the writer does not wait for."""

_log = logging.getLogger(__name__)
Copy = Callable[[], Awaitable[tuple[int, int]]]
"""Copies what it can; pages in the log, and how many of them are copied."""


class Checkpoints:
    """When to copy, and how; the engine owns the task of `run` and does the copying."""

    def __init__(self, beside: Copy, between: Copy, rest: Callable[[], Awaitable[None]]) -> None:
        """`beside` copies while the writer goes on, `between` while it waits; `rest` returns when
        the writer rests, or soon."""
        self._rest = rest
        self._beside = beside
        self._between = between
        self._pages = 0
        self._due = asyncio.Event()
        self.upkeep: Upkeep | None = None
        """Hears of every piece."""

    def __repr__(self) -> str:
        return f"<Checkpoints {self._pages} pages>"

    def wrote(self, pages: int) -> None:
        """So many pages more are in the log, about."""
        self._pages += pages
        if self._pages >= PAGES:
            self._due.set()

    async def run(self) -> None:
        """Copy whenever there is enough, for ever."""
        while True:
            await self._due.wait()
            self._due.clear()
            self._pages = 0
            try:
                await self._copy_piece()
                CHECKPOINTS.labels("done").inc()
            except EngineError as error:
                CHECKPOINTS.labels("failed").inc()
                _log.warning("a checkpoint failed and will be tried again", exc_info=error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _copy_piece(self) -> None:
        upkeep, started = self.upkeep, time.perf_counter()
        if upkeep is not None:
            upkeep.copying()
        try:
            # Whoever waited for the group of before is not to wait for its pages as well.
            await self._rest()
            started = time.perf_counter()
            await self._copy()
        finally:
            if upkeep is not None:
                upkeep.copied(time.perf_counter() - started)

    async def _copy(self) -> None:
        pages, copied = await self._beside()
        if pages >= LOG_PAGES_MAX and pages - copied <= REST_PAGES_MAX:
            await self._between()
