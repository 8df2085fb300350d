"""`dormouse usage`: what is asked, and how it reads."""

import json
from typing import Any

import pytest

from dormouse.cli.main import main
from dormouse.cli.usage import money, report, size
from tests.cli.fake_api import FakeApi, tenant


def _document(**changes: Any) -> dict[str, Any]:
    return {
        "period_start": "2026-03-01T00:00:00Z",
        "period_end": "2026-04-01T00:00:00Z",
        "as_of": "2026-03-10T12:00:00Z",
        "currency": "USD",
        "request_units": 1234.5,
        "by_cause": {"sql_cpu": 1000.5, "reads": 200, "writes": 30, "egress": 4},
        "storage_bytes": 3 << 20,
        "cost_micros": 1_250_001,
        "cost": {"request_units": 1_250_000, "pod_time": 0, "storage": 1, "egress": 0, "fee": 0},
        "measures": {
            "sql_cpu_seconds": 3.0015,
            "read_batches": 100,
            "read_requests": 800,
            "read_bytes": 3 << 20,
            "write_batches": 10,
            "write_requests": 10,
            "write_bytes": 10 << 10,
            "egress_bytes": 4096,
            "pod_seconds": 61.2,
            "storage_gib_hours": 0.5,
        },
        "system": {
            "request_units": 7.5,
            "cpu_seconds": 0.1,
            "read_requests": 3,
            "write_requests": 0,
        },
        "time_zone": "UTC",
        "days": None,
        "hours": None,
        "forecast": {
            "month_end": "2026-04-01T00:00:00Z",
            "request_units": 5000,
            "cost_micros": 4_000_000,
        },
        **changes,
    }


def test_by_cause() -> None:
    assert report(_document(), "shop-17").split("\n") == [
        "shop-17, from 2026-03-01 to before 2026-04-01 (UTC)",
        "",
        "Request units    1,234.5",
        "Stored now       3.0 MiB",
        "Cost             1.250001 USD",
        "  request units  1.25 USD",
        "  storage        0.000001 USD",
        "At month's end   about 4.00 USD for 5,000.0 request units",
        "",
        "CAUSE        REQUEST UNITS  WHAT",
        "SQL CPU            1,000.5  3.002 s",
        "reads                200.0  100 batches, 800 requests, 3.0 MiB",
        "writes                30.0  10 batches, 10 requests, 10.0 KiB",
        "egress                 4.0  4.0 KiB",
        "storage                  -  0.500 GiB-hours",
        "pods                     -  61 s",
        "system work            7.5  not billed",
    ]


def test_by_day_and_by_tenant() -> None:
    day = {
        "day": "2026-03-10",
        "request_units": 5,
        "cost_micros": 1,
        "by_cause": {"sql_cpu": 1, "reads": 2, "writes": 1, "egress": 1},
        "storage_gib_hours": 0.25,
        "pod_seconds": 3.0,
    }
    line = {
        "id": 17,
        "name": "sh\x1bop",
        "request_units": 5,
        "storage_bytes": 10,
        "cost_micros": 1,
    }
    text = report(_document(days=[day], tenants=[line], forecast=None), "All tenants")
    assert text.split("\n")[8:] == [
        "DAY         REQUEST UNITS  SQL CPU  READS  WRITES  EGRESS  GIB-HOURS  COST",
        "2026-03-10            5.0      1.0    2.0     1.0     1.0       0.25  0.000001 USD",
        "",
        "TENANT    REQUEST UNITS  STORED  COST",
        "sh?op-17            5.0  10 B    0.000001 USD",
    ]
    assert report(_document(days=[]), "x").endswith("Nothing was used.")


def test_by_hour_and_by_role() -> None:
    causes = {"sql_cpu": 1, "reads": 2, "writes": 1, "egress": 1}
    hour = {"hour": "2026-03-10T13:00:00Z", "request_units": 5, "by_cause": causes}
    text = report(_document(hours=[hour], forecast=None), "x")
    assert text.split("\n")[-1] == "2026-03-10 13:00            5.0      1.0    2.0     1.0     1.0"
    roles = [
        {"role": "owner", "calls": 7, "request_units": 1234},
        {"role": None, "calls": 0, "request_units": 0.5},
    ]
    text = report(_document(roles=roles, forecast=None), "x")
    assert text.split("\n")[-3:] == [
        "ROLE       REQUEST UNITS  CALLS",
        "owner            1,234.0      7",
        "(no role)            0.5      0",
    ]


def test_money_is_exact() -> None:
    shown = [money(micros, "USD") for micros in (0, 1, 10_000, 1_500_000, -20_000_000)]
    assert shown == ["0.00 USD", "0.000001 USD", "0.01 USD", "1.50 USD", "-20.00 USD"]
    assert [size(number) for number in (0, 1023, 1024, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 TiB",
    ]


def test_the_command_asks_for_what_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeApi().running() as api:
        api.answers["GET /v1/tenants"] = {"tenants": [tenant()], "next": None}
        api.answers["GET /v1/tenants/17/usage"] = _document()
        flags = ["--by", "day", "--from", "2026-03-01", "--to", "2026-03-05"]
        assert main(["usage", "shop", *flags, "--json", *api.flags]) == 0
        assert json.loads(capsys.readouterr().out) == _document()
        asked = "GET /v1/tenants/17/usage?by=day&from=2026-03-01&to=2026-03-05"
        assert api.asked[-1][0] == asked
        api.answers["GET /v1/usage"] = {**_document(), "tenants": [], "next": None}
        assert main(["usage", *api.flags]) == 0
        assert capsys.readouterr().out.startswith("All tenants, from 2026-03-01")
        with pytest.raises(SystemExit):
            main(["usage", "--from", "soon", *api.flags])
