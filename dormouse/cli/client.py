"""The HTTP API as the command line uses it."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from dormouse.cli.folder import CommandError, DataFolder

_TIMEOUT_SECONDS = 30.0
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Target:
    """The installation a command talks to."""

    api: str
    key: str
    folder: DataFolder | None
    """Its data folder, where it runs on this machine."""


def find_target(*, data: Path, api: str | None, key: str | None) -> Target:
    """The installation that flags and environment name: by URL, or by a local data folder.

    Raises CommandError where there is none.
    """
    api = api or os.environ.get("DORMOUSE_API")
    key = key or os.environ.get("DORMOUSE_API_KEY")
    folder = DataFolder.at(data)
    if api is not None:
        if not key:
            raise CommandError("an API key is needed", hint="give --api-key or $DORMOUSE_API_KEY")
        return Target(api.rstrip("/"), key, None)
    try:
        document = httpx.Response(200, content=folder.ready.read_bytes()).json()
        return Target(document["api"], key or document["admin_key"], folder)
    except (OSError, ValueError, KeyError):
        raise CommandError(
            f"no gateway runs with the data folder {folder.root}",
            hint="start one with `dormouse up`, or name another with --data or --api",
        ) from None


class Client:
    """Calls the API; every failure is a CommandError with the API's own words."""

    def __init__(self, target: Target) -> None:
        self._http = httpx.Client(
            base_url=target.api,
            headers={"Authorization": f"Bearer {target.key}"},
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def create(self, name: str) -> dict[str, Any]:
        """POST /v1/tenants."""
        return self._call("POST", "/v1/tenants", json={"name": name})

    def tenants(self) -> list[dict[str, Any]]:
        """All tenants."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page = self._call("GET", f"/v1/tenants?limit={_PAGE}&after={after}")
            found += page["tenants"]
            after = page["next"]
        return found

    def named(self, name: str) -> dict[str, Any] | None:
        """The tenant of this name."""
        page = self._call("GET", "/v1/tenants", params={"name": name})
        return next(iter(page["tenants"]), None)

    def find(self, name: str) -> dict[str, Any]:
        """The tenant of this name, of this id, or of this `<name>-<id>`."""
        if (named := self.named(name)) is not None:
            return named
        if name.isdecimal():
            return self._call("GET", f"/v1/tenants/{name}")
        base, _, number = name.rpartition("-")
        if base and number.isdecimal():
            tenant = self._call("GET", f"/v1/tenants/{number}")
            if tenant["name"] == base:
                return tenant
        raise CommandError(f"there is no tenant {name!r}", hint="see `dormouse tenant list`")

    def delete(self, tenant_id: int) -> dict[str, Any]:
        """DELETE /v1/tenants/{id}; empty once the data is gone."""
        return self._call("DELETE", f"/v1/tenants/{tenant_id}")

    def suspend(self, tenant_id: int) -> dict[str, Any]:
        """POST /v1/tenants/{id}/suspend."""
        return self._call("POST", f"/v1/tenants/{tenant_id}/suspend")

    def status(self) -> dict[str, Any]:
        """GET /v1/status."""
        return self._call("GET", "/v1/status")

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            response = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise CommandError(
                f"the API at {self._http.base_url} does not answer: {error}"
            ) from None
        if response.is_success:
            document: dict[str, Any] = response.json() if response.content else {}
            return document
        try:
            detail = str(response.json()["detail"])
        except (ValueError, KeyError, TypeError):
            detail = f"HTTP status {response.status_code}"
        raise CommandError(detail)
