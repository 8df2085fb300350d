"""Joins. Every join makes combined rows (left columns, then right ones) and pipes them on.

For outer joins a left row without a partner gets a row of NULLs; FULL also marks which right rows
found a partner. ON is checked on combined rows; SEMI and ANTI only ask whether any passes it.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from sqlnode.execute.api import Batch, Row
from sqlnode.execute.runtime import BATCH_ROWS, Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.spill import (
    PARTITION_DEPTH_MAX,
    Partitions,
    Spool,
    spooled,
)
from sqlnode.execute.stages import Pipeline
from sqlnode.plan.nodes import JoinType

JoinKeys = Callable[[Batch, Runtime], list[Any]]
"""(batch, runtime) → a hashable key per row, None where a column of it is NULL."""
PAIRS_MAX = 1 << 16
"""Candidate pairs a nested loop looks at in one go."""


class Matcher:
    """Turns candidate pairs into a join's rows."""

    def __init__(
        self, kind: JoinType, *, right_width: int, left_width: int, on: Pipeline, output: Pipeline
    ) -> None:
        self.kind = kind
        self.on = on
        self.output = output
        self.right_nulls: Row = (None,) * right_width
        self.left_nulls: Row = (None,) * left_width
        self.simple = kind is JoinType.INNER and on.is_identity

    async def rows(
        self, runtime: Runtime, left: Batch, candidates: Sequence[Sequence[Row]]
    ) -> tuple[Batch, set[int]]:
        """(output rows for left rows and their candidates, ids of right rows that matched)."""
        kind = self.kind
        if self.on.is_identity:
            return self._unchecked(left, candidates)
        # The pair's place travels behind the row, for filters drop rows and keep the rest as is.
        pairs = [
            (*row, *other, place, id(other))
            for place, (row, others) in enumerate(zip(left, candidates, strict=True))
            for other in others
        ]
        passed = await self.on.apply(pairs, runtime) if pairs else []
        if kind is JoinType.INNER:
            return [row[:-2] for row in passed], set()
        matched = {row[-2] for row in passed}
        if kind is JoinType.SEMI:
            return [row for place, row in enumerate(left) if place in matched], set()
        missing = [row for place, row in enumerate(left) if place not in matched]
        if kind is JoinType.ANTI:
            return missing, set()
        found = [row[:-2] for row in passed]
        found += [row + self.right_nulls for row in missing]
        return found, {row[-1] for row in passed} if kind is JoinType.FULL else set()

    def _unchecked(
        self, left: Batch, candidates: Sequence[Sequence[Row]]
    ) -> tuple[Batch, set[int]]:
        kind = self.kind
        pairs = zip(left, candidates, strict=True)
        if kind is JoinType.SEMI:
            return [row for row, others in pairs if others], set()
        if kind is JoinType.ANTI:
            return [row for row, others in pairs if not others], set()
        if kind is JoinType.INNER:
            return [row + other for row, others in pairs for other in others], set()
        nulls = (self.right_nulls,)
        matched = set()
        if kind is JoinType.FULL:
            matched = {id(other) for others in candidates for other in others}
        return [row + other for row, others in pairs for other in others or nulls], matched

    async def piped(self, runtime: Runtime, rows: Batch) -> AsyncIterator[Batch]:
        """Rows through the join's own filter and projection, in batches of bounded size."""
        for start in range(0, len(rows), BATCH_ROWS * 4):
            batch = await self.output.apply(rows[start : start + BATCH_ROWS * 4], runtime)
            if batch:
                yield batch
            await runtime.checkpoint()


