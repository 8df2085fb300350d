"""The route and documents of what statements cost."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from control.api.days import From, To, days_asked, moment_of, seconds_of
from control.api.paths import no_tenant, parse_tenant_id
from control.api.problems import documented
from control.months import month_number
from control.registry import Registry
from control.statements import Cost, StatementLedger, StatementLine
from control.tenants import NoSuchTenant
from control.usage import UsageReader
from dormouse.base.units import MICRO

LIMIT_MAX = 100
_MILLI = 1000

_Order = Annotated[
    Literal["request_units", "calls", "elapsed"], Query(description="Most of this first.")
]
_Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX)]


class StatementCostView(BaseModel):
    """What calls cost and how long they took."""

    calls: int = Field(description="That ran to their end; what a failed one cost counts too.")
    rows: int
    elapsed_ms: float = Field(description="Of all calls together.")
    request_units: float


class StatementView(StatementCostView):
    """A statement without its constants."""

    query_id: str = Field(description="As `pg_stat_statements.queryid`: 64 bits, signed.")
    query: str = Field(description="At most 2048 bytes.")
    role: str
    mean_ms: float | None = Field(description="Of a call.")


class StatementsView(BaseModel):
    """Statements of a tenant in a period, on all its pods."""

    tenant_id: int
    period_start: datetime
    period_end: datetime
    time_zone: str = Field(description="Whose days these are.")
    statements: list[StatementView]
    others: StatementCostView = Field(description="All that are not in the list, together.")


def add_statement_routes(
    router: APIRouter, *, statements: StatementLedger, usage: UsageReader, registry: Registry
) -> None:
    """What a tenant's statements cost."""

    @router.get(
        "/tenants/{id}/statements",
        tags=["usage"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    )
    async def read_statements(
        id: str,  # noqa: A002 - the path's name
        first: From = None,
        to: To = None,
        order: _Order = "request_units",
        limit: _Limit = 20,
    ) -> StatementsView:
        """The statements that cost most. Told by the pods every ten seconds; reading wakes nobody.

        A day keeps a tenant's 100 dearest statements apart, and is kept for 100 days.
        """
        try:
            tenant_id = parse_tenant_id(id)
        except NoSuchTenant:
            raise no_tenant(id) from None
        if await registry.get(tenant_id) is None:
            raise no_tenant(id)
        days = await days_asked(usage, tenant_id, first, to)
        start, end = await seconds_of(usage, tenant_id, days)
        _, calendar = await usage.whose(tenant_id)
        found = await statements.statements(tenant_id, start, end, order=order, limit=limit)
        return StatementsView(
            tenant_id=tenant_id,
            period_start=moment_of(start),
            period_end=moment_of(end),
            time_zone=calendar.zone(month_number(days[0])),
            statements=[statement_view(line) for line in found.lines],
            others=StatementCostView(**_fields(found.others)),
        )


def statement_view(line: StatementLine) -> StatementView:
    """A statement as it is shown."""
    cost = line.cost
    mean = cost.elapsed_micros / _MILLI / cost.calls if cost.calls else None
    return StatementView(
        query_id=str(line.query_id),
        query=line.query,
        role=line.role,
        mean_ms=mean,
        **_fields(cost),
    )


def _fields(cost: Cost) -> dict[str, Any]:
    """Of StatementCostView."""
    return {
        "calls": cost.calls,
        "rows": cost.rows,
        "elapsed_ms": cost.elapsed_micros / _MILLI,
        "request_units": cost.micro_units / MICRO,
    }
