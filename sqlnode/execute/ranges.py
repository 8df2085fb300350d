"""Which keys a scan reads, worked out anew for every run from parameters and slots.

    full scan            the whole key range of the table
    point                one key, or one per element of a list: one multi-get
    primary key range    the rows themselves
    secondary range      entries; their rows by one multi-get a page

A comparison with NULL is never true: a NULL among the values means no rows.
"""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from sqlnode.execute.runtime import BATCH_ROWS, Runtime
from sqlnode.execute.subplans import Preparation
from sqlnode.rowkeys import IndexKeys
from sqlnode.types.base import Value

Pages = AsyncGenerator[tuple[list[bytes], list[bytes]], None]
Scalars = Callable[[Runtime], tuple[Value, ...]]


class KeyValues:
    """The values that confine a scan: `equals`, and of `any`, `lower`, `upper` what there is."""

    def __init__(
        self,
        values: Scalars,
        *,
        equals: int,
        listed: bool,
        lower: bool | None,
        upper: bool | None,
        preparation: Preparation | None = None,
    ) -> None:
        self._values = values
        self._equals = equals
        self._listed = listed
        self._lower = lower
        self._upper = upper
        self._preparation = preparation

    async def bounds(self, runtime: Runtime, keys: IndexKeys) -> list[tuple[bytes, bytes]]:
        """The key ranges, in key order; none where a value is NULL."""
        if self._preparation is not None:
            await self._preparation.prepare([()], runtime)
        values = self._values(runtime)
        if self._listed:
            return sorted(keys.bounds(value) for value in self.lists(values))
        if None in values:
            return []
        equal, rest = values[: self._equals], list(values[self._equals :])
        low = None if self._lower is None else (rest.pop(0), self._lower)
        high = None if self._upper is None else (rest.pop(0), self._upper)
        return [keys.bounds(equal, low=low, high=high)]

    async def points(self, runtime: Runtime) -> list[tuple[Value, ...]]:
        """The key column values of a point access, each once."""
        if self._preparation is not None:
            await self._preparation.prepare([()], runtime)
        values = self._values(runtime)
        if self._listed:
            return self.lists(values)
        return [] if None in values else [values]

    def lists(self, values: tuple[Value, ...]) -> list[tuple[Value, ...]]:
        """The values with each element of the list in turn."""
        *equal, array = values
        if None in equal or array is None:
            return []
        elements = [element for element in array.elements if element is not None]
        return [(*equal, element) for element in elements]


class RangeReader:
    """Reads the rows of one access path."""

    def __init__(
        self,
        rows: IndexKeys,
        index: IndexKeys,
        values: KeyValues | None,
        *,
        point: bool = False,
        reverse: bool = False,
        rows_hint: int = 0,
    ) -> None:
        self._rows = rows
        self._index = index
        self._values = values
        self._point = point
        self._reverse = reverse
        self._rows_hint = rows_hint

    async def pages(self, runtime: Runtime, *, keys: bool) -> Pages:
        """(row keys, or none if not asked for; row values), page by page, never empty."""
        if self._point and self._values is not None:
            async for page in self._points(runtime, self._values):
                yield page
            return
        spans = [self._index.span]
        if self._values is not None:
            spans = await self._values.bounds(runtime, self._index)
        last = None
        for span in reversed(spans) if self._reverse else spans:
            if span[0] >= span[1] or span == last:
                continue
            last = span
            read = self._row_span if self._index.is_row else self._entry_span
            async for page in read(runtime, span, keys=keys):
                yield page

    async def _row_span(self, runtime: Runtime, span: tuple[bytes, bytes], *, keys: bool) -> Pages:
        pages = runtime.transaction.scan(
            *span, reverse=self._reverse, keys=keys, rows_hint=self._rows_hint
        )
        try:
            async for page in pages:
                if page.values:
                    yield page.keys, page.values
        finally:
            await _close(pages)

    async def _entry_span(
        self, runtime: Runtime, span: tuple[bytes, bytes], *, keys: bool
    ) -> Pages:
        del keys
        pages = runtime.transaction.scan(
            *span, reverse=self._reverse, keys=False, rows_hint=self._rows_hint
        )
        try:
            async for page in pages:
                if page.values:
                    yield await self._rows_of(runtime, page.values)
        finally:
            await _close(pages)

    async def _rows_of(
        self, runtime: Runtime, entries: list[bytes]
    ) -> tuple[list[bytes], list[bytes]]:
        found_keys = [self._rows.row_key(entry) for entry in entries]
        found = await runtime.transaction.get(found_keys)
        pairs = [(k, v) for k, v in zip(found_keys, found, strict=True) if v is not None]
        return [key for key, _ in pairs], [value for _, value in pairs]

    async def _points(self, runtime: Runtime, values: KeyValues) -> Pages:
        points = await values.points(runtime)
        wanted = [self._index.encode(point) for point in points]
        if len(wanted) > 1:
            wanted = sorted(set(wanted), reverse=self._reverse)
        for start in range(0, len(wanted), BATCH_ROWS):
            part = wanted[start : start + BATCH_ROWS]
            found = await runtime.transaction.get(part)
            pairs = [(k, v) for k, v in zip(part, found, strict=True) if v is not None]
            if pairs and self._index.is_row:
                yield [key for key, _ in pairs], [value for _, value in pairs]
            elif pairs:
                keys, rows = await self._rows_of(runtime, [value for _, value in pairs])
                if rows:
                    yield keys, rows


async def _close(pages: Any) -> None:
    # The contract asks for an iterator only; a generator is told that nobody will come back.
    close = getattr(pages, "aclose", None)
    if close is not None:
        await close()
