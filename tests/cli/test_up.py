"""`dormouse up` and the commands beside it, as a person uses them: the whole gateway."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg import conninfo

from bench.gateway import GatewayError, OwnGateway, own_gateway, wait_for
from control.authority import Authority
from dormouse.base.clock import SystemClock
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e

_ROLES = {"storage", "control", "podhost", "autoscaler", "proxy"}


def _dormouse(
    running: OwnGateway, *arguments: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "dormouse.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "DORMOUSE_DATA": str(running.folder), **environment},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def _json(running: OwnGateway, *arguments: str) -> Any:
    return json.loads(_dormouse(running, *arguments, "--json").stdout)


def test_what_scripts_rely_on(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        ready = running.ready
        assert set(ready) == {"sql", "api", "api_ca_file", "admin_key", "ca_file", "roles"}
        assert set(ready["roles"]) == _ROLES
        assert {name: role["pid"] for name, role in running.roles().items()} == {
            name: role["pid"] for name, role in ready["roles"].items()
        }
        assert all(role["state"] == "running" for role in running.roles().values())
        ready_file = running.folder / "ready-file.json"
        assert ready_file.stat().st_mode & 0o777 == 0o600
        open_to_others = [
            file for file in running.folder.rglob("*") if file.lstat().st_mode & 0o077
        ]
        # The test's own launcher made the log of the terminal.
        assert {file.name for file in open_to_others} <= {"ca.crt", "up.log"}
        pids = [role["pid"] for role in ready["roles"].values()]
        second = _dormouse(running, "up", "--sql-port", "0", "--api-port", "0", code=1)
        assert f"pid {running.process.pid}" in second.stderr
        assert running.stop() == 0
        assert not ready_file.exists()
        assert not any(psutil.pid_exists(pid) for pid in pids)


def test_the_commands_of_a_day(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        made = _json(running, "tenant", "create", "shop")
        kept = running.folder / "credentials" / f"shop-{made['id']}"
        assert kept.read_text().strip() == made["password"]
        assert kept.stat().st_mode & 0o777 == 0o600
        assert [each["name"] for each in _json(running, "tenant", "list")] == ["shop"]
        for name in ("shop", str(made["id"]), f"shop-{made['id']}"):
            assert _json(running, "tenant", "show", name)["id"] == made["id"]
        assert "exists" in _dormouse(running, "tenant", "create", "shop", code=1).stderr
        answer = _dormouse(running, "sql", "shop", "--", "-Atc", "SELECT 40 + 2")
        assert answer.stdout == "42\n"
        now = _json(
            running, "tenant", "set", "shop", "--idle-timeout", "90s", "--allow", "10.1.2.3"
        )
        assert (now["idle_timeout_seconds"], now["allowed_networks"]) == (90, ["10.1.2.3/32"])
        refused = _dormouse(running, "sql", "shop", "--", "-Atc", "SELECT 1", code=2)
        assert "not allowed" in refused.stderr
        assert _json(running, "tenant", "set", "shop", "--allow-any")["allowed_networks"] == []
        explained = _json(running, "tenant", "explain", "shop")
        assert "wake" in {each["action"] for each in explained["decisions"]}
        assert [each["name"] for each in _json(running, "top", "--once")["tenants"]] == ["shop"]
        reset = _json(running, "tenant", "password", "shop")
        assert kept.read_text().strip() == reset["password"] != made["password"]
        assert _json(running, "tenant", "suspend", "shop")["state"] == "asleep"
        assert _dormouse(running, "sql", "shop", "--", "-Atc", "SELECT 7").stdout == "7\n"
        old = conninfo.make_conninfo(reset["connection_url"], password=made["password"])
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(old)
        assert _json(running, "tenant", "rename", "shop", "store")["name"] == "store"
        assert _dormouse(running, "sql", "store", "--", "-Atc", "SELECT 8").stdout == "8\n"
        with pytest.raises(psycopg.OperationalError, match="no such tenant"):
            psycopg.connect(reset["connection_url"])
        assert "restorable_until" in _json(running, "tenant", "delete", "store", "--yes")
        assert _json(running, "tenant", "restore", "store", "--as", "shop")["name"] == "shop"
        assert _dormouse(running, "sql", "shop", "--", "-Atc", "SELECT 9").stdout == "9\n"
        kinds = [each["kind"] for each in _json(running, "operation", "list", "shop")]
        assert kinds == ["suspend", "delete", "restore"]
        assert "storage" in _dormouse(running, "status").stdout
        assert "--yes" in _dormouse(running, "tenant", "delete", "shop", code=1).stderr
        assert _json(running, "tenant", "delete", "shop", "--yes", "--purge")["id"] == made["id"]
        assert not kept.exists()
        assert _json(running, "tenant", "list") == []
        assert "no tenant" in _dormouse(running, "tenant", "show", "shop", code=1).stderr


def test_a_restarted_role_refuses_no_connection(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        addresses = [("127.0.0.1", running.sql_port)]
        if Path("/proc/net/if_inet6").exists():
            addresses.append(("::1", running.sql_port))
        for role in ("proxy", "control"):
            process = psutil.Process(running.roles()[role]["pid"])
            process.kill()
            process.wait(timeout=30)
            for address in addresses:
                socket.create_connection(address, timeout=30).close()
            assert running.request("GET", "/healthz").status_code == 200
        for role in sorted(_ROLES):
            before = running.roles()[role]["pid"]
            assert running.kill_role(role) != before
        after = running.roles()
        assert all(role["state"] == "running" for role in after.values())
        assert all(role["restarts"] >= 1 for role in after.values())
        tenant = running.create_tenant("after")
        answer = subprocess.run(
            ["psql", tenant["connection_url"], "-Atc", "SELECT 1"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert answer.stdout == "1\n", answer.stderr


def test_the_demo_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30) / "a b" / "data"  # longer than a Unix socket's name
    log = folder / "up.log"

    def started(times: int) -> bool:
        """Its last word comes after the demo, for which nobody has to wait."""
        return log.read_text().count("Ctrl-C stops it.") == times

    with own_gateway(folder, arguments=["--demo"]) as running:
        wait_for(lambda: started(1), seconds=60, what="the demo")
        (demo,) = _json(running, "tenant", "list")
        assert demo["name"] == "demo"
        first = log.read_text()
        assert f"owner.demo-{demo['id']}:" in first
        _dormouse(running, "tenant", "delete", "demo", "--yes")
        running.stop()
    with own_gateway(folder, arguments=["--demo"]) as running:
        wait_for(lambda: started(2), seconds=60, what="a word")
        assert _json(running, "tenant", "list") == []
        assert "dormouse tenant create" in log.read_text()[len(first) :]


def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    with own_gateway(tmp_path / "data") as running:
        family = psutil.Process(running.process.pid).children(recursive=True)
        assert len(family) > len(_ROLES)  # the roles, and warm pods
        running.process.kill()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
    with own_gateway(tmp_path / "data") as running:
        assert set(running.roles()) == _ROLES


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        # The last of two equal flags counts.
        with (
            pytest.raises(GatewayError, match=f"port {port} .* is in use"),
            own_gateway(tmp_path / "data", arguments=["--api-port", port]),
        ):
            pass


def _certificate(running: OwnGateway, name: str) -> bytes:
    """The API's, verified to be for that name."""
    context = ssl.create_default_context(cafile=running.ca_file)
    port = urlsplit(running.api).port
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as encrypted,
    ):
        found = encrypted.getpeercert(binary_form=True)
    assert found is not None
    return found


