"""The pods that control knows of, what each has used, and how far it may go. No I/O.

A leave is told over a stream and nothing says when it arrives. So a pod may go by any of the leaves
that were told since the one that it named in its newest report:

    told        4: up to 100     5: up to 130     6: up to 110        reports name 4, then 6
    may reach       100              130              130 ─── 110 as soon as 6 is named

Ceilings are in the registry before they are told (control/spending/store.py), and lower ones with
the report that names them, so this holds across restarts of control.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from control.spending.leaves import Leave
from control.spending.sharing import RATE_FIRST, SILENT_SECONDS, Sharer, rate_after

PodKey = tuple[int, int]
"""Tenant and pod, as in the ledger's tables (control/ledger.py, `Report.key`)."""
_OUT_MAX = 16


@dataclass(slots=True)
class Told:
    """A leave that was told, and its number."""

    number: int
    leave: Leave


class Stream:
    """What a pod listens to: only the newest leave matters, so there is no queue."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._told: Told | None = None
        self._is_closed = False

    def tell(self, told: Told) -> None:
        """Replaces what was not taken yet."""
        self._told = told
        self._news.set()

    def close(self) -> None:
        """End it; the pod asks again."""
        self._is_closed = True
        self._news.set()

    async def next(self) -> Told | None:
        """The next leave; None at the end."""
        await self._news.wait()
        self._news.clear()
        if self._is_closed:
            return None
        told, self._told = self._told, None
        return told


@dataclass(slots=True)
class Pod:
    """One pod; millionths of a unit."""

    key: PodKey
    whole: int
    """The account of its organisation."""
    heard_at: float
    """Monotonic; streams and reports both count."""
    use: int | None = None
    """None: not looked up yet."""
    use_at: float = 0.0
    per_second: float = RATE_FIRST
    number: int = 0
    told: Told | None = None
    stream: Stream | None = None
    waiting: asyncio.Future[Told] | None = None
    """Of the one who is about to stamp it."""
    kept_ceiling: int = 0
    """In the registry."""
    is_restored: bool = False
    """Whether what the registry has of it was read."""
    _out: deque[tuple[int, int]] = field(default_factory=deque)
    """Number and ceiling of the leaves it may go by, the oldest first."""

    @property
    def may_reach(self) -> int:
        """The highest ceiling that it may go by."""
        return max((ceiling for _, ceiling in self._out), default=0)

    @property
    def can_be_told(self) -> bool:
        """Whether somebody listens."""
        return self.stream is not None or self.waiting is not None

    def is_silent(self, now: float) -> bool:
        """Whether it counts no more."""
        return now - self.heard_at > SILENT_SECONDS

    def sharer(self) -> Sharer:
        """As control/spending/sharing.py wants it."""
        return Sharer(self.use or 0, self.may_reach, int(self.per_second))

    def used(self, use: int, now: float) -> None:
        """A report was booked."""
        if self.use is None:
            self.use, self.use_at = use, now
        elif use > self.use or now - self.use_at >= 1.0:
            seconds = now - self.use_at
            self.per_second = rate_after(self.per_second, used=use - self.use, seconds=seconds)
            self.use, self.use_at = use, now
        self.heard_at = now

    def names(self, number: int) -> bool:
        """A report goes by this leave; whether the pod has to be told anew, because it goes by one
        that this control knows nothing of."""
        if any(each == number for each, _ in self._out):
            while self._out[0][0] < number:
                self._out.popleft()
            return False
        is_ahead = number > self.number
        self.number = max(self.number, number)
        return is_ahead

    def restore(self, number: int, ceiling: int) -> None:
        """What the registry has of it."""
        self.kept_ceiling = max(self.kept_ceiling, ceiling)
        self.number = max(self.number, number)
        self._out.appendleft((0, ceiling))

    def reserve_for(self, leave: Leave, number_at_least: int) -> int:
        """Count with the leave as told; its number."""
        self.number = max(self.number + 1, number_at_least)
        if len(self._out) >= _OUT_MAX:
            _, oldest = self._out.popleft()
            number, ceiling = self._out.popleft()
            self._out.appendleft((number, max(oldest, ceiling)))
        self._out.append((self.number, leave.ceiling))
        return self.number

    def tell(self, told: Told) -> None:
        """Tell whoever listens."""
        self.told = told
        if self.stream is not None:
            self.stream.tell(told)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(told)


class Pods:
    """All of them, by tenant and by organisation."""

    def __init__(self) -> None:
        self._by_tenant: dict[int, dict[PodKey, Pod]] = {}
        self._by_whole: dict[int, dict[PodKey, Pod]] = {}

    def __repr__(self) -> str:
        return f"<Pods n={len(self)}>"

    def __len__(self) -> int:
        return sum(map(len, self._by_whole.values()))

    def get(self, key: PodKey) -> Pod | None:
        """The pod, if it is known."""
        return self._by_tenant.get(key[0], {}).get(key)

    def add(self, pod: Pod) -> None:
        """A new one."""
        self._by_tenant.setdefault(pod.key[0], {})[pod.key] = pod
        self._by_whole.setdefault(pod.whole, {})[pod.key] = pod

    def remove(self, pod: Pod) -> None:
        """Forget it."""
        for index, number in ((self._by_tenant, pod.key[0]), (self._by_whole, pod.whole)):
            pods = index.get(number, {})
            pods.pop(pod.key, None)
            if not pods:
                index.pop(number, None)

    def of(self, account: int) -> list[Pod]:
        """Of a tenant, or of all tenants of an organisation."""
        index = self._by_tenant if account > 0 else self._by_whole
        return list(index.get(account, {}).values())

    def all(self) -> list[Pod]:
        """Every one."""
        return [pod for pods in self._by_whole.values() for pod in pods.values()]
