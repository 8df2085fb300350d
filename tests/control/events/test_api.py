"""Events and webhooks over HTTP."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.webhooks.store import WEBHOOKS_MAX
from dormouse.base.clock import ManualClock
from tests.control.support import KEY, FakePeers, Rig, rig_at

_Body = Callable[[Rig, httpx.AsyncClient, ManualClock], Awaitable[None]]
_HOOK = {"url": "https://example.com/services/T0/PATHSECRET", "events": ["spend.notice", "key.*"]}


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
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def _ids(client: httpx.AsyncClient, query: str = "") -> list[int]:
    answer = await client.get(f"/v1/events{query}")
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["events"]]


def _is_stored(folder: Path, content: bytes) -> bool:
    return any(content in file.read_bytes() for file in folder.iterdir())


async def _key(client: httpx.AsyncClient, **body: Any) -> str:
    answer = await client.post("/v1/keys", json={"label": "k", **body})
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


async def _organisation(client: httpx.AsyncClient, name: str) -> int:
    number: int = (await client.post("/v1/organisations", json={"name": name})).json()["id"]
    return number


def test_events_are_read_by_those_whom_they_concern(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        acme, other = await _organisation(client, "acme"), await _organisation(client, "other")
        tenants = [
            (await client.post("/v1/tenants", json={"name": name, "organisation": owner})).json()
            for name, owner in (("a", acme), ("b", acme), ("c", other))
        ]
        a, b, c = (each["id"] for each in tenants)
        await client.patch(f"/v1/tenants/{a}", json={"name": "a2"})
        # 1-3: created; 4: renamed; 5-7: these keys.
        organisation = await _key(client, scope="organisation", organisation=acme)
        tenant = await _key(client, scope="tenant", tenant=a)
        await _key(client, scope="admin")
        assert await _ids(client) == [1, 2, 3, 4, 5, 6, 7]
        assert await _ids(client, f"?organisation={acme}") == [1, 2, 4, 5, 6]
        assert await _ids(client, f"?tenant={a}") == [1, 4, 6]
        assert await _ids(client, "?kind=tenant.renamed&kind=key.*") == [4, 5, 6, 7]
        assert await _ids(client, "?kind=*") == [1, 2, 3, 4, 5, 6, 7]
        assert await _ids(client, "?kind=nothing") == []
        assert await _ids(client, f"?tenant={a}&kind=key.*&after=1") == [6]
        page = (await client.get("/v1/events?order=newest&limit=2&kind=tenant.*")).json()
        assert ([each["id"] for each in page["events"]], page["next"]) == ([4, 3], 3)
        assert await _ids(client, f"?order=newest&kind=tenant.*&after={page['next']}") == [2, 1]
        page = (await client.get("/v1/events?limit=2&after=1")).json()
        assert ([each["id"] for each in page["events"]], page["next"]) == ([2, 3], 3)
        assert page["events"][0] == {
            "id": 2,
            "kind": "tenant.created",
            "at": "2023-11-14T22:13:20Z",
            "organisation": acme,
            "tenant": b,
            "data": {"name": "b"},
        }
        async with rig.client(organisation) as theirs:
            assert await _ids(theirs) == [1, 2, 4, 5, 6]
            assert await _ids(theirs, f"?organisation={other}") == []
            assert await _ids(theirs, f"?tenant={c}") == []
        async with rig.client(tenant) as theirs:
            assert await _ids(theirs) == [1, 4, 6]
            assert await _ids(theirs, f"?tenant={b}") == []

    _run(tmp_path, body)


def test_a_webhook_from_birth_to_death(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        made = await client.post("/v1/webhooks", json={**_HOOK, "description": "pager"})
        assert made.status_code == 201, made.text
        document = made.json()
        secret = document.pop("secret")
        assert secret.startswith("whsec_")
        path, etag = made.headers["location"], made.headers["etag"]
        assert document == {
            "id": 1,
            "organisation": None,
            **_HOOK,
            "description": "pager",
            "enabled": True,
            "disabled_reason": None,
            "failures": 0,
            "failing_since": None,
            "previous_secret_until": None,
            "created_at": "2023-11-14T22:13:20Z",
        }
        read = await client.get(path)
        assert (read.json(), read.headers["etag"]) == (document, etag)
        assert (await client.get("/v1/webhooks")).json() == {"webhooks": [document], "next": None}
        changed = await client.patch(
            path, json={"events": ["*"], "enabled": False}, headers={"If-Match": etag}
        )
        assert changed.json()["events"] == ["*"]
        assert changed.json()["disabled_reason"] == "by_request"
        assert changed.json()["url"] == _HOOK["url"]
        late = await client.patch(path, json={"enabled": True}, headers={"If-Match": etag})
        _check(late, 412, "webhook_changed")
        _check(await client.post(f"{path}/test"), 409, "webhook_disabled")
        same = await client.patch(path, json={"enabled": False})
        assert same.headers["etag"] == changed.headers["etag"]
        again = await client.patch(path, json={"enabled": True})
        assert (again.json()["enabled"], again.json()["disabled_reason"]) == (True, None)
        assert (await client.delete(path)).status_code == 204
        _check(await client.get(path), 404, "webhook_not_found")
        _check(await client.delete(path), 404, "webhook_not_found")
        _check(await client.patch(path, json={"enabled": True}), 404, "webhook_not_found")
        entries = (await client.get("/v1/audit")).json()["entries"]
        actions = [each["action"] for each in entries]
        assert actions == ["webhook.create", *["webhook.change"] * 2, "webhook.delete"]
        assert entries[0]["changes"]["url"] == {"old": None, "new": "https://example.com"}
        assert set(entries[1]["changes"]) == {"events", "enabled"}

    _run(tmp_path, body)


def test_secrets_are_shown_once_and_kept_sealed(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        headers = {"Idempotency-Key": "make"}
        made = await client.post("/v1/webhooks", json=_HOOK, headers=headers)
        again = await client.post("/v1/webhooks", json=_HOOK, headers=headers)
        assert again.json() == made.json()  # sealed under the API key, for an hour
        assert len((await client.get("/v1/webhooks")).json()["webhooks"]) == 1
        first = made.json()["secret"]
        rotated = await client.post("/v1/webhooks/1/secret")
        assert rotated.status_code == 200, rotated.text
        second = rotated.json()["secret"]
        assert first != second
        assert rotated.json()["previous_secret_until"] == "2023-11-15T22:13:20Z"
        read = await client.get("/v1/webhooks/1")
        assert read.json()["previous_secret_until"] == "2023-11-15T22:13:20Z"
        assert read.headers["etag"] != made.headers["etag"]
        everything = (await client.get("/v1/audit")).text + (await client.get("/v1/events")).text
        await client.post("/v1/webhooks/1/test")
        for secret in (first, second):
            key = secret.removeprefix("whsec_")
            assert key not in read.text + everything
            assert not _is_stored(tmp_path, key.encode())
            assert not _is_stored(tmp_path, base64.b64decode(key))
        assert _is_stored(tmp_path, b"PATHSECRET")  # so the search would find what is there
        assert "PATHSECRET" not in everything

    _run(tmp_path, body)


def test_what_cannot_be_a_webhook_is_refused(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        changes: tuple[dict[str, Any], ...] = (
            {"url": "http://example.com/"},
            {"url": "https://10.0.0.1/"},
            {"url": "https://a:b@example.com/"},
            {"events": []},
            {"events": ["spend"]},
            {"events": ["webhook.test"]},
            {"events": "*"},
            {"secret": "whsec_mine"},
            {"organisation": 0},
            {"description": "x" * 201},
        )
        for change in changes:
            answer = await client.post("/v1/webhooks", json={**_HOOK, **change})
            _check(answer, 422, "invalid_request")
        _check(
            await client.post("/v1/webhooks", json={**_HOOK, "organisation": 99}),
            404,
            "organisation_not_found",
        )
        await client.post("/v1/webhooks", json=_HOOK)
        wrongs: tuple[dict[str, Any], ...] = (
            {"url": "http://a.b/"},
            {"events": []},
            {"failures": 0},
        )
        for wrong in wrongs:
            _check(await client.patch("/v1/webhooks/1", json=wrong), 422, "invalid_request")
        for number in range(1, WEBHOOKS_MAX):
            made = await client.post("/v1/webhooks", json=_HOOK)
            assert made.json()["id"] == number + 1
        _check(await client.post("/v1/webhooks", json=_HOOK), 409, "too_many_webhooks")
        page = (await client.get("/v1/webhooks?limit=15")).json()
        assert (len(page["webhooks"]), page["next"]) == (15, 15)
        # Another organisation has room of its own.
        other = {**_HOOK, "organisation": await _organisation(client, "acme")}
        assert (await client.post("/v1/webhooks", json=other)).status_code == 201

    _run(tmp_path, body)


def test_an_operator_may_allow_http_and_networks(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        inner = {**_HOOK, "url": "http://127.0.0.1:8000/"}
        assert (await client.post("/v1/webhooks", json=inner)).status_code == 201
        _check(
            await client.post("/v1/webhooks", json={**_HOOK, "url": "http://10.0.0.1/"}),
            422,
            "invalid_request",
        )

    _run(tmp_path, body, webhook_http=True, webhook_networks_allowed=["127.0.0.0/8"])


def test_an_organisation_sees_its_own_webhooks_alone(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        acme, other = await _organisation(client, "acme"), await _organisation(client, "other")
        await client.post("/v1/webhooks", json=_HOOK)  # 1: the operator's
        await client.post("/v1/webhooks", json={**_HOOK, "organisation": other})  # 2
        key = await _key(client, scope="organisation", organisation=acme)
        async with rig.client(key) as mine:
            made = await mine.post("/v1/webhooks", json=_HOOK)
            assert (made.json()["id"], made.json()["organisation"]) == (3, acme)
            named = await mine.post("/v1/webhooks", json={**_HOOK, "organisation": acme})
            assert named.status_code == 201
            foreign = await mine.post("/v1/webhooks", json={**_HOOK, "organisation": other})
            nobody = await mine.post("/v1/webhooks", json={**_HOOK, "organisation": 99})
            _check(foreign, 404, "organisation_not_found")
            assert foreign.json() == nobody.json()
            listed = (await mine.get("/v1/webhooks")).json()["webhooks"]
            assert [each["id"] for each in listed] == [3, 4]
            there = (await mine.get(f"/v1/webhooks?organisation={other}")).json()["webhooks"]
            assert there == []
            for number in (1, 2, 99):
                _check(await mine.get(f"/v1/webhooks/{number}"), 404, "webhook_not_found")
        # With the organisation its webhooks go.
        assert (await client.delete(f"/v1/organisations/{acme}")).status_code == 204
        left = (await client.get("/v1/webhooks")).json()["webhooks"]
        assert [each["id"] for each in left] == [1, 2]

    _run(tmp_path, body)


def test_deliveries_are_listed_tested_and_repeated(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        await client.post("/v1/webhooks", json=_HOOK)
        await client.post("/v1/webhooks", json=_HOOK)
        for _ in range(3):
            await _key(client, scope="admin")
        path = "/v1/webhooks/2/deliveries"
        page = (await client.get(f"{path}?limit=2")).json()
        assert [each["event"] for each in page["deliveries"]] == [3, 2]
        rest = (await client.get(f"{path}?before={page['next']}")).json()
        assert ([each["event"] for each in rest["deliveries"]], rest["next"]) == ([1], None)
        assert rest["deliveries"][0] == {
            "id": rest["deliveries"][0]["id"],
            "webhook": 2,
            "event": 1,
            "kind": "key.created",
            "message": "evt_1_18bcfe56800",
            "status": "waiting",
            "attempts": 0,
            "next_attempt_at": "2023-11-14T22:13:20Z",
            "attempted_at": None,
            "response_status": None,
            "error": None,
        }
        assert (await client.get(f"{path}?status=dead")).json()["deliveries"] == []
        assert (await client.get(f"{path}?status=lost")).status_code == 422
        tested = await client.post("/v1/webhooks/2/test")
        assert (tested.status_code, tested.json()["kind"]) == (202, "webhook.test")
        # The other webhook hears nothing of it.
        others = (await client.get("/v1/webhooks/1/deliveries")).json()["deliveries"]
        assert [each["kind"] for each in others] == ["key.created"] * 3
        clock.advance(4 * 86_400)
        assert await rig.services.stores.deliveries.give_up() == 7
        dead = (await client.get(f"{path}?status=dead")).json()["deliveries"]
        assert len(dead) == 4
        headers = {"Idempotency-Key": "again"}
        for _ in range(2):
            again = await client.post(f"{path}/{dead[3]['id']}/redeliver", headers=headers)
            assert (again.status_code, again.json()["status"]) == (202, "waiting")
        # Another webhook's delivery is none of this one.
        foreign = others[0]["id"]
        _check(await client.post(f"{path}/{foreign}/redeliver"), 404, "delivery_not_found")
        _check(await client.post(f"{path}/x/redeliver"), 404, "delivery_not_found")
        entries = (await client.get("/v1/audit")).json()["entries"]
        actions = [each["action"] for each in entries if each["action"] != "key.create"]
        assert actions == ["webhook.create"] * 2 + ["webhook.test", "webhook.redeliver"]

    _run(tmp_path, body)


def test_upkeep_forgets_and_gives_up(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        await client.post("/v1/webhooks", json=_HOOK)
        await client.post("/v1/webhooks/1/secret")
        await _key(client, scope="admin")
        await rig.services.upkeep.tidy()
        assert len(await _ids(client)) == 1
        clock.advance(4 * 86_400)
        await rig.services.upkeep.tidy()
        found = (await client.get("/v1/webhooks/1/deliveries")).json()["deliveries"]
        assert [each["status"] for each in found] == ["dead"]
        read = (await client.get("/v1/webhooks/1")).json()
        assert read["previous_secret_until"] is None
        clock.advance(6 * 86_400 + 1)
        await rig.services.upkeep.tidy()
        assert await _ids(client) == []
        assert (await client.get("/v1/webhooks/1/deliveries")).json()["deliveries"] == []

    _run(tmp_path, body, event_days=10)


def test_a_read_only_key_makes_none(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        key = await _key(client, scope="admin", access="read")
        assert key != KEY
        async with rig.client(key) as reader:
            _check(await reader.post("/v1/webhooks", json=_HOOK), 403, "read_only_key")
            assert (await reader.get("/v1/webhooks")).status_code == 200

    _run(tmp_path, body)


def test_a_network_that_is_none_stops_the_start(tmp_path: Path) -> None:
    async def body(rig: Rig, client: httpx.AsyncClient, clock: ManualClock) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        _run(tmp_path, body, webhook_networks_allowed=["10.0.0.1/8"])
