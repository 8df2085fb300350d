"""Spend limits at work: hears what is used, has it decided, and tells the pods.

    ledger ── booked ──▶ what is known of pods and months ──▶ dirty domains
                                                                  │ at once, then every 20 ms
    PUT limit ──┐                                                 ▼
    IssuePod  ──┴── a round by itself ────────────────────▶ Rounds.settle ──▶ WatchSpending
                                                                  ▲
    every second: months that have turned, pods that are silent ──┘
    now and then: every account with a limit, for what sleeping tenants store costs, too

A report of a tenant without limits costs a look into a dictionary. Rounds run one at a time. No
statement waits for anything here: a pod spends what it was told before.
"""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Self

from control.actor import OrganisationId
from control.ledger import Booked
from control.metrics import SPEND_LIMITS, SPEND_PODS, SPEND_ROUND_SECONDS, TIDIED
from control.services import Stores
from control.spending.leaves import FREE, State, message_of, state_of
from control.spending.limits import Limit, Scope, scope_of
from control.spending.months import Months
from control.spending.notices import Notice, Notices
from control.spending.pods import Pod, PodKey, Pods, Stream, Told
from control.spending.room import Position, Stand, stand_of
from control.spending.rounds import Rounds
from control.spending.store import Ceilings, Limits
from control.usage import UsageReader
from dormouse.base import tasks
from dormouse.base.clock import Clock
from dormouse.base.units import units_of
from proto import control_pb2

STREAMS_MAX = 50_000
STREAMS_PER_TENANT_MAX = 256
ROUND_SECONDS = 0.02
TICK_SECONDS = 1.0
TIDY_SECONDS = 60.0
VISITS_PER_TICK = 10
VISITS_PAUSE_SECONDS = 60.0
"""Between two walks over all accounts with a limit."""
_log = logging.getLogger(__name__)


class Cut(Enum):
    """Why a stream is not begun, or ends."""

    TOO_MANY = "there are too many pods that listen"
    REPLACED = "the pod listens elsewhere"
    CLOSING = "this side ends; ask again"


class StreamCut(Exception):
    """A stream that is not begun or has ended; `cut` says why."""

    def __init__(self, cut: Cut) -> None:
        super().__init__(cut.value)
        self.cut = cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an account is doing."""

    limit: Limit
    position: Position
    stand: Stand | None
    state: State
    """With what the organisation's limit asks for, of a tenant."""
    limited_by: Scope | None
    """Whose limit stops it or slows it down."""
    notices: Sequence[Notice]
    currency: str


