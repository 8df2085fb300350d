"""The internal gRPC service of proto/control.proto."""

import sqlite3
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
import grpc.aio

from control.amounts import AMOUNT_NAMES, Amounts
from control.authority import Authority
from control.current import ASKED_MAX, current_tenants
from control.ledger import AMOUNT_MAX, Ledger, LedgerBusy, Report, pod_key
from control.messages import settings_message, tenant_message
from control.metrics import PODS_ISSUED
from control.registry import Registry
from control.spending.service import Cut, Spending, StreamCut
from control.statement_messages import read_report
from control.statements import StatementLedger
from control.trust.generations import AuthorityError
from control.watchers import Refusal, Watchers, WatchRefused
from dormouse.base.ids import TENANT_ID_MAX, PodId, TenantId
from dormouse.base.revocation import Revocations
from dormouse.base.rpc import Access
from dormouse.base.tls import Role
from proto import control_pb2, control_pb2_grpc

PROTOCOL_VERSION = 1

_SERVICE = "/dormouse.control.v1.Control"
ACCESS = {
    f"{_SERVICE}/ResolveTenant": Access(frozenset({Role.PROXY, Role.AUTOSCALER})),
    f"{_SERVICE}/IssuePod": Access(frozenset({Role.AUTOSCALER})),
    f"{_SERVICE}/RenewPod": Access(frozenset({Role.AUTOSCALER})),
    f"{_SERVICE}/ReportUsage": Access(frozenset({Role.AUTOSCALER}), tenant_field="tenant_id"),
    f"{_SERVICE}/WatchTenants": Access(frozenset({Role.PROXY, Role.AUTOSCALER})),
    f"{_SERVICE}/WatchSpending": Access(tenant_field="tenant_id"),
    f"{_SERVICE}/ReportStatements": Access(tenant_field="tenant_id"),
}
_REFUSALS = {
    Refusal.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Refusal.TOO_SLOW: grpc.StatusCode.UNAVAILABLE,
    Refusal.CLOSING: grpc.StatusCode.UNAVAILABLE,
}

_CUTS = {
    Cut.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cut.REPLACED: grpc.StatusCode.ABORTED,
    Cut.CLOSING: grpc.StatusCode.UNAVAILABLE,
}

_Context = Any


