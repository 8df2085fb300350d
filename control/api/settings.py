"""The routes of a tenant's settings.

The settings of a tenant carry a version, which is their ETag. Whoever changes what he has read
sends it back in `If-Match` and is refused (412) if somebody else was faster (RFC 9110, 13.1.1).
"""

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Response

from control.api.models import SettingsChange, SettingsView
from control.api.paths import no_tenant, parse_tenant_id
from control.api.problems import Problem, documented, invalid
from control.api.views import settings_view
from control.registry import Tenant, VersionMismatch
from control.settings import InvalidSettings
from control.tenants import NoSuchTenant, Tenants

_VERSION = re.compile(r'"([1-9][0-9]{0,17})"')
_IfMatch = Annotated[
    str | None, Header(description="Change only settings of these ETags; `*` is any.")
]


def add_settings_routes(router: APIRouter, tenants: Tenants) -> None:
    """Reading and changing."""

    @router.get(
        "/tenants/{id}/settings", tags=["settings"], responses=documented(HTTPStatus.NOT_FOUND)
    )
    async def read_settings(id: str, response: Response) -> SettingsView:  # noqa: A002
        """A tenant's settings."""
        try:
            return _answer((await tenants.get(parse_tenant_id(id))).tenant, response)
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
        if_match: _IfMatch = None,
    ) -> SettingsView:
        """Change some of a tenant's settings. Takes effect at once, live connections included."""
        change = body.model_dump(include=body.model_fields_set)
        try:
            tenant = await tenants.change(parse_tenant_id(id), change, versions=_versions(if_match))
        except NoSuchTenant:
            raise no_tenant(id) from None
        except VersionMismatch:
            detail = "the settings have changed meanwhile: read them again"
            raise Problem(HTTPStatus.PRECONDITION_FAILED, "settings_changed", detail) from None
        except InvalidSettings as error:
            raise invalid({f"body.{name}": text for name, text in error.errors.items()}) from error
        return _answer(tenant, response)


def _answer(tenant: Tenant, response: Response) -> SettingsView:
    response.headers["ETag"] = f'"{tenant.settings_version}"'
    return settings_view(tenant.settings)


def _versions(if_match: str | None) -> frozenset[int] | None:
    """The versions that `If-Match` names, or None where any is right.

    What is no ETag of ours matches none, weak ones (`W/"1"`) included.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    matches = (_VERSION.fullmatch(each.strip()) for each in if_match.split(","))
    return frozenset(int(match[1]) for match in matches if match)
