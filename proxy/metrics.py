"""What the proxy measures."""

from prometheus_client import Counter, Gauge, Histogram

from dormouse.base.metrics import REGISTRY

CONNECTIONS = Gauge("dormouse_proxy_connections", "Open client connections.", registry=REGISTRY)
SESSIONS = Gauge("dormouse_proxy_sessions", "Logged-in sessions.", registry=REGISTRY)
ROUTED = Counter(
    "dormouse_proxy_routed_total",
    "Startups by the form that named the tenant.",
    ["form"],
    registry=REGISTRY,
)
REFUSED = Counter(
    "dormouse_proxy_refused_total",
    "Connections ended before a session, by reason, SQLSTATE and blame.",
    ["reason", "sqlstate", "blame"],
    registry=REGISTRY,
)
LOGIN_SECONDS = Histogram(
    "dormouse_proxy_login_seconds",
    "From the startup message until the session was ready, by whether a wake was needed.",
    ["woken"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0),
    registry=REGISTRY,
)
DIALS_FAILED = Counter(
    "dormouse_proxy_dials_failed_total", "Pods that did not take a session.", registry=REGISTRY
)
HUNG_UP = Counter(
    "dormouse_proxy_hung_up_total",
    "Connections closed without a word: full, too many handshakes of one address, a bad or late "
    "PROXY header, or one from somebody who is not trusted with it.",
    ["reason"],
    registry=REGISTRY,
)
PROXY_HEADERS = Counter(
    "dormouse_proxy_headers_total",
    "PROXY headers read, by whether they named a client.",
    ["named"],
    registry=REGISTRY,
)
HANDSHAKE_SECONDS = Histogram(
    "dormouse_proxy_handshake_seconds",
    "From the connection until TLS and the startup message were there.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0),
    registry=REGISTRY,
)
CUT = Counter(
    "dormouse_proxy_cut_total",
    "Connections ended because their tenant changed: its networks, or it was deleted.",
    ["cause"],
    registry=REGISTRY,
)
TENANTS_FOLLOWED = Gauge(
    "dormouse_proxy_tenants_followed",
    "Whether control's changes of tenants come in (1) or not (0).",
    registry=REGISTRY,
)
TENANT_CHANGES = Counter(
    "dormouse_proxy_tenant_changes_total", "Changes of tenants that came in.", registry=REGISTRY
)
POD_CHANGES = Counter(
    "dormouse_proxy_pod_changes_total",
    "Changes of the picture of pods and proxies that came in.",
    registry=REGISTRY,
)
FAILED_LOGINS = Counter("dormouse_proxy_failed_logins_total", "Wrong passwords.", registry=REGISTRY)
DRAINING = Gauge(
    "dormouse_proxy_draining", "Whether the proxy takes no new connections.", registry=REGISTRY
)
CANCELS = Counter(
    "dormouse_proxy_cancels_total",
    "Cancel requests: of a session here, forwarded to its proxy, or of nobody's.",
    ["outcome"],
    registry=REGISTRY,
)
PODS_LOST = Counter(
    "dormouse_proxy_pods_lost_total",
    "Sessions whose pod hung up first, by what became of them.",
    ["then"],
    registry=REGISTRY,
)
WAKE_SECONDS = Histogram(
    "dormouse_proxy_wake_seconds",
    "Logins that woke their tenant, by part: resolve, wake, dial, login follow each other without "
    "a gap; first_row is the first answer to the first query.",
    ["part"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 20.0),
    registry=REGISTRY,
)
MOVES = Counter(
    "dormouse_proxy_moves_total",
    "Sessions that were to be moved or parked, by what came of it.",
    ["purpose", "outcome"],
    registry=REGISTRY,
)
RESUMES = Counter(
    "dormouse_proxy_resumes_total",
    "Sessions without a pod that were to be taken up by one, by why (move, park: it did not fit "
    "in, recover: its pod died, wake: its client spoke) and what came of it.",
    ["cause", "outcome"],
    registry=REGISTRY,
)
STALL_SECONDS = Histogram(
    "dormouse_proxy_stall_seconds",
    "How long a client would have had to wait while its session had no pod, by why.",
    ["cause"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0),
    registry=REGISTRY,
)
REBALANCED = Counter(
    "dormouse_proxy_rebalanced_total", "Sessions that were to move for balance.", registry=REGISTRY
)
PARKED = Gauge("dormouse_proxy_parked", "Sessions that wait without a pod.", registry=REGISTRY)
PARKED_BYTES = Gauge("dormouse_proxy_parked_bytes", "State of parked sessions.", registry=REGISTRY)
SEALED_BYTES = Gauge(
    "dormouse_proxy_sealed_bytes", "State of all sessions, parked or not.", registry=REGISTRY
)
SEALED_REFUSED = Counter(
    "dormouse_proxy_sealed_refused_total",
    "States of sessions that were not kept, for there was no room.",
    registry=REGISTRY,
)
