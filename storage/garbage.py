"""Garbage collection: what is due of history, records and retired ranges, never current data.

Per tenant there is a floor: the oldest snapshot that may still be read. It is where the tenant's
recovery window begins (storage/windows.py), or at an older pin. The floor is raised first and rows
go afterwards, so no read is ever answered from a history with holes. Floors live in memory and
follow from the *horizon*, the time of the last pass: the batch that is the first to remove
something in a pass carries it, so after a start everything younger is readable again. A pass that
removes nothing writes nothing.

    superseded versions   go when their life ended at or before the floor, and with them what is
                          written of removals
    retired ranges        go, with their current versions, when the floor has reached the commit
                          that retired them
    transaction records   go by age alone

Every group of commits leaves, of each tenant, a list of what it superseded and retired, filed for
the time at which it can go. A pass reads the lists that have come due and nothing else, however
long history is kept and however many tenants there are. What a reader still holds then, or a window
that was made longer, is put aside, by tenant, so that it is not met again in every pass. Where a
window was made shorter, the tenant's history is walked once, and its lists find nothing later.

    e  10:T1  12:T2  13:T1 ┊ 15:T2  17:T1 …            T2 is held by a reader
       └gone   │     └gone ┊ now 14
    w          └▶ T2:12 … until T2's floor has reached its time

How long readers may hold a tenant's history back beyond its window is bounded; a reader that takes
longer is told that its snapshot is too old.

Every step is one small page and one batch in the group commit, and after each the collector rests
for as long as the step took: reads and commits of tenants have at least half of the engine.
A pass that finds nothing to do makes the next one come later.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_span
from storage.cache import VersionCache
from storage.clock import TICKS_PER_SECOND, HybridClock
from storage.committer import Committer, Submission
from storage.counters import Counters
from storage.engines.interface import Engine, EngineError, Page, Row, ScanRange, Write
from storage.layout import (
    HELD_SPAN,
    HORIZON,
    RECORD_AGE_SPAN,
    TIME,
    Span,
    counter_key,
    due_lists,
    due_span,
    ended_at,
    fence_key,
    held_key,
    held_time,
    is_retired,
    next_tenant,
    record_age_time,
    split_ended,
    split_record_list,
    staged_key,
    tenant_of,
    tenant_spans,
)
from storage.metrics import COLLECTED, COLLECTION_LAG, COLLECTION_SECONDS, OLDEST_PIN
from storage.sequences import Sequences
from storage.tenants import Tenants, Transaction
from storage.windows import Windows

_log = logging.getLogger(__name__)
_PAGE_ROWS = 250
_PAGE_BYTES = 256 << 10
_REMOVED_AT_ONCE = 500
"""Keys that one durable write removes."""
_REST_SECONDS_MAX = 0.1
_PIECES_AT_ONCE = 1000
"""Parts of staged pieces, 8 KiB each: their removal takes as much of the log again."""
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
        windows: Windows,
        *,
        visible: Callable[[], int],
        horizon: int,
        hold_seconds: float,
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
        self._windows = windows
        self._hold = int(hold_seconds * TICKS_PER_SECOND)
        self._record_seconds = record_seconds
        self.horizon = horizon
        """The time of the last pass."""
        self._shorter: dict[TenantId, None] = {}
        self._unwritten: list[Write] = []
        """The pass's horizon, until it is durable."""

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
        """One pass over what is due; lists walked, and rows of history removed."""
        began = _time()
        # Neither a clock that jumps back nor a longer window brings back what is gone.
        self.horizon = max(self.horizon, self._clock.now())
        self._unwritten = [(HORIZON, TIME.pack(self.horizon))]
        await self._drop_undropped()
        await self._collect_records(self._clock.ago(self._record_seconds))
        swept = await self._sweep()
        walked, removed = await self._collect_history()
        COLLECTION_SECONDS.set(_time() - began)
        OLDEST_PIN.set(self._tenants.oldest_pin(self._visible()) / TICKS_PER_SECOND)
        return walked, removed + swept

    def floor_of(self, tenant: TenantId) -> int:
        """Raise a tenant's floor as far as its window and its readers allow; versions superseded at
        or before the answer can go."""
        floor = self._windows.floor(tenant, self.horizon, self._visible())
        live = self._tenants.find(tenant)
        return floor if live is None else live.raise_floor(floor)

    def _limit_of(self, tenant: TenantId) -> int:
        """The versions superseded up to then go: nobody needs them, or they have been held for as
        long as readers may."""
        beyond = self.horizon - self._windows.of(tenant) - self._hold
        return max(self.floor_of(tenant), beyond)

    def _let_go(self, tenant: TenantId, time: int) -> None:
        """Versions that were superseded at `time` go now, also those that a reader would need."""
        live = self._tenants.find(tenant)
        if live is not None and live.floor < time:
            live.floor = time
            _log.warning("a reader has held history for too long", extra={"tenant": int(tenant)})

    def shortened(self, tenants: Iterable[TenantId]) -> None:
        """The windows of these are shorter now: what they no longer keep goes with the next
        pass."""
        self._shorter.update(dict.fromkeys(tenants))

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

    async def _collect_history(self) -> tuple[int, int]:
        """The lists that are due: what they name is removed, or put aside where it is held."""
        walked, removed = await self._collect_held()
        limits: dict[TenantId, int] = {}
        start, end = due_lists(self.horizon)
        while True:
            began = _time()
            page = await self._page(start, end)
            going: list[Row] = []
            held: list[Write] = []
            for key, value in page.rows:
                _, tenant, time, number = split_ended(key)
                if tenant not in limits:
                    limits[tenant] = self._limit_of(tenant)
                if time <= limits[tenant]:
                    self._let_go(tenant, time)
                    going.append((key, value))
                else:
                    held += [(held_key(tenant, time, number), value), (key, None)]
            removed += await self._remove_lists(going)
            if held:
                await self._committer.write(held)
            walked += len(page.rows)
            if page.exhausted:
                COLLECTION_LAG.set(0)
                return walked, removed
            last = page.rows[-1][0]
            COLLECTION_LAG.set((self.horizon - split_ended(last)[0]) / TICKS_PER_SECOND)
            start = last + b"\0"
            await _rest(began)

    async def _collect_held(self) -> tuple[int, int]:
        """What was put aside and is not held any more. A tenant costs one small read."""
        walked = removed = 0
        start, end = HELD_SPAN
        while True:
            [found] = await self._engine.scan([ScanRange(start, end, 1, 1)])
            if not found.rows:
                return walked, removed
            first = found.rows[0][0]
            tenant = tenant_of(first)
            low, high = due_span(first, self._limit_of(tenant))
            while True:
                began = _time()
                page = await self._page(low, high)
                walked += max(len(page.rows), 1)
                if page.rows:
                    self._let_go(tenant, held_time(page.rows[-1][0]))
                removed += await self._remove_lists(page.rows)
                await _rest(began)
                if page.exhausted:
                    break
                low = page.rows[-1][0] + b"\0"
            start = next_tenant(first)

    async def _remove_lists(self, rows: list[Row]) -> int:
        """Remove what each list names, and then the list; how many keys were named."""
        dead: list[Write] = []
        for key, value in rows:
            for each in blocks.unpack_present(value):
                if is_retired(each):
                    await self._drop_retired(each)
                else:
                    dead.append((each, None))
            dead.append((key, None))
        await self._remove_all(dead)
        return len(dead) - len(rows)

    async def _remove_all(self, dead: list[Write]) -> None:
        for at in range(0, len(dead), _REMOVED_AT_ONCE):
            began = _time()
            await self._remove(dead[at : at + _REMOVED_AT_ONCE], "history")
            if at + _REMOVED_AT_ONCE < len(dead):
                await _rest(began)

    async def _sweep(self) -> int:
        """Walk the history of tenants whose window has become shorter; rows removed."""
        removed = 0
        for tenant in list(self._shorter):
            floor = self.floor_of(tenant)
            for span in tenant_spans(tenant, b"hdr"):
                removed += await self._sweep_span(span, floor)
            self._shorter.pop(tenant, None)
        return removed

    async def _sweep_span(self, span: Span, floor: int) -> int:
        removed = 0
        start, end = span
        while True:
            began = _time()
            page = await self._page(start, end)
            dead: list[Write] = [
                (key, None) for key, value in page.rows if ended_at(key, value) <= floor
            ]
            if is_retired(start):
                for key, _ in dead:
                    await self._drop_retired(key)
            else:
                await self._remove_all(dead)
            removed += len(dead)
            if page.exhausted:
                return removed
            start = page.rows[-1][0] + b"\0"
            await _rest(began)

    async def _drop_retired(self, key: bytes) -> None:
        [value] = await self._engine.get([key])
        if value is None:
            return  # with its tenant
        low, high = blocks.unpack_present(value)
        await self._drop_span((low, high), "retired")
        await self._drop_span((counter_key(low), counter_key(high)), "retired")
        self._forget_numbers(low, high)
        await self._remove([(key, None)], "ranges")

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
            await self._committer.write([*self._unwritten, *dead])
            self._unwritten = []
            COLLECTED.labels(kind).inc(len(dead))

    async def _page(self, start: bytes, end: bytes) -> Page:
        [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
        return page


async def _rest(began: float) -> None:
    """Leave the engine to others for as long as the step since `began` has had it."""
    await asyncio.sleep(min(_time() - began, _REST_SECONDS_MAX))


def _time() -> float:
    return asyncio.get_running_loop().time()
