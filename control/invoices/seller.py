"""Who sends invoices, and on which terms: from control's settings."""

from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any, Self

from control.config import ControlSettings
from dormouse.base.config import ConfigError

PERCENT_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    """What stands on every invoice about whoever sends it; frozen into each that is closed."""

    name: str = ""
    address: str = ""
    """Lines of text."""
    tax_id: str = ""
    """As it is to be printed: a VAT number, the registration number of a qualified invoice."""
    tax_label: str = "Tax"
    tax_percent: str = "0"
    """A decimal number."""
    payment_days: int = 30
    note: str = ""
    """Lines of text below the sum: how to pay."""

    @classmethod
    def of(cls, settings: ControlSettings) -> Self:
        """From control's settings. Raises ConfigError."""
        percent = settings.tax_percent
        try:
            known = percent.isascii() and 0 <= Fraction(percent) <= PERCENT_MAX
        except (ValueError, ZeroDivisionError):
            known = False
        if not known or "/" in percent:
            raise ConfigError(f"tax_percent: {percent!r} is no percentage, as 10 or 8.875")
        return cls(
            name=settings.seller_name,
            address=settings.seller_address,
            tax_id=settings.seller_tax_id,
            tax_label=settings.tax_label,
            tax_percent=percent,
            payment_days=settings.invoice_payment_days,
            note=settings.seller_note,
        )

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """From what `json` made."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in document.items() if name in known})

    @property
    def json(self) -> dict[str, Any]:
        """For the snapshot."""
        return asdict(self)
