"""The routes and documents of usage: one tenant's and everybody's."""

from dataclasses import asdict
from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from control import rollups
from control.access import Target
from control.api.days import DAYS_MAX, From, To, days_asked, moment_of, seconds_of
from control.api.paths import missing, no_tenant, parse_id, parse_tenant_id
from control.api.problems import documented
from control.api.statements import LIMIT_MAX, StatementView, statement_view
from control.months import month_number
from control.periods import Span
from control.prices import KIB_SECONDS_PER_GIB_HOUR, Cost
from control.registry import Registry
from control.rollups import EVERYONE
from control.statements import RoleSum, StatementLedger
from control.tenants import NoSuchTenant
from control.usage import Part, Usage, UsageReader
from dormouse.base.ids import TENANT_ID_MAX, TenantId
from dormouse.base.units import MICRO, Units, units_of

HOUR_DAYS_MAX = 31
_TENANTS_MAX = 100

_By = Annotated[
    Literal["cause", "day", "hour"],
    Query(description="`day`, `hour`: days or hours as well; hours of 31 days at the most."),
]
_TenantBy = Annotated[
    Literal["cause", "day", "hour", "role"],
    Query(description="`day`, `hour`, `role`: these as well; hours of 31 days at the most."),
]
_Top = Annotated[int, Query(ge=0, le=LIMIT_MAX, description="So many of the dearest statements.")]


class CausesView(BaseModel):
    """Request units by what they went to; they add up to `request_units`."""

    sql_cpu: float
    reads: float
    writes: float
    egress: float


class CostView(BaseModel):
    """Lines in millionths of the currency; they add up to `cost_micros`."""

    request_units: int
    pod_time: int
    storage: int
    egress: int
    fee: int


class MeasuresView(BaseModel):
    """What was counted."""

    sql_cpu_seconds: float
    read_batches: int
    read_requests: int
    read_bytes: int
    write_batches: int
    write_requests: int
    write_bytes: int
    egress_bytes: int
    pod_seconds: float
    storage_gib_hours: float


class SystemView(BaseModel):
    """Work of the system itself: shown, in no sum, not billed."""

    request_units: float
    cpu_seconds: float
    read_requests: int
    write_requests: int


class DayView(BaseModel):
    """One day, in the time zone of the organisation."""

    day: date
    request_units: float
    cost_micros: int
    by_cause: CausesView
    storage_gib_hours: float
    pod_seconds: float


class HourView(BaseModel):
    """One hour of UTC. Those of more than 100 days ago are not kept."""

    hour: datetime
    request_units: float
    by_cause: CausesView


class RoleView(BaseModel):
    """What a role's sessions used."""

    role: str | None = Field(description="null: what belongs to no role, such as failed logins.")
    calls: int
    request_units: float


class ForecastView(BaseModel):
    """What the month will have come to if it goes on as in the last week."""

    month_end: datetime
    request_units: float
    cost_micros: int


class UsageView(BaseModel):
    """Use and cost of a period."""

    period_start: datetime
    period_end: datetime
    time_zone: str = Field(
        description="Whose days these are. Of all tenants together each organisation's own days"
        " count; the period is then written in UTC."
    )
    as_of: datetime
    currency: str
    request_units: float = Field(description="Exact to a millionth.")
    by_cause: CausesView
    storage_bytes: int = Field(description="Stored now.")
    cost_micros: int = Field(
        description="Beyond the free allowance, in millionths of the currency."
    )
    cost: CostView
    measures: MeasuresView
    system: SystemView
    days: list[DayView] | None = Field(description="With `by=day`: the days with any use.")
    hours: list[HourView] | None = Field(description="With `by=hour`: the hours with any use.")
    forecast: ForecastView | None = Field(description="Of the current month only.")


class TenantUsageView(UsageView):
    """Of one tenant."""

    tenant_id: int
    roles: list[RoleView] | None = Field(
        description="With `by=role`. They add up to `request_units`, but for the last ten seconds"
        " of each pod, which a day's end may put on the next day and a killed pod may lose; and"
        " with what was done at a spend limit, which is not billed."
    )
    top_statements: list[StatementView] | None = Field(description="With `top_statements`.")


