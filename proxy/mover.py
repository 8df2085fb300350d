"""Which sessions are to be elsewhere: as the autoscaler wishes, and as the loads demand.

    picture: MOVE ──▶ every session there, the idle ones first; busy ones when they fall idle
             PARK ──▶ those that have been idle for a while
    every BALANCE_SECONDS, and when a pod joins: what `proxy.balance` says

At most `moves_max` are under way. A session that its pod does not give is left alone for a while,
longer each time; one that is held (`Held`) until the pod says that it is not any more.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from dormouse.base import logs
from dormouse.base.ids import PodId, TenantId
from dormouse.base.tasks import cancel, spawn
from pgwire.link import Purpose
from proto.autoscaler_pb2 import MOVE, PARK, SERVE
from proxy import metrics
from proxy.balance import Shift, plan
from proxy.door import Door
from proxy.moving import RETRY_SECONDS, Errand, Outcome
from proxy.phase import Phase
from proxy.session import Session

TICK_SECONDS = 0.5
"""How often sessions are looked at while something is wished for their pods."""
PAUSE_SECONDS = 0.05
"""Changes of the picture that come within this time are looked at together."""
BALANCE_SECONDS = 5.0
SETTLE_SECONDS = 15.0
"""How long a tenant's balance is left alone after a round: until its loads show the effect."""
SHIFTS_MAX = 100
"""Sessions that one round of balancing moves, of all tenants."""

_log = logging.getLogger(__name__)


class Mover:
    """See the module."""

    def __init__(self, door: Door, dice: random.Random) -> None:
        self._door = door
        self._dice = dice
        self._queue: deque[Errand] = deque()
        self._active: set[asyncio.Task[None]] = set()
        self._places = 0
        self._wishes: dict[PodId, int] = {}
        self._shifted_at: dict[TenantId, float] = {}
        self._no_pod_at: dict[TenantId, float] = {}
        """When no other pod was found for a session of the tenant."""

    def __repr__(self) -> str:
        return (
            f"<Mover queued={len(self._queue)} active={len(self._active)} "
            f"wishes={len(self._wishes)}>"
        )

    async def run(self) -> None:
        """Follow wishes and loads until cancelled."""
        pods, clock = self._door.pods, self._door.clock
        balance_at = clock.monotonic() + BALANCE_SECONDS
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_SECONDS if self._wishes else BALANCE_SECONDS):
                        await pods.changed.wait()
                pods.changed.clear()
                self._wishes = pods.wishes()
                if self._wishes:
                    self._follow_wishes()
                joined, pods.joined = pods.joined, set()
                if clock.monotonic() >= balance_at:
                    balance_at = clock.monotonic() + BALANCE_SECONDS
                    self._balance(list(pods.tenants()), joined)
                elif joined:
                    self._balance(list(joined), joined)
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await cancel(*self._active)

    # Whom

    def _follow_wishes(self) -> None:
        now = self._door.clock.monotonic()
        self._no_pod_at = {
            tenant: at for tenant, at in self._no_pod_at.items() if at + RETRY_SECONDS > now
        }
        for session in list(self._door.sessions):
            pod = session.pod_id
            wish = self._wishes.get(pod) if pod is not None else None
            if wish is None or pod is None:
                continue
            stirred = session.readies_seen != session.exchange.readies
            session.readies_seen = session.exchange.readies
            if not _free(session) or session.retry_at > now:
                continue
            if wish == PARK:
                if session.exchange.idle and not stirred and session.checkpoint is not None:
                    self._add(Errand(session, Purpose.PARK, self._wish_is(PARK, pod, session)))
            elif session.tenant in self._no_pod_at:
                continue
            elif session.exchange.quiescent:
                self._move_away(session, pod)
            elif session.on_idle is None:
                session.tell_when_idle(self._fell_idle)
            elif session.exchange.idle:  # it was not idle for a moment since the last time
                self._move_away(session, pod)

    def _fell_idle(self, session: Session) -> None:
        pod = session.pod_id
        if pod is not None and self._wish_of(session, pod) == MOVE and _free(session):
            self._move_away(session, pod, first=True)

    def _move_away(self, session: Session, pod: PodId, *, first: bool = False) -> None:
        errand = Errand(session, Purpose.MOVE, self._wish_is(MOVE, pod, session))
        self._add(errand, first=first)

    def _wish_is(self, wish: int, pod: PodId, session: Session) -> Callable[[], bool]:
        return lambda: (
            self._wish_of(session, pod) == wish
            and session.pod_id == pod
            and session.tenant not in self._no_pod_at
        )

    def _wish_of(self, session: Session, pod: PodId) -> int:
        """As the picture has it now, which `_wishes` follows a little late."""
        return self._door.pods.wish(session.tenant, pod)

    def _balance(self, tenants: list[TenantId], joined: set[TenantId]) -> None:
        pods, now = self._door.pods, self._door.clock.monotonic()
        self._shifted_at = {
            tenant: at for tenant, at in self._shifted_at.items() if at + SETTLE_SECONDS > now
        }
        shifts: list[Shift] = []
        for tenant in tenants:
            loads = pods.loads(pod for pod in pods.of(tenant) if pod.wish == SERVE)
            if len(loads) < 2 or (tenant in self._shifted_at and tenant not in joined):
                continue
            left = SHIFTS_MAX - sum(shift.sessions for shift in shifts)
            found = plan(loads, pods.own(), sessions_max=left, dice=self._dice.random())
            if found:
                self._shifted_at[tenant] = now
                shifts += found
                extra = {"tenant": tenant, "loads": repr(loads), "shifts": repr(found)}
                _log.info("balancing", extra=extra)
        if shifts:
            self._shift(shifts, now)

    def _shift(self, shifts: list[Shift], now: float) -> None:
        by_pod: dict[PodId, list[Session]] = {shift.source: [] for shift in shifts}
        for session in self._door.sessions:
            pod = session.pod_id
            if pod in by_pod and _free(session) and session.retry_at <= now:
                by_pod[pod].append(session)
        for shift in shifts:
            there = by_pod[shift.source]
            self._dice.shuffle(there)
            for session in there[: shift.sessions]:
                self._add(Errand(session, Purpose.MOVE, lambda: True, shift.target))
                metrics.REBALANCED.inc()
            del there[: shift.sessions]

    # How

    def _add(self, errand: Errand, *, first: bool = False) -> None:
        errand.session.claimed = True  # so that no session is in the queue twice
        if first:
            self._queue.appendleft(errand)
        else:
            self._queue.append(errand)
        self._start()

    def _start(self) -> None:
        while self._queue and self._places < self._door.limits.moves_max:
            errand = self._queue.popleft()
            self._places += 1
            errand.on_place_left = self._place_left
            task = spawn(self._run(errand), name="move session")
            self._active.add(task)
            task.add_done_callback(self._active.discard)

    def _place_left(self) -> None:
        self._places -= 1
        self._start()

    async def _run(self, errand: Errand) -> None:
        session = errand.session
        try:
            with logs.bound(session=session.name, tenant=session.tenant):
                outcome = await errand.run()
            if outcome is Outcome.NO_POD:  # nor will the next session of the tenant find one
                self._no_pod_at[session.tenant] = self._door.clock.monotonic()
        finally:
            session.claimed = False
            errand.leave_place()


def _free(session: Session) -> bool:
    """Whether it may be moved at all, as far as is known."""
    return (
        session.phase is Phase.RELAYING
        and not session.claimed
        and session.transfer is None
        and not session.held_because
    )
