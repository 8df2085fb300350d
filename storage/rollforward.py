"""A commit that is too large for one write of the disk, brought into its place bit by bit.

The engine has one writer. One batch that turns a load of 100 MB into versions would keep it for
seconds, and the commits of all tenants waiting. So the commit is a small write of its own, a record
and a *marker*; what follows is work that cannot fail any more, only take its time:

    locks, conflicts, quota, room ──▶ time T ──▶ record + marker, durable     refused up to here
                                                     │
            ┌──── batch ◀───── others' commits ──┐   │                        committed from here
            ▼                                    │   ▼
     a few writes of a piece: newest versions, ──┴── what is left?
     what they supersede, list for the collection    └─ nothing ──▶ ranges given up, catalog,
     (with a piece's last writes its parts go)                      no marker ─▶ publish, reply

Nobody sees half of it. Until the end the tenant's snapshots are T - 1 (`Versions.newest_of`), which
a pin keeps whole, with any window; what a batch has written has the time T, so it is not in them.
Who reads newest versions by a lock waits, for the transaction holds all its locks to the end.
Commits of the same tenant wait before they take their time (storage/waiting.py), so there is one
such commit of a tenant at most, and nothing of the tenant is younger. Other tenants go on: the node
gives this one its share and no more, batch by batch (storage/admission.py).

Every batch may be done again, for a crash may come after any, and then the piece begins anew:

    the newest version has time   older       T, of a batch before   none
    put                           to history  written over           written
    remove                        to history  removed, noted         nothing

In the second column it is this transaction's own, from an earlier piece or from before the crash:
not a version anybody has seen, so it does not go to history. A removal of it is noted all the same,
for what was there before it may be in history. A write is in one list for the collection: the one
of the batch that superseded something. Lists are numbered by the writes of the transaction, counted
through, so none is ever written over by another, however batches are cut the next time.

What the engine fails at is tried again, for ever and with growing pauses; meanwhile commits of the
tenant are told what it failed with, and reads go on. So it is where a part of what was staged is
damaged or missing, for which there is an operator to be told: only a backup has the tenant whole.
At the start of a process each marker that is there is taken up in the background. Its locks are
gone, so the tenant opens no session before it is done; other tenants are served at once.
"""

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn
from storage.admission import Admission
from storage.cache import Record, VersionCache
from storage.committer import Committer
from storage.engines.interface import Engine, EngineDamaged, EngineError, ScanRange, Write
from storage.failures import Failures
from storage.layout import (
    MARKER_SPAN,
    TIME,
    catalog_key,
    ended_key,
    retired_key,
    staged_part,
    staged_span,
)
from storage.metrics import (
    ROLL_FORWARD_BYTES,
    ROLL_FORWARD_SECONDS,
    ROLL_FORWARDS,
    ROLL_FORWARDS_DAMAGED,
    ROLL_FORWARDS_STUCK,
)
from storage.pieces import PART_BYTES, Marker, current, part_keys, read, unpack
from storage.quotas import Quotas
from storage.rolling import Rolling
from storage.sizes import Sizes
from storage.supersede import first_versions, growth_of, version_writes
from storage.tenants import Tenant

_PAUSE_MIN_SECONDS, _PAUSE_MAX_SECONDS = 0.05, 5.0
"""Before what failed is tried again."""
_DAMAGED_SECONDS = 600.0
"""The longest pause where data is damaged, which hardly ever heals."""
_ROW_BYTES = 64
"""What a row of a batch costs beside its key and value."""
_PAGE_ROWS = 100
_PAGE_BYTES = 1 << 20
_NOTHING: Record = (0, None)
_log = logging.getLogger(__name__)
Items = list[tuple[bytes, bytes | None]]


@dataclass(frozen=True, slots=True)
class _Place:
    """How far it is."""

    piece: int
    offset: int
    """Writes of the piece that are in their place."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Writes that are to become durable together, and what is then."""

    writes: list[Write]
    keys: list[bytes]
    """Of the tenant's rows."""
    growth: int
    """By how many bytes these become more."""
    place: _Place


