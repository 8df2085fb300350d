"""The routes and documents of spend limits: a tenant's and an organisation's."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from control.access import Target
from control.actor import OrganisationId
from control.api.paths import IfMatch, etag, missing, no_tenant, parse_id, parse_versions
from control.api.problems import Problem, documented
from control.organisations import Organisations
from control.registry import Registry, VersionMismatch
from control.rollups import of_organisation
from control.spending.limits import CENTS_MAX, UNITS_MAX, Limit, Policy
from control.spending.service import Spending, Standing
from dormouse.base.ids import TenantId
from dormouse.base.units import MICRO

PolicyName = Literal["stop", "throttle", "notify"]
ScopeName = Literal["tenant", "organisation"]
StateName = Literal["free", "open", "throttled", "stopped"]


class SpendLimitPut(BaseModel):
    """A limit, all of it; without an amount there is none."""

    model_config = ConfigDict(extra="forbid", strict=True)

    monthly_cents: Annotated[int | None, Field(ge=0, le=CENTS_MAX)] = Field(
        default=None,
        description="Of what is paid beyond the free allowance, in hundredths of the currency.",
        examples=[2000],
    )
    monthly_request_units: Annotated[int | None, Field(ge=0, le=UNITS_MAX)] = Field(
        default=None, description="Of all request units, free ones too.", examples=[50_000]
    )
    policy: PolicyName = Field(
        default="stop",
        description="What happens at the limit; the amount that is reached first counts.",
    )


class SpendUsedView(BaseModel):
    """What this month has come to."""

    request_units: float
    cost_micros: int = Field(
        description="Beyond the free allowance, in millionths of the currency."
    )
    percent: float = Field(description="Of the limit; rounded down.")


class SpendNoticeView(BaseModel):
    """A part of the limit that was reached this month."""

    percent: int = Field(examples=[75])
    at: datetime


class SpendLimitView(BaseModel):
    """A limit, and how the month stands against it."""

    monthly_cents: int | None
    monthly_request_units: int | None
    policy: PolicyName
    state: StateName = Field(
        description="`free`: nothing stops or slows it; `open`: under the limit; `stopped`: "
        "statements fail with 53400, reading out and deleting go on slowly."
    )
    limited_by: ScopeName | None = Field(description="Whose limit stops it or slows it down.")
    used: SpendUsedView
    period_start: datetime
    period_end: datetime
    notices: list[SpendNoticeView]


_RESPONSES = documented(HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED)


def add_spend_limit_routes(router: APIRouter, *, spending: Spending, registry: Registry) -> None:
    """Of a tenant."""
    path = "/tenants/{id}/spend-limit"

    async def find(text: str) -> tuple[int, OrganisationId]:
        number = parse_id(text)
        tenant = await registry.get(TenantId(number)) if number is not None else None
        if tenant is None:
            raise no_tenant(text)
        return tenant.id, tenant.organisation

    @router.get(path, tags=["spending"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_spend_limit(id: str, response: Response) -> SpendLimitView:  # noqa: A002
        """A tenant's spend limit, and how its month stands."""
        account, _ = await find(id)
        return await _answer(spending, account, response)

    @router.put(path, tags=["spending"], responses=_RESPONSES)
    async def set_spend_limit(
        id: str,  # noqa: A002
        body: SpendLimitPut,
        response: Response,
        if_match: IfMatch = None,
    ) -> SpendLimitView:
        """Set a tenant's spend limit. Its running pods know of it when this answers."""
        account, organisation = await find(id)
        await _put(spending, account, organisation, body, if_match)
        return await _answer(spending, account, response)


def add_organisation_spend_limit_routes(
    router: APIRouter, *, spending: Spending, organisations: Organisations
) -> None:
    """Of all tenants of an organisation together."""
    path = "/organisations/{id}/spend-limit"

    async def find(text: str) -> OrganisationId:
        number = parse_id(text)
        found = await organisations.get(OrganisationId(number)) if number is not None else None
        if found is None:
            raise missing(Target.ORGANISATION, text)
        return found.id

    @router.get(path, tags=["spending"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_organisation_spend_limit(
        id: str,  # noqa: A002
        response: Response,
    ) -> SpendLimitView:
        """An organisation's spend limit, and how its month stands."""
        return await _answer(spending, of_organisation(await find(id)), response)

    @router.put(path, tags=["spending"], responses=_RESPONSES)
    async def set_organisation_spend_limit(
        id: str,  # noqa: A002
        body: SpendLimitPut,
        response: Response,
        if_match: IfMatch = None,
    ) -> SpendLimitView:
        """Set the spend limit of an organisation's tenants together."""
        organisation = await find(id)
        account = of_organisation(organisation)
        await _put(spending, account, organisation, body, if_match)
        return await _answer(spending, account, response)


def limit_of(body: SpendLimitPut) -> Limit:
    """What is to be set."""
    return Limit(
        monthly_cents=body.monthly_cents,
        monthly_units=body.monthly_request_units,
        policy=Policy(body.policy),
    )


def limit_put(limit: Limit) -> SpendLimitPut:
    """What sets such a limit."""
    return SpendLimitPut.model_validate(
        {
            "monthly_cents": limit.monthly_cents,
            "monthly_request_units": limit.monthly_units,
            "policy": str(limit.policy),
        }
    )


async def _put(
    spending: Spending,
    account: int,
    organisation: OrganisationId,
    body: SpendLimitPut,
    if_match: str | None,
) -> None:
    try:
        await spending.put(
            account, limit_of(body), organisation=organisation, versions=parse_versions(if_match)
        )
    except VersionMismatch:
        detail = "the spend limit has changed meanwhile: read it again"
        raise Problem(HTTPStatus.PRECONDITION_FAILED, "spend_limit_changed", detail) from None


async def _answer(spending: Spending, account: int, response: Response) -> SpendLimitView:
    standing = await spending.standing(account)
    response.headers["ETag"] = etag(standing.limit.version)
    return _view(standing)


def _view(standing: Standing) -> SpendLimitView:
    limit, position = standing.limit, standing.position
    permille = standing.stand.permille if standing.stand is not None else 0
    return SpendLimitView.model_validate(
        {
            "monthly_cents": limit.monthly_cents,
            "monthly_request_units": limit.monthly_units,
            "policy": str(limit.policy),
            "state": standing.state.name.lower(),
            "limited_by": str(standing.limited_by) if standing.limited_by is not None else None,
            "used": {
                "request_units": position.micro_units / MICRO,
                "cost_micros": position.cost_micros,
                "percent": permille / 10,
            },
            "period_start": datetime.fromtimestamp(position.start, UTC),
            "period_end": datetime.fromtimestamp(position.end, UTC),
            "notices": [
                {"percent": each.percent, "at": datetime.fromtimestamp(each.at_ns / 1e9, UTC)}
                for each in standing.notices
            ],
        }
    )
