"""What storage counts. No label can be chosen by a tenant."""

from prometheus_client import Counter, Gauge, Histogram

from dormouse.base.metrics import REGISTRY

REFUSED = Counter(
    "dormouse_storage_refused_total",
    "Requests and sessions refused, by reason.",
    ["reason"],
    registry=REGISTRY,
)
COMMITS = Counter(
    "dormouse_storage_commits_total", "Transactions committed with writes.", registry=REGISTRY
)
APPLIES = Counter(
    "dormouse_storage_applies_total",
    "Durable engine writes; commits per apply is the gain of group commit.",
    registry=REGISTRY,
)
APPLY_SECONDS = Histogram(
    "dormouse_storage_apply_seconds",
    "Duration of durable engine writes.",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
JOINED = Counter(
    "dormouse_storage_joined_total",
    "Small writes that joined another tenant's group on its way to the disk.",
    registry=REGISTRY,
)
ENGINE_ERRORS = Counter(
    "dormouse_storage_engine_errors_total",
    "Reads and durable writes that the engine failed: full, damaged, io, lost.",
    ["kind"],
    registry=REGISTRY,
)
WRITES_FAILING = Gauge(
    "dormouse_storage_writes_failing",
    "1 from a durable write that failed for this reason to the next commit that is durable.",
    ["kind"],
    registry=REGISTRY,
)
LOG_BYTES = Gauge(
    "dormouse_storage_log_bytes",
    "Size of the SQLite file's write-ahead log. Steadily above 64 MiB, checkpoints fail.",
    registry=REGISTRY,
)
CATALOG_TOLD_SECONDS = Histogram(
    "dormouse_storage_catalog_told_seconds",
    "How long a commit that changed a catalog waited until the tenant's other pods had seen it.",
    buckets=(0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 10),
    registry=REGISTRY,
)
TABLE_RECALL_SECONDS = Histogram(
    "dormouse_storage_table_recall_seconds",
    "How long who asked for a strong lock of a table waited until the tenant's pods had said which "
    "of their transactions use it.",
    buckets=(0.0001, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 10),
    registry=REGISTRY,
)
ROLL_FORWARDS = Gauge(
    "dormouse_storage_roll_forwards",
    "Large commits that are durable and not all in their place.",
    registry=REGISTRY,
)
ROLL_FORWARDS_DAMAGED = Gauge(
    "dormouse_storage_roll_forwards_damaged",
    "Those of them that meet damaged data: their tenants are to be restored.",
    registry=REGISTRY,
)
ROLL_FORWARDS_STUCK = Gauge(
    "dormouse_storage_roll_forwards_stuck",
    "Those of them that the engine fails just now; they are tried again.",
    registry=REGISTRY,
)
ROLL_FORWARD_BYTES = Gauge(
    "dormouse_storage_roll_forward_bytes",
    "Staged bytes that they have still to put in their place.",
    registry=REGISTRY,
)
ROLL_FORWARD_SECONDS = Histogram(
    "dormouse_storage_roll_forward_seconds",
    "How long large commits took to get into their place, from being durable on.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800),
    registry=REGISTRY,
)
ADMISSION_WAITING = Gauge(
    "dormouse_storage_admission_waiting",
    "Tenants whose requests wait for their turn.",
    registry=REGISTRY,
)
CONTENDED_TURNS = Counter(
    "dormouse_storage_admission_turns_total",
    "Slices of time given to a tenant while several were about.",
    registry=REGISTRY,
)
HELD_BACK = Counter(
    "dormouse_storage_admission_held_back_total",
    "Times a tenant had to wait for having had more than its part while another was about.",
    registry=REGISTRY,
)
TRANSACTIONS = Gauge(
    "dormouse_storage_transactions", "Transactions that are open.", registry=REGISTRY
)
LOCKS = Gauge(
    "dormouse_storage_locks", "Keys that are locked, by all owners together.", registry=REGISTRY
)
STAGED_BYTES = Gauge(
    "dormouse_storage_staged_bytes",
    "Bytes staged by transactions that are open.",
    registry=REGISTRY,
)
IN_FLIGHT = Gauge(
    "dormouse_storage_requests_in_flight",
    "Requests of all streams that wait for something.",
    registry=REGISTRY,
)
CHECKPOINTS = Counter(
    "dormouse_storage_checkpoints_total",
    "Pieces of SQLite's log copied into its file, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
SESSIONS = Gauge("dormouse_storage_sessions", "Open session streams.", registry=REGISTRY)
COLLECTED = Counter(
    "dormouse_storage_collected_total",
    "Rows removed in the background, by kind.",
    ["kind"],
    registry=REGISTRY,
)
HISTORY_ROWS = Gauge(
    "dormouse_storage_history_rows",
    "Superseded versions that are kept, as tenants were measured last.",
    registry=REGISTRY,
)
HISTORY_BYTES = Gauge(
    "dormouse_storage_history_bytes",
    "Bytes of superseded versions that are kept, as tenants were measured last.",
    registry=REGISTRY,
)
COLLECTION_SECONDS = Gauge(
    "dormouse_storage_collection_seconds",
    "Duration of the last pass of the garbage collection, its rests included.",
    registry=REGISTRY,
)
COLLECTION_LAG = Gauge(
    "dormouse_storage_collection_lag_seconds",
    "For how long superseded versions have been due that the garbage collection is at; 0 when all "
    "that is due is gone.",
    registry=REGISTRY,
)
COLLECTION_DAMAGED = Gauge(
    "dormouse_storage_collection_damaged_tenants",
    "Tenants of which nothing is collected for a while, for something of theirs is damaged.",
    registry=REGISTRY,
)
CLOCK_AHEAD = Gauge(
    "dormouse_storage_clock_ahead_seconds",
    "How far commit times are ahead of the wall clock, which has jumped back.",
    registry=REGISTRY,
)
CLOCK_LEAPS = Counter(
    "dormouse_storage_clock_leaps_total",
    "Leaps forward of the wall clock; those that stand are followed after a minute.",
    registry=REGISTRY,
)
OLDEST_PIN = Gauge(
    "dormouse_storage_oldest_pin_timestamp_seconds",
    "The oldest snapshot that a transaction holds; the newest there is where none holds any.",
    registry=REGISTRY,
)
HANDSHAKES = Counter(
    "dormouse_storage_handshakes_total",
    "Connections begun. One without a certificate of the installation ends in the handshake.",
    registry=REGISTRY,
)
SIZES_MEASURED = Counter(
    "dormouse_storage_sizes_measured_total",
    "Walks over a tenant's data to see how much it stores.",
    registry=REGISTRY,
)
QUOTA_REFUSED = Counter(
    "dormouse_storage_quota_refused_total",
    "Commits and staged writes refused because their tenant stores as much as it may.",
    registry=REGISTRY,
)
NOTIFICATIONS = Counter(
    "dormouse_storage_notifications_total",
    "Notifications handed to streams that listen.",
    registry=REGISTRY,
)
EXPORTS = Gauge(
    "dormouse_storage_exports",
    "Exports of tenants that run.",
    registry=REGISTRY,
)
TRANSFERRED = Counter(
    "dormouse_storage_transferred_bytes_total",
    "Bytes of tenants' rows exported and imported.",
    ["kind"],
    registry=REGISTRY,
)
SEQUENCE_TAKES = Counter(
    "dormouse_storage_sequence_takes_total",
    "Requests for numbers of a sequence, by whether they had to be written or were covered.",
    ["from"],
    registry=REGISTRY,
)
