"""What the autoscaler measures."""

from prometheus_client import Counter, Gauge, Histogram

from autoscaler.fleet import Fleet, Phase
from dormouse.base.metrics import REGISTRY

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)

WAKES = Counter(
    "dormouse_wakes_total",
    "Wakes of a sleeping tenant, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
WAKE_SECONDS = Histogram(
    "dormouse_wake_seconds",
    "Time of a wake: claim, issue, stamp, total; stamp_* are the pod's own phases.",
    ["phase"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
PODS = Gauge("dormouse_pods", "Living pods by phase.", ["phase"], registry=REGISTRY)
POOL_WANTED = Gauge("dormouse_warm_pods_wanted", "Size of the warm pool.", registry=REGISTRY)
STARTING = Gauge("dormouse_pods_starting", "Forks under way.", registry=REGISTRY)
SUSPENDS = Counter(
    "dormouse_suspends_total", "Tenants put to sleep, by cause.", ["cause"], registry=REGISTRY
)
CRASHES = Counter(
    "dormouse_pod_crashes_total",
    "Pods that ended unbidden, by phase.",
    ["phase"],
    registry=REGISTRY,
)
KILLS = Counter(
    "dormouse_pod_kills_total",
    "Pods that had to be killed, by reason.",
    ["reason"],
    registry=REGISTRY,
)
FORK_FAILURES = Counter(
    "dormouse_fork_failures_total", "Pods that were asked for and did not come.", registry=REGISTRY
)
STATUS_FAILURES = Counter(
    "dormouse_pod_status_failures_total", "Status calls without an answer.", registry=REGISTRY
)
WATCHERS_CUT = Counter(
    "dormouse_pod_watchers_cut_total", "Watchers that did not keep up.", registry=REGISTRY
)


def show_fleet(fleet: Fleet) -> None:
    """Set the gauges to the picture."""
    STARTING.set(len(fleet.starting))
    for phase in Phase:
        PODS.labels(phase.value).set(fleet.count(phase))
