"""The routes under /v1."""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from control.api.models import (
    ProblemView,
    StatusView,
    TenantCreate,
    TenantCreated,
    TenantDeleted,
    TenantPage,
    TenantTotals,
    TenantView,
)
from control.api.problems import Problem
from control.peers import ASLEEP
from control.registry import NameTaken, Registry
from control.status import StatusFile
from control.tenants import Described, NoSuchTenant, Tenants
from control.urls import Endpoint, connection_url, connection_url_sni
from dormouse.base.ids import TENANT_ID_MAX, TenantId

_PAGE_MAX = 500


def _problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    return {
        int(status): {"model": ProblemView, "description": status.phrase} for status in statuses
    }


def make_router(
    *, tenants: Tenants, registry: Registry, endpoint: Endpoint, status_file: StatusFile
) -> APIRouter:
    """The routes, over what they need."""
    router = APIRouter(prefix="/v1", responses=_problems(HTTPStatus.UNAUTHORIZED))
    _add_tenant_routes(router, tenants, endpoint)
    _add_action_routes(router, tenants, endpoint)

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
        responses=_problems(HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY),
    )
    async def create_tenant(body: TenantCreate, response: Response) -> TenantCreated:
        """Create a tenant. Its password is in this answer and nowhere else."""
        try:
            tenant, password = await tenants.create(body.name)
        except NameTaken as error:
            detail = f"a tenant named {body.name!r} exists"
            raise Problem(HTTPStatus.CONFLICT, "name_taken", detail) from error
        response.headers["Location"] = f"/v1/tenants/{tenant.id}"
        return TenantCreated(
            **_view(Described(tenant, ASLEEP), endpoint, password).model_dump(),
            password=password,
            connection_url_sni=connection_url_sni(endpoint, tenant, password),
        )

    @router.get("/tenants", tags=["tenants"], responses=_problems(HTTPStatus.UNPROCESSABLE_ENTITY))
    async def list_tenants(
        name: Annotated[str | None, Query(description="Only the tenant of this name.")] = None,
        after: Annotated[int, Query(ge=0, le=TENANT_ID_MAX)] = 0,
        limit: Annotated[int, Query(ge=1, le=_PAGE_MAX)] = 100,
    ) -> TenantPage:
        """The tenants by id, a page at a time."""
        found = await tenants.page(after=after, limit=limit + 1, name=name)
        page = [_view(each, endpoint) for each in found[:limit]]
        return TenantPage(tenants=page, next=page[-1].id if len(found) > limit else None)

    @router.get("/tenants/{id}", tags=["tenants"], responses=_problems(HTTPStatus.NOT_FOUND))
    async def read_tenant(id: str) -> TenantView:  # noqa: A002 - the path's name
        """One tenant."""
        try:
            return _view(await tenants.get(_tenant_id(id)), endpoint)
        except NoSuchTenant:
            raise _no_tenant(id) from None


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
            **_problems(HTTPStatus.NOT_FOUND),
        },
    )
    async def delete_tenant(id: str) -> Response:  # noqa: A002
        """Delete a tenant and its data, for good."""
        try:
            tenant_id = _tenant_id(id)
            finished = await tenants.delete(tenant_id)
        except NoSuchTenant:
            raise _no_tenant(id) from None
        if finished:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        pending = TenantDeleted(id=tenant_id)
        return JSONResponse(pending.model_dump(), HTTPStatus.ACCEPTED)

    @router.post(
        "/tenants/{id}/suspend",
        tags=["tenants"],
        responses=_problems(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def suspend_tenant(id: str) -> TenantView:  # noqa: A002
        """Put a tenant to sleep at once. Open sessions end with SQLSTATE 57P01."""
        try:
            return _view(await tenants.suspend(_tenant_id(id)), endpoint)
        except NoSuchTenant:
            raise _no_tenant(id) from None


def _tenant_id(text: str) -> TenantId:
    """The id in a path; whatever is not one names no tenant."""
    if text.isascii() and text.isdecimal() and len(text) <= 19 and 0 < int(text) <= TENANT_ID_MAX:
        return TenantId(int(text))
    raise NoSuchTenant(text)


def _no_tenant(text: str) -> Problem:
    known = text.isascii() and text.isdecimal()
    hint = "" if known else "; tenants are found by id, and by name with `GET /v1/tenants?name=`"
    return Problem(HTTPStatus.NOT_FOUND, "tenant_not_found", f"there is no such tenant{hint}")


def _view(described: Described, endpoint: Endpoint, password: str | None = None) -> TenantView:
    tenant, picture = described.tenant, described.picture
    return TenantView.model_validate(
        {
            "id": tenant.id,
            "name": tenant.name,
            "state": picture.state,
            "pods": picture.pods,
            "connections": picture.connections,
            "awake_because": picture.awake_because,
            "user": tenant.owner,
            "database": tenant.database,
            "connection_url": connection_url(endpoint, tenant, password),
            "created_at": datetime.fromtimestamp(tenant.created_ns / 1_000_000_000, UTC),
        }
    )
