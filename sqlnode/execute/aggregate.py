"""Grouping by hash, with the groups that do not fit left for later passes.

    rows ─▶ by key ─▶ group known, or memory left  ─▶ fed to the group's states
                  └▶ a new group beyond the budget ─▶ partition on disk (by hash of the key)
    end  ─▶ the groups' results ─▶ each partition likewise, with all the memory again

Rows of one batch that belong to one group are fed together, as columns.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlnode.execute.api import Batch, Row
from sqlnode.execute.runtime import BATCH_ROWS, Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.sort import RowOrder
from sqlnode.execute.spill import PARTITION_DEPTH_MAX, KeyFunction, Partitions, batch_bytes
from sqlnode.execute.stages import Pipeline
from sqlnode.functions.base import Aggregate as Machine

_GROUP_BYTES = 400
"""Memory of a group's states besides its key, a guess."""


@dataclass(frozen=True, slots=True)
class AggregateInput:
    """One aggregate call: its state machine and which columns of the input feed it.

    `filter` is the column that must be true. With `distinct` (keys of the arguments) or `order` the
    rows of a group are collected and fed at the end.
    """

    machine: Machine
    columns: tuple[int, ...]
    filter: int | None = None
    distinct: Callable[[Row], Any] | None = None
    order: RowOrder | None = None

    @property
    def collects(self) -> bool:
        """Whether all rows of a group are needed before the first is fed."""
        return self.distinct is not None or self.order is not None

    def start(self) -> Any:
        """The state of a new group."""
        return [] if self.collects else self.machine.new()

    def feed(self, state: Any, rows: Batch) -> Any:
        """The state after more rows."""
        if self.filter is not None:
            place = self.filter
            rows = [row for row in rows if row[place]]
        if self.collects:
            state += rows
            return state
        return self._add(state, rows)

    def _add(self, state: Any, rows: Batch) -> Any:
        if not rows:
            return state
        columns = [[row[place] for row in rows] for place in self.columns]
        return self.machine.add(state, columns, len(rows))

    def finish(self, state: Any) -> Any:
        """The aggregate's value."""
        if not self.collects:
            return self.machine.result(state)
        rows: Batch = state
        if self.distinct is not None:
            rows = list({self.distinct(row): row for row in reversed(rows)}.values())
            rows.reverse()
        if self.order is not None:
            self.order.sort(rows)
        return self.machine.result(self._add(self.machine.new(), rows))


class PlainAggregate:
    """All rows are one group."""

    def __init__(
        self, child: Operator, inputs: Sequence[AggregateInput], pipeline: Pipeline
    ) -> None:
        self._child = child
        self._inputs = tuple(inputs)
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        states = [each.start() for each in self._inputs]
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                states = [
                    each.feed(state, batch)
                    for each, state in zip(self._inputs, states, strict=True)
                ]
                await runtime.checkpoint()
        finally:
            await close(batches)
        row = tuple(each.finish(state) for each, state in zip(self._inputs, states, strict=True))
        rows = await self._pipeline.apply([row], runtime)
        if rows:
            yield rows


class _Groups:
    """The groups of one pass."""

    def __init__(self, inputs: Sequence[AggregateInput], width: int) -> None:
        self._inputs = inputs
        self._width = width
        self.groups: dict[Any, tuple[Row, list[Any]]] = {}
        self.bytes = 0

    def feed(self, rows: Batch, keys: list[Any], *, full: bool) -> tuple[Batch, list[Any]]:
        """Take rows in; (those that would need a new group though it is `full`, their keys)."""
        dealt: dict[Any, Batch] = {}
        for key, row in zip(keys, rows, strict=True):
            dealt.setdefault(key, []).append(row)
        groups = self.groups
        late: Batch = []
        late_keys: list[Any] = []
        for key, part in dealt.items():
            group = groups.get(key)
            if group is None:
                if full:
                    late += part
                    late_keys += [key] * len(part)
                    continue
                first = part[0][: self._width]
                group = groups[key] = (first, [each.start() for each in self._inputs])
                self.bytes += _GROUP_BYTES + batch_bytes([first])
            states = group[1]
            for place, each in enumerate(self._inputs):
                states[place] = each.feed(states[place], part)
        return late, late_keys

    def rows(self) -> list[Row]:
        """The results: group columns, then aggregates."""
        inputs = self._inputs
        return [
            (*first, *[each.finish(state) for each, state in zip(inputs, states, strict=True)])
            for first, states in self.groups.values()
        ]


