"""UNION ALL, INTERSECT, EXCEPT, WITH queries and recursion."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlnode.execute.api import Batch, Row
from sqlnode.execute.runtime import Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.spill import (
    PARTITION_DEPTH_MAX,
    KeyFunction,
    Partitions,
    Spool,
    spooled,
)
from sqlnode.execute.stages import Pipeline


class Append:
    """One side's rows, then the other's."""

    def __init__(self, left: Operator, right: Operator) -> None:
        self._sides = (left, right)

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        for side in self._sides:
            batches = side.run(runtime)
            try:
                async for batch in batches:
                    yield batch
            finally:
                await close(batches)


class SetOperation:
    """INTERSECT and EXCEPT: the right side's keys are counted, the left side is checked off.

    A right side that does not fit is dealt out to disk with the left one, part by part.
    """

    def __init__(
        self, left: Operator, right: Operator, *, keys: KeyFunction, intersect: bool, all_: bool
    ) -> None:
        self._left = left
        self._right = right
        self._keys = keys
        self._intersect = intersect
        self._all = all_

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        parts = self._pass(runtime, self._left.run(runtime), self._right.run(runtime), depth=0)
        try:
            async for batch in parts:
                yield batch
        finally:
            await close(parts)

    async def _pass(
        self,
        runtime: Runtime,
        left: AsyncIterator[Batch],
        right: AsyncIterator[Batch],
        *,
        depth: int,
    ) -> AsyncIterator[Batch]:
        budget = runtime.execution.memory_bytes_max
        build = await spooled(right, budget if depth < PARTITION_DEPTH_MAX else 1 << 62)
        try:
            if build.rows is None:
                async for batch in self._by_partition(runtime, left, build, depth):
                    yield batch
                return
            counts = Counter(self._keys(build.rows))
            given: set[Any] = set()
            async for batch in left:
                rows = self._kept(batch, counts, given)
                if rows:
                    yield rows
                await runtime.checkpoint()
        finally:
            build.close()
            await close(left)

    def _kept(self, batch: Batch, counts: Counter[Any], given: set[Any]) -> Batch:
        rows: Batch = []
        for key, row in zip(self._keys(batch), batch, strict=True):
            there = counts[key] > 0
            if self._all:
                if there:
                    counts[key] -= 1
                if there is self._intersect:
                    rows.append(row)
            elif there is self._intersect and key not in given:
                given.add(key)
                rows.append(row)
        return rows

    async def _by_partition(
        self, runtime: Runtime, left: AsyncIterator[Batch], build: Spool, depth: int
    ) -> AsyncIterator[Batch]:
        budget = runtime.execution.memory_bytes_max
        lefts, rights = Partitions(budget, depth=depth), Partitions(budget, depth=depth)
        try:
            async for batch in build.read(runtime):
                rights.add(batch, self._keys(batch))
            async for batch in left:
                lefts.add(batch, self._keys(batch))
                await runtime.checkpoint()
            for one, other in zip(lefts, rights, strict=True):
                part = self._pass(runtime, one.read(runtime), other.read(runtime), depth=depth + 1)
                async for batch in part:
                    yield batch
        finally:
            lefts.close()
            rights.close()


class CteRows:
    """Rows of a WITH query, computed by the first who asks and kept for the statement.

    A query that reads slots is kept for as long as their values stay the same.
    """

    def __init__(
        self, number: int, operator: Operator, slots: Sequence[int], pipeline: Pipeline
    ) -> None:
        self._number = number
        self._operator = operator
        self._slots = tuple(slots)
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        spool = await materialised(runtime, self._number, self._operator, self._slots)
        batches = spool.read(runtime)
        try:
            async for batch in batches:
                rows = await self._pipeline.apply(batch, runtime)
                if rows:
                    yield rows
        finally:
            await close(batches)


async def materialised(
    runtime: Runtime, number: int, operator: Operator, slots: Sequence[int]
) -> Spool:
    """The rows of WITH query `number`."""
    values = tuple(runtime.slots[slot] for slot in slots)
    known: Spool | None = runtime.shared.get(("cte", number))
    if known is not None:
        if runtime.shared["cte slots", number] == values:
            return known
        known.close()
    spool = await spooled(operator.run(runtime), runtime.execution.memory_bytes_max)
    runtime.shared["cte", number] = spool
    runtime.shared["cte slots", number] = values
    return spool


class WorkingRows:
    """The rows the last step of a recursive query gave."""

    def __init__(self, number: int, pipeline: Pipeline) -> None:
        self._number = number
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        spool: Spool = runtime.shared["working", self._number]
        async for batch in spool.read(runtime):
            rows = await self._pipeline.apply(batch, runtime)
            if rows:
                yield rows


class RecursiveUnion:
    """The first side's rows, then the second's over the rows of the step before, until none."""

    def __init__(
        self, number: int, left: Operator, right: Operator, keys: KeyFunction | None
    ) -> None:
        self._number = number
        self._left = left
        self._right = right
        self._keys = keys

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        seen: set[Any] = set()
        side = self._left
        while True:
            step = Spool(runtime.execution.memory_bytes_max)
            batches = side.run(runtime)
            try:
                async for batch in batches:
                    rows = self._fresh(batch, seen)
                    if rows:
                        step.add(rows)
                        yield rows
                    await runtime.checkpoint()
            finally:
                await close(batches)
            previous = runtime.shared.pop(("working", self._number), None)
            if previous is not None:
                previous.close()
            if not step.count:
                step.close()
                return
            runtime.shared["working", self._number] = step
            side = self._right

    def _fresh(self, batch: Batch, seen: set[Any]) -> Batch:
        if self._keys is None:
            return batch
        fresh: dict[Any, Row] = {}
        for key, row in zip(self._keys(batch), batch, strict=True):
            if key not in seen:
                fresh.setdefault(key, row)
        seen.update(fresh)
        return list(fresh.values())
