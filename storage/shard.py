"""A shard: one engine, its only writer, and everything the leader keeps in memory about it."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from storage.admission import Admission
from storage.cache import VersionCache
from storage.caps import Caps, staged
from storage.clock import HybridClock
from storage.committer import Committer
from storage.config import Limits
from storage.counters import Counters
from storage.engines.interface import Engine, EngineDamaged, EngineError, ScanRange
from storage.failures import Failures
from storage.garbage import Collector
from storage.intake import Intake
from storage.layout import (
    FENCE_SPAN,
    FORMAT,
    FORMAT_NOW,
    FORMAT_WITHOUT_DUE,
    HISTORY_SPAN,
    HORIZON,
    LAST_COMMIT,
    STAGED_SPAN,
    TIME,
    Span,
    catalog_key,
    import_key,
    split_record,
    staged_span,
    table_lock_key,
)
from storage.lockmodes import STRONG
from storage.locks import LockTable
from storage.metrics import LOCKS, TRANSACTIONS
from storage.pieces import Marker
from storage.quotas import Quotas
from storage.refusals import Refusal, engine_failed, transaction_ended
from storage.rollforward import RollForwards
from storage.sequences import Sequences
from storage.sizes import Sizes
from storage.tenants import Party, Session, Tenant, Tenants, Transaction
from storage.versions import Versions
from storage.waiting import Sweeping
from storage.windows import Windows

_log = logging.getLogger(__name__)
_PAGE_ROWS = 1000
_PAGE_BYTES = 8 << 20
_FIRST_SNAPSHOT = 1
"""The time of an empty shard: 0 means "none" everywhere."""
_DROP_POLL_SECONDS = 0.02
_ENTER_SECONDS = 5.0
"""How long a session waits for a commit that a process before has not brought to its place."""
_IMPORTED = "the tenant's rows are still being imported"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is no longer current is kept; seconds."""

    history_seconds: float = 0.0
    """The shortest window there is."""
    window_seconds: int = 0
    """The recovery window of tenants of which nothing was told."""
    hold_seconds: float = 86_400.0
    """How long beyond its window a reader may hold a tenant's history back."""
    record_seconds: float = 3600.0
    collect_seconds: float = 1.0
    measure_seconds: float = 30.0
    """Between the measurements of what tenants store, for those that changed."""


