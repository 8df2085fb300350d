"""What is secret is in no log, no answer but the one that makes it, no metric, and no audit log.

A gateway at its most talkative is driven through everything that makes or takes a secret. Then all
secrets there ever were are looked for in all it has said.
"""

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from bench.gateway import GatewayError, OwnGateway, wait_for
from control.sealing import COLUMNS
from control.vault import Vault
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e
WRONG_PASSWORD = "a-wrong-password-that-somebody-typed"
WRONG_KEY = "dm_admin_a-wrong-key-that-somebody-sent"
SQL_PASSWORD = "a-password-within-a-statement"


class Secrets:
    """The secrets by where they came from, and all that was said otherwise."""

    def __init__(self, running: OwnGateway) -> None:
        self.running = running
        self.known: dict[str, str] = {
            "a wrong password": WRONG_PASSWORD,
            "a wrong key": WRONG_KEY,
            "a password in SQL": SQL_PASSWORD,
        }
        self.said: dict[str, str] = {}

    def make(self, method: str, path: str, *names: str, **options: Any) -> dict[str, Any]:
        """A call whose answer may show the secrets in its fields `names`, and only those."""
        answer: dict[str, Any] = self.running.call(method, path, **options)
        for name in names:
            self.known[f"{name} of {method} {path}"] = answer.pop(name)
        for url in ("connection_url", "connection_url_sni"):
            answer.pop(url, None)
        self.hear(f"{method} {path}", json.dumps(answer))
        return answer

    def hear(self, where: str, text: str) -> None:
        self.said[f"{where} #{len(self.said)}"] = text

    def ask(self, method: str, path: str, **options: Any) -> None:
        """A call that may be refused."""
        answer = self.running.request(method, path, **options)
        self.hear(f"{method} {path}", f"{answer.headers}\n{answer.text}")

    def leaks(self) -> list[str]:
        return [
            f"{name} in {where}"
            for where, text in self.said.items()
            for name, secret in self.known.items()
            if secret in text
        ]


def _drive(secrets: Secrets) -> dict[str, Any]:
    """Everything that makes, takes or replaces a secret."""
    running = secrets.running
    tenant = secrets.make("POST", "/v1/tenants", "password", json={"name": "safe"})
    password = secrets.known["password of POST /v1/tenants"]
    url = running.call("GET", f"/v1/tenants/{tenant['id']}/connection-urls")["user"]
    _use(url, password)
    reset = f"/v1/tenants/{tenant['id']}/roles/owner/password"
    again = {"Idempotency-Key": "once"}
    secrets.make("POST", reset, "password", headers=again)
    with contextlib.suppress(psycopg.OperationalError):
        _use(url, password)  # the one of before
    with contextlib.suppress(psycopg.OperationalError):
        _use(url, WRONG_PASSWORD)
    for path in ("/v1/keys", f"/v1/tenants/{tenant['id']}"):
        secrets.ask("GET", path, headers={"Authorization": f"Bearer {WRONG_KEY}"})
    key = secrets.make("POST", "/v1/keys", "key", json={"label": "probe", "scope": "admin"})
    secrets.ask("GET", "/v1/me", headers={"Authorization": f"Bearer {_last(secrets)}"})
    secrets.ask("DELETE", f"/v1/keys/{key['id']}")
    hook = {"url": "https://hooks.example.com/x", "events": ["*"]}
    webhook = secrets.make("POST", "/v1/webhooks", "secret", json=hook)
    secrets.make("POST", f"/v1/webhooks/{webhook['id']}/secret", "secret")
    secrets.ask("POST", f"/v1/webhooks/{webhook['id']}/test")
    secrets.ask("POST", "/v1/authority/rotate-secrets")
    secrets.ask("POST", "/v1/authority/rotate", json={"clients_after_seconds": 0})
    (pod,) = running.call("GET", f"/v1/tenants/{tenant['id']}/pods")["pods"] or [None]
    if pod is not None:
        secrets.ask("POST", f"/v1/tenants/{tenant['id']}/pods/{pod['id']}/revoke")
    for broken in ("POST", "PATCH"):
        secrets.ask(broken, f"/v1/tenants/{tenant['id']}", content=b"{")
    return {**tenant, "webhook": webhook["id"]}


def _last(secrets: Secrets) -> str:
    return secrets.known["key of POST /v1/keys"]


