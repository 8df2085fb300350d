"""How the KV service lays its data out in an engine: one letter per keyspace.

    t tenant…                    current versions; the key is the user's own key
    h tenant escaped-rest time   superseded versions: the version that was written at `time`
    s tenant pod txn piece       staged writes of transactions that have not ended
    x tenant pod txn             transaction records: its commit time
    f tenant pod txn             fences: a transaction that never may commit, and since when
    y time                       the transaction records of one group commit, to be dropped by age
    v tenant                     catalog version
    c tenant…                    counters and sequences: the user's key behind another letter
    r tenant time number         retired ranges that wait for their last reader
    q tenant                     bytes of current rows that the tenant may store
    a tenant key                 advisory locks: only in the lock table, never in the engine
    i tenant                     the tenant is imported: the time of all its rows
    m name                       facts of the shard (last commit time, quota of other tenants)

Only `t` and `c` are built from keys a client sends, and only after the check of `storage.spans`.

    current value  = time:u64 le  payload
    history value  = until:u64 le payload         (replaced or removed at `until`)

A history key must sort by user key first and by time second, so the user key inside is made
self-delimiting: 00 becomes 00 ff and 00 01 ends it. The tenant in front has a fixed width and stays
as it is.
"""

import struct
from collections.abc import Sequence

from dormouse.base.ids import PodId, TenantId

TIME = struct.Struct("<Q")
_BIG = struct.Struct(">Q")
_STAGED = struct.Struct(">cQQQQ")
_RECORD = struct.Struct(">cQQQ")
_RETIRED = struct.Struct(">cQQI")
_TENANT_END = 9
TIME_MAX = 2**64 - 1

LAST_COMMIT = b"mlast-commit"
"""Holds the time of the last commit; the clock never goes back behind it."""

DEFAULT_QUOTA = b"mquota"
"""Holds the quota of tenants without one of their own."""

STAGED_SPAN = (b"s", b"t")
HISTORY_SPAN = (b"h", b"i")
RETIRED_SPAN = (b"r", b"s")
FENCE_SPAN = (b"f", b"g")
RECORD_AGE_SPAN = (b"y", b"z")
CATALOG_SPAN = (b"v", b"w")
QUOTA_SPAN = (b"q", b"r")

Span = tuple[bytes, bytes]


def _escaped(key: bytes) -> bytes:
    return b"h" + key[1:_TENANT_END] + key[_TENANT_END:].replace(b"\0", b"\0\xff")


def advisory_key(tenant: TenantId, key: bytes) -> bytes:
    """The name of an advisory lock in the lock table."""
    return b"a" + _BIG.pack(tenant) + key


def history_prefix(key: bytes) -> bytes:
    """What every superseded version of `key` starts with."""
    return _escaped(key) + b"\0\1"


def history_key(key: bytes, time: int) -> bytes:
    """Where the version of `key` written at `time` goes when it is superseded."""
    return _escaped(key) + b"\0\1" + _BIG.pack(time)


def history_versions(key: bytes, snapshot: int) -> Span:
    """All superseded versions of `key` that were written at or before `snapshot`."""
    prefix = history_prefix(key)
    return prefix + bytes(8), prefix + _BIG.pack(snapshot) + b"\0"


def history_range(start: bytes, end: bytes) -> Span:
    """All superseded versions of the keys in a range."""
    return _escaped(start), _escaped(end)


def split_history(history: bytes) -> tuple[bytes, int]:
    """The user key and the time of a history key."""
    rest = history[_TENANT_END:-10].replace(b"\0\xff", b"\0")
    return b"t" + history[1:_TENANT_END] + rest, _BIG.unpack_from(history, len(history) - 8)[0]


def with_time(time: int, payload: bytes) -> bytes:
    """A current or history value."""
    return TIME.pack(time) + payload


def time_of(value: bytes) -> int:
    """The time in front of a current or history value."""
    return int(TIME.unpack_from(value)[0])


