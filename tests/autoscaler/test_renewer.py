"""Every pod of a tenant gets another certificate, and one pod can be ended."""

import asyncio

import grpc
import grpc.aio
import pytest

from autoscaler.pods import Phase
from dormouse.base.ids import TenantId
from dormouse.base.tasks import spawn
from dormouse.base.tls import Role
from proto.autoscaler_pb2 import EndPodRequest, ListPodsRequest, RenewPodsRequest, WakeRequest
from tests.autoscaler.doubles import Harness, autoscaler
from tests.support.waiting import until


async def _woken(harness: Harness, tenant: int) -> None:
    await harness.stub().Wake(WakeRequest(protocol_version=1, tenant_id=tenant))


async def _renew(harness: Harness) -> tuple[int, int]:
    reply = await harness.stub(Role.CONTROL).RenewPods(RenewPodsRequest())
    return reply.renewed, reply.left


def test_stamped_pods_are_renewed_for_their_own_keys_and_warm_ones_are_not() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            await _woken(harness, 17)
            await _woken(harness, 18)
            assert await _renew(harness) == (2, 0)
            for tenant in (17, 18):
                (pod,) = harness.runtime.stamped(tenant)
                (renewal,) = pod.renewals
                assert renewal.certificate == f"key 1 of {pod.key}".encode()
                assert (renewal.tenant_id, renewal.authority) == (tenant, b"both")

    asyncio.run(body())


def test_a_stamp_under_way_is_waited_for_and_renewed() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            harness.runtime.stamps_may_end.clear()
            waking = spawn(_woken(harness, 17), name="wake")
            await until(lambda: harness.runtime.stamps)
            renewing = spawn(_renew(harness), name="renew")
            await asyncio.sleep(0.05)
            assert not renewing.done()
            harness.runtime.stamps_may_end.set()
            await waking
            assert await renewing == (1, 0)

    asyncio.run(body())


def test_what_could_not_be_renewed_is_left() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            await _woken(harness, 17)
            harness.control.outages = [grpc.StatusCode.UNAVAILABLE]
            assert await _renew(harness) == (0, 1)
            assert await _renew(harness) == (1, 0)
            (pod,) = harness.fleet.of(TenantId(17))
            harness.fleet._disown(pod, 0.0)
            pod.phase = Phase.PROBING
            assert await _renew(harness) == (0, 1)

    asyncio.run(body())


def test_one_pod_is_listed_and_ended() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            await _woken(harness, 17)
            stub = harness.stub(Role.CONTROL)
            (pod,) = (await stub.ListPods(ListPodsRequest(tenant_id=17))).pods
            assert pod.phase == "running"
            wrong = EndPodRequest(tenant_id=18, pod_id=pod.pod_id)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.EndPod(wrong)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
            await stub.EndPod(EndPodRequest(tenant_id=17, pod_id=pod.pod_id))
            assert [int(key) for key in harness.runtime.killed] == [pod.pod_id]
            await until(lambda: not harness.fleet.of(TenantId(17)))

    asyncio.run(body())


def test_proxies_may_do_none_of_it() -> None:
    async def body() -> None:
        async with autoscaler() as harness:
            stub = harness.stub()
            for call in (
                stub.RenewPods(RenewPodsRequest()),
                stub.EndPod(EndPodRequest()),
                stub.ListPods(ListPodsRequest()),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED

    asyncio.run(body())
