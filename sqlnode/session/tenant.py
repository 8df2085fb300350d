"""What the sessions of one pod share once it is stamped: storage, catalog, plans, the sessions."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
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
from sqlnode.session.literals import RefusedTemplates
from sqlnode.session.pipeline import PlanCache

if TYPE_CHECKING:
    from sqlnode.catalog.catalog import Catalog
    from sqlnode.session.session import Session

_log = logging.getLogger(__name__)
_PID_MAX = 2**31 - 1


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
    draining: bool = False
    idle_since: float = 0.0
    """When the last session ended or statement finished (clock.monotonic)."""
    active: int = 0
    """Sessions running a statement now."""
    on_session_end: Callable[[], None] | None = None
    """Called when a connection has ended."""
    plans: PlanCache = field(init=False)
    _mock_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _reloading: "asyncio.Task[Catalog] | None" = None

    def __post_init__(self) -> None:
        self.plans = PlanCache(self.limits.plans_max)
        self.refused_templates = RefusedTemplates()
        self.idle_since = self.clock.monotonic()

    def verifier(self, user: str) -> tuple[Verifier, bool]:
        """What `user`'s password is checked against, and whether that is doomed to fail."""
        if user == self.owner:
            return self.owner_verifier, False
        return mock_verifier(user, self._mock_secret), True

    def new_pid(self) -> int:
        """A backend pid that no session of this pod has."""
        while True:
            pid = secrets.randbelow(_PID_MAX) + 1
            if pid not in self.sessions:
                return pid

    def statement_ended(self) -> None:
        """A session has nothing to do any more."""
        self.active -= 1
        self.idle_since = self.clock.monotonic()

    def session_ended(self) -> None:
        """A connection is over."""
        self.idle_since = self.clock.monotonic()
        if self.on_session_end is not None:
            self.on_session_end()

    async def reload_catalog(self) -> "Catalog":
        """Read the catalog again; callers that come meanwhile share the one read."""
        if self._reloading is None or self._reloading.done():
            self._reloading = spawn(self._read_catalog(), name="catalog reload")
        return await asyncio.shield(self._reloading)

    async def _read_catalog(self) -> "Catalog":
        catalog = await store.load(self.kv, owner=self.owner, database=self.database)
        if catalog.version >= self.catalog.version:
            self.catalog = catalog
        _log.info("catalog read", extra={"version": catalog.version})
        return self.catalog

    async def catalog_committed(self) -> None:
        """A transaction that changed the catalog has committed."""
        try:
            await self.reload_catalog()
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
