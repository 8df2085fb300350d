"""Sequences: numbers given once each, outside any transaction, with the disk some steps ahead.

    on disk     ───────────────────────────────▶ 33        "everything up to 33 is given"
    in memory   ──────▶ 5                                  the truth; 6 to 33 cost no write

As PostgreSQL does, a write covers LOG_AHEAD numbers more than were asked for. Those are then given
from memory, at once; a crash skips what is left of them. A number is never given before the write
that covers it is durable: where that is still on its way, the answer waits for it.

A sequence that is not on disk was never used: its first number is the `start` that comes with the
request. What the numbers look like (increment, bounds, cycle) comes with each request too; storage
keeps nothing but where it stands.
"""

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from storage.committer import Committer, Submission
from storage.engines.interface import Engine, EngineError, Write
from storage.layout import counter_key
from storage.metrics import SEQUENCE_TAKES
from storage.shares import Share

LOG_AHEAD = 32
TAKEN_MAX = 1 << 16
"""Numbers in one answer."""
_SEQUENCES_MAX = 50_000
_STATE = struct.Struct("<q?")
_NUMBERS = range(-(2**63), 2**63)

Done = Callable[[EngineError | None], None]
"""Called once what was done is durable, or with why it is not."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the numbers of a sequence look like."""

    start: int
    increment: int
    """Not 0."""
    min: int
    max: int
    cycle: bool


@dataclass(frozen=True, slots=True)
class State:
    """Where a sequence stands."""

    last: int
    called: bool
    """Whether `last` was given; if not, it is the next."""
    covered: int
    """Up to where the disk has the numbers as given."""


@dataclass(frozen=True, slots=True)
class Block:
    """Numbers that were given: `count` of them, the shape's increment apart."""

    first: int
    count: int


def take(state: State, shape: Shape, count: int) -> tuple[Block, State, bool]:
    """Give up to `count` numbers: them, the state after, and whether the disk has to be told of it
    first. An empty block: the sequence has reached its end."""
    first = _next(state, shape)
    if first is None:
        return Block(0, 0), state, False
    room = _steps(first, shape.min if shape.increment < 0 else shape.max, shape.increment)
    given = min(max(count, 1), room + 1, TAKEN_MAX)
    last = first + (given - 1) * shape.increment
    wraps = (first - state.last) * shape.increment <= 0
    if state.called and not wraps and (state.covered - last) * shape.increment >= 0:
        return Block(first, given), State(last, called=True, covered=state.covered), False
    ahead = min(LOG_AHEAD, room + 1 - given)
    covered = last + ahead * shape.increment
    return Block(first, given), State(last, called=True, covered=covered), True


def _next(state: State, shape: Shape) -> int | None:
    if not state.called:
        return state.last
    up = shape.increment > 0
    if _steps(state.last, shape.max if up else shape.min, shape.increment):
        return state.last + shape.increment
    if not shape.cycle:
        return None
    return shape.min if up else shape.max


