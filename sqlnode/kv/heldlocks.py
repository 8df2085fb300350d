"""The keys a transaction has locked, with what storage said of them then.

While a key is locked exclusively nobody else changes it, so what the lock answered is still its
newest value: asking again would be a round trip for nothing.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dormouse.base import blocks
from proto import kv_pb2 as kv
from sqlnode.kv.api import Locked
from sqlnode.kv.errors import write_conflict

LOCKS_REMEMBERED = 65_536
"""Locked keys whose values are kept, to spare a second round trip for the same row."""


@dataclass(frozen=True, slots=True)
class _Held:
    mode: int
    value: bytes | None
    version: int
    savepoint: int
    before: "_Held | None" = None
    """As it was held, more weakly, before that savepoint."""


class HeldLocks:
    """What one transaction holds. `snapshot` is that of the statement that asks, 0 for none."""

    __slots__ = ("_asked", "_before", "_by_key")

    def __init__(self) -> None:
        self._by_key: dict[bytes, _Held] = {}
        self._asked: Sequence[bytes] = ()
        """The keys of the last request, if that was tentative."""
        self._before: dict[bytes, _Held | None] = {}
        """How those of them were held that it got."""

    def disjoint(self, keys: Sequence[bytes]) -> bool:
        """Whether none of the keys is known to be held."""
        return self._by_key.keys().isdisjoint(keys)

    def find(self, key: bytes, mode: int, snapshot: int) -> Locked | None:
        """The key, if it is held in this mode or a stronger one, and nobody can change it."""
        held = self._by_key.get(key)
        if held is None or held.mode < mode or held.mode < kv.SHARE:
            return None
        changed = _is_changed(held.value, held.version, snapshot)
        return Locked(held.value, changed, locked=True, version=held.version)

    def is_weaker(self, key: bytes, mode: int) -> bool:
        """Whether the key is known to be held, and that in a weaker mode than this."""
        held = self._by_key.get(key)
        return held is not None and held.mode < mode

    @property
    def tentative(self) -> bool:
        """Whether what is asked for now may be given back."""
        return bool(self._asked)

    def ask(self, tentative: Sequence[bytes]) -> None:
        """Locks are wanted, perhaps to be given back; those got before cannot be any more."""
        self._asked = tentative
        self._before = {}

    def forgo(self) -> Sequence[bytes]:
        """The keys that were asked for tentatively: they are held as before."""
        asked = self._asked
        for key, held in self._before.items():
            if held is None:
                del self._by_key[key]
            else:
                self._by_key[key] = held
        self.ask(())
        return asked

    def take(
        self, keys: Sequence[bytes], reply: kv.LockReply, mode: int, snapshot: int, savepoint: int
    ) -> list[Locked]:
        """What storage answers to a lock request, made behind this savepoint: remembered, and as
        the executor has it."""
        versions = struct.unpack(f"<{len(keys)}Q", reply.versions)
        values = blocks.unpack(reply.values)
        locked: list[Locked] = []
        for key, value, version, got in zip(keys, values, versions, reply.locked, strict=True):
            if got:
                self._remember(key, _Held(mode, value, version, savepoint))
            changed = _is_changed(value, version, snapshot)
            locked.append(Locked(value, changed, got == 1, version))
        return locked

    def forget(self, savepoint: int) -> None:
        """The locks got behind this savepoint are free, or weaker, again."""
        gone = [(key, held) for key, held in self._by_key.items() if held.savepoint >= savepoint]
        for key, held in gone:
            left = held.before
            while left is not None and left.savepoint >= savepoint:
                left = left.before
            if left is None:
                del self._by_key[key]
            else:
                self._by_key[key] = left

    def clear(self) -> None:
        """The transaction has ended."""
        self._by_key.clear()

    def _remember(self, key: bytes, held: _Held) -> None:
        before = self._by_key.get(key)
        if before is not None and before.mode >= held.mode:
            held = replace(before, value=held.value, version=held.version)
        elif before is not None:
            held = replace(held, before=before)
        if before is not None or len(self._by_key) < LOCKS_REMEMBERED:
            if self._asked:
                self._before.setdefault(key, before)
            self._by_key[key] = held


def check_old(found: Sequence[Locked]) -> None:
    """What there is must be what the snapshot saw; what is gone may have gone since. Raises
    SqlError 40001."""
    if any(each.value is not None and each.changed for each in found):
        raise write_conflict()


def _is_changed(value: bytes | None, version: int, snapshot: int) -> bool:
    return snapshot != 0 and (value is None or version > snapshot)
