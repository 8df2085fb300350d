"""A token bucket that is emptied by what was used, seen afterwards.

    balance  ┤ ╲            ╱‾‾‾‾‾‾  at most BURST_SECONDS of the rate
           0 ┼──╲──────────╱───────
             ┤   ╲____╱╲__╱          at least -DEBT_SECONDS_MAX of it

A statement may begin while the balance is above zero, and what it uses is taken when it is known:
so the balance can fall below, and the next one waits until it has risen. However much one statement
took, nobody waits longer than DEBT_SECONDS_MAX for it.
"""

import math

BURST_SECONDS = 10.0
DEBT_SECONDS_MAX = 60.0


class Bucket:
    """Filled at a rate in millionths of a unit a second."""

    __slots__ = ("_at", "_balance", "_rate", "_seen")

    def __init__(self, rate: int, *, now: float, used: int, full: bool = True) -> None:
        """`used`: the sum so far of what empties it. It begins full, or with nothing in it."""
        self._rate = rate
        self._balance = BURST_SECONDS * rate if full else 0.0
        self._at = now
        self._seen = used

    def __repr__(self) -> str:
        return f"<Bucket {self._balance / 1e6:.1f} units, {self._rate / 1e6:.1f} a second>"

    def set_rate(self, rate: int, *, now: float, used: int) -> None:
        """From now on another rate."""
        self.settle(now, used)
        self._rate = rate
        self.settle(now, used)

    def settle(self, now: float, used: int) -> None:
        """Take what was used since the last time, and add what has come."""
        came = (now - self._at) * self._rate - max(used - self._seen, 0)
        low, high = -DEBT_SECONDS_MAX * self._rate, BURST_SECONDS * self._rate
        self._balance = min(max(self._balance + came, low), high)
        # What is used is estimated between two looks and may be less the next time.
        self._at, self._seen = now, max(used, self._seen)

    def wait(self, now: float, used: int) -> float:
        """Seconds until there is something in it: 0 if there is, infinite if nothing comes."""
        self.settle(now, used)
        if self._balance > 0:
            return 0.0
        if not self._rate:
            return math.inf
        # A hair more than none, so that whoever has waited finds it above zero.
        return (1.0 - self._balance) / self._rate
