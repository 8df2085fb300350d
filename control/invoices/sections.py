"""What is charged of a month: sections, one for each part of it under one version of the prices.

A month that has been charged is charged again when its sums have grown: the new sections have what
was used besides, at the prices that were in force (they are kept with what was charged), and the
difference in money. Pure.

    March, closed        │ A 100 units  B 300 units      │ lines of A and B in March's invoice
    booked later         │              B  20 units      │
    March, charged again │ A 100        B 320, less that │ a line of B      in April's invoice
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from control.invoices.lines import ORGANISATION, Kind, Line, Standing, lines_between
from control.prices import Free, Version
from control.rollups import Used

_ORDER = {kind: place for place, kind in enumerate(Kind)}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a month under one version, and what tenants used in it."""

    version: Version
    start: int
    end: int
    uses: Mapping[int, Used]

    def together(self) -> "Part":
        """As if all tenants were one."""
        used = sum(self.uses.values(), Used())
        return replace(self, uses={ORGANISATION: used} if used else {})


@dataclass(frozen=True, slots=True)
class Section:
    """What is charged of a part of a month."""

    month: int
    """Its number (control/months.py)."""
    version: Version
    start: int
    end: int
    uses: Mapping[int, Used]
    """What was counted, by tenant."""
    lines: tuple[Line, ...]

    @property
    def amount(self) -> int:
        """Millionths of the currency."""
        return sum(line.amount for line in self.lines)

    def sorted_lines(self) -> list[Line]:
        """By tenant and kind."""
        return sorted(self.lines, key=lambda line: (line.tenant_id, _ORDER[line.kind]))

    def sums(self) -> list[Line]:
        """The lines of all tenants together: one for each kind."""
        found: dict[Kind, Line] = {}
        for line in self.lines:
            sums = found.get(line.kind, Line(ORGANISATION, line.kind, 0, 0, 0))
            found[line.kind] = Line(
                ORGANISATION,
                line.kind,
                sums.quantity + line.quantity,
                sums.free + line.free,
                sums.amount + line.amount,
            )
        return sorted(found.values(), key=lambda line: _ORDER[line.kind])

    @property
    def says_something(self) -> bool:
        """Whether it charges or counts anything."""
        return bool(self.lines or self.uses)


@dataclass(slots=True)
class Billed:
    """What has been charged of a month, in however many invoices."""

    parts: list[Part] = field(default_factory=list)
    """Empty: the month was closed without an invoice, or has not been closed."""
    with_fee: set[int] = field(default_factory=set)
    """Tenants the fee was charged for."""

    @classmethod
    def of(cls, sections: Iterable[Section]) -> "Billed":
        """From the sections of one month in the order of their invoices."""
        parts: dict[int, Part] = {}
        with_fee: set[int] = set()
        for section in sections:
            known = parts.get(section.start)
            uses = dict(known.uses) if known is not None else {}
            for tenant, used in section.uses.items():
                uses[tenant] = uses.get(tenant, Used()) + used
            parts[section.start] = Part(section.version, section.start, section.end, uses)
            with_fee |= {line.tenant_id for line in section.lines if line.kind is Kind.FEE}
        return cls([parts[start] for start in sorted(parts)], with_fee)

    def together(self) -> "Billed":
        """As if all tenants were one, and no fee had been charged."""
        return Billed([part.together() for part in self.parts])


def charge_month(
    month: int, parts: Sequence[Part], billed: Billed, fees: Mapping[int, int] | None = None
) -> list[Section]:
    """The sections of a month whose parts have those uses now, less what has been charged.

    `fees`: for whom the monthly fee is due, if the last part's version has one, and how often;
    None: once for each tenant that used anything.
    """
    if not parts:
        return []
    before = {part.start: part.uses for part in billed.parts}
    was_left = left = Free.of_month(parts[0].version)
    sections = []
    for part in parts:
        had = before.get(part.start, {})
        was = Standing(was_left, sum(had.values(), Used()))
        late = {t: used - had.get(t, Used()) for t, used in sorted(part.uses.items())}
        late = {tenant: used for tenant, used in late.items() if used}
        lines = lines_between(part.version, was, left, late)
        now = Standing(left, was.total + sum(late.values(), Used()))
        was_left, left = was.after(), now.after()
        sections.append(Section(month, part.version, part.start, part.end, late, tuple(lines)))
    if fees is None:
        fees = {tenant: 1 for part in parts for tenant, used in part.uses.items() if used}
    last = sections[-1]
    due = _fee_lines(last.version, {t: n for t, n in fees.items() if t not in billed.with_fee})
    sections[-1] = replace(last, lines=(*last.lines, *due))
    return sections


def _fee_lines(version: Version, fees: Mapping[int, int]) -> list[Line]:
    if version.basis != "pod_seconds" or not version.monthly_fee:
        return []
    return [
        Line(tenant, Kind.FEE, times, 0, times * version.monthly_fee)
        for tenant, times in sorted(fees.items())
        if times
    ]