class RollForward:
    """The work that a marker stands for, a batch at a time."""

    def __init__(self, engine: Engine, marker: Marker) -> None:
        self._engine = engine
        self._marker = marker
        self._place: _Place | None = None
        self._items: tuple[int, Items] = (-1, [])
        """The writes of one piece, and which."""
        counts = [each.count for each in marker.pieces]
        self._before = list(accumulate(counts, initial=0))
        """How many writes are in the pieces before each."""
        self.is_over = False

    def __repr__(self) -> str:
        return f"<RollForward {self._marker.name} at {self._place}>"

    @property
    def bytes_left(self) -> int:
        """About."""
        at = 0 if self._place is None else self._place.piece
        return PART_BYTES * sum(len(each.parts) for each in self._marker.pieces[at:])

    async def batch(self, *, measured: bool) -> Batch:
        """What is next; the same again until it was `applied`. `measured`: with its growth.

        Raises EngineError.
        """
        marker, room = self._marker, self._engine.turn_bytes
        place = self._place = self._place or await self._found()
        if self.is_over:
            return Batch([], [], 0, place)
        writes: list[Write] = []
        changed: list[bytes] = []
        growth = 0
        while place.piece < len(marker.pieces) and room > 0:
            clear = marker.pieces[place.piece].clear
            some, last = await self._some(place, room)
            keys = [key for key, _ in some]
            changed += keys
            records = dict.fromkeys(keys, _NOTHING) if clear else await current(self._engine, keys)
            writes += self._versions(place, some, records)
            growth += growth_of(some, records) if measured else 0
            room -= _cost(some) if clear else 2 * _cost(some)
            if last:
                parts = marker.pieces[place.piece].parts
                writes += [(key, None) for key in part_keys(marker.name, parts)]
                place = _Place(place.piece + 1, 0)
            else:
                place = _Place(place.piece, place.offset + len(some))
        if place.piece == len(marker.pieces):
            writes += self._end()
        return Batch(writes, changed, growth, place)

    def applied(self, batch: Batch) -> None:
        """It is durable."""
        self._place = batch.place
        self.is_over = self.is_over or batch.place.piece == len(self._marker.pieces)

    async def _found(self) -> _Place:
        """Where the work begins, or goes on."""
        marker, pieces = self._marker, self._marker.pieces
        [written] = await self._engine.get([marker.key])
        if written is None:
            self.is_over = True
            return _Place(len(pieces), 0)
        [page] = await self._engine.scan([ScanRange(*staged_span(*marker.name), 1, 1)])
        if not page.rows:
            return _Place(len(pieces), 0)
        starts = [each.parts.start for each in pieces]
        return _Place(bisect_right(starts, staged_part(page.rows[0][0])) - 1, 0)

    async def _some(self, place: _Place, room: int) -> tuple[Items, bool]:
        """Writes of a piece that fit, one at least, and whether these are its last."""
        piece = self._marker.pieces[place.piece]
        if self._items[0] != place.piece:
            found = await read(self._engine, self._marker.name, piece.parts)
            if found is None:
                raise EngineDamaged("a part of a committed transaction is missing")
            self._items = (place.piece, list(found.items()))
        items = self._items[1]
        room = room if piece.clear else room // 2
        end = place.offset
        while end < len(items) and (room > 0 or end == place.offset):
            room -= _cost(items[end : end + 1])
            end += 1
        return items[place.offset : end], end == len(items)

    def _versions(
        self, place: _Place, some: Items, records: dict[bytes, Record]
    ) -> Iterator[Write]:
        """New versions, what they supersede, and the list of that."""
        marker = self._marker
        if marker.pieces[place.piece].clear:
            yield from first_versions(some, marker.time)
            return
        new = version_writes(some, records, marker.time)
        yield from new.batch
        if new.ended:
            first = next(
                at
                for at, (key, payload) in enumerate(some)
                if records[key][1] is not None
                and (payload is None or records[key][0] != marker.time)
            )
            number = 1 + self._before[place.piece] + place.offset + first
            where = ended_key(marker.due, marker.name[0], marker.time, number)
            yield where, blocks.pack(new.ended)

    def _end(self) -> Iterator[Write]:
        """What goes with the last batch."""
        marker, tenant = self._marker, self._marker.name[0]
        retired = [retired_key(tenant, marker.time, at) for at in range(len(marker.retired))]
        for key, span in zip(retired, marker.retired, strict=True):
            yield key, blocks.pack(span)
        if retired:
            yield ended_key(marker.due, tenant, marker.time, 0), blocks.pack(retired)
        if marker.changes_catalog:
            yield catalog_key(tenant), TIME.pack(marker.time)
        yield marker.key, None


@dataclass(slots=True, eq=False)
class _Job:
    tenant: Tenant
    rolling: Rolling
    marker: Marker
    over: Callable[[], None]
    task: asyncio.Task[None] | None = None


