"""What the autoscaler knows, over HTTP: one tenant explained, and all that are awake."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from control.pictures import Decision, Hold, Picture, WarmPool
from dormouse.base.ids import TenantId
from tests.control.support import FakePeers, api_at

_BUSY = Picture(
    "running",
    2,
    5,
    "5 sessions",
    parked=3,
    pods_wanted=3,
    cpu_permille=1234,
    request_units_per_second=12.34567,
    holds=(Hold(77, "a temporary table"),),
)
_BUSY_SHOWN = {
    "state": "running",
    "pods": 2,
    "connections": 5,
    "awake_because": "5 sessions",
    "parked": 3,
    "pods_wanted": 3,
    "cpu_percent": 123.4,
    "request_units_per_second": 12.346,
    "holds": [{"backend_pid": 77, "reason": "a temporary table"}],
}


def _with_tenants(
    folder: Path, body: Callable[[httpx.AsyncClient, FakePeers, list[TenantId]], Awaitable[None]]
) -> None:
    async def run() -> None:
        peers = FakePeers()
        async with api_at(folder, peers) as client:
            answers = [
                await client.post("/v1/tenants", json={"name": name}) for name in ("c", "b", "a")
            ]
            await body(client, peers, [TenantId(answer.json()["id"]) for answer in answers])

    asyncio.run(run())


def test_a_tenant_is_shown_with_what_it_does(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, peers: FakePeers, ids: list[TenantId]) -> None:
        peers.known[ids[0]] = _BUSY
        shown = (await client.get(f"/v1/tenants/{ids[0]}")).json()
        assert shown.items() >= _BUSY_SHOWN.items()
        peers.away = True
        shown = (await client.get(f"/v1/tenants/{ids[0]}")).json()
        numbers = set(_BUSY_SHOWN) - {"state", "awake_because", "holds"}
        assert {shown[name] for name in numbers} == {None}

    _with_tenants(tmp_path, body)


def test_a_tenant_is_explained_awake_and_asleep(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, peers: FakePeers, ids: list[TenantId]) -> None:
        peers.known[ids[0]] = _BUSY
        peers.decisions = [
            Decision(1_700_000_000_500, "scale up", "busy", {"pods": "1"}),
            Decision(1_600_000_000_000, "wake", "a session", {}),
        ]
        path = f"/v1/tenants/{ids[0]}/explain"
        document = (await client.get(path)).json()
        assert document["tenant"].items() >= _BUSY_SHOWN.items()
        assert document["tenant"]["name"] == "c"
        assert [each["action"] for each in document["decisions"]] == ["scale up", "wake"]
        assert document["decisions"][0] == {
            "at": "2023-11-14T22:13:20.500000Z",
            "action": "scale up",
            "reason": "busy",
            "inputs": {"pods": "1"},
        }
        assert len((await client.get(f"{path}?decisions=1")).json()["decisions"]) == 1
        asleep = (await client.get(f"/v1/tenants/{ids[1]}/explain")).json()
        assert asleep["tenant"]["state"] == "asleep"
        assert len(asleep["decisions"]) == 2
        assert (await client.get("/v1/tenants/99/explain")).status_code == 404
        assert (await client.get(f"{path}?decisions=0")).status_code == 422
        peers.away = True
        away = await client.get(path)
        assert (away.status_code, away.json()["code"]) == (503, "unavailable")
        assert (await client.get("/v1/tenants/99/explain")).status_code == 404

    _with_tenants(tmp_path, body)


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("cpu", ["c", "b", "a"]),
        ("ru", ["b", "c", "a"]),
        ("sessions", ["a", "c", "b"]),
        ("parked", ["c", "b", "a"]),
        ("pods", ["c", "b", "a"]),
        ("name", ["a", "b", "c"]),
    ],
)
def test_the_awake_ones_are_sorted_and_summed(tmp_path: Path, sort: str, names: list[str]) -> None:
    async def body(client: httpx.AsyncClient, peers: FakePeers, ids: list[TenantId]) -> None:
        await client.post("/v1/tenants", json={"name": "dozing"})
        peers.known = {
            TenantId(4): Picture("asleep", 0, 0, parked=1),
            ids[2]: Picture("waking", 0, 9),
            ids[0]: _BUSY,
            ids[1]: Picture("running", 1, 1, cpu_permille=10, request_units_per_second=50.0),
        }
        document = (await client.get(f"/v1/live?sort={sort}")).json()
        shown = [each["name"] for each in document["tenants"]]
        assert [name for name in shown if name != "dozing"] == names
        assert document["more"] == 0
        assert document["totals"] == {
            "registered": 4,
            "awake": 3,
            "pods": 3,
            "connections": 15,
            "parked": 4,
            "cpu_percent": 124.4,
            "request_units_per_second": 62.346,
        }
        assert document["warm_pool"] is None
        peers.warm_pool = WarmPool(1, 2)
        first = (await client.get(f"/v1/live?sort={sort}&limit=1")).json()
        assert [each["name"] for each in first["tenants"]] == names[:1]
        assert first["more"] == 3
        assert first["totals"] == document["totals"]
        assert first["warm_pool"] == {"ready": 1, "wanted": 2}

    _with_tenants(tmp_path, body)


def test_a_deleted_tenant_has_its_name_until_its_last_pod_is_gone(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, peers: FakePeers, ids: list[TenantId]) -> None:
        await client.delete(f"/v1/tenants/{ids[0]}")
        peers.known[ids[0]] = Picture("draining", 1, 0)
        (shown,) = (await client.get("/v1/live")).json()["tenants"]
        assert (shown["id"], shown["name"], shown["state"]) == (ids[0], "c", "draining")

    _with_tenants(tmp_path, body)


def test_without_the_autoscaler_nothing_is_made_up(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, peers: FakePeers, _ids: list[TenantId]) -> None:
        peers.away = True
        answer = await client.get("/v1/live")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        for query in ("sort=colour", "limit=0", "limit=501"):
            assert (await client.get(f"/v1/live?{query}")).status_code == 422

    _with_tenants(tmp_path, body)
