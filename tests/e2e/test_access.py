"""Who may come in: what an operator changes holds at once, at the door and for those inside."""

from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for

pytestmark = pytest.mark.e2e


def connect(tenant: dict[str, Any]) -> "psycopg.Connection[Any]":
    url = tenant["connection_url"]
    return psycopg.connect(url, autocommit=True, connect_timeout=20)


def refusal(url: str) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(url, connect_timeout=20)
    return str(caught.value)


def change(running: OwnGateway, tenant: dict[str, Any], **settings: object) -> None:
    running.call("PATCH", f"/v1/tenants/{tenant['id']}/settings", json=settings)


def test_an_allow_list_holds_at_once(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("walled")
    with connect(tenant) as connection:
        connection.execute("SELECT 1")
        change(shared_gateway, tenant, allowed_networks=["203.0.113.0/24"])

        with pytest.raises(psycopg.OperationalError) as caught:
            wait_for(
                lambda: connection.execute("SELECT 1") is None,
                seconds=20,
                what="the connection's end",
            )
        assert caught.value.sqlstate == "57P01"
    assert "are not allowed" in refusal(tenant["connection_url"])
    change(shared_gateway, tenant, allowed_networks=["127.0.0.0/8", "::1/128"])

    def let_in() -> bool:
        try:
            with connect(tenant) as connection:
                return connection.execute("SELECT 1").fetchone() == (1,)
        except psycopg.OperationalError:
            return False

    wait_for(let_in, seconds=20, what="the change to be known")


def test_connections_are_counted_by_tenant(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("narrow")
    change(shared_gateway, tenant, connections_max=1)
    with connect(tenant) as connection:
        connection.execute("SELECT 1")
        wait_for(
            lambda: 'too many connections for database "narrow"' in refusal_or_none(tenant),
            seconds=20,
            what="the limit to hold",
        )
        with connect(shared_gateway.create_tenant("wide")) as other:
            other.execute("SELECT 1")


def refusal_or_none(tenant: dict[str, Any]) -> str:
    try:
        connect(tenant).close()
    except psycopg.OperationalError as error:
        return str(error)
    return ""


def test_wrong_passwords_make_the_next_one_wait(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("guessed")
    wrong = psycopg.conninfo.make_conninfo(tenant["connection_url"], password="guess")
    for _ in range(3):
        assert "password authentication failed" in refusal(wrong)
    assert "too many failed login attempts" in refusal(wrong)

    wait_for(lambda: refusal_or_none(tenant) == "", seconds=20, what="the wait to be over")


def test_a_deleted_tenants_sessions_end(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("doomed")
    with connect(tenant) as connection:
        connection.execute("SELECT 1")
        shared_gateway.delete(tenant["id"])
        with pytest.raises(psycopg.OperationalError) as caught:
            connection.execute("SELECT 1")
        assert caught.value.sqlstate == "57P01"
    assert "there is no such tenant" in refusal(tenant["connection_url"])
