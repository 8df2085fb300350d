"""What an invoice is made of, read from the ledger's sums: a month of an organisation by tenant.

Tenants are read a page at a time, so that other readers of the registry come in between. A month
under one version of the prices is read from the sums over months, another from those over days.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from control import rollups
from control.database import Database
from control.invoices.lines import ORGANISATION
from control.invoices.sections import Billed, Part
from control.months import Calendar, border_range, month_number
from control.periods import Span
from control.prices import PriceBook, Version
from control.rollups import COLUMNS, Used, of_organisation
from control.storage_sampling import kib

PAGE = 500
_SUMS = ", ".join(f"sum({name})" for name in COLUMNS)
ROW_JSON = f"json_array({', '.join(f'r.{name}' for name in COLUMNS)})"
"""SQL: a sum as `used_text` writes it."""


def used_text(used: Used) -> str:
    """A sum as SQLite's json_array writes it."""
    return json.dumps(used.row, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class OpenMonth:
    """A month of an organisation that is looked at."""

    organisation: int
    calendar: Calendar
    number: int
    open_until: int | None
    """What is stored and not booked yet is added up to then; None: nothing."""

    @property
    def borders(self) -> tuple[int, int]:
        """Begin and end."""
        return self.calendar.border(self.number), self.calendar.border(self.number + 1)


_Cut = tuple[Version, int, int]


@dataclass(frozen=True, slots=True)
class Sums:
    """Reads months."""

    database: Database
    book: PriceBook

    async def totals(self, month: OpenMonth) -> dict[int, Used]:
        """What is booked of the month for all tenants together, by its begin; empty: nothing."""
        account = of_organisation(month.organisation)
        low, high = border_range(month.number)
        return await rollups.read(self.database, Span.MONTH, low, high + 1, tenant_id=account)

    async def parts(self, month: OpenMonth, billed: Billed) -> list[Part]:
        """The month by version of the prices and by tenant; the versions are those that it has
        been charged with."""
        cuts = self._cuts(month, billed)
        uses: list[dict[int, Used]] = [{} for _ in cuts]
        after = 0
        while True:
            tenants = await self._tenants(month.organisation, after)
            for place, cut in enumerate(cuts):
                uses[place] |= await self._uses(month, cut, tenants, is_only=len(cuts) == 1)
            if len(tenants) < PAGE:
                break
            after = tenants[-1]
        return [
            Part(version, start, end, dict(sorted(used.items())))
            for (version, start, end), used in zip(cuts, uses, strict=True)
        ]

    async def parts_together(self, month: OpenMonth, billed: Billed) -> list[Part]:
        """The month by version of the prices, for the organisation as if it were one tenant."""
        account = of_organisation(month.organisation)
        parts = []
        for version, start, end in self._cuts(month, billed):
            days = await rollups.read(self.database, Span.DAY, start, end, tenant_id=account)
            used = sum(days.values(), Used()) + await self._open_together(month, start, end)
            parts.append(Part(version, start, end, {ORGANISATION: used} if used else {}))
        return parts

    async def names(self, tenants: list[int]) -> dict[int, str]:
        """Of tenants, also of those that are gone."""
        names: dict[int, str] = {}
        for place in range(0, len(tenants), PAGE):
            rows = await self.database.read(
                "SELECT id, name FROM tenants WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(tenants[place : place + PAGE]),),
            )
            names |= {row[0]: row[1] for row in rows}
        return names

    async def late(self, organisation: int, since: int, before: int) -> list[int]:
        """Numbers of the months that begin from `since` to before `before` of which more is booked
        than has been invoiced, in order."""
        rows = await self.database.read(
            "SELECT r.start FROM usage_rollups r LEFT JOIN invoice_months m"
            " ON m.organisation_id = -r.tenant_id AND m.start = r.start"
            " WHERE r.tenant_id = ? AND r.span = 'month' AND r.start >= ? AND r.start < ?"
            f" AND m.used IS NOT {ROW_JSON} ORDER BY r.start",
            (of_organisation(organisation), since, before),
        )
        return [_number_of_border(row[0]) for row in rows]

    def _cuts(self, month: OpenMonth, billed: Billed) -> list[_Cut]:
        if billed.parts:
            return [(part.version, part.start, part.end) for part in billed.parts]
        return self.book.cut(*month.borders, month.calendar)

    async def _tenants(self, organisation: int, after: int) -> list[int]:
        rows = await self.database.read(
            "SELECT id FROM tenants WHERE organisation_id = ? AND id > ? ORDER BY id LIMIT ?",
            (organisation, after, PAGE),
        )
        return [row[0] for row in rows]

    async def _uses(
        self, month: OpenMonth, cut: _Cut, tenants: list[int], *, is_only: bool
    ) -> dict[int, Used]:
        _, start, end = cut
        low, high = border_range(month.number) if is_only else (start, end - 1)
        rows = await self.database.read(
            f"SELECT tenant_id, {_SUMS} FROM usage_rollups"
            " WHERE tenant_id IN (SELECT value FROM json_each(?)) AND span = ?"
            " AND start BETWEEN ? AND ? GROUP BY tenant_id",
            (json.dumps(tenants), Span.MONTH if is_only else Span.DAY, low, high),
        )
        uses = {row[0]: Used.from_row(row[1:]) for row in rows}
        for tenant, stored in (await self._open(month, tenants, start, end)).items():
            uses[tenant] = uses.get(tenant, Used()) + stored
        return {tenant: used for tenant, used in uses.items() if used}

    async def _open(
        self, month: OpenMonth, tenants: list[int], start: int, end: int
    ) -> Mapping[int, Used]:
        """What tenants have stored in a time and nobody has booked yet."""
        if month.open_until is None:
            return {}
        until = min(end, month.open_until)
        rows = await self.database.read(
            "SELECT tenant_id, bytes, booked FROM storage_levels WHERE bytes > 0 AND booked < ?"
            " AND tenant_id IN (SELECT value FROM json_each(?))",
            (until, json.dumps(tenants)),
        )
        return {
            row[0]: Used(storage_kib_seconds=kib(row[1]) * max(until - max(row[2], start), 0))
            for row in rows
        }

    async def _open_together(self, month: OpenMonth, start: int, end: int) -> Used:
        if month.open_until is None:
            return Used()
        until = min(end, month.open_until)
        row = await self.database.read_one(
            "SELECT sum((bytes + 1023) / 1024 * (?1 - max(booked, ?2))) FROM storage_levels"
            " WHERE bytes > 0 AND max(booked, ?2) < ?1"
            " AND tenant_id IN (SELECT id FROM tenants WHERE organisation_id = ?3)",
            (until, start, month.organisation),
        )
        return Used(storage_kib_seconds=(row[0] or 0) if row is not None else 0)


def _number_of_border(start: int) -> int:
    # Any zone's border is within 15 hours of UTC's.
    moment = datetime.fromtimestamp(start, UTC) + timedelta(hours=15)
    return month_number(moment.date())
