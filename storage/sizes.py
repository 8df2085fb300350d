"""How much every tenant stores: measured now and then, told at once.

    commit, collection ──▶ changed ──▶ measure (one walk, on a reader's thread) ──▶ known
                             ▲                         │ rest for as long as it took
                             └── at start: all tenants ┘

A tenant's size is its current rows and the superseded versions that are still kept, keys and
values. Who did not change is not measured again, and asking costs a look into a dict, so reading
never wakes anybody and never touches the disk. The walk reads lengths and no values; pauses as long
as the walks leave the engine to the tenants at least half of the time.

History may be far larger than the rows, and changes with every commit. So it is walked so seldom
that it takes a twentieth of the time at most; in between its last size stands.

A number may be `pause` old, and older while the walks take longer than that. After a start a tenant
is unknown until it has been measured: unknown is not nothing, and is left out of the answers.

What a tenant may still write is judged by its *current* rows (storage/quotas.py), without what it
has dropped or truncated and only its last readers still see. Of those a walk is followed by what
each commit adds and takes away, which a commit knows, for it has looked at what it supersedes:

    walk ───▶ 40 KiB   + 3   + 1   - 7   + 2  …        walk ───▶ 39 KiB   …
              │ commits ─┴─────┴─────┴─────┘           │

Between two walks the estimate is exact, but for a key that comes more than once among the staged
writes of one transaction, which counts each time; and a commit that is on its way to the disk when
a walk begins may count twice or not at all. Either lasts until the next walk, and a tenant that was
written to is walked again. Ranges that are given up have no size before somebody counts them: that
is a reason to walk at once.
"""

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from storage.engines.interface import Engine, EngineError, Measure, ScanRange, Write
from storage.layout import CATALOG_SPAN, Span, retired_span, stored_spans, tenant_of
from storage.metrics import HISTORY_BYTES, HISTORY_ROWS, SIZES_MEASURED

_log = logging.getLogger(__name__)
_PAGE_ROWS = 1000
_PAGE_BYTES = 1 << 20
_SHORT_WALK_SECONDS = 0.1
"""A history that is walked as fast is walked every time."""
_HISTORY_RESTS = 20
"""A longer walk is followed by as many times its length without one."""
_NOTHING = Measure(0, 0)
_STORED = frozenset(b"thd")


@dataclass(frozen=True, slots=True)
class Size:
    """What a tenant stores, as it was measured last."""

    tenant: TenantId
    bytes: int


