"""Follows control's stream of leaves (proto/control.proto, WatchSpending) for one pod.

    stamp ─FIRST_SECONDS, or asked for─▶ report ─▶ stream ──leave──▶ take
                                          ▲           │ broke: lost
                                          └── pause ──┘ doubling to PAUSE_SECONDS_MAX

The first leave came with the stamp, so the stream is opened when the first client has been served.
Each stream begins with a report of use: what control says first then is about what was used by
then, and not about what it knew before it was away.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from prometheus_client import Counter

from dormouse.base.metrics import REGISTRY
from dormouse.base.tasks import cancel, spawn
from proto.control_pb2 import SpendLeave, WatchSpendingRequest
from sqlnode.spending.leave import Leave

if TYPE_CHECKING:
    from dormouse.base.ids import PodId, TenantId
    from proto.control_pb2_grpc import ControlAsyncStub
    from sqlnode.spending.spending import Spending

FIRST_SECONDS = 0.5
PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 5.0

_log = logging.getLogger(__name__)

LEAVES = Counter(
    "dormouse_pod_spend_leaves_total", "Leaves to spend that control has told.", registry=REGISTRY
)
BREAKS = Counter(
    "dormouse_pod_spend_breaks_total",
    "Times the stream of leaves could not be opened, or broke.",
    registry=REGISTRY,
)


class SpendFollower:
    """Hands control's leaves to a pod's spending until `close`."""

    def __init__(
        self,
        spending: "Spending",
        control: "ControlAsyncStub",
        report: Callable[[], Awaitable[bool]],
        *,
        tenant: "TenantId",
        pod: "PodId",
    ) -> None:
        """`report` tells control what is used; whether it has heard."""
        self._spending = spending
        self._control = control
        self._report = report
        self._request = WatchSpendingRequest(tenant_id=tenant, pod_id=pod)
        self._wanted = asyncio.Event()
        self._pause = PAUSE_SECONDS_MIN
        self._away = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<SpendFollower of tenant {self._request.tenant_id} away={self._away}>"

    def start(self) -> None:
        """Follow from now on."""
        self._task = spawn(self._run(), name=f"leaves of tenant {self._request.tenant_id}")

    def hurry(self) -> None:
        """Open the first stream now."""
        self._wanted.set()

    async def close(self) -> None:
        """Stop."""
        await cancel(self._task)

    async def _run(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_SECONDS):
                await self._wanted.wait()
        while True:
            reason = "control does not hear what is used"
            if await self._report():
                reason = await self._follow()
            BREAKS.inc()
            self._spending.lost()
            if not self._away:
                _log.warning("control is not heard about spending", extra={"reason": reason})
            self._away = True
            # Pods that lost control in the same moment do not all come back in one.
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))
            self._pause = min(2 * self._pause, PAUSE_SECONDS_MAX)

    async def _follow(self) -> str:
        """Take leaves until the stream ends; why it did."""
        try:
            async for message in self._leaves():
                LEAVES.inc()
                self._spending.take(Leave.of_message(message))
                if self._away:
                    _log.info("control is heard about spending again")
                self._away, self._pause = False, PAUSE_SECONDS_MIN
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "the stream ended"

    async def _leaves(self) -> AsyncIterator[SpendLeave]:
        stream = self._control.WatchSpending(self._request)
        try:
            while isinstance(message := await stream.read(), SpendLeave):
                yield message
        finally:
            stream.cancel()
