"""Garbage collection: walks history, records and retired ranges, never current data.

Per tenant there is a floor: the oldest snapshot that may still be read. It rises to the shard's
newest commit (less the history that is kept on purpose), but never past a pin. The floor is raised
first and rows go afterwards, so no read is ever answered from a history with holes.

    superseded versions   go when their life ended at or before the floor
    retired ranges        go, with their current versions, when the floor has reached the commit
                          that retired them
    transaction records   go by age alone

Every step is one small page and one batch in the group commit, and after each the collector rests
for as long as the step took: reads and commits of tenants have at least half of the engine.
A pass that finds little to remove makes the next one come later: a snapshot held for hours must
not have its history walked every second.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_span
from storage.cache import VersionCache
from storage.clock import HybridClock
from storage.committer import Committer, Submission
from storage.counters import Counters
from storage.engines.interface import Engine, EngineError, Page, ScanRange, Write
from storage.layout import (
    HISTORY_SPAN,
    RECORD_AGE_SPAN,
    RETIRED_SPAN,
    Span,
    counter_key,
    fence_key,
    record_age_time,
    split_record_list,
    split_retired,
    staged_key,
    tenant_of,
    tenant_spans,
    time_of,
)
from storage.metrics import COLLECTED
from storage.sequences import Sequences
from storage.tenants import Tenants, Transaction

_log = logging.getLogger(__name__)
_PAGE_ROWS = 250
_PAGE_BYTES = 4 << 20
_REST_SECONDS_MAX = 0.1
_PIECES_AT_ONCE = 16
"""Staged pieces of up to a few MiB: their removal takes as much of the log again."""
_PAUSES_MAX = 60
"""A pass comes at the latest after this many pauses."""


class Collector:
    """Removes what nobody can read any more."""

    def __init__(
        self,
        engine: Engine,
        committer: Committer,
        cache: VersionCache,
        numbers: tuple[Counters, Sequences],
        tenants: Tenants,
        clock: HybridClock,
        *,
        visible: Callable[[], int],
        history_seconds: float,
        record_seconds: float,
    ) -> None:
        self._engine = engine
        self._committer = committer
        self._cache = cache
        self._numbers = numbers
        self._tenants = tenants
        self._clock = clock
        self._visible = visible
        self._undropped: deque[bytes] = deque()
        """Staged pieces that are still there, for the disk was full when they were to go."""
        self._history_seconds = history_seconds
        self._record_seconds = record_seconds

    async def run(self, pause_seconds: float) -> None:
        """Collect for ever, with pauses between the passes."""
        pauses = 1
        while True:
            await asyncio.sleep(pause_seconds * pauses)
            before = self._visible()
            try:
                walked, removed = await self.collect()
            except EngineError:
                _log.exception("garbage collection failed and will be tried again")
                walked, removed = 1, 0
            idle = self._visible() == before and not removed
            wasteful = walked > _PAGE_ROWS and removed * 4 < walked
            pauses = min(pauses * 2, _PAUSES_MAX) if idle or wasteful else 1

    async def collect(self) -> tuple[int, int]:
        """One pass over everything; how many rows of history were walked and removed."""
        horizon = self._visible()
        if self._history_seconds:
            horizon = min(horizon, self._clock.ago(self._history_seconds))
        await self._drop_undropped()
        await self._collect_retired(horizon)
        await self._collect_records(self._clock.ago(self._record_seconds))
        return await self._collect_history(horizon)

    def drop_staged(self, transaction: Transaction) -> None:
        """Remove the staged pieces of a transaction that ended, in the background."""
        tenant, pod, number = transaction.tenant.id, transaction.pod, transaction.number
        keys = [staged_key(tenant, pod, number, piece) for piece in range(transaction.pieces)]
        transaction.pieces = 0

        def done(error: EngineError | None) -> None:
            if error is not None:
                self._undropped.extend(keys)

        try:
            self._committer.submit(Submission([(key, None) for key in keys], done))
        except EngineError as error:
            done(error)

    async def _drop_undropped(self) -> None:
        while self._undropped:
            some = list(islice(self._undropped, _PIECES_AT_ONCE))
            await self._committer.write([(key, None) for key in some])
            for _ in some:
                self._undropped.popleft()

    async def drop_tenant(self, tenant: TenantId) -> None:
        """Remove everything of a tenant."""
        for span in tenant_spans(tenant):
            await self._drop_span(span, "dropped")
        self._forget_numbers(*tenant_span(tenant))

    def _forget_numbers(self, start: bytes, end: bytes) -> None:
        for each in self._numbers:
            each.forget(start, end)

    async def _collect_history(self, horizon: int) -> tuple[int, int]:
        walked = removed = 0
        floors: dict[TenantId, int] = {}
        start, end = HISTORY_SPAN
        while True:
            began = _time()
            page = await self._page(start, end)
            dead: list[Write] = []
            for key, value in page.rows:
                tenant = tenant_of(key)
                if tenant not in floors:
                    floors[tenant] = self._tenants.floor_of(tenant, horizon)
                if time_of(value) <= floors[tenant]:
                    dead.append((key, None))
            await self._remove(dead, "history")
            walked += len(page.rows)
            removed += len(dead)
            if page.exhausted:
                return walked, removed
            start = page.rows[-1][0] + b"\0"
            await _rest(began)

    async def _collect_retired(self, horizon: int) -> None:
        start, end = RETIRED_SPAN
        page = await self._page(start, end)
        for key, value in page.rows:
            tenant, time = split_retired(key)
            if self._tenants.floor_of(tenant, horizon) < time:
                continue
            low, high = blocks.unpack_present(value)
            await self._drop_span((low, high), "retired")
            await self._drop_span((counter_key(low), counter_key(high)), "retired")
            self._forget_numbers(low, high)
            await self._committer.write([(key, None)])

    async def _collect_records(self, before: int) -> None:
        start, end = RECORD_AGE_SPAN
        while True:
            began = _time()
            page = await self._page(start, end)
            old = [row for row in page.rows if record_age_time(row[0]) < before]
            dead: list[Write] = [(record, None) for _, v in old for record in split_record_list(v)]
            await self._remove(dead + [(key, None) for key, _ in old], "records")
            if page.exhausted or len(old) < len(page.rows):
                break
            await _rest(began)
        for tenant, fences in list(self._tenants.fences.items()):
            stale = [name for name, since in fences.items() if since < before]
            await self._remove([(fence_key(tenant, *name), None) for name in stale], "fences")
            for name in stale:
                del fences[name]

    async def _drop_span(self, span: Span, kind: str) -> None:
        while True:
            began = _time()
            page = await self._page(*span)
            await self._remove([(key, None) for key, _ in page.rows], kind)
            self._cache.forget([key for key, _ in page.rows])
            if page.exhausted:
                return
            await _rest(began)

    async def _remove(self, dead: Sequence[Write], kind: str) -> None:
        if dead:
            await self._committer.write(dead)
            COLLECTED.labels(kind).inc(len(dead))

    async def _page(self, start: bytes, end: bytes) -> Page:
        [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
        return page


async def _rest(began: float) -> None:
    """Leave the engine to others for as long as the step since `began` has had it."""
    await asyncio.sleep(min(_time() - began, _REST_SECONDS_MAX))


def _time() -> float:
    return asyncio.get_running_loop().time()
