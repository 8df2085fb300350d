"""Sessions that move between pods, by real sockets: the client sees nothing, whatever happens."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base.tasks import cancel, spawn
from pgwire.startup import CancelRequest
from proto.autoscaler_pb2 import MOVE, SERVE
from proxy import metrics, mover, moving
from proxy.config import ProxyLimits
from tests.proxy.doubles import Setup, proxied
from tests.proxy.linkedpod import (
    Client,
    LinkedPod,
    answer_of,
    client,
    frames_of,
    message,
    pipeline,
    query,
)
from tests.support.waiting import until

READY = b"Z\0\0\0\x05I"

Body = Callable[[Setup, LinkedPod, LinkedPod], Coroutine[Any, Any, None]]


def run(folder: Path, body: Body, limits: ProxyLimits | None = None) -> None:
    """With a pod that is running and another one that is not known yet."""

    async def main() -> None:
        one, two = LinkedPod(), LinkedPod()
        async with proxied(folder, limits, pod=one) as setup:
            await two.start()
            try:
                await body(setup, one, two)
            finally:
                two.stop()

    uvloop.run(main())


async def drain(setup: Setup, one: LinkedPod, two: LinkedPod | None) -> None:
    """The sessions of `one` are to go to `two`, and the proxy knows."""
    one.wish = MOVE
    setup.plane.running[17] = [one] if two is None else [one, two]
    await setup.publish()


def moves(outcome: str) -> float:
    return float(metrics.MOVES.labels("move", outcome)._value.get())


def resumes(cause: str, outcome: str) -> float:
    return float(metrics.RESUMES.labels(cause, outcome)._value.get())


# The move itself


def test_an_idle_session_moves_and_goes_on(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        before = moves("moved")
        async with client(setup) as idle, client(setup) as other:
            assert await idle.ask("a") == "1:a"
            await drain(setup, one, two)
            await until(lambda: len(two.sessions) == 2 and not one.sessions)
            assert await idle.idle()
            assert await idle.ask("b") == "2:b"
            assert await other.ask("c") == "1:c"
            assert {startup.parameters["user"] for startup in two.startups} == {"demo"}
        assert moves("moved") == before + 2

    run(tmp_path, body)


def test_new_sessions_do_not_go_to_a_draining_pod(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        await drain(setup, one, two)
        async with client(setup):
            assert len(two.sessions) == 1
        assert not one.startups

    run(tmp_path, body)


def test_without_another_pod_one_is_woken(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        setup.plane.sleeping[17] = [two]
        async with client(setup) as connection:
            await drain(setup, one, None)
            await until(lambda: two.sessions)
            assert await connection.ask("a") == "1:a"
        assert setup.plane.wakes == 1

    run(tmp_path, body)


@pytest.mark.usefixtures("hasty")
def test_a_draining_pod_that_is_taken_back_keeps_its_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From the moment the picture says so, though the one who follows it looks up later.
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            connection.send(query("begin"))
            await connection.until(b"Z\0\0\0\x05T")
            await drain(setup, one, two)
            await asyncio.sleep(0.2)
            monkeypatch.setattr(mover, "PAUSE_SECONDS", 3600.0)
            await asyncio.sleep(0.2)
            one.wish = SERVE
            await setup.publish()
            assert await connection.ask("commit") == "2:commit"
            await asyncio.sleep(0.2)
            assert len(one.sessions) == 1
            assert not two.startups

    run(tmp_path, body)


def test_a_transaction_ends_where_it_began(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            connection.send(query("begin"))
            await connection.until(b"Z\0\0\0\x05T")
            await drain(setup, one, two)
            await asyncio.sleep(1.2)
            connection.send(query("inside"))
            assert answer_of(await connection.until(b"Z\0\0\0\x05T")) == "2:inside"
            assert len(one.sessions) == 1
            assert await connection.ask("commit") == "3:commit"
            await until(lambda: len(two.sessions) == 1)
            assert await connection.ask("after") == "4:after"

    run(tmp_path, body)


def test_a_held_session_stays_until_it_is_let_go(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            assert await connection.ask("hold") == "1:hold"
            await drain(setup, one, two)
            await asyncio.sleep(1.2)
            assert not two.startups
            assert await connection.ask("release") == "2:release"
            await until(lambda: two.sessions)
            assert await connection.ask("on") == "3:on"

    run(tmp_path, body)


def test_a_refusal_changes_nothing(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        before = moves("refused_held")
        one.refuses_to_give = "it is dear to me"
        async with client(setup) as connection:
            await drain(setup, one, two)
            await until(lambda: moves("refused_held") > before)
            assert await connection.ask("a") == "1:a"
            assert len(one.sessions) == 1
            await until(lambda: not two.connections)
            one.refuses_to_give = ""
            await until(lambda: two.sessions)
            assert await connection.ask("b") == "2:b"

    run(tmp_path, body)


def test_many_sessions_move_a_few_at_a_time(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(setup)) for _ in range(12)]
            for each in clients:
                await each.ask("a")
            await drain(setup, one, two)
            for _ in range(40):
                answers = await asyncio.gather(*(each.ask("b") for each in clients))
                assert len(set(answers)) == 1
            await until(lambda: not one.sessions)
            assert set(await asyncio.gather(*(each.ask("c") for each in clients))) == {"42:c"}
            assert two.resumed == 12

    run(tmp_path, body, ProxyLimits(moves_max=3))


# Bytes


def conversation(count: int) -> bytes:
    """What a busy client says: both protocols, short and long texts, a COPY."""
    parts = []
    for number in range(count):
        text = f"statement {number} " + "x" * (number * 37 % 400)
        parts.append(pipeline(text) if number % 3 else query(text))
        if number % 10 == 9:
            parts.append(query("copy") + message(b"d", b"y" * 100) * 3 + message(b"c"))
    return b"".join(parts)


async def speak(connection: Client, stream: bytes, piece: int) -> bytes:
    """Send in pieces without waiting for answers; all answers."""

    async def send() -> None:
        for at in range(0, len(stream), piece):
            connection.send(stream[at : at + piece])
            await connection.writer.drain()
            await asyncio.sleep(min(max(piece / 50_000, 0.001), 0.1))

    sending = asyncio.gather(send())
    count = stream.count(b"Q\0\0") + stream.count(b"S\0\0\0\x04")
    answers = [await connection.until(READY) for _ in range(count)]
    await sending
    return b"".join(answers)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moves follow each other as fast as they can."""
    monkeypatch.setattr(mover, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(mover, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(moving, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(moving, "MOMENT_SECONDS", 0.2)


async def toss(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
    """The one session is to go from each pod to the other, over and over."""
    while True:
        await hand_over(setup, one, two)
        await hand_over(setup, two, one)


async def hand_over(setup: Setup, source: LinkedPod, target: LinkedPod) -> None:
    source.wish, target.wish = MOVE, SERVE
    setup.plane.running[17] = [source, target]
    await setup.publish()
    await until(lambda: target.sessions and not source.sessions)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("piece", [7, 200, 10_000])
def test_a_client_that_never_waits_gets_what_it_would_have_got(tmp_path: Path, piece: int) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        stream = conversation(40 if piece < 50 else 300)
        async with client(setup) as moved:
            tossing = spawn(toss(setup, one, two), name="toss")
            got, rounds, moves = b"", 0, 0
            while moves < 3:  # while it spoke
                before = one.resumed + two.resumed
                got += await speak(moved, stream, piece)
                rounds += 1
                moves += one.resumed + two.resumed - before
            await cancel(tossing)
        one.wish = two.wish = SERVE
        await setup.publish()
        async with client(setup) as unmoved:
            assert got == await speak(unmoved, stream * rounds, 1 << 20)

    run(tmp_path, body)


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_what_is_said_during_a_move_waits_and_follows(tmp_path: Path, piece: int) -> None:
    # The pod is asked while it naps, for its answer to be awaited; the client goes on meanwhile.
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        stream = b"".join(query(f"q{number}") for number in range(50))
        async with client(setup) as connection:
            await drain(setup, one, two)
            for at in range(0, len(stream), piece):
                connection.send(stream[at : at + piece])
                if at % 50 == 0:
                    await asyncio.sleep(0.001)
            for number in range(50):
                data = await connection.until(READY)
                assert answer_of(data) == f"{number + 1}:q{number}"
            await until(lambda: two.sessions)
            assert await connection.idle()

    run(tmp_path, body)


def test_what_is_pipelined_behind_the_password_is_answered(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup, early=query("early")) as connection:
            assert answer_of(await connection.until(READY)) == "1:early"
            await drain(setup, one, two)
            await until(lambda: two.sessions)
            assert await connection.ask("later") == "2:later"

    run(tmp_path, body)


def test_a_slow_reader_is_moved_when_it_has_read(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            connection.read_nothing()
            connection.send(query("rows 20000"))
            await until(lambda: one.sessions[0].number == 1)
            await drain(setup, one, two)
            await asyncio.sleep(1.5)
            assert one.sessions
            assert not two.sessions
            connection.read_on()
            data = await connection.until(b"SELECT 20000\0Z\0\0\0\x05I")
            assert len(frames_of(data)) == 20_002
            await until(lambda: two.sessions)
            assert await connection.ask("a") == "2:a"

    run(tmp_path, body, ProxyLimits(buffer_bytes=1 << 16))


# Cancel


@pytest.mark.parametrize("own_pids", [False, True])
def test_a_cancel_request_follows_the_session(tmp_path: Path, own_pids: bool) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        one.own_pids = two.own_pids = own_pids
        async with client(setup) as connection:
            await drain(setup, one, two)
            await until(lambda: two.sessions)
            assert await connection.ask("a") == "1:a"
            connection.send(query("sleep"))
            await until(lambda: two.sessions[0].number == 2)
            await send_cancel(setup, connection.key)
            assert answer_of(await connection.until(READY)) == "57014"

    run(tmp_path, body)


async def send_cancel(setup: Setup, key: CancelRequest) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", setup.port)
    writer.write(key.build())
    assert await reader.read() == b""
    writer.close()


# Deaths


def test_a_session_between_transactions_outlives_its_pod(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        before = resumes("recover", "taken_up")
        setup.plane.sleeping[17] = [two]
        async with client(setup) as connection, client(setup) as other:
            assert await connection.ask("a") == "1:a"
            one.die()
            await until(lambda: len(two.sessions) == 2)
            assert await connection.idle()
            assert await connection.ask("b") == "2:b"
            assert await other.ask("c") == "1:c"
        assert resumes("recover", "taken_up") == before + 2

    run(tmp_path, body)


@pytest.mark.parametrize("said", ["begin", "sleep", "hold"])
def test_a_session_that_is_more_than_its_checkpoint_ends_with_its_pod(
    tmp_path: Path, said: str
) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        setup.plane.sleeping[17] = [two]
        async with client(setup) as connection:
            connection.send(query(said))
            await until(lambda: one.sessions[0].number == 1)
            if said != "sleep":
                await connection.until(b"Z\0\0\0\x05")
                await connection.reader.readexactly(1)
            one.die()
            *_, (kind, body_) = frames_of(await connection.rest())
            assert (kind, b"57P01" in body_) == ("E", True)
        assert not two.startups

    run(tmp_path, body)


def test_a_torn_message_is_not_mended(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with client(setup) as connection:
            (session,) = one.sessions
            session._send(message(b"N", b"x" * 100)[:50])
            await connection.until(b"x" * 45)
            one.die()
            assert b"57P01" not in await connection.rest()

    run(tmp_path, body)


def test_a_session_that_the_pod_has_ended_is_not_taken_up(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        setup.plane.sleeping[17] = [two]
        async with client(setup) as connection:
            (session,) = one.sessions
            session._send(b"")
            connection.send(query("last"))
            (frame,) = frames_of(await connection.rest())
            assert b"57P01" in frame[1]
        assert not two.startups

    run(tmp_path, body)


def test_a_pod_that_dies_when_it_is_asked_has_given_the_session_away(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        one.dies_when = "asked"
        async with client(setup) as connection:
            assert await connection.ask("a") == "1:a"
            await drain(setup, one, two)
            await until(lambda: two.sessions)
            assert await connection.ask("b") == "2:b"

    run(tmp_path, body)


@pytest.mark.parametrize("when", ["resumed", "ready"])
def test_a_pod_that_dies_when_it_takes_a_session_up_is_replaced(tmp_path: Path, when: str) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        three = LinkedPod()
        await three.start()
        two.dies_when = when
        async with client(setup) as connection:
            assert await connection.ask("a") == "1:a"
            setup.plane.sleeping[17] = [three]
            await drain(setup, one, two)
            await until(lambda: two.resumed + three.resumed == 2)
            assert await connection.ask("b") == "2:b"
        three.stop()

    run(tmp_path, body)


def test_a_session_does_not_take_down_one_pod_after_the_other(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        more = [LinkedPod() for _ in range(4)]
        for pod in (two, *more):
            pod.dies_when = "resumed"
        for pod in more:
            await pod.start()
        setup.plane.sleeping[17] = list(more)
        async with client(setup) as connection:
            await drain(setup, one, two)
            (frame,) = frames_of(await connection.rest())
            assert b"57P01" in frame[1]
        assert sum(len(pod.startups) for pod in (two, *more)) == 3
        for pod in more:
            pod.stop()

    run(tmp_path, body)


def test_a_pod_that_falls_silent_is_replaced(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        three = LinkedPod()
        await three.start()
        two.takes_up.clear()
        async with client(setup) as connection:
            setup.plane.sleeping[17] = [three]
            await drain(setup, one, two)
            await until(lambda: three.sessions)
            assert await connection.ask("a") == "1:a"
        two.takes_up.set()
        three.stop()

    run(tmp_path, body, ProxyLimits(dial_timeout=2.0))


def test_a_pod_that_takes_nobody_is_passed_over(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        three = LinkedPod()
        await three.start()
        two.refuse = "57P03"
        async with client(setup) as connection:
            one.wish = MOVE
            setup.plane.running[17] = [one, two, three]
            two.sessions_told, three.sessions_told = 0, 5
            await setup.publish()
            await until(lambda: three.sessions)
            assert await connection.ask("a") == "1:a"
            assert two.startups
        three.stop()

    run(tmp_path, body)


def test_a_refusal_for_good_is_the_clients(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        two.refuse = "28000"
        async with client(setup) as connection:
            await drain(setup, one, two)
            (frame,) = frames_of(await connection.rest())
            assert b"28000" in frame[1]

    run(tmp_path, body)


def test_nobody_to_take_the_session_up_is_told_in_time(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        two.takes_up.clear()
        async with client(setup) as connection:
            await drain(setup, one, two)
            (frame,) = frames_of(await connection.rest())
            assert b"57P03" in frame[1]

    run(tmp_path, body, ProxyLimits(resume_timeout=0.5))


def test_a_client_that_leaves_during_a_move_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        two.takes_up.clear()
        async with client(setup) as connection:
            await drain(setup, one, two)
            await until(lambda: two.connections)
            connection.writer.transport.abort()
            await until(lambda: not one.connections)
        two.takes_up.set()
        await until(lambda: not two.sessions and not two.connections)

    run(tmp_path, body)


# Balance


def test_a_pod_that_joins_gets_sessions(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(setup)) for _ in range(12)]
            setup.plane.running[17] = [one, two]
            await setup.publish()
            await until(lambda: len(two.sessions) == 3)
            for each in clients:
                assert await each.ask("a") == "1:a"
            await asyncio.sleep(0.5)
            assert (len(one.sessions), len(two.sessions)) == (9, 3)

    run(tmp_path, body)


def test_new_sessions_even_out(tmp_path: Path) -> None:
    async def body(setup: Setup, one: LinkedPod, two: LinkedPod) -> None:
        one.sessions_told = 4  # of another proxy
        setup.plane.running[17] = [one, two]
        await setup.publish()
        async with AsyncExitStack() as stack:
            for _ in range(8):
                await stack.enter_async_context(client(setup))
            assert (len(one.sessions), len(two.sessions)) == (2, 6)

    run(tmp_path, body)
