"""Portals: a bound statement while it runs, may pause, and its SQL face, the cursor.

A portal pulls batches from its executable and hands out as many rows as are asked for:

    run(execution) ──batch──▶ [rows not yet given] ──take(limit)──▶ client

A paused portal reads at the snapshot of its transaction's statement. Before another statement takes
a new snapshot, the rest of every paused portal is read into memory (`hold`), so that it keeps
showing what it showed when it was opened; that is bounded and refused with 54000 beyond. A cursor
that scrolls is held from its first row on, and keeps the rows it has given.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch, Execution, ResultColumn, Row
from sqlnode.session.encoding import ColumnEncoder
from sqlnode.session.pipeline import Planned
from sqlnode.types.base import Value

_ROW_BYTES = 64
_VALUE_BYTES = 40


@dataclass(slots=True, eq=False)
class Portal:
    """One portal. `columns` None: the statement returns no rows."""

    name: str
    planned: Planned
    params: tuple[Value, ...] = ()
    columns: tuple[ResultColumn, ...] | None = None
    formats: tuple[int, ...] = ()
    encoders: Sequence[ColumnEncoder] = ()
    codec: str = "utf-8"
    undescribed: bool = False
    """Nobody knows its columns before it runs: a simple query, not a prepared statement."""
    cursor: bool = False
    """Made by DECLARE."""
    scroll: bool = False
    holdable: bool = False
    """WITH HOLD: it may outlive its transaction."""
    outlives: bool = False
    """It has."""
    memory_bytes_max: int = 64 << 20
    asked_formats: tuple[int, ...] = ()
    """Bind's result formats, before the columns are known."""
    tag: str = ""
    counted: bool = False
    """Whether the command tag ends with a count."""
    execution: Execution | None = None
    finished: bool = False
    """All its rows were given."""
    position: int = 0
    """Rows given; for a scrolling cursor where it stands: 0 before the first row."""
    elapsed_ns: int = 0
    """How long it has run."""
    _batches: AsyncIterator[Batch] | None = None
    _rows: list[Row] = field(default_factory=list)
    _at: int = 0

    @property
    def started(self) -> bool:
        """Whether it has begun to run."""
        return self._batches is not None or self.finished or bool(self._rows)

    @property
    def paused(self) -> bool:
        """Whether it would read on from storage."""
        return self._batches is not None

    def open(self, batches: AsyncIterator[Batch], execution: Execution | None) -> None:
        """Begin: `batches` is where rows come from."""
        self._batches = batches
        self.execution = execution

    async def take(self, limit: int) -> Batch:
        """The next rows, at most `limit` (0: as they come); empty at the end."""
        if self._at >= len(self._rows):
            batch = await self._next_batch()
            if not batch:
                self.finished = True
                return []
            if not limit or len(batch) <= limit:
                self.position += len(batch)
                return batch
            self._rows, self._at = batch, 0
        end = min(self._at + limit, len(self._rows)) if limit else len(self._rows)
        batch = self._rows[self._at : end]
        self._at = end
        if end == len(self._rows):
            self._rows, self._at = [], 0
        self.position += len(batch)
        return batch

    async def _next_batch(self) -> Batch:
        if self._batches is None:
            return []
        try:
            return await anext(self._batches)
        except StopAsyncIteration:
            self._batches = None
            return []

    async def hold(self) -> None:
        """Read the rest into memory. Raises SqlError 54000 where it is too much."""
        if self._batches is None:
            return
        rows = self._rows[self._at :]
        async for batch in self._batches:
            rows.extend(batch)
            self._check_memory(rows)
        self._batches = None
        self._rows, self._at = rows, 0

    def _check_memory(self, rows: Sequence[Row]) -> None:
        width = len(rows[0]) if rows else 0
        if len(rows) * (_ROW_BYTES + _VALUE_BYTES * width) > self.memory_bytes_max:
            raise SqlError(
                "54000",
                f'cursor "{self.name}" holds too many rows',
                hint="Fetch its rows before other statements, or make its result smaller.",
            )

    async def rest(self) -> AsyncIterator[Batch]:
        """The rows not yet given, as a source for another portal."""
        while batch := await self.take(0):
            yield batch

    async def all_rows(self) -> list[Row]:
        """Every row of a scrolling cursor, given or not."""
        await self.hold()
        return self._rows

    async def close(self) -> None:
        """Stop running."""
        batches, self._batches = self._batches, None
        self._rows, self._at = [], 0
        if batches is not None and hasattr(batches, "aclose"):
            await batches.aclose()
