"""The newest version of recently used keys, in memory: a hot point read is one dict look-up.

The leader is the only writer, so what it has published is the truth and need not be asked for
again. The one danger is a read of the engine that started before a commit was published and ends
after it: it brings back yesterday's value. Every such read is therefore a `Load` registered here;
publishing a key marks it stale in all open loads, and a stale key is not kept.

    load starts ── engine reads old value ───────────── load ends: key is stale, not kept
                        publish(key, new) ──▶ marks it

A record is (since, payload): the state of the key since a time. For a value that is its commit
time; for an absent key, a time since which it is known to be absent (the true one may be earlier).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

Record = tuple[int, bytes | None]

_OVERHEAD = 260
"""Bytes one record costs beside its key and payload: tuple, int, headers of bytes, and 160 for its
place in the order. That is an OrderedDict, for the first key of a plain dict is found by walking
over all that were taken out before it: with 200,000 records that takes 0.1 ms and more."""


class Load:
    """A read of the engine on its way; `stale` are keys it must not be believed about."""

    __slots__ = ("stale",)

    def __init__(self) -> None:
        self.stale: set[bytes] = set()


class VersionCache:
    """Newest versions, least recently used ones dropped beyond `bytes_max` bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._records: OrderedDict[bytes, Record] = OrderedDict()
        self._bytes_max = bytes_max
        self._loads: set[Load] = set()
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<VersionCache {len(self._records)} keys, {self.bytes} bytes>"

    def get(self, key: bytes) -> Record | None:
        """The newest version of `key`, or None where the engine must be asked."""
        record = self._records.get(key)
        if record is not None:
            self._records.move_to_end(key)
        return record

    def publish(self, key: bytes, record: Record) -> None:
        """A commit of `key` became visible."""
        for load in self._loads:
            load.stale.add(key)
        self._store(key, record)

    def forget(self, keys: Iterable[bytes]) -> None:
        """The keys changed in a way that is not worth remembering."""
        changed, records = list(keys), self._records
        for key in [key for key in changed if key in records]:
            self._drop(key)
        for load in self._loads:
            load.stale.update(changed)

    @contextmanager
    def loading(self) -> Iterator[Load]:
        """Announce a read of the engine; hand its results to `loaded` before leaving."""
        load = Load()
        self._loads.add(load)
        try:
            yield load
        finally:
            self._loads.discard(load)

    def loaded(self, load: Load, key: bytes, record: Record) -> None:
        """Keep what a load found, unless the key changed meanwhile."""
        if key not in load.stale:
            self._store(key, record)

    def keep(self, key: bytes, record: Record) -> None:
        """Keep what was read just now, with nothing in between that could have changed it."""
        self._store(key, record)

    def _store(self, key: bytes, record: Record) -> None:
        self._drop(key)
        self._records[key] = record
        self.bytes += _size(key, record)
        while self.bytes > self._bytes_max and self._records:
            self.bytes -= _size(*self._records.popitem(last=False))

    def _drop(self, key: bytes) -> None:
        record = self._records.pop(key, None)
        if record is not None:
            self.bytes -= _size(key, record)


def _size(key: bytes, record: Record) -> int:
    return len(key) + (0 if record[1] is None else len(record[1])) + _OVERHEAD
