"""What the autoscaler measures."""

from prometheus_client import Counter, Gauge, Histogram

from autoscaler.fleet import Fleet
from autoscaler.pods import Phase
from dormouse.base.metrics import REGISTRY

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LONG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 180.0, 600.0)

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
ACCOUNTS_CLOSED = Counter(
    "dormouse_pod_accounts_closed_total",
    "Pods that ended and whose last words were told to control: closed, refused, lost.",
    ["outcome"],
    registry=REGISTRY,
)
PODS = Gauge("dormouse_pods", "Living pods by phase.", ["phase"], registry=REGISTRY)
POOL_WANTED = Gauge("dormouse_warm_pods_wanted", "Size of the warm pool.", registry=REGISTRY)
STARTING = Gauge("dormouse_pods_starting", "Forks under way.", registry=REGISTRY)
FORK_SECONDS = Gauge(
    "dormouse_pod_fork_seconds",
    "From asking for a pod until it is warm, smoothed.",
    registry=REGISTRY,
)
TENANTS_AWAKE = Gauge("dormouse_tenants_awake", "Tenants that have a pod.", registry=REGISTRY)
TENANTS_WAITING = Gauge(
    "dormouse_tenants_waiting", "Tenants that wait for a pod.", registry=REGISTRY
)
PARKED = Gauge(
    "dormouse_parked_sessions",
    "Sessions without a pod, as the proxies last said.",
    registry=REGISTRY,
)
PROXIES = Gauge("dormouse_proxies_watching", "Proxies that watch the pods.", registry=REGISTRY)
DECISIONS = Counter(
    "dormouse_autoscaler_decisions_total",
    "Decisions about tenants, by action.",
    ["action"],
    registry=REGISTRY,
)
DECISION_SECONDS = Histogram(
    "dormouse_autoscaler_decision_seconds",
    "Time to decide and to note what was decided.",
    buckets=_SHORT,
    registry=REGISTRY,
)
DECISION_LAG = Histogram(
    "dormouse_autoscaler_decision_lag_seconds",
    "How late the decisions of each second came.",
    buckets=_SHORT,
    registry=REGISTRY,
)
DRAINS = Histogram(
    "dormouse_pod_drain_seconds",
    "From the drain of a pod until it had ended, by cause.",
    ["cause"],
    buckets=_LONG,
    registry=REGISTRY,
)
TAKE_BACKS = Counter(
    "dormouse_pod_take_backs_total",
    "Draining pods that were asked to take sessions again, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
GROWTHS = Counter(
    "dormouse_pod_growths_total",
    "Pods claimed for tenants that run already, or always, by outcome.",
    ["outcome"],
    registry=REGISTRY,
)
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
    FORK_SECONDS.set(fleet.wake_rate.fork_seconds)
    TENANTS_WAITING.set(len(fleet.wakes))
    TENANTS_AWAKE.set(sum(bool(record.pods) for record in fleet.tenants.values()))
    for phase in Phase:
        PODS.labels(phase.value).set(fleet.count(phase))


OWNERS_NOT_TOLD = Counter(
    "dormouse_autoscaler_owners_not_told_total",
    "Pods that did not answer when they were told their owner's new password.",
    registry=REGISTRY,
)

RENEWALS = Counter(
    "dormouse_autoscaler_renewals_total",
    "Pods that were sent another certificate, by outcome: renewed, failed.",
    ["outcome"],
    registry=REGISTRY,
)
