"""A pod is revoked while it serves: its certificate opens nothing, its tenant goes on."""

from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for

pytestmark = pytest.mark.e2e


def pods(running: OwnGateway, tenant: dict[str, Any]) -> list[str]:
    found = running.call("GET", f"/v1/tenants/{tenant['id']}/pods")
    return [each["id"] for each in found["pods"]]


def test_sessions_go_on_with_another_pod_or_are_told(shared_gateway: OwnGateway) -> None:
    tenant = shared_gateway.create_tenant("compromised")
    url = tenant["connection_url"]
    with (
        psycopg.connect(url, autocommit=True, connect_timeout=20) as idle,
        psycopg.connect(url, autocommit=True, connect_timeout=20) as busy,
    ):
        idle.execute("CREATE TABLE t (a int)")
        idle.execute("INSERT INTO t VALUES (1)")
        busy.execute("BEGIN")
        busy.execute("INSERT INTO t VALUES (2)")
        (pod,) = pods(shared_gateway, tenant)
        path = f"/v1/tenants/{tenant['id']}/pods/{pod}/revoke"
        assert shared_gateway.call("POST", path)["is_ended"] is True
        # What is asked of a pod in the moment it ends is lost with it.
        wait_for(
            lambda: pod not in pods(shared_gateway, tenant), seconds=20, what="the end of the pod"
        )
        assert idle.execute("SELECT a FROM t").fetchall() == [(1,)]
        with pytest.raises(psycopg.OperationalError):
            busy.execute("COMMIT")
        wait_for(lambda: pods(shared_gateway, tenant), seconds=20, what="another pod")
        assert pod not in pods(shared_gateway, tenant)
    found = shared_gateway.call("GET", f"/v1/tenants/{tenant['id']}/pods")
    assert [each["id"] for each in found["revoked"]] == [pod]
