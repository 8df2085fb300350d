"""What a serializable transaction has read, for storage to validate at its commit.

Keys and ranges, each as it was asked for: a scan that stopped early has read up to where its last
page ended. The set is bounded. When it is full, what lies next to each other is joined, gaps
included, so it only ever says more than was read: more conflicts, never fewer.
"""

from bisect import bisect_right
from collections.abc import Iterable

from dormouse.base import blocks
from proto import kv_pb2 as kv

KEYS_MAX = 20_000
RANGES_MAX = 2_000

_Range = tuple[bytes, bytes]


class ReadSet:
    """Made for one transaction."""

    __slots__ = ("_keys", "_ranges")

    def __init__(self) -> None:
        self._keys: set[bytes] = set()
        self._ranges: dict[_Range, None] = {}

    def __repr__(self) -> str:
        return f"<ReadSet {len(self._keys)} keys, {len(self._ranges)} ranges>"

    def __bool__(self) -> bool:
        return bool(self._keys) or bool(self._ranges)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys or any(low <= key < high for low, high in self._ranges)

    def add_keys(self, keys: Iterable[bytes]) -> None:
        """These were looked for, found or not."""
        self._keys.update(keys)
        if len(self._keys) > KEYS_MAX:
            for key in self._keys:
                self._ranges[key, key + b"\0"] = None
            self._keys.clear()
            self._join()

    def add_range(self, start: bytes, end: bytes) -> None:
        """All from `start` to `end` (exclusive) was read."""
        self._ranges[start, end] = None
        if len(self._ranges) > RANGES_MAX:
            self._join()

    def message(self) -> kv.Reads:
        """As a commit carries it."""
        ranges = merged(self._ranges)
        starts = [start for start, _ in ranges]
        keys = [key for key in self._keys if not _within(key, starts, ranges)]
        return kv.Reads(
            keys=blocks.pack(keys), ranges=[kv.Range(start=low, end=high) for low, high in ranges]
        )

    def _join(self) -> None:
        """Make room: half of the bound, at the most, is left."""
        ranges = merged(self._ranges)
        while len(ranges) > RANGES_MAX // 2:
            pairs = [ranges[at : at + 2] for at in range(0, len(ranges), 2)]
            ranges = [(pair[0][0], pair[-1][1]) for pair in pairs]
        self._ranges = dict.fromkeys(ranges)


def merged(ranges: dict[_Range, None]) -> list[_Range]:
    """The same keys in as few ranges as possible, in order."""
    found: list[_Range] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _within(key: bytes, starts: list[bytes], ranges: list[_Range]) -> bool:
    at = bisect_right(starts, key) - 1
    return at >= 0 and key < ranges[at][1]
