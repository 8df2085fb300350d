"""A password reset while the tenant is in use: the old one is refused, open sessions go on."""

import contextlib
import threading
from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway

pytestmark = pytest.mark.e2e


def reset(running: OwnGateway, tenant: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = running.call(
        "POST", f"/v1/tenants/{tenant['id']}/roles/owner/password"
    )
    return answer


def is_let_in(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=20) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError as error:
        if "password authentication failed" not in str(error):
            raise
        return False
    return True


def knock(url: str) -> None:
    """Wake the tenant; whether that lets anybody in is chance."""
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=20).close()


def test_a_reset_holds_on_running_pods_and_open_sessions_go_on(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("forgetful")
    with psycopg.connect(tenant["connection_url"], autocommit=True) as session:
        session.execute("BEGIN")
        answer = reset(shared_gateway, tenant)
        assert answer["in_effect"] is True
        assert not is_let_in(tenant["connection_url"])
        assert is_let_in(answer["connection_url"])
        session.execute("SELECT 1")
        session.execute("COMMIT")


def test_a_pod_that_is_made_at_that_very_moment_wants_the_new_one(
    shared_gateway: OwnGateway,
) -> None:
    tenant = shared_gateway.create_tenant("hasty")
    path = f"/v1/tenants/{tenant['id']}/suspend"
    url = tenant["connection_url"]
    for _ in range(8):
        shared_gateway.call("POST", path)
        waking = threading.Thread(target=knock, args=(url,))
        waking.start()
        answer = reset(shared_gateway, tenant)
        waking.join()
        assert answer["in_effect"] is True
        assert is_let_in(answer["connection_url"])
        assert not is_let_in(url)
        url = answer["connection_url"]
