"""The forms of an invoice: each says the same, to the last millionth, and none can be abused."""

import base64
import csv
import io
import re
import zlib
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from reportlab.pdfbase import pdfmetrics

from control.amounts import Amounts
from control.api.models_invoices import InvoiceView, document_of
from control.config import ControlSettings
from control.invoices.csvfile import COLUMNS, csv_text
from control.invoices.document import FORMAT, Invoice, pack, unpack
from control.invoices.pdf import pdf_bytes
from control.invoices.pdffonts import Fonts, font_of
from control.invoices.printer import Printer
from control.invoices.sections import Billed, Part, charge_month
from control.invoices.seller import Seller
from control.months import Calendar, month_number
from control.prices import PriceBook, Version
from control.rollups import Used
from dormouse.base.config import ConfigError
from tests.control.support import settings_at

_BOOK = PriceBook(
    "USD",
    (
        Version(effective_from=date(1970, 1, 1), per_thousand_egress_gib=90_000_000),
        Version(
            effective_from=date(2026, 3, 11),
            basis="pod_seconds",
            per_thousand_pod_seconds=11_000,
            monthly_fee=5_000_000,
        ),
    ),
)


def _used(number: int) -> Used:
    amounts = Amounts(
        sql_cpu_micros=number * 10**9,
        read_requests=number * 10**6 + 1,
        write_bytes=number * 10**8 + 1,
        egress_bytes=number * 10**9 + 1,
        pod_millis=number * 10**7 + 1,
    )
    return Used(amounts, number * 10**12)


def _invoice(tenants: int = 3, **fields: object) -> Invoice:
    calendar, number = Calendar.of("Asia/Tokyo"), month_number(date(2026, 3, 1))
    uses = {each: _used(each) for each in range(1, tenants + 1)}
    cuts = _BOOK.cut(calendar.border(number), calendar.border(number + 1), calendar)
    sections = charge_month(number, [Part(*cut, uses) for cut in cuts], Billed())
    invoice = Invoice(
        id=7,
        number="DM-000007",
        organisation_id=2,
        organisation="acme",
        billing_address="株式会社アクメ\n東京都千代田区",
        month=number,
        time_zone="Asia/Tokyo",
        start=calendar.border(number),
        end=calendar.border(number + 1),
        made_ns=1_775_000_000 * 10**9,
        day=date(2026, 4, 1),
        currency="USD",
        seller=Seller(name="Dormouse GK", tax_id="T1234567890123", tax_percent="10"),
        sections=tuple(sections),
        names={each: f"shop-{each}" for each in uses},
    )
    return replace(invoice, **fields)  # type: ignore[arg-type]


def test_csv_adds_up_to_what_is_to_be_paid() -> None:
    invoice = _invoice()
    text = csv_text(invoice)
    assert text.endswith("\r\n")
    assert "\n" not in text.replace("\r\n", "")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    lines = [row for row in rows if row["kind"] not in ("rounding", "tax")]
    micros = sum(Fraction(row["amount"]) for row in lines) * 10**6
    assert micros == invoice.total
    assert sum(Fraction(row["amount"]) for row in rows) * 100 == invoice.payable.total
    units = [row for row in lines if row["kind"].startswith("request_units")]
    by_kind = {line.kind: line.quantity for section in invoice.sections for line in section.sums()}
    for kind in {row["kind"] for row in units}:
        found = sum(Fraction(row["quantity"]) for row in units if row["kind"] == kind)
        assert found * 10**6 == by_kind[kind]  # type: ignore[index]


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1", "-1", "@sum", "\t=1", "|calc", "%x", 'a"b', "a,b", "a\nb", "寿司", "plain"],
)
def test_no_name_is_a_formula(name: str) -> None:
    text = csv_text(_invoice(1, names={1: name}))
    row = next(csv.DictReader(io.StringIO(text, newline="")))
    assert row["tenant"].removeprefix("'") == name
    assert not row["tenant"].startswith(("=", "+", "-", "@", "\t", "|", "%"))


