"""The months under way of accounts that have a limit, kept up with the ledger without reading it.

A month is read once (control/usage.py) and then every booking is added to it. Both are exact: what
is read under the registry's write lock holds all bookings that were announced and none that was
not, because a booking is announced before anything else can take the lock.

    ledger   ── booked ──┬── booked ─────────┬── booked ──▶
                         └ added             └ added            read anew every minute, for what
    month    ─── read ───────────────────────────── read ──▶    is stored costs by the clock

Days are put together as far as their prices are the same, so that a look costs the same on the
first day and on the last. The sums of an organisation are one object for all its tenants.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from control.database import Database
from control.rollups import Addition, Owner, Used
from control.spending.room import Position, position_of
from control.usage import Days, Month, UsageReader
from dormouse.base.clock import Clock

FRESH_SECONDS = 60.0
MONTHS_MAX = 50_000
"""At so many all are forgotten, and read again as they are needed."""


@dataclass(slots=True)
class _Sums:
    """The use of an account in its month, by pieces of the same price."""

    borders: Sequence[int] = ()
    """Where each piece begins."""
    used: dict[int, Used] = field(default_factory=dict)

    def become(self, borders: Sequence[int], days: Days) -> None:
        self.borders = borders
        self.used.clear()
        for second, used in days.items():
            self.add(second, used)

    def add(self, second: int, used: Used) -> None:
        begun = [border for border in self.borders if border <= second]
        if begun:
            piece = begun[-1]
            self.used[piece] = self.used[piece] + used if piece in self.used else used


@dataclass(frozen=True, slots=True)
class _Kept:
    month: Month
    read_at: float


class Months:
    """Reads and keeps them."""

    def __init__(self, database: Database, usage: UsageReader, clock: Clock) -> None:
        self._database = database
        self._usage = usage
        self._clock = clock
        self._kept: dict[int, _Kept] = {}
        self._sums: dict[int, _Sums] = {}

    def __repr__(self) -> str:
        return f"<Months kept={len(self._kept)}>"

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def currency(self) -> str:
        """Of the price book."""
        return self._usage.book.currency

    async def ensure(self, accounts: Iterable[int]) -> None:
        """Have their months under way at hand."""
        if len(self._kept) >= MONTHS_MAX:
            self._kept.clear()
            self._sums.clear()
        for account in accounts:
            kept = self._kept.get(account)
            if kept is None or not self._is_fresh(kept):
                # The lock is what makes it exact; nothing is written.
                async with self._database.transaction():
                    self._keep(account, await self._usage.month(account))

    def position(self, account: int) -> Position:
        """Where the month is that `ensure` has read; nothing is awaited between several of them."""
        return position_of(self._kept[account].month, self._usage.book, self._now())

    async def whole_of(self, account: int) -> int:
        """The account of a tenant's organisation; an organisation's is its own."""
        if account < 0:
            return account
        kept = self._kept.get(account)
        return kept.month.whole if kept is not None else (await self._usage.whose(account))[0]

    def forget(self, account: int) -> None:
        """Read it anew when it is asked for."""
        self._kept.pop(account, None)

    def booked(self, additions: Sequence[Addition], owners: Mapping[int, Owner]) -> None:
        """Something was added to the ledger; to be called before anything else is awaited."""
        for each in additions:
            owner = owners.get(each.tenant_id)
            accounts = [each.tenant_id] if owner is None else [each.tenant_id, owner.account]
            for account in accounts:
                sums = self._sums.get(account)
                if sums is not None:
                    sums.add(each.second, each.used)

    def _keep(self, account: int, month: Month) -> None:
        pieces = self._usage.book.cut(month.start, month.end, month.calendar)
        borders = tuple(start for _, start, _ in pieces)
        everyone = self._sums.setdefault(month.whole, _Sums())
        everyone.become(borders, month.everyone)
        own = everyone
        if account != month.whole:
            own = self._sums.setdefault(account, _Sums())
            own.become(borders, month.own)
        whole = replace(month, own=own.used, everyone=everyone.used)
        self._kept[account] = _Kept(whole, self._clock.monotonic())

    def _is_fresh(self, kept: _Kept) -> bool:
        is_young = self._clock.monotonic() - kept.read_at < FRESH_SECONDS
        return is_young and kept.month.start <= self._now() < kept.month.end

    def _now(self) -> int:
        return self._clock.wall_ns() // 1_000_000_000