class HashJoin:
    """The right side in a dict, or, where it does not fit, both sides dealt out to disk first."""

    def __init__(
        self,
        left: Operator,
        right: Operator,
        *,
        left_keys: JoinKeys,
        right_keys: JoinKeys,
        matcher: Matcher,
    ) -> None:
        self._left = left
        self._right = right
        self._left_keys = left_keys
        self._right_keys = right_keys
        self._matcher = matcher

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        join = self._join(runtime, self._left.run(runtime), self._right.run(runtime), depth=0)
        try:
            async for batch in join:
                yield batch
        finally:
            await close(join)

    async def _join(
        self,
        runtime: Runtime,
        left: AsyncIterator[Batch],
        right: AsyncIterator[Batch],
        *,
        depth: int,
    ) -> AsyncIterator[Batch]:
        budget = runtime.execution.memory_bytes_max
        if depth >= PARTITION_DEPTH_MAX:
            budget = 1 << 62
        build = await spooled(right, budget)
        try:
            if build.rows is not None:
                async for batch in self._probe(runtime, left, build.rows):
                    yield batch
                return
            async for batch in self._by_partition(runtime, left, build, depth):
                yield batch
        finally:
            build.close()
            await close(left)

    async def _by_partition(
        self, runtime: Runtime, left: AsyncIterator[Batch], build: Spool, depth: int
    ) -> AsyncIterator[Batch]:
        budget = runtime.execution.memory_bytes_max
        rights = Partitions(budget, depth=depth)
        lefts = Partitions(budget, depth=depth)
        try:
            async for batch in build.read(runtime):
                rights.add(batch, self._right_keys(batch, runtime))
            build.close()
            async for batch in left:
                lefts.add(batch, self._left_keys(batch, runtime))
                await runtime.checkpoint()
            for left_part, right_part in zip(lefts, rights, strict=True):
                part = self._join(
                    runtime, left_part.read(runtime), right_part.read(runtime), depth=depth + 1
                )
                async for batch in part:
                    yield batch
                left_part.close()
        finally:
            rights.close()
            lefts.close()

    async def _probe(
        self, runtime: Runtime, left: AsyncIterator[Batch], right: Batch
    ) -> AsyncIterator[Batch]:
        matcher = self._matcher
        table: dict[Any, Batch] = {}
        for key, row in zip(self._right_keys(right, runtime), right, strict=True):
            if key is not None:
                table.setdefault(key, []).append(row)
        matched: set[int] = set()
        find = table.get
        if not right and matcher.kind in (JoinType.INNER, JoinType.SEMI):
            return
        async for batch in left:
            candidates = [find(key, ()) for key in self._left_keys(batch, runtime)]
            rows, found = await matcher.rows(runtime, batch, candidates)
            matched |= found
            async for piped in matcher.piped(runtime, rows):
                yield piped
            await runtime.checkpoint()
        if matcher.kind is JoinType.FULL:
            rest = [matcher.left_nulls + row for row in right if id(row) not in matched]
            async for piped in matcher.piped(runtime, rest):
                yield piped