class Sizes:
    """The sizes of a shard's tenants: about 300 bytes of memory for each that has data."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[TenantId, int] = {}
        self._current: dict[TenantId, int] = {}
        self._history: dict[TenantId, Measure] = {}
        self._history_due: dict[TenantId, float] = {}
        """When the history of a tenant may be walked again; of those that wait for it, or soon
        might."""
        self._changed: dict[TenantId, None] = {}
        self._urgent: dict[TenantId, None] = {}
        self._wake = asyncio.Event()
        self._walking: TenantId | None = None
        self._grown = 0
        """By how much the tenant has grown that is being walked over."""

    def __repr__(self) -> str:
        return f"<Sizes known={len(self._known)} changed={len(self._changed)}>"

    def committed(self, record: bytes) -> None:
        """The transaction of this record (storage.layout) is durable now."""
        self._changed[tenant_of(record)] = None

    def wrote(self, writes: Iterable[Write]) -> None:
        """These writes of no transaction are durable now."""
        last = b""
        for key, _ in writes:
            if key[0] in _STORED and key[1:9] != last:
                last = key[1:9]
                self._changed[tenant_of(key)] = None

    def grew(self, tenant: TenantId, growth: int) -> None:
        """A commit of a tenant with a quota adds so many bytes of current rows, or takes them."""
        if tenant in self._current:
            self._current[tenant] += growth
        if tenant == self._walking:
            self._grown += growth

    def needed(self, tenant: TenantId, *, anew: bool = False) -> None:
        """The current size of a tenant is wanted soon; `anew`: also where there is an estimate."""
        if anew or tenant not in self._current:
            self._urgent[tenant] = None
            self._wake.set()

    def current(self, tenant: TenantId) -> int | None:
        """Bytes of a tenant's current rows by the estimate; None: not measured yet."""
        return self._current.get(tenant)

    def forget(self, tenant: TenantId) -> None:
        """The tenant's rows are gone."""
        self._current.pop(tenant, None)
        self._changed[tenant] = None

    def forget_estimates(self) -> None:
        """Current sizes were not kept up: they are to be measured."""
        self._changed.update(dict.fromkeys(self._current))
        self._current.clear()

    def page(self, *, after: int, limit: int) -> list[Size]:
        """What is known of tenants with ids above `after`, the first `limit` of them by id."""
        numbers = sorted(number for number in self._known if number > after)
        return [Size(number, self._known[number]) for number in numbers[:limit]]

    async def run(self, pause_seconds: float) -> None:
        """Measure for ever whatever has changed."""
        found = False
        while True:
            try:
                if not found:
                    await self._find_all()
                    found = True
                await self.measure_changed()
            except EngineError:
                _log.exception("sizes could not be measured and will be tried again")
            await self._pause(pause_seconds)

    async def _pause(self, seconds: float) -> None:
        """Between two rounds; those that are urgent are measured meanwhile."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
                await self.measure_urgent()
            except TimeoutError:
                return
            except EngineError:
                _log.exception("a size could not be measured and will be tried again")
                await asyncio.sleep(max(end - loop.time(), 0))

    async def measure_changed(self) -> None:
        """Measure what has changed so far."""
        now = time.monotonic()
        for tenant in [each for each, due in self._history_due.items() if due <= now]:
            del self._history_due[tenant]
            self._changed[tenant] = None
        for tenant in list(self._changed):
            await self.measure_urgent()
            if tenant in self._changed:
                await self._measure(tenant)

    async def measure_urgent(self) -> None:
        """Measure what somebody waits for."""
        self._wake.clear()
        while self._urgent:
            tenant = next(iter(self._urgent))
            del self._urgent[tenant]
            await self._measure(tenant)

    async def _measure(self, tenant: TenantId) -> None:
        # What is written from here on may not be in the answer: it is a change of its own.
        self._changed.pop(tenant, None)
        began = time.monotonic()
        self._walking, self._grown = tenant, 0
        try:
            rows, *past = stored_spans(tenant)
            current = await self._engine.measure(*rows)
            given_up = await self._retired(tenant)
            history = await self._past(tenant, past)
        except BaseException:
            self._changed[tenant] = None
            raise
        finally:
            self._walking = None
        self._known[tenant] = current.bytes + history.bytes
        self._current[tenant] = current.bytes - given_up + self._grown
        SIZES_MEASURED.inc()
        await asyncio.sleep(time.monotonic() - began)

    async def _past(self, tenant: TenantId, spans: Sequence[Span]) -> Measure:
        """The size of a tenant's history, which is not walked every time."""
        before = self._history.get(tenant, _NOTHING)
        if tenant in self._history_due:
            return before
        began = time.monotonic()
        found = [await self._engine.measure(*span) for span in spans]
        now = Measure(found[0].keys, sum(each.bytes for each in found))
        HISTORY_ROWS.inc(now.keys - before.keys)
        HISTORY_BYTES.inc(now.bytes - before.bytes)
        if now.keys:
            self._history[tenant] = now
        else:
            self._history.pop(tenant, None)
        ended = time.monotonic()
        if ended - began > _SHORT_WALK_SECONDS:
            self._history_due[tenant] = ended + (ended - began) * _HISTORY_RESTS
        return now

    async def _retired(self, tenant: TenantId) -> int:
        """Bytes of current rows in ranges that were given up."""
        start, end = retired_span(tenant)
        size = 0
        while True:
            [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
            for _, value in page.rows:
                low, high = blocks.unpack_present(value)
                size += (await self._engine.measure(low, high)).bytes
            if page.exhausted:
                return size
            start = page.rows[-1][0] + b"\0"

    async def _find_all(self) -> None:
        start, end = CATALOG_SPAN
        while True:
            [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
            self._changed.update(dict.fromkeys(tenant_of(key) for key, _ in page.rows))
            if page.exhausted:
                return
            start = page.rows[-1][0] + b"\0"
