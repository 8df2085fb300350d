"""FOR UPDATE, FOR SHARE and their kin: rows locked on their way out."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlnode import sqlstate
from sqlnode.errors import SqlError
from sqlnode.execute.api import Batch, Row
from sqlnode.execute.locking import replaced
from sqlnode.execute.runtime import Operator, Runtime
from sqlnode.execute.scans import close
from sqlnode.execute.stages import Pipeline
from sqlnode.kv.api import Locked

_LOCK_ROWS = 256


@dataclass(frozen=True, slots=True)
class LockedTable:
    """A table to lock in: its name, the place of its row key, the places of its columns that the
    rows carry, and how to decode just these."""

    name: str
    key: int
    columns: Sequence[int]
    decode: Callable[[bytes], Row]
    strength: str
    wait: str


class LockRows:
    """Locks each row, checks anew those that changed, computes the targets."""

    def __init__(
        self,
        child: Operator,
        tables: Sequence[LockedTable],
        *,
        recheck: Pipeline,
        output: Pipeline,
        limit: Callable[[Runtime], tuple[Any, ...]] | None,
    ) -> None:
        self._child = child
        self._tables = tuple(tables)
        self._recheck = recheck
        self._output = output
        self._limit = limit

    async def run(self, runtime: Runtime) -> AsyncIterator[Batch]:
        """See Operator.run."""
        wanted = self._limit(runtime)[0] if self._limit is not None else None
        batches = self._child.run(runtime)
        given = 0
        try:
            async for batch in batches:
                at = 0
                while at < len(batch):
                    # With a LIMIT no row is locked that cannot be wanted.
                    size = _LOCK_ROWS if wanted is None else max(1, min(_LOCK_ROWS, wanted - given))
                    rows = await self._locked(runtime, batch[at : at + size])
                    at += size
                    if rows:
                        given += len(rows)
                        yield rows
                await runtime.checkpoint()
        finally:
            await close(batches)

    async def _locked(self, runtime: Runtime, rows: Batch) -> Batch:
        changed: set[int] = set()
        alive = list(enumerate(rows))
        for table in self._tables:
            # A row that an outer join made up of NULLs has no key and nothing to lock.
            keyed = [place for place, row in alive if row[table.key] is not None]
            by_place = dict(alive)
            keys = [by_place[place][table.key] for place in keyed]
            found = await _lock(runtime, table, keys)
            gone: set[int] = set()
            for place, newest in zip(keyed, found, strict=True):
                if not newest.locked or (newest.changed and newest.value is None):
                    gone.add(place)
                elif newest.changed and newest.value is not None:
                    values = table.decode(newest.value)
                    by_place[place] = replaced(by_place[place], table.columns, values)
                    changed.add(place)
            alive = [(place, by_place[place]) for place, _ in alive if place not in gone]
        kept: Batch = []
        for place, row in alive:
            if place not in changed or await self._recheck.apply([row], runtime):
                kept.append(row)
        return await self._output.apply(kept, runtime) if kept else []


async def _lock(runtime: Runtime, table: LockedTable, keys: Sequence[bytes]) -> list[Locked]:
    try:
        return await runtime.transaction.lock(keys, strength=table.strength, wait=table.wait)
    except SqlError as error:
        if table.wait == "nowait" and error.sqlstate == sqlstate.LOCK_NOT_AVAILABLE:
            error.message = f'could not obtain lock on row in relation "{table.name}"'
        raise
