"""The session as its operations see it, and what their replies have in common."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from dormouse.base import blocks
from proto import kv_pb2 as kv
from storage.refusals import Refusal, catalog_stale
from storage.tenants import Session, Tenant
from storage.waiting import InFlight

_REPLY_BYTES_MAX = 48 << 20
"""Bytes of the values in one reply; a gRPC message ends at 64 MiB."""


class Stream(Session, Protocol):
    """The session as its operations see it."""

    def reply(self, reply: kv.Reply) -> None:
        """Send a reply that was not ready at once."""
        ...

    def later(
        self, request: kv.Request, work: Callable[[InFlight], Coroutine[Any, Any, kv.Reply | None]]
    ) -> None:
        """Run `work` in a task; a reply it returns and a Refusal it raises are sent."""
        ...


def packed(values: list[bytes | None]) -> bytes:
    """A block of values, if it fits into a frame."""
    block = blocks.pack(values)
    if len(block) > _REPLY_BYTES_MAX:
        raise Refusal(kv.Error.TOO_LARGE, "the values do not fit into one reply: ask for fewer")
    return block


def check_catalog(tenant: Tenant, request: kv.Request) -> None:
    """Refuse a request that was made with another version of the catalog."""
    version = request.catalog_version
    if version and version != tenant.catalog_version:
        raise catalog_stale(tenant.catalog_version)
