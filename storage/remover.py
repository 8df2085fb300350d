"""How rows are removed in the background: a page is read, one durable write takes keys away, and
then the engine belongs to others for as long as that took.

A commit that shares a group with such a write, or comes behind it, waits for it. So where others
write it takes twice as many keys as they did during the write before and its rest: few where that
is enough, and more than they leave behind, for no commit leaves more to remove than it has written.
Where nobody writes it takes more every time, up to 500, which costs less of the disk.

Where a write meets damage it is tried again for each tenant by itself, so that whose the damage is
shows, and what is the others' goes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from dormouse.base.ids import TenantId
from storage.committer import Committer
from storage.damage import Damaged
from storage.engines.interface import Engine, EngineDamaged, Page, ScanRange, Write
from storage.layout import tenant_of
from storage.metrics import COLLECTED

T = TypeVar("T")
_PAGE_ROWS = 250
_PAGE_BYTES = 256 << 10
_AT_ONCE_MIN, _AT_ONCE_MAX = 50, 500
"""Keys that one durable write removes."""
_AT_ONCE_MORE = 25
"""So many more each time that nobody else has written: slowly, for whoever comes next waits."""
_PER_KEY_WRITTEN = 2
"""Keys that are removed for each that others have written: above 1, or it falls behind."""
_REST_SECONDS_MAX = 0.1


class Remover:
    """Reads and removes for the collection."""

    def __init__(self, engine: Engine, committer: Committer, damaged: Damaged) -> None:
        self._engine = engine
        self._committer = committer
        self.damaged = damaged
        self.first: list[Write] = []
        """What the next removal carries."""
        self._at_once = _AT_ONCE_MIN

    async def page(self, start: bytes, end: bytes) -> Page:
        """The first rows of a range."""
        [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
        return page

    async def keys(self, start: bytes, end: bytes) -> tuple[list[bytes], bool]:
        """The first keys of a range, and whether these are all; values are not looked at."""
        wanted = ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES, keys_only=True)
        [page] = await self._engine.scan([wanted])
        return [key for key, _ in page.rows], page.exhausted

    async def page_past_damage(self, start: bytes, end: bytes, rows_max: int = _PAGE_ROWS) -> Page:
        """The first rows that can be read; what cannot is left out."""
        wanted = ScanRange(start, end, rows_max, _PAGE_BYTES)
        return await self.damaged.page_past(self._engine, wanted)

    async def remove(self, keys: Sequence[bytes], kind: str) -> None:
        """Remove keys, durably; `kind` is what they count as."""
        at = 0
        while at < len(keys):
            began = now()
            some = keys[at : at + self._at_once]
            before = self._committer.keys_written
            writes = [*self.first, *((key, None) for key in some)]
            await self._committer.write(writes)
            self.first = []
            COLLECTED.labels(kind).inc(len(some))
            at += len(some)
            if at < len(keys):
                await rest(began)
            others = self._committer.keys_written - before - len(writes)
            self._at_once = at_once(self._at_once, others)

    async def replace_shared(self, writes: Sequence[Write]) -> None:
        """Write to a keyspace that is everybody's; where damage is in the way that place is passed
        over for a while."""
        if not writes:
            return
        try:
            await self._committer.write([*self.first, *writes])
            self.first = []
        except EngineDamaged as error:
            keys = [key for key, _ in writes]
            self.damaged.pass_over(min(keys), max(keys) + b"\0", error)

    async def remove_of_each(self, keys: Sequence[bytes], kind: str) -> None:
        """Remove keys that begin with their tenant, as far as that is not left alone."""

        async def work(some: Sequence[bytes]) -> int:
            await self.remove(some, kind)
            return len(some)

        well = [key for key in keys if tenant_of(key) not in self.damaged]
        await self.of_each(well, tenant_of, work)

    async def of_each(
        self,
        items: Sequence[T],
        owner: Callable[[T], TenantId],
        work: Callable[[Sequence[T]], Awaitable[int]],
    ) -> int:
        """Do something for all items, or where that meets damage for each tenant's by themselves,
        leaving alone whose it is; the sum of the answers."""
        try:
            return await work(items) if items else 0
        except EngineDamaged as error:
            owned: dict[TenantId, list[T]] = {}
            for item in items:
                owned.setdefault(owner(item), []).append(item)
            if len(owned) == 1:
                self.damaged.found(next(iter(owned)), error)
                return 0
        done = 0
        for tenant, some in owned.items():
            began = now()
            with self.damaged.sparing(tenant):
                done += await work(some)
            await rest(began)
        return done


def at_once(last: int, others: int) -> int:
    """How many keys a write removes after one of `last` keys, while `others` were written."""
    wanted = others * _PER_KEY_WRITTEN if others else last + _AT_ONCE_MORE
    return min(max(wanted, _AT_ONCE_MIN), _AT_ONCE_MAX)


async def rest(began: float) -> None:
    """Leave the engine to others for as long as the step since `began` has had it."""
    await asyncio.sleep(min(now() - began, _REST_SECONDS_MAX))


def now() -> float:
    """The event loop's time; seconds."""
    return asyncio.get_running_loop().time()
