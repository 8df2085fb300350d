"""What statements cost, from a pod to the API; and a tenant that stores as much as it may."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e
MIB = 1 << 20


def _usage(running: OwnGateway, tenant: int) -> tuple[float, float]:
    """The tenant's request units, and those of its roles together."""
    found = running.call("GET", f"/v1/tenants/{tenant}/usage?by=role")
    return found["request_units"], sum(role["request_units"] for role in found["roles"])


def test_what_statements_and_roles_cost_is_told_and_adds_up(tmp_path: Path) -> None:
    with gateway(tmp_path, idle_timeout=1, warm_pods=1) as running:
        tenant = running.create_tenant("shop")
        number = tenant["id"]
        with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
            connection.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
            connection.execute(
                "INSERT INTO a SELECT g, repeat('x', 100) FROM generate_series(1, 2000) g"
            )
            for key in range(1, 101):
                found = connection.execute("SELECT b FROM a WHERE id = %s", (key,)).fetchall()
                assert found == [("x" * 100,)]
        # The pod ends when its tenant sleeps, and reports once more before it does.
        path = f"/v1/tenants/{number}/statements?order=calls"

        def told() -> dict[str, Any] | None:
            answer = running.call("GET", path)
            calls = [each["calls"] for each in answer["statements"]]
            return answer if calls[:1] == [100] else None

        answer = wait_for(told, seconds=60, what="the pod's report")
        select = answer["statements"][0]
        assert (select["rows"], select["role"]) == (100, "owner")
        assert select["query"].startswith("SELECT b FROM a WHERE id = $")
        by_cost = running.call("GET", f"/v1/tenants/{number}/statements")
        assert by_cost["statements"][0]["query"].startswith("INSERT INTO a SELECT")

        def adds_up() -> bool:
            units, roles = _usage(running, number)
            return units > 2000 and abs(units - roles) < 0.001

        wait_for(adds_up, seconds=60, what="roles that add up to the tenant's units")


def _insert(connection: psycopg.Connection[Any], start: int) -> None:
    connection.execute(
        "INSERT INTO a SELECT g, repeat('x', 1000) FROM generate_series(%s::int, %s::int) g",
        (start, start + 99),
    )


def _fill(connection: psycopg.Connection[Any], start: int) -> int:
    for first in range(start, start + 20_000, 100):
        try:
            _insert(connection, first)
        except psycopg.errors.DiskFull:
            return first
    raise AssertionError("there was no end to it")


def test_a_full_tenant_deletes_and_goes_on(tmp_path: Path) -> None:
    with gateway(tmp_path, warm_pods=1) as running:
        tenant = running.create_tenant("shop")
        running.change(tenant["id"], storage_max_bytes=MIB)
        with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
            connection.execute("CREATE TABLE a (id int PRIMARY KEY, b text)")
            full = _fill(connection, 1)
            assert 500 < full < 1500
            running.change(tenant["id"], storage_max_bytes=2 * MIB)
            _insert(connection, full)  # the very next statement
            running.change(tenant["id"], storage_max_bytes=MIB)
            with pytest.raises(psycopg.errors.DiskFull) as refused:
                _insert(connection, full + 100)
            assert refused.value.diag.message_detail is not None
            assert connection.execute("DELETE FROM a WHERE id > 100").rowcount == full - 1
            _insert(connection, full + 100)
            running.kill_role("storage")
            wait_for(
                lambda: connection.execute("SELECT count(*) FROM a").fetchone() == (200,),
                seconds=30,
                what="storage to come back",
            )
            again = _fill(connection, full + 200)
            assert again < full + 1500, "a new process of storage knows the limit"