def test_json_is_what_the_document_says() -> None:
    invoice = _invoice()
    view = InvoiceView.model_validate(document_of(invoice))
    assert view.status == "closed"
    for section in view.sections:
        for lines in (section.sums, section.lines):
            assert sum(line.amount_micros for line in lines) == section.amount_micros
    assert sum(section.amount_micros for section in view.sections) == view.total_micros
    assert (view.net, view.tax.amount, view.payable) == ("16.16", "1.62", "17.78")
    assert unpack(7, "DM-000007", FORMAT, pack(invoice)) == invoice


def _texts(pdf: bytes) -> str:
    """What a PDF prints in Latin letters, page after page."""
    found = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL):
        try:
            page = zlib.decompress(base64.a85decode(b"<~" + stream.strip(), adobe=True))
        except (zlib.error, ValueError):
            continue
        found += re.findall(rb"\((.*?)(?<!\\)\) Tj", page)
    return "\n".join(text.decode("latin-1") for text in found)


def test_pdf_has_every_tenant_and_a_number_on_every_page() -> None:
    invoice = _invoice(1000)
    pdf = pdf_bytes(invoice, None)
    assert pdf == pdf_bytes(invoice, None)
    assert pdf.startswith(b"%PDF-")
    text = _texts(pdf)
    pages = len(re.findall(rb"/Type /Page\b", pdf))
    for tenant in (1, 500, 1000):
        assert f"shop-{tenant}-{tenant}" in text
    for page in range(1, pages + 1):
        assert f"Page {page} of {pages}" in text
    assert pages > 30
    assert text.count("Details by tenant") == pages - 1
    assert invoice.payable.text(invoice.payable.total) in text


@pytest.mark.parametrize(
    ("letter", "font"),
    [
        ("a", "Helvetica"),
        ("é", "Helvetica"),
        ("請", "HeiseiKakuGo-W5"),
        ("カ", "HeiseiKakuGo-W5"),
        ("한", "HYGothic-Medium"),
        ("们", "STSong-Light"),
        ("𠮟", None),
        ("\u202e", None),
        ("ก", None),
    ],
)
def test_letters_have_fonts(letter: str, font: str | None) -> None:
    assert font_of(letter) == font
    shown = "".join(piece for _, piece in Fonts.ready(None).runs(f"x{letter}", bold=True))
    assert shown == f"x{letter if font else '?'}"


def test_the_operators_font_is_embedded() -> None:
    folder = Path(pdfmetrics.__file__).parent.parent / "fonts"
    pdf = pdf_bytes(_invoice(), folder / "Vera.ttf")
    assert b"/FontFile2" in pdf
    assert b"HeiseiKakuGo" not in pdf
    assert b"/FontFile2" not in pdf_bytes(_invoice(), None)


def test_a_font_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.ttf").write_text("none")
    for name in ("none.ttf", "missing.ttf"):
        with pytest.raises(ConfigError, match="invoice_font"):
            Printer(tmp_path / name)


def test_long_texts_stay_on_their_page() -> None:
    seller = Seller(name="x" * 300, address="y" * 500 + "\n" * 50 + "z\n" * 50, note="n\n" * 99)
    pdf = pdf_bytes(_invoice(seller=seller, billing_address="q" * 1000, names={1: "w" * 400}), None)
    assert len(re.findall(rb"/Type /Page\b", pdf)) <= 4


def test_an_empty_invoice_says_so() -> None:
    assert "Nothing was used." in _texts(pdf_bytes(_invoice(sections=()), None))


def _settings(**changes: object) -> ControlSettings:
    return settings_at(Path(), **changes)


@pytest.mark.parametrize("percent", ["", "ten", "-1", "101", "1/3", "1e400", "nan", "٣"])
def test_a_tax_that_is_no_percentage_is_refused(percent: str) -> None:
    with pytest.raises(ConfigError, match="tax_percent"):
        Seller.of(_settings(tax_percent=percent))


def test_the_seller_is_of_the_settings() -> None:
    seller = Seller.of(_settings(seller_name="Dormouse GK", tax_percent="8.875"))
    assert (seller.name, seller.tax_percent, seller.tax_label) == ("Dormouse GK", "8.875", "Tax")
    assert Seller.from_json(seller.json | {"later": "field"}) == seller
