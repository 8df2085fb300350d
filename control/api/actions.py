"""The routes that do something with a tenant: delete, restore, suspend, a new password, URLs."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse

from control.access import Target
from control.actor import Scope, acting
from control.api.models import (
    ConnectionUrls,
    PasswordReset,
    TenantDeleted,
    TenantRestore,
    TenantView,
)
from control.api.models_access import time_of
from control.api.paths import etag, missing, no_tenant, parse_tenant_id
from control.api.problems import Problem, documented
from control.api.route import takes_idempotency_key
from control.api.tenants import name_taken
from control.api.views import tenant_view
from control.deletion import Deletion, is_running
from control.operations import Kind, Operation
from control.registry import NameTaken, NoOrganisation, NotRestorable
from control.tenants import NoSuchTenant, Tenants
from control.urls import (
    Endpoint,
    connection_url,
    connection_url_database,
    connection_url_options,
    connection_url_sni,
)

_Purge = Annotated[
    bool, Query(description="Remove the data at once; for the operator's keys alone.")
]


def _name_operation(response: Response, operation: Operation) -> None:
    response.headers["Operation-Location"] = f"/v1/operations/{operation.id}"


def add_delete_route(router: APIRouter, deletion: Deletion) -> None:
    """Deleting."""

    @router.delete(
        "/tenants/{id}",
        tags=["tenants"],
        dependencies=[Depends(takes_idempotency_key)],
        response_model=TenantDeleted,
        responses={
            int(HTTPStatus.ACCEPTED): {
                "model": TenantDeleted,
                "description": "Deleted; something is still being ended or removed.",
            },
            int(HTTPStatus.NO_CONTENT): {"description": "Deleted, and its data is gone."},
            **documented(HTTPStatus.NOT_FOUND),
        },
    )
    async def delete_tenant(id: str, purge: _Purge = False) -> Response:  # noqa: A002
        """Delete a tenant. Its sessions end; its data stays for the grace period."""
        if purge and acting().reach.scope is not Scope.ADMIN:
            detail = "only the operator's keys remove data before the grace period is over"
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", detail)
        try:
            tenant, operation = await deletion.delete(parse_tenant_id(id), purge=purge)
        except NoSuchTenant:
            raise no_tenant(id) from None
        is_purge = operation.kind is Kind.PURGE
        if is_purge and not is_running(operation):
            answer: Response = Response(status_code=HTTPStatus.NO_CONTENT)
        else:
            is_ended = not is_running(operation)
            document = TenantDeleted(
                id=tenant.id,
                state="deleted" if is_ended else "deleting",
                restorable_until=None if is_purge else time_of(tenant.purge_after_ns),
                operation=operation.id,
            )
            status = HTTPStatus.OK if is_ended else HTTPStatus.ACCEPTED
            answer = JSONResponse(document.model_dump(mode="json"), status)
        _name_operation(answer, operation)
        return answer


def add_action_routes(
    router: APIRouter, *, tenants: Tenants, deletion: Deletion, endpoint: Endpoint
) -> None:
    """Restoring and suspending."""

    @router.post(
        "/tenants/{id}/restore",
        tags=["tenants"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def restore_tenant(
        id: str,  # noqa: A002
        response: Response,
        body: TenantRestore | None = None,
    ) -> TenantView:
        """Bring a deleted tenant back, with its data and its password, before the grace is over."""
        name = body.name if body is not None else None
        try:
            tenant, operation = await deletion.restore(parse_tenant_id(id), name=name)
            described = await tenants.get(tenant.id)
        except (NoSuchTenant, NotRestorable):
            raise no_tenant(id) from None
        except NameTaken as error:
            raise name_taken(str(error)) from None
        except NoOrganisation:
            detail = "its organisation is deleted"
            raise Problem(HTTPStatus.CONFLICT, "organisation_deleted", detail) from None
        _name_operation(response, operation)
        response.headers["ETag"] = etag(tenant.version)
        return tenant_view(described, endpoint)

    @router.post(
        "/tenants/{id}/suspend",
        tags=["tenants"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def suspend_tenant(id: str, response: Response) -> TenantView:  # noqa: A002
        """Put a tenant to sleep at once. Open sessions end with SQLSTATE 57P01."""
        try:
            described, operation = await tenants.suspend(parse_tenant_id(id))
        except NoSuchTenant:
            raise no_tenant(id) from None
        _name_operation(response, operation)
        return tenant_view(described, endpoint)


def add_wake_route(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    """Waking."""

    @router.post(
        "/tenants/{id}/wake",
        tags=["tenants"],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE),
    )
    async def wake_tenant(id: str) -> TenantView:  # noqa: A002
        """Wake a tenant before its first client does. It sleeps again after its idle timeout."""
        try:
            return tenant_view(await tenants.wake(parse_tenant_id(id)), endpoint)
        except NoSuchTenant:
            raise no_tenant(id) from None


def add_login_routes(router: APIRouter, tenants: Tenants, endpoint: Endpoint) -> None:
    """A new password, and how to name the tenant to a client."""

    @router.post(
        "/tenants/{id}/roles/owner/password",
        tags=["roles"],
        dependencies=[Depends(takes_idempotency_key)],
        responses=documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
    )
    async def reset_password(id: str) -> PasswordReset:  # noqa: A002
        """Give the tenant's first role a new password, which is in this answer and nowhere else.

        Logins from now on want it, also on pods that run; sessions that are open go on.
        """
        try:
            reset = await tenants.reset_password(parse_tenant_id(id))
        except NoSuchTenant:
            raise no_tenant(id) from None
        tenant, password = reset.tenant, reset.password
        return PasswordReset(
            user=tenant.owner,
            password=password,
            connection_url=connection_url(endpoint, tenant, password),
            connection_url_sni=connection_url_sni(endpoint, tenant, password),
            in_effect=reset.is_known,
        )

    @router.get(
        "/tenants/{id}/connection-urls",
        tags=["tenants"],
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def read_connection_urls(id: str) -> ConnectionUrls:  # noqa: A002
        """The tenant's connection URLs, one for each way to name it; without the password."""
        try:
            tenant = await tenants.registered(parse_tenant_id(id))
        except NoSuchTenant:
            raise missing(Target.TENANT, id) from None
        return ConnectionUrls(
            user=connection_url(endpoint, tenant, None),
            sni=connection_url_sni(endpoint, tenant, None),
            options=connection_url_options(endpoint, tenant, None),
            database=connection_url_database(endpoint, tenant, None),
        )
