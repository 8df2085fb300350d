"""Where the time of a wake goes, as the proxy sees it: parts that follow each other without a gap.

    startup ─▶ resolve ─▶ wake ─▶ dial ─▶ login ─▶ (the client thinks) ─▶ first_row

`resolve` is the look-up of the tenant and all checks, `wake` the autoscaler's answer, `dial` the
connection to the pod with what was tried in vain, `login` up to ReadyForQuery, `first_row` from the
client's first bytes after that to the first answer to them.
"""

from collections import defaultdict

from dormouse.base.clock import Clock
from proxy import metrics


class Stopwatch:
    """Laps of one login. Laps of the same name add up."""

    __slots__ = ("_at", "_clock", "_laps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at = clock.monotonic()
        self._laps: defaultdict[str, float] = defaultdict(float)

    def lap(self, part: str) -> None:
        """What has passed since the last lap was this part."""
        now = self._clock.monotonic()
        self._laps[part] += now - self._at
        self._at = now

    def total(self) -> float:
        """Seconds of all laps."""
        return sum(self._laps.values())

    def parts(self) -> dict[str, float]:
        """Seconds by part."""
        return dict(self._laps)

    def observe_wake(self) -> None:
        """Put the laps in the breakdown of wakes."""
        for part, seconds in self._laps.items():
            metrics.WAKE_SECONDS.labels(part).observe(seconds)


class FirstRow:
    """The last part: tell it when the client has asked, and whenever the pod has answered."""

    __slots__ = ("_asked_at", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_at: float | None = None

    def asked(self) -> None:
        """The client's first bytes have come."""
        if self._asked_at is None:
            self._asked_at = self._clock.monotonic()

    def answered(self) -> bool:
        """The pod has sent something. True if it was the answer, and has been noted."""
        if self._asked_at is None:
            return False
        metrics.WAKE_SECONDS.labels("first_row").observe(self._clock.monotonic() - self._asked_at)
        return True