class TenantLine(BaseModel):
    """One tenant in the list."""

    id: int
    name: str = Field(description="Its last one, if it is deleted.")
    request_units: float
    storage_bytes: int
    cost_micros: int


class AllUsageView(UsageView):
    """Of all tenants, or those of an organisation, together, with a page of them."""

    tenants: list[TenantLine] = Field(description="Those with use in the month of `from`, by id.")
    next: int | None = Field(description="`after` of the next page.")


def add_usage_routes(
    router: APIRouter, *, usage: UsageReader, registry: Registry, statements: StatementLedger
) -> None:
    """One tenant's use."""

    @router.get(
        "/tenants/{id}/usage",
        tags=["usage"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    )
    async def read_tenant_usage(
        id: str,  # noqa: A002 - the path's name
        first: From = None,
        to: To = None,
        by: _TenantBy = "cause",
        top_statements: _Top = 0,
    ) -> TenantUsageView:
        """What a tenant used and what it costs. Reading wakes nobody."""
        try:
            tenant_id = parse_tenant_id(id)
        except NoSuchTenant:
            raise no_tenant(id) from None
        if await registry.get(tenant_id) is None:
            raise no_tenant(id)
        days = await _days_asked(usage, tenant_id, first, to, by)
        found = await usage.read(*days, account=tenant_id, by_day=by == "day")
        period = await seconds_of(usage, tenant_id, days)
        roles = await statements.roles(tenant_id, *period) if by == "role" else None
        top = None
        if top_statements:
            top = await statements.statements(
                tenant_id, *period, order="request_units", limit=top_statements
            )
        return TenantUsageView(
            tenant_id=tenant_id,
            roles=None if roles is None else [_role(each) for each in roles],
            top_statements=None if top is None else [statement_view(each) for each in top.lines],
            **_fields(found, by_day=by == "day"),
            hours=await _hours(usage, tenant_id, days) if by == "hour" else None,
        )


def add_usage_together_routes(router: APIRouter, *, usage: UsageReader, registry: Registry) -> None:
    """The use of an organisation's tenants, and of everybody's."""

    async def together(
        account: int, period: tuple[date | None, date | None], by: str, after: int, limit: int
    ) -> AllUsageView:
        first, to = await _days_asked(usage, account, *period, by)
        found = await usage.read(first, to, account=account, by_day=by == "day")
        month = month_number(first)
        ids = await rollups.users(
            usage.database, month, account, after=after, limit=limit + 1, now=found.as_of
        )
        names = await registry.names([TenantId(each) for each in ids[:limit]])
        lines = []
        for each in ids[:limit]:
            own = await usage.read(first, to, account=each)
            lines.append(_line(own, names.get(TenantId(each), "")))
        following = ids[limit - 1] if len(ids) > limit else None
        return AllUsageView(
            tenants=lines,
            next=following,
            **_fields(found, by_day=by == "day"),
            hours=await _hours(usage, account, (first, to)) if by == "hour" else None,
        )

    @router.get("/usage", tags=["usage"], responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY))
    async def read_usage(
        first: From = None,
        to: To = None,
        by: _By = "cause",
        after: Annotated[int, Query(ge=0, le=TENANT_ID_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=_TENANTS_MAX)] = _TENANTS_MAX,
    ) -> AllUsageView:
        """What all tenants used together, and a page of them with theirs."""
        return await together(EVERYONE, (first, to), by, after, limit)

    @router.get(
        "/organisations/{id}/usage",
        tags=["usage"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY),
    )
    async def read_organisation_usage(
        id: str,  # noqa: A002
        first: From = None,
        to: To = None,
        by: _By = "cause",
        after: Annotated[int, Query(ge=0, le=TENANT_ID_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=_TENANTS_MAX)] = _TENANTS_MAX,
    ) -> AllUsageView:
        """What the tenants of an organisation used together, and a page of them with theirs."""
        number = parse_id(id)
        if number is None or not await usage.has_organisation(number):
            raise missing(Target.ORGANISATION, id)
        account = rollups.of_organisation(number)
        return await together(account, (first, to), by, after, limit)


