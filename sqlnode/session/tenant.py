"""What the sessions of one pod share once it is stamped: storage, catalog, plans, the sessions."""

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dormouse.base.clock import Clock
from dormouse.base.errors import DormouseError
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from pgwire.scram import Verifier, mock_verifier
from sqlnode.catalog import store
from sqlnode.config import PodLimits
from sqlnode.kv.client import KvClient
from sqlnode.kv.usage import system_work
from sqlnode.session.context import EPOCH_MICROS
from sqlnode.session.literals import RefusedTemplates
from sqlnode.session.pipeline import PlanCache
from sqlnode.session.seals import Seals
from sqlnode.spending.spending import Spending
from sqlnode.statements.costs import StatementCosts

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.session.session import Session

_log = logging.getLogger(__name__)
_PID_MAX = 2**31 - 1
_RELOADS_MAX = 3


@dataclass(eq=False)
class Tenant:
    """A stamped pod's tenant."""

    id: TenantId
    database: str
    owner: str
    owner_verifier: Verifier
    kv: KvClient
    catalog: "Catalog"
    clock: Clock
    limits: PodLimits
    settings: Mapping[str, str] = field(default_factory=dict)
    """Defaults of session settings, from the stamp."""
    sessions_max: int = 100
    sessions: "dict[int, Session]" = field(default_factory=dict)
    """By backend pid."""
    seals: Seals | None = None
    """For sessions that move between the tenant's pods; None: none does."""
    draining: bool = False
    """New sessions are refused."""
    idle_since: float = 0.0
    """When the last login, statement or transaction ended (clock.monotonic)."""
    active: int = 0
    """Sessions running a statement now."""
    plans: PlanCache = field(init=False)
    _mock_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _reloading: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        self.plans = PlanCache(self.limits.plans_max)
        self.refused_templates = RefusedTemplates()
        self.spending = Spending(self.id, self.clock)
        self.costs = StatementCosts(lambda: self.clock.wall_ns() // 1000 - EPOCH_MICROS)
        self.idle_since = self.clock.monotonic()
        self.kv.catalog.start(self.catalog.version, self._caught_up)

    def verifier(self, user: str) -> tuple[Verifier, bool]:
        """What `user`'s password is checked against, and whether that is doomed to fail."""
        if user == self.owner:
            return self.owner_verifier, False
        return mock_verifier(user, self._mock_secret), True

    def has_role(self, user: str) -> bool:
        """Whether somebody of that name may log in."""
        return user == self.owner

    def facts(self, user: str) -> Mapping[str, str]:
        """The settings of a session that nobody sets."""
        return {
            "session_authorization": user,
            "is_superuser": "off",
            "max_connections": str(self.sessions_max),
        }

    def free_pid(self, wanted: int = 0) -> int:
        """A backend pid that no session of this pod has: the one that is wanted, if it is free."""
        pid = wanted
        while not 0 < pid <= _PID_MAX or pid in self.sessions:
            pid = secrets.randbelow(_PID_MAX) + 1
        return pid

    def was_used(self) -> None:
        """Somebody has logged in, or a transaction is over."""
        self.idle_since = self.clock.monotonic()

    def statement_ended(self) -> None:
        """A session has nothing to do any more."""
        self.active -= 1
        self.idle_since = self.clock.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long nothing was done here: no login, no statement, no open transaction."""
        if self.active or any(each.transactions.active for each in self.sessions.values()):
            return 0.0
        return max(self.clock.monotonic() - self.idle_since, 0.0)

    async def reload_catalog(self, version: int) -> None:
        """See that the catalog has at least this version; callers share one read."""
        for _ in range(_RELOADS_MAX):
            if self.catalog.version >= version:
                return
            if self._reloading is None or self._reloading.done():
                self._reloading = spawn(self._read_catalog(), name="catalog reload")
            # A read that had begun before may bring less than is wanted; the next brings it.
            await asyncio.shield(self._reloading)

    async def _read_catalog(self) -> None:
        with system_work():
            catalog = await store.load(self.kv, owner=self.owner, database=self.database)
        if catalog.version > self.catalog.version:
            self.catalog = catalog
            self.kv.catalog.saw(catalog.version)
        _log.info("catalog read", extra={"version": catalog.version})

    async def _caught_up(self, version: int) -> int:
        await self.reload_catalog(version)
        return self.catalog.version

    async def catalog_committed(self, version: int) -> None:
        """A transaction that changed the catalog has committed, at this time."""
        try:
            await self.reload_catalog(version)
        except DormouseError:
            # The commit stands. Whoever meets the outdated catalog reads it again.
            _log.warning("catalog not read after a change", exc_info=True)

    def cancel(self, pid: int, secret: bytes) -> bool:
        """A CancelRequest: whether it named a session and its secret."""
        session = self.sessions.get(pid)
        if session is None or not secrets.compare_digest(session.secret, secret):
            return False
        session.interrupts.cancel_requested()
        return True
