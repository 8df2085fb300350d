"""A proxy that drains: nobody new, those who are there go on; its successor has the same socket."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from dormouse.base import config
from dormouse.base.tasks import cancel, spawn
from proxy import metrics
from proxy.config import ProxyLimits, ProxySettings
from tests.proxy.client import Client, connected
from tests.proxy.doubles import Setup, another_proxy, proxied, write_certificates
from tests.support.waiting import until


async def drain(setup: Setup) -> None:
    assert setup.service.drain is not None
    await setup.service.drain()


async def _refused(setup: Setup) -> None:
    """Until nobody listens any more: the port closes a moment after the drain begins."""
    while True:
        with socket.socket() as probe:
            probe.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(probe, ("127.0.0.1", setup.port))
            except ConnectionRefusedError:
                return
            except OSError:
                pass  # it was in the queue as the port closed
        await asyncio.sleep(0.01)


def test_a_draining_proxy_goes_on_until_its_last_session_ends(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), proxied(tmp_path) as setup:
            async with connected(setup) as client:
                await client.log_in()
                draining = spawn(drain(setup), name="drain")
                await until(lambda: metrics.DRAINING._value.get() == 1)
                await _refused(setup)
                assert await client.query()
                assert not draining.done()
            await draining

    uvloop.run(main())


def test_when_the_time_is_over_sessions_end_with_57p01(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), proxied(tmp_path, ProxyLimits(drain_timeout=0.1)) as setup:
            opened = connected(setup)
            client = await opened.__aenter__()
            await client.log_in()
            await drain(setup)
            assert await client.query()
        farewell = await client.farewell()
        assert farewell.sqlstate == "57P01"
        assert farewell.hint == "Connect again: it will be served at once."
        await opened.__aexit__(None, None, None)

    uvloop.run(main())


def test_a_login_under_way_is_finished(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), proxied(tmp_path) as setup:
            async with connected(setup) as client:
                draining = spawn(drain(setup), name="drain")
                await until(lambda: metrics.DRAINING._value.get() == 1)
                await client.log_in()
                assert await client.query()
            await draining

    uvloop.run(main())


def test_draining_can_be_broken_off(tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), proxied(tmp_path) as setup, connected(setup) as client:
            await client.log_in()
            draining = spawn(drain(setup), name="drain")
            await asyncio.sleep(0)
            await cancel(draining)
            assert draining.cancelled()

    uvloop.run(main())


def test_the_successor_takes_over_the_listening_socket(tmp_path: Path) -> None:
    """The supervisor's socket, of which each proxy has a copy: nobody is refused."""

    async def main() -> None:
        supervisors = socket.create_server(("127.0.0.1", 0))
        ours = os.dup(supervisors.fileno())
        async with asyncio.timeout(60), proxied(tmp_path, listen_fds=(ours,)) as old:
            async with connected(old) as before:
                await before.log_in()
                draining = spawn(drain(old), name="drain")
                await until(lambda: metrics.DRAINING._value.get() == 1)
                waiting = asyncio.gather(_log_in(old))  # in the queue of a socket nobody serves
                await asyncio.sleep(0.05)
                theirs = os.dup(supervisors.fileno())
                async with another_proxy(old, listen_fds=(theirs,)):
                    await waiting
                    await _log_in(old)
                    assert await before.query()
            await draining
        supervisors.close()

    uvloop.run(main())


async def _log_in(setup: Setup) -> None:
    async with connected(setup) as client:
        await client.log_in()
        assert await client.query()


# As a process


class Process:
    """A proxy of its own, with the control, autoscaler and pod of the test's."""

    def __init__(self, folder: Path, setup: Setup, listener: socket.socket) -> None:
        self.setup = setup
        self.port = int(listener.getsockname()[1])
        self._log = folder / "proxy.log"
        settings = ProxySettings(
            certs=folder,
            control_address=setup.settings.control_address,
            autoscaler_address=setup.settings.autoscaler_address,
            listen_fds=(listener.fileno(),),
            certificate_poll_seconds=3600.0,
        )
        config.dump(settings, folder / "proxy.json")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "proxy", "--config", str(folder / "proxy.json")],
                pass_fds=[listener.fileno()],
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def logged(self, event: str) -> None:
        await until(lambda: f'"event": "{event}"' in self._log.read_text())

    async def ended(self) -> int:
        return await asyncio.to_thread(self._process.wait, 30)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[Process]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with proxied(folder) as setup:
            running = Process(folder, setup, listener)
            try:
                await running.logged("ready")
                yield running
            finally:
                running.kill()


@asynccontextmanager
async def session(folder: Path) -> AsyncIterator[tuple[Process, Client]]:
    async with (
        asyncio.timeout(60),
        process(folder) as running,
        connected(running.setup, port=running.port) as client,
    ):
        await client.log_in()
        yield running, client


def test_sigterm_drains_and_the_process_ends_with_its_last_session(tmp_path: Path) -> None:
    async def main() -> None:
        async with session(tmp_path) as (running, client):
            running.send(signal.SIGTERM)
            await running.logged("draining")
            assert await client.query()
            client.close()
            assert await running.ended() == 0

    uvloop.run(main())


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]]
)
def test_sigint_or_a_second_signal_ends_it_at_once(
    tmp_path: Path, signals: list[signal.Signals]
) -> None:
    async def main() -> None:
        async with session(tmp_path) as (running, client):
            running.send(signals[0])
            if signals[1:]:
                await running.logged("draining")
                running.send(signals[1])
            assert (await client.farewell()).sqlstate == "57P01"
            assert await running.ended() == 0

    uvloop.run(main())


def test_sighup_looks_for_new_certificates(tmp_path: Path) -> None:
    async def main() -> None:
        async with session(tmp_path) as (running, client):
            write_certificates(tmp_path)
            running.send(signal.SIGHUP)
            await running.logged("certificate replaced")
            assert await client.query()

    uvloop.run(main())
