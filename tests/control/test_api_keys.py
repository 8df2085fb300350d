"""Organisations, keys, signing up, idempotency, rates and the audit log over HTTP."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse.base.clock import ManualClock
from tests.control.support import KEY, FakePeers, Rig, rig_at

_Body = Callable[[Rig, httpx.AsyncClient, ManualClock], Awaitable[None]]


def _run(folder: Path, body: _Body, **settings: Any) -> None:
    async def run() -> None:
        clock = ManualClock()
        async with (
            rig_at(folder, FakePeers(), clock=clock, **settings) as rig,
            rig.client() as client,
        ):
            await body(rig, client, clock)

    asyncio.run(run())


def _check(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def _key(client: httpx.AsyncClient, **body: Any) -> str:
    answer = await client.post("/v1/keys", json={"label": "k", **body})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


def _is_stored(folder: Path, secret: str) -> bool:
    return any(secret.encode() in file.read_bytes() for file in folder.iterdir())


def test_an_organisation_from_birth_to_death(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        wanted = {"name": "acme", "time_zone": "Asia/Tokyo"}
        made = await client.post("/v1/organisations", json=wanted)
        assert (made.status_code, made.json()["id"]) == (201, 2)
        path = made.headers["location"]
        _check(await client.post("/v1/organisations", json=wanted), 409, "name_taken")
        bad = {"name": "b", "time_zone": "Mars/Olympus"}
        _check(await client.post("/v1/organisations", json=bad), 422, "invalid_request")
        etag = made.headers["etag"]
        changed = await client.patch(path, json={"name": "acme2"}, headers={"If-Match": etag})
        assert changed.json()["name"] == "acme2"
        late = await client.patch(path, json={"name": "x"}, headers={"If-Match": etag})
        _check(late, 412, "organisation_changed")
        names = [o["name"] for o in (await client.get("/v1/organisations")).json()["organisations"]]
        assert names == ["default", "acme2"]
        tenant = (await client.post("/v1/tenants", json={"name": "t", "organisation": 2})).json()
        key = await _key(client, scope="organisation", organisation=2)
        _check(await client.delete(path), 409, "organisation_has_tenants")
        await client.delete(f"/v1/tenants/{tenant['id']}")
        assert (await client.delete(path)).status_code == 204
        _check(await client.get(path), 404, "organisation_not_found")
        async with rig.client(key) as other:
            _check(await other.get("/v1/me"), 401, "invalid_key")
        restored = await client.post(f"/v1/tenants/{tenant['id']}/restore")
        _check(restored, 409, "organisation_deleted")
        lost = await client.post("/v1/tenants", json={"name": "u", "organisation": 2})
        _check(lost, 404, "organisation_not_found")
        _check(await client.delete("/v1/organisations/1"), 409, "organisation_is_default")
        renamed = await client.patch("/v1/organisations/1", json={"name": "x"})
        _check(renamed, 409, "organisation_is_default")

    _run(tmp_path, body)


def test_a_key_is_shown_once_ends_and_is_revoked(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        await client.post("/v1/tenants", json={"name": "t"})
        end = "2023-11-15T00:00:00Z"
        text = await _key(client, scope="tenant", tenant=1, expires_at=end)
        listed = (await client.get("/v1/keys")).text
        assert text not in listed
        assert not _is_stored(tmp_path, text)
        async with rig.client(text) as other:
            me = (await other.get("/v1/me")).json()
            assert (me["scope"], me["organisation"], me["tenant"]) == ("tenant", 1, 1)
            longer = {"label": "x", "scope": "tenant", "tenant": 1}
            _check(await other.post("/v1/keys", json=longer), 422, "invalid_request")
            wider = {"label": "x", "scope": "organisation", "organisation": 1, "expires_at": end}
            _check(await other.post("/v1/keys", json=wider), 403, "beyond_reach")
            wider = {"label": "x", "scope": "admin", "expires_at": end}
            _check(await other.post("/v1/keys", json=wider), 403, "beyond_reach")
            assert (await client.get("/v1/keys/2")).json()["last_used_at"] is None
            await rig.services.upkeep.tidy()
            assert (await client.get("/v1/keys/2")).json()["last_used_at"] is not None
            clock.advance(86_400)
            _check(await other.get("/v1/me"), 401, "invalid_key")
        second = await _key(client, scope="admin", access="read")
        async with rig.client(second) as other:
            assert (await other.get("/v1/me")).status_code == 200
            assert (await client.delete("/v1/keys/3")).status_code == 204
            _check(await other.get("/v1/me"), 401, "invalid_key")
        _check(await client.delete("/v1/keys/3"), 404, "key_not_found")
        _check(await client.delete("/v1/keys/1"), 409, "last_admin_key")

    _run(tmp_path, body)


def test_what_is_sent_again_is_done_once(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        once = {"Idempotency-Key": "k1"}
        first = await client.post("/v1/tenants", json={"name": "a"}, headers=once)
        again = await client.post("/v1/tenants", json={"name": "a"}, headers=once)
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["location"] == first.headers["location"]
        assert again.headers["idempotency-replayed"] == "true"
        other = await client.post("/v1/tenants", json={"name": "b"}, headers=once)
        _check(other, 422, "idempotency_key_reused")
        secret = first.json()["password"]
        assert not _is_stored(tmp_path, secret)
        # Another key's idempotency keys are its own.
        text = await _key(client, scope="organisation", organisation=1)
        async with rig.client(text) as stranger:
            taken = await stranger.post("/v1/tenants", json={"name": "a"}, headers=once)
            _check(taken, 409, "name_taken")
            free = await stranger.post("/v1/tenants", json={"name": "c"}, headers=once)
            assert free.status_code == 201
        clock.advance(3600)
        gone = await client.post("/v1/tenants", json={"name": "a"}, headers=once)
        _check(gone, 409, "idempotency_answer_gone")
        assert gone.headers["location"] == first.headers["location"]
        await rig.services.upkeep.tidy()
        clock.advance(86_400)
        anew = await client.post("/v1/tenants", json={"name": "b"}, headers=once)
        assert anew.status_code == 201
        wrong = await client.post("/v1/keys", json={}, headers={"Idempotency-Key": "a b"})
        _check(wrong, 422, "invalid_request")

    _run(tmp_path, body)


def test_of_many_at_once_one_is_done(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        once = {"Idempotency-Key": "k1"}
        wanted = {"label": "x", "scope": "admin"}
        answers = await asyncio.gather(
            *(client.post("/v1/keys", json=wanted, headers=once) for _ in range(8))
        )
        codes = {answer.json().get("code", "made") for answer in answers}
        assert codes <= {"made", "idempotency_in_progress"}
        assert len((await client.get("/v1/keys")).json()["keys"]) == 2

    _run(tmp_path, body)


def test_every_change_is_in_the_log_and_no_secret(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        made = await client.post("/v1/tenants", json={"name": "a"})
        path = f"/v1/tenants/{made.json()['id']}"
        await client.patch(f"{path}/settings", json={"pods_max": 2})
        await client.patch(path, json={"labels": {"x": "y"}})
        reset = await client.post(f"{path}/roles/owner/password")
        await client.post(f"{path}/suspend")
        await client.delete(path)
        await client.post(f"{path}/restore")
        key = await _key(client, scope="tenant", tenant=1)
        await client.post("/v1/tenants", json={"name": "a"})  # refused: no trace
        page = (await client.get("/v1/audit?tenant=1&limit=3")).json()
        assert page["next"] == page["entries"][-1]["id"]
        rest = (await client.get(f"/v1/audit?tenant=1&after={page['next']}")).json()
        entries = page["entries"] + rest["entries"]
        assert [entry["action"] for entry in entries] == [
            "tenant.create",
            "tenant.settings",
            "tenant.change",
            "tenant.password",
            "tenant.suspend",
            "tenant.delete",
            "tenant.restore",
            "key.create",
        ]
        first, second = entries[:2]
        assert first["request_id"] == made.headers["x-request-id"]
        assert (first["key"], first["key_label"], first["address"]) == (1, "ann", "192.0.2.1")
        assert first["resource"] == "tenants/1"
        assert second["changes"] == {"pods_max": {"old": 0, "new": 2}}
        for secret in (made.json()["password"], reset.json()["password"], key, KEY):
            assert secret not in json.dumps(entries)
        clock.advance(401 * 86_400)
        await rig.services.upkeep.tidy()
        assert (await client.get("/v1/audit")).json()["entries"] == []

    _run(tmp_path, body)


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        text = await _key(client, scope="organisation", organisation=1)
        async with rig.client(text) as other, rig.client("guess") as guesser:
            for _ in range(4):
                assert (await other.get("/v1/me")).status_code == 200
            limited = await other.get("/v1/me")
            _check(limited, 429, "rate_limited")
            assert limited.headers["retry-after"] == "1"
            assert (await client.get("/v1/me")).status_code == 200
            clock.advance(1)
            assert (await other.get("/v1/me")).status_code == 200
            statuses = {(await guesser.get("/v1/me")).status_code for _ in range(20)}
            assert statuses == {401, 429}
        async with rig.client(text, address="2001:db8::1") as elsewhere:
            assert (await elsewhere.get("/v1/me")).status_code == 429
            clock.advance(1)
            assert (await elsewhere.get("/v1/me")).status_code == 200

    _run(tmp_path, body, requests_per_key=1, requests_per_address=3)


@pytest.mark.parametrize("is_open", [False, True])
def test_signing_up_where_that_is_open(tmp_path: Path, is_open: bool) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        async with rig.client(None, address="2001:db8::1") as stranger:
            answer = await stranger.post("/v1/signup", json={"organisation": "acme"})
            if not is_open:
                _check(answer, 403, "signup_closed")
                return
            assert answer.status_code == 201
            async with rig.client(answer.json()["key"]) as owner:
                made = await owner.post("/v1/tenants", json={"name": "t"})
                assert made.json()["organisation"] == answer.json()["organisation"]["id"]
            again = await stranger.post("/v1/signup", json={"organisation": "acme"})
            _check(again, 409, "name_taken")
        async with rig.client(None, address="2001:db8::2") as neighbour:
            limited = await neighbour.post("/v1/signup", json={"organisation": "b"})
            _check(limited, 429, "rate_limited")
            clock.advance(1800)
            free = await neighbour.post("/v1/signup", json={"organisation": "b"})
            assert free.status_code == 201

    _run(tmp_path, body, signup_open=is_open, signups_per_hour=2)
