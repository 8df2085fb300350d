"""The listener for load balancers: the address the header tells is the client's, everywhere."""

import asyncio
import struct
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base import config
from pgwire.startup import SSL_REQUEST, StartupMessage
from proto.control_pb2 import TenantSettings
from proxy import metrics
from proxy.config import ProxyLimits, ProxyProtocolSettings, ProxySettings
from proxy.proxyprotocol import SIGNATURE
from tests.proxy.client import Refused, connected, error_in, open_socket
from tests.proxy.doubles import Setup, proxied
from tests.support.waiting import until

Body = Callable[[Setup], Coroutine[Any, Any, None]]

V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 5432\r\n"
V2 = SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 12 + 3) + bytes([203, 0, 113, 7]) + bytes(8 + 3)
LOCAL = SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)
UNKNOWN = b"PROXY UNKNOWN\r\n"


def run(folder: Path, body: Body, limits: ProxyLimits | None = None) -> None:
    async def main() -> None:
        behind = ProxyProtocolSettings(trusted_networks=("127.0.0.1/32",), port=0)
        async with asyncio.timeout(60), proxied(folder, limits, proxy_protocol=behind) as setup:
            await body(setup)

    uvloop.run(main())


def hung_up(reason: str) -> float:
    return float(metrics.HUNG_UP.labels(reason)._value.get())


async def answer_to(setup: Setup, *pieces: bytes, source: str = "127.0.0.1") -> bytes:
    """All that comes back; nothing where the connection is reset."""
    plain = await open_socket(setup.port_of("proxy_protocol"), source)
    reader, writer = await asyncio.open_connection(sock=plain)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_the_address_in_the_header_is_the_clients(tmp_path: Path, header: bytes) -> None:
    async def body(setup: Setup) -> None:
        setup.plane.settings[17] = TenantSettings(allowed_networks=["203.0.113.0/24"])
        port = setup.port_of("proxy_protocol")
        async with connected(setup, port=port, header=header) as client:
            await client.log_in()
            assert await client.query()
            setup.plane.settings[17] = TenantSettings(allowed_networks=["127.0.0.0/8"])
            setup.plane.tell_change(17)
            assert (await client.farewell()).sqlstate == "57P01"
        async with connected(setup, port=port, header=header) as client:
            with pytest.raises(Refused, match=r"203\.0\.113\.7"):
                await client.log_in()
        async with connected(setup) as direct:
            await direct.log_in()

    run(tmp_path, body)


@pytest.mark.parametrize("header", [LOCAL, UNKNOWN], ids=["local", "unknown"])
def test_where_the_header_names_nobody_the_balancer_is_the_client(
    tmp_path: Path, header: bytes
) -> None:
    async def body(setup: Setup) -> None:
        port = setup.port_of("proxy_protocol")
        async with connected(setup, port=port, header=header) as client:
            await client.log_in()
            setup.plane.settings[17] = TenantSettings(allowed_networks=["203.0.113.0/24"])
            setup.plane.tell_change(17)
            assert (await client.farewell()).sqlstate == "57P01"
        async with connected(setup, port=port, header=header) as client:
            with pytest.raises(Refused, match=r"127\.0\.0\.1"):
                await client.log_in()

    run(tmp_path, body)


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
def test_a_header_may_come_byte_by_byte_and_with_what_follows_it(
    tmp_path: Path, header: bytes
) -> None:
    async def body(setup: Setup) -> None:
        in_the_clear = StartupMessage({"user": "demo.demo-17"}).build()
        whole = header + in_the_clear
        bytewise = [whole[at : at + 1] for at in range(len(whole))]
        for pieces in (bytewise, [whole]):
            assert error_in(await answer_to(setup, *pieces)).sqlstate == "28000"
        no_tls = (header + SSL_REQUEST[:3], SSL_REQUEST[3:], b"nonsense" * 3)
        assert (await answer_to(setup, *no_tls))[:1] == b"S"

    run(tmp_path, body)


def test_guesses_are_counted_by_the_address_in_the_header(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        port = setup.port_of("proxy_protocol")
        for _ in range(3):
            async with connected(setup, port=port, header=V1) as client:
                with pytest.raises(Refused, match="28P01"):
                    await client.log_in(password="wrong")
        async with connected(setup, port=port, header=V2) as client:
            with pytest.raises(Refused, match="too many failed login attempts"):
                await client.log_in()
        other = V1.replace(b"203.0.113.7", b"203.0.113.8")
        async with connected(setup, port=port, header=other) as client:
            await client.log_in()

    run(tmp_path, body)


@pytest.mark.parametrize(
    "junk", [SSL_REQUEST, b"PROXY TCP4 1 2 3 4\r\n", SIGNATURE + b"\x31\x11\0\0", b"\x16\x03\x01"]
)
def test_without_a_header_nothing_is_answered(tmp_path: Path, junk: bytes) -> None:
    async def body(setup: Setup) -> None:
        before = hung_up("header_bad")
        assert await answer_to(setup, junk) == b""
        assert hung_up("header_bad") == before + 1

    run(tmp_path, body)


def test_a_header_from_somebody_else_is_not_read(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        before = hung_up("untrusted")
        assert await answer_to(setup, V1 + SSL_REQUEST, source="127.0.0.2") == b""
        assert hung_up("untrusted") == before + 1

    run(tmp_path, body)


def test_a_header_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        before = hung_up("header_late")
        assert await answer_to(setup, V1[:-1]) == b""
        assert hung_up("header_late") == before + 1

    run(tmp_path, body, ProxyLimits(proxy_header_timeout=0.2))


def test_a_balancers_look_at_the_port_costs_nothing(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        before = hung_up("header_bad"), hung_up("header_late")
        for header in (b"", LOCAL):
            plain = await open_socket(setup.port_of("proxy_protocol"))
            plain.send(header)
            plain.close()
        async with connected(setup) as client:
            await client.log_in()
        assert (hung_up("header_bad"), hung_up("header_late")) == before

    run(tmp_path, body)


def test_a_header_on_the_other_listener_is_a_protocol_violation(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", setup.port)
        writer.write(V1)
        assert error_in(await reader.read()).sqlstate == "08P01"
        writer.close()

    run(tmp_path, body)


def test_its_settings_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "proxy.json"
    behind = ProxyProtocolSettings(trusted_networks=("10.0.0.0/8", "fd00::/8"), listen_fds=(7, 8))
    for proxy_protocol in (None, behind):
        settings = ProxySettings(
            certs=tmp_path,
            control_address="a:1",
            autoscaler_address="b:2",
            proxy_protocol=proxy_protocol,
        )
        config.dump(settings, file)
        assert config.load(ProxySettings, file) == settings


def test_by_default_there_is_no_such_listener(tmp_path: Path) -> None:
    async def main() -> None:
        async with proxied(tmp_path) as setup:
            assert "proxy_protocol" not in setup.service.ready

    uvloop.run(main())


def test_a_balanced_connection_counts_until_it_is_gone(tmp_path: Path) -> None:
    async def body(setup: Setup) -> None:
        gauge = metrics.CONNECTIONS._value
        before = gauge.get()
        plain = await open_socket(setup.port_of("proxy_protocol"))
        plain.send(V1[:5])
        await until(lambda: gauge.get() == before + 1)
        plain.close()
        await until(lambda: gauge.get() == before)

    run(tmp_path, body)
