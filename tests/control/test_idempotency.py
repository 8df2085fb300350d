"""Idempotency keys where there is more to them: signing up, suspending, deleting, "not now"."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from control.idempotency import CLAIMS_MAX, STRANGERS
from dormouse.base.clock import ManualClock
from tests.control.openapi import document
from tests.control.support import FakePeers, Rig, rig_at

_Body = Callable[[Rig, FakePeers, ManualClock], Awaitable[None]]
_RANDOM = "3xAmPle-0f-22-rand0m-characters"
_ACME = {"organisation": "acme"}
_WITHOUT = {
    "POST /v1/tenants/{id}/wake": "a tenant that is awake is not woken again",
    "POST /v1/tenants/{id}/pods/{pod}/revoke": "a pod that is revoked stays revoked",
    "POST /v1/authority/rotate-secrets": "a second one is refused until the first is through",
}
"""POSTs without an idempotency key, and why."""


def _run(folder: Path, body: _Body, **settings: Any) -> None:
    async def run() -> None:
        clock, peers = ManualClock(), FakePeers()
        wanted = {"signup_open": True, "signups_per_hour": 2.0, **settings}
        async with rig_at(folder, peers, clock=clock, **wanted) as rig:
            await body(rig, peers, clock)

    asyncio.run(run())


def _check(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def _is_stored(folder: Path, secret: str) -> bool:
    return any(secret.encode() in file.read_bytes() for file in folder.iterdir())


async def _sign_up(
    rig: Rig, name: str | None, *, address: str = "192.0.2.1", **body: Any
) -> httpx.Response:
    headers = {"Idempotency-Key": name} if name is not None else {}
    async with rig.client(None, address=address) as stranger:
        return await stranger.post("/v1/signup", json=body or _ACME, headers=headers)


def test_every_change_of_what_was_read_knows_versions() -> None:
    paths = json.loads(document())["paths"]
    changes = [
        (f"{method} {path}", {each["name"].lower() for each in operation.get("parameters", ())})
        for path, methods in paths.items()
        for method, operation in methods.items()
        if method in ("patch", "put")
    ]
    # A piece of a backup is written, not changed: it is what it is.
    without = ["put /v1/restores/{id}/pieces/{piece}"]
    assert [endpoint for endpoint, names in changes if "if-match" not in names] == without


def test_every_post_takes_one() -> None:
    without = {
        f"POST {path}"
        for path, methods in json.loads(document())["paths"].items()
        if "post" in methods
        and "idempotency-key" not in {p["name"] for p in methods["post"].get("parameters", ())}
    }
    assert without == set(_WITHOUT)


def test_signing_up_twice_gives_the_same_key(tmp_path: Path) -> None:
    async def body(rig: Rig, _peers: FakePeers, clock: ManualClock) -> None:
        first = await _sign_up(rig, _RANDOM)
        assert first.status_code == 201
        for _ in range(5):  # more often than one may sign up
            again = await _sign_up(rig, _RANDOM)
            assert (again.status_code, again.json()) == (201, first.json())
        key = first.json()["key"]
        async with rig.client(key) as client:
            assert (await client.get("/v1/me")).json()["scope"] == "organisation"
        _check(await _sign_up(rig, _RANDOM, organisation="b"), 422, "idempotency_key_reused")
        # It is bound to the address, and the file knows neither it nor what it protects.
        elsewhere = await _sign_up(rig, _RANDOM, address="198.51.100.1")
        _check(elsewhere, 409, "name_taken")
        for secret in (key, _RANDOM):
            assert not _is_stored(tmp_path, secret)
        clock.advance(3600)
        _check(await _sign_up(rig, _RANDOM), 409, "idempotency_answer_gone")

    _run(tmp_path, body)


def test_a_key_that_can_be_guessed_protects_nothing(tmp_path: Path) -> None:
    async def body(rig: Rig, _peers: FakePeers, _clock: ManualClock) -> None:
        refused = await _sign_up(rig, "order-17")
        _check(refused, 422, "invalid_request")
        assert "random" in refused.json()["detail"]
        assert (await _sign_up(rig, None)).status_code == 201

    _run(tmp_path, body)


def test_what_strangers_claim_has_a_bound(tmp_path: Path) -> None:
    async def body(rig: Rig, _peers: FakePeers, _clock: ManualClock) -> None:
        await rig.services.stores.database.write(
            "INSERT INTO idempotency (key_id, name, request_hash, made_ns, resource)"
            " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " SELECT ?, CAST(i AS TEXT), x'', ?, '' FROM n",
            (CLAIMS_MAX, STRANGERS, ManualClock().wall_ns()),
        )
        refused = await _sign_up(rig, _RANDOM)
        _check(refused, 429, "too_many_idempotency_keys")
        assert refused.headers["retry-after"]

    _run(tmp_path, body)


def test_a_signup_is_whole_or_not_at_all(tmp_path: Path) -> None:
    async def body(rig: Rig, _peers: FakePeers, _clock: ManualClock) -> None:
        trigger = "CREATE TRIGGER full BEFORE INSERT ON keys BEGIN SELECT RAISE(ABORT, 'full'); END"
        await rig.services.stores.database.write(trigger)
        assert (await _sign_up(rig, _RANDOM)).status_code == 500
        async with rig.client() as admin:
            found = (await admin.get("/v1/organisations?name=acme")).json()["organisations"]
        assert found == []
        await rig.services.stores.database.write("DROP TRIGGER full")
        assert (await _sign_up(rig, _RANDOM)).status_code == 201

    _run(tmp_path, body)


def test_suspending_and_deleting_are_done_once(tmp_path: Path) -> None:
    async def body(rig: Rig, peers: FakePeers, _clock: ManualClock) -> None:
        async with rig.client() as client:
            await client.post("/v1/tenants", json={"name": "a"})
            once = {"Idempotency-Key": "s"}
            first = await client.post("/v1/tenants/1/suspend", headers=once)
            again = await client.post("/v1/tenants/1/suspend", headers=once)
            assert (again.status_code, again.json()) == (200, first.json())
            operation = first.headers["operation-location"]
            assert again.headers["operation-location"] == operation
            assert [what for what, _ in peers.asked] == ["suspend"]
            once = {"Idempotency-Key": "d"}
            first = await client.delete("/v1/tenants/1", headers=once)
            again = await client.delete("/v1/tenants/1", headers=once)
            assert (again.status_code, again.json()) == (200, first.json())
            purge = await client.delete("/v1/tenants/1?purge=true", headers=once)
            _check(purge, 422, "idempotency_key_reused")
            purge = await client.delete(
                "/v1/tenants/1?purge=true", headers={"Idempotency-Key": "p"}
            )
            again = await client.delete(
                "/v1/tenants/1?purge=true", headers={"Idempotency-Key": "p"}
            )
            assert (purge.status_code, again.status_code, again.content) == (204, 204, b"")

    _run(tmp_path, body)


def test_not_now_uses_nothing_up(tmp_path: Path) -> None:
    async def body(rig: Rig, peers: FakePeers, _clock: ManualClock) -> None:
        async with rig.client() as client:
            await client.post("/v1/tenants", json={"name": "a"})
            once = {"Idempotency-Key": "s"}
            peers.away = True
            _check(await client.post("/v1/tenants/1/suspend", headers=once), 503, "unavailable")
            peers.away = False
            assert (await client.post("/v1/tenants/1/suspend", headers=once)).status_code == 200

    _run(tmp_path, body)


def test_who_comes_while_it_is_in_work_is_told_so(tmp_path: Path) -> None:
    class Slow(FakePeers):
        def __init__(self) -> None:
            super().__init__()
            self.begun, self.go = asyncio.Event(), asyncio.Event()

        async def suspend(self, tenant: Any) -> None:
            self.begun.set()
            await self.go.wait()

    async def run() -> None:
        peers, clock = Slow(), ManualClock()
        async with rig_at(tmp_path, peers, clock=clock) as rig, rig.client() as client:
            await client.post("/v1/tenants", json={"name": "a"})
            once = {"Idempotency-Key": "s"}

            async def suspend() -> httpx.Response:
                return await client.post("/v1/tenants/1/suspend", headers=once)

            first = asyncio.get_running_loop().create_task(suspend())
            await peers.begun.wait()
            second = await suspend()
            _check(second, 409, "idempotency_in_progress")
            assert second.headers["retry-after"] == "1"
            clock.advance(61)  # nobody works at it so long: it died
            _check(await suspend(), 409, "idempotency_answer_gone")
            peers.go.set()
            assert (await first).status_code == 200
            assert (await suspend()).status_code == 200

    asyncio.run(run())
