"""What the leader remembers of tenants and their transactions: pins, fences, open transactions.

A tenant's record is made when its first session opens and dropped with its last, so that a sleeping
tenant costs nothing. The one thing that must outlive it, when its data was last overwritten, is
then folded into a value for all forgotten tenants together.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from dormouse.base.ids import PodId, TenantId
from proto import kv_pb2 as kv
from storage.catalogs import CatalogReaders
from storage.notifications import Channels
from storage.refusals import Refusal
from storage.removals import Removals
from storage.rolling import Rolling
from storage.shares import Share
from storage.spans import TenantSpan
from storage.validator import Validator
from storage.wanted import WantedTables


class Session(Protocol):
    """A session, as far as its tenant is concerned."""

    def end(self, reason: str) -> None:
        """End the stream soon."""
        ...

    def tell_catalog(self, version: int) -> None:
        """Say that the tenant's catalog has this version now."""
        ...

    def tell_notification(self, notification: kv.Notification) -> None:
        """Send a notification soon."""
        ...

    def tell_table(self, word: kv.TableWord) -> None:
        """Send a word on a table's locks soon."""
        ...

    def cut(self, reason: str) -> None:
        """End the stream at once, whether its pod takes anything or not."""
        ...


class Wait(Protocol):
    """A wait for a lock on behalf of a transaction."""

    def fail(self, refusal: Refusal) -> None:
        """Give up waiting."""
        ...


@dataclass(eq=False, slots=True)
class Prepared:
    """What is known of a staged piece: its keys were locked when it came, where that was free."""

    held: list[bytes]
    """Keys that somebody, the transaction included, held already."""
    clear: bool = False
    """All keys are locked, and none has any version, current or superseded."""
    parts: range = range(0)
    """The rows of the engine it lies in."""
    count: int = 0
    """How many writes it has."""
    growth: int = 0
    """Bytes that a clear piece adds to what its tenant stores, where that is limited."""


class Transaction:
    """A transaction of a pod; the owner of its locks and its pin.

    Its identity is (pod, number). It lives in its tenant's `transactions` from the first request
    that names it until it is ended, committed or resolved.
    """

    __slots__ = (
        "committing",
        "ended",
        "finished",
        "number",
        "pieces",
        "pod",
        "prepared",
        "session",
        "session_number",
        "staged_bytes",
        "staging",
        "tables",
        "tenant",
        "tentative",
        "time",
        "undo",
        "waits",
    )

    def __init__(self, tenant: "Tenant", session: Session | None, pod: PodId, number: int) -> None:
        self.tenant = tenant
        self.session = session
        """None: of a process that has died."""
        self.pod = pod
        self.number = number
        self.committing = False
        """Its commit is on its way to its place: it can no longer be ended."""
        self.time = 0
        """Of that commit."""
        self.ended = False
        self.finished: asyncio.Future[int] | None = None
        """Made by who wants to wait for a committing transaction: its commit time, 0 if failed."""
        self.session_number = 0
        """Whose it is; see `Party.number`."""
        self.undo: list[tuple[int, bytes, int]] = []
        """(savepoint, key, mode held before) of every lock taken behind a savepoint."""
        self.tentative: list[tuple[bytes, int]] = []
        """(key, mode held before) of what the last lock request got, if it may be given back."""
        self.tables: dict[int, None] = {}
        """Tables that it has locked here, or wants to."""
        self.staged_bytes = 0
        self.pieces = 0
        """Rows of the engine with what is staged: the next one's number."""
        self.prepared: list[Prepared] = []
        """What is known of each staged piece before the commit."""
        self.waits: set[Wait] = set()
        self.staging: set[asyncio.Future[None]] = set()
        """Staged pieces that are not durable yet."""

    def __repr__(self) -> str:
        state = "ended" if self.ended else "committing" if self.committing else "open"
        return f"<Transaction {self.tenant.id}/{self.pod:x}/{self.number} {state}>"

    @property
    def name(self) -> tuple["TenantId", PodId, int]:
        """What it is called in the engine."""
        return self.tenant.id, self.pod, self.number

    async def outcome(self) -> int:
        """Wait for the commit that is on its way: its commit time, or 0 if it failed."""
        if self.finished is None:
            self.finished = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self.finished)

    def commits(self, time: int) -> None:
        """Its commit is on its way, with this time."""
        self.time = time
        self.committing = True

    def decided(self, commit_time: int) -> None:
        """The commit that was on its way has ended."""
        self.committing = False
        if self.finished is not None:
            self.finished.set_result(commit_time)
            self.finished = None


class Party:
    """A session of a pod that has asked for advisory locks: their owner, and what its transactions
    are one with in the search for deadlocks. It lives as long as the session or its stream."""

    __slots__ = ("ended", "number", "pod", "session", "waits")

    def __init__(self, session: Session, pod: PodId, number: int) -> None:
        self.session = session
        """The stream."""
        self.pod = pod
        self.number = number
        """The backend pid, unique on the stream."""
        self.ended = False
        self.waits: set[Wait] = set()

    def __repr__(self) -> str:
        return f"<Party {self.pod:x}/{self.number}>"


