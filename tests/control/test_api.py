"""The HTTP API as a client sees it: documents, statuses, stable error codes."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from control.pictures import Picture
from dormouse.base.ids import TenantId
from tests.control.support import KEY, FakePeers, api_at


def _with_api(
    folder: Path,
    body: Callable[[httpx.AsyncClient, FakePeers], Awaitable[None]],
    *,
    key: str | None = KEY,
) -> None:
    async def run() -> None:
        peers = FakePeers()
        async with api_at(folder, peers, key=key) as client:
            await body(client, peers)

    asyncio.run(run())


def _check_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["title"]
    assert document["detail"]


def test_a_tenant_from_birth_to_death(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def body(client: httpx.AsyncClient, peers: FakePeers) -> None:
        answer = await client.post("/v1/tenants", json={"name": "shop"})
        tenant = answer.json()
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/v1/tenants/{tenant['id']}"
        assert answer.headers["cache-control"] == "no-store"
        assert (tenant["name"], tenant["state"]) == ("shop", "asleep")
        assert (tenant["pods"], tenant["connections"]) == (0, 0)
        secret = tenant["password"]
        assert secret in tenant["connection_url"]
        assert f"shop-{tenant['id']}.dormouse.localhost" in tenant["connection_url_sni"]
        assert secret not in caplog.text

        peers.known[TenantId(tenant["id"])] = Picture("running", 1, 3, "3 sessions")
        shown = (await client.get(f"/v1/tenants/{tenant['id']}")).json()
        assert (shown["state"], shown["pods"], shown["connections"]) == ("running", 1, 3)
        assert "password" not in shown
        assert shown["connection_url"] == tenant["connection_url"].replace(f":{secret}", "")
        assert (await client.get("/v1/tenants")).json() == {"tenants": [shown], "next": None}

        answer = await client.post(f"/v1/tenants/{tenant['id']}/suspend")
        assert (answer.status_code, answer.json()["state"]) == (200, "asleep")
        answer = await client.delete(f"/v1/tenants/{tenant['id']}?purge=true")
        assert (answer.status_code, answer.content) == (204, b"")
        gone = await client.get(f"/v1/tenants/{tenant['id']}")
        _check_problem(gone, 404, "tenant_not_found")
        _check_problem(await client.delete(f"/v1/tenants/{tenant['id']}"), 404, "tenant_not_found")

    _with_api(tmp_path, body)


def test_peers_that_are_away_are_said_to_be(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, peers: FakePeers) -> None:
        tenant = (await client.post("/v1/tenants", json={"name": "a"})).json()
        peers.away = True
        shown = (await client.get(f"/v1/tenants/{tenant['id']}")).json()
        assert (shown["state"], shown["pods"]) == ("unknown", None)
        answer = await client.post(f"/v1/tenants/{tenant['id']}/suspend")
        _check_problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        answer = await client.delete(f"/v1/tenants/{tenant['id']}")
        assert (answer.status_code, answer.json()["state"]) == (202, "deleting")

    _with_api(tmp_path, body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "Upper"},
        {"name": "-a"},
        {"name": "a" * 41},
        {"name": "a.b"},
        {"name": 1},
        {"name": "a", "colour": "red"},
        [],
        "a",
    ],
)
def test_what_is_no_tenant_is_refused(tmp_path: Path, body: object) -> None:
    async def run(client: httpx.AsyncClient, _peers: FakePeers) -> None:
        answer = await client.post("/v1/tenants", json=body)
        _check_problem(answer, 422, "invalid_request")
        assert answer.json()["errors"][0]["message"]

    _with_api(tmp_path, run)


def test_errors_have_their_codes(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _peers: FakePeers) -> None:
        await client.post("/v1/tenants", json={"name": "a"})
        taken = await client.post("/v1/tenants", json={"name": "a"})
        _check_problem(taken, 409, "name_taken")
        not_json = await client.post("/v1/tenants", content=b"{", headers={"content-type": "a/b"})
        _check_problem(not_json, 422, "invalid_request")
        _check_problem(await client.get("/v1/nothing"), 404, "not_found")
        answer = await client.put("/v1/tenants")
        _check_problem(answer, 405, "method_not_allowed")
        assert "allow" in answer.headers
        large = await client.post("/v1/tenants", json={"name": "a" * 2000})
        _check_problem(large, 413, "body_too_large")
        for path in ("0", "-1", "a", "1.0", str(2**63), "9" * 400, "%00"):
            answer = await client.get(f"/v1/tenants/{path}")
            _check_problem(answer, 404, "tenant_not_found")
        _check_problem(await client.get("/v1/tenants?limit=0"), 422, "invalid_request")

    _with_api(tmp_path, body)


def test_a_body_of_unknown_length_is_bounded_too(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _peers: FakePeers) -> None:
        read = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 100
                yield b" " * 100

        answer = await client.post("/v1/tenants", content=endless())
        _check_problem(answer, 413, "body_too_large")
        assert read <= 1200

    _with_api(tmp_path, body)


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x"])
def test_no_route_opens_without_a_key(tmp_path: Path, key: str | None) -> None:
    async def body(client: httpx.AsyncClient, _peers: FakePeers) -> None:
        code = "invalid_key" if key else "missing_key"
        for method, path in (
            ("GET", "/v1/tenants"),
            ("POST", "/v1/tenants"),
            ("DELETE", "/v1/tenants/1"),
            ("GET", "/v1/status"),
            ("GET", "/v1/nothing"),
        ):
            answer = await client.request(method, path)
            _check_problem(answer, 401, code)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200

    _with_api(tmp_path, body, key=key)


def test_too_much_at_once_is_turned_away(tmp_path: Path) -> None:
    async def run() -> None:
        async with api_at(tmp_path, FakePeers(), requests_max=2) as client:
            answers = await asyncio.gather(*(client.get("/v1/tenants") for _ in range(6)))
            statuses = sorted(answer.status_code for answer in answers)
            assert statuses == [200, 200, 503, 503, 503, 503]
            late = next(answer for answer in answers if answer.status_code == 503)
            _check_problem(late, 503, "overloaded")
            assert (await client.get("/v1/tenants")).status_code == 200

    asyncio.run(run())


def test_pages_follow_each_other(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _peers: FakePeers) -> None:
        for number in range(5):
            await client.post("/v1/tenants", json={"name": f"t{number}"})
        names: list[str] = []
        after: int | None = 0
        while after is not None:
            page = (await client.get(f"/v1/tenants?limit=2&after={after}")).json()
            names += [tenant["name"] for tenant in page["tenants"]]
            after = page["next"]
        assert names == [f"t{number}" for number in range(5)]
        found = (await client.get("/v1/tenants?name=t3")).json()["tenants"]
        assert [tenant["name"] for tenant in found] == ["t3"]

    _with_api(tmp_path, body)


def test_status_is_what_the_supervisor_wrote_last(tmp_path: Path) -> None:
    file = tmp_path / "status.json"

    async def body(client: httpx.AsyncClient, _peers: FakePeers) -> None:
        for pid in (10, 11):
            old = {
                "pid": pid - 1,
                "generation": 1,
                "since": "2026-01-02T03:04:05Z",
                "version": "1",
                "metrics": None,
            }
            role = {
                "pid": pid,
                "state": "running",
                "restarts": pid - 10,
                "since": None,
                "generation": 2,
                "version": "2",
                "metrics": None,
                "retiring": [old],
            }
            file.write_text(json.dumps({"roles": {"storage": role}}))
            shown = (await client.get("/v1/status")).json()["roles"]["storage"]
            assert shown == role
        document = (await client.get("/v1/status")).json()
        assert document["tenants"] == {"registered": 0, "ever": 0}

    _with_api(tmp_path, body)


def test_the_page_for_people_needs_no_other_host(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _peers: FakePeers) -> None:
        page = await client.get("/docs")
        assert page.status_code == 200
        assert not re.search(r"(src|href)=[\"']?(https?:)?//", page.text)
        assert "<script" not in page.text
        document = (await client.get("/openapi.json")).json()
        for path in document["paths"]:
            assert path in page.text
        created = document["components"]["schemas"]["TenantCreated"]["properties"]
        assert {"id", "name", "state", "user", "password", "database"} <= set(created)

    _with_api(tmp_path, body)
