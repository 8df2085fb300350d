"""The authority is rotated while sessions run: none is dropped, new ones are let in throughout."""

import json
import shutil
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for
from dormouse.base.tls import Credentials, Identity, Role
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e
SESSIONS = 6
_REFUSED = "CERTIFICATE_VERIFY_FAILED"
"""What gRPC writes when somebody with a certificate of the old authority is turned away."""


class Load:
    """Sessions that ask something all the time, and newcomers; what failed is kept."""

    def __init__(self, urls: list[str]) -> None:
        self.failures: list[str] = []
        self.answers = 0
        self.logins = 0
        self._stop = threading.Event()
        self._threads = [
            *(threading.Thread(target=self._session, args=(url,)) for url in urls * SESSIONS),
            *(threading.Thread(target=self._newcomers, args=(url,)) for url in urls),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _session(self, url: str) -> None:
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=20) as connection:
                mine = connection.execute("SELECT pg_backend_pid()").fetchone()
                while not self._stop.is_set():
                    connection.execute("BEGIN")
                    connection.execute("INSERT INTO t VALUES ('x')")
                    connection.execute("COMMIT")
                    self.answers += 1
                    time.sleep(0.02)
                if connection.execute("SELECT pg_backend_pid()").fetchone() != mine:
                    self.failures.append("a session is another one now")
        except psycopg.Error as error:
            self.failures.append(f"session: {error}")

    def _newcomers(self, url: str) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(url, connect_timeout=20) as connection:
                    connection.execute("SELECT 1")
                self.logins += 1
            except psycopg.Error as error:
                self.failures.append(f"newcomer: {error}")
            time.sleep(0.05)


def rotate(running: OwnGateway, clients_after_seconds: int) -> int:
    body = {"clients_after_seconds": clients_after_seconds}
    return int(running.call("POST", "/v1/authority/rotate", json=body)["id"])


def until_rotated(running: OwnGateway, operation: int) -> None:
    def is_over() -> bool:
        found = running.call("GET", f"/v1/operations/{operation}")
        return bool(found["status"] == "succeeded")

    wait_for(is_over, seconds=120, what="the end of the rotation")


def is_taken(credentials: Credentials, address: str, name: str) -> bool:
    """Whether whoever listens there talks to the holder of these."""
    host, _, port = address.rpartition(":")
    context = credentials.for_tls_client()
    # What is asked is whether we are trusted; whom we trust is another matter.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection((host, int(port)), timeout=20) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name) as secure:
                secure.settimeout(20)
                return bool(secure.recv(1))  # the server's settings frame, or its refusal
        except (ssl.SSLError, ConnectionError):
            return False


def storage_address(running: OwnGateway) -> tuple[str, str]:
    settings = json.loads((running.folder / "run" / "storage.json").read_text())
    return f"127.0.0.1:{settings['port']}", Identity(role=Role.STORAGE).server_name


def test_nobody_notices_a_rotation_and_the_old_authority_is_refused_after_it(
    tmp_path: Path,
) -> None:
    with gateway(tmp_path, allowed=(_REFUSED,)) as running:
        tenants: list[dict[str, Any]] = [running.create_tenant(name) for name in ("ann", "bob")]
        urls = [tenant["connection_url"] for tenant in tenants]
        for url in urls:
            with psycopg.connect(url, autocommit=True, connect_timeout=20) as connection:
                connection.execute("CREATE TABLE t (b text)")
        before = Credentials.read(running.folder / "certificates", "control")
        copy = tmp_path / "copy-of-ca.crt"
        shutil.copy(running.folder / "ca.crt", copy)
        storage = storage_address(running)
        assert is_taken(before, *storage)
        load = Load(urls)
        load.start()
        try:
            operation = rotate(running, clients_after_seconds=3600)

            def clients_are_next() -> bool:
                found = running.call("GET", "/v1/authority")["rotation"]
                return bool(found["phase"] == "retired")

            wait_for(clients_are_next, seconds=90, what="the phase before the last")
            for url in urls:  # a client that has not fetched the new file yet
                old_copy = psycopg.conninfo.make_conninfo(url, sslrootcert=str(copy))
                psycopg.connect(old_copy, connect_timeout=20).close()
            assert rotate(running, clients_after_seconds=0) == operation
            until_rotated(running, operation)
            wait_for(lambda: not is_taken(before, *storage), seconds=30, what="a refusal")
            newest = Credentials.read(running.folder / "certificates", "control")
            assert is_taken(newest, *storage)
            # A tenant that sleeps is woken under the new authority alone.
            woken = running.create_tenant("carl")["connection_url"]
            psycopg.connect(woken, connect_timeout=20).close()
        finally:
            load.stop()
        assert load.failures == []
        assert load.answers > 100
        assert load.logins > 10
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(psycopg.conninfo.make_conninfo(urls[0], sslrootcert=str(copy)))
