"""A random walk of everything elasticity does, under clients that check every answer.

Tenants fall asleep and wake, are suspended, pods and roles are killed with -9, proxies and hosts of
pods are rolled. Two kinds of clients watch:

- *quiet* ones are between transactions while something happens, and say something afterwards. Their
  session must be the same one: settings, prepared statements and all, unless its proxy was killed.
- *busy* ones never stop. They may lose a session whose statement was under way, and never get a
  wrong answer: a counter is what it was after the last acknowledged increment, or one more where
  the answer to an increment was lost.

`DORMOUSE_WALK_SEED` repeats a walk, `DORMOUSE_WALK_STEPS` makes it longer.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e

_TENANTS = 3
_QUIET_PER_TENANT = 3
_IDLE_SECONDS = 2
_STEPS = int(os.environ.get("DORMOUSE_WALK_STEPS", "12"))
_NOTICE_SECONDS = 1.0
_LOST = frozenset({"57P01", "57P03", "08006", "08003", "40001", None})
"""What a busy client may be told when its session or statement is lost; None: a bare hang-up."""


@dataclass
class Quiet:
    """A session that is between transactions whenever something happens."""

    url: str
    number: int
    connection: psycopg.Connection[Any] = field(init=False)
    said: int = 0

    def open(self) -> None:
        """A session with something to lose."""
        self.connection = psycopg.connect(self.url, autocommit=True, connect_timeout=30)
        # Everything is set without asking anew: were the session another one, it would show.
        self.connection.execute(f"SET application_name = 'quiet {self.number}'")
        self.connection.execute(f"SET work_mem = '{self.number + 2}MB'")
        self.connection.execute("PREPARE twice (int) AS SELECT $1 * 2, count(*) FROM counters")
        self.pid = self.connection.info.backend_pid

    def speak(self) -> None:
        """The same session answers, rightly."""
        self.said += 1
        cursor = self.connection.execute(f"EXECUTE twice ({self.said})")
        row = cursor.fetchone()
        assert row is not None
        assert row[0] == 2 * self.said
        settings = [
            self.connection.execute(f"SHOW {name}").fetchone()
            for name in ("application_name", "work_mem")
        ]
        assert settings == [(f"quiet {self.number}",), (f"{self.number + 2}MB",)]
        assert self.connection.execute("SELECT pg_backend_pid()").fetchone() == (self.pid,)

    def close(self) -> None:
        """The end of the session."""
        self.connection.close()


@dataclass
class Busy:
    """A client that increments its counter without a pause, and checks it."""

    url: str
    number: int
    stop: threading.Event
    sure: int = 0
    doubtful: bool = False
    """Whether one more increment than `sure` may have been committed."""
    lost: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Until told to stop; what goes wrong is kept for the test."""
        try:
            while not self.stop.is_set():
                self._session()
        except BaseException as error:  # noqa: BLE001 - it fails the test, in its own thread
            self.wrong.append(repr(error))

    def _session(self) -> None:
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=30) as connection:
                while not self.stop.is_set():
                    self._step(connection)
        except psycopg.Error as error:
            if error.sqlstate not in _LOST:
                self.wrong.append(f"{error.sqlstate}: {error}")
            self.lost += 1

    def _step(self, connection: psycopg.Connection[Any]) -> None:
        self._check(connection)
        self.doubtful = True
        connection.execute("UPDATE counters SET n = n + 1 WHERE id = %s", [self.number])
        self.sure, self.doubtful = self.sure + 1, False

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        row = connection.execute("SELECT n FROM counters WHERE id = %s", [self.number]).fetchone()
        value = row[0] if row is not None else None
        allowed = {self.sure, self.sure + 1} if self.doubtful else {self.sure}
        if value not in allowed:
            self.wrong.append(f"counter {self.number} is {value}, not {sorted(allowed)}")
        self.sure, self.doubtful = value or 0, False


