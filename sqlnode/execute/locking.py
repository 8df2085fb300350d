"""Rows locked before they are changed, and checked anew where somebody was faster.

READ COMMITTED, as PostgreSQL does it (transaction-iso, "Read Committed Isolation Level"):

    1. the statement's plan finds rows at the statement's snapshot
    2. each is locked; that waits for whoever holds it, and answers its newest version
    3. deleted meanwhile: left out.  Changed: the conditions are evaluated again on the newest
       version, and the row is left out if they no longer hold.  Unchanged: go on
    4. the new values are computed from the newest version

The statement never meets its own writes (the Halloween problem), for the transaction shows them to
reads from the next statement on; so rows are written while others are still being found. A row that
a join finds twice is changed once. Under REPEATABLE READ step 2 raises 40001 instead of answering a
newer version.

A condition on the whole primary key needs no step 1: the key is locked at once, and what the lock
answers is the row. That is one round trip. Where somebody else has the key, or REPEATABLE READ says
40001, the snapshot is looked at after all: a row that step 1 would not have found, for it does not
exist or does not meet the rest of the condition, is no conflict, and not waited for. Neither is it
locked for longer than it takes to see that.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from dormouse.base.errors import Blame
from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch, Row
from sqlnode.execute.ranges import KeyValues
from sqlnode.execute.runtime import Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.stages import Pipeline
from sqlnode.rowkeys import IndexKeys
from sqlnode.sqlstate import SERIALIZATION_FAILURE

_LOCK_ROWS = 256


@dataclass(frozen=True, slots=True)
class Locked:
    """A combined row whose target is locked; `changed` as in kv Locked."""

    row: Row
    changed: bool


class FoundRows:
    """Steps 1 to 3 for any plan. `key` is the place of the row's key among the plan's columns,
    `columns` the places of the table's own columns, in order."""

    def __init__(
        self,
        child: Operator,
        *,
        key: int,
        columns: Sequence[int],
        decode: Callable[[bytes], Row],
        recheck: Pipeline,
        strength: str,
    ) -> None:
        self._child = child
        self.key = key
        self.columns = tuple(columns)
        self._decode = decode
        self._recheck = recheck
        self._strength = strength

    async def run(self, runtime: Runtime) -> AsyncIterator[list[Locked]]:
        """Locked rows in batches; a target found more than once counts once."""
        seen: set[bytes] = set()
        batches = self._child.run(runtime)
        try:
            async for batch in batches:
                for start in range(0, len(batch), _LOCK_ROWS):
                    locked = await self._lock(runtime, batch[start : start + _LOCK_ROWS], seen)
                    if locked:
                        yield locked
        finally:
            await close(batches)

    async def _lock(self, runtime: Runtime, batch: Batch, seen: set[bytes]) -> list[Locked]:
        place = self.key
        fresh: dict[bytes, Row] = {}
        for row in batch:
            if row[place] not in seen:
                fresh.setdefault(row[place], row)
        seen.update(fresh)
        found = await runtime.transaction.lock(list(fresh), strength=self._strength)
        result = []
        for row, newest in zip(fresh.values(), found, strict=True):
            if not newest.changed:
                result.append(Locked(row, changed=False))
            elif newest.value is not None:
                again = replaced(row, self.columns, self._decode(newest.value))
                if await self._recheck.apply([again], runtime):
                    result.append(Locked(again, changed=True))
        return result


class PointRow:
    """The row of one primary key, locked at once: rows are (key, columns…)."""

    def __init__(
        self,
        values: KeyValues,
        keys: IndexKeys,
        decode: Callable[[bytes], Row],
        condition: Pipeline,
        strength: str,
    ) -> None:
        self._values = values
        self._encode = keys.encode
        self._decode = decode
        self._condition = condition
        self._strength = strength

    async def run(self, runtime: Runtime) -> AsyncIterator[list[Locked]]:
        """See FoundRows.run."""
        for values in await self._values.points(runtime):
            key = self._encode(values)
            wait = "wait_for_row" if self._condition.is_identity else "look"
            if locked := await self._lock(key, wait, runtime):
                yield [locked]

    async def _lock(self, key: bytes, wait: str, runtime: Runtime) -> Locked | None:
        transaction = runtime.transaction
        try:
            (newest,) = await transaction.lock((key,), strength=self._strength, wait=wait)
        except SqlError as error:
            if error.sqlstate != SERIALIZATION_FAILURE or error.blame is not Blame.USER:
                raise
            (seen,) = await transaction.get((key,))
            if await self._rows(key, seen, runtime):
                raise
            transaction.forgo()
            return None
        rows = await self._rows(key, newest.value, runtime)
        if not rows:
            transaction.forgo()
            return None
        if not newest.locked:
            return await self._lock(key, "wait_for_row", runtime)
        return Locked(rows[0], newest.changed)

    async def _rows(self, key: bytes, value: bytes | None, runtime: Runtime) -> Batch:
        """The row as a batch, if there is one and it meets the condition."""
        if value is None:
            return []
        rows: Batch = [(key, *self._decode(value))]
        if self._condition.is_identity:
            return rows
        return await self._condition.apply(rows, runtime)


Source = FoundRows | PointRow


def replaced(row: Row, places: Sequence[int], values: Row) -> Row:
    """The row with other values at some places."""
    changed = list(row)
    for place, value in zip(places, values, strict=True):
        changed[place] = value
    return tuple(changed)
