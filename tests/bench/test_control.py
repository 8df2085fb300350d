"""What the benchmark of control stands on: rows as the API leaves them, and a client that asks."""

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bench.apicalls import Caller
from bench.fill import fill
from bench.gateway import Gateway, GatewayError
from control.actor import EVERYTHING
from dormouse.base.ids import TenantId
from tests.cli.fake_api import KEY, FakeApi
from tests.control.support import stores_at


def _ready(api: str) -> dict[str, object]:
    sql = {"host": "localhost", "port": 1}
    return {"sql": sql, "ca_file": "ca.crt", "api": api, "admin_key": KEY}


def test_filled_tenants_are_like_the_one_that_was_made(tmp_path: Path) -> None:
    async def make() -> None:
        async with stores_at(tmp_path) as stores:
            made = await stores.registry.add(
                name="pattern",
                owner="owner",
                database="pattern",
                scram_verifier="v",
                connections_max=10,
                labels={"stage": "test"},
            )
            fill(tmp_path / "registry.sqlite", made.id, 7)
            found = await stores.registry.page(after=made.id, limit=100)
            assert [each.id for each in found] == list(range(2, 9))
            for each in found:
                labels = {"group": f"g{each.id}", "stage": "test"}
                name = f"many-{each.id}"
                same = replace(made, id=each.id, name=name, database=name, labels=labels)
                assert each == same
            page = await stores.journal.page(
                after=0, limit=10, reach=EVERYTHING, tenant=TenantId(5)
            )
            assert [(each.note.action, each.note.resource) for each in page] == [
                ("tenant.create", "tenants/5")
            ]
            newcomer = await stores.registry.add(
                name="after", owner="o", database="d", scram_verifier="v", connections_max=1
            )
            assert newcomer.id == 9

    asyncio.run(make())
    with sqlite3.connect(tmp_path / "registry.sqlite") as connection:
        (labels,) = connection.execute("SELECT count(*) FROM tenant_labels").fetchone()
    connection.close()
    assert labels == 1 + 2 * 7


def test_a_caller_keeps_its_connection_and_tells_refusals() -> None:
    with FakeApi().running() as api, Gateway(_ready(api.url)) as gateway, Caller(gateway) as caller:
        api.answers["POST /v1/tenants"] = {"id": 1}
        taken_ms, answer = caller.timed("POST", "/v1/tenants", {"name": "a"})
        assert (answer, api.asked) == ({"id": 1}, [("POST /v1/tenants", {"name": "a"})])
        assert taken_ms > 0
        with pytest.raises(GatewayError, match="404"):
            caller.call("GET", "/v1/nothing")