class Spending:
    """Makes limits hold."""

    def __init__(
        self,
        *,
        limits: Limits,
        notices: Notices,
        ceilings: Ceilings,
        usage: UsageReader,
        clock: Clock,
    ) -> None:
        self._limits = limits
        self._notices = notices
        self._ceilings = ceilings
        self._clock = clock
        self._months = Months(usage.database, usage, clock)
        self._pods = Pods()
        self._rounds = Rounds(
            database=usage.database,
            limits=limits,
            notices=notices,
            ceilings=ceilings,
            months=self._months,
            pods=self._pods,
            clock=clock,
        )
        self._round = asyncio.Lock()
        self._dirty: dict[int, set[int]] = {}
        self._news = asyncio.Event()
        self._to_visit: list[int] = []
        self._visit_after = 0.0
        self._tidy_after = clock.monotonic() + TIDY_SECONDS
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Spending {self._limits!r} {self._pods!r} dirty={len(self._dirty)}>"

    @classmethod
    def over(cls, stores: Stores, usage: UsageReader, clock: Clock) -> Self:
        """Over the registry's tables."""
        database = stores.database
        return cls(
            limits=Limits(database, clock, stores.journal),
            notices=Notices(database, clock, stores.events),
            ceilings=Ceilings(database, clock),
            usage=usage,
            clock=clock,
        )

    async def start(self) -> None:
        """To be called before anything is booked or asked."""
        await self._limits.load()
        await self._rounds.start()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Inside the block pods are told what they may spend; at its end their streams end."""
        working = tasks.spawn(self._work_forever(), name="spend limits")
        try:
            yield
        finally:
            self.close()
            await tasks.cancel(working)

    def close(self) -> None:
        """End every stream, and begin none any more."""
        self._is_closed = True
        for pod in self._pods.all():
            if pod.stream is not None:
                pod.stream.close()

    # --- what is heard ---------------------------------------------------------------------------

    def booked(self, batch: Booked) -> None:
        """Reports were booked (control/ledger.py)."""
        if not len(self._limits) and not len(self._months):
            return
        self._months.booked(batch.additions, batch.owners)
        now = self._clock.monotonic()
        for report in batch.reports:
            key = report.key
            pod = self._pods.get(key)
            owner = batch.owners.get(key[0])
            whole = pod.whole if pod is not None else owner.account if owner is not None else None
            if whole is None:
                continue
            domain = self._rounds.domain_of(key[0], whole)
            if domain is None:
                continue
            known = batch.known[key]
            if pod is not None:
                pod.used(units_of(known.total).total, now)
                if report.leave and pod.names(report.leave):
                    pod.told = None
            self._touch(domain, key[0])

    # --- what pods ask ---------------------------------------------------------------------------

    async def first_leave(self, key: PodKey) -> control_pb2.SpendLeave:
        """What a pod is stamped with. Raises sqlite3.Error."""
        free = message_of(FREE, self._clock.wall_ns() // 1_000_000)
        if not len(self._limits):  # a wake need not even read whose the tenant is
            return free
        whole = await self._months.whole_of(key[0])
        domain = self._rounds.domain_of(key[0], whole)
        if domain is None:
            return free
        pod = self._known(key, whole)
        pod.told = None
        pod.waiting = waiting = asyncio.get_running_loop().create_future()
        try:
            await self._settle(domain)
        finally:
            pod.waiting = None
        told = waiting.result() if waiting.done() else Told(pod.number, FREE)
        return message_of(told.leave, told.number)

    async def watch(self, key: PodKey) -> AsyncIterator[control_pb2.SpendLeave]:
        """A pod's leave as it is now, then whenever it changes. Raises StreamCut."""
        whole = await self._months.whole_of(key[0])
        self._check_room(key[0])
        pod = self._known(key, whole)
        if pod.stream is not None:
            pod.stream.close()
        pod.stream = stream = Stream()
        pod.told = None
        domain = self._rounds.domain_of(key[0], whole)
        if domain is None:
            self._rounds.free(pod)
        else:
            self._touch(domain)
        try:
            while (told := await stream.next()) is not None:
                yield message_of(told.leave, told.number)
            raise StreamCut(Cut.CLOSING if self._is_closed else Cut.REPLACED)
        finally:
            if pod.stream is stream:
                pod.stream = None
                pod.heard_at = self._clock.monotonic()
                if self._rounds.domain_of(key[0], whole) is None:
                    self._pods.remove(pod)

    def _check_room(self, tenant: int) -> None:
        if self._is_closed:
            raise StreamCut(Cut.CLOSING)
        listening = sum(pod.stream is not None for pod in self._pods.of(tenant))
        if len(self._pods) >= STREAMS_MAX or listening >= STREAMS_PER_TENANT_MAX:
            raise StreamCut(Cut.TOO_MANY)

    def _known(self, key: PodKey, whole: int) -> Pod:
        pod = self._pods.get(key)
        if pod is None:
            pod = Pod(key, whole, heard_at=self._clock.monotonic())
            self._pods.add(pod)
        pod.heard_at = self._clock.monotonic()
        return pod

    # --- what people ask -------------------------------------------------------------------------

    async def put(
        self,
        account: int,
        limit: Limit,
        *,
        organisation: OrganisationId,
        versions: Collection[int] | None = None,
    ) -> Limit:
        """Set or take away a limit: durable on return, and told to the pods that listen. Raises
        VersionMismatch."""
        after = await self._limits.put(account, limit, organisation=organisation, versions=versions)
        now = self._clock.monotonic()
        for pod in self._pods.of(account):
            pod.use = None  # of pods that were free it was not followed
            pod.heard_at = now if pod.stream is not None else pod.heard_at
        self._touch(account)  # should the following fail
        await self._settle(account)
        return after

    async def limit(self, account: int) -> Limit:
        """The limit of an account, one that was taken away too."""
        return await self._limits.read(account)

    async def standing(self, account: int) -> Standing:
        """How an account is doing, with the limit of its organisation. Wakes nobody."""
        whole = await self._months.whole_of(account)
        await self._months.ensure({account, whole})
        stands = {each: self._stand(each) for each in (account, whole)}
        position = self._months.position(account)
        state = max(map(state_of, stands.values()))
        held = [each for each in stands if state_of(stands[each]) is state]
        return Standing(
            limit=await self._limits.read(account),
            position=position,
            stand=stands[account],
            state=state,
            limited_by=scope_of(held[0]) if state >= State.THROTTLED else None,
            notices=await self._notices.read(account, position.start),
            currency=self._months.currency,
        )

    def _stand(self, account: int) -> Stand | None:
        limit = self._limits.of(account)
        return stand_of(self._months.position(account), limit) if limit is not None else None

    # --- what goes on by itself ------------------------------------------------------------------

    async def _work_forever(self) -> None:
        """Decide whenever there is news; a failure is logged and tried again."""
        ticked = self._clock.monotonic()
        while True:
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                pass
            now = self._clock.monotonic()
            try:
                if now - ticked >= TICK_SECONDS:
                    ticked = now
                    await self.tick()
                await self.work()
            except sqlite3.Error:
                _log.exception("the registry cannot be read or written for spend limits")
                await asyncio.sleep(TICK_SECONDS)
            await asyncio.sleep(ROUND_SECONDS)

    async def work(self) -> None:
        """Decide for all that there is news about."""
        self._news.clear()
        dirty, self._dirty = self._dirty, {}
        while dirty:
            domain, touched = dirty.popitem()
            try:
                await self._settle(domain, touched)
            except sqlite3.Error:
                self._dirty = {**dirty, **self._dirty, domain: touched}
                raise
            except Exception:  # noqa: BLE001 - see below
                # What is wrong with one account must not keep the others from being decided.
                _log.exception("a spend limit could not be decided", extra={"account": domain})

    async def tick(self) -> None:
        """Look for what nobody reports."""
        now, second = self._clock.monotonic(), self._clock.wall_ns() // 1_000_000_000
        states = dict.fromkeys(State, 0)
        for pod in self._pods.all():
            if pod.told is not None and pod.stream is not None:
                states[pod.told.leave.state] += 1
            domain = self._rounds.domain_of(pod.key[0], pod.whole)
            gone = pod.is_silent(now) and not pod.can_be_told
            turned = pod.told is not None and 0 < pod.told.leave.resets_at <= second
            if gone:
                self._pods.remove(pod)
            if domain is not None and (gone or turned):
                self._touch(domain)
        for state, count in states.items():
            SPEND_PODS.labels(state.name.lower()).set(count)
        SPEND_LIMITS.set(len(self._limits))
        self._visit(now)
        if now >= self._tidy_after:
            self._tidy_after = now + TIDY_SECONDS
            await self._tidy()

    def _visit(self, now: float) -> None:
        """Have some accounts looked at that nobody reports of."""
        if not self._to_visit and now >= self._visit_after:
            self._to_visit = self._limits.accounts()
            self._visit_after = now + VISITS_PAUSE_SECONDS
        for account in self._to_visit[-VISITS_PER_TICK:]:
            if self._limits.of(account) is not None:
                self._touch(account)
        del self._to_visit[-VISITS_PER_TICK:]

    async def _tidy(self) -> None:
        for account in await self._limits.remove_purged():
            self._months.forget(account)
        TIDIED.labels("spend_leaves").inc(await self._ceilings.prune())
        TIDIED.labels("spend_notices").inc(await self._notices.prune())

    def _touch(self, domain: int, *tenants: int) -> None:
        self._dirty.setdefault(domain, set()).update(tenants)
        self._news.set()

    def _touch_tenants(self, account: int) -> None:
        """Those of an organisation without a limit whose own limits may let go now."""
        if account < 0:
            for tenant in {pod.key[0] for pod in self._pods.of(account)}:
                if self._limits.of(tenant) is not None:
                    self._touch(tenant)

    async def _settle(self, account: int, touched: Collection[int] = ()) -> None:
        """Have the domain of an account decided, or free it."""
        async with self._round:
            whole = await self._months.whole_of(account)
            if self._limits.of(account) is None:
                await self._rounds.lift(account)
                self._touch_tenants(account)
            domain = whole if account < 0 else self._rounds.domain_of(account, whole)
            if domain is None or self._limits.of(domain) is None:
                return
            with SPEND_ROUND_SECONDS.time():
                await self._rounds.settle(domain, {*touched, *({account} if account > 0 else ())})
