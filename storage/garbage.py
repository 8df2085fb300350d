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
A pass that finds nothing to do makes the next one come later. Damage is one tenant's affair, who
is left alone then (storage/damage.py).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_span
from storage.cache import VersionCache
from storage.clock import TICKS_PER_SECOND, HybridClock
from storage.committer import Committer
from storage.counters import Counters
from storage.damage import Damaged
from storage.engines.interface import Engine, EngineDamaged, EngineError, Row
from storage.failures import Failures
from storage.layout import (
    HELD_SPAN,
    HORIZON,
    TIME,
    Span,
    counter_key,
    due_lists,
    due_span,
    held_key,
    held_time,
    is_retired,
    next_tenant,
    split_ended,
    tenant_of,
    tenant_spans,
)
from storage.leftovers import Leftovers
from storage.metrics import COLLECTION_LAG, COLLECTION_SECONDS, OLDEST_PIN
from storage.remover import Remover, now, rest
from storage.sequences import Sequences
from storage.sweeps import Sweeps
from storage.tenants import Tenants
from storage.windows import Windows

_log = logging.getLogger(__name__)
_WALKED = 250
"""A pass over more lists has done some work."""
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
        failures: Failures,
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
        self._windows = windows
        self._hold = int(hold_seconds * TICKS_PER_SECOND)
        self._record_seconds = record_seconds
        self.horizon = horizon
        """The time of the last pass."""
        self._damaged = Damaged(failures)
        self._unfiled: set[TenantId] = set()
        """Of those that are left alone: whose lists cannot be put aside either."""
        self._remover = Remover(engine, committer, self._damaged)
        self.leftovers = Leftovers(committer, tenants, self._remover)
        self.sweeps = Sweeps(self._remover, windows, self.floor_of, self._drop_retired)

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
            idle = self._visible() == before and not removed and not self.sweeps.behind()
            wasteful = walked > _WALKED and removed * 4 < walked
            pauses = min(pauses * 2, _PAUSES_MAX) if idle or wasteful else 1

    async def collect(self) -> tuple[int, int]:
        """One pass over what is due; lists walked, and rows of history removed."""
        began = now()
        # Neither a clock that jumps back nor a longer window brings back what is gone.
        self.horizon = max(self.horizon, self._clock.now())
        self._remover.first = [(HORIZON, TIME.pack(self.horizon))]
        self._damaged.begin(self.horizon)
        self._unfiled = {tenant for tenant in self._unfiled if tenant in self._damaged}
        try:
            await self.leftovers.collect(self._clock.ago(self._record_seconds))
            swept = await self.sweeps.go_on()
            walked, removed = await self._collect_history()
        finally:
            self._damaged.ended()
        COLLECTION_SECONDS.set(now() - began)
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
        limit = max(self.floor_of(tenant), beyond)
        live = self._tenants.find(tenant)
        if live is not None and live.rolling is not None:
            return min(limit, live.rolling.time - 1)  # what all its readers see
        return limit

    def _let_go(self, tenant: TenantId, time: int) -> None:
        """Versions that were superseded at `time` go now, also those that a reader would need."""
        live = self._tenants.find(tenant)
        if live is not None and live.floor < time:
            live.floor = time
            _log.warning("a reader has held history for too long", extra={"tenant": int(tenant)})

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
            began = now()
            page = await self._remover.page_past_damage(start, end)
            going: list[Row] = []
            held: list[Row] = []
            for row in page.rows:
                _, tenant, time, _ = split_ended(row[0])
                if tenant not in limits:
                    limits[tenant] = self._limit_of(tenant)
                if time <= limits[tenant] and tenant not in self._damaged:
                    self._let_go(tenant, time)
                    going.append(row)
                else:
                    held.append(row)
            removed += await self._remove_due(going)
            held += [row for row in going if _lists_tenant(row) in self._damaged]
            await self._put_aside(held)
            walked += len(page.rows)
            if page.exhausted:
                COLLECTION_LAG.set(0)
                return walked, removed
            last = page.rows[-1][0]
            COLLECTION_LAG.set((self.horizon - split_ended(last)[0]) / TICKS_PER_SECOND)
            start = last + b"\0"
            await rest(began)

    async def _remove_due(self, lists: Sequence[Row]) -> int:
        """Remove what due lists name, and then the lists; how many keys were named. What is of
        tenants with damaged data stays."""
        try:
            return await self._remove_lists(lists)
        except EngineDamaged:
            removed = await self._remover.of_each(lists, _lists_tenant, self._remove_named)
        gone = [key for key, value in lists if _lists_tenant((key, value)) not in self._damaged]
        await self._remover.replace_shared([(key, None) for key in gone])
        return removed

    async def _put_aside(self, lists: Sequence[Row]) -> None:
        """File lists by tenant, where they are not met again in every pass."""
        lists = [row for row in lists if _lists_tenant(row) not in self._unfiled]
        filed: set[bytes] = set()

        async def file(some: Sequence[Row]) -> int:
            await self._committer.write([(_held(key), value) for key, value in some])
            filed.update(key for key, _ in some)
            return len(some)

        await self._remover.of_each(lists, _lists_tenant, file)
        self._unfiled |= {_lists_tenant(row) for row in lists if row[0] not in filed}
        await self._remover.replace_shared([(key, None) for key in filed])

    async def _collect_held(self) -> tuple[int, int]:
        """What was put aside and is not held any more. A tenant costs one small read."""
        walked = removed = 0
        start, end = HELD_SPAN
        while True:
            found = await self._remover.page_past_damage(start, end, 1)
            if not found.rows:
                return walked, removed
            first = found.rows[0][0]
            tenant = tenant_of(first)
            if tenant not in self._damaged:
                with self._damaged.sparing(tenant):
                    lists, rows = await self._collect_held_of(tenant, first)
                    walked, removed = walked + lists, removed + rows
            start = next_tenant(first)

    async def _collect_held_of(self, tenant: TenantId, first: bytes) -> tuple[int, int]:
        walked = removed = 0
        low, high = due_span(first, self._limit_of(tenant))
        while True:
            began = now()
            page = await self._remover.page(low, high)
            walked += max(len(page.rows), 1)
            if page.rows:
                self._let_go(tenant, held_time(page.rows[-1][0]))
            removed += await self._remove_lists(page.rows)
            await rest(began)
            if page.exhausted:
                return walked, removed
            low = page.rows[-1][0] + b"\0"

    async def _remove_lists(self, lists: Sequence[Row]) -> int:
        """Remove what each list names, and then the lists; how many keys were named."""
        dead = await self._loose_keys(lists)
        await self._remover.remove([*dead, *(key for key, _ in lists)], "history")
        return len(dead)

    async def _remove_named(self, lists: Sequence[Row]) -> int:
        dead = await self._loose_keys(lists)
        await self._remover.remove(dead, "history")
        return len(dead)

    async def _loose_keys(self, lists: Sequence[Row]) -> list[bytes]:
        """The keys that lists name, but for retired ranges, which are dropped."""
        dead: list[bytes] = []
        for _, value in lists:
            for each in blocks.unpack_present(value):
                if is_retired(each):
                    await self._drop_retired(each)
                else:
                    dead.append(each)
        return dead

    async def _drop_retired(self, key: bytes) -> None:
        [value] = await self._engine.get([key])
        if value is None:
            return  # with its tenant
        low, high = blocks.unpack_present(value)
        await self._drop_span((low, high), "retired")
        await self._drop_span((counter_key(low), counter_key(high)), "retired")
        self._forget_numbers(low, high)
        await self._remover.remove([key], "ranges")

    async def _drop_span(self, span: Span, kind: str) -> None:
        while True:
            began = now()
            keys, exhausted = await self._remover.keys(*span)
            await self._remover.remove(keys, kind)
            self._cache.forget(keys)
            if exhausted:
                return
            await rest(began)


def _held(key: bytes) -> bytes:
    """Where a due list is put aside."""
    _, tenant, time, number = split_ended(key)
    return held_key(tenant, time, number)


def _lists_tenant(row: Row) -> TenantId:
    return split_ended(row[0])[1]
