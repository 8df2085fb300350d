"""The accounts of pods that ended are closed, whatever becomes of control."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from autoscaler import closing as closing_module
from autoscaler.closing import Closing
from autoscaler.pods import PodKey
from proto.control_pb2 import UsageAck, UsageReport
from proto.pod_pb2 import StatusReply, Usage


class _Control:
    """A stub of control's that fails with `codes`, one after the other, before it hears."""

    def __init__(self, *codes: grpc.StatusCode) -> None:
        self.codes = list(codes)
        self.heard: list[UsageReport] = []
        self.done = asyncio.Event()

    async def ReportUsage(self, report: UsageReport, *, timeout: float) -> UsageAck:  # noqa: N802
        if self.codes:
            code = self.codes.pop(0)
            raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "", None)
        self.heard.append(report)
        self.done.set()
        return UsageAck(sequence=report.sequence)


def _said(sequence: int, **changes: Any) -> StatusReply:
    usage = Usage(sequence=sequence, read_bytes=10 * sequence, pod_millis=5, at_unix_ms=9)
    return StatusReply(tenant_id=7, pod_id=2**64 - 1, usage=usage, **changes)


_A, _B = PodKey("1"), PodKey("2")


def test_the_last_word_of_a_pod_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(closing_module, "PAUSE_SECONDS", 0.001)
        away = grpc.StatusCode.UNAVAILABLE
        control: Any = _Control(away, away)
        closing = Closing(control)
        for sequence in (1, 2):
            closing.said(_A, _said(sequence))
        closing.said(_B, StatusReply(pod_id=5))  # a warm pod
        closing.ended(_B)
        closing.ended(_A)
        closing.ended(_A)
        await control.done.wait()
        [report] = control.heard
        assert (report.tenant_id, report.pod_id, report.sequence) == (7, 2**64 - 1, 2)
        assert (report.read_bytes, report.pod_millis, report.at_unix_ms) == (20, 5, 9)
        await closing.close()
        assert repr(closing) == "<Closing known=0 waiting=0>"

    asyncio.run(body())


def test_what_control_refuses_is_not_told_for_ever() -> None:
    async def body() -> None:
        control: Any = _Control(grpc.StatusCode.INVALID_ARGUMENT)
        closing = Closing(control)
        for key in (_A, _B):
            closing.said(key, _said(3))
            closing.ended(key)
        await control.done.wait()
        assert len(control.heard) == 1
        await closing.close()

    asyncio.run(body())


def test_what_waits_for_control_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr(closing_module, "WAITING_MAX", 3)
        control: Any = _Control(*[grpc.StatusCode.UNAVAILABLE] * 99)
        closing = Closing(control)
        for number in range(10):
            closing.said(PodKey(str(number)), _said(1))
            closing.ended(PodKey(str(number)))
        assert repr(closing) == "<Closing known=0 waiting=3>"
        await closing.close()
        closing.said(_A, _said(1))
        closing.ended(_A)
        assert repr(closing) == "<Closing known=0 waiting=3>"

    asyncio.run(body())
