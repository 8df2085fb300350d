"""`dormouse statements` and `dormouse usage --by role`: what is asked, and how it reads."""

import json
from typing import Any

import pytest

from dormouse.cli.main import main
from dormouse.cli.statements import report
from tests.cli.fake_api import FakeApi, tenant


def _document(**changes: Any) -> dict[str, Any]:
    return {
        "tenant_id": 17,
        "period_start": "2026-02-28T15:00:00Z",
        "period_end": "2026-03-31T15:00:00Z",
        "time_zone": "Asia/Tokyo",
        "statements": [
            {
                "query_id": "-5",
                "query": "SELECT *\n  FROM a\tWHERE id = $1",
                "role": "owner",
                "calls": 1200,
                "rows": 1199,
                "elapsed_ms": 2400.0,
                "mean_ms": 2.0,
                "request_units": 1234.56,
            },
            {
                "query_id": "6",
                "query": "COMMIT" + "\x1b" * 200,
                "role": "owner",
                "calls": 0,
                "rows": 0,
                "elapsed_ms": 0.0,
                "mean_ms": None,
                "request_units": 0.25,
            },
        ],
        "others": {"calls": 1, "rows": 5, "elapsed_ms": 9.0, "request_units": 10.0},
        **changes,
    }


def test_statements_read_well() -> None:
    title, _, *lines, _, others = report(_document(), "shop-17").split("\n")
    assert title == "shop-17, from 2026-03-01 to before 2026-04-01 (Asia/Tokyo)"
    assert lines[0].split() == [
        "REQUEST",
        "UNITS",
        "CALLS",
        "ROWS",
        "MEAN",
        "MS",
        "ROLE",
        "STATEMENT",
    ]
    first = "1,234.6 1200 1199 2.00 owner SELECT * FROM a WHERE id = $1"
    assert " ".join(lines[1].split()) == first
    assert lines[2].endswith("COMMIT" + "?" * 93 + "…")
    assert others == "All others: 1 call, 10.0 request units."
    assert report(_document(statements=[]), "shop-17").endswith("No statement ran.")


def test_statements_are_asked_for_as_the_flags_say(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/tenants"] = {"tenants": [tenant()], "next": None}
        api.answers["GET /v1/tenants/17/statements"] = _document()
        flags = ["--order", "calls", "--limit", "3", "--from", "2026-03-01", "--json", *api.flags]
        assert main(["statements", "shop", *flags]) == 0
        path = "/v1/tenants/17/statements?order=calls&limit=3&from=2026-03-01"
        assert api.asked[-1][0] == f"GET {path}"
    assert json.loads(capsys.readouterr().out) == _document()


def test_roles_are_a_tenants(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        assert main(["usage", "--by", "role", *api.flags]) == 1
    assert "TENANT --by role" in capsys.readouterr().err
