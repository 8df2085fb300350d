"""Growth, parking, suspends, newer code and settings, through the whole autoscaler over doubles."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from autoscaler.pods import Cause, Phase, Pod
from autoscaler.scale import ScalePolicy, Wanted
from autoscaler.suspender import GRACE_SECONDS
from autoscaler.tenants import Limits
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from dormouse.base.tls import Role
from proto.autoscaler_pb2 import (
    ASLEEP,
    MOVE,
    PARK,
    SERVE,
    DescribeTenantsRequest,
    ExplainTenantRequest,
    SessionsReport,
    SuspendRequest,
    TenantSessions,
)
from proto.control_pb2 import TenantSettings
from proto.pod_pb2 import Hold
from tests.autoscaler.doubles import PATIENT, FakeControl, FakePod, FakeRuntime, Harness, autoscaler
from tests.autoscaler.test_service import wake
from tests.support.waiting import GUARD_SECONDS, until

POLICY = replace(PATIENT, shrink_spacing=0.0)
SHORT = TenantSettings(idle_timeout_seconds=60)


async def _awake(harness: Harness, tenant: int, *, sessions: int = 0) -> FakePod:
    await harness.stub().Wake(wake(tenant))
    pod = harness.runtime.stamped(tenant)[-1]
    pod.sessions = pod.active = sessions
    await until(lambda: harness.fleet.of(TenantId(tenant))[-1].sessions == sessions)
    return pod


def _want(harness: Harness, tenant: int, pods: int) -> None:
    """As if its load asked for so many pods."""
    policy = replace(ScalePolicy(), stale_seconds=-1.0)
    record = harness.fleet.tenants[TenantId(tenant)]
    record.load.policy = policy  # the rule keeps its hands off: there are no samples it believes in
    record.wanted = Wanted(pods, "its load", (0.0,) * 7)
    harness.controller.step(TenantId(tenant))


async def _actions(harness: Harness, tenant: int) -> list[str]:
    request = ExplainTenantRequest(tenant_id=tenant)
    reply = await harness.stub(Role.CONTROL).ExplainTenant(request)
    return [each.action for each in reply.decisions]


def test_a_tenant_grows_shrinks_and_takes_back_what_was_leaving() -> None:
    async def body() -> None:
        async with autoscaler(policy=POLICY) as harness:
            watch = harness.watch()
            first = await _awake(harness, 1, sessions=1)
            _want(harness, 1, 2)
            await until(lambda: len(harness.runtime.stamped(1)) == 2)
            await until(lambda: watch.wishes(1) == [SERVE, SERVE])
            (second,) = [pod for pod in harness.runtime.stamped(1) if pod is not first]
            first.cpu_micros = 50_000_000
            second.sessions = second.active = 1
            await until(lambda: harness.fleet.of(TenantId(1))[0].cores.smooth > 1)
            _want(harness, 1, 1)
            await until(lambda: second.draining)
            (left,) = second.deadlines
            assert 600_000 - 1000 * GUARD_SECONDS < left <= 600_000
            await until(lambda: watch.wishes(1) == [SERVE, MOVE])
            _want(harness, 1, 2)
            await until(lambda: not second.draining)
            await until(lambda: watch.wishes(1) == [SERVE, SERVE])
            assert len(harness.runtime.stamped(1)) == 2, "nothing was stamped anew"
            actions = await _actions(harness, 1)
            assert actions == ["take back", "scale down", "scale up", "wake"]

    asyncio.run(body())


def test_a_pod_that_does_not_come_back_is_replaced() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        async with autoscaler(runtime, policy=POLICY) as harness:
            await _awake(harness, 1, sessions=1)
            _want(harness, 1, 2)
            await until(lambda: len(harness.fleet.of(TenantId(1), Phase.RUNNING)) == 2)
            for pod in runtime.stamped(1):
                pod.sessions = pod.active = 1
                pod.faults.add("stays away")
            _want(harness, 1, 1)
            await until(lambda: any(pod.draining for pod in runtime.stamped(1)))
            _want(harness, 1, 2)
            await until(lambda: len(runtime.stamped(1)) == 3)

    asyncio.run(body())


def test_growth_that_fails_is_tried_again_with_another_pod() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        async with autoscaler(runtime, policy=POLICY) as harness:
            await _awake(harness, 1, sessions=1)
            await until(lambda: harness.core.follower.following)
            await until(lambda: harness.fleet.count(Phase.WARM) == 2)
            oldest = min(harness.fleet.in_phase(Phase.WARM), key=lambda pod: pod.since)
            runtime.pods[oldest.key].faults.add("fail")
            harness.control.change(1, TenantSettings(pods_min=2))
            await until(lambda: len(harness.fleet.of(TenantId(1), Phase.RUNNING)) == 2)
            assert runtime.killed == [oldest.key]
            actions = await _actions(harness, 1)
            assert actions == ["scale up", "growth failed", "kill", "scale up", "wake"]

    asyncio.run(body())


def test_an_idle_tenant_is_parked_and_then_sleeps() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.control.settings = SHORT
            watch = harness.watch()
            pod = await _awake(harness, 1, sessions=2)
            pod.active, pod.idle_ms = 0, 61_000
            pod.holds = [Hold(backend_pid=4711, reason="a cursor WITH HOLD is open")]
            await until(lambda: watch.wishes(1) == [PARK])
            await until(lambda: harness.fleet.of(TenantId(1))[0].holds)
            plane = harness.stub(Role.CONTROL)
            (seen,) = (await plane.DescribeTenants(DescribeTenantsRequest())).tenants
            assert "session 4711" in seen.awake_because
            assert seen.holds[0].backend_pid == 4711
            report = SessionsReport(
                protocol_version=1,
                proxy_number=watch.number,
                tenants=[TenantSessions(tenant_id=1, parked=2)],
            )
            await harness.stub().ReportSessions(report)
            pod.holds, pod.sessions = [], 0
            await until(lambda: not harness.runtime.stamped(1))
            assert pod.deadlines == [-1]
            await until(lambda: watch.pods[1] == [])
            (asleep,) = (await plane.DescribeTenants(DescribeTenantsRequest())).tenants
            assert (asleep.state, asleep.parked) == (ASLEEP, 2)
            assert (await _actions(harness, 1))[:2] == ["sleep", "park"]

    asyncio.run(body())


def test_a_statement_takes_the_wish_back() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.control.settings = SHORT
            watch = harness.watch()
            pod = await _awake(harness, 1, sessions=2)
            pod.active, pod.idle_ms = 0, 61_000
            await until(lambda: watch.wishes(1) == [PARK])
            pod.active, pod.idle_ms = 1, 0
            await until(lambda: watch.wishes(1) == [SERVE])
            assert (await _actions(harness, 1))[0] == "stay awake"

    asyncio.run(body())


def test_a_suspend_lets_sessions_park_first() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            watch = harness.watch()
            await until(lambda: watch.complete)
            pod = await _awake(harness, 1, sessions=2)
            request = SuspendRequest(tenant_id=1)
            suspends = [
                spawn(_suspend(harness, request), name=f"suspend {number}") for number in range(2)
            ]
            await until(lambda: watch.wishes(1) == [PARK])
            assert not pod.draining
            pod.sessions = 0
            assert await asyncio.gather(*suspends) == [1, 1]
            assert pod.deadlines == [0], "both waited for one suspend"
            assert (await _actions(harness, 1))[0] == "suspend"

    async def _suspend(harness: Harness, request: SuspendRequest) -> int:
        return (await harness.stub(Role.CONTROL).Suspend(request)).pods_ended

    asyncio.run(body())


def test_a_suspend_ends_what_does_not_park() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            watch = harness.watch()
            await until(lambda: watch.complete)
            pod = await _awake(harness, 1, sessions=2)
            begun = harness.controller.clock.monotonic()
            await harness.stub(Role.CONTROL).Suspend(SuspendRequest(tenant_id=1))
            assert harness.controller.clock.monotonic() - begun >= GRACE_SECONDS
            assert pod.deadlines == [0]

    asyncio.run(body())


def test_newer_code_takes_over_pod_by_pod() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        async with autoscaler(runtime, policy=POLICY) as harness:
            watch = harness.watch()
            busy = await _awake(harness, 1, sessions=1)
            idle = await _awake(harness, 2)
            idle.idle_ms = 10_000
            warm = [pod for pod in runtime.pods.values() if pod.stamp is None]
            runtime.upgrade()
            await until(lambda: busy.draining)
            assert len(runtime.stamped(1)) == 2, "the new pod came first"
            await until(lambda: watch.wishes(1) == [SERVE, MOVE])
            await until(lambda: not runtime.stamped(2))
            busy.empty()
            await until(lambda: {pod.generation for pod in runtime.pods.values()} == {2})
            assert not set(warm) & set(runtime.pods.values())
            assert len(runtime.stamped(1)) == 1
            assert (await _actions(harness, 2))[0] == "replace"

    asyncio.run(body())


def test_a_restart_in_the_midst_of_a_replacement_goes_on_with_it() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        async with autoscaler(runtime, policy=POLICY, keep=True) as harness:
            old = await _awake(harness, 1, sessions=1)
            runtime.upgrade()
            await until(lambda: old.draining)
        async with autoscaler(runtime, policy=POLICY) as harness:
            await until(lambda: harness.fleet.tenants[TenantId(1)].limits)
            watch = harness.watch()
            await until(lambda: watch.wishes(1) == [SERVE, MOVE])
            old.empty()
            await until(lambda: {pod.generation for pod in runtime.pods.values()} == {2})
            assert len(runtime.stamped(1)) == 1

    asyncio.run(body())


def test_settings_count_at_once() -> None:
    async def body() -> None:
        async with autoscaler(policy=POLICY) as harness:
            pod = await _awake(harness, 1)
            await until(lambda: harness.control.watches and harness.core.follower.following)
            harness.control.change(1, TenantSettings(never_sleeps=True))
            pod.idle_ms = 1_000_000
            await until(lambda: _limits(harness, 1).idle_timeout is None)
            harness.control.change(1, TenantSettings(pods_min=2))
            await until(lambda: len(harness.runtime.stamped(1)) == 2)
            for each in harness.runtime.stamped(1):
                each.idle_ms = 1_000_000
            harness.control.change(1, SHORT)
            await until(lambda: not harness.runtime.stamped(1))
            harness.control.change(2, TenantSettings(pods_min=1))
            await until(lambda: harness.runtime.stamped(2))
            harness.control.change(2, None)
            await until(lambda: not harness.runtime.stamped(2))
            await until(lambda: TenantId(2) not in harness.fleet.tenants)

    asyncio.run(body())


def _limits(harness: Harness, tenant: int) -> Limits:
    limits = harness.fleet.tenants[TenantId(tenant)].limits
    assert limits is not None
    return limits


def test_who_was_cut_off_asks_for_what_it_missed() -> None:
    async def body() -> None:
        control = FakeControl()
        control.settings_of[3] = TenantSettings(pods_min=1)
        async with autoscaler(policy=POLICY, control=control) as harness:
            await until(lambda: harness.runtime.stamped(3))
            await _awake(harness, 1)
            control.settings_of[1] = TenantSettings(pods_max=9)
            control.cut()
            await until(lambda: _limits(harness, 1).pods_max == 9)
            assert sorted(control.watches[-1].tenant_ids) == [1, 3]
            assert control.watches[-1].with_pods_min

    asyncio.run(body())


def test_a_minimum_of_a_tenant_that_is_not_there_costs_nothing() -> None:
    async def body() -> None:
        control = FakeControl()
        control.settings_of[404] = TenantSettings(pods_min=1)
        async with autoscaler(policy=POLICY, control=control) as harness:
            await until(lambda: harness.controller.history.of(TenantId(404)))
            await until(lambda: TenantId(404) not in harness.fleet.tenants)
            assert harness.runtime.stamps == []
            assert harness.fleet.count(Phase.WARM) == 2

    asyncio.run(body())


def test_proxies_are_numbered_and_their_reports_count_while_they_watch() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            one, two = harness.watch(address="10.0.0.1:7"), harness.watch()
            await until(lambda: one.complete and two.complete)
            await until(lambda: one.others == {two.number: ""})
            assert two.others == {one.number: "10.0.0.1:7"}
            report = SessionsReport(
                protocol_version=1,
                proxy_number=two.number,
                tenants=[TenantSessions(tenant_id=5, sessions=1, parked=3)],
            )
            await harness.stub().ReportSessions(report)
            plane = harness.stub(Role.OPERATOR)
            described = await plane.DescribeTenants(DescribeTenantsRequest(tenant_ids=[5]))
            assert [each.parked for each in described.tenants] == [3]
            assert (described.warm_pool.ready, described.warm_pool.wanted) == (2, 2)
            two.stop()
            await until(lambda: one.others == {})
            described = await plane.DescribeTenants(DescribeTenantsRequest(tenant_ids=[5]))
            assert list(described.tenants) == []
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await harness.stub().ReportSessions(report)
            assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            again = harness.watch(number=two.number)
            await until(lambda: again.number == two.number)

    asyncio.run(body())


def test_only_proxies_report_and_only_the_plane_looks_behind_decisions() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            calls: list[Callable[[], object]] = [
                lambda: harness.stub(Role.CONTROL).ReportSessions(
                    SessionsReport(protocol_version=1)
                ),
                lambda: harness.stub(Role.PROXY).ExplainTenant(ExplainTenantRequest(tenant_id=1)),
                lambda: harness.stub(Role.POD).ExplainTenant(ExplainTenantRequest(tenant_id=1)),
            ]
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call()  # type: ignore[misc]
                assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(body())


def test_the_loads_of_several_pods_are_told_again_and_again() -> None:
    async def body() -> None:
        async with autoscaler(policy=POLICY) as harness:
            watch = harness.watch()
            first = await _awake(harness, 1, sessions=1)
            _want(harness, 1, 2)
            await until(lambda: watch.wishes(1) == [SERVE, SERVE])
            first.sessions = 40
            await until(lambda: 40 in [pod.sessions for pod in watch.pods[1]])

    asyncio.run(body())


def test_a_storm_of_wakes_is_served_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with autoscaler(policy=replace(PATIENT, pods_max=60)) as harness:
            stub = harness.stub()
            came: list[TenantId] = []
            served: list[TenantId] = []
            wake_asked, pod_claimed = harness.fleet.wake_asked, harness.fleet.pod_claimed

            def asked(tenant: TenantId, since: float) -> None:
                came.append(tenant)
                wake_asked(tenant, since)

            def claimed(pod: Pod, tenant: TenantId, cause: Cause, now: float) -> None:
                served.append(tenant)
                pod_claimed(pod, tenant, cause, now)

            monkeypatch.setattr(harness.fleet, "wake_asked", asked)
            monkeypatch.setattr(harness.fleet, "pod_claimed", claimed)
            await asyncio.gather(*(stub.Wake(wake(tenant)) for tenant in range(1, 51)))
            assert served == came
            assert len(served) == len(harness.runtime.stamps) == 50
            assert len(harness.fleet.pods) + len(harness.fleet.starting) <= 60

    asyncio.run(body())
