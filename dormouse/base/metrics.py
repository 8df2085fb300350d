"""Prometheus metrics of a role: a registry of its own and one HTTP page.

Roles declare their metrics in a `metrics.py` of their own on this registry and never label by
anything a stranger can choose freely.
"""

import contextlib
import socket
from http.server import HTTPServer

from prometheus_client import CollectorRegistry, start_http_server

REGISTRY = CollectorRegistry(auto_describe=True)


def serve(host: str, port: int) -> tuple[int, "object"]:
    """Serve `/metrics` on a thread; port 0 takes a free one. Returns the port and the server."""
    server, _thread = start_http_server(port, addr=host, registry=REGISTRY)
    return int(server.server_address[1]), server


def stop(server: object) -> None:
    """End what `serve` started, within milliseconds: the caller's event loop stands still."""
    if isinstance(server, HTTPServer):
        # Its thread looks only every half second whether it is to end; a shut socket wakes it.
        with contextlib.suppress(OSError):
            server.socket.shutdown(socket.SHUT_RDWR)
        server.shutdown()
        server.server_close()
