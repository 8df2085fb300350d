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
    "Connections ended before a session, by SQLSTATE and blame.",
    ["sqlstate", "blame"],
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
CANCELS = Counter(
    "dormouse_proxy_cancels_total",
    "Cancel requests, by whether the key was known.",
    ["known"],
    registry=REGISTRY,
)
PODS_LOST = Counter(
    "dormouse_proxy_pods_lost_total", "Sessions whose pod hung up first.", registry=REGISTRY
)
