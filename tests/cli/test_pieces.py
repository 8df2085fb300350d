"""The supervisor's parts: backoff, log files, ports, the data folder's lock."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.cli.backoff import HEALTHY_SECONDS, MAX_SECONDS, Backoff
from dormouse.cli.folder import CommandError, DataFolder, Lock, write_private
from dormouse.cli.logfile import LogFile
from dormouse.cli.sockets import free_ports, listen


@given(st.lists(st.floats(0, 3 * HEALTHY_SECONDS), max_size=60))
def test_backoff_grows_to_its_bound_and_forgives_the_healthy(lives: list[float]) -> None:
    backoff, row = Backoff(), 0
    for seconds in lives:
        before = backoff.delay_seconds
        backoff = backoff.died(seconds)
        row = 1 if seconds >= HEALTHY_SECONDS else row + 1
        assert 0 <= backoff.delay_seconds <= MAX_SECONDS
        if row == 1:
            assert backoff.delay_seconds == 0
        else:
            assert backoff.delay_seconds >= before
        if row >= 20:
            assert backoff.delay_seconds == MAX_SECONDS


@given(st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"") + b"\n")))
def test_logs_keep_the_newest_lines_in_bounded_files(lines: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "role.log"
        log = LogFile(path, bytes_max=200)
        for line in lines:
            log.append(line)
        log.close()
        previous = path.with_name("role.log.1")
        kept = (previous.read_bytes() if previous.exists() else b"") + path.read_bytes()
        assert b"".join(lines).endswith(kept)
        assert all(file.stat().st_size <= 261 for file in Path(folder).iterdir())
        if len(b"".join(lines)) <= 200:
            assert kept == b"".join(lines)


def test_a_log_takes_lines_of_any_length(tmp_path: Path) -> None:
    async def body() -> None:
        log = LogFile(tmp_path / "a.log")
        stream = asyncio.StreamReader()
        stream.feed_data(b"x" * 300_000)
        stream.feed_eof()
        await log.copy(stream)
        log.close()

    asyncio.run(body())
    assert (tmp_path / "a.log").stat().st_size == 300_000


def test_a_full_disk_does_not_stop_a_role() -> None:
    async def body() -> None:
        log = LogFile(Path("/dev/full"))
        stream = asyncio.StreamReader()
        stream.feed_data(b"lost\n")
        stream.feed_eof()
        await log.copy(stream)
        log.close()

    asyncio.run(body())


def test_both_loopback_addresses_share_a_port() -> None:
    sockets = listen(0, "--sql-port")
    try:
        port = sockets[0].getsockname()[1]
        for each in sockets:
            assert each.getsockname()[1] == port
            socket.create_connection(each.getsockname()[:2]).close()
        with pytest.raises(CommandError, match=f"port {port} .* is in use") as caught:
            listen(port, "--sql-port")
        assert "--sql-port" in str(caught.value.hint)
    finally:
        for each in sockets:
            each.close()


@pytest.mark.parametrize("error", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_a_machine_without_ipv6_listens_on_what_it_has(
    error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = socket.create_server

    def create_server(address: tuple[str, int], **options: Any) -> socket.socket:
        if options["family"] == socket.AF_INET6:
            raise OSError(error, os.strerror(error))
        return create(address, **options)

    monkeypatch.setattr(socket, "create_server", create_server)
    [only] = listen(0, "--sql-port")
    with only:
        assert only.getsockname()[0] == "127.0.0.1"


def test_internal_ports_are_free_and_distinct() -> None:
    ports = free_ports()
    taken = [next(ports) for _ in range(50)]
    assert len(set(taken)) == 50
    for port in taken:
        socket.create_server(("127.0.0.1", port)).close()


def test_a_data_folder_has_one_holder(tmp_path: Path) -> None:
    folder = DataFolder.at(tmp_path / "data")
    folder.make()
    assert folder.root.stat().st_mode & 0o777 == 0o700
    lock = Lock(folder)
    with pytest.raises(CommandError, match=rf"in use .*pid {os.getpid()}"):
        Lock(folder)
    lock.release()
    Lock(folder).release()


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    folder = DataFolder.at(tmp_path)
    folder.make()
    script = (
        "import sys, pathlib; from dormouse.cli.folder import DataFolder, Lock;"
        "lock = Lock(DataFolder.at(pathlib.Path(sys.argv[1]))); print('held', flush=True);"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        if holder.stdout is None:
            raise AssertionError("no pipe")
        holder.stdout.readline()
        with pytest.raises(CommandError, match=f"pid {holder.pid}"):
            Lock(folder)
        holder.kill()
    Lock(folder).release()


def test_private_files_are_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for text in ("one\n", "two\n"):
        write_private(file, text)
        assert file.read_text() == text
        assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["key"]
