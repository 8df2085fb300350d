"""gRPC with a deny-by-default table: who may call what, decided by the caller's certificate.

A server is built with an explicit `Access` for every method it offers. A method without an entry is
refused, a caller whose certificate names nobody is refused, and both are counted. Where a request
carries a tenant, the method's entry names the field that must equal the tenant of the certificate.
"""

from __future__ import annotations  # the gRPC types are generic for the type checker only

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import grpc
import grpc.aio
from prometheus_client import Counter

from dormouse.base.channels import LiveChannel
from dormouse.base.ids import PodId
from dormouse.base.metrics import REGISTRY
from dormouse.base.renewal import LiveCredentials
from dormouse.base.revocation import Revocations
from dormouse.base.tasks import cancel, spawn
from dormouse.base.tls import Credentials, Identity, Role, pod_of

_log = logging.getLogger(__name__)

# The event engine adds a thread hop to every read and write. Without it a message on an open
# stream costs 134 µs of CPU on either side instead of 172 (grpcio 1.85). gRPC reads this when the
# first channel or server is made.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

REFUSED = Counter(
    "dormouse_rpc_refused_total",
    "Calls refused by the access table, by method and reason.",
    ["method", "reason"],
    registry=REGISTRY,
)

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # In spite of its name the time one attempt to connect may take, handshake included: on a busy
    # machine a handshake can take hundreds of milliseconds.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each channel keeps connections of its own: two tenants' pods in one test process must not
    # share a subchannel by accident.
    ("grpc.use_local_subchannel_pool", 1),
)

SERVER_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a method.

    `roles` may call it for any tenant. With `tenant_field`, a tenant's pods may call it too, where
    that field of the request equals their certificate's tenant. With `any_tenant`, a tenant's pods
    may call it and the handler itself confines them (a stream that names no tenant up front).
    """

    roles: frozenset[Role] = field(default_factory=frozenset)
    tenant_field: str | None = None
    any_tenant: bool = False


def caller(context: grpc.aio.ServicerContext[Any, Any]) -> Identity | None:
    """Who is calling, from the certificate of the connection."""
    names = list(context.auth_context().get("x509_common_name", ()))
    return Identity.parse(bytes(names[0]).decode("utf-8", "replace")) if len(names) == 1 else None


def calling_pod(context: grpc.aio.ServicerContext[Any, Any]) -> PodId | None:
    """Which pod is calling, where its certificate names one."""
    names = context.auth_context().get("x509_subject_alternative_name", ())
    return pod_of(bytes(name).decode("utf-8", "replace") for name in names)


if TYPE_CHECKING:  # generic for the type checker only
    _Interceptor = grpc.aio.ServerInterceptor[Any, Any]
else:
    _Interceptor = grpc.aio.ServerInterceptor


class AccessInterceptor(_Interceptor):
    """Refuses every call that the table does not allow, before its handler sees it."""

    def __init__(self, table: Mapping[str, Access], revocations: Revocations | None) -> None:
        self._table = table
        self._revocations = revocations

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """See `grpc.aio.ServerInterceptor.intercept_service`."""
        handler: Any = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        if handler is None:
            return cast("grpc.RpcMethodHandler[Any, Any]", handler)
        access = self._table.get(method)

        if handler.request_streaming:

            async def guarded_stream(requests: Any, context: Any) -> Any:
                await self._check(method, access, None, context)
                replies = handler.stream_stream(requests, context)
                async for reply in self._until_revoked(replies, context):
                    yield reply

            return grpc.stream_stream_rpc_method_handler(
                guarded_stream, handler.request_deserializer, handler.response_serializer
            )

        if handler.response_streaming:

            async def guarded_replies(request: Any, context: Any) -> Any:
                await self._check(method, access, request, context)
                replies = handler.unary_stream(request, context)
                async for reply in self._until_revoked(replies, context):
                    yield reply

            return grpc.unary_stream_rpc_method_handler(
                guarded_replies, handler.request_deserializer, handler.response_serializer
            )

        async def guarded(request: Any, context: Any) -> Any:
            await self._check(method, access, request, context)
            return await handler.unary_unary(request, context)

        return grpc.unary_unary_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )

    async def _check(self, method: str, access: Access | None, request: Any, context: Any) -> None:
        who = caller(context)
        reason = _refusal(access, who, request)
        if reason is None and self._is_revoked(who, context):
            reason = "revoked"
        if reason is None:
            return
        REFUSED.labels(method, reason).inc()
        _log.warning("call refused", extra={"method": method, "caller": str(who), "reason": reason})
        code = grpc.StatusCode.UNAUTHENTICATED if who is None else grpc.StatusCode.PERMISSION_DENIED
        await context.abort(code, "not allowed")

    def _is_revoked(self, who: Identity | None, context: Any) -> bool:
        if self._revocations is None or who is None or who.tenant is None:
            return False
        return self._revocations.has(who.tenant, calling_pod(context))

    async def _until_revoked(self, replies: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """The replies, for as long as the calling pod is not revoked; a role's without end."""
        who, pod = caller(context), calling_pod(context)
        if self._revocations is None or who is None or who.tenant is None or pod is None:
            async for reply in replies:
                yield reply
            return
        revoked = asyncio.get_running_loop().create_future()
        with self._revocations.cutting(who.tenant, pod, lambda: _settle(revoked)):
            while True:
                following = spawn(_next(replies), name="stream of a pod")
                try:
                    await asyncio.wait({following, revoked}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not following.done():
                        await cancel(following)
                if revoked.done():
                    REFUSED.labels("stream", "revoked").inc()
                    await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not allowed")
                reply = following.result()
                if reply is _END:
                    return
                if isinstance(reply, _Failed):
                    raise reply.error
                yield reply


_END = object()


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a handler raised: for gRPC to deal with, and no death of a task."""

    error: Exception


async def _next(replies: AsyncIterator[Any]) -> Any:
    try:
        return await anext(replies, _END)
    except Exception as error:  # noqa: BLE001 - it is raised again where gRPC sees it
        return _Failed(error)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _refusal(access: Access | None, who: Identity | None, request: Any) -> str | None:
    if access is None:
        return "no_entry"
    if who is None:
        return "no_identity"
    if who.role is not None:
        return None if who.role in access.roles else "role"
    if access.any_tenant:
        return None
    if access.tenant_field is None:
        return "tenant_caller"
    return None if getattr(request, access.tenant_field) == who.tenant else "other_tenant"


def make_server(
    table: Mapping[str, Access], revocations: Revocations | None = None
) -> grpc.aio.Server:
    """A server that answers only what `table` allows, and no pod that is revoked; the caller adds
    services and a port."""
    guard = AccessInterceptor(table, revocations)
    return grpc.aio.server(interceptors=[guard], options=SERVER_OPTIONS)


def make_channel(
    address: str, credentials: Credentials | LiveCredentials, server: Identity
) -> grpc.aio.Channel:
    """A channel to `server` at `address` (host:port) that shows the given certificate; from live
    credentials whichever is the newest when a call begins."""
    options = [*CHANNEL_OPTIONS, ("grpc.ssl_target_name_override", server.server_name)]

    def make(now: Credentials) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(address, now.for_grpc_client(), options=options)

    if isinstance(credentials, Credentials):
        return make(credentials)
    return LiveChannel(credentials, lambda: make(credentials.current))
