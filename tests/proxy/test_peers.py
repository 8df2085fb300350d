"""Cancel requests that arrive at another proxy than their session's, and who may hand them over."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base.ids import TenantId
from dormouse.base.tls import Identity, Role
from pgwire.startup import CancelRequest, StartupMessage
from proxy import metrics
from proxy.peers import send_request
from tests.proxy.client import connected, send_plain
from tests.proxy.doubles import AUTHORITY, Setup, another_proxy, pod_changes, proxied
from tests.support.waiting import until

Body = Callable[[Setup, Setup], Coroutine[Any, Any, None]]


def run(folder: Path, body: Body, **others: Any) -> None:
    """Two proxies of one installation that know of each other; `others`: settings of both."""

    async def main() -> None:
        async with asyncio.timeout(120), proxied(folder, **others) as one:
            before = pod_changes()
            async with another_proxy(one) as other:
                # Its number, the pods and their end; and the first one has to hear of it.
                await until(lambda: pod_changes() == before + 4)
                await body(one, other)

    uvloop.run(main())


def counted(outcome: str) -> float:
    return float(metrics.CANCELS.labels(outcome)._value.get())


def test_a_cancel_request_works_through_any_proxy(tmp_path: Path) -> None:
    async def body(one: Setup, other: Setup) -> None:
        for home, away in ((one, other), (other, one)):
            async with connected(home) as client:
                await client.log_in()
                running = asyncio.gather(client.query("sleep"))
                here, forwarded = counted("here"), counted("forwarded")
                assert await send_plain(away, client.key.build()) == b""
                assert b"C57014\0" in (await running)[0]
                assert (counted("here"), counted("forwarded")) == (here + 1, forwarded + 1)
                assert await client.query()

    run(tmp_path, body)


def test_the_client_is_let_go_when_the_pod_has_the_request(tmp_path: Path) -> None:
    async def body(one: Setup, other: Setup) -> None:
        async with connected(one) as client:
            await client.log_in()
            one.pod.take_cancels.clear()
            sent = asyncio.gather(send_plain(other, client.key.build()))
            await one.pod.cancel_came.wait()
            assert not sent.done()
            one.pod.take_cancels.set()
            assert (await sent)[0] == b""

    run(tmp_path, body)


def test_a_guessed_key_is_nobodys_wherever_it_is_shown(tmp_path: Path) -> None:
    async def body(one: Setup, other: Setup) -> None:
        async with connected(one) as client:
            await client.log_in()
            before = counted("unknown")
            wrong = bytes(each ^ 1 for each in client.key.secret)
            guess = CancelRequest(client.key.pid, wrong)
            nobodys = CancelRequest(1023 << 20 | 5, client.key.secret)
            for proxy in (one, other):
                for request in (guess, nobodys):
                    assert await send_plain(proxy, request.build()) == b""
            # The forwarded guess is nobody's at its end, once.
            assert counted("unknown") == before + 4
            assert not one.pod.cancel_came.is_set()

    run(tmp_path, body)


def test_a_draining_proxy_still_hears_of_cancels(tmp_path: Path) -> None:
    async def body(one: Setup, other: Setup) -> None:
        async with connected(one) as client:
            await client.log_in()
            assert one.service.drain is not None
            draining = asyncio.gather(one.service.drain())
            running = asyncio.gather(client.query("sleep"))
            await until(lambda: metrics.DRAINING._value.get() == 1)
            await send_plain(other, client.key.build())
            assert b"C57014\0" in (await running)[0]
            client.close()
            await draining

    run(tmp_path, body)


def test_a_proxy_that_is_gone_costs_no_more_than_the_attempt(tmp_path: Path) -> None:
    async def body(one: Setup, other: Setup) -> None:
        async with another_proxy(one) as third, connected(third) as client:
            await client.log_in()
            await one.plane.stop()  # so that nobody hears that it has gone
        assert await send_plain(other, client.key.build()) == b""

    run(tmp_path, body)


def test_without_a_peer_listener_requests_are_of_this_proxy_only(tmp_path: Path) -> None:
    async def body(one: Setup, other: Setup) -> None:
        assert one.service.ready["peer"] == ""
        async with connected(one) as client:
            await client.log_in()
            before = counted("unknown")
            assert await send_plain(other, client.key.build()) == b""
            assert counted("unknown") == before + 1

    run(tmp_path, body, peer_host="")


# Who may hand over


def tls_of(identity: Identity) -> ssl.SSLContext:
    return AUTHORITY.credentials(identity).for_tls_client()


def test_only_proxies_hand_over(tmp_path: Path) -> None:
    async def body(one: Setup, _other: Setup) -> None:
        async with connected(one) as client:
            await client.log_in()
            address = str(one.service.ready["peer"])
            for identity in (
                Identity(role=Role.POD),
                Identity(role=Role.CONTROL),
                Identity(tenant=TenantId(17)),
            ):
                await send_request(address, tls_of(identity), client.key)
                assert not one.pod.cancel_came.is_set()
            stranger = ssl.create_default_context(cafile=str(one.ca))
            with contextlib.suppress(OSError):  # an alert or just the end, as it comes
                await send_request(address, stranger, client.key)
            assert not one.pod.cancel_came.is_set()
            await send_request(address, tls_of(Identity(role=Role.PROXY)), client.key)
            assert one.pod.cancel_came.is_set()

    run(tmp_path, body)


@pytest.mark.parametrize(
    "junk",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff" + bytes(100),
        StartupMessage({"user": "demo"}).build(),
        b"\0\0\0\x08" + b"\x04\xd2\x16\x2f",
    ],
)
def test_peers_that_talk_nonsense_are_hung_up_on(tmp_path: Path, junk: bytes) -> None:
    async def body(one: Setup, _other: Setup) -> None:
        host, _, port = str(one.service.ready["peer"]).rpartition(":")
        reader, writer = await asyncio.open_connection(
            host,
            int(port),
            ssl=tls_of(Identity(role=Role.PROXY)),
            server_hostname=Identity(role=Role.PROXY).server_name,
        )
        writer.write(junk)
        assert await reader.read() == b""
        writer.close()

    run(tmp_path, body)


def test_what_a_peer_hands_over_goes_no_further(tmp_path: Path) -> None:
    async def body(one: Setup, other: Setup) -> None:
        async with connected(one) as client:
            await client.log_in()
            forwarded, unknown = counted("forwarded"), counted("unknown")
            address = str(other.service.ready["peer"])
            await send_request(address, tls_of(Identity(role=Role.PROXY)), client.key)
            assert (counted("forwarded"), counted("unknown")) == (forwarded, unknown + 1)
            assert not one.pod.cancel_came.is_set()

    run(tmp_path, body)
