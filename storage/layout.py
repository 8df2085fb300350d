"""How the KV service lays its data out in an engine: one letter per keyspace.

    t tenant…                    current versions; the key is the user's own key
    h tenant escaped-rest time   superseded versions: the version that was written at `time`
    d tenant escaped-rest time   a removal: the key went away at `time`, its version is in history
    e due tenant time number     what the commits of one group have superseded, as keys to remove
    w tenant time number         the same, due and held by a reader
    s tenant pod txn part        staged writes of transactions that have not ended
    u tenant pod txn             markers: committed, and its staged writes not all in their place
    x tenant pod txn             transaction records: its commit time
    f tenant pod txn             fences: a transaction that never may commit, and since when
    y time                       the transaction records of one group commit, to be dropped by age
    v tenant                     catalog version
    c tenant…                    counters and sequences: the user's key behind another letter
    r tenant time number         retired ranges that wait for their last reader
    q tenant                     bytes of current rows that the tenant may store
    p tenant                     how long the tenant's past is kept, and since when it is whole
    a tenant key                 advisory locks: only in the lock table, never in the engine
    b tenant table               tables: likewise
    i tenant                     the tenant is imported: the time of all its rows
    m name                       facts of the shard (last commit time, horizon, defaults)

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
_ENDED = struct.Struct(">cQQQI")
_TENANT_END = 9
TIME_MAX = 2**64 - 1

LAST_COMMIT = b"mlast-commit"
"""Holds the time of the last commit; the clock never goes back behind it."""

FORMAT = b"mformat"
"""Holds the version of this layout, `FORMAT_NOW`; data without it is older than that."""
FORMAT_NOW = 5
"""1 had no `d`, `e` and `w`; 2 had no `u`, and would drop what is staged there; 3 had no checksums
in the SQLite file, and would leave behind those of the rows it writes; 4 had all rows of that file
in one table."""
FORMAT_WITHOUT_DUE = 1
"""The last one in which nothing says when superseded versions are due."""

HORIZON = b"mhorizon"
"""Holds the highest time the clock had when something of history was removed."""

DEFAULT_QUOTA = b"mquota"
"""Holds the quota of tenants without one of their own."""

DEFAULT_WINDOW = b"mwindow"
"""Holds the recovery window of tenants without one of their own."""

STAGED_SPAN = (b"s", b"t")
HISTORY_SPAN = (b"h", b"i")
HELD_SPAN = (b"w", b"x")
RETIRED_SPAN = (b"r", b"s")
FENCE_SPAN = (b"f", b"g")
MARKER_SPAN = (b"u", b"v")
RECORD_AGE_SPAN = (b"y", b"z")
CATALOG_SPAN = (b"v", b"w")
QUOTA_SPAN = (b"q", b"r")
WINDOW_SPAN = (b"p", b"q")

Span = tuple[bytes, bytes]


def _escaped(key: bytes) -> bytes:
    return b"h" + key[1:_TENANT_END] + key[_TENANT_END:].replace(b"\0", b"\0\xff")


def advisory_key(tenant: TenantId, key: bytes) -> bytes:
    """The name of an advisory lock in the lock table."""
    return b"a" + _BIG.pack(tenant) + key


def table_lock_key(tenant: TenantId, table: int) -> bytes:
    """The name of a table in the lock table."""
    return b"b" + _BIG.pack(tenant) + _BIG.pack(table)


def split_table_lock(key: bytes) -> int | None:
    """The table a name in the lock table is of; None where it is of something else."""
    return int(_BIG.unpack_from(key, 9)[0]) if key.startswith(b"b") else None


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


def removed_key(key: bytes, time: int) -> bytes:
    """Where it is written that `key` went away at `time`."""
    return b"d" + history_key(key, time)[1:]


def removed_range(start: bytes, end: bytes) -> Span:
    """All removals of the keys in a range; `split_history` takes them apart."""
    low, high = history_range(start, end)
    return b"d" + low[1:], b"d" + high[1:]


def ended_key(due: int, tenant: TenantId, time: int, number: int) -> bytes:
    """Where it is written what was superseded up to `time` and can go at `due`: list `number`."""
    return _ENDED.pack(b"e", due, tenant, time, number)


def split_ended(key: bytes) -> tuple[int, TenantId, int, int]:
    """Due, tenant, time and number of an `ended_key`."""
    _, due, tenant, time, number = _ENDED.unpack(key)
    return due, TenantId(tenant), time, number


def due_lists(until: int) -> Span:
    """The `ended_key`s that are due by then."""
    return b"e", b"e" + _BIG.pack(until + 1)


def held_key(tenant: TenantId, time: int, number: int) -> bytes:
    """Where the list of an `ended_key` goes while a reader of its tenant holds it back."""
    return _RETIRED.pack(b"w", tenant, time, number)


def held_time(key: bytes) -> int:
    """The time of a `held_key`."""
    return int(_RETIRED.unpack(key)[2])


def due_span(key: bytes, floor: int) -> Span:
    """In a keyspace of `tenant time number`: those of the key's tenant up to `floor`."""
    prefix = key[:_TENANT_END]
    return prefix, prefix + _BIG.pack(floor + 1)


