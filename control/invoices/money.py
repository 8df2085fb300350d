"""What is to be paid: from millionths of the currency to its smallest coin, and tax. Pure.

Rounding: lines and their sum are whole millionths. The sum is rounded once to the smallest coin,
halves away from zero; that is the net amount. Tax is a percentage of the net amount, rounded once
in the same way. What is to be paid is the net amount and the tax.
"""

from dataclasses import dataclass
from fractions import Fraction

from dormouse.base.units import MICRO

_DIGITS = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV"),
        0,
    ),
    **dict.fromkeys(("XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""ISO 4217, where it is not two."""


def digits_of(currency: str) -> int:
    """How many digits the smallest coin of a currency has behind the point."""
    return _DIGITS.get(currency, 2)


def _to_coins(amount: Fraction) -> int:
    whole = (2 * abs(amount.numerator) + amount.denominator) // (2 * amount.denominator)
    return whole if amount >= 0 else -whole


@dataclass(frozen=True, slots=True)
class Payable:
    """What an invoice asks for, in the smallest coins of its currency."""

    digits: int
    net: int
    tax: int

    @classmethod
    def of(cls, micros: int, currency: str, tax_percent: str) -> "Payable":
        """For a sum in millionths of the currency."""
        digits = digits_of(currency)
        net = _to_coins(Fraction(micros * 10**digits, MICRO))
        return cls(digits, net, _to_coins(net * Fraction(tax_percent) / 100))

    @property
    def total(self) -> int:
        """With tax."""
        return self.net + self.tax

    def text(self, coins: int) -> str:
        """`1,234.56`."""
        sign, whole = "-" if coins < 0 else "", abs(coins)
        if not self.digits:
            return f"{sign}{whole:,}"
        unit = 10**self.digits
        return f"{sign}{whole // unit:,}.{whole % unit:0{self.digits}d}"


def exact_text(micros: int, *, grouped: bool = True) -> str:
    """`1,234.567891`: millionths of the currency to the last one."""
    sign, whole = "-" if micros < 0 else "", abs(micros)
    before = f"{whole // MICRO:,}" if grouped else f"{whole // MICRO}"
    return f"{sign}{before}.{whole % MICRO:06d}"
