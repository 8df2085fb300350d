"""A tenant that is slowed down at its limit, through the whole gateway."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from bench.gateway import OwnGateway, wait_for
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e

_LIMIT_UNITS = 200
_BURST_UNITS = 100
"""Ten seconds of 10 units, which is the rate of so small a limit."""


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnGateway]:
    """A gateway of its own."""
    with gateway(tmp_path_factory.mktemp("throttled")) as own:
        yield own


def test_a_throttled_tenant_is_served_slowly_until_its_limit_is_raised(running: OwnGateway) -> None:
    tenant = running.call("POST", "/v1/tenants", json={"name": "slow"})
    path = f"/v1/tenants/{tenant['id']}/spend-limit"
    running.call("PUT", path, json={"monthly_request_units": _LIMIT_UNITS, "policy": "throttle"})
    ended = threading.Event()

    def used() -> float:
        return float(running.call("GET", path)["used"]["request_units"])

    def raise_it() -> None:
        running.call("PUT", path, json={"monthly_request_units": None})
        ended.set()

    with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE t (a int)")
        wait_for(lambda: _spend(connection, path, running), seconds=60, what="the limit")
        began, before, went = time.monotonic(), used(), 0
        timer = threading.Timer(25.0, raise_it)
        timer.start()
        while not ended.is_set():
            connection.execute("INSERT INTO t VALUES (1)")  # none is refused
            went += not ended.is_set()
        seconds, more = time.monotonic() - began, used() - before
        timer.join()
        assert went > 0
        assert more < 10 * seconds + _BURST_UNITS + 20
        for _ in range(300):
            connection.execute("INSERT INTO t VALUES (1)")


def _spend(connection: psycopg.Connection, path: str, running: OwnGateway) -> bool:
    connection.execute("INSERT INTO t SELECT g FROM generate_series(1, 20) g")
    return bool(running.call("GET", path)["state"] == "throttled")
