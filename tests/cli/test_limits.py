"""`dormouse limit`: what is asked, and how it reads."""

import argparse
import json
from typing import Any

import pytest

from dormouse.cli.limitflags import parse_money, parse_units
from dormouse.cli.limits import in_words
from dormouse.cli.main import main
from tests.cli.fake_api import ETAG, FakeApi, tenant

_TENANTS = {"tenants": [tenant()], "next": None}


def _document(**changes: Any) -> dict[str, Any]:
    return {
        "monthly_cents": 2000,
        "monthly_request_units": None,
        "policy": "stop",
        "state": "open",
        "limited_by": None,
        "used": {"request_units": 61_204_113.25, "cost_micros": 12_240_823, "percent": 61.2},
        "period_start": "2026-03-01T00:00:00Z",
        "period_end": "2026-04-01T00:00:00Z",
        "notices": [{"percent": 50, "at": "2026-03-15T09:00:00Z"}],
        **changes,
    }


def test_a_limit_in_words() -> None:
    assert in_words(_document()) == [
        ("limit", "20.00 a month"),
        ("policy", "stop"),
        ("state", "open"),
        ("used", "61,204,113.2 request units, 12.240823"),
        ("percent", 61.2),
        ("month", "2026-03-01T00:00:00Z to 2026-04-01T00:00:00Z"),
        ("notices", "50 % at 2026-03-15T09:00:00Z"),
    ]
    stopped = {"state": "stopped", "limited_by": "organisation", "monthly_cents": None}
    words = dict(in_words(_document(**stopped, notices=[])))
    assert (words["limit"], words["policy"], words["percent"]) == ("none", "-", "-")
    assert words["state"] == "stopped, by the organisation's limit"
    both = dict(in_words(_document(monthly_request_units=50_000)))
    assert both["limit"] == "20.00 a month or 50,000 request units a month"


@pytest.mark.parametrize(
    ("text", "cents"), [("20", 2000), ("20.50", 2050), ("0.01", 1), ("none", None)]
)
def test_money_is_read(text: str, cents: int | None) -> None:
    assert parse_money(text) == cents


@pytest.mark.parametrize(("text", "units"), [("50000", 50_000), ("50k", 50_000), ("2M", 2_000_000)])
def test_units_are_read(text: str, units: int) -> None:
    assert parse_units(text) == units


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1,000", "20.5", "$20", "1kk", "9" * 20])
def test_what_is_neither_is_refused(text: str) -> None:
    for parse in (parse_money, parse_units):
        with pytest.raises(argparse.ArgumentTypeError):
            parse(text)


def test_the_command_asks_for_what_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        path = "/v1/tenants/17/spend-limit"
        api.answers = {
            "GET /v1/tenants": _TENANTS,
            f"GET {path}": _document(),
            f"PUT {path}": _document(),
        }
        assert main(["limit", "show", "shop", "--json", *api.flags]) == 0
        assert json.loads(capsys.readouterr().out) == _document()
        assert main(["limit", "set", "shop", "--units", "50k", *api.flags]) == 0
        wanted = {"monthly_cents": 2000, "monthly_request_units": 50_000, "policy": "stop"}
        assert api.asked[-1] == (f"PUT {path}", wanted)
        assert api.if_match == ETAG, "what was read is what is changed"
        assert main(["limit", "set", "shop", "--money", "none", *api.flags]) == 0
        assert api.asked[-1][1]["monthly_cents"] is None
        assert main(["limit", "clear", "shop", *api.flags]) == 0
        assert api.asked[-1] == (f"PUT {path}", {})
        assert [api.if_match] == [None]
        for wrong in (["set", "shop"], ["show"], ["show", "shop", "--organisation", "acme"]):
            assert main(["limit", *wrong, *api.flags]) == 1


def test_an_organisations_limit(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        acme = {"id": 2, "name": "acme", "time_zone": "UTC", "created_at": "x"}
        api.answers = {
            "GET /v1/organisations": {"organisations": [acme], "next": None},
            "GET /v1/organisations/2/spend-limit": _document(),
        }
        assert main(["limit", "show", "--organisation", "acme", *api.flags]) == 0
        assert capsys.readouterr().out.startswith("limit    20.00 a month")