class HashAggregate:
    """GROUP BY: the first `width` columns of the input are the group's."""

    def __init__(
        self,
        child: Operator,
        *,
        width: int,
        keys: KeyFunction,
        inputs: Sequence[AggregateInput],
        pipeline: Pipeline,
    ) -> None:
        self._child = child
        self._width = width
        self._keys = keys
        self._inputs = tuple(inputs)
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        async for batch in self._pass(runtime, self._child.run(runtime), depth=0):
            yield batch

    async def _pass(
        self, runtime: Runtime, batches: AsyncIterator[Batch], *, depth: int
    ) -> AsyncIterator[Batch]:
        groups = _Groups(self._inputs, self._width)
        late = await self._consume(runtime, batches, groups, depth)
        try:
            rows = groups.rows()
            del groups
            for start in range(0, len(rows), BATCH_ROWS):
                batch = await self._pipeline.apply(rows[start : start + BATCH_ROWS], runtime)
                if batch:
                    yield batch
                await runtime.checkpoint()
            for spool in late or ():
                if not spool.count:
                    continue
                async for batch in self._pass(runtime, spool.read(runtime), depth=depth + 1):
                    yield batch
                spool.close()
        finally:
            if late is not None:
                late.close()

    async def _consume(
        self, runtime: Runtime, batches: AsyncIterator[Batch], groups: _Groups, depth: int
    ) -> Partitions | None:
        budget = runtime.execution.memory_bytes_max
        late: Partitions | None = None
        try:
            async for batch in batches:
                full = groups.bytes > budget and depth < PARTITION_DEPTH_MAX
                left, keys = groups.feed(batch, self._keys(batch), full=full)
                if left:
                    late = late or Partitions(budget, depth=depth)
                    late.add(left, keys)
                await runtime.checkpoint()
        except BaseException:
            if late is not None:
                late.close()
            raise
        finally:
            await close(batches)
        return late


class HashDistinct:
    """DISTINCT: a row for every different key, in no promised order beyond memory."""

    def __init__(self, child: Operator, keys: KeyFunction) -> None:
        self._child = child
        self._keys = keys

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        async for batch in self._pass(runtime, self._child.run(runtime), depth=0):
            yield batch

    async def _pass(
        self, runtime: Runtime, batches: AsyncIterator[Batch], *, depth: int
    ) -> AsyncIterator[Batch]:
        budget = runtime.execution.memory_bytes_max
        seen: set[Any] = set()
        held = 0
        late: Partitions | None = None
        try:
            async for batch in batches:
                full = held > budget and depth < PARTITION_DEPTH_MAX
                fresh: dict[Any, Row] = {}
                for key, row in zip(self._keys(batch), batch, strict=True):
                    if key not in seen:
                        fresh.setdefault(key, row)
                rows = list(fresh.values())
                if full and rows:
                    late = late or Partitions(budget, depth=depth)
                    late.add(rows, fresh)
                elif rows:
                    seen.update(fresh)
                    held += batch_bytes(rows) + _GROUP_BYTES * len(rows) // 4
                    yield rows
                await runtime.checkpoint()
            del seen
            for spool in late or ():
                if spool.count:
                    async for batch in self._pass(runtime, spool.read(runtime), depth=depth + 1):
                        yield batch
        finally:
            await close(batches)
            if late is not None:
                late.close()


class SortedDistinct:
    """DISTINCT ON: the first row of each run of rows with equal keys."""

    def __init__(self, child: Operator, keys: KeyFunction) -> None:
        self._child = child
        self._keys = keys

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        last: Any = None
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                rows: Batch = []
                for key, row in zip(self._keys(batch), batch, strict=True):
                    if key != last:
                        rows.append(row)
                        last = key
                if rows:
                    yield rows
        finally:
            await close(batches)
