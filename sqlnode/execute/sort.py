"""Sorting: in memory where it fits, else runs on disk that are merged; top-N in a bounded heap.

    input ─▶ rows until the budget ─sort─▶ run on disk    (as often as needed)
                                              └─▶ k-way merge ─▶ output

Mixed directions are sorted in memory by several stable passes, last key first; merging compares
composite keys. More than MERGE_RUNS_MAX runs are merged in rounds.
"""

import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch, Row
from sqlnode.execute.runtime import BATCH_ROWS, Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.spill import Spool, batch_bytes

MERGE_RUNS_MAX = 64
TOP_ROWS_MAX = 10_000
"""LIMITs up to which only the first rows are kept while the input is read."""


@dataclass(frozen=True, slots=True)
class SortKey:
    """A column to sort by. `key` turns a value into what Python compares, None: as it is."""

    position: int
    descending: bool
    nulls_first: bool
    key: Callable[[Any], Any] | None

    def __call__(self, row: Row) -> tuple[bool, Any]:
        """A key that puts NULLs where they belong when sorted in this column's direction."""
        value = row[self.position]
        if value is None:
            return (self.nulls_first is self.descending, 0)
        rank = self.nulls_first is not self.descending
        return (rank, value if self.key is None else self.key(value))


class _Reversed:
    """Turns the order of a key around, for merging."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: "_Reversed") -> bool:
        return bool(other.key < self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and bool(self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)


class RowOrder:
    """An ORDER BY as Python sorts it."""

    def __init__(self, keys: Sequence[SortKey]) -> None:
        self._keys = tuple(keys)
        self._uniform = len({key.descending for key in keys}) <= 1

    def key(self, row: Row) -> tuple[Any, ...]:
        """A composite key that compares in ascending order."""
        return tuple([_Reversed(key(row)) if key.descending else key(row) for key in self._keys])

    def sort(self, rows: Batch) -> None:
        """Sort in place, stably."""
        if not self._keys:
            return
        if self._uniform:
            first, *others = self._keys
            keys = self._keys
            if others:
                rows.sort(key=lambda r: [key(r) for key in keys], reverse=first.descending)
            else:
                rows.sort(key=first, reverse=first.descending)
            return
        for key in reversed(self._keys):
            rows.sort(key=key, reverse=key.descending)


class Sort:
    """ORDER BY. `top` gives how many rows can be wanted (None: all)."""

    def __init__(
        self, child: Operator, order: RowOrder, top: Callable[[Runtime], Any] | None
    ) -> None:
        self._child = child
        self._order = order
        self._top = top

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        wanted = self._wanted(runtime)
        if wanted is not None and wanted <= TOP_ROWS_MAX:
            rows = await self._first(runtime, wanted)
            for start in range(0, len(rows), BATCH_ROWS):
                yield rows[start : start + BATCH_ROWS]
            return
        runs: list[Spool] = []
        try:
            rows = await self._runs(runtime, runs)
            for batch in _in_batches(self._merged(runs, rows)):
                yield batch
                await runtime.checkpoint()
        finally:
            for run in runs:
                run.close()

    def _wanted(self, runtime: Runtime) -> int | None:
        if self._top is None:
            return None
        (value,) = self._top(runtime)
        return None if value is None else max(0, value)

    async def _first(self, runtime: Runtime, wanted: int) -> Batch:
        rows: Batch = []
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                rows += batch
                if len(rows) > 2 * wanted + BATCH_ROWS:
                    self._order.sort(rows)
                    del rows[wanted:]
                await runtime.checkpoint()
        finally:
            await close(batches)
        self._order.sort(rows)
        return rows[:wanted]

    async def _runs(self, runtime: Runtime, runs: list[Spool]) -> Batch:
        """Sorted runs on disk in `runs`; the sorted rest that is still in memory."""
        budget = runtime.execution.memory_bytes_max
        rows: Batch = []
        held = 0
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                rows += batch
                held += batch_bytes(batch)
                if held > budget:
                    self._order.sort(rows)
                    runs.append(_on_disk(rows))
                    rows, held = [], 0
                    if len(runs) >= MERGE_RUNS_MAX:
                        await self._merge_round(runtime, runs)
                await runtime.checkpoint()
        finally:
            await close(batches)
        self._order.sort(rows)
        return rows

    async def _merge_round(self, runtime: Runtime, runs: list[Spool]) -> None:
        merged = Spool(0)
        for batch in _in_batches(self._merged(runs, [])):
            merged.add(batch)
            await runtime.checkpoint()
        for run in runs:
            run.close()
        runs[:] = [merged]

    def _merged(self, runs: Sequence[Spool], rest: Batch) -> Iterable[Row]:
        if not runs:
            return rest
        sources = [_rows(run) for run in runs]
        return heapq.merge(*sources, rest, key=self._order.key)


def _on_disk(rows: Batch) -> Spool:
    spool = Spool(0)
    spool.add(rows)
    return spool


def _rows(spool: Spool) -> Iterator[Row]:
    for batch in spool.batches():
        yield from batch


def _in_batches(rows: Iterable[Row]) -> Iterator[Batch]:
    batch: Batch = []
    for row in rows:
        batch.append(row)
        if len(batch) >= BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


class Limit:
    """LIMIT and OFFSET; `ties` adds the rows that sort equal to the last one."""

    def __init__(
        self,
        child: Operator,
        counts: Callable[[Runtime], tuple[Any, Any]],
        preparation: Any,
        ties: RowOrder | None,
    ) -> None:
        self._child = child
        self._counts = counts
        self._preparation = preparation
        self._ties = ties

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        if self._preparation is not None:
            await self._preparation.prepare([()], runtime)
        limit, offset = self._counts(runtime)
        _check(limit, "2201W", "LIMIT must not be negative")
        _check(offset, "2201X", "OFFSET must not be negative")
        skip = offset or 0
        left = limit
        if left == 0:
            return
        last: Row | None = None
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                skipped = min(skip, len(batch))
                skip -= skipped
                rows = batch[skipped:]
                if not rows:
                    continue
                if left is None or len(rows) < left:
                    yield rows
                    left = None if left is None else left - len(rows)
                    continue
                if self._ties is None:
                    yield rows[:left]
                    return
                taken = rows[:left]
                last = taken[-1] if taken else last
                more = self._tied(rows[left:], last)
                left = 0
                if taken or more:
                    yield taken + more
                if len(taken) + len(more) < len(rows):
                    return
        finally:
            await close(batches)

    def _tied(self, rows: Batch, last: Row | None) -> Batch:
        if self._ties is None or last is None:
            return []
        wanted = self._ties.key(last)
        found: Batch = []
        for row in rows:
            if self._ties.key(row) != wanted:
                break
            found.append(row)
        return found


def _check(count: int | None, code: str, message: str) -> None:
    if count is not None and count < 0:
        raise SqlError(code, message)
