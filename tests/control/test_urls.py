"""Connection URLs, given as they stand to four real clients against a real TLS listener.

The listener checks nothing: it answers the client's startup message with an error that repeats the
names it was told, and a client that got so far has verified the certificate.
"""

import asyncio
import json
import shutil
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import psycopg
import pytest

from control.authority import Authority
from control.registry import Tenant
from control.settings import Settings
from control.urls import Endpoint, connection_url, connection_url_sni
from dormouse.base.clock import SystemClock
from dormouse.base.ids import TenantId
from dormouse.base.tls import Credentials
from dormouse.cli.sockets import listen

_CLIENTS = Path(__file__).parent.parent / "clients"
_PASSWORD = "p-_w"
_TENANT = Tenant(
    id=TenantId(17),
    name="my-shop",
    owner="owner",
    database="my-shop",
    scram_verifier="",
    sealed_session_key=b"",
    created_ns=0,
    settings=Settings(connections_max=1),
    version=1,
)
_SSL_REQUEST = 80877103


class _Echo:
    """Speaks just enough PostgreSQL to hear who is calling; `heard` has server names, too."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.heard: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: self.heard.append(name)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            parameters = await self._startup(reader, writer)
            text = f"{parameters['user']} at {parameters['database']}"
            body = f"SFATAL\0VFATAL\0C28000\0M{text}\0\0".encode()
            writer.write(b"E" + struct.pack("!I", len(body) + 4) + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # a client that gave up; its own error is what the test sees
        finally:
            writer.close()

    async def _startup(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> dict[str, str]:
        while True:
            length, code = struct.unpack("!II", await reader.readexactly(8))
            rest = await reader.readexactly(length - 8)
            if code == _SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(self._context)
                continue
            words = rest.decode().split("\0")
            return dict(zip(words[::2], words[1::2], strict=False))


@contextmanager
def _echo(folder: Path) -> Iterator[tuple[Endpoint, _Echo]]:
    authority = Authority.open(folder / "authority", SystemClock())
    names = ["localhost", "dormouse.localhost", "*.dormouse.localhost"]
    authority.ensure_sql(folder, names, ["127.0.0.1", "::1"])
    echo = _Echo(Credentials.read(folder, "sql").for_tls_server(mutual=False))
    sockets = listen(0, "--sql-port")
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        servers = [await asyncio.start_server(echo.serve, sock=each) for each in sockets]
        await stop.wait()
        for server in servers:
            server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    endpoint = Endpoint(
        host="localhost",
        port=sockets[0].getsockname()[1],
        domain="dormouse.localhost",
        ca_file=folder / "ca.crt",
        host_address="127.0.0.1",
    )
    thread.start()
    try:
        yield endpoint, echo
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def _psycopg(url: str) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(url)
    return str(caught.value)


def _asyncpg(url: str) -> str:
    async def connect() -> None:
        await asyncpg.connect(url)

    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError) as caught:
        asyncio.run(connect())
    return str(caught.value)


def _psql(url: str) -> str:
    return subprocess.run(
        ["psql", url, "-c", ""], capture_output=True, text=True, check=False, timeout=60
    ).stderr


def _node(url: str) -> str:
    script = """
      const { Client } = require('pg')
      const client = new Client(JSON.parse(process.argv[1]))
      client.on('error', () => {})
      client.connect().then(() => console.log('connected'), (e) => console.log(e.message))
    """
    return subprocess.run(
        ["node", "-e", script, json.dumps(url)],
        capture_output=True,
        text=True,
        check=True,
        cwd=_CLIENTS,
        timeout=60,
    ).stdout


_needs_psql = pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
_needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (_CLIENTS / "node_modules" / "pg").exists(),
    reason="node-postgres is not installed",
)


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(_psycopg, id="psycopg"),
        pytest.param(_asyncpg, id="asyncpg"),
        pytest.param(_psql, id="psql", marks=_needs_psql),
        pytest.param(_node, id="node-postgres", marks=_needs_node),
    ],
)
def test_the_url_works_as_it_stands(tmp_path: Path, client: Callable[[str], str]) -> None:
    with _echo(tmp_path) as (endpoint, _):
        text = client(connection_url(endpoint, _TENANT, _PASSWORD))
    assert "owner.my-shop-17 at my-shop" in text


@pytest.mark.parametrize(
    "client",
    [pytest.param(_psycopg, id="psycopg"), pytest.param(_psql, id="psql", marks=_needs_psql)],
)
def test_the_url_with_the_tenant_in_the_host(tmp_path: Path, client: Callable[[str], str]) -> None:
    with _echo(tmp_path) as (endpoint, echo):
        text = client(connection_url_sni(endpoint, _TENANT, _PASSWORD))
    assert "owner at my-shop" in text
    assert echo.heard == ["my-shop-17.dormouse.localhost"]


def test_a_public_authority_needs_no_file() -> None:
    endpoint = Endpoint(
        host="sql.example.org", port=5432, domain="example.org", ca_file=None, host_address=None
    )
    assert connection_url_sni(endpoint, _TENANT, _PASSWORD) == (
        "postgresql://owner:p-_w@my-shop-17.example.org:5432/my-shop?sslmode=verify-full"
    )


def test_a_folder_with_a_strange_name_stays_one_parameter() -> None:
    endpoint = Endpoint(
        host="localhost", port=1, domain="d", ca_file=Path("/a b/&c=/ca.crt"), host_address=None
    )
    url = connection_url(endpoint, _TENANT, _PASSWORD)
    assert psycopg.conninfo.conninfo_to_dict(url)["sslrootcert"] == "/a b/&c=/ca.crt"
