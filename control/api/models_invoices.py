"""The documents of invoices."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from control.invoices.document import Invoice, moment_text
from control.invoices.lines import ORGANISATION, Kind, Line
from control.invoices.sections import Section
from control.invoices.store import Head
from control.invoices.wording import WORDS
from control.months import month_name

_MICROS = "Millionths of the currency."


class InvoiceHead(BaseModel):
    """An invoice in a list."""

    id: int | None = Field(description="null: a draft.")
    number: str | None = Field(description="Without a gap in an installation; null: a draft.")
    status: Literal["draft", "closed"]
    organisation: int
    month: str = Field(examples=["2026-03"])
    period_start: datetime
    period_end: datetime
    closed_at: datetime | None
    currency: str
    total_micros: int = Field(description=f"The sum of all lines, before tax. {_MICROS}")
    payable: str = Field(description="With tax, rounded to the smallest coin.")


class InvoicePage(BaseModel):
    """The drafts of months that are not closed, then closed invoices, the newest first."""

    invoices: list[InvoiceHead]
    next: int | None = Field(description="The `before` of the next page; null at the end.")


class SellerView(BaseModel):
    """Who sends the invoice."""

    name: str
    address: str
    tax_id: str
    note: str


class BuyerView(BaseModel):
    """Whom it is for."""

    organisation: int
    name: str
    billing_address: str


class TaxView(BaseModel):
    """The tax on the net amount, rounded once."""

    label: str
    percent: str
    amount: str


class LineView(BaseModel):
    """What one tenant is charged for one thing."""

    tenant: int | None = Field(description="null: no single tenant's.")
    tenant_name: str | None = Field(description="As it was when the invoice was closed.")
    kind: Kind
    quantity: int
    free_quantity: int = Field(description="So much of it costs nothing.")
    unit: str = Field(description="Of both quantities: the ledger's own.")
    amount_micros: int = Field(description=_MICROS)


class SectionView(BaseModel):
    """A part of a month under one version of the prices."""

    month: str = Field(description="An earlier one: what was reported after it was closed.")
    period_start: datetime
    period_end: datetime
    prices: dict[str, Any] = Field(description="As the price book has them.")
    amount_micros: int = Field(description=_MICROS)
    sums: list[LineView] = Field(description="The lines of all tenants together.")
    lines: list[LineView]


class InvoiceView(InvoiceHead):
    """An invoice; a closed one never changes."""

    time_zone: str
    invoice_date: date
    due_date: date
    seller: SellerView
    buyer: BuyerView
    late_micros: int = Field(
        description=f"Of `total_micros`, what was used in earlier months. {_MICROS}"
    )
    net: str = Field(description="`total_micros`, rounded once to the smallest coin.")
    tax: TaxView
    sections: list[SectionView]


def head_of(head: Head) -> InvoiceHead:
    """A closed invoice in a list."""
    return InvoiceHead.model_validate(
        {
            "id": head.id,
            "number": head.number,
            "status": "closed",
            "organisation": head.organisation_id,
            "month": head.month_name,
            "period_start": moment_text(head.start),
            "period_end": moment_text(head.end),
            "closed_at": moment_text(head.closed_ns // 1_000_000_000),
            "currency": head.currency,
            "total_micros": head.total,
            "payable": head.payable,
        }
    )


def head_fields(invoice: Invoice) -> dict[str, Any]:
    """The fields of InvoiceHead."""
    is_draft = invoice.id is None
    return {
        "id": invoice.id,
        "number": invoice.number or None,
        "status": "draft" if is_draft else "closed",
        "organisation": invoice.organisation_id,
        "month": invoice.month_name,
        "period_start": moment_text(invoice.start),
        "period_end": moment_text(invoice.end),
        "closed_at": None if is_draft else moment_text(invoice.made_ns // 1_000_000_000),
        "currency": invoice.currency,
        "total_micros": invoice.total,
        "payable": invoice.payable.text(invoice.payable.total),
    }


def document_of(invoice: Invoice) -> dict[str, Any]:
    """The fields of InvoiceView. There may be tens of thousands of lines: they are made as they
    are written, without a model for each."""
    payable, seller = invoice.payable, invoice.seller
    return head_fields(invoice) | {
        "time_zone": invoice.time_zone,
        "invoice_date": invoice.day.isoformat(),
        "due_date": invoice.due.isoformat(),
        "seller": {
            "name": seller.name,
            "address": seller.address,
            "tax_id": seller.tax_id,
            "note": seller.note,
        },
        "buyer": {
            "organisation": invoice.organisation_id,
            "name": invoice.organisation,
            "billing_address": invoice.billing_address,
        },
        "late_micros": invoice.late,
        "net": payable.text(payable.net),
        "tax": {
            "label": seller.tax_label,
            "percent": seller.tax_percent,
            "amount": payable.text(payable.tax),
        },
        "sections": [_section(invoice, section) for section in invoice.sections],
    }


def _section(invoice: Invoice, section: Section) -> dict[str, Any]:
    return {
        "month": month_name(section.month),
        "period_start": moment_text(section.start),
        "period_end": moment_text(section.end),
        "prices": section.version.model_dump(mode="json"),
        "amount_micros": section.amount,
        "sums": [_line(invoice, line) for line in section.sums()],
        "lines": [_line(invoice, line) for line in section.sorted_lines()],
    }


def _line(invoice: Invoice, line: Line) -> dict[str, Any]:
    is_tenants = line.tenant_id != ORGANISATION
    return {
        "tenant": line.tenant_id if is_tenants else None,
        "tenant_name": invoice.names.get(line.tenant_id) if is_tenants else None,
        "kind": line.kind,
        "quantity": line.quantity,
        "free_quantity": line.free,
        "unit": WORDS[line.kind].ledger_unit,
        "amount_micros": line.amount,
    }
