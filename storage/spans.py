"""The border of a tenant: no key or range passes that is not inside the certificate's span.

Everything a request can name goes through these few functions, which also turn malformed blocks
into refusals. The span of a tenant begins with the letter of user data, so storage's own keyspaces
lie outside of every tenant.
"""

from collections.abc import Iterator

from dormouse.base import blocks
from dormouse.base.ids import TenantId
from dormouse.base.keys import tenant_prefix, tenant_span
from proto import kv_pb2 as kv
from storage.refusals import Refusal, bad_request

KEY_BYTES_MAX = 16 << 10
"""Bytes of a key. SQLite could store more; nobody should."""
_MANY = 8
"""Keys from which on it pays not to look at each of them."""


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
        # What the least and the greatest begin with, all begin with.
        if (
            len(keys) > _MANY
            and min(keys).startswith(prefix)
            and max(keys).startswith(prefix)
            and max(map(len, keys)) <= KEY_BYTES_MAX
        ):
            return keys
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

    def cut_writes(
        self, writes: kv.Writes, *, rows_max: int, bytes_max: int
    ) -> Iterator[list[tuple[bytes, bytes | None]]]:
        """Like `writes`, a few at a time: as many as fit if all are of the same size."""
        if not writes.keys and not writes.values:
            return
        size = len(writes.keys) + len(writes.values)
        try:
            count = blocks.count(writes.keys)
            at_once = max(1, min(rows_max, count * bytes_max // size))
            if blocks.count(writes.values) != count:
                raise bad_request("writes with as many values as keys were expected")
            values = blocks.unpack_some(writes.values, at_once)
            for keys in blocks.unpack_some(writes.keys, at_once):
                yield list(zip(map(self._present, keys), next(values), strict=True))
        except blocks.BadBlock as error:
            raise bad_request(str(error)) from error

    def _present(self, key: bytes | None) -> bytes:
        if key is None:
            raise bad_request("absent value in a block of keys")
        if not key.startswith(self._prefix) or len(key) > KEY_BYTES_MAX:
            return self.key(key)
        return key

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
