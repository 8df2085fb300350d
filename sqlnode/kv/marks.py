"""The marks a transaction relies on: keys that must stay absent until it ends.

Whoever changes the shape of a table sets the mark of the old shape (`sqlnode.catalog.store`), and
holds the mark's lock exclusively from before it looks at the first row. Whoever writes rows shares
that lock, so each waits for the other, on whatever pod they are:

    use ──▶ wanted ──with the next lock request──▶ held      a mark that exists: CatalogStale,
              │                                              the statement is planned anew
              └──with the commit, as a guard                 a guard that fails: the same, and as
                                                             the transaction is over then, 40001

Nothing is sent for a mark alone as long as a request of the transaction can take it along. That
leaves one case: rows without any unique key are inserted, which asks storage nothing, and then the
transaction stays open. Its marks follow by themselves once it has been silent for a moment.
"""

from collections.abc import Iterable

from dormouse.base import blocks
from proto import kv_pb2 as kv

STRENGTHS = {
    "key_share": kv.KEY_SHARE,
    "share": kv.SHARE,
    "no_key_update": kv.NO_KEY_UPDATE,
    "update": kv.UPDATE,
}
"""Lock modes by the names the executor has for them."""


class Marks:
    """The marks of one transaction. Modes are those of kv.LockMode."""

    __slots__ = ("_announced", "_held", "_new", "_wanted")

    def __init__(self) -> None:
        self._held: dict[bytes, int] = {}
        self._wanted: dict[bytes, int] = {}
        self._announced: set[bytes] = set()
        self._new: set[bytes] = set()

    def __bool__(self) -> bool:
        """Whether some are not known to be locked."""
        return bool(self._wanted)

    def __repr__(self) -> str:
        return f"<Marks {len(self._held)} held, {len(self._wanted)} wanted>"

    @property
    def silent(self) -> bool:
        """Whether storage has not even been told of some."""
        return not self._wanted.keys() <= self._announced

    def use(self, mark: bytes, mode: int) -> None:
        """Rely on a mark."""
        if self._held.get(mark, 0) < mode:
            if mark not in self._wanted:
                self._new.add(mark)
            self._wanted[mark] = max(mode, self._wanted.get(mark, 0))

    def next_statement(self) -> None:
        """What was used so far is relied on to the end."""
        self._new.clear()

    def take_back(self) -> None:
        """The statement begins anew: it may come to use other shapes."""
        for mark in self._new:
            self._wanted.pop(mark, None)
        self._new.clear()

    def held(self, marks: Iterable[bytes], mode: int) -> None:
        """Marks are locked in this mode now."""
        for mark in marks:
            self._held[mark] = max(mode, self._held.get(mark, 0))
            if self._wanted.get(mark, 0) <= mode:
                self._wanted.pop(mark, None)

    def join(self, lock: kv.Lock) -> list[bytes]:
        """Let a lock request take along all that are wanted; `held` them once it is answered."""
        wanted = list(self._wanted)
        if wanted:
            lock.marks = blocks.pack(wanted)
            lock.marks_mode = kv.LockMode.ValueType(max(self._wanted.values()))
            self._announced.update(wanted)
        return wanted

    def guards(self) -> list[kv.Guard]:
        """For the commit: what is not known to be locked."""
        return [kv.Guard(key=mark) for mark in self._wanted]

    def is_guard(self, key: bytes) -> bool:
        """Whether a commit that was refused for this key was refused for a mark."""
        return key in self._wanted