def _steps(value: int, end: int, increment: int) -> int:
    """How often the increment can be added to a value before it is beyond `end`."""
    return max((end - value) // increment, 0)


def returned(state: State, following: int, last: int, increment: int) -> State:
    """The state after the numbers from `following` to `last` were not needed; the same where they
    are not the newest, or none can come before them."""
    before = following - increment
    if not state.called or state.last != last or (last - following) * increment < 0:
        return state
    return State(before, called=True, covered=state.covered) if before in _NUMBERS else state


def log_count(state: State, increment: int) -> int:
    """How many numbers the disk has as given that are not."""
    return _steps(state.last, state.covered, increment) if state.called else 0


Answer = Callable[[Block, EngineError | None], None]
"""Likewise, with the numbers."""


@dataclass(slots=True, eq=False)
class _Sequence:
    state: State
    waiting: list[list[Done]] = field(default_factory=list)
    """Who waits for each write on its way, the oldest first."""


class Sequences:
    """All sequences of a shard; those in use are kept in memory."""

    def __init__(self, engine: Engine, committer: Committer) -> None:
        self._engine = engine
        self._committer = committer
        self._sequences: OrderedDict[bytes, _Sequence] = OrderedDict()
        self._loading: dict[bytes, asyncio.Lock] = {}

    def state(self, key: bytes) -> State | None:
        """Where a sequence stands that is in memory; otherwise `load` it first and ask again."""
        sequence = self._sequences.get(key)
        return None if sequence is None else sequence.state

    def take(
        self, key: bytes, shape: Shape, count: int, answer: Answer, *, share: Share | None = None
    ) -> None:
        """Give numbers of a sequence that is in memory, when they are durable. `share`: whose it
        is."""
        sequence = self._used(key)
        block, sequence.state, ahead = take(sequence.state, shape, count)

        def done(error: EngineError | None) -> None:
            answer(block, error)

        SEQUENCE_TAKES.labels("disk" if ahead else "memory").inc()
        if ahead:
            self._write(key, sequence, done, share)
        elif sequence.waiting:
            sequence.waiting[-1].append(done)
        else:
            done(None)

    def put(
        self, key: bytes, value: int, *, called: bool, done: Done, share: Share | None = None
    ) -> None:
        """Let a sequence that is in memory go on from a value."""
        sequence = self._used(key)
        sequence.state = State(value, called, covered=value)
        self._write(key, sequence, done, share)

    def give_back(self, key: bytes, following: int, last: int, increment: int) -> None:
        """See `returned`. The disk goes on covering the numbers."""
        sequence = self._sequences.get(key)
        if sequence is not None:
            sequence.state = returned(sequence.state, following, last, increment)

    async def load(self, key: bytes, start: int) -> None:
        """Bring a sequence into memory."""
        lock = self._loading.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if key not in self._sequences:
                    [value] = await self._engine.get([counter_key(key)])
                    found = State(start, False, start) if value is None else _decoded(value)
                    self._sequences[key] = _Sequence(found)
        finally:
            if not lock.locked():
                self._loading.pop(key, None)
        self._shrink()

    def forget(self, start: bytes, end: bytes) -> None:
        """The sequences in a range are gone from the engine."""
        for key in [key for key in self._sequences if start <= key < end]:
            del self._sequences[key]

    def settle(self) -> None:
        """The shard is about to close: let the disk say exactly where each sequence stands."""
        for key, sequence in self._sequences.items():
            last, called = sequence.state.last, sequence.state.called
            if sequence.state.covered != last:
                sequence.state = State(last, called, covered=last)  # from here on none for nothing
                with suppress(EngineError):  # then the next process skips some
                    self._committer.submit(Submission([_written(key, sequence.state)], _ignore))

    def _used(self, key: bytes) -> _Sequence:
        self._sequences.move_to_end(key)
        return self._sequences[key]

    def _write(self, key: bytes, sequence: _Sequence, done: Done, share: Share | None) -> None:
        waiting = [done]
        sequence.waiting.append(waiting)

        def written(error: EngineError | None) -> None:
            sequence.waiting.remove(waiting)
            if error is not None and self._sequences.get(key) is sequence:
                del self._sequences[key]
            for each in waiting:
                each(error)

        write = _written(key, sequence.state)
        size = len(write[0]) + _STATE.size
        self._committer.submit(Submission([write], written, size, share=share))

    def _shrink(self) -> None:
        excess = len(self._sequences) - _SEQUENCES_MAX
        if excess > 0:
            old = [key for key, _ in zip(self._sequences, range(2 * excess), strict=False)]
            for key in old:
                if not self._sequences[key].waiting:
                    del self._sequences[key]


def _written(key: bytes, state: State) -> Write:
    return counter_key(key), _STATE.pack(state.covered, state.called)


def _decoded(value: bytes) -> State:
    last, called = _STATE.unpack(value)
    return State(last, called, covered=last)


def _ignore(error: EngineError | None) -> None:
    del error
