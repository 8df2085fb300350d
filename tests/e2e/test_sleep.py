"""A tenant falls asleep to nothing and wakes with its rows."""

from pathlib import Path

import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e


def _asleep(running: OwnGateway, tenant_id: int) -> bool:
    tenant = running.tenant(tenant_id)
    return bool(tenant["state"] == "asleep" and tenant["pods"] == 0)


def test_an_idle_tenant_sleeps_and_its_rows_wait(tmp_path: Path) -> None:
    with gateway(tmp_path, idle_timeout=1, warm_pods=1) as running:
        tenant = running.create_tenant("napper")
        url, number = tenant["connection_url"], tenant["id"]
        assert _asleep(running, number)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
            connection.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
            picture = running.tenant(number)
            assert (picture["state"], picture["pods"]) == ("running", 1)
        for _ in range(3):
            wait_for(lambda: _asleep(running, number), seconds=30, what="the tenant to sleep")
            with psycopg.connect(url) as connection:
                rows = connection.execute("SELECT * FROM t ORDER BY id").fetchall()
                assert rows == [(1, "one"), (2, "two")]


def test_a_client_stays_connected_while_its_tenant_sleeps(tmp_path: Path) -> None:
    with gateway(tmp_path, idle_timeout=1, warm_pods=1) as running:
        tenant = running.create_tenant("dreamer")

        def is_parked() -> bool:
            parked: int = running.tenant(tenant["id"])["parked"]  # proxies tell it now and then
            return _asleep(running, tenant["id"]) and parked == 1

        with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
            connection.execute("SET application_name = 'dream'")
            connection.execute("PREPARE answer AS SELECT 42")
            for _ in range(2):
                wait_for(is_parked, seconds=30, what="sleep, with the client parked")
                assert connection.execute("EXECUTE answer").fetchone() == (42,)
                assert connection.execute("SHOW application_name").fetchone() == ("dream",)
                assert running.tenant(tenant["id"])["state"] == "running"


def test_an_open_transaction_keeps_its_tenant_awake_and_is_named(tmp_path: Path) -> None:
    with gateway(tmp_path, idle_timeout=1, warm_pods=1) as running:
        tenant = running.create_tenant("insomniac")
        with psycopg.connect(tenant["connection_url"]) as connection:
            connection.execute("SELECT 1")
            pid = connection.info.backend_pid

            def named() -> bool:
                because = running.tenant(tenant["id"])["awake_because"]
                return str(pid) in because and "transaction" in because

            wait_for(named, seconds=30, what="the session to be named")
            assert running.tenant(tenant["id"])["state"] == "running"
            connection.rollback()
            wait_for(lambda: _asleep(running, tenant["id"]), seconds=30, what="sleep")


def test_suspending_parks_sessions_and_ends_open_transactions_with_57p01(
    shared_gateway: OwnGateway,
) -> None:
    tenant = shared_gateway.create_tenant("suspended")
    url = tenant["connection_url"]
    with psycopg.connect(url, autocommit=True) as quiet, psycopg.connect(url) as inside:
        quiet.execute("SELECT 1")
        inside.execute("SELECT 1")
        shared_gateway.suspend(tenant["id"])
        assert _asleep(shared_gateway, tenant["id"])
        with pytest.raises(psycopg.OperationalError) as caught:
            inside.execute("SELECT 1")
        assert caught.value.sqlstate == "57P01"
        assert quiet.execute("SELECT 1").fetchone() == (1,)


def test_a_deleted_tenant_is_gone(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("deleted")
    with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id int)")
    shared_gateway.delete(tenant["id"])
    assert shared_gateway.request("GET", f"/v1/tenants/{tenant['id']}").status_code == 404
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(tenant["connection_url"], connect_timeout=10)
