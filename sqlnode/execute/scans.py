"""Scans: tables, virtual tables, functions, VALUES, sub-selects, WITH queries."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from sqlnode.catalog.descriptors import Table
from sqlnode.execute.api import Batch, Row
from sqlnode.execute.ranges import RangeReader
from sqlnode.execute.runtime import BATCH_ROWS, Operator, Runtime
from sqlnode.execute.stages import Pipeline
from sqlnode.execute.subplans import Preparation
from sqlnode.rows import RowDecoder


class SingleRow:
    """One row without columns, then the pipeline: SELECT without FROM."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        rows = await self._pipeline.apply([()], runtime)
        if rows:
            yield rows


class TableRows:
    """Rows of a table in storage, by key range; `with_keys` puts the row's key before them."""

    def __init__(
        self, reader: RangeReader, decoder: RowDecoder, pipeline: Pipeline, *, with_keys: bool
    ) -> None:
        self._reader = reader
        self._decode = decoder.decode_many
        self._pipeline = pipeline
        self._with_keys = with_keys

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        pipeline = self._pipeline
        pages = self._reader.pages(runtime, keys=self._with_keys)
        try:
            async for keys, values in pages:
                rows = self._decode(values)
                if self._with_keys:
                    rows = [(key, *row) for key, row in zip(keys, rows, strict=True)]
                for part in pipeline.parts(rows):
                    found = part if pipeline.is_identity else await pipeline.apply(part, runtime)
                    if found:
                        yield found
                await runtime.checkpoint()
        finally:
            await pages.aclose()


class VirtualRows:
    """Rows of a system table, which the catalog makes."""

    def __init__(self, table: Table, positions: Sequence[int], pipeline: Pipeline) -> None:
        self._table = table
        self._positions = tuple(positions)
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        execution = runtime.execution
        key = ("virtual", self._table.oid)
        rows = runtime.shared.get(key)
        if rows is None:
            rows = execution.catalog.virtual_rows(self._table, execution)
            runtime.shared[key] = rows
        positions = self._positions
        for start in range(0, len(rows), BATCH_ROWS):
            picked = [
                tuple([row[position] for position in positions])
                for row in rows[start : start + BATCH_ROWS]
            ]
            picked = await self._pipeline.apply(picked, runtime)
            if picked:
                yield picked
            await runtime.checkpoint()


class FunctionRows:
    """What a function returns: a row per element, tuples spread over the columns."""

    def __init__(
        self,
        call: Callable[[Runtime], Any],
        *,
        returns_set: bool,
        columns: int,
        ordinality: bool,
        pipeline: Pipeline,
        preparation: Preparation | None,
    ) -> None:
        self._call = call
        self._preparation = preparation
        self._returns_set = returns_set
        self._spread = columns != 1
        self._columns = columns
        self._ordinality = ordinality
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        if self._preparation is not None:
            await self._preparation.prepare([()], runtime)
        found = self._call(runtime)
        values = (found if found is not None else ()) if self._returns_set else (found,)
        batch: Batch = []
        for number, value in enumerate(values, 1):
            if self._spread:
                row = value if value is not None else (None,) * self._columns
            elif isinstance(value, tuple) and len(value) == 1:
                row = value
            else:
                row = (value,)
            batch.append((*row, number) if self._ordinality else row)
            if len(batch) >= BATCH_ROWS:
                async for rows in self._pipeline.flow(batch, runtime):
                    yield rows
                batch = []
                await runtime.checkpoint()
        async for rows in self._pipeline.flow(batch, runtime):
            yield rows


class ValuesRows:
    """VALUES lists: each row is constant, or a pipeline over the empty row."""

    def __init__(self, rows: Sequence[Pipeline | Row], pipeline: Pipeline) -> None:
        self._rows = rows
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        for start in range(0, len(self._rows), BATCH_ROWS):
            batch: Batch = []
            for row in self._rows[start : start + BATCH_ROWS]:
                if isinstance(row, tuple):
                    batch.append(row)
                else:
                    batch += await row.apply([()], runtime)
            async for rows in self._pipeline.flow(batch, runtime):
                yield rows
            await runtime.checkpoint()


class Piped:
    """An operator's rows through a pipeline: sub-selects, projections, filters."""

    def __init__(self, child: Operator, pipeline: Pipeline) -> None:
        self._child = child
        self._pipeline = pipeline

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                async for rows in self._pipeline.flow(batch, runtime):
                    yield rows
        finally:
            await close(batches)


async def close(batches: AsyncIterator[Batch]) -> None:
    """End an iterator that may not be exhausted."""
    await batches.aclose()  # type: ignore[attr-defined]
