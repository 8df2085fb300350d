"""`dormouse event` and `dormouse webhook`, over an API of a test."""

import json
from pathlib import Path
from typing import Any

import pytest

from dormouse.cli import webhooks
from dormouse.cli.main import main
from tests.cli.fake_api import FakeApi

_EVENT = {
    "id": 5,
    "kind": "spend.notice",
    "at": "2026-01-02T03:04:05.678901Z",
    "organisation": 2,
    "tenant": 17,
    "data": {"percent": 80, "scope": "ten\x1b[31mant"},
}
_INSTALLATION = {**_EVENT, "id": 6, "organisation": None, "tenant": None, "data": {}}
_WEBHOOK = {
    "id": 1,
    "organisation": None,
    "url": "https://example.com/hook",
    "events": ["spend.*", "invoice.closed"],
    "description": "pager",
    "enabled": False,
    "disabled_reason": "failing",
    "failures": 12,
    "failing_since": "2026-01-02T03:04:05Z",
    "previous_secret_until": None,
    "created_at": "2026-01-01T00:00:00Z",
}
_DELIVERY = {
    "id": 9,
    "webhook": 1,
    "event": 5,
    "kind": "spend.notice",
    "message": "evt_5_1",
    "status": "waiting",
    "attempts": 0,
    "next_attempt_at": "2026-01-02T03:04:05Z",
    "attempted_at": None,
    "response_status": None,
    "error": None,
}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("DORMOUSE_DATA", str(tmp_path / "none"))
    monkeypatch.setattr(webhooks, "_LOOK_SECONDS", 0.0)


def _page(*found: dict[str, Any]) -> dict[str, Any]:
    return {"events": list(found), "next": None}


def test_events_are_listed_the_newest_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/events"] = _page(_INSTALLATION, _EVENT)
        assert main(["event", "list", "--kind", "spend.*", "--kind", "key.*", *api.flags]) == 0
        asked = api.asked[-1][0]
        assert asked == "GET /v1/events?kind=spend.%2A&kind=key.%2A&order=newest&after=0&limit=100"
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == ["ID", "5", "6"]
        assert "2026-01-02T03:04:05Z" in lines[1]
        assert "percent 80, scope ten?[31mant" in lines[1]
        assert main(["event", "list", "--after", "4", "--limit", "2", "--json", *api.flags]) == 0
        assert "order=oldest&after=4&limit=2" in api.asked[-1][0]
        found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert found == [_INSTALLATION, _EVENT]


def test_following_goes_on_from_the_newest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = [_page(_EVENT), _page(_INSTALLATION), _page()]

    with FakeApi().running() as api:

        def sleep(_: float) -> None:
            if not rounds:
                raise KeyboardInterrupt
            api.answers["GET /v1/events"] = rounds.pop(0)

        monkeypatch.setattr("dormouse.cli.events.time.sleep", sleep)
        api.answers["GET /v1/events"] = _page({**_EVENT, "id": 4})
        assert main(["event", "follow", "--after", "3", "--json", *api.flags]) == 130
        printed = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
        assert printed == [4, 5, 6]
        after = [asked.partition("after=")[2].partition("&")[0] for asked, _ in api.asked]
        assert after == ["3", "4", "5", "6"]


def test_following_starts_after_what_there_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dormouse.cli.events.time.sleep", sleep)
    with FakeApi().running() as api:
        api.answers["GET /v1/events"] = _page(_EVENT)
        assert main(["event", "follow", *api.flags]) == 130
        assert [asked for asked, _ in api.asked] == [
            "GET /v1/events?order=newest&limit=1",
            "GET /v1/events?after=5&limit=500",
        ]
        line = "5  2026-01-02T03:04:05Z  spend.notice  tenant 17  percent 80, scope ten?[31mant\n"
        assert capsys.readouterr().out == line


def test_webhooks_are_made_changed_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        api.answers["POST /v1/webhooks"] = {**_WEBHOOK, "secret": "whsec_abc"}
        url = "https://example.com/hook"
        assert main(["webhook", "create", url, *api.flags]) == 0
        assert api.asked[-1][1] == {"url": url, "events": ["*"]}
        assert "whsec_abc" in capsys.readouterr().out
        flags = ["--event", "spend.*", "--event", "invoice.closed", "--description", "pager"]
        assert main(["webhook", "create", url, *flags, *api.flags]) == 0
        assert api.asked[-1][1] == {
            "url": url,
            "events": ["spend.*", "invoice.closed"],
            "description": "pager",
        }
        api.answers["PATCH /v1/webhooks/1"] = _WEBHOOK
        assert main(["webhook", "set", "1", *api.flags]) == 1
        assert main(["webhook", "set", "1", "--enable", *api.flags]) == 0
        assert api.asked[-1][1] == {"enabled": True}
        assert main(["webhook", "set", "1", "--disable", "--event", "*", *api.flags]) == 0
        assert api.asked[-1][1] == {"enabled": False, "events": ["*"]}
        api.answers["POST /v1/webhooks/1/secret"] = {
            "secret": "whsec_new",
            "previous_secret_until": "2026-01-02T03:04:05Z",
        }
        capsys.readouterr()
        assert main(["webhook", "rotate", "1", *api.flags]) == 0
        assert "whsec_new" in capsys.readouterr().out
        api.answers["DELETE /v1/webhooks/1"] = {}
        assert main(["webhook", "delete", "1", *api.flags]) == 0
        assert api.asked[-1][0] == "DELETE /v1/webhooks/1"


def test_webhooks_and_deliveries_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/webhooks"] = {"webhooks": [_WEBHOOK], "next": None}
        assert main(["webhook", "list", *api.flags]) == 0
        assert "disabled (failing)" in capsys.readouterr().out
        api.answers["GET /v1/webhooks/1"] = _WEBHOOK
        dead = {**_DELIVERY, "status": "dead", "error": "it answered (500)"}
        api.answers["GET /v1/webhooks/1/deliveries"] = {"deliveries": [dead], "next": None}
        assert main(["webhook", "show", "1", *api.flags]) == 0
        shown = capsys.readouterr().out
        assert "2026-01-02T03:04:05Z" in shown
        assert "it answered (500)" in shown
        assert main(["webhook", "deliveries", "1", "--status", "dead", "--json", *api.flags]) == 0
        assert api.asked[-1][0] == "GET /v1/webhooks/1/deliveries?limit=20&status=dead"
        assert json.loads(capsys.readouterr().out) == [dead]
        api.answers["POST /v1/webhooks/1/deliveries/9/redeliver"] = _DELIVERY
        assert main(["webhook", "redeliver", "1", "9", *api.flags]) == 0


@pytest.mark.parametrize(
    ("end", "code", "word"),
    [
        ({"status": "delivered", "response_status": 204}, 0, "arrived (204)"),
        ({"status": "dead", "error": "no answer"}, 1, "did not arrive: no answer"),
    ],
)
def test_a_test_says_what_came_of_it(
    capsys: pytest.CaptureFixture[str], end: dict[str, Any], code: int, word: str
) -> None:
    with FakeApi().running() as api:
        api.answers["POST /v1/webhooks/1/test"] = _DELIVERY
        found = [{**_DELIVERY, "id": 10}, {**_DELIVERY, **end}]
        api.answers["GET /v1/webhooks/1/deliveries"] = {"deliveries": found, "next": None}
        assert main(["webhook", "test", "1", *api.flags]) == code
        assert word in capsys.readouterr().out


def test_a_network_has_to_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["up", "--webhook-network", "10.0.0.1/8"])
    assert "is no network" in capsys.readouterr().err
