"""The pod host over its real socket: births, deaths, limits, a new autoscaler, the end."""

import asyncio
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio
import pytest

from dormouse.base.frames import FrameReader, encode
from proto import pod_pb2, pod_pb2_grpc
from proto.podhost_pb2 import ForkPod, HostCommand, HostEvent, KillPod, PodStarted, Retire
from sqlnode.priority import may_return_from
from tests.sqlnode.toy_podhost import NICE, OOM_SCORE


class Peer:
    """An autoscaler's end of the socket."""

    def __init__(self, path: Path) -> None:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
        self._reader = FrameReader()
        self._events: list[HostEvent] = []

    def send(self, command: HostCommand) -> None:
        self._socket.sendall(encode(command.SerializeToString()))

    def fork(self, ticket: int, *, urgent: bool = False) -> None:
        self.send(HostCommand(fork=ForkPod(ticket=ticket, urgent=urgent)))

    def next(self) -> HostEvent:
        while not self._events:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError
            self._events += [HostEvent.FromString(each) for each in self._reader.feed(data)]
        return self._events.pop(0)

    def started(self) -> PodStarted:
        event = self.next()
        assert event.HasField("started"), event
        return event.started

    def send_raw(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()


class Host:
    """A toy host in a process of its own."""

    def __init__(self, path: Path, process: "subprocess.Popen[str]") -> None:
        self.path = path
        self.process = process
        self._peers: list[Peer] = []

    def connect(self) -> Peer:
        self._peers.append(Peer(self.path))
        return self._peers[-1]

    def close(self) -> None:
        self.process.kill()
        for peer in self._peers:
            peer.close()


@contextmanager
def toy_host(path: Path, word: str, *limits: str) -> Iterator[Host]:
    command = [sys.executable, "-m", "tests.sqlnode.toy_podhost", str(path), word, *limits]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host = Host(path, process)
        try:
            assert process.stdout.readline() == "ready\n"
            yield host
        finally:
            host.close()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("never came true")


def test_a_forked_pod_is_announced_and_its_death_too(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        peer = host.connect()
        assert peer.next().hello.protocol_version == 1
        peer.fork(7)
        started = peer.started()
        assert started.ticket == 7
        assert started.control_address == f"127.0.0.1:{started.pid}"
        peer.send(HostCommand(kill=KillPod(pid=started.pid)))
        ended = peer.next().ended
        assert (ended.pid, ended.status) == (started.pid, -signal.SIGKILL)


def test_a_foreign_pid_is_not_killed(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        bystander = subprocess.Popen(["sleep", "60"])
        try:
            peer = host.connect()
            peer.next()
            peer.send(HostCommand(kill=KillPod(pid=bystander.pid)))
            peer.fork(1)
            peer.started()
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()


def test_socket_is_private_and_its_path_may_be_long(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    with toy_host(folder / "host.sock", "sleeper") as host:
        mode = (folder / "host.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert host.connect().next().HasField("hello")


def test_a_pod_inherits_no_descriptor_and_leads_its_group(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "curious") as host:
        peer = host.connect()
        peer.next()
        for ticket in (1, 2):
            peer.fork(ticket)
        first, second = (peer.started().control_address.split(":") for _ in range(2))
        # Standard input, output and error, and the descriptor it reports on.
        assert first[:2] == ["4", "1"]
        assert first[2] != second[2], "both pods draw the same random numbers"


def test_a_warm_pod_is_nicer_until_it_is_told_and_dies_early(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "nice") as host:
        peer = host.connect()
        peer.next()
        peer.fork(1)
        before, after, score = peer.started().control_address.split(":")
        normal = os.getpriority(os.PRIO_PROCESS, host.process.pid)
        lowered = normal + (NICE if may_return_from(NICE) else 0)
        assert before == f"{lowered},{lowered}"
        assert after == f"{normal},{normal}"
        assert int(score) >= OOM_SCORE
        peer.fork(2, urgent=True)
        assert peer.started().control_address.split(":")[:2] == [after, after]


@pytest.mark.parametrize(
    ("word", "reason"),
    [("failing", "status 1"), ("silent", "status -9")],
)
def test_a_pod_that_never_answers_is_a_failed_fork(tmp_path: Path, word: str, reason: str) -> None:
    with toy_host(tmp_path / "s", word, "8", "0.3") as host:
        peer = host.connect()
        peer.next()
        peer.fork(3)
        failed = peer.next().failed
        assert failed.ticket == 3
        assert reason in failed.reason


def test_a_pod_that_ends_at_once_was_started_first(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "quick") as host:
        peer = host.connect()
        peer.next()
        for ticket in range(1, 6):
            peer.fork(ticket)
            pid = peer.started().pid
            ended = peer.next().ended
            assert (ended.pid, ended.status) == (pid, 0)


def test_pods_are_limited(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper", "2") as host:
        peer = host.connect()
        peer.next()
        for ticket in (1, 2, 3):
            peer.fork(ticket)
        events = [peer.next() for _ in range(3)]
        failed = [event.failed for event in events if event.HasField("failed")]
        assert [(each.ticket, each.reason) for each in failed] == [(3, "pod limit reached")]


def test_a_new_autoscaler_takes_over_the_living(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        first = host.connect()
        first.next()
        first.fork(1)
        pid = first.started().pid
        second = host.connect()
        hello = second.next().hello
        assert [(pod.pid, pod.ticket) for pod in hello.living] == [(pid, 0)]
        with pytest.raises((EOFError, ConnectionError)):
            first.next()


def test_nonsense_ends_the_connection_and_nothing_else(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        first = host.connect()
        first.next()
        first.fork(1)
        pid = first.started().pid
        first.send_raw(b"\xff" * 8)
        with pytest.raises((EOFError, ConnectionError)):
            first.next()
        assert [pod.pid for pod in host.connect().next().hello.living] == [pid]


def test_a_retired_host_forks_no_more_and_ends_with_its_last_pod(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        peer = host.connect()
        hello = peer.next().hello
        assert (hello.generation, hello.retired) == (5, False)
        for ticket in (1, 2):
            peer.fork(ticket)
        pids = [peer.started().pid for _ in range(2)]
        for _ in range(2):  # asked twice, it is told twice
            peer.send(HostCommand(retire=Retire()))
            hello = peer.next().hello
            assert hello.retired
            assert sorted(pod.pid for pod in hello.living) == sorted(pids)
        peer.fork(3)
        assert peer.next().failed.reason == "host is ending"
        os.kill(pids[0], signal.SIGTERM)
        assert peer.next().ended.pid == pids[0]
        later = host.connect()
        hello = later.next().hello
        assert hello.retired
        assert [pod.pid for pod in hello.living] == pids[1:]
        later.send(HostCommand(kill=KillPod(pid=pids[1])))
        assert later.next().ended.pid == pids[1]
        assert host.process.wait(20) == 0


def test_a_retired_host_without_pods_ends_at_once(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        host.connect().send(HostCommand(retire=Retire()))
        assert host.process.wait(20) == 0


def test_a_pod_under_way_is_awaited_by_its_retired_host(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "slow") as host:
        peer = host.connect()
        peer.next()
        peer.fork(4)
        peer.send(HostCommand(retire=Retire()))
        assert list(peer.next().hello.living) == []
        assert peer.started().ticket == 4
        assert host.process.poll() is None


def test_sigterm_ends_a_retired_host_at_once(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        peer = host.connect()
        peer.next()
        peer.fork(1)
        pid = peer.started().pid
        peer.send(HostCommand(retire=Retire()))
        assert peer.next().hello.retired
        host.process.send_signal(signal.SIGTERM)
        assert host.process.wait(20) == 0
        assert gone(pid)


def test_a_socket_has_its_name_only_once_it_listens(tmp_path: Path) -> None:
    path = tmp_path / "podhost-3.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # by a host that was killed
    with toy_host(path, "sleeper") as host:
        assert host.connect().next().HasField("hello")
        assert [each.name for each in tmp_path.iterdir()] == ["podhost-3.sock"]


def test_sigterm_ends_the_pods_and_then_the_host(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "sleeper") as host:
        peer = host.connect()
        peer.next()
        peer.fork(1)
        pid = peer.started().pid
        host.process.send_signal(signal.SIGTERM)
        assert peer.next().ended.status == -signal.SIGTERM
        assert host.process.wait(20) == 0
        assert gone(pid)


def test_a_pod_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "stubborn", "8", "10", "0.3") as host:
        peer = host.connect()
        peer.next()
        peer.fork(1)
        peer.started()
        host.process.send_signal(signal.SIGTERM)
        assert peer.next().ended.status == -signal.SIGKILL
        assert host.process.wait(20) == 0


def test_no_pod_outlives_a_killed_host(tmp_path: Path) -> None:
    with toy_host(tmp_path / "s", "stubborn") as host:
        peer = host.connect()
        peer.next()
        peer.fork(1)
        pid = peer.started().pid
        host.process.kill()
        wait_until(lambda: gone(pid))


def test_a_forked_pod_serves_grpc_on_uvloop(tmp_path: Path) -> None:
    async def ask(address: str) -> int:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = pod_pb2_grpc.PodStub(channel)
            return int((await stub.Status(pod_pb2.StatusRequest(), wait_for_ready=True)).pod_id)

    with toy_host(tmp_path / "s", "grpc_pod") as host:
        peer = host.connect()
        peer.next()
        for ticket in (1, 2, 3):
            peer.fork(ticket)
        for _ in range(3):
            started = peer.started()
            assert asyncio.run(ask(started.control_address)) == started.pid
