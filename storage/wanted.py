"""Tables of one tenant that somebody wants to lock in a strong mode, and what its pods know of it.

Nearly every lock of a table is weak (`storage.lockmodes`), and weak ones do not conflict with each
other. So a pod notes them in its own memory, for each of its transactions, and nobody is asked:
PostgreSQL's fast path, spread over pods. A strong lock (SHARE or more) calls them in first:

    pod 1: txn 7 ROW EXCLUSIVE ─┐ TableWord(t, recall 3)           Recalled(3, [txn 7 …])
    pod 2: nothing              ├◀── LockTables(t, SHARE) ──▶ all ──▶ into the lock table ──▶ queue
    pod 3: txn 9 ACCESS SHARE ──┘    every stream, the asker's too          │
                                                                            ▼
    from now on the pods ask for weak locks of t as well, and stand in the same queue as all others
    TableWord(t, no recall) ◀── the last who has or wants a strong lock is gone

What a pod has noted counts only as long as the stream lasts that it was noted under, so a stream
that is gone holds nothing but for commits that are on their way to the disk. These are waited for
before the recall is over: the rows of each are there for whoever builds an index, or the commit has
failed. A stream that does not answer is cut, and has gone when its last request can no longer be
taken; only then does the recall go on without it. One that opens meanwhile learns of the tables
with its hello, before it notes anything.

    commit of txn 7 ──▶ taken ──▶ committing ──▶ durable        its stream breaks anywhere here:
                   ✗ never taken     └── an orphan: the recall waits for its outcome

*Shapes.* A strong lock is what every change of a table's shape needs. The version of the catalog
that the last such change has made is kept for each table, here and (with the word that the lock is
gone) in the pods: a statement that was planned with an older one is refused its lock. So nobody
writes rows, or reads them, by a shape that the table no longer has.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from proto import kv_pb2 as kv
from storage.metrics import REFUSED, TABLE_RECALL_SECONDS

ANSWER_SECONDS = 5.0
"""How long a stream may take to answer a recall."""
CHANGED_MAX = 10_000
"""Tables whose last change is remembered; of the others it is known that it was before those."""

_log = logging.getLogger(__name__)


class Stream(Protocol):
    """A pod's stream."""

    def tell_table(self, word: kv.TableWord) -> None:
        """Send a word soon."""
        ...

    def cut(self, reason: str) -> None:
        """End the stream at once; it is reported when it is gone."""
        ...


class Changes:
    """By table: the catalog that the last change of its shape has made."""

    def __init__(self) -> None:
        self._versions: dict[int, int] = {}
        self._floor = 0

    def __repr__(self) -> str:
        return f"<Changes of {len(self._versions)} tables, the others before {self._floor}>"

    def begin(self, version: int) -> None:
        """Nothing is known of what happened before this version."""
        self._floor = version

    def note(self, table: int, version: int) -> None:
        """A table was changed."""
        self._versions.pop(table, None)
        self._versions[table] = version
        if len(self._versions) > CHANGED_MAX:
            self._floor = self._versions.pop(next(iter(self._versions)))

    def of(self, table: int) -> int:
        """The version a statement must have been planned with, or a later one."""
        return self._versions.get(table, self._floor)


@dataclass(slots=True, eq=False)
class _Wanted:
    recall: int
    owners: dict[object, None] = field(default_factory=dict)


class WantedTables:
    """See the module. `orphans` gives the outcomes of commits whose streams are gone."""

    def __init__(self, orphans: Callable[[], list[Awaitable[int]]]) -> None:
        self.changes = Changes()
        self._orphans = orphans
        self._wanted: dict[int, _Wanted] = {}
        self._answered: dict[Stream, int] = {}
        self._recalls = 0
        self._moved = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<WantedTables {sorted(self._wanted)}, recall {self._recalls}>"

    def join(self, stream: Stream) -> list[int]:
        """A stream begins: the tables that are wanted now."""
        self._answered[stream] = self._recalls
        return list(self._wanted)

    def left(self, stream: Stream) -> None:
        """A stream is gone, and with it its transactions."""
        if self._answered.pop(stream, None) is not None:
            self._move()

    def answered(self, stream: Stream, recall: int) -> None:
        """A stream has sent all that a recall asked for."""
        if stream in self._answered:
            self._answered[stream] = max(recall, self._answered[stream])
            self._move()

    async def want(self, table: int, owner: object) -> None:
        """Return when storage knows of all locks of a table, and hears of every new one until
        `owner`, and whoever else wants it, is `done` with it."""
        wanted = self._wanted.get(table)
        if wanted is None:
            wanted = self._wanted[table] = self._recall(table)
        wanted.owners[owner] = None
        with TABLE_RECALL_SECONDS.time():
            while self._behind(wanted.recall):
                await self._moved.wait()
            for outcome in self._orphans():
                await outcome

    def done(self, table: int, owner: object, *, changed: int = 0) -> None:
        """`owner` neither has nor wants a strong lock any more. `changed`: the catalog in which it
        has given the table another shape, perhaps."""
        wanted = self._wanted.get(table)
        if wanted is None or owner not in wanted.owners:
            return
        del wanted.owners[owner]
        if changed:
            self.changes.note(table, changed)
        if not wanted.owners:
            del self._wanted[table]
            self._tell(kv.TableWord(table=table, changed=self.changes.of(table)))

    def _recall(self, table: int) -> _Wanted:
        self._recalls += 1
        self._tell(kv.TableWord(table=table, recall=self._recalls))
        self._watch()
        return _Wanted(self._recalls)

    def _tell(self, word: kv.TableWord) -> None:
        for stream in self._answered:
            stream.tell_table(word)

    def _behind(self, recall: int) -> list[Stream]:
        return [stream for stream, answered in self._answered.items() if answered < recall]

    def _watch(self) -> None:
        if self._timer is None and self._behind(self._recalls):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(ANSWER_SECONDS, self._cut_late, self._recalls)

    def _cut_late(self, recall: int) -> None:
        self._timer = None
        for stream in self._behind(recall):
            REFUSED.labels("recall").inc()
            _log.warning("stream cut that did not answer a recall", extra={"recall": recall})
            stream.cut("the pod did not say in time which tables its transactions use")
        self._watch()

    def _move(self) -> None:
        if self._timer is not None and not self._behind(self._recalls):
            self._timer.cancel()
            self._timer = None
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
