"""Staged pieces on their way in: taken apart, locked and written a little at a time.

A pod sends what it stages in pieces of 1 MiB, tens of thousands of rows of which may be in one. To
unpack, lock and write one in one go would keep the event loop, and then the disk, for as long as
twenty small commits of others take. So a piece is kept here for a moment, and cut:

    stage ─▶ ▓▓▓▓▓▓▓▓ ─▶ unpack, check ─▶ ▓│▓│▓│▓│ ─▶ lock, look, pack ─▶ turn ─▶ durable ─▶ reply
             a tenant's,  all of it,       each is a    one after           one on its
             in order     or refused       piece now    the other           way at a time

Each of these steps is a read to who decides who is next (storage/admission.py), and each turn a
write of `Engine.turn_bytes`, like those of a commit that is put in its place; of four times as much
while nobody else is about. While one turn is on its way to the disk the next one is made ready.

Pieces of a tenant are taken in the order in which they came, so those of a transaction have their
numbers in that order. A commit waits until nothing of its transaction is left here; a transaction
that ends leaves nothing behind it, for nothing of it is written any more after that. What a crash
leaves of a piece has no marker, and the next start drops it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn
from proto import kv_pb2 as kv
from storage import pieces
from storage.admission import Admission
from storage.cache import Record
from storage.caps import Caps, staged
from storage.committer import Committer, Submission
from storage.engines.interface import Engine, EngineError, Row, ScanRange
from storage.layout import history_range
from storage.lockmodes import NO_KEY_UPDATE, UPDATE
from storage.locks import LockTable
from storage.quotas import Quotas
from storage.refusals import Refusal, transaction_ended
from storage.supersede import growth_of
from storage.tenants import Prepared, Transaction

T = TypeVar("T")
_PARTS_MAX = 200_000
_ROWS_MAX = 2000
"""Of a piece: with so many the event loop is busy for some 2 ms."""
_TURNS_ALONE = 4
"""Turns in one write while no other tenant is about."""
_NOTHING: Record = (0, None)
Items = list[tuple[bytes, bytes | None]]


@dataclass(eq=False, slots=True)
class _Load:
    """What one request stages."""

    transaction: Transaction
    message: kv.Writes
    ends: Callable[[EngineError], None]
    size: int
    total: int
    """Bytes that the transaction has staged with it."""
    waiting: int
    """Bytes of it that are not on their way to the disk yet."""
    answer: "asyncio.Future[int]"
    over: "asyncio.Future[None]"
    """Done when there is nothing left to do here."""
    turns: int = 0
    """Writes that are on their way."""
    sent: bool = False
    """There will be no more of them."""
    begun: bool = False
    """Some of it belongs to the transaction."""
    refused: Refusal | None = None
    failed: EngineError | None = None


@dataclass(eq=False, slots=True)
class _Lane:
    """A tenant's loads."""

    loads: deque[_Load] = field(default_factory=deque)
    under_way: int = 0
    """Bytes on their way to the disk."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Intake:
    """That of a shard."""

    def __init__(
        self,
        engine: Engine,
        committer: Committer,
        admission: Admission,
        caps: Caps,
        locks: LockTable,
        quotas: Quotas,
        end: Callable[[Transaction], None],
    ) -> None:
        """`end`: ends a transaction of which something could not be written."""
        self._engine = engine
        self._committer = committer
        self._admission = admission
        self._caps = caps
        self._locks = locks
        self._quotas = quotas
        self._end = end
        self._lanes: dict[TenantId, _Lane] = {}

    def __repr__(self) -> str:
        return f"<Intake {sum(len(lane.loads) for lane in self._lanes.values())} loads wait>"

    def add(
        self, transaction: Transaction, message: kv.Writes, ends: Callable[[EngineError], None]
    ) -> "asyncio.Future[int]":
        """Take in what a request stages: the bytes staged so far, when it is durable. What is
        awaited raises Refusal and EngineError; QUOTA where the rows without an older version alone
        are more than the tenant may store, so that a load need not send the rest.

        `ends`: called when the transaction ends, because this could not be written.

        Raises Refusal (TOO_LARGE, TOO_MUCH_STAGED).
        """
        size = len(message.keys) + len(message.values)
        self._caps.check_staged(transaction, size)
        if transaction.pieces >= _PARTS_MAX:
            raise Refusal(kv.Error.TOO_LARGE, "the transaction stages too much")
        staged(transaction, size)
        loop, tenant = asyncio.get_running_loop(), transaction.tenant
        total, answer, over = transaction.staged_bytes, loop.create_future(), loop.create_future()
        load = _Load(transaction, message, ends, size, total, size, answer, over)
        transaction.staging.add(load.over)
        self._admission.queued(tenant.share, size)
        lane = self._lanes.setdefault(tenant.id, _Lane())
        lane.loads.append(load)
        lane.moved.set()
        if lane.task is None:
            lane.task = spawn(self._run(tenant.id, lane), name=f"intake of tenant {tenant.id}")
        return load.answer

    async def close(self) -> None:
        """Stop: whatever is here belongs to no commit."""
        await cancel(*[lane.task for lane in self._lanes.values()])

    async def _run(self, tenant: TenantId, lane: _Lane) -> None:
        try:
            while lane.loads or lane.under_way:
                if lane.loads:
                    await self._take(lane, lane.loads.popleft())
                else:
                    lane.moved.clear()
                    await lane.moved.wait()
        finally:
            del self._lanes[tenant]
            for load in lane.loads:
                self._over(load, failed=_ending())

    async def _take(self, lane: _Lane, load: _Load) -> None:
        try:
            cut = await self._cut(load)
            load.begun = True
            await self._write(lane, load, cut)
        except Refusal as refusal:
            self._over(load, refused=refusal)
        except EngineError as error:
            self._over(load, failed=error)
        except BaseException:
            self._over(load, failed=_ending())
            raise
        else:
            self._over(load)

    async def _cut(self, load: _Load) -> list[Items]:
        """The rows of a load, cut into pieces. Raises Refusal, and nothing of it is there then."""
        transaction = load.transaction
        cut = transaction.tenant.span.cut_writes(
            load.message, rows_max=_ROWS_MAX, bytes_max=pieces.PIECE_BYTES
        )

        async def one() -> Items | None:
            return next(cut, None)

        found: list[Items] = []
        while (some := await self._step(transaction, one)) is not None:
            found.append(some)
        keys = [[key for key, _ in some] for some in found]
        self._caps.check_new_locks(transaction, *keys)
        return found

    async def _step(self, transaction: Transaction, work: Callable[[], Awaitable[T]]) -> T:
        """Keep the event loop for a moment, when it is the tenant's turn; then others have it."""
        done = await self._admission.read(transaction.tenant.share, work)
        await asyncio.sleep(0)
        return done

    async def _write(self, lane: _Lane, load: _Load, cut: list[Items]) -> None:
        transaction, quota = load.transaction, None
        turn: list[Row] = []
        for some in cut:
            rows = await self._step(transaction, partial(self._rows, transaction, some))
            if turn and _size(turn) + _size(rows) > self._turn_bytes:
                await self._send(lane, load, turn)
                turn = []
            turn += rows
            quota = quota or self._over_quota(transaction)
        await self._send(lane, load, turn)
        if quota is not None:
            raise quota

    async def _rows(self, transaction: Transaction, some: Items) -> list[Row]:
        """Lock the keys of a piece that are free, see whether it is clear, and pack it."""
        if transaction.ended:
            raise transaction_ended()
        keys = [key for key, _ in some]
        held = self._locks.acquire_free(transaction, keys, UPDATE)
        locked = all(self._locks.mode_held(transaction, key) >= NO_KEY_UPDATE for key in held)
        prepared = Prepared(held, count=len(some))
        if locked:
            low, high = min(keys), max(keys) + b"\0"
            spans = [(low, high), history_range(low, high)]
            pages = await self._engine.scan([ScanRange(*span, 1, 1) for span in spans])
            prepared.clear = not any(page.rows for page in pages)
        if prepared.clear and self._quotas.of(transaction.tenant.id):
            prepared.growth = growth_of(some, dict.fromkeys(keys, _NOTHING))
        parts = pieces.packed(blocks.pack(keys), blocks.pack([value for _, value in some]))
        prepared.parts = range(transaction.pieces, transaction.pieces + len(parts))
        transaction.pieces = prepared.parts.stop
        transaction.prepared.append(prepared)
        return pieces.rows(transaction.name, prepared.parts.start, parts)

    def _over_quota(self, transaction: Transaction) -> Refusal | None:
        """Why its clear pieces are too much. They stay: the commit may take as much away."""
        growth = sum(prepared.growth for prepared in transaction.prepared)
        try:
            if growth:
                self._quotas.check(transaction.tenant.id, growth)
        except Refusal as refusal:
            return refusal
        return None

    @property
    def _turn_bytes(self) -> int:
        return self._engine.turn_bytes * (1 if self._admission.contended else _TURNS_ALONE)

    async def _send(self, lane: _Lane, load: _Load, rows: list[Row]) -> None:
        """Write rows when there is room, a turn at a time."""
        for turn in _turns(rows, self._turn_bytes):
            size = _size(turn)
            while lane.under_way and lane.under_way + size > self._turn_bytes:
                lane.moved.clear()
                await lane.moved.wait()
            if load.failed is not None:
                raise load.failed
            # Whatever ends it removes what has been sent, which is behind that in the queue.
            if load.transaction.ended:
                raise transaction_ended()
            self._submit(lane, load, turn, size)

    def _submit(self, lane: _Lane, load: _Load, turn: list[Row], size: int) -> None:
        share = load.transaction.tenant.share

        def done(error: EngineError | None) -> None:
            lane.under_way -= size
            lane.moved.set()
            load.turns -= 1
            load.failed = load.failed or error
            self._answer(load)

        # One that is a turn of its own concerns nobody else's commits if it fails.
        alone = 2 * size >= self._turn_bytes
        self._committer.submit(Submission(turn, done, size, share=share, alone=alone))
        lane.under_way += size
        load.turns += 1
        passed = min(size, load.waiting)
        load.waiting -= passed
        self._admission.written(share, passed)

    def _over(
        self, load: _Load, *, refused: Refusal | None = None, failed: EngineError | None = None
    ) -> None:
        load.sent = True
        load.refused = refused
        load.failed = load.failed or failed
        self._answer(load)

    def _answer(self, load: _Load) -> None:
        """Tell the end of it, if this is the end."""
        if not load.sent or load.turns:
            return
        transaction = load.transaction
        self._admission.written(transaction.tenant.share, load.waiting)
        transaction.staging.discard(load.over)
        load.over.set_result(None)
        error = load.failed or load.refused
        if load.refused is not None and not load.begun and not transaction.ended:
            staged(transaction, -load.size)
        if load.failed is not None and not transaction.ended:
            load.ends(load.failed)
            self._end(transaction)
        if load.answer.done():
            return
        if error is None:
            load.answer.set_result(load.total)
        else:
            load.answer.set_exception(error)


def _ending() -> EngineError:
    return EngineError("storage is ending")


def _size(rows: list[Row]) -> int:
    return sum(len(key) + len(value) for key, value in rows)


def _turns(rows: list[Row], size_max: int) -> Iterator[list[Row]]:
    """Rows in their order, as many together as fit, one at least."""
    turn: list[Row] = []
    size = 0
    for row in rows:
        size += len(row[0]) + len(row[1])
        if turn and size > size_max:
            yield turn
            turn, size = [], len(row[0]) + len(row[1])
        turn.append(row)
    if turn:
        yield turn
