"""The routes of what is inside a tenant, as far as the registry knows it without waking anybody."""

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, Field

from control.api.paths import no_tenant, parse_tenant_id
from control.api.problems import documented
from control.registry import Tenant
from control.tenants import NoSuchTenant, Tenants


class RoleOfTenant(BaseModel):
    """A role that can log in."""

    name: str
    is_owner: bool = Field(description="Made with the tenant; it may do everything in it.")


class RolesOfTenant(BaseModel):
    """The roles that the gateway keeps a password for."""

    roles: list[RoleOfTenant] = Field(
        description="The owner. Roles made with `CREATE ROLE` are rows of the tenant's own "
        "catalog, which is read with SQL: `SELECT rolname FROM pg_roles`."
    )


class DatabaseOfTenant(BaseModel):
    """A database."""

    name: str
    owner: str


class DatabasesOfTenant(BaseModel):
    """A tenant's databases."""

    databases: list[DatabaseOfTenant] = Field(
        description="The one of the tenant. Others are other tenants; schemas divide this one."
    )


def add_inside_routes(router: APIRouter, tenants: Tenants) -> None:
    """Reading them."""

    async def registered(id: str) -> Tenant:  # noqa: A002
        try:
            return await tenants.registered(parse_tenant_id(id))
        except NoSuchTenant:
            raise no_tenant(id) from None

    @router.get("/tenants/{id}/roles", tags=["roles"], responses=documented(HTTPStatus.NOT_FOUND))
    async def list_roles(id: str) -> RolesOfTenant:  # noqa: A002
        """The roles that the gateway knows. Passwords are never readable, they are reset."""
        tenant = await registered(id)
        return RolesOfTenant(roles=[RoleOfTenant(name=tenant.owner, is_owner=True)])

    @router.get(
        "/tenants/{id}/databases", tags=["tenants"], responses=documented(HTTPStatus.NOT_FOUND)
    )
    async def list_databases(id: str) -> DatabasesOfTenant:  # noqa: A002
        """The tenant's databases."""
        tenant = await registered(id)
        return DatabasesOfTenant(
            databases=[DatabaseOfTenant(name=tenant.database, owner=tenant.owner)]
        )
