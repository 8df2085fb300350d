"""A tenant's state in words: what people read when they ask why something is awake."""

from dataclasses import replace

import pytest

from autoscaler.pictures import awake_because, picture
from autoscaler.pods import Cause, HeldSession, Phase
from autoscaler.proxies import Held
from autoscaler.tenants import Parking
from autoscaler.usage import request_units
from dormouse.base.ids import TenantId
from proto.autoscaler_pb2 import ASLEEP, DRAINING, RUNNING, WAKING, Hold
from proto.pod_pb2 import Usage
from tests.autoscaler.fleets import LIMITS, A, fleet_of, report

HELD = HeldSession(4711, "a transaction is open")


@pytest.mark.parametrize(
    ("said", "because"),
    [
        (report(A, sessions=3, active=2), "2 sessions active"),
        (report(A, sessions=3, active=1), "1 session active"),
        (report(A, sessions=3, transactions=1), "1 session in a transaction"),
        (report(A, sessions=3, idle=12.0), "idle for 13 s of 60 s"),
        (report(A, idle=0.0), "idle for 1 s of 60 s"),
    ],
)
def test_what_keeps_it_awake_by_what_its_pods_say(said: object, because: str) -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING)
    fleet.pod_answered(pod, said, 100.0)  # type: ignore[arg-type]
    assert awake_because(fleet.tenants[A], 101.0) == because


def test_the_session_that_holds_it_is_named_with_its_time() -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING)
    said = report(A, sessions=2, transactions=1, holds=(HELD,))
    fleet.pod_answered(pod, said, 100.0)
    fleet.pod_answered(pod, said, 130.0)
    because = awake_because(fleet.tenants[A], 140.0)
    assert because == "session 4711 for 40 s: a transaction is open"


@pytest.mark.parametrize(
    ("limits", "because"),
    [
        (None, "its settings are not known yet"),
        (replace(LIMITS, pods_min=1), "kept awake by its settings (pods_min 1)"),
        (replace(LIMITS, idle_timeout=None), "kept awake by its settings (it never sleeps)"),
    ],
)
def test_what_keeps_it_awake_by_its_settings(limits: object, because: str) -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING)
    fleet.pod_answered(pod, report(A, idle=100.0), 0.0)
    fleet.tenants[A].limits = limits  # type: ignore[assignment]
    assert awake_because(fleet.tenants[A], 0.0) == because


def test_what_keeps_it_from_falling_asleep() -> None:
    fleet, (pod,) = fleet_of(Phase.RUNNING)
    fleet.pod_answered(pod, report(A, sessions=2, idle=100.0), 0.0)
    record = fleet.tenants[A]
    fleet.tenant_parking(record, Parking.IDLE, 0.0)
    assert awake_because(record, 1.0) == "2 sessions being parked"
    hold = HeldSession(7, "a cursor WITH HOLD is open")
    fleet.pod_answered(pod, report(A, sessions=1, idle=101.0, holds=(hold,)), 1.0)
    assert awake_because(record, 3.0) == "session 7 for 2 s: a cursor WITH HOLD is open"
    seen = picture(fleet, A, Held(1, 4), 3.0)
    assert list(seen.holds) == [Hold(backend_pid=7, reason="a cursor WITH HOLD is open")]
    assert (seen.parked, seen.pods_wanted) == (4, 0)


def test_states() -> None:
    fleet, (pod, warm) = fleet_of(Phase.RUNNING, Phase.WARM)
    assert picture(fleet, A, Held(), 0.0).state == RUNNING
    fleet.pod_drained(pod, Cause.IDLE, 0.0, 0.0)
    assert picture(fleet, A, Held(), 0.0).state == DRAINING
    fleet.wake_asked(A, 0.0)
    waiting = picture(fleet, A, Held(), 2.0)
    assert (waiting.state, waiting.awake_because) == (WAKING, "waits for a pod for 2.0 s")
    fleet.pod_claimed(warm, A, Cause.WAKE, 2.0)
    waking = picture(fleet, A, Held(), 2.5)
    assert (waking.state, waking.awake_because) == (WAKING, "waking for 0.5 s")
    asleep = picture(fleet, TenantId(9), Held(0, 2), 0.0)
    assert (asleep.state, asleep.parked, asleep.pods) == (ASLEEP, 2, 0)


def test_rates_are_of_all_pods() -> None:
    fleet, pods = fleet_of(Phase.RUNNING, Phase.RUNNING)
    for pod in pods:
        for second in range(20):
            said = report(A, sessions=1, active=1, cpu_micros=second * 500_000)
            fleet.pod_answered(pod, replace(said, request_units=second * 10.0), float(second))
    seen = picture(fleet, A, Held(), 20.0)
    assert seen.cpu_permille == pytest.approx(1000, abs=5)
    assert seen.request_units_per_second == pytest.approx(20, abs=0.1)


def test_request_units_follow_the_price_list() -> None:
    assert request_units(Usage(sql_cpu_micros=3000)) == 1
    assert request_units(Usage(read_batches=2, read_requests=8, read_bytes=1 << 20)) == 18
    assert request_units(Usage(write_batches=1, write_requests=1, write_bytes=1 << 10)) == 3
    assert request_units(Usage(egress_bytes=1 << 20)) == 1024
