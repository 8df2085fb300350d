"""What the leave says of a statement: go on, wait, or not. Pure: time and use are passed in.

    FREE       everything goes
    OPEN       begins while use < ceiling; a running one may pass it by MARGIN. Where the limit only
               slows down, it waits there for a bucket that begins empty
    THROTTLED  waits for the bucket, at its beginning and at its checkpoints
    STOPPED    reading and deleting begin while there is something in the bucket, and then keep its
               pace; the rest is refused

What concerns the session alone always goes: what a transaction wrote before may be committed.

Control unheard. In OPEN the ceiling grows from then on, for UNHEARD_SECONDS_MAX: control reckons
that in, so that so long without it passes no limit. The bucket's states stay as they are. Only
where the month turns meanwhile a stopped pod goes on by itself: open, from what it had used at that
moment, growing by the bucket's rate. How much of the new month others use it cannot know, so it
takes little.
"""

from dataclasses import dataclass, replace
from enum import Enum

from dormouse.base.units import MICRO
from sqlnode.spending.bucket import Bucket
from sqlnode.spending.leave import FREE, Kind, Leave, State

MARGIN = 100 * MICRO
"""What a statement that runs already may use beyond the ceiling before it is stopped, its commit
reckoned in: more may have been given in the meantime, and what it did would be wasted."""
UNHEARD_SECONDS_MAX = 3600.0
AT_CEILING_PER_SECOND = 10 * MICRO
"""What a pod that is only to be slowed down goes on with at its ceiling, until it hears more."""


class Action(Enum):
    """What becomes of a statement."""

    GO = "go"
    WAIT = "wait"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`seconds`: how long to wait, or when a refused one may be tried again (0: no telling)."""

    action: Action
    seconds: float = 0.0


GO = Verdict(Action.GO)
REFUSE = Verdict(Action.REFUSE)


@dataclass(frozen=True, slots=True)
class Moment:
    """When it is asked, and what was used by then."""

    now: float
    """Monotonic."""
    unix: float
    billed: int
    """What counts against the ceiling, since the stamp, and what a commit of whoever asks adds."""
    used: int
    """That and what was used while the pod was stopped: what empties the bucket."""


class Keeper:
    """Goes by the last leave."""

    def __init__(self) -> None:
        self.leave = FREE
        """As it is in force: the last one that was told, or what the turn of a month made of it."""
        self._bucket: Bucket | None = None
        self._unheard_since: float | None = None

    def __repr__(self) -> str:
        unheard = "" if self._unheard_since is None else " unheard"
        return f"<Keeper {self.leave.state.name}{unheard} {self._bucket}>"

    def take(self, leave: Leave, moment: Moment) -> None:
        """Control has told a leave."""
        before, self.leave = self.leave, leave
        self._unheard_since = None
        if leave.state not in (State.THROTTLED, State.STOPPED):
            self._bucket = None
        elif self._bucket is None or before.state is not leave.state:
            self._bucket = Bucket(leave.per_second, now=moment.now, used=moment.used)
        else:
            self._bucket.set_rate(leave.per_second, now=moment.now, used=moment.used)

    def lost(self, moment: Moment) -> None:
        """Control is not heard any more."""
        if self._unheard_since is None:
            self._unheard_since = moment.now

    def look(self, moment: Moment) -> bool:
        """See whether the month has turned with nobody to tell; whether that changed the leave."""
        leave = self.leave
        turned = 0 < leave.resets_at <= moment.unix
        if self._unheard_since is None or leave.state is not State.STOPPED or not turned:
            return False
        self.leave = replace(leave, state=State.OPEN, ceiling=moment.billed, resets_at=0, percent=0)
        self._bucket, self._unheard_since = None, moment.now
        return True

    def ceiling(self, now: float) -> int:
        """How far the use may grow, where the leave is an open one."""
        leave = self.leave
        if self._unheard_since is None:
            return leave.ceiling
        unheard = min(max(now - self._unheard_since, 0.0), UNHEARD_SECONDS_MAX)
        return leave.ceiling + int(unheard * leave.per_second)

    def begins(self, kind: Kind, moment: Moment) -> Verdict:
        """What becomes of a statement that is to begin."""
        if kind is Kind.SESSION:
            return GO
        match self.leave.state:
            case State.FREE:
                return GO
            case State.OPEN:
                within = moment.billed < self.ceiling(moment.now)
                return GO if within else self._beyond(moment)
            case State.THROTTLED:
                return self._paced(moment)
            case State.STOPPED:
                if kind is Kind.WRITE:
                    return REFUSE
                paced = self._paced(moment)
                return GO if paced is GO else Verdict(Action.REFUSE, paced.seconds)

    def goes_on(self, kind: Kind, moment: Moment) -> Verdict:
        """What becomes of a statement that runs, or of a cursor that is read on."""
        if kind is Kind.SESSION:
            return GO
        match self.leave.state:
            case State.FREE:
                return GO
            case State.OPEN:
                within = moment.billed <= self.ceiling(moment.now) + MARGIN
                return GO if within else self._beyond(moment)
            case State.THROTTLED:
                return self._paced(moment)
            case State.STOPPED:
                return REFUSE if kind is Kind.WRITE else self._paced(moment)

    def _beyond(self, moment: Moment) -> Verdict:
        if not self.leave.slows:
            return REFUSE
        if self._bucket is None:
            rate = AT_CEILING_PER_SECOND
            self._bucket = Bucket(rate, now=moment.now, used=moment.used, full=False)
        return self._paced(moment)

    def _paced(self, moment: Moment) -> Verdict:
        if self._bucket is None:
            return GO
        seconds = self._bucket.wait(moment.now, moment.used)
        return Verdict(Action.WAIT, seconds) if seconds else GO
