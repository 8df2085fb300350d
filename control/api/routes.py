"""The routes under /v1."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from control.api.live import add_explain_route, add_live_route
from control.api.models import (
    StatusView,
    TenantCreate,
    TenantCreated,
    TenantDeleted,
    TenantPage,
    TenantTotals,
    TenantView,
)
from control.api.paths import no_tenant, parse_tenant_id
from control.api.problems import Problem, documented
from control.api.settings import add_settings_routes
from control.api.usage import add_usage_routes
from control.api.views import created_view, tenant_view
from control.pictures import ASLEEP
from control.registry import NameTaken, Registry
from control.status import StatusFile
from control.tenants import Described, NoSuchTenant, Tenants
from control.urls import Endpoint
from control.usage import UsageReader
from dormouse.base.clock import Clock
from dormouse.base.ids import TENANT_ID_MAX

_PAGE_MAX = 500


def make_router(
    *,
    tenants: Tenants,
    registry: Registry,
    endpoint: Endpoint,
    status_file: StatusFile,
    clock: Clock,
    usage: UsageReader,
) -> APIRouter:
    """The routes, over what they need."""
    router = APIRouter(prefix="/v1", responses=documented(HTTPStatus.UNAUTHORIZED))
    _add_tenant_routes(router, tenants, endpoint)
    _add_action_routes(router, tenants, endpoint)
    add_settings_routes(router, tenants)
    add_explain_route(router, tenants, endpoint)
    add_live_route(router, tenants=tenants, registry=registry, clock=clock)
    add_usage_routes(router, usage=usage, registry=registry)

    @router.get("/status", tags=["installation"])
    async def read_status() -> StatusView:
        """Every role with its pid and state."""
        counts = await registry.counts()
        totals = TenantTotals(registered=counts.registered, ever=counts.ever)
        return status_file.view(totals)

    return router


def _add_tenant_routes(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    @router.post(
        "/tenants",
        status_code=HTTPStatus.CREATED,
        tags=["tenants"],
        responses=documented(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    )
    async def create_tenant(body: TenantCreate, response: Response) -> TenantCreated:
        """Create a tenant. Its password is in this answer and nowhere else."""
        try:
            tenant, password = await tenants.create(body.name)
        except NameTaken as error:
            detail = f"a tenant named {body.name!r} exists"
            raise Problem(HTTPStatus.CONFLICT, "name_taken", detail) from error
        response.headers["Location"] = f"/v1/tenants/{tenant.id}"
        return created_view(Described(tenant, ASLEEP), endpoint, password)

    @router.get("/tenants", tags=["tenants"], responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY))
    async def list_tenants(
        name: Annotated[str | None, Query(description="Only the tenant of this name.")] = None,
        after: Annotated[int, Query(ge=0, le=TENANT_ID_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = 100,
    ) -> TenantPage:
        """The tenants by id, a page at a time."""
        found = await tenants.page(after=after, limit=limit + 1, name=name)
        page = [tenant_view(each, endpoint) for each in found[:limit]]
        return TenantPage(tenants=page, next=page[-1].id if len(found) > limit else None)

    @router.get("/tenants/{id}", tags=["tenants"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_tenant(id: str) -> TenantView:  # noqa: A002 - the path's name
        """One tenant."""
        try:
            return tenant_view(await tenants.get(parse_tenant_id(id)), endpoint)
        except NoSuchTenant:
            raise no_tenant(id) from None


def _add_action_routes(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    @router.delete(
        "/tenants/{id}",
        tags=["tenants"],
        status_code=HTTPStatus.NO_CONTENT,
        response_class=Response,
        responses={
            int(HTTPStatus.ACCEPTED): {
                "model": TenantDeleted,
                "description": "Deleted; its data is still being removed.",
            },
            **documented(HTTPStatus.NOT_FOUND),
        },
    )
    async def delete_tenant(id: str) -> Response:  # noqa: A002
        """Delete a tenant and its data, for good."""
        try:
            tenant_id = parse_tenant_id(id)
            finished = await tenants.delete(tenant_id)
        except NoSuchTenant:
            raise no_tenant(id) from None
        if finished:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        pending = TenantDeleted(id=tenant_id)
        return JSONResponse(pending.model_dump(), HTTPStatus.ACCEPTED)

    @router.post(
        "/tenants/{id}/suspend",
        tags=["tenants"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def suspend_tenant(id: str) -> TenantView:  # noqa: A002
        """Put a tenant to sleep at once. Open sessions end with SQLSTATE 57P01."""
        try:
            return tenant_view(await tenants.suspend(parse_tenant_id(id)), endpoint)
        except NoSuchTenant:
            raise no_tenant(id) from None
