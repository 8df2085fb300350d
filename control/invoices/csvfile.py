"""An invoice as CSV after RFC 4180: one row for each line, for spreadsheets and scripts.

The amounts of all rows add up to what is to be paid: the lines to the last millionth, then a row
for what rounding to the smallest coin adds, and one for the tax. Texts that a spreadsheet would
take for a formula begin with an apostrophe; numbers are numbers.
"""

import csv
import io
from collections.abc import Iterator

from control.invoices.document import Invoice, moment_text
from control.invoices.lines import ORGANISATION
from control.invoices.money import exact_text
from control.invoices.wording import WORDS, price_of
from control.months import month_name
from dormouse.base.units import MICRO

COLUMNS = (
    "invoice",
    "organisation",
    "month",
    "period_start",
    "period_end",
    "tenant_id",
    "tenant",
    "kind",
    "quantity",
    "free_quantity",
    "unit",
    "price",
    "price_for",
    "amount",
    "currency",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_text(invoice: Invoice) -> str:
    """The file."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(invoice))
    return file.getvalue()


def _rows(invoice: Invoice) -> Iterator[tuple[object, ...]]:
    head = (safe(invoice.number or "draft"), safe(invoice.organisation))
    for section, line in invoice.lines():
        words = WORDS[line.kind]
        price, what = price_of(section.version, line.kind)
        yield (
            *head,
            month_name(section.month),
            moment_text(section.start),
            moment_text(section.end),
            "" if line.tenant_id == ORGANISATION else line.tenant_id,
            safe(invoice.names.get(line.tenant_id, "")),
            line.kind,
            words.quantity(line.quantity, grouped=False),
            words.quantity(line.free, grouped=False),
            words.unit,
            exact_text(price, grouped=False),
            what,
            exact_text(line.amount, grouped=False),
            invoice.currency,
        )
    period = (invoice.month_name, moment_text(invoice.start), moment_text(invoice.end))
    coin = MICRO // 10**invoice.payable.digits
    for kind, micros in (
        ("rounding", invoice.payable.net * coin - invoice.total),
        ("tax", invoice.payable.tax * coin),
    ):
        blank = ("",) * 5
        amount = exact_text(micros, grouped=False)
        yield (*head, *period, "", "", kind, *blank, amount, invoice.currency)
