"""Ids in paths, versions in `If-Match`, and what is answered where one names nothing."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import Header, Query

from control.access import Target
from control.api.problems import Problem
from control.tenants import NoSuchTenant
from dormouse.base.ids import TENANT_ID_MAX, TenantId

PAGE_MAX = 500
After = Annotated[int, Query(ge=0, le=TENANT_ID_MAX, description="The `next` of a page.")]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
IfMatch = Annotated[str | None, Header(description="Change only what has one of these ETags.")]

_VERSION = re.compile(r'"([1-9][0-9]{0,17})"')
_WORDS: Mapping[Target, str] = {
    Target.TENANT: "tenant",
    Target.ORGANISATION: "organisation",
    Target.KEY: "key",
    Target.OPERATION: "operation",
    Target.INVOICE: "invoice",
    Target.WEBHOOK: "webhook",
}


def parse_id(text: str) -> int | None:
    """The id in a path; None: whatever is not an id names nothing."""
    if text.isascii() and text.isdecimal() and len(text) <= 19 and 0 < int(text) <= TENANT_ID_MAX:
        return int(text)
    return None


def parse_tenant_id(text: str) -> TenantId:
    """The tenant's id in a path. Raises NoSuchTenant."""
    number = parse_id(text)
    if number is None:
        raise NoSuchTenant(text)
    return TenantId(number)


def missing(target: Target, text: str) -> Problem:
    """The answer for a path whose id names nothing, or nothing within the key's reach."""
    word = _WORDS[target]
    known = target is not Target.TENANT or parse_id(text) is not None
    hint = "" if known else "; tenants are found by id, and by name with `GET /v1/tenants?name=`"
    return Problem(HTTPStatus.NOT_FOUND, f"{word}_not_found", f"there is no such {word}{hint}")


def no_tenant(text: str) -> Problem:
    """The answer for a path whose id is no tenant's."""
    return missing(Target.TENANT, text)


def parse_versions(if_match: str | None) -> frozenset[int] | None:
    """The versions that `If-Match` names, or None where any is right.

    What is no ETag of ours matches none, weak ones (`W/"1"`) included.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    matches = (_VERSION.fullmatch(each.strip()) for each in if_match.split(","))
    return frozenset(int(match[1]) for match in matches if match)


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'