class Tenant:
    """The live state of one tenant."""

    def __init__(self, tenant: TenantId, *, last_overwrite: int, floor: int) -> None:
        self.id = tenant
        self.span = TenantSpan(tenant)
        self.catalog_version = 0
        """What readers see."""
        self.catalog_next = 0
        """What commits must match: also counts commits that are on their way."""
        self.readers = CatalogReaders()
        self.channels = Channels()
        self.tables = WantedTables(self._orphans)
        self.last_overwrite = last_overwrite
        """No version was superseded after this time, commits on their way included."""
        self.floor = floor
        """Snapshots before this may have lost versions to the garbage collection."""
        self.removals = Removals(last_overwrite)
        self.pins: dict[object, int] = {}
        self.exported: dict[Transaction, tuple[int, int]] = {}
        """Snapshots that other transactions may begin with, with the numbers they are exported by,
        and who holds them."""
        self.transactions: dict[tuple[PodId, int], Transaction] = {}
        self.parties: dict[tuple[Session, int], Party] = {}
        self.fenced: dict[tuple[PodId, int], int] = {}
        """Transactions that never may commit, and since when."""
        self.share = Share()
        """Its part of the node."""
        self.validator = Validator()
        self.staged_bytes = 0
        """By all its transactions that are open."""
        self.requests = self.request_bytes = 0
        """In flight, on all its streams."""
        self.sessions: set[Session] = set()
        self.dropping = False
        self.drops = 0
        """How often all of it was removed."""
        self.importing = False
        """Its rows are being written from elsewhere, just now."""
        self.rolling: Rolling | None = None
        """Its commit that has a time and is not in its place, if it is a large one."""

    def __repr__(self) -> str:
        return (
            f"<Tenant {self.id}: {len(self.sessions)} sessions, "
            f"{len(self.transactions)} transactions, {len(self.pins)} pins>"
        )

    def _orphans(self) -> list[Awaitable[int]]:
        return [
            each.outcome()
            for each in self.transactions.values()
            if each.committing and each.session not in self.sessions
        ]

    @contextmanager
    def reading(self, snapshot: int) -> Iterator[None]:
        """Hold a snapshot for the duration of one read."""
        token = object()
        self.pins[token] = snapshot
        try:
            yield
        finally:
            del self.pins[token]

    def roll(self, time: int, *, restarted: bool = False) -> Rolling:
        """A large commit has this time: until it is `rolled`, the tenant stays at what was
        before."""
        self.rolling = rolling = Rolling(time, restarted=restarted)
        self.pins[rolling] = time - 1
        return rolling

    def rolled(self, rolling: Rolling) -> None:
        """It is in its place, or has not happened."""
        self.rolling = None
        del self.pins[rolling]
        rolling.wake()

    def raise_floor(self, floor: int) -> int:
        """Let go of snapshots before `floor` as far as no pin holds them; the new floor."""
        self.floor = max(self.floor, min([floor, *self.pins.values()]))
        return self.floor


class Tenants:
    """The tenants with open sessions, and what must be remembered of the others."""

    def __init__(self, *, last_commit: int, floor: Callable[[TenantId], int]) -> None:
        """`floor`: of a tenant that nobody uses; never goes down."""
        self._live: dict[TenantId, Tenant] = {}
        self._last_overwrite = last_commit
        self._floor = floor
        self.fences: dict[TenantId, dict[tuple[PodId, int], int]] = {}
        """The `Tenant.fenced` of all tenants that have any."""

    def __iter__(self) -> Iterator[Tenant]:
        return iter(list(self._live.values()))

    def find(self, tenant: TenantId) -> Tenant | None:
        """The live state of a tenant, if it has any."""
        return self._live.get(tenant)

    def open(self, number: TenantId) -> Tenant:
        """The live state of a tenant, made if need be."""
        tenant = self._live.get(number)
        if tenant is None:
            tenant = Tenant(number, last_overwrite=self._last_overwrite, floor=self._floor(number))
            tenant.fenced = self.fences.get(number, tenant.fenced)
            self._live[number] = tenant
        return tenant

    def forget_if_idle(self, tenant: Tenant) -> None:
        """Drop the live state of a tenant without sessions, transactions and pins."""
        if (
            tenant.sessions
            or tenant.transactions
            or tenant.pins
            or tenant.dropping
            or tenant.importing
        ):
            return
        if self._live.get(tenant.id) is tenant:
            del self._live[tenant.id]
            self._last_overwrite = max(self._last_overwrite, tenant.last_overwrite)

    def oldest_pin(self, newest: int) -> int:
        """The oldest snapshot that is held, `newest` where none is older."""
        return min(
            (pin for tenant in self._live.values() for pin in tenant.pins.values()), default=newest
        )
