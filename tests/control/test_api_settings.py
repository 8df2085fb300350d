"""Settings over HTTP: what is shown, what is changed, what is refused, and who is noted."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse.base.logs import JsonFormatter
from tests.control.support import FakePeers, api_at

_DEFAULTS: dict[str, Any] = {
    "idle_timeout_seconds": None,
    "pods_min": 0,
    "pods_max": None,
    "allowed_networks": [],
    "connections_max": 10,
    "storage_max_bytes": None,
    "recovery_window_seconds": None,
}


def _with_tenant(folder: Path, body: Callable[[httpx.AsyncClient, str], Awaitable[None]]) -> None:
    """Runs `body` with a client and the path of a tenant's settings."""

    async def run() -> None:
        async with api_at(folder, FakePeers()) as client:
            tenant = (await client.post("/v1/tenants", json={"name": "shop"})).json()
            await body(client, f"/v1/tenants/{tenant['id']}/settings")

    asyncio.run(run())


def _check_problem(answer: httpx.Response, status: int, code: str) -> Any:
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code), document
    return document


def test_settings_are_read_changed_and_put_back(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, path: str) -> None:
        assert (await client.get(path)).json() == _DEFAULTS
        change = {
            "idle_timeout_seconds": 90,
            "pods_min": 1,
            "pods_max": 4,
            "allowed_networks": ["192.0.2.7", "2001:DB8::/32"],
            "connections_max": 50,
            "storage_max_bytes": 1 << 30,
            "recovery_window_seconds": 0,
        }
        expected = {**change, "allowed_networks": ["192.0.2.7/32", "2001:db8::/32"]}
        assert (await client.patch(path, json=change)).json() == expected
        assert (await client.patch(path, json={})).json() == expected
        never = await client.patch(path, json={"idle_timeout_seconds": "never"})
        expected["idle_timeout_seconds"] = "never"
        assert never.json() == expected
        assert (await client.get(path.removesuffix("/settings"))).json()["settings"] == expected
        back = await client.patch(path, json=dict.fromkeys(change))
        assert back.json() == _DEFAULTS

    _with_tenant(tmp_path, body)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"idle_timeout_seconds": 59}, "body.idle_timeout_seconds"),
        ({"idle_timeout_seconds": "5m"}, "body.idle_timeout_seconds"),
        ({"idle_timeout_seconds": True}, "body.idle_timeout_seconds"),
        ({"idle_timeout_seconds": 60.0}, "body.idle_timeout_seconds"),
        ({"pods_min": 2, "pods_max": 1}, "body.pods_min"),
        ({"pods_max": 65}, "body.pods_max"),
        ({"pods_max": "1"}, "body.pods_max"),
        ({"pods_min": True}, "body.pods_min"),
        ({"connections_max": 0}, "body.connections_max"),
        ({"storage_max_bytes": (1 << 20) - 1}, "body.storage_max_bytes"),
        ({"storage_max_bytes": (1 << 50) + 1}, "body.storage_max_bytes"),
        ({"recovery_window_seconds": -1}, "body.recovery_window_seconds"),
        ({"recovery_window_seconds": 30 * 86_400 + 1}, "body.recovery_window_seconds"),
        ({"allowed_networks": ["10.0.0.5/8"]}, "body.allowed_networks"),
        ({"allowed_networks": "10.0.0.0/8"}, "body.allowed_networks"),
        ({"allowed_networks": [1]}, "body.allowed_networks.0"),
        ({"session_key": "x"}, "body.session_key"),
        ({"pods_max": 3, "colour": "red"}, "body.colour"),
        ([], "body"),
    ],
)
def test_what_is_no_setting_is_refused_whole(tmp_path: Path, change: Any, field: str) -> None:
    async def body(client: httpx.AsyncClient, path: str) -> None:
        problem = _check_problem(await client.patch(path, json=change), 422, "invalid_request")
        (error,) = problem["errors"]
        assert error["field"] == field
        assert error["message"]
        assert (await client.get(path)).json() == _DEFAULTS

    _with_tenant(tmp_path, body)


def test_a_change_of_what_was_read_is_not_lost(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, path: str) -> None:
        read = (await client.get(path)).headers["etag"]
        both = await asyncio.gather(
            *(
                client.patch(path, json={"pods_max": number}, headers={"If-Match": read})
                for number in (2, 3)
            )
        )
        assert sorted(answer.status_code for answer in both) == [200, 412]
        (lost,) = (answer for answer in both if answer.status_code == 412)
        (done,) = (answer for answer in both if answer.status_code == 200)
        _check_problem(lost, 412, "settings_changed")
        now = await client.get(path)
        assert now.json() == done.json()
        assert now.headers["etag"] == done.headers["etag"] != read
        for match in (read, f"W/{now.headers['etag']}", "nonsense", '""', ""):
            answer = await client.patch(path, json={"pods_max": 9}, headers={"If-Match": match})
            _check_problem(answer, 412, "settings_changed")
        for match in (f'"99", {now.headers["etag"]}', "*"):
            answer = await client.patch(path, json={"pods_max": 9}, headers={"If-Match": match})
            assert (answer.status_code, answer.json()["pods_max"]) == (200, 9)

    _with_tenant(tmp_path, body)


def test_nothing_changed_is_no_new_version(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, path: str) -> None:
        first = (await client.patch(path, json={"pods_max": 2})).headers["etag"]
        again = await client.patch(path, json={"pods_max": 2}, headers={"If-Match": first})
        assert again.headers["etag"] == first

    _with_tenant(tmp_path, body)


def test_settings_of_nobody_are_not_found(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, path: str) -> None:
        await client.delete(path.removesuffix("/settings"))
        for gone in (path, "/v1/tenants/99/settings", "/v1/tenants/x/settings"):
            _check_problem(await client.get(gone), 404, "tenant_not_found")
            answer = await client.patch(gone, json={"pods_max": 2})
            _check_problem(answer, 404, "tenant_not_found")

    _with_tenant(tmp_path, body)


def test_the_log_says_who_changed_what_from_what(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(json.loads(JsonFormatter("control").format(record)))

    async def body(client: httpx.AsyncClient, path: str) -> None:
        await client.patch(path, json={"pods_max": 2, "connections_max": 10})
        await client.patch(path, json={"pods_max": 2})
        await client.patch(path, json={"pods_max": 99})

    handler = Lines()
    logger = logging.getLogger("control.journal")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        _with_tenant(tmp_path, body)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    created, changed = lines
    assert created["actor"] == changed["actor"] == "ann"
    assert changed["changes"] == {"pods_max": {"old": 0, "new": 2}}
    assert changed["resource"] == created["resource"] == "tenants/1"
