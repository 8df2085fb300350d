"""Rows by key, for joins."""

from sqlnode.execute.api import Row
from sqlnode.execute.runtime import Runtime
from sqlnode.rowkeys import IndexKeys
from sqlnode.rows import RowDecoder


class RowFetcher:
    """Fetches rows by keys of a unique index: one request, or two where it is a secondary one."""

    def __init__(
        self, rows: IndexKeys, keys: IndexKeys, decoder: RowDecoder, *, with_keys: bool
    ) -> None:
        self._rows = rows
        self._is_row = keys.is_row
        self._decode = decoder.decode
        self._with_keys = with_keys

    async def fetch(self, runtime: Runtime, keys: list[bytes]) -> list[Row | None]:
        """The row for each key, None where there is none."""
        found_keys: list[bytes | None] = list(keys)
        if not self._is_row:
            entries = await runtime.transaction.get(keys)
            found_keys = [None if e is None else self._rows.row_key(e) for e in entries]
        wanted = [key for key in found_keys if key is not None]
        if not wanted:
            return [None] * len(keys)
        values = dict(zip(wanted, await runtime.transaction.get(wanted), strict=True))
        return [None if key is None else self._row(key, values[key]) for key in found_keys]

    def _row(self, key: bytes, value: bytes | None) -> Row | None:
        if value is None:
            return None
        row = self._decode(value)
        return (key, *row) if self._with_keys else row
