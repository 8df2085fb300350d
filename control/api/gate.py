"""The gate before the routes: load, size and key, in this order, for every request.

Everything under `/v1/` needs a key, whether a route exists there or not, and a body is read whole
and bounded before any of it is parsed. Written as plain ASGI, since a route can then not be added
around it by mistake.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from control.api.problems import Problem, unavailable
from control.metrics import HTTP_REQUESTS, HTTP_SECONDS
from control.registry import ApiKey
from dormouse.base import logs
from dormouse.base.clock import Clock

_BODY_SECONDS = 10.0
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
        requests_max: int,
        body_bytes_max: int,
    ) -> None:
        self._app = app
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

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # Answers hold passwords and live states.
                message["headers"] = [*message["headers"], (b"cache-control", b"no-store")]
            await send(message)

        started = self._clock.monotonic()
        self._in_work += 1
        try:
            actor, body = await self._admit(scope, receive)
            # Who asked for it is on every line that the request makes in the log.
            with logs.bound(actor=actor):
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

    async def _admit(self, scope: Scope, receive: Receive) -> tuple[str, bytes]:
        """Who asks (the label of the key, empty where none is needed), and the body."""
        if self._in_work > self._requests_max:
            raise unavailable("overloaded", "too many requests at this moment")
        headers = Headers(scope=scope)
        actor = ""
        if scope["path"].startswith("/v1/"):
            actor = await self._check_key(headers.get("authorization", ""))
        return actor, await self._body(headers, receive)

    async def _check_key(self, authorization: str) -> str:
        scheme, _, key = authorization.partition(" ")
        challenge = {"WWW-Authenticate": 'Bearer realm="dormouse"'}
        if scheme.lower() != "bearer" or not key.strip():
            detail = "send an API key: `Authorization: Bearer KEY`"
            raise Problem(HTTPStatus.UNAUTHORIZED, "missing_key", detail, headers=challenge)
        found = await self._find_key(key.strip())
        if found is None or found.scope != "admin":
            challenge["WWW-Authenticate"] += ', error="invalid_token"'
            detail = "this API key is unknown or revoked"
            raise Problem(HTTPStatus.UNAUTHORIZED, "invalid_key", detail, headers=challenge)
        return found.label

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        announced = headers.get("content-length", "0")
        too_large = Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "body_too_large",
            f"a request body has at most {self._body_bytes_max} bytes",
            headers={"Connection": "close"},
        )
        if announced.isdecimal() and int(announced) > self._body_bytes_max:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    body += message.get("body", b"")
                    if len(body) > self._body_bytes_max:
                        raise too_large
                    more = message.get("more_body", False)
        except TimeoutError:
            detail = "the request body did not come in time"
            close = {"Connection": "close"}
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT, "body_timeout", detail, headers=close
            ) from None
        return bytes(body)


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
