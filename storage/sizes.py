"""How much every tenant stores: measured now and then, told at once.

    commit, collection ──▶ changed ──▶ measure (one walk, on a reader's thread) ──▶ known
                             ▲                         │ rest for as long as it took
                             └── at start: all tenants ┘

A tenant's size is its current rows and the superseded versions that are still kept, keys and
values. Who did not change is not measured again, and asking costs a look into a dict, so reading
never wakes anybody and never touches the disk. The walk reads lengths and no values; pauses as long
as the walks leave the engine to the tenants at least half of the time.

A number may be `pause` old, and older while the walks take longer than that. After a start a tenant
is unknown until it has been measured: unknown is not nothing, and is left out of the answers.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from dormouse.base.ids import TenantId
from storage.engines.interface import Engine, EngineError, ScanRange, Write
from storage.layout import CATALOG_SPAN, stored_spans, tenant_of
from storage.metrics import SIZES_MEASURED

_log = logging.getLogger(__name__)
_PAGE_ROWS = 1000
_PAGE_BYTES = 1 << 20
_STORED = (ord("t"), ord("h"))


@dataclass(frozen=True, slots=True)
class Size:
    """What a tenant stores, as it was measured last."""

    tenant: TenantId
    bytes: int


class Sizes:
    """The sizes of a shard's tenants: about 200 bytes of memory for each that has data."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[TenantId, int] = {}
        self._changed: dict[TenantId, None] = {}

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
            await asyncio.sleep(pause_seconds)

    async def measure_changed(self) -> None:
        """Measure what has changed so far."""
        for tenant in list(self._changed):
            # What is written from here on may not be in the answer: it is a change of its own.
            del self._changed[tenant]
            began = time.monotonic()
            try:
                spans = [await self._engine.measure(*span) for span in stored_spans(tenant)]
            except BaseException:
                self._changed[tenant] = None
                raise
            self._known[tenant] = sum(span.bytes for span in spans)
            SIZES_MEASURED.inc()
            await asyncio.sleep(time.monotonic() - began)

    async def _find_all(self) -> None:
        start, end = CATALOG_SPAN
        while True:
            [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
            self._changed.update(dict.fromkeys(tenant_of(key) for key, _ in page.rows))
            if page.exhausted:
                return
            start = page.rows[-1][0] + b"\0"