class RollForwards:
    """Those of a shard. One of a tenant at most."""

    def __init__(
        self,
        engine: Engine,
        committer: Committer,
        cache: VersionCache,
        admission: Admission,
        sizes: Sizes,
        quotas: Quotas,
        failures: Failures,
    ) -> None:
        self._engine = engine
        self._committer = committer
        self._cache = cache
        self._admission = admission
        self._sizes = sizes
        self._quotas = quotas
        self._failures = failures
        self._jobs: dict[TenantId, _Job] = {}

    def __repr__(self) -> str:
        return f"<RollForwards of {list(self._jobs)}>"

    async def load(self) -> list[Marker]:
        """What a process before has left to be done. Raises EngineError."""
        found: list[Marker] = []
        start, end = MARKER_SPAN
        while True:
            [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
            found += [unpack(key, value) for key, value in page.rows]
            if page.exhausted:
                return found
            start = page.rows[-1][0] + b"\0"

    def begin(
        self, tenant: Tenant, rolling: Rolling, marker: Marker, over: Callable[[], None]
    ) -> None:
        """The marker is durable: do what it stands for. `over` is called when all of it is in its
        place, at the moment from which the tenant may see it."""
        self._jobs[tenant.id] = job = _Job(tenant, rolling, marker, over)
        self._start(job)

    def has_begun(self, tenant: TenantId) -> bool:
        """Whether one of the tenant goes on."""
        return tenant in self._jobs

    @asynccontextmanager
    async def resting(self, tenant: TenantId) -> AsyncIterator[None]:
        """Inside the block nothing of a tenant is put in its place. If its marker is gone at the
        end of it, so is what was to be done, and it is `over`."""
        job = self._jobs.get(tenant)
        if job is not None:
            await cancel(job.task)
        try:
            yield
        finally:
            if job is not None:
                self._start(job)

    async def over(self, tenant: TenantId) -> None:
        """Wait until nothing is left to do for a tenant."""
        job = self._jobs.get(tenant)
        if job is not None and job.task is not None:
            await asyncio.wait({job.task})

    async def close(self) -> None:
        """Stop; the next process goes on."""
        await cancel(*[job.task for job in self._jobs.values()])

    def _start(self, job: _Job) -> None:
        job.task = spawn(self._run(job), name=f"roll-forward of tenant {job.tenant.id}")

    async def _run(self, job: _Job) -> None:
        work = RollForward(self._engine, job.marker)
        began, left = time.monotonic(), work.bytes_left
        ROLL_FORWARDS.inc()
        ROLL_FORWARD_BYTES.inc(left)
        try:
            while not work.is_over:
                await self._step(job.tenant, job.rolling, work)
                ROLL_FORWARD_BYTES.dec(left - work.bytes_left)
                left = work.bytes_left
        finally:
            ROLL_FORWARDS.dec()
            ROLL_FORWARD_BYTES.dec(left)
        ROLL_FORWARD_SECONDS.observe(time.monotonic() - began)
        del self._jobs[job.tenant.id]
        job.tenant.rolled(job.rolling)
        job.over()

    async def _step(self, tenant: Tenant, rolling: Rolling, work: RollForward) -> None:
        """One batch, tried until it goes through."""
        pause = _PAUSE_MIN_SECONDS
        try:
            while not await self._tried(tenant, rolling, work):
                await asyncio.sleep(pause)
                damaged = isinstance(rolling.failing, EngineDamaged)
                pause = min(2 * pause, _DAMAGED_SECONDS if damaged else _PAUSE_MAX_SECONDS)
        finally:
            _set_failing(rolling, None)

    async def _tried(self, tenant: Tenant, rolling: Rolling, work: RollForward) -> bool:
        making = partial(work.batch, measured=bool(self._quotas.of(tenant.id)))
        try:
            batch = await self._admission.read(tenant.share, making)
            if batch.writes:
                await self._committer.write(batch.writes, share=tenant.share, alone=True)
        except EngineError as error:
            self._failed(tenant, rolling, error)
            return False
        work.applied(batch)
        self._cache.forget(batch.keys)
        self._sizes.grew(tenant.id, batch.growth)
        return True

    def _failed(self, tenant: Tenant, rolling: Rolling, error: EngineError) -> None:
        self._failures.failed(error)
        extra = {"tenant": int(tenant.id), "kind": error.kind}
        if isinstance(error, EngineDamaged) and not isinstance(rolling.failing, EngineDamaged):
            extra["time"] = rolling.time
            _log.error("a commit is durable and damaged: the tenant is to be restored", extra=extra)
        elif rolling.failing is None:
            _log.warning("a commit is durable and cannot be put in its place yet", extra=extra)
        _set_failing(rolling, error)
        rolling.wake()


def _set_failing(rolling: Rolling, error: EngineError | None) -> None:
    before, rolling.failing = rolling.failing, error
    ROLL_FORWARDS_STUCK.inc((error is not None) - (before is not None))
    damaged = isinstance(error, EngineDamaged) - isinstance(before, EngineDamaged)
    ROLL_FORWARDS_DAMAGED.inc(damaged)


def _cost(items: Sequence[tuple[bytes, bytes | None]]) -> int:
    return sum(len(key) + len(value or b"") + _ROW_BYTES for key, value in items)
