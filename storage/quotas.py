"""How much a tenant may store, and whether a commit still fits.

    commit ──▶ grows by so much ──▶ fits? ──no──▶ QUOTA, nothing is written
                                      │yes
    used = measured by a walk + what commits added since     (storage/sizes.py)

What counts are current rows, keys and values as they lie in the engine. Superseded versions, which
are kept for readers and for recovery, do not, and neither does what was dropped or truncated and
waits for its last reader: so deleting makes room at once, and never fails for want of it. A commit
that does not make its tenant larger is never refused, whatever is stored; an UPDATE that keeps or
shrinks its rows is such a one. One that gives up whole ranges (DROP, TRUNCATE) may add a little to
the catalog.

Quotas lie in the engine and are read at the start, so they are in force before the first commit of
a new process. What a tenant uses is not known before it was measured in this process: as soon as it
opens a session it is measured, and until then, one walk over its rows, its commits are let in.
"""

from collections.abc import Mapping

from dormouse.base.ids import TenantId
from proto import kv_pb2 as kv
from storage.committer import Committer
from storage.engines.interface import Engine, ScanRange, Write
from storage.layout import DEFAULT_QUOTA, QUOTA_SPAN, TIME, quota_key, tenant_of
from storage.metrics import QUOTA_REFUSED
from storage.refusals import Refusal
from storage.sizes import Sizes
from storage.unwritten import Unwritten

GIVING_BACK_BYTES = 64 << 10
"""What a commit that gives up ranges may add: rows of the catalog."""
_PAGE_ROWS = 1000
_PAGE_BYTES = 1 << 20


class Quotas:
    """The quotas of a shard's tenants: about 100 bytes of memory for each that has its own."""

    def __init__(self, engine: Engine, committer: Committer, sizes: Sizes) -> None:
        self._engine = engine
        self._unwritten = Unwritten(committer)
        self._sizes = sizes
        self._own: dict[TenantId, int] = {}
        self._default = 0

    def __repr__(self) -> str:
        return f"<Quotas own={len(self._own)} default={self._default}>"

    async def load(self) -> None:
        """Read what was set before. Raises EngineError."""
        [default] = await self._engine.get([DEFAULT_QUOTA])
        self._default = 0 if default is None else int(TIME.unpack(default)[0])
        start, end = QUOTA_SPAN
        while True:
            [page] = await self._engine.scan([ScanRange(start, end, _PAGE_ROWS, _PAGE_BYTES)])
            for key, value in page.rows:
                self._own[tenant_of(key)] = int(TIME.unpack(value)[0])
            if page.exhausted:
                return
            start = page.rows[-1][0] + b"\0"

    def of(self, tenant: TenantId) -> int:
        """Bytes a tenant may store; 0: as many as it likes."""
        return self._own.get(tenant) or self._default

    async def change(
        self, quotas: Mapping[TenantId, int], *, only_these: bool, default: int | None
    ) -> None:
        """See proto/kv.proto, SetQuotas; in force at once, durable on return.

        Raises EngineError.
        """
        wanted = {} if only_these else dict(self._own)
        wanted |= quotas
        wanted = {tenant: limit for tenant, limit in wanted.items() if limit}
        writes: list[Write] = [
            (quota_key(tenant), TIME.pack(limit))
            for tenant, limit in wanted.items()
            if self._own.get(tenant) != limit
        ]
        writes += [(quota_key(tenant), None) for tenant in self._own.keys() - wanted.keys()]
        if default is not None and default != self._default:
            writes.append((DEFAULT_QUOTA, TIME.pack(default)))
            if not self._default:
                self._sizes.forget_estimates()
            self._default = default
        limited_anew = [tenant for tenant in wanted if not self.of(tenant)]
        self._own = wanted
        for tenant in limited_anew:
            self._sizes.needed(tenant, anew=True)
        await self._unwritten.write(writes)

    def forget(self, tenant: TenantId) -> None:
        """The tenant is gone, its quota with it."""
        self._own.pop(tenant, None)
        self._unwritten.forget(quota_key(tenant))

    def opened(self, tenant: TenantId) -> None:
        """A tenant has opened a session: what it uses is soon to be known."""
        if self.of(tenant):
            self._sizes.needed(tenant)

    def check(self, tenant: TenantId, growth: int, *, gives_back: bool = False) -> None:
        """Raises Refusal (QUOTA) where a tenant may not grow by so many bytes."""
        if growth <= (GIVING_BACK_BYTES if gives_back else 0):
            return
        limit = self.of(tenant)
        if not limit:
            return
        used = self._sizes.current(tenant)
        if used is not None and used + growth > limit:
            QUOTA_REFUSED.inc()
            text = f"{used} bytes and {growth} more are above the limit of {limit}"
            raise Refusal(kv.Error.QUOTA, text, used=max(used, 0), limit=limit)
