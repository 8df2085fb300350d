"""Spend limits through the whole gateway: under load, at the limit, above it, and who is told."""

import base64
import hashlib
import hmac
import json
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import pq

from bench.gateway import OwnGateway, wait_for
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e

_FREE_UNITS = 300
_UNITS_PER_CENT = 500
_CLIENTS = 4
_BOUND_UNITS = 100 * _CLIENTS
"""A hundred for each statement that runs (docs/limits.md)."""
_SECONDS_MAX = 90.0
_PRICES = {
    "currency": "USD",
    "versions": [
        {
            "effective_from": "2026-01-01",
            "per_million_units": 10_000 * 1_000_000 // _UNITS_PER_CENT,
            "free_units": _FREE_UNITS,
        }
    ],
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnGateway]:
    """A gateway with prices of its own, whose webhooks may go to this machine."""
    folder = tmp_path_factory.mktemp("limits")
    with gateway(folder, allowed=(r"role \w+ died",)) as own:
        book = own.folder / "prices.json"
        book.write_text(json.dumps(_PRICES))
        change_control(
            own.folder,
            price_book=str(book),
            webhook_http=True,
            webhook_networks_allowed=["127.0.0.0/8"],
        )
        own.kill_role("control")
        yield own


def change_control(folder: Path, **settings: object) -> None:
    file = folder / "run" / "control.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@dataclass
class Receiver:
    """A webhook's server, which keeps what it was sent and was proven."""

    secret: str = ""
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    forged: int = 0

    def take(self, headers: Any, body: bytes) -> None:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        mac = hmac.new(key, signed, hashlib.sha256).digest()
        if f"v1,{base64.b64encode(mac).decode()}" in headers["webhook-signature"].split(" "):
            self.bodies.append(json.loads(body))
        else:
            self.forged += 1


@contextmanager
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.take(self.headers, body)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def spend_until_stopped(
    running: OwnGateway, tenant: dict[str, Any], path: str = ""
) -> tuple[psycopg.Error, dict[str, Any]]:
    """Several clients write as fast as they can until the limit is reached; the last refusal, and
    the limit (of `path`, or the tenant's) when control has heard all of it."""
    refusals: list[psycopg.Error] = []
    over = threading.Event()

    def write() -> None:
        url = tenant["connection_url"]
        with psycopg.connect(url, autocommit=True, connect_timeout=20) as connection:
            while not over.is_set():
                try:
                    connection.execute("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5) g")
                except psycopg.Error as error:
                    refusals.append(error)
                    over.wait(0.05)

    def look() -> dict[str, Any] | None:
        found = limit_of(running, tenant, path)
        has_stopped = found["state"] == "stopped" and len(found["notices"]) == 4
        return found if has_stopped and refusals else None

    clients = [threading.Thread(target=write) for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    try:
        wait_for(look, seconds=_SECONDS_MAX, what="the limit to be reached")
    finally:
        over.set()
        for client in clients:
            client.join()
    assert {error.sqlstate for error in refusals} == {"53400"}
    return refusals[-1], limit_of(running, tenant, path)


def limit_of(running: OwnGateway, tenant: dict[str, Any], path: str = "") -> dict[str, Any]:
    path = path or f"/v1/tenants/{tenant['id']}/spend-limit"
    document: dict[str, Any] = running.call("GET", path)
    return document


def set_limit(running: OwnGateway, tenant: dict[str, Any], **limit: object) -> None:
    running.call("PUT", f"/v1/tenants/{tenant['id']}/spend-limit", json=limit)


def limited(running: OwnGateway, name: str, **limit: object) -> dict[str, Any]:
    """A tenant of an organisation of its own, for the allowance is an organisation's."""
    own = running.call("POST", "/v1/organisations", json={"name": name})
    tenant: dict[str, Any] = running.call(
        "POST", "/v1/tenants", json={"name": name, "organisation": own["id"]}
    )
    set_limit(running, tenant, **limit)
    with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id int, name text)")
    return tenant


