"""The routes that show what the autoscaler does: one tenant explained, all that are awake."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from control.api.models import ExplanationView, LiveView
from control.api.paths import no_tenant, parse_tenant_id
from control.api.problems import documented
from control.api.views import explanation_view, live_view
from control.live import Sort
from control.registry import Registry
from control.tenants import NoSuchTenant, Tenants
from control.urls import Endpoint
from dormouse.base.clock import Clock

_DECISIONS_MAX = 500
_LIVE_MAX = 500


def add_explain_route(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    """Why a tenant is as it is."""

    @router.get(
        "/tenants/{id}/explain",
        tags=["live"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def explain_tenant(
        id: str,  # noqa: A002
        decisions: Annotated[int, Query(ge=1, le=_DECISIONS_MAX)] = 50,
    ) -> ExplanationView:
        """Why a tenant is awake or asleep, and the latest decisions about it."""
        try:
            explained = await tenants.explain(parse_tenant_id(id), decisions_max=decisions)
        except NoSuchTenant:
            raise no_tenant(id) from None
        return explanation_view(explained, endpoint)


def add_live_route(
    router: APIRouter, *, tenants: Tenants, registry: Registry, clock: Clock
) -> None:
    """All tenants with pods or sessions."""

    @router.get("/live", tags=["live"], responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
    async def read_live(
        sort: Annotated[Sort, Query(description="What comes first.")] = Sort.CPU,
        limit: Annotated[int, Query(ge=1, le=_LIVE_MAX)] = 100,
    ) -> LiveView:
        """The tenants that are awake or have parked sessions, and sums over all of them."""
        live = await tenants.live(sort=sort, limit=limit)
        counts = await registry.counts()
        return live_view(live, registered=counts.registered, wall_ns=clock.wall_ns())
