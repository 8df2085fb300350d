"""The words, units and prices of lines, for people and spreadsheets. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from control.invoices.lines import Kind
from control.invoices.money import exact_text
from control.prices import KIB_SECONDS_PER_GIB_HOUR, Version
from dormouse.base.units import MICRO, rounded

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Words:
    """How lines of a kind are shown."""

    title: str
    unit: str
    """Of the quantity that is shown."""
    divisor: int
    """So many of the ledger's units are one of those."""
    digits: int
    """Behind the point; quantities of storage and egress are rounded to them, for show."""
    ledger_unit: str

    def quantity(self, number: int, *, digits: int | None = None, grouped: bool = True) -> str:
        """A quantity of the ledger's units, as text."""
        digits = self.digits if digits is None else digits
        scale = 10**digits
        shown = rounded(Fraction(number * scale, self.divisor))
        sign, whole = "-" if shown < 0 else "", abs(shown)
        before = f"{whole // scale:,}" if grouped else f"{whole // scale}"
        return f"{sign}{before}.{whole % scale:0{digits}d}" if digits else f"{sign}{before}"


def _units(title: str) -> Words:
    return Words(title, "request units", MICRO, 6, "micro_request_unit")


WORDS: Mapping[Kind, Words] = {
    Kind.UNITS: _units("Request units"),
    Kind.SQL_CPU: _units("Request units, SQL CPU"),
    Kind.READS: _units("Request units, reads"),
    Kind.WRITES: _units("Request units, writes"),
    Kind.EGRESS_UNITS: _units("Request units, egress"),
    Kind.POD_TIME: Words("Pod time", "pod-seconds", 1000, 3, "millisecond"),
    Kind.STORAGE: Words("Storage", "GiB-hours", KIB_SECONDS_PER_GIB_HOUR, 6, "kib_second"),
    Kind.EGRESS: Words("Egress", "GiB", _GIB, 6, "byte"),
    Kind.FEE: Words("Monthly fee", "tenants", 1, 0, "tenant"),
}


def price_of(version: Version, kind: Kind) -> tuple[int, str]:
    """The price in millionths of the currency, and for what."""
    match kind:
        case Kind.POD_TIME:
            return version.per_thousand_pod_seconds, "1,000 pod-seconds"
        case Kind.STORAGE:
            return version.per_thousand_gib_hours, "1,000 GiB-hours"
        case Kind.EGRESS:
            return version.per_thousand_egress_gib, "1,000 GiB"
        case Kind.FEE:
            return version.monthly_fee, "tenant and month"
    return version.per_million_units, "1,000,000 request units"


_SHORT = {
    Kind.POD_TIME: "per thousand",
    Kind.STORAGE: "per thousand",
    Kind.EGRESS: "per thousand",
    Kind.FEE: "each",
}


def price_text(version: Version, kind: Kind) -> str:
    """`0.20 per million`: of the unit that the line is in."""
    price, _ = price_of(version, kind)
    return f"{short_text(price)} {_SHORT.get(kind, 'per million')}"


def short_text(micros: int) -> str:
    """Millionths of the currency without needless zeros behind the second digit."""
    whole, _, digits = exact_text(micros).partition(".")
    return f"{whole}.{digits.rstrip('0').ljust(2, '0')}"
