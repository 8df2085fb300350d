"""How one transaction comes by row locks, and what it knows of the rows then.

A lock answers the newest value of its key, and while the transaction holds it nobody else writes
that key: so a key is asked for once, and again only in a stronger mode. Of a key that the
transaction has written itself, what it wrote is the newest.

What is locked before it is looked at may turn out to be of no use: UPDATE of a primary key that
does not exist, or does not meet the rest of the condition; INSERT … ON CONFLICT DO NOTHING of a key
that does. PostgreSQL, which looks first, locks nothing then. So such a lock is tentative, and given
back when nothing is made of it (`forgo`): the key was only read.
"""

from __future__ import annotations  # the client makes transactions

from typing import TYPE_CHECKING

from dormouse.base import blocks
from proto import kv_pb2 as kv
from sqlnode.kv.api import Isolation, Locked
from sqlnode.kv.buffer import Missing, WriteBuffer
from sqlnode.kv.heldlocks import HeldLocks, check_old

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlnode.kv.reads import ReadSet
    from sqlnode.kv.savepoints import Savepoints
    from sqlnode.kv.transaction import KvTransaction

LOCKS_PER_REQUEST = 2_048

_STRENGTHS = {
    "key_share": kv.KEY_SHARE,
    "share": kv.SHARE,
    "no_key_update": kv.NO_KEY_UPDATE,
    "update": kv.UPDATE,
}
_WAITS = {
    "wait": kv.WAIT,
    "nowait": kv.NOWAIT,
    "skip_locked": kv.SKIP_LOCKED,
    "look": kv.LOOK,
    "wait_for_row": kv.WAIT_FOR_ROW,
}
_LOOKING = ("look", "wait_for_row")


class RowLocks:
    """The row locks of `owner`; `reads` is what of it is validated, None for nothing."""

    __slots__ = ("_buffer", "_held", "_keeps_snapshot", "_owner", "_reads", "_savepoints")

    def __init__(
        self,
        owner: KvTransaction,
        buffer: WriteBuffer,
        savepoints: Savepoints,
        reads: ReadSet | None,
    ) -> None:
        self._owner = owner
        self._buffer = buffer
        self._savepoints = savepoints
        self._reads = reads
        self._keeps_snapshot = owner.isolation is not Isolation.READ_COMMITTED
        self._held = HeldLocks()

    def __repr__(self) -> str:
        return f"<RowLocks of {self._owner!r}>"

    async def lock(
        self,
        keys: Sequence[bytes],
        *,
        strength: str,
        wait: str,
        new: bool,
        proves: bool,
    ) -> list[Locked]:
        """See `sqlnode.kv.api.Transaction.lock`."""
        mode = _STRENGTHS[strength]
        known = [self.known(key, mode) for key in keys]
        asked = [key for key, own in zip(keys, known, strict=True) if own is None]
        self._held.ask(asked if new or wait in _LOOKING else ())
        if not asked:
            return [own for own in known if own is not None]
        snapshot = await self._needed_snapshot() if self._keeps_snapshot else 0
        judged_by = 0 if new else snapshot
        locked = await self._ask(asked, mode, wait, judged_by, new=new, proves=proves)
        if new and self._keeps_snapshot:
            check_old(locked)
        found = iter(self._own(asked, locked))
        return [next(found) if own is None else own for own in known]

    async def lock_new(self, keys: Sequence[bytes]) -> list[Locked]:
        """Lock keys that are to be inserted. One that somebody else has committed is a duplicate
        under every isolation level, however young."""
        self._held.ask(())
        if self._reads is not None:
            await self._needed_snapshot()  # one that a lock has given cannot be validated
        return await self._ask(keys, kv.UPDATE, "wait", 0, new=True, proves=True)

    def forgo(self) -> bool:
        """Nothing was made of what the last `lock` asked for tentatively: it has only been read.
        Answers whether there was anything, so that storage is to be told."""
        keys = self._held.forgo()
        if self._reads is not None:
            self._reads.add_keys(keys)
        return bool(keys)

    def forget(self, savepoint: int) -> None:
        """What was got behind this savepoint is free, or weaker, again."""
        self._held.forget(savepoint)

    def clear(self) -> None:
        """The transaction has ended."""
        self._held.clear()

    def disjoint(self, keys: Sequence[bytes]) -> bool:
        """Whether none of the keys is known to be held."""
        return self._held.disjoint(keys)

    def known(self, key: bytes, mode: int = kv.UPDATE) -> Locked | None:
        """The key, if it is held in this mode or a stronger one; None: storage is to be asked."""
        own = self._buffer.newest(key)
        if not isinstance(own, Missing) and not self._held.is_weaker(key, mode):
            return Locked(own, changed=False)
        return self._held.find(key, mode, self._owner.snapshot)

    def _own(self, keys: Sequence[bytes], locked: list[Locked]) -> list[Locked]:
        """What is locked more strongly than it was when it was written is what was written."""
        if not self._buffer:
            return locked
        owns = [self._buffer.newest(key) for key in keys]
        return [
            each if isinstance(own, Missing) else Locked(own, changed=False, locked=each.locked)
            for own, each in zip(owns, locked, strict=True)
        ]

    async def _needed_snapshot(self) -> int:
        """From REPEATABLE READ on a lock is judged by the snapshot, so there must be one."""
        return self._owner.snapshot or await self._owner.look()

    async def _ask(
        self,
        keys: Sequence[bytes],
        mode: int,
        wait: str,
        snapshot: int,
        *,
        new: bool,
        proves: bool,
    ) -> list[Locked]:
        owner, locked = self._owner, list[Locked]()
        for at in range(0, len(keys), LOCKS_PER_REQUEST):
            part = keys[at : at + LOCKS_PER_REQUEST]
            lock = kv.Lock(
                keys=blocks.pack(part),
                mode=kv.LockMode.ValueType(mode),
                wait=_WAITS[wait],
                timeout_ms=owner.lock_timeout_ms,
                snapshot=snapshot,
                savepoint=self._savepoints.locking(),
                tentative=self._held.tentative,
                new=new,
            )
            request = kv.Request(lock=lock)
            if proves:
                owner.prove(request)
            reply = (await owner.locked(request)).lock
            owner.saw_lock(reply.snapshot, taken=not snapshot and 1 in reply.locked)
            savepoint = self._savepoints.newest
            locked += self._held.take(part, reply, mode, owner.snapshot, savepoint)
        return locked
