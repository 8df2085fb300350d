"""Closes the accounts of pods that ended: what they said last is told to control once more.

A pod reports its use by itself, the last time when it ends. One that is killed does not, and one
that ends while control is away is not heard. What it said in its last Status is a report like its
own (proto/pod.proto, Usage): sums under the pod's own number. So whichever comes first, twice or
not at all, control books nothing twice.

    Status ──▶ last word of each living pod      pod is gone ──▶ waiting ──▶ control
                                                                  ▲   │ does not answer
                                                                  └───┘ PAUSE_SECONDS
"""

import asyncio
import logging
from collections import OrderedDict
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from autoscaler import metrics
from autoscaler.pods import PodKey
from dormouse.base.tasks import cancel, spawn
from proto.control_pb2 import UsageReport
from proto.pod_pb2 import StatusReply

if TYPE_CHECKING:
    from proto.control_pb2_grpc import ControlAsyncStub

WAITING_MAX = 20_000
"""Accounts that may wait for control, a few hundred bytes each; beyond it the oldest are lost."""
PAUSE_SECONDS = 2.0
SEND_SECONDS = 5.0
_REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED)

_log = logging.getLogger(__name__)


class Closing:
    """Keeps the last words of pods, and tells control those of pods that are no more."""

    def __init__(self, control: "ControlAsyncStub") -> None:
        self._control = control
        self._last: dict[PodKey, UsageReport] = {}
        self._waiting: OrderedDict[PodKey, UsageReport] = OrderedDict()
        self._telling: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Closing known={len(self._last)} waiting={len(self._waiting)}>"

    def said(self, key: PodKey, reply: StatusReply) -> None:
        """A pod answered."""
        if reply.tenant_id and reply.usage.sequence:
            self._last[key] = _report(reply)

    def ended(self, key: PodKey) -> None:
        """A pod is no more."""
        report = self._last.pop(key, None)
        if report is None or self._closed:
            return
        self._waiting[key] = report
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popitem(last=False)
            metrics.ACCOUNTS_CLOSED.labels("lost").inc()
        if self._telling is None or self._telling.done():
            self._telling = spawn(self._tell_all(), name="closing accounts")

    async def close(self) -> None:
        """Stop. What still waits is lost, but for what the pods told control themselves."""
        self._closed = True
        await cancel(self._telling)

    async def _tell_all(self) -> None:
        while self._waiting:
            key, report = next(iter(self._waiting.items()))
            try:
                await self._control.ReportUsage(report, timeout=SEND_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _REFUSED:
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                _log.exception("control refuses an account", extra={"pod": key})
                metrics.ACCOUNTS_CLOSED.labels("refused").inc()
            else:
                metrics.ACCOUNTS_CLOSED.labels("closed").inc()
            self._waiting.pop(key, None)


def _report(reply: StatusReply) -> UsageReport:
    amounts = {field.name: value for field, value in reply.usage.ListFields()}
    return UsageReport(tenant_id=reply.tenant_id, pod_id=reply.pod_id, **amounts)
