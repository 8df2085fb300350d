"""Group commit: whatever wants to be durable at the same moment shares one write.

    commit ─┐                     ┌─ publish, reply
    commit ─┼─▶ queue ─▶ apply ───┼─ publish, reply        (in the order they were queued)
    stage  ─┘   (one task)        └─ reply

While one group is on its way to the disk the next one gathers, so the busier the shard, the larger
the groups. The order of the queue is the order of commit times, of durability and of publication.
Where a large group is under way, something small of a tenant that has nothing in it may still join
it (`Engine.join`) instead of waiting for the end of somebody else's commit; it comes last in it.

When an apply fails, nothing of it is there. What is queued behind it may have been checked against
what it would have written, so all of it fails with it; later submissions start afresh. Where one
submission was applied alone, only its own tenant's go with it; and a group that has met damaged
data is tried again one by one, for the damage is nobody's affair but its tenant's.

Where the engine is lost, it stays open whether the group is there. Then nobody is answered any
more: whoever waits learns the truth by asking the next process (storage/resolve.py).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from storage.admission import Admission
from storage.engines.interface import Engine, EngineDamaged, EngineError, EngineLost, Write
from storage.failures import Failures
from storage.layout import (
    LAST_COMMIT,
    TIME,
    ended_key,
    record_age_key,
    record_list,
    tenant_of,
)
from storage.metrics import APPLIES, APPLY_SECONDS, JOINED
from storage.shares import Share
from storage.sizes import Sizes

JOINED_BYTES_MAX = 4 << 10
"""Of one submission that joins a group. Its writes are a statement of their own, which takes 60 µs
and a turn of the interpreter."""
GROUP_JOINED_MAX = 8
"""Submissions that join one group: it is not to become much longer."""


@dataclass(eq=False, slots=True)
class Submission:
    """Writes that become durable together. `done` is called once, with what went wrong or None."""

    writes: Sequence[Write]
    done: Callable[[EngineError | None], None]
    size: int = 0
    """Bytes, for the bounds of groups and queue."""
    time: int = 0
    """The commit time, if these are a transaction's writes."""
    record: bytes = b""
    """The key of the transaction's record."""
    share: Share | None = None
    """Whose these are; None: the system's."""
    ended: Sequence[bytes] = ()
    """Keys of what the transaction supersedes and retires, to be removed one day."""
    window: int = 0
    """How long that is kept; ticks."""
    alone: bool = False
    """Applied by itself: what becomes of it concerns its own tenant's writes at most."""
    relied_on: bool = True
    """Whether what is queued behind it may have been checked against what it writes."""


