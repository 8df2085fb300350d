"""The commands about tenants and roles against an API that says what a test wants."""

import argparse
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.cli.main import main
from dormouse.cli.settings import duration, parse_idle_timeout
from tests.cli.fake_api import FakeApi, settings, tenant


def _api(**changes: Any) -> FakeApi:
    api = FakeApi()
    shop = tenant(**changes)
    api.answers["GET /v1/tenants"] = {"tenants": [shop], "next": None}
    return api


def _asked(api: FakeApi) -> Any:
    """The last request's body, which has to be a change of settings."""
    what, body = api.asked[-1]
    assert what == "PATCH /v1/tenants/17/settings"
    return body


@pytest.mark.parametrize(
    ("flags", "change"),
    [
        (["--idle-timeout", "5m"], {"idle_timeout_seconds": 300}),
        (["--idle-timeout", "never"], {"idle_timeout_seconds": "never"}),
        (["--idle-timeout", "default"], {"idle_timeout_seconds": None}),
        (["--pods-min", "0", "--pods-max", "default"], {"pods_min": 0, "pods_max": None}),
        (["--connections-max", "7"], {"connections_max": 7}),
        (["--storage-max", "20GiB"], {"storage_max_bytes": 20 << 30}),
        (["--storage-max", "1048577"], {"storage_max_bytes": 1048577}),
        (["--storage-max", "default"], {"storage_max_bytes": None}),
        (["--recovery-window", "24h"], {"recovery_window_seconds": 86_400}),
        (["--recovery-window", "0"], {"recovery_window_seconds": 0}),
        (["--recovery-window", "default"], {"recovery_window_seconds": None}),
        (["--allow", "10.0.0.0/8", "--allow", "::1"], {"allowed_networks": ["10.0.0.0/8", "::1"]}),
        (["--allow-any"], {"allowed_networks": []}),
    ],
)
def test_set_asks_for_what_the_flags_say(flags: list[str], change: dict[str, Any]) -> None:
    with _api().running() as api:
        api.answers["PATCH /v1/tenants/17/settings"] = settings()
        assert main(["tenant", "set", "shop", *flags, *api.flags]) == 0
        assert _asked(api) == change


def test_set_shows_what_holds_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = settings(
        idle_timeout_seconds=5400,
        pods_max=4,
        allowed_networks=["10.0.0.0/8", "::1/128"],
        storage_max_bytes=1536 << 20,
        recovery_window_seconds=172_800,
    )
    with _api().running() as api:
        api.answers["PATCH /v1/tenants/17/settings"] = now
        flags = ["tenant", "set", "shop", "--pods-max", "4", *api.flags]
        assert main(flags) == 0
        assert capsys.readouterr().out.splitlines() == [
            "idle_timeout     1h30m",
            "pods_min         0",
            "pods_max         4",
            "clients_from     10.0.0.0/8, ::1/128",
            "connections_max  1000",
            "storage_max      1536MiB",
            "recovery_window  2d",
        ]
        assert main([*flags, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == now


def test_set_wants_something_and_says_what_the_gateway_refuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with _api().running() as api:
        assert main(["tenant", "set", "shop", *api.flags]) == 1
        assert "nothing to set" in capsys.readouterr().err
        assert api.asked == []
        api.away = "body.pods_max: use 0 to 64 pods"
        assert main(["tenant", "set", "shop", "--pods-max", "99", *api.flags]) == 1
        assert "use 0 to 64 pods" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--idle-timeout", "soon"],
        ["--idle-timeout", ""],
        ["--idle-timeout", "5m3h"],
        ["--idle-timeout", "-5m"],
        ["--idle-timeout", "1.5h"],
        ["--pods-max", "many"],
        ["--pods-max", "-1"],
        ["--allow", "::1", "--allow-any"],
    ],
    ids=" ".join,
)
def test_wrong_flags_are_exit_code_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tenant", "set", "shop", *flags])
    assert ended.value.code == 2
    assert "usage: dormouse tenant set" in capsys.readouterr().err


@given(st.integers(0, 10**8))
def test_times_are_read_as_they_are_shown(seconds: int) -> None:
    assert parse_idle_timeout(duration(seconds)) == seconds
    assert parse_idle_timeout(str(seconds)) == seconds


