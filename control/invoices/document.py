"""An invoice: what it says, and how a closed one is kept.

A closed invoice is a snapshot. Prices, names, addresses, tax and what was counted are in it as they
were, so that it reads the same in ten years, whatever the settings say then. It is kept as
compressed JSON with the number of its format; a release reads all formats there ever were.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from control.invoices.lines import Kind, Line
from control.invoices.money import Payable
from control.invoices.sections import Section
from control.invoices.seller import Seller
from control.months import month_name
from control.prices import Version
from control.rollups import Used

FORMAT = 1
_LEVEL = 6


class UnknownFormat(Exception):
    """A snapshot that a newer release has written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice of one organisation and month: a draft, or closed."""

    id: int | None = None
    """None: a draft."""
    number: str = ""
    """Empty: a draft."""
    organisation_id: int
    organisation: str
    """Its name."""
    billing_address: str
    """Lines of text."""
    month: int
    """Its number (control/months.py)."""
    time_zone: str
    start: int
    end: int
    made_ns: int
    """When it was closed, or the draft drawn up."""
    day: date
    """The day of that, where the organisation is: the date of the invoice."""
    currency: str
    seller: Seller
    sections: tuple[Section, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    """Of the tenants in the lines."""

    @property
    def month_name(self) -> str:
        """`2026-03`."""
        return month_name(self.month)

    @property
    def due(self) -> date:
        """To be paid until."""
        return self.day + timedelta(days=self.seller.payment_days)

    @property
    def total(self) -> int:
        """The sum of all lines, in millionths of the currency."""
        return sum(section.amount for section in self.sections)

    @property
    def late(self) -> int:
        """Of it, what is charged of earlier months."""
        return sum(section.amount for section in self.sections if section.month != self.month)

    @property
    def payable(self) -> Payable:
        """What is to be paid."""
        return Payable.of(self.total, self.currency, self.seller.tax_percent)

    def lines(self) -> Iterator[tuple[Section, Line]]:
        """All lines, by section, tenant and kind."""
        for section in self.sections:
            for line in section.sorted_lines():
                yield section, line


def pack(invoice: Invoice) -> bytes:
    """The snapshot, without id and number, which are the table's."""
    document = {
        "organisation": [invoice.organisation_id, invoice.organisation],
        "billing_address": invoice.billing_address,
        "month": invoice.month,
        "time_zone": invoice.time_zone,
        "period": [invoice.start, invoice.end],
        "made_ns": invoice.made_ns,
        "day": invoice.day.isoformat(),
        "currency": invoice.currency,
        "seller": invoice.seller.json,
        "total": invoice.total,
        "sections": [_section_json(section) for section in invoice.sections],
        "names": [[tenant, name] for tenant, name in sorted(invoice.names.items())],
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    return zlib.compress(text.encode("utf-8"), _LEVEL)


def unpack(number: int, name: str, format_number: int, packed: bytes) -> Invoice:
    """The invoice of a snapshot. Raises UnknownFormat."""
    if format_number != FORMAT:
        raise UnknownFormat(f"invoice {name} is of format {format_number}")
    document = json.loads(zlib.decompress(packed))
    organisation, organisation_name = document["organisation"]
    start, end = document["period"]
    return Invoice(
        id=number,
        number=name,
        organisation_id=organisation,
        organisation=organisation_name,
        billing_address=document["billing_address"],
        month=document["month"],
        time_zone=document["time_zone"],
        start=start,
        end=end,
        made_ns=document["made_ns"],
        day=date.fromisoformat(document["day"]),
        currency=document["currency"],
        seller=Seller.from_json(document["seller"]),
        sections=tuple(_section(each) for each in document["sections"]),
        names=dict(document["names"]),
    )


def _section_json(section: Section) -> dict[str, Any]:
    return {
        "month": section.month,
        "period": [section.start, section.end],
        "prices": section.version.model_dump(mode="json"),
        "uses": [[tenant, *used.row] for tenant, used in section.uses.items()],
        "lines": [
            [line.tenant_id, line.kind, line.quantity, line.free, line.amount]
            for line in section.lines
        ],
    }


def _section(document: Mapping[str, Any]) -> Section:
    start, end = document["period"]
    return Section(
        month=document["month"],
        version=Version.model_validate(document["prices"]),
        start=start,
        end=end,
        uses={row[0]: Used.from_row(tuple(row[1:])) for row in document["uses"]},
        lines=tuple(Line(row[0], Kind(row[1]), *row[2:]) for row in document["lines"]),
    )


def moment_text(second: int) -> str:
    """`2026-03-31T15:00:00Z`."""
    return datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z")
