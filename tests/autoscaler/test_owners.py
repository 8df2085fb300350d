"""New passwords reach every pod of a tenant, those in the middle of a stamp included."""

import asyncio

import grpc
import grpc.aio
import pytest

from autoscaler import owners
from autoscaler.pods import Phase
from autoscaler.runtimes.base import Lost
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from dormouse.base.tls import Role
from proto.autoscaler_pb2 import SetOwnerRequest, WakeRequest
from tests.autoscaler.doubles import FakeRuntime, Harness, autoscaler
from tests.support.waiting import until


def _wake(tenant: int) -> WakeRequest:
    return WakeRequest(protocol_version=1, tenant_id=tenant)


async def _woken(harness: Harness, tenant: int) -> None:
    await harness.stub().Wake(_wake(tenant))


async def _reset(harness: Harness, tenant: int, verifier: str) -> int:
    request = SetOwnerRequest(tenant_id=tenant, name="demo", scram_verifier=verifier)
    return (await harness.stub(Role.CONTROL).SetOwner(request)).pods


def test_running_and_draining_pods_are_told_and_others_are_not() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            for tenant in (17, 18):
                await harness.stub().Wake(_wake(tenant))
            (ours,), (other,) = harness.runtime.stamped(17), harness.runtime.stamped(18)
            assert await _reset(harness, 17, "new") == 1
            assert (ours.owners, other.owners) == (["new"], [])
            (pod,) = harness.fleet.of(TenantId(17))
            ours.sessions = 1
            harness.fleet.pod_drained(
                pod, pod.drain_cause, 1e9, harness.controller.clock.monotonic()
            )
            assert await _reset(harness, 17, "newer") == 1
            assert ours.owners == ["new", "newer"]
            assert await _reset(harness, 99, "x") == 0

    asyncio.run(body())


def test_only_control_sets_owners() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await harness.stub(Role.PROXY).SetOwner(SetOwnerRequest(tenant_id=17))
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(body())


def test_a_pod_in_the_middle_of_its_stamp_is_told_before_anybody_may_use_it() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.runtime.stamps_may_end.clear()
            waking = spawn(_woken(harness, 17), name="wake")
            await until(lambda: harness.runtime.stamps)
            (stamping,) = harness.core.service._owners._stamping[TenantId(17)]
            telling = spawn(_reset(harness, 17, "new"), name="reset")
            await until(lambda: stamping.owner)
            again = spawn(_reset(harness, 17, "newer"), name="reset")
            await until(lambda: stamping.owner and stamping.owner.scram_verifier == "newer")
            assert not telling.done(), "the pod has the old one"
            harness.runtime.stamps_may_end.set()
            await asyncio.gather(waking, telling, again)
            (pod,) = harness.runtime.stamped(17)
            assert pod.owners[-1:] == ["newer"]

    asyncio.run(body())


def test_a_pod_that_cannot_be_told_after_its_stamp_is_not_used() -> None:
    async def body() -> None:
        runtime = FakeRuntime()
        runtime.faults = [{"deaf"}, {"deaf"}]
        async with autoscaler(runtime) as harness:
            deaf = set(runtime.pods)
            runtime.stamps_may_end.clear()
            waking = spawn(_woken(harness, 17), name="wake")
            await until(lambda: runtime.stamps)
            telling = spawn(_reset(harness, 17, "new"), name="reset")
            await asyncio.sleep(0.05)
            runtime.stamps_may_end.set()
            await asyncio.gather(waking, telling)
            assert set(runtime.killed) <= deaf
            assert runtime.killed
            (pod,) = runtime.stamped(17)
            assert "deaf" not in pod.faults or pod.owners == []

    asyncio.run(body())


def test_a_pod_that_does_not_answer_makes_it_a_failure_until_it_is_gone() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            await harness.stub().Wake(_wake(17))
            (pod,) = harness.runtime.stamped(17)
            pod.faults.add("deaf")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await _reset(harness, 17, "new")
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            pod.end(-9)
            await until(lambda: not harness.fleet.of(TenantId(17)))
            assert await _reset(harness, 17, "new") == 0

    asyncio.run(body())


def test_a_pod_that_has_not_said_whose_it_is_is_told_too() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            await harness.stub().Wake(_wake(17))
            (stamped,) = harness.runtime.stamped(17)
            harness.runtime.tell(Lost())
            await until(lambda: not harness.fleet.connected)
            with pytest.raises(grpc.aio.AioRpcError):
                await _reset(harness, 17, "new")
            harness.runtime.tell(harness.runtime.picture())
            await until(lambda: harness.fleet.connected)
            (pod,) = harness.fleet.of(TenantId(17))
            harness.fleet._disown(pod, 0.0)
            pod.phase = Phase.PROBING
            assert await _reset(harness, 17, "new") == 1
            assert stamped.owners == ["new"]

    asyncio.run(body())


def test_nothing_is_kept_of_a_stamp_that_is_over() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            table = owners.Owners(harness.controller)
            async with table.stamping(TenantId(1)), table.stamping(TenantId(1)):
                assert repr(table) == "<Owners stamping=[1]>"
            assert repr(table) == "<Owners stamping=[]>"

    asyncio.run(body())
