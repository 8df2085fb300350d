"""An invoice as PDF: the first page for whoever pays, then a table of tenants for whoever asks why.

┌──────────────────────────┐   ┌──────────────────────────┐
│ seller           INVOICE │   │ Details by tenant        │
│                  number  │   │ TENANT    UNITS … AMOUNT │
│ bill to          dates   │   │ shop-17     … …     0.12 │
│ item quantity price  sum │   │ …                        │
│             net tax  due │   │                          │
│ how to pay        1 of 2 │   │                   2 of 2 │
└──────────────────────────┘   └──────────────────────────┘
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from control.invoices.document import Invoice
from control.invoices.lines import ORGANISATION, Kind, Line
from control.invoices.money import exact_text
from control.invoices.pdffonts import Fonts
from control.invoices.sections import Section
from control.invoices.sheet import HEIGHT, WIDTH, Align, Sheet
from control.invoices.wording import WORDS, price_text
from control.months import Calendar, month_name

_LEFT, _RIGHT = 50.0, WIDTH - 50.0
_TOP, _BOTTOM = 56.0, HEIGHT - 70.0
_MIDDLE = 330.0
_WIDE = _MIDDLE - _LEFT - 15
"""Room for texts on the left of the head."""
_STEP = 12.5
_LINES_MAX = 10
"""Of an address or a note; the rest is left out."""


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    x: float
    align: Align = "right"


_ITEMS = (
    _Column("Item", _LEFT, "left"),
    _Column("Quantity", 285),
    _Column("Of it free", 372),
    _Column("Price", 465),
    _Column("Amount", _RIGHT),
)
_DETAILS = (
    _Column("Tenant", _LEFT, "left"),
    _Column("Request units", 300),
    _Column("Storage GiB-h", 370),
    _Column("Egress GiB", 425),
    _Column("Pod-seconds", 485),
    _Column("Amount", _RIGHT),
)
_TENANT_WIDTH = 175.0


def pdf_bytes(invoice: Invoice, font: Path | None) -> bytes:
    """The file."""
    sheet = Sheet(Fonts.ready(font))
    y = _head(sheet, invoice)
    y = _items(sheet, invoice, y)
    y = _totals(sheet, invoice, y)
    _notes(sheet, invoice, y)
    _details(sheet, invoice)
    _feet(sheet, invoice)
    name = invoice.number or "draft"
    return sheet.draw(title=f"Invoice {name}", author=invoice.seller.name)


def _head(sheet: Sheet, invoice: Invoice) -> float:
    """Seller, buyer, dates; where the rest begins."""
    sheet.begin_page()
    seller, payable = invoice.seller, invoice.payable
    sheet.text(_RIGHT, _TOP + 6, "INVOICE", size=22, bold=True, align="right")
    name = sheet.fonts.fit(seller.name, 14, _WIDE, bold=True)
    sheet.text(_LEFT, _TOP + 4, name, size=14, bold=True)
    y = _block(sheet, _LEFT, _TOP + 20, [*seller.address.splitlines(), seller.tax_id])
    start, end = _days(invoice.time_zone, invoice.start, invoice.end)
    facts = [
        ("Invoice number", invoice.number or "draft"),
        ("Date", invoice.day.isoformat()),
        ("Due", invoice.due.isoformat()),
        ("Period", f"{start} to {end}"),
        ("Time zone", invoice.time_zone),
    ]
    below = _TOP + 28
    for title, value in facts:
        sheet.text(_MIDDLE, below, title, grey=0.4)
        sheet.text(_RIGHT, below, value, align="right")
        below += _STEP
    y = max(y, below) + 14
    sheet.text(_LEFT, y, "Bill to", grey=0.4)
    buyer = sheet.fonts.fit(invoice.organisation, 11, _WIDE, bold=True)
    sheet.text(_LEFT, y + 14, buyer, size=11, bold=True)
    sheet.text(_MIDDLE, y, "Amount due", grey=0.4)
    due = f"{payable.text(payable.total)} {invoice.currency}"
    sheet.text(_MIDDLE, y + 18, due, size=16, bold=True)
    y = _block(sheet, _LEFT, y + 28, invoice.billing_address.splitlines())
    return max(y, _TOP + 160) + 18


def _block(sheet: Sheet, x: float, y: float, lines: Sequence[str]) -> float:
    for line in [each for each in lines if each.strip()][:_LINES_MAX]:
        sheet.text(x, y, sheet.fonts.fit(line.strip(), 9, _WIDE))
        y += _STEP
    return y


def _header(sheet: Sheet, columns: Sequence[_Column], y: float) -> float:
    for column in columns:
        sheet.text(column.x, y, column.title, size=8, bold=True, align=column.align)
    sheet.rule(y + 4, _LEFT, _RIGHT, width=0.8, grey=0.0)
    return y + 4 + _STEP


def _row(
    sheet: Sheet, columns: Sequence[_Column], y: float, cells: Sequence[str], size: float = 8.5
) -> float:
    for column, cell in zip(columns, cells, strict=True):
        sheet.text(column.x, y, cell, size=size, align=column.align)
    return y + _STEP


def _items(sheet: Sheet, invoice: Invoice, y: float) -> float:
    """What is charged, all tenants together."""
    y = _header(sheet, _ITEMS, y)
    for section in invoice.sections:
        lines = section.sums()
        if not lines:
            continue
        if y + (len(lines) + 2) * _STEP > _BOTTOM:
            sheet.begin_page()
            y = _header(sheet, _ITEMS, _TOP)
        sheet.text(_LEFT, y, _section_title(invoice, section), size=8.5, bold=True)
        y += _STEP
        for line in lines:
            y = _row(sheet, _ITEMS, y, _item(section, line))
        sheet.rule(y - _STEP + 4, _LEFT, _RIGHT)
        y += 4
    if not any(section.lines for section in invoice.sections):
        sheet.text(_LEFT, y, "Nothing was used.", grey=0.4)
        y += _STEP
    return y


def _item(section: Section, line: Line) -> tuple[str, ...]:
    words = WORDS[line.kind]
    shown = min(words.digits, 3)
    return (
        words.title if words.unit in words.title.lower() else f"{words.title}, {words.unit}",
        words.quantity(line.quantity, digits=shown),
        words.quantity(line.free, digits=shown) if line.free else "",
        price_text(section.version, line.kind),
        exact_text(line.amount),
    )


def _section_title(invoice: Invoice, section: Section) -> str:
    name = month_name(section.month)
    start, end = _days(invoice.time_zone, section.start, section.end)
    if section.month != invoice.month:
        return f"{name}, reported after its invoice was closed"
    return f"{name}, {start} to {end}"


def _totals(sheet: Sheet, invoice: Invoice, y: float) -> float:
    payable, currency, seller = invoice.payable, invoice.currency, invoice.seller
    if y + 6 * _STEP > _BOTTOM:
        sheet.begin_page()
        y = _TOP
    rows = [
        ("Sum of the lines", exact_text(invoice.total)),
        ("Net amount, rounded", f"{payable.text(payable.net)}"),
        (f"{seller.tax_label} {seller.tax_percent} %", f"{payable.text(payable.tax)}"),
    ]
    y += 4
    for title, value in rows:
        sheet.text(_MIDDLE, y, sheet.fonts.fit(title, 9, 150))
        sheet.text(_RIGHT, y, value, align="right")
        y += _STEP
    sheet.rule(y - _STEP + 5, _MIDDLE, _RIGHT, width=0.8, grey=0.0)
    y += 5
    sheet.text(_MIDDLE, y, f"Amount due, {currency}", size=10.5, bold=True)
    total = payable.text(payable.total)
    sheet.text(_RIGHT, y, total, size=10.5, bold=True, align="right")
    return y + 2 * _STEP


def _notes(sheet: Sheet, invoice: Invoice, y: float) -> None:
    lines = [line for line in invoice.seller.note.splitlines() if line.strip()][:_LINES_MAX]
    if y + (len(lines) + 4) * _STEP > _BOTTOM:
        sheet.begin_page()
        y = _TOP
    for line in lines:
        sheet.text(_LEFT, y, sheet.fonts.fit(line.strip(), 9, _RIGHT - _LEFT))
        y += _STEP
    sheet.text(
        _LEFT,
        y + 4,
        f"Amounts in {invoice.currency}. Lines are exact to a millionth; their sum is rounded once"
        " to the net amount, and the tax on it once.",
        size=7.5,
        grey=0.4,
    )


def _details(sheet: Sheet, invoice: Invoice) -> None:
    """One row for each tenant of each section, and their sum."""
    y = _BOTTOM + 1
    for section in invoice.sections:
        tenants: dict[int, list[Line]] = {}
        for line in section.sorted_lines():
            tenants.setdefault(line.tenant_id, []).append(line)
        rows = [_detail(sheet, _name(invoice, tenant), lines) for tenant, lines in tenants.items()]
        title: str | None = _section_title(invoice, section)
        for row in rows:
            if y > _BOTTOM:
                y, title = _details_page(sheet), _section_title(invoice, section)
            if title is not None:
                sheet.text(_LEFT, y, title, size=8.5, bold=True)
                y, title = y + _STEP, None
            y = _row(sheet, _DETAILS, y, row, 8)
        if rows:
            sheet.rule(y - _STEP + 4, _LEFT, _RIGHT)
            sums = _detail(sheet, "All tenants", section.lines)
            y = _row(sheet, _DETAILS, y, sums, 8) + 4


def _details_page(sheet: Sheet) -> float:
    sheet.begin_page()
    sheet.text(_LEFT, _TOP, "Details by tenant", size=13, bold=True)
    return _header(sheet, _DETAILS, _TOP + 22)


def _name(invoice: Invoice, tenant: int) -> str:
    if tenant == ORGANISATION:
        return "No single tenant"
    return f"{invoice.names.get(tenant, '')}-{tenant}"


def _detail(sheet: Sheet, shown: str, lines: Sequence[Line]) -> tuple[str, ...]:
    def quantity(*kinds: Kind) -> str:
        found = [line for line in lines if line.kind in kinds]
        total = sum(line.quantity for line in found)
        words = WORDS[kinds[0]]
        return words.quantity(total, digits=min(words.digits, 3)) if found else ""

    return (
        sheet.fonts.fit(shown, 8, _TENANT_WIDTH),
        quantity(Kind.UNITS, Kind.SQL_CPU, Kind.READS, Kind.WRITES, Kind.EGRESS_UNITS),
        quantity(Kind.STORAGE),
        quantity(Kind.EGRESS),
        quantity(Kind.POD_TIME),
        exact_text(sum(line.amount for line in lines)),
    )


def _feet(sheet: Sheet, invoice: Invoice) -> None:
    y, name = HEIGHT - 40, sheet.fonts.fit(invoice.seller.name, 7.5, _WIDE)
    for page in range(sheet.pages):
        left = " · ".join(each for each in (name, f"Invoice {invoice.number or 'draft'}") if each)
        sheet.text(_LEFT, y, left, size=7.5, grey=0.4, page=page)
        right = f"Page {page + 1} of {sheet.pages}"
        sheet.text(_RIGHT, y, right, size=7.5, grey=0.4, align="right", page=page)


def _days(zone: str, start: int, end: int) -> tuple[str, str]:
    """The first and the last day of a time."""
    calendar = Calendar.of(zone)
    return calendar.date_of(start).isoformat(), calendar.date_of(end - 1).isoformat()
