"""What transactions leave behind, and when it goes: at once, or by age.

staged pieces   when their transaction has ended, bit by bit; where the disk is full or damaged,
                with a later pass
records         `record_seconds` after the commit, all of one group together (a list of `y`)
fences          `record_seconds` after somebody asked what became of a transaction
"""

import asyncio
from collections import deque

from storage.committer import Committer
from storage.engines.interface import EngineDamaged, EngineError
from storage.layout import (
    RECORD_AGE_SPAN,
    fence_key,
    record_age_time,
    record_list,
    split_record_list,
    tenant_of,
)
from storage.metrics import COLLECTED
from storage.pieces import Name, part_keys
from storage.remover import Remover, now, rest
from storage.tenants import Tenants, Transaction

_PARTS_AT_ONCE = 32
"""Of staged pieces, 8 KiB each: their removal takes as much of the log again."""
_UNDROPPED_MAX = 10_000
"""Transactions of which that has failed; the next start removes what the oldest have left."""


class Leftovers:
    """Removes what transactions have left."""

    def __init__(self, committer: Committer, tenants: Tenants, remover: Remover) -> None:
        self._committer = committer
        self._tenants = tenants
        self._remover = remover
        self._damaged = remover.damaged
        self._dropped: deque[tuple[Name, range]] = deque()
        """Parts of staged pieces that are to go."""
        self._undropped: deque[tuple[Name, range]] = deque(maxlen=_UNDROPPED_MAX)
        """Likewise, with the next pass: the disk was full or damaged when they were to go."""
        self._wake = asyncio.Event()

    def drop_staged(self, transaction: Transaction) -> None:
        """Remove the staged pieces of a transaction that ended, in the background."""
        self._dropped.append((transaction.name, range(transaction.pieces)))
        transaction.pieces = 0
        self._wake.set()

    async def run(self) -> None:
        """Remove what is dropped, for ever: a few parts in a write, and rest in between. What is
        left when the process ends has no marker, and goes at the next start."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dropped:
                await self._drop_some(*self._dropped.popleft())

    async def _drop_some(self, name: Name, parts: range) -> None:
        began, tenant = now(), self._tenants.find(name[0])
        some = part_keys(name, parts[:_PARTS_AT_ONCE])
        share = None if tenant is None else tenant.share
        try:
            await self._committer.remove(some, share=share)
        except EngineError as error:
            if isinstance(error, EngineDamaged):
                self._damaged.found(name[0], error)
            self._undropped.append((name, parts))
            return
        COLLECTED.labels("staged").inc(len(some))
        if parts[_PARTS_AT_ONCE:]:
            self._dropped.appendleft((name, parts[_PARTS_AT_ONCE:]))
        await rest(began)

    async def collect(self, before: int) -> None:
        """A pass: records and fences of before that time go."""
        again = [each for each in self._undropped if each[0][0] not in self._damaged]
        left = [each for each in self._undropped if each[0][0] in self._damaged]
        self._undropped.clear()
        self._undropped.extend(left)
        self._dropped.extend(again)
        self._wake.set()
        await self._collect_records(before)
        await self._collect_fences(before)

    async def _collect_records(self, before: int) -> None:
        # Who waits for a commit that is not in its place yet will ask for its record.
        rolling = [each.rolling.time for each in self._tenants if each.rolling is not None]
        before = min([before, *rolling])
        start, end = RECORD_AGE_SPAN
        while True:
            began = now()
            page = await self._remover.page_past_damage(start, end)
            old = [row for row in page.rows if record_age_time(row[0]) < before]
            dead = [record for _, value in old for record in split_record_list(value)]
            await self._remover.remove_of_each(dead, "records")
            lists = [(key, self._left_of(value) or None) for key, value in old]
            changed = [new for new, before in zip(lists, old, strict=True) if new != before]
            await self._remover.replace_shared(changed)
            if page.exhausted or len(old) < len(page.rows):
                return
            start = page.rows[-1][0] + b"\0"
            await rest(began)

    def _left_of(self, records: bytes) -> bytes:
        """What a list of records still has: those of tenants that are left alone."""
        each = split_record_list(records)
        return record_list([record for record in each if tenant_of(record) in self._damaged])

    async def _collect_fences(self, before: int) -> None:
        for tenant, fences in list(self._tenants.fences.items()):
            stale = [name for name, since in fences.items() if since < before]
            keys = [fence_key(tenant, *name) for name in stale]
            await self._remover.remove_of_each(keys, "fences")
            if tenant not in self._damaged:
                for name in stale:
                    del fences[name]
