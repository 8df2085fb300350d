"""Prints invoices for the API: one at a time, beside what else control does."""

import asyncio
from pathlib import Path

from control.invoices.document import Invoice
from dormouse.base.config import ConfigError


class Printer:
    """Makes PDFs. A large one is seconds of work, so they wait for each other.

    What prints is imported with the first one: most starts of control see none.
    """

    def __init__(self, font: Path | None) -> None:
        """`font`: the operator's. Raises ConfigError for one that cannot be used."""
        self._font = font
        self._printing = asyncio.Semaphore(1)
        if font is not None:
            _try(font)

    async def print(self, invoice: Invoice) -> bytes:
        """The PDF; the same bytes every time."""
        async with self._printing:
            return await asyncio.to_thread(_pdf_bytes, invoice, self._font)


def _try(font: Path) -> None:
    from reportlab.pdfbase.ttfonts import TTFError

    from control.invoices.pdffonts import Fonts

    try:
        Fonts.ready(font)
    except (OSError, TTFError) as error:
        raise ConfigError(f"invoice_font: {font}: {error}") from error


def _pdf_bytes(invoice: Invoice, font: Path | None) -> bytes:
    from control.invoices.pdf import pdf_bytes

    return pdf_bytes(invoice, font)
