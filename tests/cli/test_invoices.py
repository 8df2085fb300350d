"""`dormouse invoice` and `dormouse up --billing`: what is asked, written and refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from control.config import ControlSettings
from dormouse.cli.billing import SETTINGS, check_billing, with_billing
from dormouse.cli.folder import CommandError
from dormouse.cli.main import main
from tests.cli.fake_api import FakeApi


def _head(**changes: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "number": "DM-000007",
        "status": "closed",
        "organisation": 2,
        "month": "2026-03",
        "closed_at": "2026-04-02T00:00:00Z",
        "currency": "USD",
        "total_micros": 1_234_567,
        "payable": "1.35",
        **changes,
    }


_LINE = {
    "kind": "request_units.writes",
    "quantity": 1_500_000,
    "free_quantity": 500_000,
    "unit": "micro_request_unit",
    "amount_micros": 1_234_567,
}
_DRAFT = {"id": None, "number": None, "status": "draft", "closed_at": None, "month": "2026-04"}


def _invoice(**changes: Any) -> dict[str, Any]:
    return _head(
        time_zone="Asia/Tokyo",
        buyer={"name": "acme"},
        net="1.23",
        tax={"label": "VAT", "percent": "10", "amount": "0.12"},
        due_date="2026-05-02",
        sections=[{"month": "2026-03", "sums": [_LINE]}],
        **changes,
    )


@pytest.fixture
def api() -> FakeApi:
    made = FakeApi()
    made.answers = {
        "GET /v1/organisations": {"organisations": [{"id": 2, "name": "acme"}], "next": None},
        "GET /v1/organisations/2/invoices": {
            "invoices": [_head(**_DRAFT), _head()],
            "next": None,
        },
        "GET /v1/organisations/2/invoices/draft": _invoice(**_DRAFT),
        "GET /v1/invoices/7": _invoice(),
        "GET /v1/invoices/7/csv": {"as": "file"},
    }
    return made


def _run(api: FakeApi, *arguments: str) -> int:
    return main(["invoice", *arguments, *api.flags])


def test_list_and_show(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    with api.running():
        assert _run(api, "list") == 0
        assert capsys.readouterr().out.split("\n")[:3] == [
            "ID  NUMBER     MONTH    CLOSED      NET           TO PAY",
            " -  draft      2026-04  -           1.234567 USD  1.35 USD",
            " 7  DM-000007  2026-03  2026-04-02  1.234567 USD  1.35 USD",
        ]
        assert _run(api, "show", "--org", "acme") == 0
        assert "draft" in capsys.readouterr().out
        for name in ("7", "DM-000007"):
            assert _run(api, "show", name) == 0
            shown = capsys.readouterr().out
            assert "request_units.writes  1.500     0.500  request units  1.234567 USD" in shown
            assert "VAT 10 %  0.12 USD" in shown
        for nothing in ("DM-7", "none", "8", "0"):
            assert _run(api, "show", nothing) == 1
        assert _run(api, "list", "--json") == 0
        capsys.readouterr()


def test_download(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with api.running():
        assert _run(api, "download", "7", "--format", "csv") == 0
        assert json.loads((tmp_path / "invoice-DM-000007.csv").read_bytes()) == {"as": "file"}
        assert _run(api, "download", "7", "--format", "json", "--output", "x.json") == 0
        assert json.loads((tmp_path / "x.json").read_text())["number"] == "DM-000007"
        assert _run(api, "download", "7", "--format", "csv", "--output", "none/x") == 1


def test_which_organisation_has_to_be_clear(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [{"id": 2, "name": "acme"}, {"id": 3, "name": "other"}]
    api.answers["GET /v1/organisations"] = {"organisations": both, "next": None}
    with api.running():
        assert _run(api, "list") == 1
        assert "--org" in capsys.readouterr().err


def _settings() -> ControlSettings:
    nothing = Path()
    return ControlSettings(
        registry=nothing,
        authority=nothing,
        certs=nothing,
        rpc_address="",
        autoscaler_address="",
        storage_address="",
    )


def test_a_billing_file(tmp_path: Path) -> None:
    versions = [{"effective_from": "2026-01-01"}]
    (tmp_path / "prices.json").write_text(json.dumps({"currency": "JPY", "versions": versions}))
    file = tmp_path / "billing.json"
    file.write_text(
        json.dumps({"price_book": "prices.json", "seller_name": "A", "tax_percent": "10"})
    )
    found = with_billing(_settings(), file)
    assert (found.price_book, found.seller_name) == (tmp_path / "prices.json", "A")
    assert with_billing(_settings(), None) == _settings()
    assert set(SETTINGS) <= set(ControlSettings.__dataclass_fields__)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"registry": "/elsewhere"}',
        '{"seller_name": 5}',
        '{"tax_percent": "much"}',
        '{"price_book": "nowhere.json"}',
        '{"invoice_font": "nowhere.ttf"}',
    ],
)
def test_a_billing_file_that_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "billing.json"
    file.write_text(text)
    with pytest.raises(CommandError, match="--billing"):
        check_billing(file)
