"""What transactions leave behind, and when it goes: at once, or by age.

staged pieces   when their transaction has ended; where the disk is full, with a later pass
records         `record_seconds` after the commit, all of one group together (a list of `y`)
fences          `record_seconds` after somebody asked what became of a transaction
"""

from collections import deque
from itertools import islice

from storage.committer import Committer, Submission
from storage.engines.interface import EngineError
from storage.layout import (
    RECORD_AGE_SPAN,
    fence_key,
    record_age_time,
    record_list,
    split_record_list,
    staged_key,
    tenant_of,
)
from storage.remover import Remover, now, rest
from storage.tenants import Tenants, Transaction

_PIECES_AT_ONCE = 1000
"""Parts of staged pieces, 8 KiB each: their removal takes as much of the log again."""


class Leftovers:
    """Removes what transactions have left."""

    def __init__(self, committer: Committer, tenants: Tenants, remover: Remover) -> None:
        self._committer = committer
        self._tenants = tenants
        self._remover = remover
        self._damaged = remover.damaged
        self._undropped: deque[bytes] = deque()
        """Staged pieces that are still there, for the disk was full when they were to go."""

    def drop_staged(self, transaction: Transaction) -> None:
        """Remove the staged pieces of a transaction that ended, in the background."""
        tenant, pod, number = transaction.tenant.id, transaction.pod, transaction.number
        keys = [staged_key(tenant, pod, number, piece) for piece in range(transaction.pieces)]
        transaction.pieces = 0

        def done(error: EngineError | None) -> None:
            if error is not None:
                self._undropped.extend(keys)

        try:
            self._committer.submit(Submission([(key, None) for key in keys], done))
        except EngineError as error:
            done(error)

    async def collect(self, before: int) -> None:
        """A pass: records and fences of before that time go."""
        await self._drop_undropped()
        await self._collect_records(before)
        await self._collect_fences(before)

    async def _drop_undropped(self) -> None:
        for _ in range(0, len(self._undropped), _PIECES_AT_ONCE):
            some = list(islice(self._undropped, _PIECES_AT_ONCE))
            await self._remover.remove_of_each(some, "staged")
            for _ in some:
                self._undropped.popleft()
            self._undropped.extend(key for key in some if tenant_of(key) in self._damaged)

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
