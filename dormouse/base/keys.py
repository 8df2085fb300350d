"""The key codec: every byte string that names a row, in one place.

    key = "t"  tenant:u64  table:u32  index:u32  column…      (big endian: bytes sort as numbers)

Everything a tenant owns lies between `tenant_span(id)`'s ends; storage refuses what lies outside
the span of the certificate. Keys of storage itself start with other bytes and are nobody's.
"""

import struct

from dormouse.base.ids import TenantId

_TENANT = struct.Struct(">cQ")
_INDEX = struct.Struct(">cQII")
_TENANT_TAG = b"t"

Span = tuple[bytes, bytes]
"""A half-open range of keys: from the first, up to and without the second."""


def tenant_prefix(tenant: TenantId) -> bytes:
    """The 9 bytes every key of `tenant` starts with."""
    return _TENANT.pack(_TENANT_TAG, tenant)


def tenant_span(tenant: TenantId) -> Span:
    """All keys of `tenant`."""
    return tenant_prefix(tenant), _TENANT.pack(_TENANT_TAG, tenant + 1)


def index_prefix(tenant: TenantId, table: int, index: int) -> bytes:
    """The 17 bytes every key of one index of one table starts with."""
    return _INDEX.pack(_TENANT_TAG, tenant, table, index)


def prefix_end(prefix: bytes) -> bytes:
    """The first key after all keys that start with `prefix` (which has a byte below 255)."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1])