class Committer:
    """The queue to the engine and the one task that empties it."""

    def __init__(
        self,
        engine: Engine,
        sizes: Sizes,
        admission: Admission,
        failures: Failures,
        *,
        group_bytes_max: int,
        queue_bytes_max: int,
    ) -> None:
        self._engine = engine
        self._admission = admission
        self._sizes = sizes
        self._group_bytes_max = group_bytes_max
        self._queue_bytes_max = queue_bytes_max
        self._queue: deque[Submission] = deque()
        self._queued_bytes = 0
        self._failures = failures
        self._singly = 0
        """How many of the next submissions are applied one by one."""
        self.keys_written = 0
        """In all, since the start; each as often as it was written."""
        self._group: list[Submission] = []
        """What is being applied."""
        self._group_keys = self._joins_left = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closing = self._lost = False
        self._task = spawn(self._run(), name="committer")

    def submit(self, submission: Submission) -> None:
        """Queue writes; `submission.done` tells the end. Raises EngineError once closed."""
        if self._closing or self._lost:
            raise EngineError("storage is ending")
        if submission.share is not None:
            self._admission.queued(submission.share, submission.size)
        if self._join(submission):
            return
        self._queue.append(submission)
        self._queued_bytes += submission.size
        if self._queued_bytes > self._queue_bytes_max:
            self._room.clear()
        self._wake.set()

    def _join(self, submission: Submission) -> bool:
        """Let it become a part of the group that is on its way, if that is somebody else's: it is
        not to wait for the end of that and then for an fsync of its own."""
        if (
            not self._group
            or self._queue
            or self._joins_left == 0
            or submission.alone
            or submission.size > JOINED_BYTES_MAX
            or any(each.alone or each.share is submission.share for each in self._group)
        ):
            return False
        batch = _batch([submission])
        if not self._engine.join(batch):
            return False
        self._group.append(submission)
        self._group_keys += len(batch)
        self._joins_left -= 1
        JOINED.inc()
        return True

    async def write(
        self, writes: Sequence[Write], *, share: Share | None = None, alone: bool = False
    ) -> None:
        """Queue writes that belong to no transaction and wait until they are durable.

        `share`: whose they are; None: the system's. `alone`: see `Submission`.
        """
        size = _size(writes)
        await self._durable(lambda done: Submission(writes, done, size, share=share, alone=alone))

    async def remove(self, keys: Sequence[bytes], *, share: Share | None) -> None:
        """Queue the removal of keys that nobody reads any more, by itself, and wait until it is
        durable. Where it fails, nothing else does."""
        writes = [(key, None) for key in keys]

        def make(done: Callable[[EngineError | None], None]) -> Submission:
            size = _size(writes)
            return Submission(writes, done, size, share=share, alone=True, relied_on=False)

        await self._durable(make)

    async def commit(
        self, writes: Sequence[Write], *, time: int, record: bytes, published: Callable[[], None]
    ) -> None:
        """Queue writes with a commit time of their own and wait until they are durable;
        `published` is called in the order of commit times."""

        def make(done: Callable[[EngineError | None], None]) -> Submission:
            def finished(error: EngineError | None) -> None:
                if error is None:
                    published()
                done(error)

            return Submission(writes, finished, _size(writes), time, record)

        await self._durable(make)

    async def _durable(
        self, make: Callable[[Callable[[EngineError | None], None]], Submission]
    ) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: EngineError | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self.submit(make(done))
        await future

    @property
    def full(self) -> bool:
        """Whether new work should wait for `room`."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait until the queue is below its bound."""
        await self._room.wait()

    async def close(self) -> None:
        """Make durable what is queued, refuse anything later."""
        self._closing = True
        self._wake.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue and not self._lost:
                await self._apply_group(self._take())
            if self._closing or self._lost:
                return

    def _take(self) -> list[Submission]:
        group = [self._queue.popleft()]
        size = group[0].size
        while (
            not group[0].alone
            and self._queue
            and not self._queue[0].alone
            and not self._singly
            and size + self._queue[0].size <= self._group_bytes_max
        ):
            size += self._queue[0].size
            group.append(self._queue.popleft())
        self._singly = max(self._singly - 1, 0)
        self._queued_bytes -= size
        if self._queued_bytes <= self._queue_bytes_max:
            self._room.set()
        return group

    async def _apply_group(self, group: list[Submission]) -> None:
        APPLIES.inc()
        started = time.perf_counter()
        batch = _batch(group)
        self._group, self._group_keys, self._joins_left = group, len(batch), GROUP_JOINED_MAX
        try:
            with APPLY_SECONDS.time():
                await self._engine.apply(batch)
        except EngineLost as error:
            self._failures.write_failed(error)
            self._lost = True
        except EngineError as error:
            self._failures.write_failed(error)
            if isinstance(error, EngineDamaged) and len(group) > 1:
                self._again_singly(group)
            elif isinstance(error, EngineDamaged) and group[0].share is None:
                self._leave(group[0], error)  # nobody has relied on what the system removes
            elif not group[0].relied_on:
                self._leave(group[0], error)
            elif len(group) == 1:
                self._fail(group, error, share=group[0].share)
            else:
                self._fail(group, error)
        else:
            # A commit has a record at least. Of other writes the disk may see nothing: SQLite
            # leaves a page alone that holds a value already, or does not hold what is to go.
            if any(submission.time for submission in group):
                self._failures.wrote()
            self.keys_written += self._group_keys
            parts = [(submission.share, submission.size) for submission in group]
            self._admission.applied(parts, time.perf_counter() - started)
            for submission in group:
                if submission.record:
                    self._sizes.committed(submission.record)
                else:
                    self._sizes.wrote(submission.writes)
                self._leave(submission, None)
        finally:
            self._group = []

    def _again_singly(self, group: list[Submission]) -> None:
        self._queue.extendleft(reversed(group))
        self._queued_bytes += sum(submission.size for submission in group)
        self._singly = len(group)

    def _fail(
        self, group: list[Submission], error: EngineError, *, share: Share | None = None
    ) -> None:
        """Fail a group and what is queued behind it: all of it, or what is this tenant's."""
        behind = [each for each in self._queue if share is None or each.share is share]
        others = [each for each in self._queue if share is not None and each.share is not share]
        self._queue = deque(others)
        self._queued_bytes = sum(each.size for each in others)
        if self._queued_bytes <= self._queue_bytes_max:
            self._room.set()
        for submission in [*group, *behind]:
            self._leave(submission, error)

    def _leave(self, submission: Submission, error: EngineError | None) -> None:
        if submission.share is not None:
            self._admission.written(submission.share, submission.size)
        submission.done(error)


def _size(writes: Sequence[Write]) -> int:
    return sum(len(key) + len(value or b"") for key, value in writes)


def _batch(group: list[Submission]) -> list[Write]:
    """The writes of a group and, where it holds commits, their records."""
    batch = [write for submission in group for write in submission.writes]
    commits = [submission for submission in group if submission.time]
    if commits:
        last = commits[-1].time
        batch += [(each.record, TIME.pack(each.time)) for each in commits]
        batch.append((record_age_key(last), record_list([each.record for each in commits])))
        batch.append((LAST_COMMIT, TIME.pack(last)))
        batch += _ended_lists(commits)
    return batch


def _ended_lists(commits: list[Submission]) -> Iterator[Write]:
    """What a group supersedes, one list for each tenant: for the garbage collection."""
    tenants: dict[TenantId, tuple[Submission, list[bytes]]] = {}
    for each in commits:
        if each.ended:
            tenant = tenant_of(each.record)
            keys = tenants[tenant][1] if tenant in tenants else []
            keys += each.ended
            tenants[tenant] = (each, keys)
    for tenant, (last, keys) in tenants.items():
        yield ended_key(last.time + last.window, tenant, last.time, 0), blocks.pack(keys)