class Walk:
    """The walk itself: what may happen, and what is checked after each step."""

    def __init__(self, running: OwnGateway, seed: int) -> None:
        self.running = running
        self.chance = random.Random(seed)
        self.tenants = [running.create_tenant(f"walk{number}") for number in range(_TENANTS)]
        self.stop = threading.Event()
        self.quiet: list[Quiet] = []
        self.busy: list[Busy] = []
        for tenant in self.tenants:
            url = tenant["connection_url"]
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL)")
                connection.execute("INSERT INTO counters SELECT n, 0 FROM generate_series(1, 9) n")
            self.quiet += [Quiet(url, number) for number in range(_QUIET_PER_TENANT)]
        # The last tenant has no busy client: it may sleep.
        self.busy += [Busy(each["connection_url"], 1, self.stop) for each in self.tenants[:-1]]

    def run(self, steps: int) -> list[str]:
        """The names of what happened."""
        for quiet in self.quiet:
            quiet.open()
        threads = [threading.Thread(target=busy.run) for busy in self.busy]
        for thread in threads:
            thread.start()
        happened = []
        try:
            for _ in range(steps):
                happened.append(self._step())
                self._listen(happened)
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(90)
        assert not any(thread.is_alive() for thread in threads)
        for quiet in self.quiet:
            quiet.close()
        return happened

    def _step(self) -> str:
        happen = self.chance.choice(
            [
                self.sleep,
                self.suspend,
                self.kill_pod,
                self.kill_pod,
                self.kill_autoscaler,
                self.kill_proxy,
                self.roll_proxy,
                self.roll_pods,
            ]
        )
        happen()
        return happen.__name__

    def _listen(self, happened: list[str]) -> None:
        for quiet in self.quiet:
            if happened[-1] == "kill_proxy":
                quiet.close()
                quiet.open()
            try:
                quiet.speak()
            except psycopg.Error as error:
                raise AssertionError(f"a quiet session was lost after {happened}") from error
        assert [busy.wrong for busy in self.busy] == [[] for _ in self.busy], happened

    # What happens

    def sleep(self) -> None:
        """The last tenant falls asleep under its connected clients."""
        number = self.tenants[-1]["id"]
        wait_for(
            lambda: self.running.tenant(number)["state"] == "asleep",
            seconds=60,
            what="a tenant with connected clients to sleep",
        )

    def suspend(self) -> None:
        """Somebody is put to sleep at once."""
        self.running.suspend(self.chance.choice(self.tenants)["id"])

    def kill_pod(self) -> None:
        """A pod, whosever it is."""
        host = psutil.Process(int(self.running.roles()["podhost"]["pid"]))
        pods = host.children()
        if pods:
            pod = self.chance.choice(pods)
            pod.send_signal(signal.SIGKILL)
            psutil.wait_procs([pod], timeout=10)
            # What is sent before the proxy has read the end of the pod's stream is lost with it.
            threading.Event().wait(_NOTICE_SECONDS)

    def kill_autoscaler(self) -> None:
        """No wakes until it is back."""
        self.running.kill_role("autoscaler")

    def kill_proxy(self) -> None:
        """All its clients have to come again."""
        self.running.kill_role("proxy")

    def roll_proxy(self) -> None:
        """Old connections stay with the old one."""
        self._upgrade("proxy")

    def roll_pods(self) -> None:
        """Every pod is replaced by one of a new host."""
        self._upgrade("podhost")

    def _upgrade(self, role: str) -> None:
        command = [sys.executable, "-m", "dormouse.cli.main", "upgrade", "--role", role]
        done = subprocess.run(
            [*command, "--data", str(self.running.folder)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_random_walk_loses_no_quiet_session_and_gives_no_wrong_answer(tmp_path: Path) -> None:
    seed = int(os.environ.get("DORMOUSE_WALK_SEED", str(random.randrange(2**32))))
    print(f"DORMOUSE_WALK_SEED={seed}")
    allowed = (r"role \w+ died", r"pod crashed", r"runtime lost", r"the pod ended at once")
    with gateway(tmp_path, idle_timeout=_IDLE_SECONDS, allowed=allowed) as running:
        walk = Walk(running, seed)
        happened = walk.run(_STEPS)
        print(", ".join(happened), [(busy.sure, busy.lost) for busy in walk.busy])
        assert all(busy.sure > 0 for busy in walk.busy)
        alive = psutil.Process(running.process.pid).children(recursive=True)
        assert running.stop() == 0
        _, orphans = psutil.wait_procs(alive, timeout=10)
        assert orphans == []
