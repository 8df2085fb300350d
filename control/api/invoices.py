"""The routes of invoices: the list, a draft, a closed one as JSON, CSV and PDF."""

import asyncio
import json
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from control.access import Target
from control.api.models_invoices import (
    InvoiceHead,
    InvoicePage,
    InvoiceView,
    document_of,
    head_fields,
    head_of,
)
from control.api.paths import Limit, missing, parse_id
from control.api.problems import documented
from control.invoices.csvfile import csv_text
from control.invoices.document import Invoice
from control.invoices.drafts import Buyer, Drafts
from control.invoices.printer import Printer
from dormouse.base.ids import TENANT_ID_MAX

_JSON = "application/json"
_Before = Annotated[int | None, Query(ge=1, le=TENANT_ID_MAX, description="The `next` of a page.")]


def add_invoice_list_routes(router: APIRouter, drafts: Drafts) -> None:
    """An organisation's invoices."""

    @router.get(
        "/organisations/{id}/invoices",
        tags=["invoices"],
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def list_invoices(
        id: str,  # noqa: A002 - the path's name
        before: _Before = None,
        limit: Limit = 100,
    ) -> InvoicePage:
        """The drafts of months that are not closed, then closed invoices, the newest first."""
        buyer = await _buyer(drafts, id)
        found = await drafts.invoices.page(buyer.id, before=before, limit=limit + 1)
        page = [head_of(head) for head in found[:limit]]
        if before is None:
            open_ones = await drafts.open_ones(buyer)
            page = [*(InvoiceHead(**head_fields(each)) for each in open_ones), *page]
        return InvoicePage(invoices=page, next=found[limit - 1].id if len(found) > limit else None)

    @router.get(
        "/organisations/{id}/invoices/draft",
        tags=["invoices"],
        response_model=InvoiceView,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def read_invoice_draft(id: str) -> Response:  # noqa: A002
        """What the month under way comes to so far."""
        buyer = await _buyer(drafts, id)
        return await _json(await drafts.current(buyer))


def add_invoice_routes(router: APIRouter, drafts: Drafts, printer: Printer) -> None:
    """A closed invoice in its forms."""

    @router.get(
        "/invoices/{id}",
        tags=["invoices"],
        response_model=InvoiceView,
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def read_invoice(id: str) -> Response:  # noqa: A002
        """A closed invoice with all its lines."""
        return await _json(await _invoice(drafts, id))

    @router.get(
        "/invoices/{id}/csv",
        tags=["invoices"],
        response_class=Response,
        responses=_file("text/csv") | documented(HTTPStatus.NOT_FOUND),
    )
    async def read_invoice_csv(id: str) -> Response:  # noqa: A002
        """The lines of a closed invoice; the amounts of all rows add up to what is to be paid."""
        invoice = await _invoice(drafts, id)
        text = await asyncio.to_thread(csv_text, invoice)
        return _attached(invoice, text.encode("utf-8"), "text/csv; charset=utf-8", "csv")

    @router.get(
        "/invoices/{id}/pdf",
        tags=["invoices"],
        response_class=Response,
        responses=_file("application/pdf") | documented(HTTPStatus.NOT_FOUND),
    )
    async def read_invoice_pdf(id: str) -> Response:  # noqa: A002
        """A closed invoice to print; the same bytes every time."""
        invoice = await _invoice(drafts, id)
        return _attached(invoice, await printer.print(invoice), "application/pdf", "pdf")


async def _buyer(drafts: Drafts, text: str) -> Buyer:
    number = parse_id(text)
    buyer = await drafts.buyer(number) if number is not None else None
    if buyer is None:
        raise missing(Target.ORGANISATION, text)
    return buyer


async def _invoice(drafts: Drafts, text: str) -> Invoice:
    number = parse_id(text)
    invoice = await drafts.invoices.get(number) if number is not None else None
    if invoice is None:
        raise missing(Target.INVOICE, text)
    return invoice


async def _json(invoice: Invoice) -> Response:
    return Response(await asyncio.to_thread(_text, invoice), media_type=_JSON)


def _text(invoice: Invoice) -> str:
    return json.dumps(document_of(invoice), separators=(",", ":"), ensure_ascii=False)


def _file(media_type: str) -> dict[int | str, dict[str, Any]]:
    schema = {"type": "string", "format": "binary"}
    return {200: {"description": "The file.", "content": {media_type: {"schema": schema}}}}


def _attached(invoice: Invoice, content: bytes, media_type: str, ending: str) -> Response:
    # The operator chooses the prefix of numbers: only what is safe in a header is in the name.
    name = "".join(each for each in invoice.number if each.isascii() and each.isalnum())
    headers = {"Content-Disposition": f'attachment; filename="invoice-{name}.{ending}"'}
    return Response(content, media_type=media_type, headers=headers)