async def _days_asked(
    usage: UsageReader, account: int, first: date | None, to: date | None, by: str
) -> tuple[date, date]:
    days_max = HOUR_DAYS_MAX if by == "hour" else DAYS_MAX
    return await days_asked(usage, account, first, to, days_max=days_max)


async def _hours(usage: UsageReader, account: int, days: tuple[date, date]) -> list[HourView]:
    """The hours that begin in the account's days."""
    start, end = await seconds_of(usage, account, days)
    hours = await rollups.read(usage.database, Span.HOUR, start, end, tenant_id=account)
    units = {hour: units_of(used.amounts) for hour, used in hours.items()}
    return [
        HourView(hour=moment_of(hour), request_units=each.total / MICRO, by_cause=_causes(each))
        for hour, each in units.items()
        if each.total
    ]


def _role(role: RoleSum) -> RoleView:
    return RoleView(
        role=role.role or None, calls=role.calls, request_units=role.micro_units / MICRO
    )


def _fields(usage: Usage, *, by_day: bool) -> dict[str, Any]:
    """Of UsageView."""
    whole, amounts = usage.whole, usage.whole.used.amounts
    return {
        "period_start": moment_of(whole.start),
        "period_end": moment_of(whole.end),
        "time_zone": usage.time_zone,
        "as_of": moment_of(usage.as_of),
        "currency": usage.currency,
        "request_units": whole.units.total / MICRO,
        "by_cause": _causes(whole.units),
        "storage_bytes": usage.stored_bytes,
        "cost_micros": whole.cost.total,
        "cost": _cost(whole.cost),
        "measures": MeasuresView(
            sql_cpu_seconds=amounts.sql_cpu_micros / MICRO,
            read_batches=amounts.read_batches,
            read_requests=amounts.read_requests,
            read_bytes=amounts.read_bytes,
            write_batches=amounts.write_batches,
            write_requests=amounts.write_requests,
            write_bytes=amounts.write_bytes,
            egress_bytes=amounts.egress_bytes,
            pod_seconds=amounts.pod_millis / 1000,
            storage_gib_hours=_gib_hours(whole),
        ),
        "system": SystemView(
            request_units=whole.system / MICRO,
            cpu_seconds=amounts.system_cpu_micros / MICRO,
            read_requests=amounts.system_read_requests,
            write_requests=amounts.system_write_requests,
        ),
        "days": [_day(each) for each in usage.days] if by_day else None,
        "forecast": _forecast(usage),
    }


def _day(part: Part) -> DayView:
    return DayView(
        day=part.day,
        request_units=part.units.total / MICRO,
        cost_micros=part.cost.total,
        by_cause=_causes(part.units),
        storage_gib_hours=_gib_hours(part),
        pod_seconds=part.used.amounts.pod_millis / 1000,
    )


def _line(usage: Usage, name: str) -> TenantLine:
    return TenantLine(
        id=usage.tenant_id,
        name=name,
        request_units=usage.whole.units.total / MICRO,
        storage_bytes=usage.stored_bytes,
        cost_micros=usage.whole.cost.total,
    )


def _forecast(usage: Usage) -> ForecastView | None:
    if usage.forecast is None:
        return None
    return ForecastView(
        month_end=moment_of(usage.forecast.month_end),
        request_units=usage.forecast.micro_units / MICRO,
        cost_micros=usage.forecast.cost.total,
    )


def _causes(units: Units) -> CausesView:
    return CausesView(**{cause: micro / MICRO for cause, micro in asdict(units).items()})


def _cost(cost: Cost) -> CostView:
    return CostView(**asdict(cost))


def _gib_hours(part: Part) -> float:
    return part.used.storage_kib_seconds / KIB_SECONDS_PER_GIB_HOUR