class NestedLoop:
    """Every left row with the right side: kept from one run, or run anew for each left row."""

    def __init__(
        self,
        left: Operator,
        right: Operator,
        *,
        slots: Sequence[int],
        inputs: Callable[[Batch, Runtime], list[tuple[Any, ...]]] | None,
        matcher: Matcher,
    ) -> None:
        self._left = left
        self._right = right
        self._slots = tuple(slots)
        self._inputs = inputs
        self._matcher = matcher

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        join = self._rerun(runtime) if self._inputs is not None else self._kept(runtime)
        try:
            async for batch in join:
                yield batch
        finally:
            await close(join)

    async def _kept(self, runtime: Runtime) -> AsyncIterator[Batch]:
        matcher = self._matcher
        # FULL has to know right rows by identity, so they stay in memory.
        full = matcher.kind is JoinType.FULL
        budget = 1 << 62 if full else runtime.execution.memory_bytes_max
        right = await spooled(self._right.run(runtime), budget)
        left = self._left.run(runtime)
        try:
            matched: set[int] = set()
            step = 1 if right.rows is None else max(1, PAIRS_MAX // max(1, right.count))
            async for batch in left:
                for start in range(0, len(batch), step):
                    part = batch[start : start + step]
                    async for rows in self._some(runtime, part, right, matched):
                        yield rows
            if matcher.kind is JoinType.FULL:
                rest = [matcher.left_nulls + r for r in right.rows or () if id(r) not in matched]
                async for rows in matcher.piped(runtime, rest):
                    yield rows
        finally:
            right.close()
            await close(left)

    async def _some(
        self, runtime: Runtime, part: Batch, right: Spool, matched: set[int]
    ) -> AsyncIterator[Batch]:
        matcher = self._matcher
        if right.rows is not None:
            rows, found = await matcher.rows(runtime, part, [right.rows] * len(part))
            matched |= found
        else:
            rows = await self._over_batches(runtime, part[0], right.read(runtime))
        async for piped in matcher.piped(runtime, rows):
            yield piped

    async def _over_batches(
        self, runtime: Runtime, row: Row, batches: AsyncIterator[Batch]
    ) -> Batch:
        """One left row with right rows that come in batches."""
        matcher = self._matcher
        inner = Matcher(
            JoinType.INNER, right_width=0, left_width=0, on=matcher.on, output=matcher.output
        )
        found: Batch = []
        kind = matcher.kind
        try:
            async for batch in batches:
                rows, _ = await inner.rows(runtime, [row], [batch])
                found += rows
                if found and kind in (JoinType.SEMI, JoinType.ANTI):
                    break
                await runtime.checkpoint()
        finally:
            await close(batches)
        if kind is JoinType.SEMI:
            return [row] if found else []
        if kind is JoinType.ANTI:
            return [] if found else [row]
        if not found and kind is JoinType.LEFT:
            return [row + matcher.right_nulls]
        return found

    async def _rerun(self, runtime: Runtime) -> AsyncIterator[Batch]:
        if self._inputs is None:
            raise LookupError("a join without inputs keeps its right side")
        left = self._left.run(runtime)
        try:
            async for batch in left:
                for row, values in zip(batch, self._inputs(batch, runtime), strict=True):
                    for slot, value in zip(self._slots, values, strict=True):
                        runtime.slots[slot] = value
                    rows = await self._over_batches(runtime, row, self._right.run(runtime))
                    async for piped in self._matcher.piped(runtime, rows):
                        yield piped
        finally:
            await close(left)


class IndexJoin:
    """Inner rows fetched by key: one request for the keys of a whole batch of left rows."""

    def __init__(
        self,
        left: Operator,
        *,
        keys: Callable[[Batch, Runtime], list[tuple[Any, ...]]],
        fetch: Callable[[Runtime, list[bytes]], Any],
        encode: Callable[[Sequence[Any]], bytes],
        inner: Pipeline,
        matcher: Matcher,
    ) -> None:
        self._left = left
        self._keys = keys
        self._fetch = fetch
        self._encode = encode
        self._inner = inner
        self._matcher = matcher

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        left = self._left.run(runtime)
        try:
            async for batch in left:
                candidates = await self._candidates(runtime, batch)
                rows, _ = await self._matcher.rows(runtime, batch, candidates)
                async for piped in self._matcher.piped(runtime, rows):
                    yield piped
                await runtime.checkpoint()
        finally:
            await close(left)

    async def _candidates(self, runtime: Runtime, batch: Batch) -> list[Sequence[Row]]:
        values = self._keys(batch, runtime)
        wanted = {key: self._encode(key) for key in set(values) if None not in key}
        order = list(wanted.values())
        found: dict[bytes, Sequence[Row]] = {}
        if order:
            rows = await self._fetch(runtime, order)
            for key, row in zip(order, rows, strict=True):
                if row is not None:
                    kept = await self._inner.apply([row], runtime)
                    if kept:
                        found[key] = kept
        return [found.get(wanted.get(key, b""), ()) for key in values]
