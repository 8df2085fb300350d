"""An HTTP API that answers what a test says, may be away, and remembers what it was asked."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

KEY = "dm_test"
ETAG = '"7"'


class FakeApi:
    """Answers by `METHOD /path`, without the query; whatever is not known is a 404."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        self.if_match: str | None = None
        """Of the latest request."""
        self.away = ""
        """What a 503 says while the gateway is to be away."""
        self.paths: list[str] = []
        """As they were asked for, with their queries."""
        self._scheme = "http" if tls is None else "https"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    @property
    def flags(self) -> list[str]:
        return ["--api", self.url, "--api-key", KEY]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.asked.append((f"{method} {path}", body))
        self.paths.append(path)
        if self.away:
            return 503, {"detail": self.away}
        found = self.answers.get(f"{method} {path.partition('?')[0]}")
        return (404, {"detail": "there is no such tenant"}) if found is None else (200, found)

    def close(self) -> None:
        """Answer no more, and refuse connections."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @contextmanager
    def running(self) -> Iterator["FakeApi"]:
        self._thread.start()
        try:
            yield self
        finally:
            self.close()


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        api_of: ClassVar[FakeApi] = api

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = json.loads(self.rfile.read(length)) if length else None
            assert self.headers["Authorization"] == f"Bearer {KEY}"
            self.api_of.if_match = self.headers["If-Match"]
            status, document = self.api_of.answer(self.command, self.path, body)
            data = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", ETAG)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler


def tenant(number: int = 17, name: str = "shop", **changes: Any) -> dict[str, Any]:
    """A tenant's document."""
    return {
        "id": number,
        "name": name,
        "organisation": 1,
        "labels": {},
        "state": "running",
        "pods": 1,
        "pods_wanted": 1,
        "connections": 2,
        "parked": 0,
        "cpu_percent": 12.3,
        "request_units_per_second": 4.5,
        "awake_because": "2 sessions",
        "holds": [],
        "settings": settings(),
        "user": "owner",
        "database": name,
        "created_at": "2026-01-02T03:04:05Z",
        "connection_url": "postgresql://there",
        **changes,
    }


def settings(**changes: Any) -> dict[str, Any]:
    """A tenant's settings."""
    return {
        "idle_timeout_seconds": None,
        "pods_min": 0,
        "pods_max": None,
        "allowed_networks": [],
        "connections_max": 1000,
        "storage_max_bytes": None,
        "recovery_window_seconds": None,
        **changes,
    }


def live(*tenants: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The answer of `GET /v1/live`."""
    return {
        "at": "2026-01-02T03:04:05Z",
        "tenants": list(tenants),
        "more": 0,
        "totals": {
            "registered": 120,
            "awake": len(tenants),
            "pods": sum(each["pods"] for each in tenants),
            "connections": sum(each["connections"] for each in tenants),
            "parked": sum(each["parked"] for each in tenants),
            "cpu_percent": sum(each["cpu_percent"] for each in tenants),
            "request_units_per_second": 0.0,
        },
        "warm_pool": {"ready": 1, "wanted": 2},
        **changes,
    }
