"""Control is killed in the middle of its work, again and again: no event is lost, none has two
records, and a receiver gets each at least once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.authority import Authority
from control.config import ControlSettings
from control.keys import hash_key
from dormouse.base import config
from dormouse.base.clock import SystemClock
from dormouse.base.tls import Role
from dormouse.cli.sockets import free_ports
from tests.control.events.receiver import OK, Received, Receiver, receiver
from tests.control.events.support import LOOPBACK

_KEY = "dm_admin_kill"
_ROUNDS = 4
_PER_ROUND = 25
_WRITERS = 4
_DELIVERIES = "/v1/webhooks/1/deliveries"


class _Control:
    """A control process of its own."""

    def __init__(self, file: Path) -> None:
        read_fd, write_fd = os.pipe()
        command = (sys.executable, "-m", "control", "--config", str(file))
        with (file.parent / "control.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--ready-fd", str(write_fd)],
                pass_fds=[write_fd],
                stderr=log,
                cwd=Path(__file__).parents[3],
            )
        os.close(write_fd)
        with os.fdopen(read_fd) as pipe:
            ready = pipe.readline()
        if not ready:
            self.kill()
            pytest.fail((file.parent / "control.log").read_text())
        self.api: str = json.loads(ready)["api"]

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {_KEY}"}
        return httpx.AsyncClient(base_url=self.api, headers=headers, timeout=20)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(timeout=30)


def _settings(folder: Path) -> Path:
    ports = free_ports()
    authority = Authority.open(folder / "authority", SystemClock())
    authority.ensure_role(folder / "certs", Role.CONTROL)
    settings = ControlSettings(
        registry=folder / "registry.sqlite",
        authority=folder / "authority",
        certs=folder / "certs",
        rpc_address=f"127.0.0.1:{next(ports)}",
        autoscaler_address=f"127.0.0.1:{next(ports)}",
        storage_address=f"127.0.0.1:{next(ports)}",
        admin_key_hash=hash_key(_KEY).hex(),
        webhook_http=True,
        webhook_networks_allowed=list(LOOPBACK),
    )
    file = folder / "control.json"
    config.dump(settings, file)
    return file


async def _write(client: httpx.AsyncClient, made: list[int], target: int) -> None:
    """Make and revoke keys until there are enough; each is two events. Ends with the process."""
    try:
        while len(made) < target:
            body = {"label": "k", "scope": "organisation", "organisation": 1}
            answer = await client.post("/v1/keys", json=body)
            assert answer.status_code == 201, answer.text
            made.append(answer.json()["id"])
            await client.delete(f"/v1/keys/{made[-1]}")
    except httpx.HTTPError:
        return


async def _everything(client: httpx.AsyncClient, path: str, field: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: int | None = 0
    name = "before" if field == "deliveries" else "after"
    while cursor is not None:
        query = f"?limit=500&{name}={cursor}" if cursor else "?limit=500"
        page = (await client.get(f"{path}{query}")).json()
        found += page[field]
        cursor = page["next"]
    return found


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while True:
            if await done():
                return
            await asyncio.sleep(0.01)


async def _has(made: list[int], target: int) -> bool:
    return len(made) >= target


async def _is_idle(client: httpx.AsyncClient) -> bool:
    waiting = await client.get(f"{_DELIVERIES}?status=waiting&limit=1")
    return not waiting.json()["deliveries"]


async def _round(file: Path, made: list[int], to: Receiver, *, first: bool) -> None:
    """Work for a while and die, with requests and deliveries under way."""
    control = _Control(file)
    try:
        async with control.client() as client:
            if first:
                body = {"url": to.url, "events": ["key.*"]}
                assert (await client.post("/v1/webhooks", json=body)).status_code == 201
            target = len(made) + _PER_ROUND
            writers = [_write(client, made, 10**9) for _ in range(_WRITERS)]
            running = asyncio.gather(*writers)
            await _until(lambda: _has(made, target))
            control.kill()
            await running
    finally:
        control.kill()


@pytest.mark.slow
def test_nothing_is_lost_however_often_control_dies(tmp_path: Path) -> None:
    async def slowly(_: Received) -> bytes:
        await asyncio.sleep(0.02)
        return OK

    async def run() -> None:
        file = _settings(tmp_path)
        made: list[int] = []
        async with receiver(answer=slowly) as to:
            for number in range(_ROUNDS):
                await _round(file, made, to, first=number == 0)
            control = _Control(file)
            try:
                async with control.client() as client:
                    await _until(lambda: _is_idle(client))
                    events = await _everything(client, "/v1/events", "events")
                    deliveries = await _everything(client, _DELIVERIES, "deliveries")
            finally:
                control.kill(signal.SIGTERM)
        _check(made, events, deliveries, to)

    asyncio.run(run())


def _check(
    made: list[int], events: list[dict[str, Any]], deliveries: list[dict[str, Any]], to: Receiver
) -> None:
    told = [each["data"]["key"] for each in events if each["kind"] == "key.created"]
    assert len(made) >= _ROUNDS * _PER_ROUND
    assert set(made) <= set(told)  # what was answered is told
    assert len(set(told)) == len(told)
    numbers = [each["id"] for each in events]
    assert sorted(each["event"] for each in deliveries) == sorted(numbers)
    assert {each["status"] for each in deliveries} == {"delivered"}
    got = [int(number.split("_")[1]) for number in to.ids()]
    assert set(got) == set(numbers)
    # At least once: a kill may cost a repetition for each lane, of which this webhook has one.
    assert len(numbers) <= len(got) <= len(numbers) + _ROUNDS
