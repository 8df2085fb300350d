"""The routes of a tenant's settings.

The tenant's version is the settings' ETag. Whoever changes what he has read
sends it back in `If-Match` and is refused (412) if somebody else was faster (RFC 9110, 13.1.1).
"""

from http import HTTPStatus

from fastapi import APIRouter, Response

from control.api.models import SettingsChange, SettingsView
from control.api.paths import IfMatch, etag, no_tenant, parse_tenant_id, parse_versions
from control.api.problems import Problem, documented, invalid
from control.api.views import settings_view
from control.registry import Tenant, VersionMismatch
from control.settings import InvalidSettings
from control.tenants import NoSuchTenant, Tenants


def add_settings_routes(router: APIRouter, tenants: Tenants) -> None:
    """Reading and changing."""

    @router.get(
        "/tenants/{id}/settings", tags=["settings"], responses=documented(HTTPStatus.NOT_FOUND)
    )
    async def read_settings(id: str, response: Response) -> SettingsView:  # noqa: A002
        """A tenant's settings."""
        try:
            return _answer(await tenants.registered(parse_tenant_id(id)), response)
        except NoSuchTenant:
            raise no_tenant(id) from None

    @router.patch(
        "/tenants/{id}/settings",
        tags=["settings"],
        responses=documented(
            HTTPStatus.NOT_FOUND, HTTPStatus.PRECONDITION_FAILED, HTTPStatus.UNPROCESSABLE_ENTITY
        ),
    )
    async def change_settings(
        id: str,  # noqa: A002
        body: SettingsChange,
        response: Response,
        if_match: IfMatch = None,
    ) -> SettingsView:
        """Change some of a tenant's settings. Takes effect at once, live connections included."""
        change = body.model_dump(include=body.model_fields_set)
        try:
            tenant = await tenants.change(
                parse_tenant_id(id), change, versions=parse_versions(if_match)
            )
        except NoSuchTenant:
            raise no_tenant(id) from None
        except VersionMismatch:
            detail = "the settings have changed meanwhile: read them again"
            raise Problem(HTTPStatus.PRECONDITION_FAILED, "settings_changed", detail) from None
        except InvalidSettings as error:
            raise invalid({f"body.{name}": text for name, text in error.errors.items()}) from error
        return _answer(tenant, response)


def _answer(tenant: Tenant, response: Response) -> SettingsView:
    response.headers["ETag"] = etag(tenant.version)
    return settings_view(tenant.settings)
