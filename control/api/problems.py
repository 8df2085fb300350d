"""Errors as RFC 9457 problem documents.

`code` is the stable word that programs decide by; `title` and `detail` are for people and may
change. Nothing reaches a client that was not written for it.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from control.api.models import ProblemView
from dormouse.base.errors import Unavailable

_log = logging.getLogger(__name__)

_MEDIA_TYPE = "application/problem+json"
_CODES = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}
_RETRY_SECONDS = "1"


class Problem(HTTPException):
    """A failure with its status, stable code and a sentence for the client."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.code = code
        self.errors = errors

    def response(self) -> JSONResponse:
        """The HTTP answer."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors is not None:
            document["errors"] = self.errors
        return JSONResponse(document, self.status_code, self.headers, media_type=_MEDIA_TYPE)


def invalid(errors: Mapping[str, str]) -> Problem:
    """A 422: a sentence for each field (`body.name`) that is to blame."""
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_request",
        "; ".join(f"{field}: {text}" for field, text in errors.items()),
        errors=[{"field": field, "message": text} for field, text in errors.items()],
    )


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """These failures, for the `responses` of a route."""
    content = {_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemView"}}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def add_schema(document: dict[str, Any]) -> None:
    """Put what `documented` refers to into an OpenAPI document, which has made no use of it."""
    schemas = document["components"]["schemas"]
    schemas["ProblemView"] = ProblemView.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)


def unavailable(code: str, detail: str) -> Problem:
    """A 503 that may be asked again soon."""
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE, code, detail, headers={"Retry-After": _RETRY_SECONDS}
    )


def install(app: FastAPI) -> None:
    """Answer every failure of `app` with a problem document."""
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Unavailable, _on_unavailable)
    app.add_exception_handler(Exception, _on_defect)


async def _on_http(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Problem):
        return error.response()
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    code = _CODES.get(status, status.phrase.lower().replace(" ", "_"))
    return Problem(status, code, str(error.detail), headers=error.headers).response()


async def _on_invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # Pydantic prefixes what a validator raised; the value itself is not repeated.
    errors = {
        ".".join(str(part) for part in each["loc"]): str(each["msg"]).removeprefix("Value error, ")
        for each in error.errors()
    }
    return invalid(errors).response()


async def _on_unavailable(_request: Request, error: Exception) -> JSONResponse:
    return unavailable("unavailable", str(error)).response()


async def _on_defect(_request: Request, _error: Exception) -> JSONResponse:
    # Uvicorn logs the traceback; the client learns only that it is not to blame.
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", "something broke on this side"
    ).response()
