"""The HTTP application: routes, errors, health, and the gate around them."""

from collections.abc import Awaitable, Callable
from importlib import metadata

from fastapi import APIRouter, FastAPI, Security
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.security import HTTPBearer
from starlette.types import ASGIApp

from control.api import docs, problems
from control.api.gate import Gate
from control.api.problems import unavailable
from control.config import ControlSettings
from control.registry import Registry
from dormouse.base.clock import Clock

_DOCS_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def make_app(
    settings: ControlSettings,
    *,
    router: APIRouter,
    registry: Registry,
    clock: Clock,
    is_ready: Callable[[], Awaitable[bool]],
) -> ASGIApp:
    """The application for uvicorn."""
    app = FastAPI(
        title="Dormouse",
        version=metadata.version("dormouse"),
        summary="Tenants of a serverless SQL gateway",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    _add_pages(app, is_ready)
    bearer = HTTPBearer(auto_error=False, description="The gate checks it; this documents it.")
    app.include_router(router, dependencies=[Security(bearer)])
    page = docs.render(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def read_docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": _DOCS_POLICY})

    return Gate(
        app,
        find_key=registry.find_key,
        clock=clock,
        requests_max=settings.requests_max,
        body_bytes_max=settings.body_bytes_max,
    )


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

    @app.get("/", include_in_schema=False)
    async def read_root() -> RedirectResponse:
        return RedirectResponse("/docs")
