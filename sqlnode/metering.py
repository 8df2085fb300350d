"""Tells control what the tenant uses of this pod, so that nothing is lost and nothing counts twice.

A report holds the sums since the stamp, not what came since the last report (sqlnode/accounts.py).
So there is nothing to be re-sent: the next report contains the one that was lost, an answer that
was lost makes no difference, and hours without control cost no memory and no accuracy.

    every second   a look, and at once when it is asked for (`hurry`, HURRY_SECONDS apart).
                   Used since the last report that was heard, or another leave to spend in
                   force: report now.
                   Not used: report every PRESENCE_SECONDS, for a pod costs time as well.
    no answer      the next look that is due after a pause that grows to PAUSE_SECONDS_MAX
    hour's end     the sums at that moment are kept until they were heard, so that what is told
                   late is still booked to its own hour; BORDERS_MAX of them, the oldest go first
                   (what was used then is booked to the next border that is kept)
    end            one last report, tried for `close(seconds)`

A pod that is killed takes with it what it was asked to do since its last look: one second's worth.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc.aio
from prometheus_client import Counter

from dormouse.base.clock import Clock
from dormouse.base.metrics import REGISTRY
from dormouse.base.tasks import cancel, spawn
from proto.control_pb2 import UsageAck, UsageReport
from sqlnode.accounts import Accounts

if TYPE_CHECKING:
    from dormouse.base.ids import PodId, TenantId

LOOK_SECONDS = 1.0
"""What a kill may cost."""
PRESENCE_SECONDS = 5.0
HURRY_SECONDS = 0.05
SEND_SECONDS = 5.0
PAUSE_SECONDS_MIN = 0.25
PAUSE_SECONDS_MAX = 5.0
BORDERS_MAX = 200
"""Hours of control's absence that keep their own sums: more than a pod's certificate lives."""
_HOUR_MS = 3_600_000

_log = logging.getLogger(__name__)

REPORTS = Counter(
    "dormouse_pod_usage_reports_total",
    "Reports of use by what became of them: heard, unheard.",
    ["outcome"],
    registry=REGISTRY,
)

Send = Callable[[UsageReport], Awaitable[UsageAck]]
"""Brings a report to control; raises grpc.aio.AioRpcError or TimeoutError."""


class Metering:
    """Reports a stamped pod's use until `close`."""

    def __init__(
        self,
        accounts: Accounts,
        send: Send,
        clock: Clock,
        *,
        tenant: "TenantId",
        pod: "PodId",
        leave: Callable[[], int] = lambda: 0,
    ) -> None:
        """`leave`: the number of the leave to spend that is in force."""
        self._accounts = accounts
        self._send = send
        self._clock = clock
        self._tenant = tenant
        self._pod = pod
        self._leave = leave
        self._hurried = asyncio.Event()
        self._borders: deque[UsageReport] = deque(maxlen=BORDERS_MAX)
        self._last = self._report()
        self._heard_signs: tuple[int, int, int] | None = None
        self._heard_leave = leave()
        self._heard_at = clock.monotonic()
        self._pause = 0.0
        self._not_before = 0.0
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        away = f" away, pause {self._pause:.2f} s" if self._pause else ""
        return f"<Metering tenant {self._tenant} borders={len(self._borders)}{away}>"

    def start(self) -> None:
        """Report from now on."""
        self._task = spawn(self._run(), name=f"metering of tenant {self._tenant}")

    def hurry(self) -> None:
        """Look now: control should hear what is used before it is all used up."""
        self._hurried.set()

    async def close(self, seconds: float) -> bool:
        """Report for the last time, for `seconds` at the most; whether control has heard it."""
        await cancel(self._task)
        try:
            async with asyncio.timeout(seconds):
                heard = await self.tell()
                while not heard:
                    await asyncio.sleep(PAUSE_SECONDS_MIN)
                    heard = await self.tell()
        except TimeoutError:
            _log.warning("the last report of use was not heard", extra={"tenant": self._tenant})
            return False
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(HURRY_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS - HURRY_SECONDS):
                    await self._hurried.wait()
            self._hurried.clear()
            self.look()
            if self.due():
                await self.tell()

    def look(self) -> None:
        """Keep the sums where an hour has ended since the last look."""
        report = self._report()
        if report.at_unix_ms // _HOUR_MS != self._last.at_unix_ms // _HOUR_MS:
            self._borders.append(self._last)
        self._last = report

    def due(self) -> bool:
        """Whether to report now."""
        now = self._clock.monotonic()
        if now < self._not_before:
            return False
        used = self._accounts.signs != self._heard_signs or self._leave() != self._heard_leave
        return used or bool(self._borders) or now - self._heard_at >= PRESENCE_SECONDS

    async def tell(self) -> bool:
        """Report now, the kept sums first; whether all of it was heard."""
        while self._borders:
            border = self._borders[0]
            if not await self._sent(border):
                return False
            if self._borders and self._borders[0] is border:
                self._borders.popleft()
        signs, now, leave = self._accounts.signs, self._clock.monotonic(), self._leave()
        if not await self._sent(self._report()):
            return False
        self._heard_signs, self._heard_at, self._heard_leave = signs, now, leave
        return True

    async def _sent(self, report: UsageReport) -> bool:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(report)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            REPORTS.labels("unheard").inc()
            self._wait_longer(error)
            return False
        REPORTS.labels("heard").inc()
        self._pause = 0.0
        return True

    def _wait_longer(self, error: Exception) -> None:
        if not self._pause:
            _log.warning("control does not hear what is used", extra={"reason": repr(error)[:200]})
        self._pause = min(max(self._pause * 2, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
        # Pods that lost control in the same moment do not all come back in one.
        jitter = random.uniform(0.5, 1.0)
        self._not_before = self._clock.monotonic() + self._pause * jitter

    def _report(self) -> UsageReport:
        usage = self._accounts.usage()
        amounts = {field.name: value for field, value in usage.ListFields()}
        return UsageReport(tenant_id=self._tenant, pod_id=self._pod, leave=self._leave(), **amounts)