def test_the_api_over_tls_for_others_too(tmp_path: Path) -> None:
    flags = ["--api-tls", "--api-host", "0.0.0.0", "--api-name", "gateway.example"]
    with gateway(tmp_path, arguments=[*flags, "--signup-open"]) as running:
        assert running.api.startswith("https://localhost:")
        made = _json(running, "tenant", "create", "shop", "--label", "stage=test")
        assert _json(running, "tenant", "list", "--label", "stage=test")[0]["id"] == made["id"]
        with psycopg.connect(made["connection_url"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        elsewhere = ["--api", running.api, "--api-key", running.ready["admin_key"]]
        refused = _dormouse(running, "status", *elsewhere, code=1)
        assert "--ca" in refused.stderr
        _dormouse(running, "status", *elsewhere, DORMOUSE_API_CA=str(running.ca_file))
        newcomer = running.call("POST", "/v1/signup", json={"organisation": "acme"})
        _dormouse(running, "org", "list", "--api-key", newcomer["key"])
        first = _certificate(running, "gateway.example")
        authority = Authority.open(running.folder / "authority", SystemClock())
        names = ["localhost", "new.example"]
        authority.ensure_api(running.folder / "certificates", names, ["127.0.0.1"])
        os.kill(int(running.roles()["control"]["pid"]), signal.SIGHUP)
        wait_for(lambda: _replaced(running), seconds=30, what="the new certificate")
        assert _certificate(running, "localhost") != first


def _replaced(running: OwnGateway) -> bool:
    try:
        return bool(_certificate(running, "new.example"))
    except ssl.SSLCertVerificationError:
        return False


def test_the_api_in_the_clear_stays_at_home(tmp_path: Path) -> None:
    with (
        pytest.raises(GatewayError, match="--api-tls"),
        own_gateway(tmp_path / "data", arguments=["--api-host", "0.0.0.0"]),
    ):
        pass