def next_tenant(key: bytes) -> bytes:
    """Where the next tenant begins in the keyspace of `key`."""
    return key[:1] + _BIG.pack(tenant_of(key) + 1)


def with_time(time: int, payload: bytes) -> bytes:
    """A current or history value."""
    return TIME.pack(time) + payload


def time_of(value: bytes) -> int:
    """The time in front of a current or history value."""
    return int(TIME.unpack_from(value)[0])


def staged_key(tenant: TenantId, pod: PodId, txn: int, part: int) -> bytes:
    """Where a part of what a transaction has staged lies."""
    return _STAGED.pack(b"s", tenant, pod, txn, part)


def staged_part(key: bytes) -> int:
    """The number of a part, from a `staged_key`."""
    return int(_STAGED.unpack(key)[4])


def staged_span(tenant: TenantId, pod: PodId, txn: int) -> Span:
    """All that a transaction has staged."""
    return _STAGED.pack(b"s", tenant, pod, txn, 0), _STAGED.pack(b"s", tenant, pod, txn, TIME_MAX)


def marker_key(tenant: TenantId, pod: PodId, txn: int) -> bytes:
    """Where it is written what is left to do for a transaction that is committed."""
    return _RECORD.pack(b"u", tenant, pod, txn)


def record_key(tenant: TenantId, pod: PodId, txn: int) -> bytes:
    """Where it is written what became of a transaction."""
    return _RECORD.pack(b"x", tenant, pod, txn)


def fence_key(tenant: TenantId, pod: PodId, txn: int) -> bytes:
    """Where it is written that a transaction never may commit."""
    return _RECORD.pack(b"f", tenant, pod, txn)


def split_record(key: bytes) -> tuple[TenantId, PodId, int]:
    """The tenant, pod and transaction of the key of a record, a fence or a marker."""
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


def window_key(tenant: TenantId) -> bytes:
    """Where a tenant's recovery window lies."""
    return b"p" + _BIG.pack(tenant)


def import_key(tenant: TenantId) -> bytes:
    """Where it is written that a tenant's rows are on their way from elsewhere."""
    return b"i" + _BIG.pack(tenant)


def counter_key(key: bytes) -> bytes:
    """Where the counter a client calls `key` lies."""
    return b"c" + key[1:]


def retired_key(tenant: TenantId, time: int, number: int) -> bytes:
    """Where a range that was retired at `time` waits."""
    return _RETIRED.pack(b"r", tenant, time, number)


def is_retired(key: bytes) -> bool:
    """Whether this is a `retired_key`."""
    return key.startswith(b"r")


def ended_at(key: bytes, value: bytes) -> int:
    """When the life ended of what a key of history, of a removal or of a retired range stands
    for."""
    match key[:1]:
        case b"h":
            return time_of(value)
        case b"d":
            return split_history(key)[1]
        case _:
            return held_time(key)


_OF_TENANT = b"uthdwsxfvcrqpi"
"""Markers go first with a tenant: nothing of it is to be put in its place then."""


def tenant_spans(tenant: TenantId, letters: bytes = _OF_TENANT) -> list[Span]:
    """What belongs to a tenant, in every keyspace that is ordered by tenant.

    Not `e`: what such a list names is gone by then, so removing it when it is due does no harm.
    """
    low, high = _BIG.pack(tenant), _BIG.pack(tenant + 1)
    return [(bytes([letter]) + low, bytes([letter]) + high) for letter in letters]


def stored_spans(tenant: TenantId) -> list[Span]:
    """What counts as a tenant's storage: current versions, superseded ones, removals."""
    return tenant_spans(tenant, b"thd")


def retired_span(tenant: TenantId) -> Span:
    """The ranges a tenant has given up and that are still there."""
    return b"r" + _BIG.pack(tenant), b"r" + _BIG.pack(tenant + 1)


def tenant_of(key: bytes) -> TenantId:
    """The tenant a key belongs to, in any keyspace that is ordered by tenant."""
    return TenantId(_BIG.unpack_from(key, 1)[0])
