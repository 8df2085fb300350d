"""Sessions that wait without a pod: the tenant sleeps, the client's next byte goes on."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvloop

from dormouse.base.ids import TenantId
from proto.autoscaler_pb2 import PARK, SERVE
from proxy import dialer, metrics, mover
from proxy.config import ProxyLimits
from proxy.parking import SealedStore
from tests.proxy.doubles import Setup, proxied
from tests.proxy.linkedpod import LinkedPod, client, frames_of, message, pipeline, query
from tests.support.waiting import until

READY = b"Z\0\0\0\x05I"
TERMINATE = b"X\0\0\0\x04"

Body = Callable[[Setup, LinkedPod, LinkedPod], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mover, "TICK_SECONDS", 0.05)


def run(folder: Path, body: Body, limits: ProxyLimits | None = None) -> None:
    """With a pod that is running and another one that the next wake brings."""

    async def main() -> None:
        one, two = LinkedPod(), LinkedPod()
        async with proxied(folder, limits, pod=one) as setup:
            await two.start()
            setup.plane.sleeping[17] = [two]
            try:
                await body(setup, one, two)
            finally:
                two.stop()

    uvloop.run(main())


async def wish(setup: Setup, pod: LinkedPod, wish: Any) -> None:
    pod.wish = wish
    await setup.publish()


async def park(setup: Setup, one: LinkedPod) -> None:
    """All sessions are parked, and the tenant sleeps."""
    sessions = parked() + len(one.sessions)
    await wish(setup, one, PARK)
    await until(lambda: parked() == sessions and not one.connections)
    setup.plane.running[17] = []
    await setup.publish()
    one.stop()


def parked() -> float:
    return float(metrics.PARKED._value.get())


def outcomes(outcome: str) -> float:
    return float(metrics.MOVES.labels("park", outcome)._value.get())


# Going to sleep and waking


def test_the_clients_next_byte_wakes_the_tenant_and_the_session_goes_on(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            assert await connection.ask("a") == "1:a"
            await park(setup, one)
            assert (parked(), setup.plane.wakes) == (1, 0)
            assert float(metrics.PARKED_BYTES._value.get()) > 0
            assert await connection.idle()
            assert await connection.ask("b") == "2:b"
            assert (parked(), setup.plane.wakes, two.resumed) == (0, 1, 1)
            assert float(metrics.PARKED_BYTES._value.get()) == 0

    run(tmp_path, body)


@pytest.mark.parametrize("piece", [1, 3, 17])
def test_what_wakes_it_comes_in_many_pieces(tmp_path: Path, piece: int) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            await park(setup, one)
            stream = pipeline("first") + query("second")
            for at in range(0, len(stream), piece):
                connection.send(stream[at : at + piece])
                await asyncio.sleep(0.001)
            assert b"1:first" in await connection.until(READY)
            assert b"2:second" in await connection.until(READY)

    run(tmp_path, body)


def test_many_that_wake_at_once_share_the_wake(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(setup)) for _ in range(20)]
            await park(setup, one)
            assert parked() == 20
            answers = await asyncio.gather(*(each.ask("a") for each in clients))
            assert answers == ["1:a"] * 20
            assert (setup.plane.wakes, two.resumed, parked()) == (1, 20, 0)

    run(tmp_path, body, ProxyLimits(resumes_of_tenant_max=3))


def test_a_parked_session_is_parked_again(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        three = LinkedPod()
        await three.start()
        setup.plane.sleeping[17].append(three)
        async with client(setup) as connection:
            await park(setup, one)
            assert await connection.ask("a") == "1:a"
            await park(setup, two)
            assert await connection.ask("b") == "2:b"
        three.stop()

    run(tmp_path, body)


# Who is not parked


def test_a_session_at_work_is_not_parked(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            connection.send(query("begin"))
            await connection.until(b"Z\0\0\0\x05T")
            await wish(setup, one, PARK)
            await asyncio.sleep(0.3)
            assert len(one.sessions) == 1
            assert await connection.ask("commit") == "2:commit"
            await until(lambda: parked() == 1 and not one.sessions)

    run(tmp_path, body)


def test_a_pod_that_is_to_serve_again_keeps_its_sessions(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            connection.send(query("begin"))
            await connection.until(b"Z\0\0\0\x05T")
            await wish(setup, one, PARK)
            await asyncio.sleep(0.2)
            await wish(setup, one, SERVE)
            await connection.ask("commit")
            await asyncio.sleep(0.4)
            assert len(one.sessions) == 1

    run(tmp_path, body)


def test_a_refusal_to_park_changes_nothing(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        before = outcomes("refused_held")
        one.refuses_to_give = "it is dear to me"
        async with client(setup) as connection:
            await wish(setup, one, PARK)
            await until(lambda: outcomes("refused_held") > before)
            assert await connection.ask("a") == "1:a"
            assert parked() == 0

    run(tmp_path, body)


def test_a_state_that_is_too_large_is_not_parked(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        one.padding = 5000
        async with client(setup) as connection:
            await wish(setup, one, PARK)
            await asyncio.sleep(0.3)
            assert len(one.sessions) == 1
            # It has grown since the last checkpoint: the pod has given it away already.
            one.padding = 0
            assert await connection.ask("a") == "1:a"
            one.padding = 5000
            before = outcomes("refused_no_room")
            await until(lambda: outcomes("refused_no_room") > before)
            assert await connection.ask("b") == "2:b"
            assert (len(one.sessions), parked()) == (1, 0)

    run(tmp_path, body, ProxyLimits(sealed_session_bytes_max=4000))


def test_there_is_room_for_so_many(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        one.padding = 1000
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(setup)) for _ in range(5)]
            await wish(setup, one, PARK)
            await until(lambda: (len(one.sessions), parked()) == (2, 3))
            await asyncio.sleep(0.3)
            assert (len(one.sessions), parked()) == (2, 3)
            for each in clients:
                assert await each.ask("a") == "1:a"

    run(tmp_path, body, ProxyLimits(sealed_bytes_max=3500))


def test_the_store_has_a_bound_for_each_and_all() -> None:
    limits = ProxyLimits(
        sealed_session_bytes_max=10, sealed_tenant_bytes_max=25, sealed_bytes_max=40
    )
    store = SealedStore(limits)
    one, two = TenantId(1), TenantId(2)
    assert not store.take(one, 11)
    assert [store.take(one, 10) for _ in range(3)] == [True, True, False]
    assert [store.take(two, 10) for _ in range(3)] == [True, True, False]
    store.give_back(one, 10)
    store.give_back(one, 10)
    assert repr(store) == "<SealedStore bytes=20 tenants=1>"
    assert store.take(one, 10)


# Ends


@pytest.mark.parametrize("piece", [1, 2, 5])
def test_a_goodbye_wakes_nobody(tmp_path: Path, piece: int) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            await park(setup, one)
            for at in range(0, 5, piece):
                connection.send(TERMINATE[at : at + piece])
                await asyncio.sleep(0.02)
            assert await connection.rest() == b""
        assert (setup.plane.wakes, parked()) == (0, 0)

    run(tmp_path, body)


def test_a_client_that_hangs_up_is_forgotten(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        before = float(metrics.SEALED_BYTES._value.get())
        async with client(setup) as connection:
            await park(setup, one)
            connection.send(b"X\0")  # it may become a goodbye
            await asyncio.sleep(0.05)
        await until(lambda: parked() == 0)
        assert setup.plane.wakes == 0
        assert float(metrics.SEALED_BYTES._value.get()) == before

    run(tmp_path, body)


def test_a_cancel_request_for_a_parked_session_does_nothing(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            await park(setup, one)
            reader, writer = await asyncio.open_connection("127.0.0.1", setup.port)
            writer.write(connection.key.build())
            assert await reader.read() == b""
            writer.close()
            assert (setup.plane.wakes, parked()) == (0, 1)
            assert await connection.ask("a") == "1:a"

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("code", "sqlstate"),
    [
        (grpc.StatusCode.UNAVAILABLE, "57P03"),
        (grpc.StatusCode.NOT_FOUND, "08004"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "53300"),
    ],
)
def test_a_tenant_that_cannot_be_woken_is_told_so(
    tmp_path: Path, code: grpc.StatusCode, sqlstate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "RESUME_ATTEMPTS_MAX", 2)

    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            await park(setup, one)
            setup.plane.wake_fails = code
            connection.send(query("a"))
            ((kind, fields),) = frames_of(await connection.rest())
            assert kind == "E"
            assert sqlstate.encode() in fields
        assert parked() == 0

    run(tmp_path, body)


def test_a_wake_that_fails_for_a_moment_is_tried_again(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            await park(setup, one)
            setup.plane.wake_fails = grpc.StatusCode.UNAVAILABLE
            connection.send(query("a"))
            await until(lambda: setup.plane.wakes >= 2)
            setup.plane.wake_fails = None
            assert b"1:a" in await connection.until(READY)

    run(tmp_path, body)


def test_a_parked_client_is_told_when_the_proxy_ends(tmp_path: Path) -> None:
    async def main() -> None:
        one = LinkedPod()
        async with AsyncExitStack() as stack:
            async with proxied(tmp_path, pod=one) as setup:
                connection = await stack.enter_async_context(client(setup))
                await park(setup, one)
            ((kind, fields),) = frames_of(await connection.rest())
            assert (kind, b"57P01" in fields) == ("E", True)

    uvloop.run(main())


# What is told


def test_the_report_tells_parked_sessions_apart(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        def told() -> tuple[int, int]:
            tenants = setup.plane.reports[-1].tenants
            return (tenants[0].sessions, tenants[0].parked) if tenants else (0, 0)

        async with client(setup), client(setup) as other:
            await park(setup, one)
            await until(lambda: told() == (0, 2))
            assert await other.ask("a") == "1:a"
            await until(lambda: told() == (1, 1))

    run(tmp_path, body)


def test_a_login_that_wakes_is_broken_down_into_parts_that_add_up(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        setup.plane.running[17] = []
        await setup.publish()
        parts = {name: part(name) for name in ("resolve", "wake", "dial", "login", "first_row")}
        total = metrics.LOGIN_SECONDS.labels("yes")._sum.get()
        async with client(setup) as connection:
            first = [part(name) - parts[name] for name in ("resolve", "wake", "dial", "login")]
            assert all(seconds > 0 for seconds in first)
            assert metrics.LOGIN_SECONDS.labels("yes")._sum.get() - total == pytest.approx(
                sum(first)
            )
            assert part("first_row") == parts["first_row"]
            await connection.ask("nap")
            assert part("first_row") - parts["first_row"] > 0.15
            seen = part("first_row")
            await connection.ask("nap")
            assert part("first_row") == seen

    run(tmp_path, body)


def part(name: str) -> float:
    return float(metrics.WAKE_SECONDS.labels(name)._sum.get())


def test_a_piece_that_only_looks_like_a_goodbye_wakes(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            await park(setup, one)
            connection.send(message(b"X", b"?"))  # the pod takes any X for one
            assert await connection.rest() == b""
            assert setup.plane.wakes == 1

    run(tmp_path, body)
