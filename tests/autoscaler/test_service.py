"""The whole autoscaler over doubles: wakes, suspends, crashes, restarts, through real mTLS gRPC."""

import asyncio
from dataclasses import replace

import grpc
import grpc.aio
import pytest

from autoscaler.pods import Phase
from autoscaler.runtimes.base import Lost
from dormouse.base.ids import TenantId
from dormouse.base.tls import Role
from proto.autoscaler_pb2 import (
    RUNNING,
    SERVE,
    DescribeTenantsRequest,
    PodsChange,
    SuspendRequest,
    WakeRequest,
    WatchPodsRequest,
)
from proto.control_pb2 import SpendLeave, TenantSettings
from tests.autoscaler.doubles import LIMITS, PATIENT, FakeRuntime, Harness, autoscaler
from tests.support.waiting import until


def wake(tenant: int) -> WakeRequest:
    return WakeRequest(protocol_version=1, tenant_id=tenant)


def test_a_wake_stamps_a_warm_pod_and_the_pool_refills() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            pods = await harness.stub().Wake(wake(17))
            (pod,) = harness.runtime.stamped(17)
            assert [each.sql_address for each in pods.pods] == [pod.sql_address]
            assert pod.stamp is not None
            assert pod.stamp.certificate == b"certificate"
            assert pod.stamp.storage_address == "127.0.0.1:7"
            assert (pod.stamp.owner.name, pod.stamp.sessions_max) == ("demo", 7)
            assert harness.control.issued[0].public_key == f"key 1 of {pod.key}".encode()
            await until(lambda: harness.fleet.count(Phase.WARM) == 2)

    asyncio.run(body())


def test_a_pod_is_stamped_with_what_control_lets_it_spend() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.control.spending = SpendLeave(
                state=SpendLeave.OPEN, ceiling_micro_units=5_000_000, limit="50 units a month"
            )
            await harness.stub().Wake(wake(17))
            (pod,) = harness.runtime.stamped(17)
            assert harness.control.issued[0].pod_id == int(pod.key)
            assert pod.stamp is not None
            assert SpendLeave.FromString(pod.stamp.spending) == harness.control.spending
            # Who only wants to know a tenant's settings is given nothing to spend.
            (running,) = harness.fleet.of(TenantId(17))
            harness.controller.on_adopted(running)
            await until(lambda: len(harness.control.issued) == 2)
            assert harness.control.issued[1].pod_id == 0

    asyncio.run(body())


def test_wakes_of_one_tenant_share_one_pod() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            stub = harness.stub()
            replies = await asyncio.gather(*(stub.Wake(wake(5)) for _ in range(20)))
            assert len({reply.pods[0].pod_id for reply in replies}) == 1
            assert len(harness.runtime.stamps) == 1
            assert len(harness.control.issued) == 1

    asyncio.run(body())


def test_more_wakes_than_warm_pods_are_all_served() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            stub = harness.stub()
            assert not any(harness.runtime.urgent), "nobody waits for the pool to be filled"
            replies = await asyncio.gather(*(stub.Wake(wake(tenant)) for tenant in range(1, 13)))
            assert len({reply.pods[0].pod_id for reply in replies}) == 12
            assert any(harness.runtime.urgent)

    asyncio.run(body())


def test_a_stuck_stamp_is_replaced_within_the_wake() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        runtime.faults = [{"hang"}, {"fail"}]
        async with autoscaler(runtime, limits=replace(LIMITS, stamp_timeout=2.0)) as harness:
            bad = set(runtime.pods)
            reply = await harness.stub().Wake(wake(9))
            (pod,) = runtime.stamped(9)
            assert reply.pods[0].sql_address == pod.sql_address
            assert set(runtime.killed) == bad

    asyncio.run(body())


def test_a_pod_that_stays_unstamped_is_warm_again_under_its_new_key() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        runtime.faults = [{"no storage"}, {"no storage"}]
        async with autoscaler(runtime) as harness:
            before = set(runtime.pods)
            runtime.starts_may_end.clear()
            await harness.stub().Wake(wake(9))
            assert runtime.killed == []
            assert {pod.key for pod in runtime.stamped(9)} <= before
            assert harness.control.issued[-1].public_key.startswith(b"key 2 of")

    asyncio.run(body())


def test_pods_that_end_with_their_runtime_are_not_offered() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            stub = harness.stub()
            await stub.Wake(wake(5))
            harness.runtime.tell(Lost())
            for pod in list(harness.runtime.pods.values()):
                await pod.stop()

            def gone() -> bool:
                harness.runtime.tell(Lost())
                return not harness.fleet.pods

            await until(gone)
            described = await harness.stub(Role.CONTROL).DescribeTenants(DescribeTenantsRequest())
            assert list(described.tenants) == []

    asyncio.run(body())


def test_an_unknown_tenant_costs_no_pod() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await harness.stub().Wake(wake(404))
            assert caught.value.code() == grpc.StatusCode.NOT_FOUND
            assert harness.fleet.count(Phase.WARM) == 2
            assert harness.runtime.stamps == []

    asyncio.run(body())


def test_a_wake_survives_a_short_outage_of_control() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.control.outages = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL]
            assert len((await harness.stub().Wake(wake(3))).pods) == 1

    asyncio.run(body())


def test_a_wake_gives_up_in_bounded_tries() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.control.outages = [grpc.StatusCode.UNAVAILABLE] * 50
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await harness.stub().Wake(wake(3))
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert len(harness.control.outages) > 40
            assert harness.fleet.wakes == {}
            assert harness.fleet.count(Phase.WARM) == 2

    asyncio.run(body())


