"""The HTTP application: routes, errors, health, and the gate around them."""

from collections.abc import Awaitable, Callable
from importlib import metadata
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute

from control.access import PUBLIC, check_complete
from control.api import problems
from control.api.document import Document
from control.api.gate import Gate
from control.api.problems import unavailable
from control.buckets import Allowance, Buckets
from control.config import ControlSettings
from control.console import files as console
from control.services import Stores
from dormouse.base.clock import Clock

_BURST_SECONDS = 4.0
_DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def make_app(
    settings: ControlSettings,
    *,
    router: APIRouter,
    stores: Stores,
    clock: Clock,
    is_ready: Callable[[], Awaitable[bool]],
) -> Gate:
    """The application for uvicorn. Raises LookupError for a route that nobody may call."""
    app = make_api(router, is_ready)
    app.state.idempotency = stores.idempotency
    return Gate(
        app,
        find_key=stores.keys.find,
        clock=clock,
        per_key=_buckets(settings.requests_per_key),
        per_address=_buckets(settings.requests_per_address),
        requests_max=settings.requests_max,
        body_bytes_max=settings.body_bytes_max,
    )


def make_api(router: APIRouter, is_ready: Callable[[], Awaitable[bool]]) -> FastAPI:
    """The application without the gate."""
    check_complete(
        [
            f"{method} {route.path}"
            for route in router.routes
            if isinstance(route, APIRoute)
            for method in route.methods or ()
        ]
    )
    app = FastAPI(
        title="Dormouse",
        version=metadata.version("dormouse"),
        summary="Tenants of a serverless SQL gateway",
        docs_url=None,
        openapi_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    _add_pages(app, is_ready)
    # As they are: include_router would make each route a second time, at its first request.
    app.router.routes.extend(router.routes)
    _add_documents(app)
    return app


def _add_documents(app: FastAPI) -> None:
    document = Document(lambda: _finished(app.openapi()))

    # Not coroutines: FastAPI calls them on a thread.
    @app.get("/openapi.json", include_in_schema=False)
    def read_document() -> Response:
        return Response(document.read().json, media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    def read_docs() -> HTMLResponse:
        return HTMLResponse(document.read().page, headers={"Content-Security-Policy": _DOCS_POLICY})


def _finished(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with what FastAPI does not know."""
    problems.add_schema(document)
    for endpoint in PUBLIC:
        method, _, path = endpoint.partition(" ")
        document["paths"][path][method.lower()]["security"] = []
    return document


def _buckets(per_second: float) -> Buckets:
    return Buckets(Allowance(rate=per_second, burst=per_second * _BURST_SECONDS))


def _add_pages(app: FastAPI, is_ready: Callable[[], Awaitable[bool]]) -> None:
    @app.get("/healthz", tags=["health"])
    async def read_health() -> dict[str, str]:
        """Whether this process answers at all."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    async def read_readiness() -> dict[str, str]:
        """Whether this process can do its work: its registry answers."""
        if not await is_ready():
            raise unavailable("not_ready", "the registry does not answer")
        return {"status": "ready"}

    app.include_router(console.make_router(console.shipped()))
