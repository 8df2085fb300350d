"""What the proxy tells the autoscaler, and what it keeps when their stream breaks."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from proto.autoscaler_pb2 import MOVE, PARK, PodAddress
from proto.autoscaler_pb2 import Pods as PodsOfTenant
from proxy import reporter
from proxy.census import Census
from proxy.pods import Pods
from tests.proxy.doubles import Setup, proxied
from tests.proxy.linkedpod import LinkedPod, client
from tests.support.waiting import until

TENANT = TenantId(17)


def run(folder: Path, body: Callable[[Setup], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with proxied(folder, pod=LinkedPod()) as setup:
            await body(setup)

    uvloop.run(main())


def last_report(setup: Setup) -> list[tuple[int, int, int]]:
    if not setup.plane.reports:
        return []
    tenants = setup.plane.reports[-1].tenants
    return [(each.tenant_id, each.sessions, each.parked) for each in tenants]


def test_the_autoscaler_is_told_of_sessions_not_too_often(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        begun = asyncio.get_running_loop().time()
        setup.plane.reports.clear()
        async with client(setup), client(setup):
            await until(lambda: last_report(setup) == [(17, 2, 0)])
        await until(lambda: last_report(setup) == [])
        told, seconds = len(setup.plane.reports), asyncio.get_running_loop().time() - begun
        assert told <= 1 + seconds / reporter.PAUSE_SECONDS

    run(tmp_path, body)


def test_it_is_told_now_and_then_even_if_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporter, "REPORT_SECONDS", 0.05)
    monkeypatch.setattr(reporter, "PAUSE_SECONDS", 0.01)

    async def body(setup: Setup) -> None:
        await until(lambda: len(setup.plane.reports) > 5)

    run(tmp_path, body)


def test_a_new_stream_keeps_the_number_and_is_told_everything_again(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with client(setup) as before:
            await until(lambda: last_report(setup) == [(17, 1, 0)])
            numbers = list(setup.plane.proxies)
            setup.plane.reports.clear()
            setup.plane.cut_pod_streams()
            await until(lambda: last_report(setup) == [(17, 1, 0)])
            assert list(setup.plane.proxies) == numbers
            assert before.key.pid >> 20 == numbers[0]
            assert setup.plane.reports[-1].proxy_number == numbers[0]

    run(tmp_path, body)


def test_the_census_counts_each_tenant() -> None:
    census = Census()
    census.opened(TENANT)
    census.opened(TENANT)
    census.opened(TenantId(18))
    census.parked(TENANT)
    assert sorted(census) == [(17, 1, 1), (18, 1, 0)]
    census.unparked(TENANT)
    census.closed(TENANT)
    census.closed(TenantId(18))
    assert list(census) == [(17, 1, 0)]
    assert repr(census) == "<Census sessions=1 parked=0>"


# The picture of pods


def picture(*pods: PodAddress) -> Pods:
    found = Pods(autoscaler=None, clock=ManualClock())  # type: ignore[arg-type]  # it is not asked
    found._apply(found._picture, PodsOfTenant(tenant_id=17, pods=pods))
    return found


def address(number: int, **fields: Any) -> PodAddress:
    return PodAddress(pod_id=number, sql_address=f"pod:{number}", **fields)


def test_sessions_since_the_last_picture_count() -> None:
    one, two = address(1, sessions=3), address(2, sessions=4)
    pods = picture(one, two)
    assert pods.known(TENANT) == one
    for _ in range(2):
        pods.session_opened(one)
    assert pods.known(TENANT) == two
    # the next picture knows of them
    pods._apply(pods._picture, PodsOfTenant(tenant_id=17, pods=[address(1, sessions=5), two]))
    assert [load.sessions for load in pods.loads(pods.of(TENANT))] == [5, 4]
    pods.session_closed(one)
    assert [load.sessions for load in pods.loads(pods.of(TENANT))] == [4, 4]


def test_who_refused_or_is_to_be_left_is_passed_over() -> None:
    one, two, three = address(1), address(2, wish=MOVE), address(3, wish=PARK, sessions=9)
    pods = picture(one, two, three)
    assert pods.known(TENANT) == one
    assert pods.known(TENANT, but=PodId(1)) == three
    pods.refused(one)
    assert pods.known(TENANT) == three
    assert pods.wishes() == {2: MOVE, 3: PARK}


def test_a_pod_that_joins_is_noticed() -> None:
    pods = picture(address(1))
    assert pods.joined == set()
    pods._apply(pods._picture, PodsOfTenant(tenant_id=17, pods=[address(1), address(2)]))
    assert pods.joined == {17}
