"""A pod's spending: holds the leave against what is used, for all sessions of the pod.

    control ──leave──▶ take ─┐                    ┌─ is_calm    every statement, under a microsecond
    stream broken ────▶ lost ┼─▶ Keeper ─verdict──┼─ begin      raises, or waits
    counters ────────▶ Scale ┘      │             └─ go_on      at checkpoints
                                    └─ billed or not ─▶ accounts

Nothing here waits for control. When half of what a leave gave is used, and again when all of it is,
the next report is sent at once, so that more comes while there is still some left. Whoever
waits for the bucket is woken by the next leave: a limit that was raised counts at once.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from prometheus_client import Counter, Gauge

from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId
from dormouse.base.metrics import REGISTRY
from pgwire.notices import Notice
from sqlnode.errors import SqlError
from sqlnode.spending import words
from sqlnode.spending.keeper import Action, Keeper, Moment, Verdict
from sqlnode.spending.leave import Kind, Leave, State
from sqlnode.spending.scale import Scale

WAIT_SECONDS_MAX = 60.0
"""A statement is not held longer at its beginning, nor at a checkpoint: it goes on then."""

_log = logging.getLogger(__name__)

STATE = Gauge(
    "dormouse_pod_spend_state",
    "1 for what the spend limit lets this pod do: free, open, throttled, stopped.",
    ["state"],
    registry=REGISTRY,
)
REFUSED = Counter(
    "dormouse_pod_spend_refusals_total",
    "Statements refused or ended by a spend limit, by the state of the pod.",
    ["state"],
    registry=REGISTRY,
)
WAITED = Counter(
    "dormouse_pod_spend_waits_seconds_total",
    "How long statements were held to keep to a rate, by the state of the pod.",
    ["state"],
    registry=REGISTRY,
)


class Spending:
    """See the module. Without `begin_with` nothing is limited."""

    def __init__(self, tenant: TenantId, clock: Clock) -> None:
        self.limited = False
        """Whether a statement has to ask."""
        self._tenant = tenant
        self._clock = clock
        self._keeper = Keeper()
        self._scale: Scale | None = None
        self._ask: Sequence[Callable[[], None]] = ()
        self._calm_below = 0
        """Below this use there is nothing to decide and nothing to ask for."""
        self._asked_at_end = False
        self.waiting = 0
        """Statements that are held now."""
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Spending {self._keeper} {self._scale} waiting={self.waiting}>"

    @property
    def leave(self) -> Leave:
        """The leave in force."""
        return self._keeper.leave

    # --- what control says -------------------------------------------------------------------

    def begin_with(self, leave: Leave, scale: Scale) -> None:
        """The pod is stamped."""
        self._scale = scale
        self.take(leave)

    def on_need(self, *ask: Callable[[], None]) -> None:
        """What is to be called when control should hear soon what is used."""
        self._ask = ask

    def take(self, leave: Leave) -> None:
        """Control has told a leave."""
        if self._scale is None:
            raise RuntimeError("not stamped")
        before = self._keeper.leave
        # First who pays: what counts against the ceiling is read after that.
        self._scale.bill(leave.state is not State.STOPPED)
        self._scale.look()
        self._keeper.take(leave, self._moment())
        self._in_force(before)

    def lost(self) -> None:
        """Control is not heard."""
        if self._scale is not None:
            self._keeper.lost(self._moment())

    def _in_force(self, before: Leave) -> None:
        leave = self._keeper.leave
        self.limited = leave.state is not State.FREE
        self._calm_below = 0
        if leave.state is State.OPEN and self._scale is not None:
            left = max(leave.ceiling - self._scale.billed(), 0)
            self._calm_below = leave.ceiling - left // 2
            self._asked_at_end = False
        if leave.ceiling < before.ceiling:
            # What this pod may no longer use is another one's as soon as control has heard of it.
            self._ask_now()
        for state in State:
            STATE.labels(state.name.lower()).set(state is leave.state)
        if leave.state is not before.state:
            extra = {"before": before.state.name, "limit": leave.limit, "percent": leave.percent}
            _log.info("spending is %s", leave.state.name.lower(), extra=extra)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # --- what sessions ask -------------------------------------------------------------------

    def is_calm(self, unsent: int) -> bool:
        """Whether statements may go on without a look at what they are: nearly always. `unsent`:
        what a commit would use."""
        scale = self._scale
        return scale is not None and scale.billed() + unsent < self._calm_below

    async def begin(self, kind: Kind, unsent: int) -> None:
        """A statement of this kind is to begin. Raises SqlError 53400."""
        await self._obey(kind, unsent, self._keeper.begins)

    async def go_on(self, kind: Kind, unsent: int) -> None:
        """One that runs, or a cursor that is read on, may do so. Raises SqlError 53400."""
        await self._obey(kind, unsent, self._keeper.goes_on)

    def notice(self) -> Notice | None:
        """What a client is told at login."""
        return words.at_login(self._keeper.leave, self._tenant)

    def _moment(self, unsent: int = 0) -> Moment:
        scale, clock = self._scale, self._clock
        if scale is None:
            raise RuntimeError("not stamped")
        billed = scale.billed() + unsent
        return Moment(clock.monotonic(), clock.wall_ns() / 1e9, billed, scale.used())

    async def _obey(
        self, kind: Kind, unsent: int, verdict_of: Callable[[Kind, Moment], Verdict]
    ) -> None:
        until = self._clock.monotonic() + WAIT_SECONDS_MAX
        while True:
            moment = self._look(unsent)
            verdict = verdict_of(kind, moment)
            if verdict.action is Action.REFUSE:
                raise self._refusal(kind, verdict)
            if verdict.action is Action.GO or moment.now >= until:
                return
            await self._wait(min(verdict.seconds, until - moment.now))

    def _look(self, unsent: int) -> Moment:
        moment = self._moment(unsent)
        before = self._keeper.leave
        if self._keeper.look(moment):
            if self._scale is not None:
                self._scale.bill(True)
            _log.warning("the month has turned and control is not heard")
            self._in_force(before)
        elif before.state is State.OPEN and not self._asked_at_end:
            # At the half, and at the end; the next leave begins anew.
            self._asked_at_end = moment.billed >= before.ceiling
            self._calm_below = before.ceiling
            self._ask_now()
        return moment

    def _ask_now(self) -> None:
        for ask in self._ask:
            ask()

    async def _wait(self, seconds: float) -> None:
        changed, since = self._changed, self._clock.monotonic()
        state = self._keeper.leave.state.name.lower()
        self.waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            self.waiting -= 1
            WAITED.labels(state).inc(max(self._clock.monotonic() - since, 0.0))

    def _refusal(self, kind: Kind, verdict: Verdict) -> SqlError:
        leave = self._keeper.leave
        REFUSED.labels(leave.state.name.lower()).inc()
        if leave.state is State.OPEN:
            return words.used_up(leave, self._tenant)
        if kind is Kind.WRITE:
            return words.stopped(leave, self._tenant)
        return words.trickled(leave, self._tenant, verdict.seconds)
