"""The routes of tenants: making, listing, reading, changing."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.access import Target
from control.actor import DEFAULT_ORGANISATION, OrganisationId, acting
from control.api.models import (
    StateFilter,
    TenantChange,
    TenantCreate,
    TenantCreated,
    TenantPage,
    TenantView,
)
from control.api.paths import (
    After,
    IfMatch,
    Limit,
    etag,
    missing,
    no_tenant,
    parse_tenant_id,
    parse_versions,
)
from control.api.problems import Problem, documented
from control.api.route import takes_idempotency_key
from control.api.views import created_view, tenant_view
from control.filters import Filter
from control.labels import LABELS_MAX, parse_filter
from control.pictures import ASLEEP
from control.registry import NameTaken, NoOrganisation, VersionMismatch
from control.tenants import Described, NoSuchTenant, Tenants
from control.urls import Endpoint
from dormouse.base.ids import TENANT_ID_MAX

_Organisation = Annotated[int | None, Query(ge=1, le=TENANT_ID_MAX)]
_Name = Annotated[str | None, Query(description="Only the tenant of this name.")]
_Search = Annotated[
    str | None,
    Query(min_length=1, max_length=64, description="A part of the name, or the id."),
]
_State = Annotated[StateFilter | None, Query(description="`deleted`: those to be restored.")]
_Label = Annotated[
    list[str],
    Query(max_length=LABELS_MAX, description="`name=value`, or `name` for any; all of them."),
]


def name_taken(name: str) -> Problem:
    """The answer where a living tenant has the name."""
    return Problem(HTTPStatus.CONFLICT, "name_taken", f"a tenant named {name!r} exists")


def home_of(organisation: int | None) -> OrganisationId:
    """Whose the new tenant is to be. Raises Problem for one that the key does not reach."""
    mine = acting().reach.organisation
    if organisation is None:
        return mine or DEFAULT_ORGANISATION
    if mine not in (None, organisation):
        raise missing(Target.ORGANISATION, str(organisation))
    return OrganisationId(organisation)


def add_create_route(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    """Making one."""

    @router.post(
        "/tenants",
        status_code=HTTPStatus.CREATED,
        tags=["tenants"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND),
    )
    async def create_tenant(body: TenantCreate, response: Response) -> TenantCreated:
        """Create a tenant. Its password is in this answer and nowhere else."""
        home = home_of(body.organisation)
        try:
            tenant, password = await tenants.create(
                body.name, organisation=home, labels=body.labels
            )
        except NameTaken:
            raise name_taken(body.name) from None
        except NoOrganisation:
            raise missing(Target.ORGANISATION, str(home)) from None
        response.headers["Location"] = f"/v1/tenants/{tenant.id}"
        response.headers["ETag"] = etag(tenant.version)
        return created_view(Described(tenant, ASLEEP), endpoint, password)


def add_list_route(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    """Listing them."""

    @router.get("/tenants", tags=["tenants"], responses=documented(HTTPStatus.SERVICE_UNAVAILABLE))
    async def list_tenants(
        name: _Name = None,
        search: _Search = None,
        organisation: _Organisation = None,
        state: _State = None,
        label: _Label = [],  # noqa: B006 - FastAPI copies it
        after: After = 0,
        limit: Limit = 100,
    ) -> TenantPage:
        """The tenants within the key's reach, by id, a page at a time."""
        found: Sequence[Described] = ()
        mine = acting().reach
        # What is beyond reach is an empty page, as for an organisation that does not exist.
        if organisation is None or mine.organisation in (None, organisation):
            where = Filter(
                name=name,
                search=search.lower() if search is not None else None,
                organisation=OrganisationId(organisation) if organisation else mine.organisation,
                tenant=mine.tenant,
                labels=[parse_filter(each) for each in label],
            )
            found = await tenants.page(after=after, limit=limit + 1, where=where, state=state)
        page = [tenant_view(each, endpoint) for each in found[:limit]]
        return TenantPage(tenants=page, next=page[-1].id if len(found) > limit else None)


def add_tenant_routes(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    """Reading and changing one."""

    @router.get("/tenants/{id}", tags=["tenants"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_tenant(id: str, response: Response) -> TenantView:  # noqa: A002
        """One tenant."""
        try:
            described = await tenants.get(parse_tenant_id(id))
        except NoSuchTenant:
            raise no_tenant(id) from None
        response.headers["ETag"] = etag(described.tenant.version)
        return tenant_view(described, endpoint)

    @router.patch(
        "/tenants/{id}",
        tags=["tenants"],
        responses=documented(
            HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED
        ),
    )
    async def change_tenant(
        id: str,  # noqa: A002
        body: TenantChange,
        response: Response,
        if_match: IfMatch = None,
    ) -> TenantView:
        """Rename a tenant, or replace its labels.

        Its address has its name in it: old addresses stop with a new name, open sessions go on.
        """
        try:
            tenant = await tenants.describe_as(
                parse_tenant_id(id),
                name=body.name,
                labels=body.labels,
                versions=parse_versions(if_match),
            )
            described = await tenants.get(tenant.id)
        except NoSuchTenant:
            raise no_tenant(id) from None
        except NameTaken:
            raise name_taken(body.name or "") from None
        except VersionMismatch:
            detail = "the tenant has changed meanwhile: read it again"
            changed = HTTPStatus.PRECONDITION_FAILED
            raise Problem(changed, "tenant_changed", detail) from None
        response.headers["ETag"] = etag(described.tenant.version)
        return tenant_view(described, endpoint)
