"""Calls to the HTTP API on kept connections, by the standard library: a client that costs little,
so that sixteen of them in one process measure the gateway and not themselves."""

import http.client
import json
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from bench.gateway import Gateway, GatewayError

_SECONDS = 60.0


class Caller:
    """One client with one connection."""

    def __init__(self, gateway: Gateway) -> None:
        url = urlsplit(gateway.api)
        if url.scheme != "http":
            raise GatewayError("this benchmark asks over plain HTTP, on this machine")
        self._headers = {
            "Authorization": f"Bearer {gateway.ready['admin_key']}",
            "Content-Type": "application/json",
        }
        self._connection = http.client.HTTPConnection(
            url.hostname or "", url.port, timeout=_SECONDS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer. Raises GatewayError for a refusal."""
        content = json.dumps(body).encode() if body is not None else None
        self._connection.request(method, path, content, self._headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise GatewayError(f"{method} {path}: {response.status} {text.decode()}")
        return json.loads(text) if text else None

    def timed(self, method: str, path: str, body: Any = None) -> tuple[float, Any]:
        """Milliseconds, and the answer."""
        started = time.perf_counter()
        answer = self.call(method, path, body)
        return (time.perf_counter() - started) * 1000, answer
