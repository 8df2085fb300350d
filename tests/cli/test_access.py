"""Logging in, organisations, keys, operations, and what is done with tenants, over a fake API."""

import json
from pathlib import Path
from typing import Any

import pytest

from dormouse.cli.login import login_file
from dormouse.cli.main import main
from tests.cli.fake_api import KEY, FakeApi, tenant

_ME = {
    "id": 1,
    "label": "deploy",
    "scope": "tenant",
    "access": "write",
    "organisation": 1,
    "tenant": 17,
    "expires_at": None,
}
_ORG = {"id": 2, "name": "acme", "time_zone": "Asia/Tokyo", "created_at": "2026-01-02T03:04:05Z"}
_OPERATION = {
    "id": 5,
    "kind": "suspend",
    "tenant": 17,
    "status": "failed",
    "started_at": "2026-01-02T03:04:05Z",
    "ended_at": "2026-01-02T03:04:06Z",
    "error": "the autoscaler does not answer",
}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DORMOUSE_DATA", str(tmp_path / "none"))
    monkeypatch.delenv("DORMOUSE_API", raising=False)
    monkeypatch.delenv("DORMOUSE_API_KEY", raising=False)


def test_a_login_is_kept_for_this_user_alone_and_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeApi().running() as api:
        assert main(["login", *api.flags]) == 1  # the key has to be one
        assert not login_file().exists()
        api.answers["GET /v1/me"] = _ME
        api.answers["GET /v1/organisations"] = {"organisations": [_ORG], "next": None}
        assert main(["login", *api.flags]) == 0
        assert login_file().stat().st_mode & 0o777 == 0o600
        assert KEY not in capsys.readouterr().out
        assert main(["org", "list", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == [_ORG]
        assert main(["org", "list", "--api", api.url]) == 0
        assert main(["logout"]) == 0
        assert main(["org", "list"]) == 1
        assert "dormouse login" in capsys.readouterr().err


def test_a_login_wants_a_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["login", "--api-key", KEY]) == 1
    assert "--api" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "asked", "body"),
    [
        (["org", "create", "acme"], "POST /v1/organisations", {"name": "acme", "time_zone": "UTC"}),
        (["org", "set", "acme", "--name", "b"], "PATCH /v1/organisations/2", {"name": "b"}),
        (["org", "delete", "acme"], "DELETE /v1/organisations/2", None),
        (
            ["key", "create", "x", "--tenant", "shop", "--read-only"],
            "POST /v1/keys",
            {"label": "x", "scope": "tenant", "tenant": 17, "access": "read"},
        ),
        (
            ["key", "create", "x", "--org", "acme"],
            "POST /v1/keys",
            {"label": "x", "scope": "organisation", "organisation": 2, "access": "write"},
        ),
        (
            ["key", "create", "x", "--admin", "--expires-at", "2030-01-01T00:00:00Z"],
            "POST /v1/keys",
            {
                "label": "x",
                "scope": "admin",
                "access": "write",
                "expires_at": "2030-01-01T00:00:00Z",
            },
        ),
        (["key", "revoke", "3"], "DELETE /v1/keys/3", None),
        (["tenant", "rename", "shop", "store"], "PATCH /v1/tenants/17", {"name": "store"}),
        (
            ["tenant", "restore", "shop", "--as", "b"],
            "POST /v1/tenants/17/restore",
            {"name": "b"},
        ),
        (["tenant", "password", "shop"], "POST /v1/tenants/17/roles/owner/password", None),
        (["tenant", "delete", "shop", "--yes"], "DELETE /v1/tenants/17", None),
        (
            ["tenant", "delete", "shop", "--yes", "--purge"],
            "DELETE /v1/tenants/17?purge=true",
            None,
        ),
    ],
)
def test_commands_ask_for_what_they_say(
    arguments: list[str], asked: str, body: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    key = {**_ME, "id": 3, "key": "dm_tenant_text"}
    with FakeApi().running() as api:
        api.answers = {
            "GET /v1/organisations": {"organisations": [_ORG], "next": None},
            "GET /v1/tenants": {"tenants": [tenant()], "next": None},
            "POST /v1/organisations": _ORG,
            "PATCH /v1/organisations/2": _ORG,
            "DELETE /v1/organisations/2": {},
            "POST /v1/keys": key,
            "DELETE /v1/keys/3": {},
            "PATCH /v1/tenants/17": tenant(),
            "POST /v1/tenants/17/restore": tenant(),
            "POST /v1/tenants/17/roles/owner/password": {
                "user": "owner",
                "password": "p",
                "connection_url": "postgresql://there",
                "connection_url_sni": "postgresql://there",
            },
            "DELETE /v1/tenants/17": {"id": 17, "restorable_until": "2026-01-09T03:04:05Z"},
        }
        assert main([*arguments, *api.flags]) == 0
        assert api.asked[-1] == (asked, body)
        assert capsys.readouterr().out


def test_a_key_wants_one_reach(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        assert main(["key", "create", "x", *api.flags]) == 1
        assert "--tenant" in capsys.readouterr().err
        assert main(["key", "create", "x", "--tenant", "a", "--org", "b", *api.flags]) == 1
        assert api.asked == []


def test_operations_are_told_and_failure_is_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/operations/5"] = _OPERATION
        api.answers["GET /v1/tenants"] = {"tenants": [tenant()], "next": None}
        api.answers["GET /v1/tenants/17/operations"] = {"operations": [_OPERATION], "next": None}
        assert main(["operation", "show", "5", *api.flags]) == 1
        assert "does not answer" in capsys.readouterr().out
        assert main(["operation", "list", "shop", *api.flags]) == 0
        assert "suspend" in capsys.readouterr().out
