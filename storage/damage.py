"""What the collection does about data that is damaged: it goes on past it, and comes back.

A damaged page is in one place, and a pass goes over those of all tenants. In a keyspace that is
ordered by tenant the damage is one tenant's, who is left alone for a while: nothing of it is
collected, and what comes due of it is put aside. In a keyspace that is ordered by time it is
everybody's: the pass looks for the nearest place behind that can be read, and passes the gap over
for a while.

    h   T1 T1 T2 ▒▒▒▒ T2 T3 T3            T1, T3: collected     T2: in ten minutes again
    e   10:T1 12:T3 ▒▒▒▒▒▒ 15:T1 …        probed: 12+1 ✗ +2 ✗ +4 ✓, and between the last two

What the lists name that cannot be read stays; it goes with a walk over its tenant's history, when
the tenant's window is made shorter or the tenant dropped.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dormouse.base.ids import TenantId
from storage.clock import TICKS_PER_SECOND
from storage.engines.interface import Engine, EngineDamaged, Page, ScanRange
from storage.failures import Failures
from storage.metrics import COLLECTION_DAMAGED

_log = logging.getLogger(__name__)
_RETRY_TICKS = 600 * TICKS_PER_SECOND
_GAPS_MAX = 100
_PLACES = 1 << 64


class Damaged:
    """Tenants that are left alone for a while, and gaps in the keyspaces that are everybody's."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._until: dict[TenantId, int] = {}
        self._gaps: dict[bytes, tuple[bytes, int]] = {}
        """Where one begins: where it ends, and until when it counts."""
        self._now = 0

    def __contains__(self, tenant: TenantId) -> bool:
        return tenant in self._until

    def __repr__(self) -> str:
        return f"<Damaged {list(self._until)} {len(self._gaps)} gaps>"

    def begin(self, now: int) -> None:
        """A pass begins: what has been left alone for long enough is tried again."""
        self._now = now
        for tenant in [each for each, until in self._until.items() if until <= now]:
            del self._until[tenant]
        for low in [each for each, (_, until) in self._gaps.items() if until <= now]:
            del self._gaps[low]

    def ended(self) -> None:
        """A pass is over."""
        COLLECTION_DAMAGED.set(len(self._until))

    def found(self, tenant: TenantId, error: EngineDamaged) -> None:
        """Something of this tenant cannot be read or removed."""
        self._until[tenant] = self._now + _RETRY_TICKS
        self._failures.failed(error)
        extra = {"tenant": int(tenant), "error": str(error)}
        _log.warning("a tenant with damaged data is not collected for a while", extra=extra)

    def pass_over(self, low: bytes, high: bytes, error: EngineDamaged) -> None:
        """What lies there, in a keyspace that is everybody's, cannot be read or removed."""
        if len(self._gaps) >= _GAPS_MAX:
            del self._gaps[next(iter(self._gaps))]
        self._gaps[low] = (high, self._now + _RETRY_TICKS)
        self._failures.failed(error)
        extra = {"low": low.hex(), "high": high.hex(), "error": str(error)}
        _log.warning("lists of what is to be collected are damaged", extra=extra)

    @contextmanager
    def sparing(self, tenant: TenantId) -> Iterator[None]:
        """Damage that is met inside is this tenant's; the rest of the block is left out."""
        try:
            yield
        except EngineDamaged as error:
            self.found(tenant, error)

    async def page_past(self, engine: Engine, wanted: ScanRange) -> Page:
        """The first rows of a range that can be read: fewer than are wanted, or from further
        behind, where there is damage. Raises EngineError for anything else."""
        start, rows_max = wanted.start, wanted.rows_max
        while (start := self._behind_gaps(start)) < wanted.end:
            end = min([low for low in self._gaps if start < low < wanted.end], default=wanted.end)
            try:
                [page] = await engine.scan([ScanRange(start, end, rows_max, wanted.bytes_max)])
            except EngineDamaged as error:
                if rows_max == 1:
                    behind = await _past(engine, start, end)
                    self.pass_over(start, behind, error)
                rows_max = max(rows_max // 4, 1)
                continue
            if page.rows or end == wanted.end:
                return page._replace(exhausted=page.exhausted and end == wanted.end)
            start = end
        return Page([], exhausted=True)

    def _behind_gaps(self, start: bytes) -> bytes:
        """`start`, or where the gaps end that it lies in."""
        for low, (high, _) in sorted(self._gaps.items()):
            if low <= start < high:
                start = high
        return start


async def _past(engine: Engine, start: bytes, end: bytes) -> bytes:
    """Where the range can be read again, `end` if nowhere: at most 128 probes. The places are the
    eight bytes behind the letter, of a time or a tenant."""
    letter, first = start[:1], int.from_bytes(start[1:9].ljust(8, b"\0"))

    async def reads(step: int) -> bool:
        place = letter + (first + step).to_bytes(8)
        try:
            await engine.scan([ScanRange(place, end, 1, 1)])
        except EngineDamaged:
            return False
        return True

    bad, good = 0, 1
    while not await reads(good):
        bad, good = good, good * 2
        if first + good >= _PLACES or letter + (first + good).to_bytes(8) >= end:
            return end
    while good - bad > 1:
        middle = (bad + good) // 2
        bad, good = (bad, middle) if await reads(middle) else (middle, good)
    return letter + (first + good).to_bytes(8)
