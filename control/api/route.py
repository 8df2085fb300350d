"""Routes that take an `Idempotency-Key`: what is sent again is answered again, and done once."""

import re
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.routing import APIRoute

from control.actor import acting
from control.api.gate import address_group
from control.api.problems import Problem, invalid
from control.idempotency import (
    STRANGERS,
    STRANGERS_NAME_MIN,
    Answer,
    Found,
    Idempotency,
    TooManyClaims,
    hash_request,
    strangers_name,
)
from control.journal import AlreadyClaimed, Claim, claiming
from control.metrics import IDEMPOTENT
from dormouse.base.errors import Unavailable

_NAME = re.compile(r"[!-~]{1,255}")
_KEPT_HEADERS = ("location", "etag", "content-type", "operation-location")
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
            if name is None:
                return await handle(request)
            if not _NAME.fullmatch(name):
                text = "use 1 to 255 visible ASCII characters"
                raise invalid({"header.idempotency-key": text})
            url = request.url
            path = f"{url.path}?{url.query}" if url.query else url.path
            request_hash = hash_request(request.method, path, await request.body())
            key_id, secret = acting().key_id, _api_key(request)
            if key_id is None:
                key_id, secret, name = STRANGERS, name, _strangers_name(name)
            return await _once(request, Claim(key_id, name, request_hash), secret, handle)

        return handle_once


def _api_key(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[2].strip()


def _strangers_name(name: str) -> str:
    """What is kept of it. Raises Problem for one that could be guessed."""
    if len(name) < STRANGERS_NAME_MIN:
        text = f"use {STRANGERS_NAME_MIN} to 255 random characters: who knows it reads the answer"
        raise invalid({"header.idempotency-key": text})
    return strangers_name(address_group(acting().address), name)


async def _once(
    request: Request,
    claim: Claim,
    secret: str,
    handle: Callable[[Request], Coroutine[Any, Any, Response]],
) -> Response:
    store: Idempotency = request.app.state.idempotency
    try:
        found = await store.find(claim, secret)
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
        raise _in_progress() from None
    except Unavailable:
        if claim.used:  # by what was begun and could not be done
            await store.forget(claim)
        raise
    finally:
        claiming.reset(token)
    if claim.used:
        kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
        body = bytes(response.body).decode()
        await store.keep(claim, secret, Answer(response.status_code, kept, body))
        IDEMPOTENT.labels("first").inc()
    return response


def _in_progress() -> Problem:
    IDEMPOTENT.labels("in_progress").inc()
    detail = "a request with this idempotency key is in work; ask again"
    headers = {"Retry-After": "1"}
    return Problem(HTTPStatus.CONFLICT, "idempotency_in_progress", detail, headers=headers)


def _repeat(found: Found) -> Response:
    if not found.is_same:
        IDEMPOTENT.labels("contradicted").inc()
        detail = "this idempotency key was used for another request"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
    if found.answer is None and found.is_in_work:
        raise _in_progress()
    if found.answer is None:
        IDEMPOTENT.labels("lost").inc()
        detail = f"this was done, as /v1/{found.resource}; its answer is no longer repeated"
        headers = {"Location": f"/v1/{found.resource}"}
        conflict = HTTPStatus.CONFLICT
        raise Problem(conflict, "idempotency_answer_gone", detail, headers=headers)
    IDEMPOTENT.labels("repeated").inc()
    answer = found.answer
    return Response(answer.body, answer.status, {**answer.headers, "Idempotency-Replayed": "true"})