class Shard:
    """Made by `open`; the pieces are public to the operations that work on them."""

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        limits: Limits,
        retention: Retention,
        last_commit: int,
        horizon: int,
        readers: int,
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.clock = HybridClock(clock, last=max(last_commit, horizon))
        self.cache = VersionCache(limits.cache_bytes_max)
        self.locks = LockTable()
        self.sweeping = Sweeping(self.locks)
        self.caps = Caps(limits, self.locks)
        LOCKS.set_function(partial(getattr, self.locks, "total"))
        self.tenants = Tenants(last_commit=last_commit, floor=self._floor_at_rest)
        self.versions = Versions(engine, self.cache, self.locks, visible=last_commit)
        self.sizes = Sizes(engine)
        self.admission = Admission(
            readers=readers, group_bytes_max=limits.group_bytes_max, fair=limits.fair
        )
        engine.tell(self.admission)
        self.failures = Failures(clock)
        self.committer = Committer(
            engine,
            self.sizes,
            self.admission,
            self.failures,
            group_bytes_max=limits.group_bytes_max,
            queue_bytes_max=limits.queue_bytes_max,
        )
        self.quotas = Quotas(engine, self.committer, self.sizes)
        self.windows = Windows(
            engine,
            self.committer,
            least_seconds=retention.history_seconds,
            default_seconds=retention.window_seconds,
        )
        self.roll_forwards = RollForwards(
            *(engine, self.committer, self.cache, self.admission),
            *(self.sizes, self.quotas, self.failures),
        )
        self.intake = Intake(
            *(engine, self.committer, self.admission),
            *(self.caps, self.locks, self.quotas),
            end=self.end,
        )
        self.counters = Counters(engine, self.committer)
        self.sequences = Sequences(engine, self.committer)
        self.collector = Collector(
            engine,
            self.committer,
            self.cache,
            (self.counters, self.sequences),
            self.tenants,
            self.clock,
            self.windows,
            self.failures,
            visible=lambda: self.versions.visible,
            horizon=horizon,
            hold_seconds=retention.hold_seconds,
            record_seconds=retention.record_seconds,
        )
        self._background: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        engine: Engine,
        *,
        clock: Clock,
        limits: Limits | None = None,
        retention: Retention | None = None,
        readers: int = 2,
    ) -> Self:
        """Take over an engine; its owner closes it after `close`. Raises EngineError.

        `readers`: how many of its reads go on at the same time.
        """
        last_commit, horizon = await _load_times(engine)
        limits, retention = limits or Limits(), retention or Retention()
        shard = cls(engine, clock, limits, retention, last_commit, horizon, readers)
        await shard._load_fences()
        await shard.quotas.load()
        await shard.windows.load()
        markers = await shard.roll_forwards.load()
        await _purge_staged(engine, markers)
        for marker in markers:
            shard._take_up(marker)
        shard._background = [
            spawn(shard.collector.run(retention.collect_seconds), name="garbage collection"),
            spawn(shard.collector.leftovers.run(), name="leftovers"),
            spawn(shard.sizes.run(retention.measure_seconds), name="tenants' sizes"),
        ]
        return shard

    def _floor_at_rest(self, tenant: TenantId) -> int:
        return self.windows.floor(tenant, self.collector.horizon, self.versions.visible)

    def oldest_readable(self, number: TenantId) -> int:
        """The oldest time in a tenant's window that can be read."""
        window = self.windows.floor(number, self.clock.now(), self.versions.visible)
        tenant = self.tenants.find(number)
        return window if tenant is None else max(tenant.floor, window)

    async def set_windows(
        self, windows: Mapping[TenantId, int | None], *, only_these: bool, default: int | None
    ) -> None:
        """Change recovery windows; see `Windows.change`. Raises EngineError."""

        def floor(tenant: TenantId) -> int:
            return self.windows.floor(tenant, self.clock.now(), self.versions.visible)

        shorter, default_shorter = await self.windows.change(
            windows, only_these=only_these, default=default, floor=floor
        )
        self.collector.sweeps.shortened(shorter, default=default_shorter)

    async def close(self) -> None:
        """Make durable what is on its way, then stop."""
        await cancel(*self._background)
        await self.sweeping.close()
        await self.intake.close()
        await self.roll_forwards.close()
        self.sequences.settle()
        await self.committer.close()

    async def enter(self, number: TenantId, session: Session) -> Tenant:
        """A session of a tenant begins; see `leave`. Raises Refusal (BUSY), EngineError."""
        await self._taken_up(number)
        tenant = self.tenants.open(number)
        if tenant.dropping:
            raise Refusal(kv.Error.BUSY, "the tenant is being dropped")
        if tenant.importing:
            raise Refusal(kv.Error.BUSY, _IMPORTED)
        tenant.sessions.add(session)
        try:
            value, imported = await self.engine.get([catalog_key(number), import_key(number)])
            if imported is not None:
                raise Refusal(kv.Error.BUSY, _IMPORTED)
        except BaseException:
            self.leave(tenant, session)
            raise
        if value is not None:
            version = int(TIME.unpack(value)[0])
            if not tenant.catalog_version:
                tenant.tables.changes.begin(version)
            tenant.catalog_version = max(tenant.catalog_version, version)
            tenant.catalog_next = max(tenant.catalog_next, version)
        self.quotas.opened(number)
        return tenant

    def leave(self, tenant: Tenant, session: Session) -> None:
        """A session ended: so do its transactions, but for those that are being committed."""
        tenant.sessions.discard(session)
        tenant.readers.left(session)
        tenant.channels.left(session)
        for transaction in list(tenant.transactions.values()):
            if transaction.session is session and not transaction.committing:
                self.end(transaction)
        for party in list(tenant.parties.values()):
            if party.session is session:
                self.part(tenant, party)
        tenant.tables.left(session)
        self.tenants.forget_if_idle(tenant)

    def validate(self, transaction: Transaction, snapshot: int) -> None:
        """A serializable transaction begins at the newest snapshot."""
        tenant = transaction.tenant
        pending = [
            self.locks.held(other) for other in tenant.transactions.values() if other.committing
        ]
        tenant.validator.begin(transaction, snapshot, pending, self.clock.last)

    def end(self, transaction: Transaction, *, changed_catalog: int = 0) -> None:
        """Let go of everything a transaction has; it never comes back. `changed_catalog`: the
        version that its commit has made."""
        transaction.ended = True
        for wait in list(transaction.waits):
            wait.fail(transaction_ended())
        tenant = transaction.tenant
        if tenant.transactions.pop((transaction.pod, transaction.number), None) is not None:
            TRANSACTIONS.dec()
            staged(transaction, -transaction.staged_bytes)
        tenant.pins.pop(transaction, None)
        tenant.exported.pop(transaction, None)
        tenant.validator.end(transaction)
        for table in transaction.tables:
            tenant.tables.done(table, transaction, changed=changed_catalog)
        self.locks.release(transaction)
        self.sweeping.begin()
        if transaction.pieces:
            self.collector.leftovers.drop_staged(transaction)
        if not tenant.sessions:
            self.tenants.forget_if_idle(tenant)

    def settle(self, transaction: Transaction, table: int) -> None:
        """A transaction may have come to hold less of a table, or nothing."""
        held = self.locks.mode_held(transaction, table_lock_key(transaction.tenant.id, table))
        if not held & STRONG:
            transaction.tenant.tables.done(table, transaction)
        if not held:
            transaction.tables.pop(table, None)

    def part(self, tenant: Tenant, party: Party) -> None:
        """A session is over: its advisory locks are free."""
        party.ended = True
        for wait in list(party.waits):
            wait.fail(transaction_ended())
        tenant.parties.pop((party.session, party.number), None)
        self.locks.release(party)
        self.sweeping.begin()

    def end_sessions(self, reason: str) -> None:
        """Ask every session to finish; commits that are on their way are answered first."""
        for tenant in self.tenants:
            for session in list(tenant.sessions):
                session.end(reason)

    def _take_up(self, marker: Marker) -> None:
        """Go on with a commit that a process before has not brought to its place."""
        number, pod, txn = marker.name
        tenant = self.tenants.open(number)
        # That process has held what its readers saw, whatever the last pass of the collection says.
        tenant.floor = min(tenant.floor, marker.time - 1)
        transaction = Transaction(tenant, None, pod, txn)
        TRANSACTIONS.inc()
        tenant.transactions[pod, txn] = transaction
        transaction.commits(marker.time)

        def over() -> None:
            transaction.decided(marker.time)
            self.end(transaction)

        rolling = tenant.roll(marker.time, restarted=True)
        extra = {"tenant": int(number), "pieces": len(marker.pieces)}
        _log.info("a commit of before the start is put in its place", extra=extra)
        self.roll_forwards.begin(tenant, rolling, marker, over)

    async def _taken_up(self, number: TenantId) -> None:
        """Wait until no commit of before the start keeps the tenant. Raises Refusal (BUSY,
        DAMAGED)."""
        tenant = self.tenants.find(number)
        try:
            async with asyncio.timeout(_ENTER_SECONDS):
                while (
                    tenant is not None and tenant.rolling is not None and tenant.rolling.restarted
                ):
                    if isinstance(tenant.rolling.failing, EngineDamaged):
                        raise engine_failed(tenant.rolling.failing)
                    await tenant.rolling.moved()
        except TimeoutError:
            text = "a commit of the tenant is still being put in its place"
            raise Refusal(kv.Error.BUSY, text) from None

    async def drop(self, number: TenantId) -> None:
        """End a tenant's sessions and remove everything it has. Raises EngineError."""
        tenant = self.tenants.open(number)
        tenant.dropping = True
        tenant.drops += 1
        try:
            while tenant.sessions or self._open_of(tenant) or tenant.importing:
                for session in list(tenant.sessions):
                    session.end("the tenant is dropped")
                for transaction in self._open_of(tenant):
                    if transaction.session not in tenant.sessions and not transaction.committing:
                        self.end(transaction)
                await asyncio.sleep(_DROP_POLL_SECONDS)
            async with self.roll_forwards.resting(number):
                await self.committer.write([])
                await self.collector.drop_tenant(number)
            await self.roll_forwards.over(number)
            self.quotas.forget(number)
            self.windows.forget(number)
            self.sizes.forget(number)
            tenant.fenced.clear()
            tenant.catalog_version = tenant.catalog_next = 0
        finally:
            tenant.dropping = False
            self.tenants.forget_if_idle(tenant)

    def _open_of(self, tenant: Tenant) -> list[Transaction]:
        """The tenant's transactions but for one whose marker is durable, which only takes time."""
        rolling = tenant.rolling if self.roll_forwards.has_begun(tenant.id) else None
        return [
            each
            for each in tenant.transactions.values()
            if rolling is None or each.time != rolling.time
        ]

    async def _load_fences(self) -> None:
        start, end = FENCE_SPAN
        while True:
            [page] = await self.engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
            for key, value in page.rows:
                tenant, pod, txn = split_record(key)
                fences = self.tenants.fences.setdefault(tenant, {})
                fences[pod, txn] = int(TIME.unpack(value)[0])
            if page.exhausted:
                return
            start = page.rows[-1][0] + b"\0"


