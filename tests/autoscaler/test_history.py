"""What is remembered of decisions, and for how long."""

import json
import logging

import pytest

from autoscaler.history import DECISIONS_MAX, TENANTS_MAX, Decision, History
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from dormouse.base.logs import JsonFormatter

A, B = TenantId(1), TenantId(2)


def test_the_latest_decisions_are_kept_newest_first() -> None:
    clock = ManualClock()
    history = History(clock)
    history.note(A, "wake", "a client waits", {"waited_seconds": "0.0"})
    clock.advance(1.5)
    history.note(A, "park", "idle")
    at = clock.wall_ns() // 1_000_000
    assert history.of(A) == [
        Decision(at, "park", "idle", {}),
        Decision(at - 1500, "wake", "a client waits", {"waited_seconds": "0.0"}),
    ]
    assert [each.action for each in history.of(A, 1)] == ["park"]
    assert history.of(B) == []


def test_a_tenant_keeps_so_many_decisions() -> None:
    history = History(ManualClock())
    for number in range(DECISIONS_MAX + 5):
        history.note(A, "wake", str(number))
    assert [each.reason for each in history.of(A)][:: DECISIONS_MAX - 1] == ["36", "5"]


def test_the_tenant_nothing_was_decided_on_for_longest_is_forgotten() -> None:
    history = History(ManualClock())
    for number in range(1, TENANTS_MAX + 1):
        history.note(TenantId(number), "wake", "")
    history.note(A, "park", "")
    history.note(TenantId(TENANTS_MAX + 1), "wake", "")
    assert history.of(B) == []
    assert len(history.of(A)) == 2


def test_a_decision_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="autoscaler.history"):
        History(ManualClock()).note(A, "scale up", "saturated for 3 s", {"pods": "1"})
    (record,) = caplog.records
    line = json.loads(JsonFormatter("autoscaler").format(record))
    assert (line["event"], line["tenant"], line["action"]) == ("decision", 1, "scale up")
    assert (line["reason"], line["inputs"]) == ("saturated for 3 s", {"pods": "1"})