def _use(url: str, password: str) -> None:
    conninfo = psycopg.conninfo.make_conninfo(url, password=password)
    with psycopg.connect(conninfo, autocommit=True, connect_timeout=20) as connection:
        connection.execute("SELECT 1")
        with contextlib.suppress(psycopg.Error):
            connection.execute(f"CREATE ROLE other LOGIN PASSWORD '{SQL_PASSWORD}'")


def _read_everything(secrets: Secrets, tenant: dict[str, Any]) -> None:
    """Every GET there is, and the metrics of every role."""
    running = secrets.running
    paths = httpx.get(f"{running.api}/openapi.json", trust_env=False).json()["paths"]
    numbers = {"webhooks": tenant["webhook"], "organisations": 1, "keys": 1, "operations": 1}
    for path, methods in paths.items():
        if "get" in methods:
            kind = path.removeprefix("/v1/").partition("/")[0]
            number = numbers.get(kind, tenant["id"])
            secrets.ask("GET", path.replace("{id}", str(number)))
    for role in running.roles().values():
        if role["metrics"]:
            text = httpx.get(role["metrics"], trust_env=False).text
            assert "# HELP" in text
            secrets.hear(role["metrics"], text)


def _secrets_on_disk(folder: Path) -> Iterator[tuple[str, str]]:
    """Private keys, the operator's key, the vault's keys, and what the registry has sealed."""
    yield "the operator's key", (folder / "admin.key").read_text().strip()
    for file in [*folder.glob("authority/*.key"), *folder.glob("certificates/*.key")]:
        body = [line for line in file.read_text().splitlines() if "-----" not in line]
        assert body
        for line in body:
            yield str(file), line
    for line in (folder / "authority" / "secrets.keys").read_text().splitlines():
        yield "a key of the vault", line.split()[1]
    vault = Vault.at(folder / "authority" / "secrets.keys")
    with contextlib.closing(sqlite3.connect(folder / "control" / "registry.sqlite")) as registry:
        for each in COLUMNS:
            query = f"SELECT {each.column} FROM {each.table} WHERE {each.column} <> x''"
            for (sealed,) in registry.execute(query):
                opened = vault.open(each.purpose, sealed)
                yield f"{each.purpose} (hex)", opened.hex()
                yield f"{each.purpose} (repr)", repr(opened)[2:-1]
        for (verifier,) in registry.execute("SELECT scram_verifier FROM tenants"):
            stored, server = verifier.split("$")[2].split(":")
            yield from (("a stored key", stored), ("a server key", server))


def test_no_secret_is_said_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DORMOUSE_LOG_LEVEL", "debug")
    with gateway(tmp_path, allowed=("CERTIFICATE_VERIFY_FAILED", r"role \w+ died")) as running:
        secrets = Secrets(running)
        before = dict(_secrets_on_disk(running.folder))
        tenant = _drive(secrets)

        def is_rotated() -> bool:
            return running.call("GET", "/v1/authority")["rotation"] is None

        wait_for(is_rotated, seconds=120, what="the end of the rotation")
        _read_everything(secrets, tenant)
        with pytest.raises(GatewayError):
            running.call("GET", "/v1/nothing")
        folder = running.folder
    for number, (name, secret) in enumerate([*before.items(), *_secrets_on_disk(folder)]):
        secrets.known[f"{name} #{number}"] = secret
    logs = [*(folder / "logs").glob("*.log*"), folder / "run" / "status.json"]
    assert len(logs) > 5
    for file in logs:
        secrets.hear(file.name, file.read_text(errors="replace"))
    assert len(secrets.known) > 40
    assert all(len(secret) >= 8 for secret in secrets.known.values())
    assert secrets.leaks() == []
    # And it would have been found.
    secrets.hear("a probe", f"x{_last(secrets)}x")
    assert len(secrets.leaks()) == 1


def test_the_operators_key_is_printed_once(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        folder = running.folder
        key = (folder / "admin.key").read_text().strip()
    outputs = [each for each in tmp_path.rglob("*") if each.is_file() and each.suffix != ".sqlite"]
    printed = [
        each.name
        for each in outputs
        if re.search(rf"shown this once: {re.escape(key)}", each.read_text(errors="replace"))
    ]
    assert len(printed) == 1
