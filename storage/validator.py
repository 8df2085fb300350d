"""SERIALIZABLE: whether what a transaction has read is still so when it commits.

Every transaction that writes is given its place in the serial order by its commit time. One that
is serializable has read at its snapshot; if no other commit between the snapshot and its own time
has touched what it read, it would have read the same at its own time, so it is as if it had run
then, in one moment. (Validation backwards: Kung and Robinson, 1981.)

    snapshot @71                            commit @90
        │  read a, read [m, p)                  │  was a, or a key in [m, p), written since?
        ▼                                       ▼
    ────┬──────────┬─────────┬──────────────────┬────▶ commits
        71         74: b     80: n ✗ in [m, p)  90 refused: READ_CONFLICT

One that writes nothing has read a state that was there between two commits, so it needs no check.
This is stricter than PostgreSQL, which refuses only where two such dependencies follow each other:
whoever read what was overwritten is refused here even if no circle would have come of it. In return
nothing is remembered of transactions that have ended, and a read costs storage nothing.

Remembered is the time of the last write of each key since the oldest snapshot that may still be
checked, and only while there is one: tenants without SERIALIZABLE pay nothing. The memory is
bounded (`keys_max`); where it is not enough the oldest transactions are given up, and are refused
when they commit. What is on its way to the disk when a transaction begins counts as written right
after: its time is later than the snapshot.
"""

from bisect import bisect_left, insort
from collections.abc import Collection, Hashable, Iterable, Sequence

Range = tuple[bytes, bytes]
"""From a key (inclusive) to a key (exclusive)."""

Reader = Hashable

KEYS_MAX = 200_000
_SWEEP_KEYS = 1_000
"""From so many keys on it is looked which nobody needs any more; the next time when there are twice
as many as were left, so that a sweep is paid for by what has come since."""
_MANY_KEYS = 64
"""From so many new keys of one commit on, they are sorted in instead of put in one by one."""


class Validator:
    """What a tenant's open serializable transactions must know of the commits since they began."""

    def __init__(self, *, keys_max: int = KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._readers: dict[Reader, int] = {}
        """Their snapshots, in the order of beginning, and so of the snapshots."""
        self._times: dict[bytes, int] = {}
        self._order: list[bytes] = []
        self._sweep_at = min(_SWEEP_KEYS, keys_max)
        self._ranges: list[tuple[bytes, bytes, int]] = []
        """What was removed as a whole, and when."""

    def __repr__(self) -> str:
        return f"<Validator {len(self._readers)} readers, {len(self._times)} keys>"

    @property
    def watches(self) -> bool:
        """Whether commits must be told."""
        return bool(self._readers)

    def begin(
        self, reader: Reader, snapshot: int, pending: Iterable[Collection[bytes]], latest: int
    ) -> None:
        """A transaction reads at the newest snapshot from now on.

        `pending`: what commits write that are on their way; `latest`: the last time one was given.
        """
        if reader in self._readers:
            return
        self._readers[reader] = snapshot
        for keys in pending:
            self.wrote(latest, keys)

    def join(self, reader: Reader, snapshot: int) -> bool:
        """A transaction reads at this snapshot from now on, which is not the newest; False where no
        other one does, so that not all that was written since may be known."""
        if snapshot not in self._readers.values():
            return False
        joined = {**self._readers, reader: snapshot}
        self._readers = dict(sorted(joined.items(), key=lambda each: each[1]))
        return True

    def end(self, reader: Reader) -> None:
        """The transaction has ended."""
        if self._readers.pop(reader, None) is not None:
            self._forget()

    def wrote(self, time: int, keys: Collection[bytes], ranges: Sequence[Range] = ()) -> None:
        """A commit with this time is on its way."""
        if not self._readers:
            return
        if len(keys) > self._keys_max:
            # All are younger than every snapshot, so there is room for none of the readers.
            self._readers.clear()
            self._forget()
            return
        fresh = [key for key in keys if key not in self._times]
        if len(fresh) < _MANY_KEYS:
            for key in fresh:
                insort(self._order, key)
        else:
            self._order += fresh
            self._order.sort()
        self._times.update(dict.fromkeys(keys, time))
        self._ranges += [(start, end, time) for start, end in ranges]
        while len(self._times) + len(self._ranges) > self._keys_max and self._readers:
            # Half of them at a time: each sweep is a walk over all keys.
            for reader in list(self._readers)[: (len(self._readers) + 1) // 2]:
                del self._readers[reader]
            self._forget()

    def conflict(
        self, reader: Reader, keys: Iterable[bytes], ranges: Iterable[Range]
    ) -> bytes | None:
        """A key of what the reader has read that was written since; None if there is none.

        Raises LookupError where nothing is known of it: it was given up, or has not begun here.
        """
        snapshot = self._readers[reader]
        for key in keys:
            if self._times.get(key, 0) > snapshot or self._removed(key, key + b"\0", snapshot):
                return key
        for start, end in ranges:
            for at in range(bisect_left(self._order, start), bisect_left(self._order, end)):
                if self._times[self._order[at]] > snapshot:
                    return self._order[at]
            if self._removed(start, end, snapshot):
                return start
        return None

    def _removed(self, start: bytes, end: bytes, snapshot: int) -> bool:
        return any(
            time > snapshot and low < end and start < high for low, high, time in self._ranges
        )

    def _forget(self) -> None:
        """Let go of what is older than all snapshots."""
        if not self._readers:
            self._times.clear()
            self._order.clear()
            self._ranges.clear()
            self._sweep_at = min(_SWEEP_KEYS, self._keys_max)
        elif len(self._times) + len(self._ranges) >= self._sweep_at:
            oldest = next(iter(self._readers.values()))
            self._order = [key for key in self._order if self._times[key] > oldest]
            self._times = {key: self._times[key] for key in self._order}
            self._ranges = [each for each in self._ranges if each[2] > oldest]
            left = len(self._times) + len(self._ranges)
            self._sweep_at = min(max(2 * left, _SWEEP_KEYS), self._keys_max)
