"""What a tenant has removed lately: the keys that a scan of the past must look for, in memory.

A scan at an older snapshot meets the keys that have changed since in its page of current rows. Keys
that are gone are not there: they lie where only removals do, in the order of keys (storage/layout),
and a range may hold many that went long before the snapshot. But most snapshots are young, those of
statements that run, and of these all removals since are here, in the order of time.

    time ──────┬─────────────────────────────▶
        since  │ k7 k2  k9 k2   k1      k4          at 20 k1 and k4 are looked for
               └──┴──┴──┴──┴─────20──┴───┴────
"""

from collections import deque
from collections.abc import Iterable

_KEYS_MAX = 32_768
"""Remembered of a tenant, some 150 bytes each."""


class Removals:
    """The removals of one tenant since `since`, those of commits on their way included."""

    __slots__ = ("_log", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        """All that was removed after this is known."""
        self._log: deque[tuple[int, bytes]] = deque()

    def __repr__(self) -> str:
        return f"<Removals {len(self._log)} since {self.since}>"

    def note(self, time: int, keys: Iterable[bytes]) -> None:
        """A commit with this time, above all before it, removes keys."""
        self._log.extend([(time, key) for key in keys])
        while len(self._log) > _KEYS_MAX:
            self.since, _ = self._log.popleft()

    def lost(self, time: int) -> None:
        """A commit with this time may remove keys that nobody has listed."""
        self._log.clear()
        self.since = time

    def of_range(self, start: bytes, end: bytes, snapshot: int) -> list[tuple[bytes, int]] | None:
        """The keys of a range removed after `snapshot`, and when; None: not all are known."""
        if snapshot < self.since:
            return None
        found = []
        for time, key in reversed(self._log):
            if time <= snapshot:
                break
            if start <= key < end:
                found.append((key, time))
        return found
