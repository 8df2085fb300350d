"""Who is let in, over real sockets: networks, throttled logins, limits, slow clients, rude ones."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from pgwire.startup import SSL_REQUEST, CancelRequest, StartupMessage
from proto.control_pb2 import TenantSettings
from proxy import metrics
from proxy.config import ProxyLimits
from tests.proxy.client import (
    READY,
    Client,
    Refused,
    connected,
    error_in,
    message,
    open_socket,
    send_plain,
)
from tests.proxy.doubles import Setup, proxied
from tests.support.waiting import until

Body = Callable[[Setup], Coroutine[Any, Any, None]]


def run(folder: Path, body: Body, limits: ProxyLimits | None = None, **how: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), proxied(folder, limits, **how) as setup:
            await body(setup)

    uvloop.run(main())


def refused(reason: str) -> float:
    """How many connections were refused for it so far."""
    found = 0.0
    for metric in metrics.REFUSED.collect():
        for sample in metric.samples:
            if sample.labels.get("reason") == reason and sample.name.endswith("_total"):
                found += sample.value
    return found


def hung_up(reason: str) -> float:
    return float(metrics.HUNG_UP.labels(reason)._value.get())


async def refusal(client: Client, **parameters: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await client.log_in(**parameters)
    return caught.value


async def in_the_end(setup: Setup) -> None:
    """Log in, though it may take several attempts."""
    for _ in range(500):
        try:
            async with connected(setup) as client:
                await client.log_in()
                return
        except Refused:
            await asyncio.sleep(0.05)
    raise AssertionError("never let in")


def allow(setup: Setup, *networks: str) -> None:
    setup.plane.settings[17] = TenantSettings(allowed_networks=networks)


# Networks


def test_outside_of_its_networks_nobody_wakes_a_tenant(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        allow(setup, "127.0.0.2/32", "10.0.0.0/8")
        before = refused("not_allowed")
        async with connected(setup) as client:
            error = (await refusal(client)).error
        assert error.sqlstate == "28000"
        assert error.message == 'connections from host "127.0.0.1" are not allowed'
        assert setup.plane.wakes == 0
        assert refused("not_allowed") == before + 1
        async with connected(setup, source="127.0.0.2") as client:
            await client.log_in()

    run(tmp_path, body, asleep=True)


def test_changed_networks_cut_those_who_are_outside_now(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with (
            connected(setup, source="127.0.0.2") as outside,
            connected(setup, source="127.0.0.3") as inside,
        ):
            await outside.log_in()
            await inside.log_in()
            asked = setup.plane.resolves
            allow(setup, "127.0.0.3")
            setup.plane.tell_change(17)
            assert (await outside.farewell()).sqlstate == "57P01"
            assert await inside.query()
            async with connected(setup, source="127.0.0.2") as again:
                assert (await refusal(again)).error.sqlstate == "28000"
        assert setup.plane.resolves == asked  # the change was all it took

    run(tmp_path, body)


def test_a_login_under_way_is_cut_as_well(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            client.writer.write(StartupMessage({"user": "demo.demo-17"}).build())
            assert await client.reader.readexactly(9)  # asked for the password
            allow(setup, "10.0.0.0/8")
            setup.plane.tell_change(17)
            assert (await client.farewell()).sqlstate == "57P01"

    run(tmp_path, body)


def test_a_deleted_tenants_sessions_end(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            await client.log_in()
            del setup.plane.tenants[17]
            setup.plane.tell_change(17)
            farewell = await client.farewell()
            assert farewell.sqlstate == "57P01"
            assert farewell.message == "terminating connection due to administrator command"
            async with connected(setup) as another:
                assert (await refusal(another)).error.message == "there is no such tenant"

    run(tmp_path, body)


def test_what_was_changed_while_the_stream_was_cut_is_found_out(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            await client.log_in()
            allow(setup, "10.0.0.0/8")
            setup.plane.cut_tenant_streams()
            assert (await client.farewell()).sqlstate == "57P01"

    run(tmp_path, body)


# Guessing passwords


def test_after_three_wrong_passwords_the_next_attempt_has_to_wait(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        for _ in range(3):
            async with connected(setup) as client:
                assert (await refusal(client, password="wrong")).error.sqlstate == "28P01"
        startups, before = len(setup.pod.startups), refused("throttled")
        async with connected(setup) as client:
            error = (await refusal(client)).error  # though the password is right
        assert error.sqlstate == "28000"
        assert error.message == "too many failed login attempts"
        assert error.hint == "Wait 1 s before the next attempt."
        assert refused("throttled") == before + 1
        assert len(setup.pod.startups) == startups  # nobody heard of it
        async with connected(setup, source="127.0.0.2") as elsewhere:
            await elsewhere.log_in()
        await in_the_end(setup)  # half a second, whenever that is over
        for _ in range(2):  # all is forgotten
            async with connected(setup) as client:
                assert (await refusal(client, password="wrong")).error.sqlstate == "28P01"

    run(tmp_path, body)


def test_clients_that_leave_in_the_middle_are_no_guessers(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        for _ in range(5):
            async with connected(setup) as client:
                client.writer.write(StartupMessage({"user": "demo.demo-17"}).build())
                assert await client.reader.readexactly(9)
        async with connected(setup) as client:
            await client.log_in()

    run(tmp_path, body)


def test_who_leaves_in_the_middle_does_not_lock_the_others_out(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        for _ in range(3):
            async with connected(setup) as client:
                assert (await refusal(client, password="wrong")).error.sqlstate == "28P01"
        left = False
        while not left:
            async with connected(setup) as client:
                client.writer.write(StartupMessage({"user": "demo.demo-17"}).build())
                left = (await client.reader.read(1)) == b"R"  # asked for a password: it waits
        await in_the_end(setup)

    run(tmp_path, body)


# Limits


def test_a_tenant_has_as_many_connections_as_it_may(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        setup.plane.settings[17] = TenantSettings(connections_max=2)
        async with connected(setup) as one, connected(setup) as two:
            await one.log_in()
            await two.log_in()
            async with connected(setup) as three:
                error = (await refusal(three)).error
            assert error.sqlstate == "53300"
            assert error.message == 'too many connections for database "demo"'
            setup.plane.settings[17] = TenantSettings(connections_max=3)
            setup.plane.tell_change(17)
            await in_the_end(setup)

    run(tmp_path, body)


def test_a_full_proxy_still_takes_cancel_requests(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            await client.log_in()
            running = asyncio.gather(client.query("sleep"))
            async with connected(setup) as another:
                error = (await refusal(another)).error
                assert error.message == "sorry, too many clients already"
            assert await send_plain(setup, client.key.build()) == b""
            assert b"C57014\0" in (await running)[0]

    run(tmp_path, body, ProxyLimits(connections_max=1))


def test_when_even_the_polite_places_are_taken_one_is_hung_up_on(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        before = hung_up("full")
        silent = await open_socket(setup.port)
        async with connected(setup):
            assert await send_plain(setup, SSL_REQUEST) == b""
        assert hung_up("full") == before + 1
        silent.close()

    run(tmp_path, body, ProxyLimits(connections_max=1, polite_max=1))


def test_polite_places_are_not_held_for_long(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup):
            reader, writer = await asyncio.open_connection("127.0.0.1", setup.port)
            assert error_in(await reader.read()).sqlstate == "57014"
            writer.close()

    run(tmp_path, body, ProxyLimits(connections_max=1, polite_timeout=0.2))


def test_handshakes_of_one_address_are_bounded(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        before = hung_up("handshakes")
        silent = [await open_socket(setup.port) for _ in range(2)]
        assert await send_plain(setup, SSL_REQUEST) == b""
        assert hung_up("handshakes") == before + 1
        async with connected(setup, source="127.0.0.2") as client:
            await client.log_in()
        for each in silent:
            each.close()

    run(tmp_path, body, ProxyLimits(handshakes_per_address_max=2))


def test_sessions_are_no_handshakes(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as one, connected(setup) as two:
            await one.log_in()
            await two.log_in()
            async with connected(setup) as three:
                await three.log_in()

    run(tmp_path, body, ProxyLimits(handshakes_per_address_max=2))


# The slow


def test_a_login_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            client.writer.write(StartupMessage({"user": "demo.demo-17"}).build())
            data = await client.reader.read()
        assert data.startswith(b"R")
        assert error_in(data).sqlstate == "57014"

    run(tmp_path, body, ProxyLimits(login_timeout=0.3))


def test_a_handshake_that_stops_is_ended(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        # TLS has been granted, and then nothing comes: there is nobody to tell anything.
        assert await send_plain(setup, SSL_REQUEST) == b"S"
        async with connected(setup) as client:
            client.writer.write(StartupMessage({"user": "demo.demo-17"}).build()[:-2])
            assert (await client.farewell()).sqlstate == "57014"

    run(tmp_path, body, ProxyLimits(startup_timeout=0.3))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux only")
def test_a_client_that_never_reads_is_ended(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            await client.log_in()
            transport: Any = client.writer.transport
            transport.pause_reading()
            client.writer.write(message(b"Q", b"rows 40000\0"))
            await until(lambda: setup.pod.connections == 0)

    run(tmp_path, body, ProxyLimits(unread_timeout=0.5))


# The rude


@pytest.mark.parametrize("option", ["_pq_.dormouse_link", "_pq_.dormouse_resume"])
def test_options_among_ourselves_are_not_for_clients(tmp_path: Path, option: str) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            startup = StartupMessage(
                {"user": "demo.demo-17"}, 0, {option: "1.00000000." + "0" * 32}
            )
            client.writer.write(startup.build())
            assert (await client.farewell()).sqlstate == "08P01"
        assert setup.pod.startups == []
        async with connected(setup) as client:
            startup = StartupMessage({"user": "demo.demo-17"}, 0, {"_pq_.other": "1"})
            client.writer.write(startup.build() + message(b"p", b"open sesame\0"))
            await client.reader.readuntil(READY)
        assert setup.pod.startups[-1].protocol_options["_pq_.other"] == "1"

    run(tmp_path, body)


def test_a_cancel_requests_connection_ends_when_the_pod_has_it(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        async with connected(setup) as client:
            await client.log_in()
            setup.pod.take_cancels.clear()
            sent = asyncio.gather(send_plain(setup, client.key.build()))
            await setup.pod.cancel_came.wait()
            assert not sent.done()
            setup.pod.take_cancels.set()
            (answer,) = await sent
            assert answer == b""
            guess = CancelRequest(client.key.pid, b"\0\0\0\0")
            assert await send_plain(setup, guess.build()) == b""

    run(tmp_path, body)
