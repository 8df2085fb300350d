"""Backups and restores through the API, over a storage that remembers what it was asked."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse.base import archive, blocks
from dormouse.base.ids import TenantId
from proto import kv_pb2
from tests.control.support import FakePeers, Rig, rig_at

ROWS = {b"a": b"1", b"b": b"2"}
Body = Callable[[Rig, FakePeers, httpx.AsyncClient], Awaitable[None]]


def block_of(rows: dict[bytes, bytes]) -> kv_pb2.TenantRows:
    return kv_pb2.TenantRows(keys=blocks.pack(list(rows)), values=blocks.pack(list(rows.values())))


def run(folder: Path, body: Body) -> None:
    async def with_rig() -> None:
        peers = FakePeers()
        peers.pages = [
            kv_pb2.ExportPage(rows=block_of({key: value})) for key, value in ROWS.items()
        ]
        peers.pages.append(kv_pb2.ExportPage(counters=block_of({b"s": bytes(8)})))
        async with rig_at(folder, peers) as rig, rig.client() as client:
            await body(rig, peers, client)

    asyncio.run(with_rig())


async def backed_up(client: httpx.AsyncClient, tenant: int) -> tuple[archive.Opened, list[bytes]]:
    answer = await client.get(f"/v1/tenants/{tenant}/backup")
    assert answer.status_code == 200, answer.text
    frames: list[bytes] = []
    return archive.verify(io.BytesIO(answer.content).read, frames.append), frames


async def begun(client: httpx.AsyncClient, opened: archive.Opened, name: str) -> httpx.Response:
    return await client.post(
        "/v1/restores",
        json={
            "name": name,
            "labels": opened.manifest["tenant"]["labels"],
            "settings": opened.manifest["settings"],
            "spend_limit": opened.manifest["spend_limit"],
            "rows": opened.sums.rows,
            "counters": opened.sums.counters,
            "has_catalog": opened.manifest["has_catalog"],
        },
    )


async def sent(client: httpx.AsyncClient, restore: int, number: int, frame: bytes) -> Any:
    return await client.put(f"/v1/restores/{restore}/pieces/{number}", content=frame)


async def made(client: httpx.AsyncClient) -> int:
    answer = await client.post("/v1/tenants", json={"name": "shop", "labels": {"stage": "test"}})
    tenant = int(answer.json()["id"])
    change = {
        "pods_max": 3,
        "idle_timeout_seconds": "never",
        "storage_max_bytes": 1 << 30,
        "recovery_window_seconds": 7200,
    }
    await client.patch(f"/v1/tenants/{tenant}/settings", json=change)
    limit = {"monthly_cents": 500, "policy": "notify"}
    await client.put(f"/v1/tenants/{tenant}/spend-limit", json=limit)
    return tenant


def test_a_tenant_goes_out_and_comes_back_under_another_name(tmp_path: Path) -> None:
    async def body(rig: Rig, peers: FakePeers, client: httpx.AsyncClient) -> None:
        tenant = await made(client)
        opened, frames = await backed_up(client, tenant)
        assert (opened.sums.rows, opened.sums.counters) == (2, 1)
        restore = (await begun(client, opened, "copy")).json()["id"]
        path = f"/v1/tenants/{restore}"
        # Nobody can use it, find it by its name, or bring it back half done.
        assert (await client.get(path)).status_code == 404
        assert (await client.get("/v1/tenants?name=copy")).json()["tenants"] == []
        assert (await client.post(f"{path}/restore", json={})).status_code == 404
        assert (await client.post(f"/v1/restores/{restore}/finish")).status_code == 409
        for number, frame in enumerate(frames[:-1]):
            assert (await sent(client, restore, number, frame)).status_code == 204
            assert (await sent(client, restore, number, frame)).status_code == 204
        peers.counts_left = 2
        for _ in range(2):
            answer = await client.post(f"/v1/restores/{restore}/finish")
            assert (answer.status_code, answer.json()) == (202, {"status": "counting"})
            assert (await client.get(path)).status_code == 404
        done = (await client.post(f"/v1/restores/{restore}/finish")).json()
        assert done["password"] in done["connection_url"]
        assert done["name"] == "copy"
        assert done["labels"] == {"stage": "test"}
        before = (await client.get(f"/v1/tenants/{tenant}/settings")).json()
        assert (await client.get(f"{path}/settings")).json() == before
        limit = (await client.get(f"{path}/spend-limit")).json()
        assert (limit["monthly_cents"], limit["policy"]) == (500, "notify")
        assert peers.quotas[TenantId(restore)] == (1 << 30, 7200)
        expected = {(True, key): value for key, value in ROWS.items()}
        assert peers.imported[TenantId(restore)] == {**expected, (False, b"s"): bytes(8)}
        assert (await client.post(f"/v1/restores/{restore}/finish")).status_code == 404
        assert (await client.delete(f"/v1/restores/{restore}")).status_code == 404
        audit = (await client.get("/v1/audit")).json()["entries"]
        assert {"tenant.backup", "tenant.import", "tenant.restore"} <= {e["action"] for e in audit}

    run(tmp_path, body)


def test_what_is_damaged_or_taken_is_refused(tmp_path: Path) -> None:
    async def body(rig: Rig, peers: FakePeers, client: httpx.AsyncClient) -> None:
        tenant = await made(client)
        opened, frames = await backed_up(client, tenant)
        taken = await begun(client, opened, "shop")
        assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
        restore = (await begun(client, opened, "copy")).json()["id"]
        for number, frame in (
            (0, frames[0][:-1] + b"?"),
            (1, frames[0]),  # not where it was
            (0, b""),
            (3, frames[3]),  # the manifest is no piece
        ):
            answer = await sent(client, restore, number, frame)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert peers.imported[TenantId(restore)] == {}
        longest = bytes(archive.FRAME_BYTES_MAX)
        assert (await sent(client, restore, 0, longest)).status_code == 422
        assert (await sent(client, restore, 0, longest + b"x")).status_code == 413
        # A name that was taken meanwhile is refused at the end, and another end is possible.
        for number, frame in enumerate(frames[:-1]):
            await sent(client, restore, number, frame)
        copy = (await client.post("/v1/tenants", json={"name": "copy"})).json()["id"]
        assert (await client.post(f"/v1/restores/{restore}/finish")).status_code == 409
        await client.patch(f"/v1/tenants/{copy}", json={"name": "other"})
        assert (await client.post(f"/v1/restores/{restore}/finish")).status_code == 200

    run(tmp_path, body)


def test_a_restore_that_is_given_up_is_purged(tmp_path: Path) -> None:
    async def body(rig: Rig, peers: FakePeers, client: httpx.AsyncClient) -> None:
        opened, frames = await backed_up(client, await made(client))
        restore = (await begun(client, opened, "copy")).json()["id"]
        await sent(client, restore, 0, frames[0])
        assert (await client.delete(f"/v1/restores/{restore}")).status_code == 204
        assert ("drop", restore) in peers.asked
        assert (await sent(client, restore, 0, frames[0])).status_code == 404
        assert (await client.post(f"/v1/restores/{restore}/finish")).status_code == 404

    run(tmp_path, body)


def test_a_backup_that_breaks_off_is_no_backup(tmp_path: Path) -> None:
    async def body(rig: Rig, peers: FakePeers, client: httpx.AsyncClient) -> None:
        tenant = await made(client)
        peers.away = True
        answer = await client.get(f"/v1/tenants/{tenant}/backup")
        assert answer.status_code == 503
        peers.away = False
        read = 0

        class Cut(list[kv_pb2.ExportPage]):
            def __iter__(self) -> Any:
                nonlocal read
                for page in list.__iter__(self):
                    peers.away = read > 0
                    read += 1
                    yield page

        peers.pages = Cut(peers.pages)
        answer = await client.get(f"/v1/tenants/{tenant}/backup")
        assert answer.status_code == 200
        with pytest.raises(archive.Damaged, match="before its manifest"):
            archive.verify(io.BytesIO(answer.content).read)

    run(tmp_path, body)
