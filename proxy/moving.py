"""One session leaves its pod: for another one, or for the park.

    move:  connect to the other pod ──▶ ask for the session ──▶ resume it there
           (before anything stops)      (the client waits from here … to here: one round trip each)
    park:                               ask for the session ──▶ keep its state, close the connection

Once a pod has been asked there is no way back but its answer: what the client sends is held until
it comes. That is a round trip where the pod has nothing to do. Where it is at work (`hurry`) that
takes as long as the client would have waited for the work anyway, so there is no time limit; a pod
that is gone is noticed by its connection.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from dormouse.base.errors import DormouseError
from dormouse.base.ids import PodId
from pgwire.link import GivenAway, Purpose, Refused
from proto.autoscaler_pb2 import MOVE, PodAddress
from proxy import metrics
from proxy.dialer import Dialer, Seat
from proxy.phase import Phase
from proxy.resuming import resume
from proxy.session import Session

MOMENT_SECONDS = 2.0
"""How long to wait for a moment to ask; after half of it less good moments will do."""
ANSWER_SECONDS = 3.0
"""How long a connection waits for a session that was asked for; and a place among those that are
moved at a time."""
RETRY_SECONDS = 2.0
RETRY_SECONDS_MAX = 20.0
"""How long a session is left alone that its pod did not give away; twice as long each time."""

_BUSY_WORDS = ("transaction", "pipeline", "COPY", "messages wait", "statement")

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What came of moving or parking a session; a metric label."""

    MOVED = "moved"
    PARKED = "parked"
    BUSY = "refused_busy"
    """It was never between two transactions, as far as its pod or the proxy could tell."""
    HELD = "refused_held"
    """Something ties it to its pod."""
    NO_POD = "refused_no_pod"
    """There is no other pod that could be reached."""
    NO_ROOM = "refused_no_room"
    """Its state is too large to be kept here, or the client had something to say: it went on."""
    UNWISHED = "unwished"
    """Nobody wants it any more."""
    OVER = "over"
    """The session ended by itself, or lost its pod first."""
    FAILED = "failed"
    """It was given away, and closed with an error."""


@dataclass(slots=True, eq=False)
class Errand:
    """A session to be moved or parked."""

    session: Session
    purpose: Purpose
    still_wished: Callable[[], bool]
    target: PodId | None = None
    """The pod to move to; None: the best one."""
    on_place_left: Callable[[], None] | None = None
    """Called once, when others need not wait for this one any more."""
    spare: Seat | None = None
    """The connection that waits for the session."""

    async def run(self) -> Outcome:
        """Do it, and count it."""
        session, before = self.session, self.session.pod_id
        try:
            outcome = await self._run()
        finally:
            self._drop_spare()
        if outcome in (Outcome.MOVED, Outcome.PARKED):
            session.retry_wait = 0.0
        elif outcome in (Outcome.BUSY, Outcome.HELD, Outcome.NO_ROOM):
            _leave_alone(session)
        metrics.MOVES.labels(self.purpose.name.lower(), outcome.value).inc()
        extra = {"purpose": self.purpose.name, "outcome": outcome.value, "source": before}
        _log.info("session to be elsewhere", extra=extra | {"target": session.pod_id})
        return outcome

    def leave_place(self) -> None:
        """Let others begin. Idempotent."""
        left, self.on_place_left = self.on_place_left, None
        if left is not None:
            left()

    async def _run(self) -> Outcome:
        session = self.session
        if not self.still_wished():
            return Outcome.UNWISHED
        if session.phase is not Phase.RELAYING:
            return Outcome.OVER
        if self.purpose is Purpose.MOVE:
            self.spare = await self._connect()
            if self.spare is None:
                return Outcome.NO_POD
        answer = await self._ask()
        if not isinstance(answer, GivenAway):
            return answer
        if self.purpose is Purpose.PARK and session.park(answer.sealed):
            return Outcome.PARKED
        spare, self.spare = self.spare, None
        if not await resume(session, answer.sealed, spare=spare):
            return Outcome.FAILED
        return Outcome.MOVED if self.purpose is Purpose.MOVE else Outcome.NO_ROOM

    async def _connect(self) -> Seat | None:
        session, door = self.session, self.session.door
        dialer = Dialer(door, session.tenant, session.link)
        address: PodAddress | None = None
        try:
            address = await self._choose(dialer)
            if address is None:
                return None
            async with door.slots.one_of(session.tenant):
                return address, await dialer.connect(address, resumes=True)
        except (OSError, TimeoutError) as error:
            if address is not None:
                dialer.not_taken(address, error)
        except DormouseError as error:
            _log.info("no other pod", extra={"cause": error.message})
        return None

    async def _choose(self, dialer: Dialer) -> PodAddress | None:
        if self.target is None:
            return await dialer.other_than(self.session.pod_id)
        pods = self.session.door.pods.of(self.session.tenant)
        usable = (pod for pod in pods if pod.pod_id == self.target and pod.wish != MOVE)
        return next(usable, None)

    async def _ask(self) -> GivenAway | Outcome:
        """The session's state, and no pod has it any more; or what came of it instead."""
        session = self.session
        transfer = session.want(self.purpose, self.purpose.name.lower())
        if transfer is None:
            return Outcome.OVER
        for _ in range(2):
            if not transfer.asked:
                await asyncio.wait({transfer.answer}, timeout=MOMENT_SECONDS / 2)
                session.hurry()
        if not transfer.asked and session.unwant():
            return Outcome.BUSY
        done, _ = await asyncio.wait({transfer.answer}, timeout=ANSWER_SECONDS)
        if not done:
            self._drop_spare()
            self.leave_place()
            await asyncio.wait({transfer.answer})
        match transfer.answer.result():
            case GivenAway() as given:
                return given
            case Refused(reason):
                _log.info("pod keeps the session", extra={"reason": reason})
                busy = any(word in reason for word in _BUSY_WORDS)
                return Outcome.BUSY if busy else Outcome.HELD
            case None:
                return Outcome.OVER

    def _drop_spare(self) -> None:
        if self.spare is not None:
            self.spare[1].close()
            self.spare = None


def _leave_alone(session: Session) -> None:
    session.retry_wait = min(max(session.retry_wait * 2, RETRY_SECONDS), RETRY_SECONDS_MAX)
    session.retry_at = session.door.clock.monotonic() + session.retry_wait