def staged_key(tenant: TenantId, pod: PodId, txn: int, piece: int) -> bytes:
    """Where a staged piece of a transaction lies."""
    return _STAGED.pack(b"s", tenant, pod, txn, piece)


def staged_span(tenant: TenantId, pod: PodId, txn: int) -> Span:
    """All staged pieces of a transaction."""
    return _STAGED.pack(b"s", tenant, pod, txn, 0), _STAGED.pack(b"s", tenant, pod, txn, TIME_MAX)


def record_key(tenant: TenantId, pod: PodId, txn: int) -> bytes:
    """Where it is written what became of a transaction."""
    return _RECORD.pack(b"x", tenant, pod, txn)


def fence_key(tenant: TenantId, pod: PodId, txn: int) -> bytes:
    """Where it is written that a transaction never may commit."""
    return _RECORD.pack(b"f", tenant, pod, txn)


def split_record(key: bytes) -> tuple[TenantId, PodId, int]:
    """The tenant, pod and transaction of a record's or a fence's key."""
    _, tenant, pod, txn = _RECORD.unpack(key)
    return TenantId(tenant), PodId(pod), txn


def record_age_key(time: int) -> bytes:
    """The list of the records one group commit wrote, by its last commit time."""
    return b"y" + _BIG.pack(time)


def record_age_time(key: bytes) -> int:
    """The time of a `record_age_key`."""
    return int(_BIG.unpack_from(key, 1)[0])


def record_list(keys: Sequence[bytes]) -> bytes:
    """The value under `record_age_key`: fixed-width record keys end to end."""
    return b"".join(keys)


def split_record_list(value: bytes) -> list[bytes]:
    """The keys in a `record_list`."""
    return [value[at : at + _RECORD.size] for at in range(0, len(value), _RECORD.size)]


def catalog_key(tenant: TenantId) -> bytes:
    """Where a tenant's catalog version lies."""
    return b"v" + _BIG.pack(tenant)


def quota_key(tenant: TenantId) -> bytes:
    """Where a tenant's quota lies."""
    return b"q" + _BIG.pack(tenant)


def import_key(tenant: TenantId) -> bytes:
    """Where it is written that a tenant's rows are on their way from elsewhere."""
    return b"i" + _BIG.pack(tenant)


def counter_key(key: bytes) -> bytes:
    """Where the counter a client calls `key` lies."""
    return b"c" + key[1:]


def retired_key(tenant: TenantId, time: int, number: int) -> bytes:
    """Where a range that was retired at `time` waits."""
    return _RETIRED.pack(b"r", tenant, time, number)


def split_retired(key: bytes) -> tuple[TenantId, int]:
    """The tenant and time of a `retired_key`."""
    _, tenant, time, _ = _RETIRED.unpack(key)
    return TenantId(tenant), time


def tenant_spans(tenant: TenantId) -> list[Span]:
    """Everything that belongs to a tenant, in every keyspace."""
    low, high = _BIG.pack(tenant), _BIG.pack(tenant + 1)
    return [
        (letter + low, letter + high)
        for letter in (b"t", b"h", b"s", b"x", b"f", b"v", b"c", b"r", b"q", b"i")
    ]


def stored_spans(tenant: TenantId) -> list[Span]:
    """What counts as a tenant's storage: current versions, and superseded ones."""
    low, high = _BIG.pack(tenant), _BIG.pack(tenant + 1)
    return [(letter + low, letter + high) for letter in (b"t", b"h")]


def retired_span(tenant: TenantId) -> Span:
    """The ranges a tenant has given up and that are still there."""
    return b"r" + _BIG.pack(tenant), b"r" + _BIG.pack(tenant + 1)


def tenant_of(key: bytes) -> TenantId:
    """The tenant a key belongs to, in any keyspace that is ordered by tenant."""
    return TenantId(_BIG.unpack_from(key, 1)[0])
