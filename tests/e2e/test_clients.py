"""Drivers run an application's script through the whole gateway and see what PostgreSQL shows."""

from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway
from tests.clients import record

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("client", record.SCRIPTS)
def test_a_driver_sees_what_postgresql_shows(client: str, shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant(client.replace("_", "-"))
    assert record.SCRIPTS[client](tenant["connection_url"]) == record.expected(client)


def test_the_server_name_finds_the_tenant(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("by-sni")
    with psycopg.connect(tenant["connection_url_sni"]) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (tenant["user"],)


def test_options_find_the_tenant(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("by-options")
    with psycopg.connect(**_plain(shared_gateway, tenant)) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == (tenant["database"],)


def test_a_wrong_password_is_refused_as_postgresql_refuses_it(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("wrong-password")
    arguments = _plain(shared_gateway, tenant) | {"password": "guess"}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed for user"):
        psycopg.connect(**arguments)


def test_tenants_do_not_see_each_other(shared_gateway: OwnGateway) -> None:
    first, second = (shared_gateway.create_tenant(name) for name in ("mine", "yours"))
    with psycopg.connect(first["connection_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE secrets (id int PRIMARY KEY)")
    with (
        psycopg.connect(second["connection_url"]) as connection,
        pytest.raises(psycopg.errors.UndefinedTable),
    ):
        connection.execute("SELECT * FROM secrets")
    crossed = _plain(shared_gateway, first) | {"password": second["password"]}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(**crossed)


def _plain(gateway: OwnGateway, tenant: dict[str, Any]) -> dict[str, Any]:
    """Connection parameters that name the tenant in `options` only."""
    return {
        "host": "127.0.0.1",
        "port": gateway.sql_port,
        "user": tenant["user"],
        "password": tenant["password"],
        "dbname": tenant["database"],
        "options": f"--tenant={tenant['name']}-{tenant['id']}",
        "sslmode": "require",
    }
