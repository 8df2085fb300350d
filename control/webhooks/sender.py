"""Sends what waits.

    an event is recorded ─┐
    a lane becomes free ──┼──▶ look: who has something due? ──choose──▶ lanes
    a pause is over ──────┘                                              │ one delivery after the
                                                                         ▼ other, until one fails
                                                                  POST, verdict, note (durable)

All state is in the registry; what a crash cuts off is due as before, and is sent again. An event is
announced inside of its transaction, so a look begins by queueing behind that for the writer.
"""

import asyncio
import json
import logging
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from typing import Any

from control.database import Database
from control.events import Events, Recorded, time_text
from control.metrics import (
    WEBHOOK_ATTEMPTS,
    WEBHOOK_GIVEN_UP,
    WEBHOOK_SECONDS,
    WEBHOOKS_DISABLED,
)
from control.webhooks.deliveries import Deliveries, Delivery, message_id
from control.webhooks.lanes import Due, choose
from control.webhooks.signing import signatures
from control.webhooks.store import Webhook, Webhooks
from control.webhooks.transport import Transport
from control.webhooks.verdict import Disabled, Outcome, Status, judge
from dormouse.base import tasks
from dormouse.base.clock import Clock

_log = logging.getLogger(__name__)

_LOOK_SECONDS_MAX = 30.0
"""Between two looks; the clock on the wall, which pauses are kept by, may have been set."""

_REST_SECONDS = 0.05
"""Between two looks at least: a hundred events in a row are one look."""

_LANE_DELIVERIES = 20
"""In a row; then another webhook has its turn."""

_TROUBLE_SECONDS = 5.0
_VERSION = metadata.version("dormouse")


@dataclass(slots=True)
class _Lanes:
    """Who has a lane now, and who had one when."""

    busy: dict[Due, asyncio.Task[None]] = field(default_factory=dict)
    turns: dict[int, int] = field(default_factory=dict)
    """By webhook, of those that something waits for."""

    turn: int = 0

    def begin(self, due: Due, lane: asyncio.Task[None]) -> None:
        """It has a lane from now on."""
        self.turn += 1
        self.turns[due.webhook] = self.turn
        self.busy[due] = lane

    def forget_turns(self, waiting: Sequence[Due]) -> None:
        """Of those that nothing waits for any more."""
        still = {each.webhook for each in waiting}
        self.turns = {webhook: turn for webhook, turn in self.turns.items() if webhook in still}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Sends deliveries; see `work_forever`."""

    database: Database
    events: Events
    webhooks: Webhooks
    deliveries: Deliveries
    transport: Transport
    clock: Clock
    disable_seconds: float
    """A webhook is disabled after so long without a success."""

    random: Callable[[], float] = random.random

    async def work_forever(self) -> None:
        """Send what is due, whenever it is due."""
        lanes = _Lanes()
        try:
            while True:
                self.events.wanted.clear()
                try:
                    look_seconds = await self._look(lanes)
                except sqlite3.Error:
                    _log.exception("deliveries could not be read")
                    look_seconds = _TROUBLE_SECONDS
                await self._wait(look_seconds)
        finally:
            await tasks.cancel(*lanes.busy.values())

    async def _look(self, lanes: "_Lanes") -> float:
        """Begin lanes; in how many seconds to look again."""
        # Behind the transaction that announced an event: read before its end, it is not there.
        await self.database.write("SELECT 1")
        now_ns = self.clock.wall_ns()
        waiting = await self.deliveries.due()
        choice = choose(waiting, lanes.busy.keys(), now_ns, lanes.turns)
        for due in choice.begin:
            lane = tasks.spawn(self._lane(due), name=f"webhook {due.webhook}")
            lanes.begin(due, lane)
            lane.add_done_callback(partial(self._ended, lanes, due))
        lanes.forget_turns(waiting)
        if choice.look_ns is None:
            return _LOOK_SECONDS_MAX
        return min((choice.look_ns - now_ns) / 1e9, _LOOK_SECONDS_MAX)

    def _ended(self, lanes: "_Lanes", due: Due, _lane: asyncio.Task[None]) -> None:
        lanes.busy.pop(due, None)
        self.events.wanted.set()

    async def _wait(self, seconds: float) -> None:
        await asyncio.sleep(_REST_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self.events.wanted.wait()
        except TimeoutError:
            return  # a pause is over

    async def _lane(self, due: Due) -> None:
        """Send a webhook what is due, until something fails or others have their turn."""
        try:
            for _ in range(_LANE_DELIVERIES):
                delivery = await self.deliveries.next_of(due.webhook)
                webhook = await self.webhooks.get(due.webhook)
                if delivery is None or webhook is None or not webhook.terms.enabled:
                    return
                if not await self._deliver(delivery, webhook):
                    return
        except Exception:  # noqa: BLE001 - whatever broke on this side must not end in a storm
            # The lane stays taken meanwhile, so that a full disk, say, is not answered by sending
            # the same delivery without end.
            _log.exception("a delivery could not be made", extra={"webhook": due.webhook})
            await asyncio.sleep(_TROUBLE_SECONDS)

    async def _deliver(self, delivery: Delivery, webhook: Webhook) -> bool:
        """Whether it arrived."""
        message, now_ns = message_id(delivery.event), self.clock.wall_ns()
        body = payload(delivery.event)
        timestamp = now_ns // 10**9
        secrets = await self.webhooks.secrets(webhook.id)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Dormouse/{_VERSION}",
            "webhook-id": message,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(
                secrets, message_id=message, timestamp=timestamp, body=body
            ),
        }
        outcome = await self.transport.post(webhook.terms.url, headers, body)
        verdict = judge(
            outcome,
            attempts=delivery.attempts + 1,
            give_up_ns=delivery.give_up_ns,
            health=webhook.health,
            now_ns=self.clock.wall_ns(),
            disable_seconds=self.disable_seconds,
            random=self.random(),
        )
        await self.deliveries.note(delivery, webhook, outcome, verdict)
        _tell(delivery, webhook, outcome, verdict.status, verdict.disabled)
        return outcome.arrived


def payload(event: Recorded) -> bytes:
    """The body of a delivery, after Standard Webhooks; the same bytes in every attempt."""
    happened = event.event
    document: dict[str, Any] = {
        "id": message_id(event),
        "type": happened.kind,
        "timestamp": time_text(event.at_ns),
        "organisation": happened.organisation,
        "tenant": happened.tenant,
        "data": happened.data,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _tell(
    delivery: Delivery,
    webhook: Webhook,
    outcome: Outcome,
    status: Status,
    disabled: Disabled | None,
) -> None:
    WEBHOOK_ATTEMPTS.labels(outcome.kind).inc()
    WEBHOOK_SECONDS.observe(outcome.seconds)
    extra = {
        "webhook": webhook.id,
        "delivery": delivery.id,
        "event": delivery.event.id,
        "attempt": delivery.attempts + 1,
        "outcome": outcome.kind,
        "http_status": outcome.status,
    }
    if outcome.arrived:
        _log.info("delivered", extra=extra)
    else:
        _log.warning("not delivered", extra=extra | {"reason": outcome.error, "then": status})
    if status is Status.DEAD:
        WEBHOOK_GIVEN_UP.inc()
    if disabled is not None:
        WEBHOOKS_DISABLED.labels(disabled).inc()
        _log.warning("webhook disabled", extra={"webhook": webhook.id, "reason": disabled})
