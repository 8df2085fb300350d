"""Settings of the storage role."""

from dataclasses import dataclass, field
from pathlib import Path

from dormouse.base.config import ConfigError

ENGINES = ("sqlite", "slatedb", "memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of queues, frames, transactions and caches."""

    requests_max: int = 1024
    """Requests in flight on one stream; more are refused with BUSY."""
    frame_bytes_max: int = 4 << 20
    """Bytes of one frame from a pod; a larger one ends the stream."""
    request_bytes_max: int = 64 << 20
    """Bytes of the requests of one stream that wait for something; more are refused with BUSY."""
    txn_bytes_max: int = 1 << 30
    """Bytes one transaction may stage and commit."""
    txn_locks_max: int = 2_000_000
    """Keys one transaction may lock, its staged writes included: each costs some 200 bytes."""
    txns_max: int = 10_000
    """Transactions one tenant may have open; more are refused with TOO_MANY_TXNS."""
    tenant_locks_max: int = 3_000_000
    """Keys all transactions and sessions of one tenant may lock together; more are refused with
    TOO_MANY_LOCKS."""
    tenant_staged_bytes_max: int = 4 << 30
    """Bytes all transactions of one tenant may stage together, on the disk; more are refused with
    TOO_MUCH_STAGED."""
    tenant_requests_max: int = 16_384
    """Requests of one tenant in flight on all its streams; more are refused with BUSY."""
    tenant_request_bytes_max: int = 256 << 20
    """Bytes of the requests of one tenant in flight; more are refused with BUSY."""
    fences_max: int = 10_000
    """Undecided transactions of one tenant that may be resolved per `record_seconds`."""
    scan_rows_max: int = 4096
    """Rows in one page of a scan."""
    scan_bytes_max: int = 1 << 20
    """Bytes of one page of a scan, but for its last few rows."""
    cache_bytes_max: int = 64 << 20
    """Memory for newest versions of hot keys, of all tenants together."""
    group_bytes_max: int = 8 << 20
    """Bytes that share one durable write."""
    fair: bool = True
    """Whether the least served tenant is next where several ask at once (storage/admission.py)."""
    queue_bytes_max: int = 64 << 20
    """Bytes waiting for their durable write; beyond it streams are not read until there is room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStorage:
    """Where the data lies and how it is reached."""

    url: str = ""
    """`s3://bucket/folder`; `gs://` and `az://` likewise; `file:///folder` for a shared disk."""
    options: dict[str, str] = field(default_factory=dict)
    """Of the provider, by the names of the Rust crate `object_store`, over what the environment
    says (`AWS_ACCESS_KEY_ID` …): `aws_endpoint`, `aws_region`, `aws_allow_http`, `timeout` …"""
    flush_seconds: float = 0.0
    """How long the log waits for more before it is written; 0: not at all. Every commit waits as
    long on top of the PUT; at 0.1 the store sees ten PUTs a second at most."""
    write_seconds: float = 30.0
    """How long a batch may take to become durable before the engine is lost."""
    retries: int = 5
    """Of one request to the store, with growing pauses."""
    batch_bytes_max: int = 256 << 20
    block_cache_bytes: int = 256 << 20
    """Memory for blocks and their indexes."""
    memory_table_bytes: int = 64 << 20
    """Written to a sorted object when it is that large; what is not written yet is held four times
    at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSettings:
    """All the storage role needs to know."""

    data: Path
    """Folder of the engine's files; made where it does not exist."""
    certs: Path
    """Folder with `storage.key`, `storage.crt` and `ca.crt`."""
    engine: str = "sqlite"
    """`sqlite`; `slatedb`, on object storage; or `memory`, which forgets everything at the end."""
    objects: ObjectStorage = field(default_factory=ObjectStorage)
    """Of `slatedb`."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 0
    """Port for pods and control; 0 takes a free one."""
    metrics_port: int = 0
    """Port of the metrics page; 0 takes a free one."""
    readers: int = 2
    """Threads that read the SQLite file."""
    own_core: bool = True
    """Whether the event loop stays on one core and SQLite's writer on the others, where there are
    two; not where other processes have cores of their own among those."""
    page_cache_bytes: int = 32 << 20
    """SQLite's page cache, of each of its connections."""
    mmap_bytes: int = 0
    """How much of the SQLite file is mapped into memory: reads of it are a little faster, and a
    page that the disk cannot read ends the process instead of the request."""
    recovery_window_seconds: int = 86_400
    """How far back everything can be read as it was (`dormouse.as_of`), over restarts too, until
    control says otherwise. Every superseded version is stored, and billed, that long."""
    history_seconds: float = 10.0
    """What is kept where the window is shorter, or off: a statement that reads a second time pins
    its snapshot only then."""
    hold_seconds: float = 86_400.0
    """How long beyond its tenant's window a reader, an export for one, may hold history back. Then
    its snapshot is too old."""
    record_seconds: float = 3600.0
    """How long it can be asked what became of a transaction."""
    collect_seconds: float = 1.0
    """Pause between two runs of the garbage collection."""
    measure_seconds: float = 30.0
    """Between the measurements of what tenants store, for those that changed."""
    handshake_seconds: float = 5.0
    """A connection of which no call came within this counts as refused."""
    grace_seconds: float = 5.0
    """How long streams may finish what is in flight when the role ends."""
    limits: Limits = field(default_factory=Limits)
    """Bounds; the defaults fit a small machine."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise ConfigError(f"engine: expected one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.engine == "slatedb" and not self.objects.url:
            raise ConfigError("objects.url: slatedb needs one, such as s3://bucket/folder")
        if self.history_seconds < 0:
            raise ConfigError(f"history_seconds: at least 0, got {self.history_seconds}")
        if self.readers < 1:
            raise ConfigError(f"readers: at least 1, got {self.readers}")
