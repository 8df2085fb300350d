"""Routes that take an `Idempotency-Key`: what is sent again is answered again, and done once."""

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.routing import APIRoute

from control.actor import acting
from control.api.problems import Problem, invalid
from control.idempotency import Answer, Found, Idempotency, TooManyClaims, hash_request
from control.journal import AlreadyClaimed, Claim, claiming
from control.metrics import IDEMPOTENT

_NAME = re.compile(r"[!-~]{1,255}")
_KEPT_HEADERS = ("location", "etag", "content-type")
_RETRY_SECONDS = "3600"


async def takes_idempotency_key(
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[!-~]{1,255}$",
            description="Of your choice: a request that is sent again under it within a day is "
            "answered as the first time and changes nothing.",
        ),
    ] = None,
) -> None:
    """The dependency of routes that take the header; `OnceRoute` is what heeds it."""


class OnceRoute(APIRoute):
    """A route whose requests with an `Idempotency-Key` are done once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute.get_route_handler`."""
        handle = super().get_route_handler()
        if not any(each.call is takes_idempotency_key for each in self.dependant.dependencies):
            return handle

        async def handle_once(request: Request) -> Response:
            name = request.headers.get("idempotency-key")
            key_id = acting().key_id
            if name is None or key_id is None:
                return await handle(request)
            if not _NAME.fullmatch(name):
                text = "use 1 to 255 visible ASCII characters"
                raise invalid({"header.idempotency-key": text})
            request_hash = hash_request(request.method, request.url.path, await request.body())
            return await _once(request, Claim(key_id, name, request_hash), handle)

        return handle_once


async def _once(
    request: Request,
    claim: Claim,
    handle: Callable[[Request], Coroutine[Any, Any, Response]],
) -> Response:
    store: Idempotency = request.app.state.idempotency
    api_key = request.headers.get("authorization", "").partition(" ")[2].strip()
    try:
        found = await store.find(claim, api_key)
    except TooManyClaims:
        detail = "this API key has used too many idempotency keys today"
        headers = {"Retry-After": _RETRY_SECONDS}
        too_many = HTTPStatus.TOO_MANY_REQUESTS
        raise Problem(too_many, "too_many_idempotency_keys", detail, headers=headers) from None
    if found is not None:
        return _repeat(found)
    token = claiming.set(claim)
    try:
        response = await handle(request)
    except AlreadyClaimed:
        IDEMPOTENT.labels("in_progress").inc()
        detail = "a request with this idempotency key is in work; ask again"
        headers = {"Retry-After": "1"}
        conflict = HTTPStatus.CONFLICT
        raise Problem(conflict, "idempotency_in_progress", detail, headers=headers) from None
    finally:
        claiming.reset(token)
    if claim.used:
        kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        body = bytes(response.body).decode()
        await store.keep(claim, api_key, Answer(response.status_code, kept, body))
        IDEMPOTENT.labels("first").inc()
    return response


def _repeat(found: Found) -> Response:
    if not found.is_same:
        IDEMPOTENT.labels("contradicted").inc()
        detail = "this idempotency key was used for another request"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
    if found.answer is None:
        IDEMPOTENT.labels("lost").inc()
        detail = f"this was done, as /v1/{found.resource}; its answer is no longer repeated"
        headers = {"Location": f"/v1/{found.resource}"}
        conflict = HTTPStatus.CONFLICT
        raise Problem(conflict, "idempotency_answer_gone", detail, headers=headers)
    IDEMPOTENT.labels("repeated").inc()
    answer = found.answer
    return Response(answer.body, answer.status, {**answer.headers, "Idempotency-Replayed": "true"})
