"""The gate before the routes: load, rate, key and size, in this order, for every request.

Everything under `/v1/` needs a key, whether a route exists there or not, but for what the table of
access calls public; and a body is read whole and bounded before any of it is parsed. Written as
plain ASGI, since a route can then not be added around it by mistake.

Every address and every key has a bucket of requests. The operator's keys draw on neither, so that
nobody's traffic keeps the operator out, except a flood from the operator's own address.
"""

import asyncio
import ipaddress
import math
import secrets
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control.access import PUBLIC
from control.actor import Access, Actor, Reach, acting_as
from control.actor import Scope as KeyScope
from control.api.problems import Problem, unavailable
from control.buckets import Buckets
from control.keys import ApiKey
from control.metrics import HTTP_REQUESTS, HTTP_SECONDS, REFUSED
from dormouse.base import logs
from dormouse.base.archive import FRAME_BYTES_MAX
from dormouse.base.clock import Clock

_PIECES = "/v1/restores/"
_BODY_SECONDS = 10.0
_PIECE_SECONDS = 60.0
_STAY_ENCRYPTED = (b"strict-transport-security", b"max-age=31536000")
_REQUEST_ID_BYTES = 8
_NO_REACH = Reach(KeyScope.TENANT, Access.READ)
"""Of somebody without a key: sees nothing."""

FindKey = Callable[[str], Awaitable[ApiKey | None]]
"""What is known of an API key, or None for a key that means nothing."""


class ClientGone(Exception):
    """The client hung up while it was sending its request."""


class Gate:
    """Wraps the application; see the module."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        find_key: FindKey,
        clock: Clock,
        per_key: Buckets,
        per_address: Buckets,
        requests_max: int,
        body_bytes_max: int,
    ) -> None:
        self._app = app
        self._per_key = per_key
        self._per_address = per_address
        self._clock = clock
        self._find_key = find_key
        self._requests_max = requests_max
        self._body_bytes_max = body_bytes_max
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0
        request_id = secrets.token_hex(_REQUEST_ID_BYTES)

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                # Answers hold passwords and live states; only the console's files say otherwise.
                if not any(name == b"cache-control" for name, _ in message["headers"]):
                    message["headers"].append((b"cache-control", b"no-store"))
                if is_for_good(scope):
                    message["headers"].append(_STAY_ENCRYPTED)
            await send(message)

        started = self._clock.monotonic()
        self._in_work += 1
        try:
            actor, body = await self._admit(scope, receive, request_id)
            # Who asked for it is on every line that the request makes in the log.
            with acting_as(actor), logs.bound(actor=actor.label, request=request_id):
                await self._app(scope, _replay(body, receive), send_noting)
        except Problem as problem:
            await problem.response()(scope, receive, send_noting)
        except ClientGone:
            status = 499
        finally:
            self._in_work -= 1
            # A stranger chooses the path, never the label.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if route != "none" else "any"
            HTTP_REQUESTS.labels(method, route, status).inc()
            HTTP_SECONDS.labels(method, route).observe(self._clock.monotonic() - started)

    async def _admit(self, scope: Scope, receive: Receive, request_id: str) -> tuple[Actor, bytes]:
        """Who asks, and the body."""
        if self._in_work > self._requests_max:
            raise unavailable("overloaded", "too many requests at this moment")
        headers = Headers(scope=scope)
        address = client_address(scope)
        actor = Actor(_NO_REACH, None, "", address, request_id)
        if scope["path"].startswith("/v1/"):
            now = self._clock.monotonic()
            group = address_group(address)
            _refuse_if(self._per_address.wait(group, now), "rate_address")
            if f"{scope['method']} {scope['path']}" in PUBLIC:
                self._per_address.take(group, now)
            else:
                actor = await self._find_actor(headers, actor, group)
        return actor, await self._body(headers, receive, self._bounds(scope))

    async def _find_actor(self, headers: Headers, stranger: Actor, group: str) -> Actor:
        now = self._clock.monotonic()
        try:
            key = await self._check_key(headers.get("authorization", ""))
        except Problem:
            self._per_address.take(group, now)
            raise
        if key.reach.scope is not KeyScope.ADMIN:
            self._per_address.take(group, now)
            _refuse_if(self._per_key.take(key.id, now), "rate_key")
        return Actor(
            key.reach, key.id, key.label, stranger.address, stranger.request_id, key.expires_ns
        )

    async def _check_key(self, authorization: str) -> ApiKey:
        scheme, _, key = authorization.partition(" ")
        challenge = {"WWW-Authenticate": 'Bearer realm="dormouse"'}
        if scheme.lower() != "bearer" or not key.strip():
            detail = "send an API key: `Authorization: Bearer KEY`"
            raise Problem(HTTPStatus.UNAUTHORIZED, "missing_key", detail, headers=challenge)
        found = await self._find_key(key.strip())
        if found is None:
            challenge["WWW-Authenticate"] += ', error="invalid_token"'
            detail = "this API key is unknown, revoked or past its end"
            raise Problem(HTTPStatus.UNAUTHORIZED, "invalid_key", detail, headers=challenge)
        return found

    def _bounds(self, scope: Scope) -> tuple[int, float]:
        """Bytes and seconds that a body may have. A piece of a backup has more than all else."""
        if scope["method"] == "PUT" and scope["path"].startswith(_PIECES):
            return max(self._body_bytes_max, FRAME_BYTES_MAX), _PIECE_SECONDS
        return self._body_bytes_max, _BODY_SECONDS

    async def _body(self, headers: Headers, receive: Receive, bounds: tuple[int, float]) -> bytes:
        bytes_max, seconds = bounds
        announced = headers.get("content-length", "0")
        too_large = Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "body_too_large",
            f"a request body has at most {bytes_max} bytes",
            headers={"Connection": "close"},
        )
        if announced.isdecimal() and int(announced) > bytes_max:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    body += message.get("body", b"")
                    if len(body) > bytes_max:
                        raise too_large
                    more = message.get("more_body", False)
        except TimeoutError:
            detail = "the request body did not come in time"
            close = {"Connection": "close"}
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT, "body_timeout", detail, headers=close
            ) from None
        return bytes(body)


def client_address(scope: Scope) -> str:
    """The address that the request came from, as the server saw it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_for_good(scope: Scope) -> bool:
    """Whether a browser may be told to ask this host over TLS alone from now on.

    Not where the host is an address or `localhost`, which serve other things on other days.
    """
    if scope.get("scheme") != "https":
        return False
    try:
        host = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname or "localhost"
    except ValueError:  # a stranger's nonsense
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")
    return False


def address_group(address: str) -> str:
    """Who shares a bucket: an IPv4 address, or the /64 that one IPv6 client has to choose from."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _refuse_if(wait_seconds: float, reason: str) -> None:
    if not wait_seconds:
        return
    REFUSED.labels(reason).inc()
    headers = {"Retry-After": str(math.ceil(wait_seconds))}
    detail = "too many requests; ask again later"
    raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", detail, headers=headers)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands over the whole body once, then what comes."""
    handed = False

    async def replay() -> Message:
        nonlocal handed
        if handed:
            return await receive()
        handed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