class ControlService(control_pb2_grpc.ControlServicer):
    """Answers the proxy, the autoscaler and pods from the registry."""

    def __init__(
        self,
        *,
        registry: Registry,
        ledger: Ledger,
        authority: Authority,
        watchers: Watchers,
        spending: Spending,
        statements: StatementLedger,
        pod_certificate_days: int,
        revocations: Revocations | None = None,
    ) -> None:
        self._revocations = revocations
        self._registry = registry
        self._ledger = ledger
        self._authority = authority
        self._watchers = watchers
        self._spending = spending
        self._statements = statements
        self._pod_certificate_days = pod_certificate_days

    async def ResolveTenant(  # noqa: N802 - the contract's name
        self, request: control_pb2.ResolveTenantRequest, context: _Context
    ) -> control_pb2.Tenant:
        """See proto/control.proto."""
        await _check_version(request.protocol_version, context)
        tenant = await self._registry.get(_tenant_id(request.tenant_id))
        if tenant is None or tenant.name != request.name:
            await _abort(context, grpc.StatusCode.NOT_FOUND, "no such tenant")
        return tenant_message(tenant)

    async def IssuePod(  # noqa: N802
        self, request: control_pb2.IssuePodRequest, context: _Context
    ) -> control_pb2.IssuePodReply:
        """See proto/control.proto."""
        await _check_version(request.protocol_version, context)
        tenant = await self._registry.get(_tenant_id(request.tenant_id))
        if tenant is None:
            await _abort(context, grpc.StatusCode.NOT_FOUND, "no such tenant")
        certificate = await self._certify(
            tenant.id, request.public_key, PodId(request.pod_id), context
        )
        spending = None
        if request.pod_id:
            try:
                spending = await self._spending.first_leave(pod_key(tenant.id, request.pod_id))
            except sqlite3.Error as error:
                await _abort(context, grpc.StatusCode.UNAVAILABLE, f"the registry: {error}")
        PODS_ISSUED.inc()
        return control_pb2.IssuePodReply(
            certificate=certificate,
            authority=self._authority.certificate_pem,
            owner=tenant.owner,
            scram_verifier=tenant.scram_verifier,
            database=tenant.database,
            settings=settings_message(tenant),
            session_key=self._registry.session_key_of(tenant),
            spending=spending,
        )

    async def RenewPod(  # noqa: N802
        self, request: control_pb2.RenewPodRequest, context: _Context
    ) -> control_pb2.RenewPodReply:
        """See proto/control.proto."""
        tenant = await self._registry.get(_tenant_id(request.tenant_id))
        if tenant is None:
            await _abort(context, grpc.StatusCode.NOT_FOUND, "no such tenant")
        certificate = await self._certify(
            tenant.id, request.public_key, PodId(request.pod_id), context
        )
        return control_pb2.RenewPodReply(
            certificate=certificate, authority=self._authority.certificate_pem
        )

    async def _certify(
        self, tenant: TenantId, public_key: bytes, pod: PodId, context: _Context
    ) -> bytes:
        if self._revocations is not None and self._revocations.has(tenant, pod):
            # It would outlive its place on the list.
            await _abort(context, grpc.StatusCode.FAILED_PRECONDITION, "the pod is revoked")
        days = self._pod_certificate_days
        try:
            return self._authority.issue_pod(tenant, public_key, days=days, pod=pod)
        except AuthorityError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def ReportUsage(  # noqa: N802
        self, request: control_pb2.UsageReport, context: _Context
    ) -> control_pb2.UsageAck:
        """See proto/control.proto."""
        amounts = [int(getattr(request, name)) for name in AMOUNT_NAMES]
        numbers = (request.tenant_id, request.sequence, request.at_unix_ms, request.leave, *amounts)
        if not request.tenant_id or max(numbers) > AMOUNT_MAX:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "an amount is out of range")
        report = Report(
            tenant_id=request.tenant_id,
            pod_id=request.pod_id,
            sequence=request.sequence,
            at_ms=request.at_unix_ms,
            total=Amounts(*amounts),
            leave=request.leave,
        )
        try:
            return control_pb2.UsageAck(sequence=await self._ledger.add(report))
        except LedgerBusy as error:
            await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))

    async def ReportStatements(  # noqa: N802
        self, request: control_pb2.StatementReport, context: _Context
    ) -> control_pb2.UsageAck:
        """See proto/control.proto."""
        try:
            report = read_report(request)
        except ValueError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        try:
            return control_pb2.UsageAck(sequence=await self._statements.add(report))
        except (LedgerBusy, sqlite3.Error) as error:
            await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))

    async def WatchTenants(  # noqa: N802
        self, request: control_pb2.WatchTenantsRequest, context: _Context
    ) -> AsyncIterator[control_pb2.TenantChange]:
        """See proto/control.proto."""
        await _check_version(request.protocol_version, context)
        if len(request.tenant_ids) > ASKED_MAX:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "too many tenants")
        asked = [TenantId(number) for number in request.tenant_ids]
        now = current_tenants(self._registry, asked, kept_awake=request.with_pods_min)
        try:
            async for change in self._watchers.watch(now):
                yield change
        except WatchRefused as refused:
            await _abort(context, _REFUSALS[refused.refusal], str(refused))

    async def WatchSpending(  # noqa: N802
        self, request: control_pb2.WatchSpendingRequest, context: _Context
    ) -> AsyncIterator[control_pb2.SpendLeave]:
        """See proto/control.proto."""
        if not 0 < request.tenant_id <= TENANT_ID_MAX or not request.pod_id:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "no such pod")
        try:
            async for leave in self._spending.watch(pod_key(request.tenant_id, request.pod_id)):
                yield leave
        except StreamCut as error:
            await _abort(context, _CUTS[error.cut], str(error))


def _tenant_id(number: int) -> TenantId:
    # SQLite knows no larger integer, and no tenant has one.
    return TenantId(min(number, TENANT_ID_MAX))


async def _check_version(version: int, context: _Context) -> None:
    if version != PROTOCOL_VERSION:
        text = f"protocol version {version}; this side speaks {PROTOCOL_VERSION}"
        await _abort(context, grpc.StatusCode.FAILED_PRECONDITION, text)


async def _abort(context: _Context, code: grpc.StatusCode, text: str) -> NoReturn:
    await context.abort(code, text)
    raise RuntimeError("abort returned")
