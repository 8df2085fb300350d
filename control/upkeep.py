"""What is done once a minute: uses of keys are written down, what is old is forgotten, what
cannot be delivered is given up.
"""

import asyncio
import logging
import sqlite3

from control.events import Events
from control.idempotency import Idempotency
from control.journal import Journal
from control.keys import Keys
from control.metrics import TIDIED, WEBHOOK_OLDEST_SECONDS, WEBHOOK_WAITING
from control.operations import Operations
from control.webhooks.deliveries import Deliveries
from control.webhooks.store import Webhooks
from dormouse.base.clock import Clock

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 60.0
_OPERATIONS_DAYS = 30
_DAY_NS = 86_400 * 1_000_000_000


class Upkeep:
    """Keeps the registry's tables bounded in time."""

    def __init__(
        self,
        *,
        keys: Keys,
        journal: Journal,
        operations: Operations,
        idempotency: Idempotency,
        events: Events,
        webhooks: Webhooks,
        deliveries: Deliveries,
        clock: Clock,
        audit_days: int,
        event_days: int,
    ) -> None:
        self._keys = keys
        self._journal = journal
        self._operations = operations
        self._idempotency = idempotency
        self._events = events
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._clock = clock
        self._audit_days = audit_days
        self._event_days = event_days

    async def tidy(self) -> None:
        """Do it once."""
        await self._keys.write_uses()
        now_ns = self._clock.wall_ns()
        audit = await self._journal.prune(now_ns - self._audit_days * _DAY_NS)
        operations = await self._operations.prune(now_ns - _OPERATIONS_DAYS * _DAY_NS)
        TIDIED.labels("audit").inc(audit)
        TIDIED.labels("operations").inc(operations)
        TIDIED.labels("idempotency").inc(await self._idempotency.prune())
        events = await self._events.prune(now_ns - self._event_days * _DAY_NS)
        TIDIED.labels("events").inc(events)
        await self._webhooks.forget_previous_secrets()
        await self._deliveries.give_up()
        backlog = await self._deliveries.backlog()
        WEBHOOK_WAITING.set(backlog.waiting)
        oldest_ns = backlog.oldest_ns if backlog.oldest_ns is not None else now_ns
        WEBHOOK_OLDEST_SECONDS.set(max(now_ns - oldest_ns, 0) / 1e9)

    async def tidy_forever(self) -> None:
        """Do it every minute; a failure (a full disk, say) is logged and tried again."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self.tidy()
            except sqlite3.Error:
                _log.exception("the registry could not be tidied")
