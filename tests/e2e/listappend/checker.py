"""What a history of list appends proves about isolation (after Kingsbury and Alvaro, Elle, 2020).

Every value is appended once, to one list; so whoever reads a list sees the order of its writes, and
from that follows which transaction came before which:

    wr   a wrote the last value that b read           b read what a did
    ww   a wrote the value right before b's            b overwrote what a did
    rw   a read up to the value right before b's       b changed what a had read

A circle of these is an anomaly, and its kinds of arrows say which one:

    ww                    G0        dirty write                     never
    ww, wr                G1c       circular information flow       never
    exactly one rw        G-single  read skew, lost update          not from REPEATABLE READ on
    any                   G2        write skew, phantoms            not under SERIALIZABLE

Besides circles: values of transactions that failed (G1a), or that their transaction appended to
later (G1b); lists that are no beginning of each other; values twice; acknowledged values that are
gone; transactions of which a part was seen, whatever became of who saw it.

The last transaction reads all lists when nobody writes any more: it says which order is the true
one, and what became of those whose clients do not know.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple


class Fate(Enum):
    """What a client knows of its transaction."""

    COMMITTED = "committed"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Append(NamedTuple):
    """A value that was appended to a list."""

    key: int
    value: int


class Read(NamedTuple):
    """A list, as it was read."""

    key: int
    values: tuple[int, ...]


class Torn(NamedTuple):
    """What was read beside a list is not all of what one transaction wrote there."""

    key: int
    what: str


Operation = Append | Read | Torn


@dataclass(slots=True)
class Transaction:
    """What a transaction did, in order."""

    fate: Fate = Fate.UNKNOWN
    operations: list[Operation] = field(default_factory=list)


class Level(Enum):
    """Isolation levels, and which circles they forbid."""

    READ_COMMITTED = "READ COMMITTED"
    REPEATABLE_READ = "REPEATABLE READ"
    SERIALIZABLE = "SERIALIZABLE"


Edges = dict[int, set[int]]
"""From a transaction to those after it, all by their number in the history."""


class _Orders:
    """The order of each list, as the last transaction read it, and who appended what."""

    def __init__(self, history: Sequence[Transaction]) -> None:
        self.problems: list[str] = []
        self.writer: dict[Append, int] = {}
        self.last: dict[tuple[int, int], int] = {}
        for number, transaction in enumerate(history):
            for each in transaction.operations:
                if isinstance(each, Append):
                    self.writer[each] = number
                    self.last[number, each.key] = each.value
        self.lists: dict[int, tuple[int, ...]] = defaultdict(tuple)
        for each in history[-1].operations:
            if isinstance(each, Read):
                self.lists[each.key] = each.values

    def look(self, history: Sequence[Transaction]) -> None:
        """Everything that is wrong without a circle."""
        for key, values in self.lists.items():
            if len(set(values)) < len(values):
                self.problems.append(f"list {key} has a value twice: {values}")
        for number, transaction in enumerate(history):
            own: dict[int, list[int]] = defaultdict(list)
            for each in transaction.operations:
                if isinstance(each, Append):
                    own[each.key].append(each.value)
                    lost = each.value not in self.lists[each.key]
                    if transaction.fate is Fate.COMMITTED and lost:
                        self.problems.append(f"{each} of {number} was acknowledged and is gone")
                elif isinstance(each, Torn):
                    self.problems.append(f"{number} saw a part beside list {each.key}: {each.what}")
                elif transaction.fate is not Fate.FAILED:
                    self._look_at(history, number, each, own[each.key])

    def _look_at(
        self, history: Sequence[Transaction], reader: int, read: Read, own: list[int]
    ) -> None:
        values = read.values
        if own and values[-len(own) :] != tuple(own):
            self.problems.append(f"{reader} does not see its own {own} in {read}")
        before = values[: len(values) - len(own)] if own else values
        if before != self.lists[read.key][: len(before)]:
            self.problems.append(f"{read} of {reader} is no beginning of {self.lists[read.key]}")
        for value in before:
            writer = self.writer.get(Append(read.key, value))
            if writer is None or history[writer].fate is Fate.FAILED:
                self.problems.append(f"{reader} read {value} of a failed {writer} (G1a)")
        if before:
            writer = self.writer.get(Append(read.key, before[-1]))
            if writer not in (None, reader) and self.last[writer, read.key] != before[-1]:
                self.problems.append(f"{reader} read {before[-1]} in the middle of {writer} (G1b)")


def problems(history: Sequence[Transaction], level: Level) -> list[str]:
    """What the level forbids and the history shows, which ends with a reading of all lists."""
    history = [_decided(each, history[-1]) for each in history]
    orders = _Orders(history)
    orders.look(history)
    ww, wr, rw = _dependencies(history, orders)
    found = orders.problems
    found += [f"G0: {circle}" for circle in circles(ww)]
    found += [f"G1c: {circle}" for circle in circles(_joined(ww, wr))]
    if level is Level.SERIALIZABLE:
        found += [f"G2: {circle}" for circle in circles(_joined(ww, wr, rw))]
    elif level is Level.REPEATABLE_READ:
        found += [f"G-single: {path}" for path in _single(_joined(ww, wr), rw)]
    return found


def _decided(transaction: Transaction, final: Transaction) -> Transaction:
    """With what became of it, where its client did not know: whether its values are there. Where
    only some are, it counts as done, and the others are gone."""
    if transaction.fate is not Fate.UNKNOWN:
        return transaction
    lists = {each.key: each.values for each in final.operations if isinstance(each, Read)}
    own = [each for each in transaction.operations if isinstance(each, Append)]
    done = any(each.value in lists.get(each.key, ()) for each in own)
    return replace(transaction, fate=Fate.COMMITTED if done or not own else Fate.FAILED)


def _dependencies(history: Sequence[Transaction], orders: _Orders) -> tuple[Edges, Edges, Edges]:
    ww: Edges = defaultdict(set)
    wr: Edges = defaultdict(set)
    rw: Edges = defaultdict(set)

    def add(edges: Edges, before: int | None, after: int | None) -> None:
        if before is not None and after is not None and before != after:
            edges[before].add(after)

    def writer(key: int, at: int) -> int | None:
        values = orders.lists[key]
        return orders.writer.get(Append(key, values[at])) if 0 <= at < len(values) else None

    for key, values in list(orders.lists.items()):
        for at in range(1, len(values)):
            add(ww, writer(key, at - 1), writer(key, at))
    for number, transaction in enumerate(history):
        if transaction.fate is Fate.FAILED:
            continue
        own: dict[int, int] = defaultdict(int)
        for each in transaction.operations:
            if isinstance(each, Append):
                own[each.key] += 1
            if not isinstance(each, Read):
                continue
            seen = len(each.values) - own[each.key]
            add(wr, writer(each.key, seen - 1), number)
            if not own[each.key]:  # else the next value is its own
                add(rw, number, writer(each.key, seen))
    return ww, wr, rw


def _joined(*kinds: Edges) -> Edges:
    joined: Edges = defaultdict(set)
    for edges in kinds:
        for before, after in edges.items():
            joined[before] |= after
    return joined


def _single(others: Edges, rw: Edges) -> Iterator[list[int]]:
    """Circles with exactly one rw: the rest of the circle leads back without one."""
    for reader, changers in rw.items():
        for changer in changers:
            path = _path(others, changer, reader)
            if path is not None:
                yield [reader, *path]


def _path(edges: Edges, start: int, goal: int) -> list[int] | None:
    came: dict[int, int] = {start: start}
    pending = [start]
    while pending:
        at = pending.pop(0)
        if at == goal:
            path = [at]
            while path[-1] != start:
                path.append(came[path[-1]])
            return path[::-1]
        for after in edges.get(at, ()):
            if after not in came:
                came[after] = at
                pending.append(after)
    return None


def circles(edges: Edges) -> Iterator[list[int]]:
    """One circle of each knot that has any."""
    for knot in _knots(edges):
        start = knot[0]
        inside = {at: edges.get(at, set()) & set(knot) for at in knot}
        for after in inside[start]:
            path = _path(inside, after, start)
            if path is not None:
                yield [start, *path]
                break


def _knots(edges: Edges) -> list[list[int]]:
    """Strongly connected components of two and more (Tarjan 1972, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in list(edges):
        work: list[tuple[int, Iterable[int]]] = []
        if root not in index:
            work.append((root, iter(edges.get(root, ()))))
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
        while work:
            at, rest = work[-1]
            after = next(iter(rest), None)
            if after is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[at])
                if low[at] == index[at]:
                    knot = stack[stack.index(at) :]
                    del stack[stack.index(at) :]
                    on_stack -= set(knot)
                    if len(knot) > 1:
                        found.append(knot)
            elif after not in index:
                index[after] = low[after] = len(index)
                stack.append(after)
                on_stack.add(after)
                work.append((after, iter(edges.get(after, ()))))
            elif after in on_stack:
                low[at] = min(low[at], index[after])
    return found
