"""`dormouse upgrade` under clients that work: nobody is refused, nothing fails, all code is new."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for
from dormouse.cli.protocol import INSTALLED
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e

_ROLLED = ("control", "autoscaler", "podhost", "proxy")


def upgrade(running: OwnGateway, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dormouse.cli.main", "upgrade", "--json"),
            *("--data", str(running.folder), *arguments),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == code, done.stdout + done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def retiring(running: OwnGateway, role: str) -> list[dict[str, Any]]:
    status = json.loads((running.folder / "run" / "status.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = status["roles"][role]["retiring"]
    return found


class Client(threading.Thread):
    """Does one thing again and again until it is told to stop, and keeps what went wrong."""

    def __init__(self, name: str, work: Callable[[int], None]) -> None:
        super().__init__(name=name)
        self.rounds = 0
        self.failure: BaseException | None = None
        self.slowest = 0.0
        self._work = work
        self._ending = threading.Event()

    def run(self) -> None:
        while self.failure is None and not self._ending.wait(0.005):
            started = time.monotonic()
            try:
                self._work(self.rounds)
            except Exception as error:  # noqa: BLE001 - told by `finish`
                self.failure = error
            self.rounds += 1
            self.slowest = max(self.slowest, time.monotonic() - started)

    def goes_on(self, rounds: int) -> None:
        """Wait until it has done some more."""
        goal = self.rounds + rounds
        wait_for(
            lambda: self.failure is not None or self.rounds >= goal, seconds=60, what=self.name
        )

    def finish(self) -> None:
        self._ending.set()
        self.join(60)
        if self.failure is not None:
            raise AssertionError(f"{self.name}, round {self.rounds}") from self.failure


@contextmanager
def working(*clients: Client) -> Iterator[None]:
    for client in clients:
        client.start()
    try:
        for client in clients:
            client.goes_on(5)
        yield
        for client in clients:
            client.goes_on(20)
    finally:
        for client in clients:
            client._ending.set()
    for client in clients:
        client.finish()


def test_an_upgrade_is_not_noticed(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        url = running.create_tenant("shop")["connection_url"]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE counted (n int PRIMARY KEY)")
            connection.execute("SET application_name = 'steady'")

            def query(number: int) -> None:
                row = connection.execute(
                    "SELECT current_setting('application_name'), %s::int + 1",
                    (number,),
                    prepare=True,
                ).fetchone()
                assert row == ("steady", number + 1)
                connection.execute("INSERT INTO counted VALUES (%s)", (number,))

            def connect(number: int) -> None:
                with psycopg.connect(url, connect_timeout=30) as fresh:
                    assert fresh.execute("SELECT %s::int", (number,)).fetchone() == (number,)

            def call(_number: int) -> None:
                assert running.request("GET", "/v1/tenants").status_code == 200

            steady = Client("steady", query)
            before = running.roles()
            hosts = {before["podhost"]["pid"]}
            with working(steady, Client("connecting", connect), Client("calling", call)):
                answer = upgrade(running)
                # The session goes on at the old proxy, but its pod is of the new generation.
                wait_for(
                    lambda: not retiring(running, "podhost"), seconds=60, what="the old pods' end"
                )
            assert answer["ok"]
            assert [each["role"] for each in answer["roles"]] == list(_ROLLED)
            after = running.roles()
            assert all(after[role]["pid"] != before[role]["pid"] for role in _ROLLED)
            assert after["storage"] == before["storage"]
            assert all(role["restarts"] == 0 for role in after.values())
            assert not any(psutil.pid_exists(pid) for pid in hosts)
            (draining,) = retiring(running, "proxy")
            assert draining["pid"] == before["proxy"]["pid"]
            count = connection.execute("SELECT count(*) FROM counted").fetchone()
            assert count == (steady.rounds,)
        wait_for(lambda: not retiring(running, "proxy"), seconds=60, what="the old proxy's end")
        assert upgrade(running, "--role", "proxy", "--wait")["draining"] == []


def test_a_hangup_is_an_upgrade(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        before = {name: role["pid"] for name, role in running.roles().items()}
        running.process.send_signal(signal.SIGHUP)

        def succeeded() -> bool:
            roles = json.loads((running.folder / "run" / "status.json").read_text())["roles"]
            fresh = {name for name, role in roles.items() if role["pid"] != before[name]}
            return fresh == set(_ROLLED) and not any(role["retiring"] for role in roles.values())

        wait_for(succeeded, seconds=60, what="the new generation, and the end of the old one")
        url = running.create_tenant("shop")["connection_url"]
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_storage_goes_only_where_it_is_asked_for(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        url = with_a_row(running)
        before = running.roles()["storage"]["pid"]
        answer = upgrade(running, "--role", "storage", "--storage")
        assert [each["role"] for each in answer["roles"]] == ["storage"]
        assert running.roles()["storage"]["pid"] != before
        the_row_is_there(url)


def test_another_protocol_is_not_installed_without_storage(tmp_path: Path) -> None:
    """All processes of the gateway speak what a file says when they start."""
    installed = tmp_path / "installed"
    installed.write_text(f"{INSTALLED - 1}")
    (tmp_path / "sitecustomize.py").write_text(
        f"from proto import kv_pb2\nkv_pb2.PROTOCOL_VERSION = int(open({str(installed)!r}).read())"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    refused = r"upgrade failed.*the installed pods speak"
    with gateway(tmp_path, environment={"PYTHONPATH": path}, allowed=[refused]) as running:
        url = with_a_row(running)
        installed.write_text(f"{INSTALLED}")
        before = running.roles()
        for arguments in ((), ("--role", "podhost"), ("--role", "storage", "--storage")):
            answer = upgrade(running, *arguments, code=1)
            assert (answer["ok"], answer["roles"]) == (False, [])
            assert f"version {INSTALLED - 1}, so no database could be used" in answer["reason"]
        running.process.send_signal(signal.SIGHUP)
        log = running.folder / "logs" / "supervisor.log"
        wait_for(lambda: "upgrade failed" in log.read_text(), seconds=60, what="the refusal")
        assert running.roles() == before
        the_row_is_there(url)
        answer = upgrade(running, "--storage")
        assert [each["role"] for each in answer["roles"]] == ["storage", *_ROLLED]
        the_row_is_there(url)


def with_a_row(running: OwnGateway) -> str:
    """The address of a new tenant that has a table with a row."""
    url: str = running.create_tenant("shop")["connection_url"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
    return url


def the_row_is_there(url: str) -> None:
    """What is promised: for a moment statements may fail, and may be retried."""

    def kept() -> tuple[int] | None:
        try:
            with psycopg.connect(url) as connection:
                return connection.execute("SELECT n FROM kept").fetchone()
        except (psycopg.errors.SerializationFailure, psycopg.errors.CannotConnectNow):
            return None

    assert wait_for(kept, seconds=60, what="storage to be reached again") == (1,)
