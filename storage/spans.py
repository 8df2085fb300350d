"""The border of a tenant: no key or range passes that is not inside the certificate's span.

Everything a request can name goes through these few functions, which also turn malformed blocks
into refusals. The span of a tenant begins with the letter of user data, so storage's own keyspaces
lie outside of every tenant.
"""

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_prefix, tenant_span
from proto import kv_pb2 as kv
from storage.refusals import Refusal, bad_request

KEY_BYTES_MAX = 16 << 10
"""Bytes of a key. SQLite could store more; nobody should."""


def _outside(key: bytes) -> Refusal:
    return Refusal(kv.Error.OUTSIDE_TENANT, "a key outside the tenant of the certificate", key=key)


class TenantSpan:
    """What one tenant may touch."""

    __slots__ = ("_prefix", "end", "start")

    def __init__(self, tenant: TenantId) -> None:
        self._prefix = tenant_prefix(tenant)
        self.start, self.end = tenant_span(tenant)

    def key(self, key: bytes) -> bytes:
        """The key, if it is the tenant's."""
        if not key.startswith(self._prefix):
            raise _outside(key)
        if len(key) > KEY_BYTES_MAX:
            raise bad_request(f"a key of more than {KEY_BYTES_MAX} bytes")
        return key

    def keys(self, block: bytes) -> list[bytes]:
        """The keys of a block, if all are the tenant's."""
        try:
            keys = blocks.unpack_present(block)
        except blocks.BadBlock as error:
            raise bad_request(str(error)) from error
        prefix = self._prefix
        for key in keys:
            if not key.startswith(prefix) or len(key) > KEY_BYTES_MAX:
                self.key(key)
        return keys

    def keys_or_none(self, block: bytes) -> list[bytes]:
        """Like `keys`; an empty field stands for no keys."""
        return self.keys(block) if block else []

    def writes(self, writes: kv.Writes) -> list[tuple[bytes, bytes | None]]:
        """Keys with their new values, in order."""
        if not writes.keys and not writes.values:
            return []
        keys = self.keys(writes.keys)
        try:
            values = blocks.unpack(writes.values)
        except blocks.BadBlock as error:
            raise bad_request(str(error)) from error
        if len(keys) != len(values):
            raise bad_request("writes with as many values as keys were expected")
        return list(zip(keys, values, strict=True))

    def range(self, start: bytes, end: bytes) -> tuple[bytes, bytes]:
        """The range, if it lies within the tenant's span."""
        if not start.startswith(self._prefix):
            raise _outside(start)
        if not self.start <= end <= self.end:
            raise _outside(end)
        if len(start) > KEY_BYTES_MAX or len(end) > KEY_BYTES_MAX:
            raise bad_request(f"a key of more than {KEY_BYTES_MAX} bytes")
        if start > end:
            raise bad_request("a range that ends before it starts")
        return start, end