async def _load_times(engine: Engine) -> tuple[int, int]:
    """The time of the last commit, and the horizon: everything younger can still be read.

    Data of an older layout loses its superseded versions: nothing says when they are due, nor was
    it written up to when they had been collected. Current rows stay as they are.
    """
    last, horizon, layout = [
        0 if value is None else int(TIME.unpack(value)[0])
        for value in await engine.get([LAST_COMMIT, HORIZON, FORMAT])
    ]
    last = last or _FIRST_SNAPSHOT
    if layout > FORMAT_NOW:
        raise EngineError(f"the data has layout {layout}, and this version knows {FORMAT_NOW}")
    if layout <= FORMAT_WITHOUT_DUE:
        await _purge(engine, HISTORY_SPAN, "superseded versions of an older layout dropped")
        horizon = last
    if layout < FORMAT_NOW:
        times = [(HORIZON, TIME.pack(horizon)), (FORMAT, TIME.pack(FORMAT_NOW))]
        await engine.apply(times)
    return last, horizon


async def _purge_staged(engine: Engine, markers: Sequence[Marker]) -> None:
    """Staged writes belong to transactions that are open, and at start-up there are none; or to
    those that are committed."""
    start, end = STAGED_SPAN
    for low, high in sorted(staged_span(*marker.name) for marker in markers):
        await _purge(engine, (start, low), "staged writes purged")
        start = high
    await _purge(engine, (start, end), "staged writes purged")


async def _purge(engine: Engine, span: Span, what: str) -> None:
    while True:
        [page] = await engine.scan([ScanRange(*span, _PAGE_ROWS, _PAGE_BYTES, keys_only=True)])
        if page.rows:
            await engine.apply([(key, None) for key, _ in page.rows])
            _log.info(what, extra={"rows": len(page.rows)})
        if page.exhausted:
            return
        await asyncio.sleep(0)
