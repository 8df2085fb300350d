"""The routes of backups: a tenant as a file, and a tenant made of one, a piece at a time."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse

from control.access import Target
from control.api.models import TenantCreated
from control.api.models_backups import RestoreBegin, RestoreBegun, RestoreCounting
from control.api.paths import missing, no_tenant, parse_tenant_id
from control.api.problems import Problem, documented, invalid
from control.api.route import takes_idempotency_key
from control.api.spending import limit_of, limit_put
from control.api.tenants import home_of, name_taken
from control.api.views import created_view, settings_view
from control.backups import Backups, Contents
from control.peers import NotImported
from control.registry import NameTaken, NoOrganisation, NotRestorable
from control.settings import InvalidSettings
from control.spending.service import Spending
from control.tenants import NoSuchTenant, Tenants
from control.urls import Endpoint
from dormouse.base import archive
from dormouse.base.clock import Clock

_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The backup file. One that ends before its manifest broke off.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_COUNTING: dict[int | str, dict[str, Any]] = {
    int(HTTPStatus.ACCEPTED): {
        "description": "Its rows are being counted.",
        "model": RestoreCounting,
    }
}
_PIECE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_Number = Annotated[int, Path(ge=0, lt=2**32, description="Its place in the file, from 0.")]


def add_backup_route(
    router: APIRouter, backups: Backups, tenants: Tenants, spending: Spending, clock: Clock
) -> None:
    """Backing up."""

    @router.get(
        "/tenants/{id}/backup",
        tags=["backups"],
        response_class=StreamingResponse,
        responses=_FILE | documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def back_up_tenant(id: str) -> StreamingResponse:  # noqa: A002
        """All rows of a tenant as they were at one moment, while it is in use. Wakes nobody.

        `dormouse verify` checks the file, `dormouse restore` makes a tenant of it. Wants a key
        that may write, for it hands out everything the tenant stores.
        """
        try:
            tenant = await tenants.registered(parse_tenant_id(id))
            limit = await spending.limit(tenant.id)
            facts = {
                "settings": settings_view(tenant.settings).model_dump(),
                "spend_limit": limit_put(limit).model_dump() if limit.exists else None,
            }
            file = await backups.open(tenant.id, facts=facts, wall_ns=clock.wall_ns())
        except NoSuchTenant:
            raise no_tenant(id) from None
        name = f'attachment; filename="{tenant.name}-{tenant.id}.backup"'
        headers = {"Content-Disposition": name}
        return StreamingResponse(file, media_type="application/octet-stream", headers=headers)


def add_restore_routes(
    router: APIRouter, backups: Backups, spending: Spending, endpoint: Endpoint
) -> None:
    """Restoring: begin, the pieces, and the end of it."""
    _add_begin_route(router, backups, spending)
    _add_piece_route(router, backups)
    _add_end_routes(router, backups, endpoint)


def _add_begin_route(router: APIRouter, backups: Backups, spending: Spending) -> None:

    @router.post(
        "/restores",
        status_code=HTTPStatus.CREATED,
        tags=["backups"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND),
    )
    async def begin_restore(body: RestoreBegin) -> RestoreBegun:
        """Begin to make a tenant of a backup. It cannot be used before the end of it; what is not
        at its end a day later is removed."""
        home = home_of(body.organisation)
        contents = Contents(
            rows=body.rows,
            counters=body.counters,
            has_catalog=body.has_catalog,
            labels=body.labels,
            settings=body.settings.model_dump(exclude_unset=True),
        )
        try:
            tenant = await backups.begin(body.name, contents, organisation=home)
        except NameTaken:
            raise name_taken(body.name) from None
        except NoOrganisation:
            raise missing(Target.ORGANISATION, str(home)) from None
        except InvalidSettings as error:
            errors = {f"body.settings.{name}": text for name, text in error.errors.items()}
            raise invalid(errors) from None
        if body.spend_limit is not None:
            # Before anybody can use it; where this fails nobody learns of the restore.
            await spending.put(tenant, limit_of(body.spend_limit), organisation=home)
        return RestoreBegun(id=tenant, piece_bytes_max=archive.FRAME_BYTES_MAX)


def _add_piece_route(router: APIRouter, backups: Backups) -> None:
    @router.put(
        "/restores/{id}/pieces/{piece}",
        status_code=HTTPStatus.NO_CONTENT,
        tags=["backups"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        openapi_extra=_PIECE,
    )
    async def put_piece(id: str, piece: _Number, request: Request) -> None:  # noqa: A002
        """One frame of the file, in any order; the same one may be sent again."""
        try:
            tenant = parse_tenant_id(id)
            await backups.write(tenant, piece, await request.body())
        except NoSuchTenant:
            raise no_tenant(id) from None
        except archive.Damaged as error:
            raise invalid({"body": str(error)}) from None
        except NotImported as error:
            raise _refused(error) from None


def _add_end_routes(router: APIRouter, backups: Backups, endpoint: Endpoint) -> None:
    @router.post(
        "/restores/{id}/finish",
        tags=["backups"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=_COUNTING | documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def finish_restore(id: str, response: Response) -> TenantCreated | RestoreCounting:  # noqa: A002
        """Let the tenant live, once all its rows are there. It has a new password, which is in
        this answer and nowhere else. 202 while the rows are counted: ask again, with another
        idempotency key."""
        try:
            finished = await backups.finish(parse_tenant_id(id))
        except (NoSuchTenant, NotRestorable):
            raise no_tenant(id) from None
        except NameTaken as error:
            raise name_taken(str(error)) from None
        except NoOrganisation:
            detail = "its organisation is deleted"
            raise Problem(HTTPStatus.CONFLICT, "organisation_deleted", detail) from None
        except NotImported as error:
            raise _refused(error) from None
        if finished is None:
            response.status_code = HTTPStatus.ACCEPTED
            return RestoreCounting()
        return created_view(finished[0], endpoint, finished[1])

    @router.delete(
        "/restores/{id}",
        status_code=HTTPStatus.NO_CONTENT,
        tags=["backups"],
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def give_up_restore(id: str) -> None:  # noqa: A002
        """Remove what has come so far."""
        try:
            await backups.give_up(parse_tenant_id(id))
        except NoSuchTenant:
            raise no_tenant(id) from None


def _refused(error: NotImported) -> Problem:
    return Problem(HTTPStatus.CONFLICT, "restore_incomplete", str(error))
