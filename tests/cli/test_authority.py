"""Certificates, pods and the operator's key, over a fake API."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from dormouse.cli.main import main
from dormouse.cli.trustflags import parse_seconds
from tests.cli.fake_api import KEY, FakeApi, tenant

POD = "fedcba9876543210"
_OPERATION = {"id": 5, "kind": "rotate", "tenant": None, "status": "running"}


def _certificate(name: str, days: float, state: str = "valid") -> dict[str, Any]:
    return {
        "name": name,
        "serial": "1f",
        "issuer": "Dormouse authority",
        "begins_at": "2026-01-01T00:00:00Z",
        "ends_at": "2027-01-01T00:00:00Z",
        "days_left": days,
        "state": state,
    }


def _authority(*certificates: dict[str, Any]) -> dict[str, Any]:
    return {
        "authorities": [_certificate("ca", 3000)],
        "certificates": list(certificates),
        "rotation": None,
        "secrets": {"key": "0badcafe", "old_keys": 0},
    }


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DORMOUSE_DATA", str(tmp_path / "data"))
    for name in ("DORMOUSE_API", "DORMOUSE_API_KEY", "DORMOUSE_API_CA"):
        monkeypatch.delenv(name, raising=False)


def test_certificates_are_shown_and_an_end_is_an_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/authority"] = _authority(_certificate("proxy", 200))
        assert main(["authority", "show", *api.flags]) == 0
        out = capsys.readouterr().out
        assert "proxy" in out
        assert "0badcafe" in out
        rotation = {
            "phase": "reissued",
            "since": "2026-01-01T00:00:00Z",
            "clients_at": "2026-01-08T00:00:00Z",
            "operation": 5,
        }
        shown = _authority(_certificate("proxy", 20, "expiring"))
        api.answers["GET /v1/authority"] = shown | {"rotation": rotation}
        assert main(["authority", "show", *api.flags]) == 1
        assert "reissued" in capsys.readouterr().out
        assert main(["authority", "show", "--json", *api.flags]) == 1
        assert json.loads(capsys.readouterr().out)["rotation"] == rotation


def test_what_is_asked_for_is_asked_of_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    revoke = f"POST /v1/tenants/17/pods/{POD}/revoke"
    with FakeApi().running() as api:
        api.answers = {
            "POST /v1/authority/rotate": _OPERATION,
            "POST /v1/authority/rotate-secrets": {"key": "0badcafe", "old_keys": 1},
            "GET /v1/tenants": {"tenants": [tenant()], "next": None},
            "GET /v1/tenants/17/pods": {
                "pods": [{"id": POD, "state": "running", "sessions": 2, "cpu_percent": 1.5}],
                "revoked": [{"id": "1" * 16, "revoked_at": "x", "until": "y"}],
            },
            revoke: {"id": POD, "revoked_at": "x", "until": "y", "is_ended": True},
        }
        assert main(["authority", "rotate", "--clients-after", "12h", *api.flags]) == 0
        assert api.asked[-1] == ("POST /v1/authority/rotate", {"clients_after_seconds": 43_200})
        assert main(["authority", "rotate-secrets", *api.flags]) == 0
        assert main(["pod", "list", "shop", *api.flags]) == 0
        out = capsys.readouterr().out
        assert POD in out
        assert "revoked" in out
        assert main(["pod", "revoke", "shop", POD, *api.flags]) == 0
        assert "revoked and ended" in capsys.readouterr().out
        api.answers[revoke] |= {"is_ended": False}
        assert main(["pod", "revoke", "shop", POD, *api.flags]) == 0
        assert "could not be ended yet" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "7w", "1.5d"])
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_seconds(text)


def test_the_operators_key_is_replaced_where_it_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me = {"id": 1, "label": "operator", "scope": "admin", "access": "write"}
    run = tmp_path / "data" / "run"
    run.mkdir(parents=True)
    (tmp_path / "data" / "admin.key").write_text(KEY + "\n")
    with FakeApi().running() as api:
        api.answers = {
            "GET /v1/me": me,
            "POST /v1/keys": {**me, "id": 2, "key": "dm_admin_new"},
            "DELETE /v1/keys/1": {},
        }
        (run / "ready.json").write_text(json.dumps({"api": api.url, "admin_key": KEY, "sql": {}}))
        assert main(["key", "replace"]) == 0
        assert capsys.readouterr().out.count("dm_admin_new") == 1
        assert (tmp_path / "data" / "admin.key").read_text() == "dm_admin_new\n"
        assert (tmp_path / "data" / "admin.key").stat().st_mode & 0o777 == 0o600
        ready = json.loads((run / "ready.json").read_text())
        assert (ready["admin_key"], ready["sql"]) == ("dm_admin_new", {})
        api.answers["GET /v1/me"] = {**me, "scope": "tenant"}
        assert main(["key", "replace", *api.flags]) == 1
        assert "not an operator's key" in capsys.readouterr().err
