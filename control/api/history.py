"""The routes of what was done: the audit log, and operations."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from control.access import Target
from control.actor import OrganisationId, acting
from control.api.models_access import (
    AuditEntryView,
    AuditPage,
    ChangeView,
    OperationPage,
    OperationView,
    moment,
    time_of,
)
from control.api.paths import After, Limit, missing, no_tenant, parse_id, parse_tenant_id
from control.api.problems import documented
from control.journal import Entry, Journal
from control.operations import Operation, Operations
from control.tenants import NoSuchTenant
from dormouse.base.ids import TENANT_ID_MAX, TenantId

_Filter = Annotated[int | None, Query(ge=1, le=TENANT_ID_MAX)]


def operation_view(operation: Operation) -> OperationView:
    """The document of an operation."""
    return OperationView(
        id=operation.id,
        kind=operation.kind.value,
        tenant=operation.tenant,
        status=operation.status.value,
        started_at=moment(operation.started_ns),
        ended_at=time_of(operation.ended_ns),
        error=operation.error,
    )


def _entry_view(entry: Entry) -> AuditEntryView:
    note = entry.note
    return AuditEntryView(
        id=entry.id,
        at=moment(entry.at_ns),
        key=entry.key_id,
        key_label=entry.key_label,
        address=entry.address,
        request_id=entry.request_id,
        action=note.action,
        resource=note.resource,
        organisation=note.organisation,
        tenant=note.tenant,
        changes={name: ChangeView(old=old, new=new) for name, (old, new) in note.changes.items()},
    )


def add_audit_route(router: APIRouter, journal: Journal) -> None:
    """Reading the audit log."""

    @router.get("/audit", tags=["audit"])
    async def read_audit(
        organisation: _Filter = None,
        tenant: _Filter = None,
        after: After = 0,
        limit: Limit = 100,
    ) -> AuditPage:
        """The changes of what is within the key's reach, oldest first, a page at a time."""
        found = await journal.page(
            after=after,
            limit=limit + 1,
            reach=acting().reach,
            organisation=OrganisationId(organisation) if organisation else None,
            tenant=TenantId(tenant) if tenant else None,
        )
        page = [_entry_view(each) for each in found[:limit]]
        return AuditPage(entries=page, next=page[-1].id if len(found) > limit else None)


def add_operation_routes(router: APIRouter, operations: Operations) -> None:
    """Reading operations."""

    @router.get("/operations/{id}", tags=["operations"], responses=documented(HTTPStatus.NOT_FOUND))
    async def read_operation(id: str) -> OperationView:  # noqa: A002
        """One operation. It can be read for 30 days after its end."""
        number = parse_id(id)
        found = await operations.get(number) if number is not None else None
        if found is None:
            raise missing(Target.OPERATION, id)
        return operation_view(found)

    @router.get(
        "/tenants/{id}/operations",
        tags=["operations"],
        responses=documented(HTTPStatus.NOT_FOUND),
    )
    async def list_operations(
        id: str,  # noqa: A002
        after: After = 0,
        limit: Limit = 100,
    ) -> OperationPage:
        """A tenant's operations, also of a deleted one, oldest first."""
        try:
            found = await operations.page(parse_tenant_id(id), after=after, limit=limit + 1)
        except NoSuchTenant:
            raise no_tenant(id) from None
        page = [operation_view(each) for each in found[:limit]]
        return OperationPage(operations=page, next=page[-1].id if len(found) > limit else None)