def test_a_wake_without_a_pod_ends_in_time() -> None:
    async def body() -> None:
        limits = replace(LIMITS, wake_timeout=2.0)
        async with autoscaler(
            policy=replace(PATIENT, warm_pods=1, pods_max=1), limits=limits
        ) as harness:
            await harness.stub().Wake(wake(1))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await harness.stub().Wake(wake(2))
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert harness.fleet.wakes == {}

    asyncio.run(body())


def test_no_pod_wakes_and_only_the_plane_suspends() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            assert (await harness.stub(Role.CONTROL).Wake(wake(2))).pods
            for role in (Role.POD, Role.STORAGE):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await harness.stub(role).Wake(wake(1))
                assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await harness.stub(Role.PROXY).Suspend(SuspendRequest(tenant_id=1))
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(body())


async def _suspend(harness: Harness, tenant: int) -> int:
    reply = await harness.stub(Role.CONTROL).Suspend(SuspendRequest(tenant_id=tenant))
    return reply.pods_ended


def test_suspend_ends_the_pod_and_the_next_wake_brings_another() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            stub = harness.stub()
            first = (await stub.Wake(wake(8))).pods[0].pod_id
            assert await _suspend(harness, 8) == 1
            assert harness.fleet.of(TenantId(8)) == []
            assert await _suspend(harness, 8) == 0
            second = (await stub.Wake(wake(8))).pods[0].pod_id
            assert first != second

    asyncio.run(body())


def test_a_pod_that_does_not_end_after_its_drain_is_killed() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        runtime.faults = [{"immortal"}]
        policy = replace(PATIENT, warm_pods=1, drain_grace=0.2)
        async with autoscaler(runtime, policy=policy) as harness:
            await harness.stub().Wake(wake(8))
            assert await _suspend(harness, 8) == 1
            assert len(runtime.killed) == 1

    asyncio.run(body())


def test_an_idle_tenant_sleeps_and_one_with_a_session_does_not() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            stub = harness.stub()
            harness.control.settings = TenantSettings(idle_timeout_seconds=60)
            await asyncio.gather(stub.Wake(wake(1)), stub.Wake(wake(2)))
            (idle,), (busy,) = harness.runtime.stamped(1), harness.runtime.stamped(2)
            idle.idle_ms = 61_000
            busy.sessions = 1
            await until(lambda: not harness.runtime.stamped(1))
            await until(lambda: harness.fleet.of(TenantId(2))[0].sessions == 1)
            assert harness.runtime.stamped(2) == [busy]
            described = await harness.stub(Role.CONTROL).DescribeTenants(DescribeTenantsRequest())
            tenants = {each.tenant_id: each for each in described.tenants}
            assert list(tenants) == [2]
            assert (tenants[2].state, tenants[2].connections) == (RUNNING, 1)
            assert tenants[2].awake_because.endswith("s of 60 s")

    asyncio.run(body())


def test_a_session_that_just_came_keeps_the_tenant_awake() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.control.settings = TenantSettings(idle_timeout_seconds=60)
            await harness.stub().Wake(wake(1))
            (pod,) = harness.runtime.stamped(1)
            (known,) = harness.fleet.of(TenantId(1))
            # The picture says idle, the pod knows better: it refuses, and keeps its session.
            pod.sessions = 1
            known.idle_seconds = 61.0
            harness.controller.step()
            assert str(known.phase) == "asking"
            reply = await harness.stub().Wake(wake(1))
            assert reply.pods[0].sql_address == pod.sql_address
            assert str(known.phase) == "running"

    asyncio.run(body())


def test_a_crash_is_noticed_told_and_the_next_wake_goes_on() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            stub = harness.stub()
            watch = stub.WatchPods(WatchPodsRequest(protocol_version=1))
            numbered = await watch.read()
            assert isinstance(numbered, PodsChange)
            assert numbered.proxies.your_number > 0
            first = await watch.read()
            assert isinstance(first, PodsChange)
            assert first.complete
            await stub.Wake(wake(6))
            change = await watch.read()
            assert isinstance(change, PodsChange)
            assert [pod.wish for pod in change.pods.pods] == [SERVE]
            harness.runtime.stamped(6)[0].end(-11)
            change = await watch.read()
            assert isinstance(change, PodsChange)
            assert change.pods.tenant_id == 6
            assert len(change.pods.pods) == 0
            assert len((await stub.Wake(wake(6))).pods) == 1

    asyncio.run(body())


def test_a_dead_warm_pod_is_replaced() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            next(iter(harness.runtime.pods.values())).end(-9)
            await until(lambda: harness.fleet.count(Phase.WARM) == 1)
            await until(lambda: harness.fleet.count(Phase.WARM) == 2)

    asyncio.run(body())


def test_a_restart_takes_over_what_lives() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        async with autoscaler(runtime, keep=True) as first:
            await first.stub().Wake(wake(4))
            await until(lambda: first.fleet.count(Phase.WARM) == 2)
        before = set(runtime.pods)
        async with autoscaler(runtime) as second:
            assert set(runtime.pods) == before
            assert second.fleet.count(Phase.WARM) == 2
            (pod,) = second.fleet.of(TenantId(4))
            assert pod.phase is Phase.RUNNING
            await until(lambda: second.fleet.tenants[TenantId(4)].limits)
            reply = await second.stub().Wake(wake(4))
            assert reply.pods[0].sql_address == pod.sql_address
            watch = second.stub().WatchPods(WatchPodsRequest(protocol_version=1))
            await watch.read()
            change = await watch.read()
            assert isinstance(change, PodsChange)
            assert change.pods.tenant_id == 4

    asyncio.run(body())
