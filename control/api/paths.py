"""Tenant ids in paths, and what is answered where one names nobody."""

from http import HTTPStatus

from control.api.problems import Problem
from control.tenants import NoSuchTenant
from dormouse.base.ids import TENANT_ID_MAX, TenantId


def parse_tenant_id(text: str) -> TenantId:
    """The id in a path. Raises NoSuchTenant: whatever is not an id names no tenant."""
    if text.isascii() and text.isdecimal() and len(text) <= 19 and 0 < int(text) <= TENANT_ID_MAX:
        return TenantId(int(text))
    raise NoSuchTenant(text)


def no_tenant(text: str) -> Problem:
    """The answer for a path whose id is nobody's."""
    known = text.isascii() and text.isdecimal()
    hint = "" if known else "; tenants are found by id, and by name with `GET /v1/tenants?name=`"
    return Problem(HTTPStatus.NOT_FOUND, "tenant_not_found", f"there is no such tenant{hint}")
