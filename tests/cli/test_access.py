"""Logging in, organisations, keys, operations, and what is done with tenants, over a fake API."""

import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from control.authority import Authority
from dormouse.base.clock import SystemClock
from dormouse.cli.login import is_exposed, login_file
from dormouse.cli.main import main
from tests.cli.fake_api import ETAG, KEY, FakeApi, tenant

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
    monkeypatch.delenv("DORMOUSE_API_CA", raising=False)


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
        (
            ["org", "set", "acme", "--billing-address", "Acme KK\nTokyo"],
            "PATCH /v1/organisations/2",
            {"billing_address": "Acme KK\nTokyo"},
        ),
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
        (["role", "password", "shop"], "POST /v1/tenants/17/roles/owner/password", None),
        (
            ["tenant", "create", "b", "--org", "acme", "--label", "a=1", "--label", "b=x=y"],
            "POST /v1/tenants",
            {"name": "b", "organisation": 2, "labels": {"a": "1", "b": "x=y"}},
        ),
        (
            ["tenant", "label", "shop", "stage=live", "note=", "old-"],
            "PATCH /v1/tenants/17",
            {"labels": {"stage": "live", "kept": "1", "note": ""}},
        ),
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
            "GET /v1/tenants/17": tenant(labels={"stage": "test", "kept": "1", "old": "x"}),
            "POST /v1/tenants": tenant(),
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
                "in_effect": True,
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


def test_labels_are_changed_as_they_were_read() -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/tenants"] = {"tenants": [tenant()], "next": None}
        api.answers["GET /v1/tenants/17"] = tenant(labels={"a": "1"})
        api.answers["PATCH /v1/tenants/17"] = tenant(labels={"a": "2"})
        assert main(["tenant", "label", "shop", "a=2", *api.flags]) == 0
        assert api.if_match == ETAG


def test_lists_are_filtered_and_end_at_their_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/organisations"] = {"organisations": [_ORG], "next": None}
        api.answers["GET /v1/tenants"] = {"tenants": [tenant(), tenant(18, "b")], "next": 18}
        filters = ["--state", "running", "--org", "acme", "--label", "a=1", "--label", "b"]
        assert main(["tenant", "list", *filters, "--limit", "4", "--json", *api.flags]) == 0
        assert len(json.loads(capsys.readouterr().out)) == 4
        asked = [parse_qs(urlsplit(path).query) for path in api.paths if "/v1/tenants" in path]
        common = {"state": ["running"], "organisation": ["2"], "label": ["a=1", "b"]}
        assert asked == [
            {**common, "limit": ["4"], "after": ["0"]},
            {**common, "limit": ["2"], "after": ["18"]},
        ]


def test_roles_and_urls_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    urls = {form: f"postgresql://{form}" for form in ("user", "sni", "options", "database")}
    roles = [{"name": "owner", "is_owner": True}]
    with FakeApi().running() as api:
        api.answers["GET /v1/tenants"] = {"tenants": [tenant()], "next": None}
        api.answers["GET /v1/tenants/17/connection-urls"] = urls
        api.answers["GET /v1/tenants/17/roles"] = {"roles": roles}
        assert main(["tenant", "urls", "shop", *api.flags]) == 0
        shown = capsys.readouterr().out
        assert all(url in shown for url in urls.values())
        assert main(["role", "list", "shop", *api.flags]) == 0
        assert "owner" in capsys.readouterr().out
        for command, document in ((["tenant", "urls"], urls), (["role", "list"], roles)):
            assert main([*command, "shop", "--json", *api.flags]) == 0
            assert json.loads(capsys.readouterr().out) == document


@pytest.mark.parametrize(
    "arguments",
    [
        ["tenant", "create", "a", "--label", "stage"],
        ["tenant", "label", "a", "stage"],
        ["tenant", "list", "--state", "odd"],
        ["tenant", "list", "--limit", "0"],
        ["role"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_are_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_a_login_over_tls_keeps_what_it_was_verified_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority.open(tmp_path / "authority", SystemClock())
    authority.ensure_api(tmp_path, ["localhost"], ["127.0.0.1"])
    ca_file, own = tmp_path / "ca.crt", tmp_path / "api.crt"
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(own, tmp_path / "api.key")
    with FakeApi(context).running() as api:
        api.answers["GET /v1/me"] = _ME
        assert main(["login", *api.flags]) == 1
        assert "--ca" in capsys.readouterr().err
        assert main(["login", *api.flags, "--ca", str(tmp_path / "api.key")]) == 1
        assert "no certificates" in capsys.readouterr().err
        for good in (own, ca_file):
            assert main(["login", *api.flags, "--ca", str(good)]) == 0
        api.answers["GET /v1/organisations"] = {"organisations": [_ORG], "next": None}
        assert main(["org", "list"]) == 0
        assert main(["org", "list", "--api", api.url]) == 0
        assert main(["logout"]) == 0
        assert main(["org", "list", *api.flags]) == 1
        monkeypatch.setenv("DORMOUSE_API_CA", str(ca_file))
        assert main(["org", "list", *api.flags]) == 0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080", False),
        ("http://localhost:8080", False),
        ("http://[::1]:8080", False),
        ("http://192.0.2.1:8080", True),
        ("http://gateway.example", True),
        ("https://gateway.example", False),
    ],
)
def test_a_key_in_the_clear_is_warned_of(url: str, expected: bool) -> None:
    assert is_exposed(url) is expected
