"""How long each tenant's past is kept: its recovery window.

    commits ───┬──────────────┬────────────────────┬───▶ now
               │   collected  │  can be read back  │
             since          floor = now - window

What is superseded is filed for the time at which it can go (storage/garbage.py), by the window of
its commit. A window that becomes shorter lets go of more at once: the tenant's history is walked
for it. One that becomes longer brings nothing back: from `since` on, the floor of the moment, the
past is whole, and the floor stands still until the longer window has passed over it.

Windows lie in the engine and are read at the start, so that no collection ever runs with another.
Where one is shorter than what reading needs (`least`: a statement pins its snapshot only with its
second read) that holds instead.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dormouse.base.ids import TenantId
from storage.clock import TICKS_PER_SECOND
from storage.committer import Committer
from storage.engines.interface import Engine, ScanRange, Write
from storage.layout import DEFAULT_WINDOW, WINDOW_SPAN, tenant_of, window_key
from storage.unwritten import Unwritten

_KEPT = struct.Struct("<qQ")
_PAGE_ROWS = 1000
_PAGE_BYTES = 1 << 20
_INHERITED = -1


@dataclass(frozen=True, slots=True)
class _Kept:
    seconds: int
    """`_INHERITED`: as long as the default."""
    since: int
    """Before this nothing is kept, however long the window."""


class Windows:
    """The windows of a shard's tenants: about 200 bytes of memory for each that has its own."""

    def __init__(
        self, engine: Engine, committer: Committer, *, least_seconds: float, default_seconds: int
    ) -> None:
        self._engine = engine
        self._unwritten = Unwritten(committer)
        self._least = int(least_seconds * TICKS_PER_SECOND)
        self._own: dict[TenantId, _Kept] = {}
        self._default = _Kept(default_seconds, 0)
        self._shorter: dict[TenantId, int] = {}
        """Whose window is shorter, but not yet on the disk, and what it was."""
        self._default_before = 0
        """What the default was, while a shorter one is not yet on the disk."""

    def __repr__(self) -> str:
        return f"<Windows own={len(self._own)} default={self._default.seconds}>"

    async def load(self) -> None:
        """Read what was set before. Raises EngineError."""
        [default] = await self._engine.get([DEFAULT_WINDOW])
        if default is not None:
            self._default = _Kept(*_KEPT.unpack(default))
        start, end = WINDOW_SPAN
        while True:
            [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
            for key, value in page.rows:
                self._own[tenant_of(key)] = _Kept(*_KEPT.unpack(value))
            if page.exhausted:
                return
            start = page.rows[-1][0] + b"\0"

    def of(self, tenant: TenantId) -> int:
        """How long what a commit supersedes now is kept; ticks."""
        return max(self._in_force(tenant) * TICKS_PER_SECOND, self._least)

    def inherits(self, tenant: TenantId) -> bool:
        """Whether the default is the tenant's window."""
        own = self._own.get(tenant)
        return own is None or own.seconds == _INHERITED

    def floor(self, tenant: TenantId, now: int, visible: int) -> int:
        """The oldest snapshot that the window keeps when the clock says `now`."""
        return max(min(visible, now - self.of(tenant)), self._kept(tenant).since)

    async def change(
        self,
        windows: Mapping[TenantId, int | None],
        *,
        only_these: bool,
        default: int | None,
        floor: Callable[[TenantId], int],
    ) -> tuple[list[TenantId], bool]:
        """See proto/kv.proto, SetQuotas: seconds, None for the default. A longer window is in
        force at once, a shorter one when it is durable, which all are on return; the tenants
        whose window has become shorter, and whether the default has.

        `floor`: of a tenant, by the windows that were in force. Raises EngineError.
        """
        wanted = dict.fromkeys(self._own if only_these else (), None) | dict(windows)
        before = {tenant: self._in_force(tenant) for tenant in wanted}
        writes = self._change_default(default, floor)
        for tenant, seconds in wanted.items():
            own = self._own.get(tenant)
            if seconds == (None if own is None or own.seconds == _INHERITED else own.seconds):
                continue
            at = floor(tenant)
            changed = _Kept(_INHERITED if seconds is None else seconds, at)
            self._own[tenant] = changed
            if self._kept(tenant).seconds < before[tenant]:
                self._shorter[tenant] = before[tenant]
            writes.append((window_key(tenant), _packed(changed)))
        shorter, default_before = dict(self._shorter), self._default_before
        await self._unwritten.write(writes)
        for tenant, seconds in shorter.items():
            if self._shorter.get(tenant) == seconds:
                del self._shorter[tenant]
        if self._default_before == default_before:
            self._default_before = 0
        return list(shorter), default_before > 0

    def _change_default(self, seconds: int | None, floor: Callable[[TenantId], int]) -> list[Write]:
        before = self._default
        if seconds is None or seconds == before.seconds:
            return []
        since = floor(TenantId(0)) if seconds > before.seconds else before.since
        if seconds < before.seconds:
            self._default_before = max(self._default_before, before.seconds)
        self._default = _Kept(seconds, since)
        return [(DEFAULT_WINDOW, _packed(self._default))]

    def begin(self, tenant: TenantId, time: int) -> Write:
        """The tenant has no past before `time`; what is to be written of it."""
        own = self._own.get(tenant, _Kept(_INHERITED, 0))
        self._own[tenant] = kept = _Kept(own.seconds, time)
        self._unwritten.forget(window_key(tenant))
        return window_key(tenant), _packed(kept)

    def forget(self, tenant: TenantId) -> None:
        """The tenant is gone, and what was written of it."""
        self._own.pop(tenant, None)
        self._shorter.pop(tenant, None)
        self._unwritten.forget(window_key(tenant))

    def _in_force(self, tenant: TenantId) -> int:
        """Seconds; the longer of two windows while the shorter one is not durable."""
        before = self._default_before if self.inherits(tenant) else 0
        return max(self._kept(tenant).seconds, self._shorter.get(tenant, 0), before)

    def _kept(self, tenant: TenantId) -> _Kept:
        own = self._own.get(tenant)
        if own is None:
            return self._default
        return _Kept(self._default.seconds, own.since) if own.seconds == _INHERITED else own


def _packed(kept: _Kept) -> bytes:
    return _KEPT.pack(kept.seconds, kept.since)