def test_too_long_a_number_is_no_time() -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_idle_timeout("9" * 5000)


def test_show_says_what_holds_and_why_it_is_awake(capsys: pytest.CaptureFixture[str]) -> None:
    with _api(
        pods_wanted=2,
        parked=3,
        holds=[{"backend_pid": 77, "reason": "a temporary\ntable"}],
        settings=settings(idle_timeout_seconds="never"),
    ).running() as api:
        assert main(["tenant", "show", "shop", *api.flags]) == 0
    shown = capsys.readouterr().out.splitlines()
    for line in (
        "state            running",
        "awake_because    2 sessions",
        "held_by          backend 77: a temporary?table",
        "pods             1 (2 wanted)",
        "parked           3",
        "cpu              12.3 % of one core",
        "idle_timeout     never",
        "clients_from     anywhere",
        "connection_url   postgresql://there",
    ):
        assert line in shown


def test_show_of_a_tenant_nobody_knows_about(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = ("pods", "pods_wanted", "connections", "parked", "cpu_percent")
    unknown = dict.fromkeys((*numbers, "request_units_per_second"))
    with _api(state="unknown", awake_because="", **unknown).running() as api:
        assert main(["tenant", "show", "shop", *api.flags]) == 0
    out = capsys.readouterr().out
    assert "state            unknown" in out
    assert "None" not in out


def test_explain_tells_the_story(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    document = {
        "tenant": tenant(pods_wanted=2, parked=3, holds=[{"backend_pid": 7, "reason": "a lock"}]),
        "decisions": [
            {
                "at": "2026-01-02T03:04:05.500000Z",
                "action": "scale up",
                "reason": "the load asks for it",
                "inputs": {"average_cores": "0.31", "pods": "1"},
            },
            {"at": "2026-01-02T03:00:00Z", "action": "wake", "reason": "asked", "inputs": {}},
        ],
    }
    with _api().running() as api:
        api.answers["GET /v1/tenants/17/explain"] = document
        assert main(["tenant", "explain", "shop", *api.flags]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "shop-17 is running with 1 pod (2 wanted) and 2 sessions, 3 more parked.",
            "Awake because: 2 sessions",
            "Held by backend 7: a lock",
            "",
            "WHEN                 ACTION    REASON                INPUTS",
            "2026-01-02 03:04:05  scale up  the load asks for it  average_cores=0.31 pods=1",
            "2026-01-02 03:00:00  wake      asked",
        ]
        assert main(["tenant", "explain", "shop", "--json", *api.flags]) == 0
        assert json.loads(capsys.readouterr().out) == document
        asleep = tenant(state="asleep", pods=0, pods_wanted=0, connections=0, awake_because="")
        api.answers["GET /v1/tenants/17/explain"] = {"tenant": asleep, "decisions": []}
        assert main(["tenant", "explain", "shop", *api.flags]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "shop-17 is asleep.",
            "Nothing has been decided about it of late.",
        ]
        asleep["parked"] = 1
        assert main(["tenant", "explain", "shop", *api.flags]) == 0
        assert "shop-17 is asleep, with 1 session parked." in capsys.readouterr().out


def test_status_lists_what_retires_too(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"pid": 4, "generation": 1, "since": "2026-01-01", "version": "1", "metrics": None}
    role = {
        "pid": 5,
        "state": "running",
        "restarts": 0,
        "since": "2026-01-02",
        "generation": 2,
        "version": "2",
        "metrics": None,
        "retiring": [old],
    }
    document = {
        "version": "2",
        "roles": {"proxy": role},
        "tenants": {"registered": 3, "ever": 3},
    }
    with FakeApi().running() as api:
        api.answers["GET /v1/status"] = document
        assert main(["status", *api.flags]) == 0
        assert capsys.readouterr().out.splitlines()[:3] == [
            "ROLE   STATE     PID  RESTARTS  SINCE       VERSION",
            "proxy  running     5         0  2026-01-02  2",
            "proxy  retiring    4         -  2026-01-01  1",
        ]
