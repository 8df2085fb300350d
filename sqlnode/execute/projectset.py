"""Set-returning functions in the SELECT list."""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

from sqlnode.execute.api import Batch, Row
from sqlnode.execute.runtime import BATCH_ROWS, Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.stages import Pipeline

Sets = Callable[[Batch, Runtime], list[Iterable[Any]]]
"""(batch, runtime) → for each row the values one call returns."""


class ProjectSet:
    """A row for each element; of several functions side by side, the shorter padded with NULL."""

    def __init__(self, child: Operator, calls: Sequence[Sets], pipeline: Pipeline) -> None:
        self._child = child
        self._calls = tuple(calls)
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                extended = self._extended(batch, runtime)
                while part := list(islice(extended, BATCH_ROWS)):
                    rows = await self._pipeline.apply(part, runtime)
                    if rows:
                        yield rows
                    await runtime.checkpoint()
        finally:
            await close(batches)

    def _extended(self, batch: Batch, runtime: Runtime) -> Iterator[Row]:
        found = [call(batch, runtime) for call in self._calls]
        for row, sets in zip(batch, zip(*found, strict=True), strict=True):
            for extra in zip_longest(*sets):
                yield row + extra