def test_a_limit_in_units_stops_at_once_and_a_higher_one_lets_go(running: OwnGateway) -> None:
    with receiver() as hook:
        made = {"url": hook.url, "events": ["spend.*"]}
        hook.secret = running.call("POST", "/v1/webhooks", json=made)["secret"]
        tenant = limited(running, "counted", monthly_request_units=3000)
        url = tenant["connection_url"]
        error, found = spend_until_stopped(running, tenant)
        assert "spend limit reached" in str(error)
        assert "3000 request units a month" in (error.diag.message_detail or "")
        assert "dormouse limit set" in (error.diag.message_hint or "")
        assert 2900 < found["used"]["request_units"] <= 3000 + _BOUND_UNITS
        with psycopg.connect(url, autocommit=True, connect_timeout=20) as connection:
            row = connection.execute("SELECT count(*) FROM t").fetchone()
            assert row is not None
            assert row[0] > 0
            connection.execute("DELETE FROM t WHERE id = 1")
            with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
                connection.execute("INSERT INTO t VALUES (1, 'x')")
            set_limit(running, tenant, monthly_request_units=100_000)

            def goes_on() -> bool:
                try:
                    connection.execute("INSERT INTO t VALUES (1, 'x')")
                except psycopg.errors.ConfigurationLimitExceeded:
                    return False
                return True

            wait_for(goes_on, seconds=20, what="the higher limit to be known")
        told = running.call("GET", f"/v1/events?tenant={tenant['id']}&limit=500")["events"]
        wanted = [each["id"] for each in told if each["kind"].startswith("spend.")]
        wait_for(lambda: len(hook.bodies) >= len(wanted), seconds=30, what="the webhooks")
        notices = [each for each in hook.bodies if each["type"] == "spend.notice"]
        assert sorted(each["data"]["percent"] for each in notices) == [50, 75, 90, 100]
        kinds = sorted(each["type"] for each in hook.bodies)
        assert kinds[:1] + kinds[-1:] == ["spend.limit_reached", "spend.restored"]
        assert (len(hook.bodies), hook.forged) == (6, 0)


def test_a_limit_of_a_cent_beyond_the_allowance(running: OwnGateway) -> None:
    tenant = limited(running, "paid", monthly_cents=1)
    error, found = spend_until_stopped(running, tenant)
    assert "$0.01 a month" in (error.diag.message_detail or "")
    most = _FREE_UNITS + _UNITS_PER_CENT
    assert most - 100 < found["used"]["request_units"] <= most + _BOUND_UNITS
    assert found["used"]["cost_micros"] >= 9_000

    def is_one_sum() -> bool:  # reports still come in between the two calls
        usage = running.call("GET", f"/v1/tenants/{tenant['id']}/usage")
        limit = limit_of(running, tenant)
        return bool(usage["cost_micros"] == limit["used"]["cost_micros"])

    wait_for(is_one_sum, seconds=20, what="usage and limit to name one sum")


def test_notify_only_tells_and_a_login_does(running: OwnGateway) -> None:
    tenant = limited(running, "told", monthly_request_units=100, policy="notify")
    with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
        for _ in range(40):
            connection.execute("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5) g")
    wait_for(lambda: len(limit_of(running, tenant)["notices"]) == 4, seconds=20, what="the notices")
    assert limit_of(running, tenant)["state"] == "free"

    def is_told() -> bool:
        return any("spend limit" in each for each in login_notices(tenant["connection_url"]))

    wait_for(is_told, seconds=20, what="the notice at login")


def login_notices(url: str) -> list[str]:
    """What the server says while a client logs in."""
    found: list[str] = []
    connection = pq.PGconn.connect_start(url.encode())

    def take(result: pq.abc.PGresult) -> None:
        text = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        found.append((text or b"").decode())

    connection.notice_handler = take
    while (status := connection.connect_poll()) in (
        pq.PollingStatus.READING,
        pq.PollingStatus.WRITING,
    ):
        reading = [connection.socket] if status == pq.PollingStatus.READING else []
        writing = [] if reading else [connection.socket]
        select.select(reading, writing, [], 20)
    assert connection.status == pq.ConnStatus.OK, connection.error_message
    connection.finish()
    return found


def test_control_is_killed_while_a_tenant_spends(running: OwnGateway) -> None:
    tenant = limited(running, "orphaned", monthly_request_units=6000)
    with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
        for _ in range(20):
            connection.execute("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5) g")
        running.kill_role("control")
        for _ in range(20):  # nobody waits for it
            connection.execute("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 5) g")
    error, found = spend_until_stopped(running, tenant)
    assert "6000 request units a month" in (error.diag.message_detail or "")
    assert 5900 < found["used"]["request_units"] <= 6000 + _BOUND_UNITS


def test_an_organisations_limit_holds_for_its_tenants_together(running: OwnGateway) -> None:
    first = limited(running, "shared")
    organisation = first["organisation"]
    path = f"/v1/organisations/{organisation}/spend-limit"
    running.call("PUT", path, json={"monthly_request_units": 3000})
    body = {"name": "shared-too", "organisation": organisation}
    second: dict[str, Any] = running.call("POST", "/v1/tenants", json=body)
    with psycopg.connect(second["connection_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE t (id int, name text)")
        _, found = spend_until_stopped(running, first, path)
        assert (found["state"], found["limited_by"]) == ("stopped", "organisation")

        def refusal() -> psycopg.Error | None:
            try:
                connection.execute("INSERT INTO t VALUES (1, 'x')")
            except psycopg.errors.ConfigurationLimitExceeded as error:
                return error
            return None

        other = wait_for(refusal, seconds=20, what="the other tenant to be stopped")
        assert "the organisation's 3000" in (other.diag.message_detail or "")
    assert found["used"]["request_units"] <= 3000 + 2 * _BOUND_UNITS
