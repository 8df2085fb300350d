"""Settings of the autoscaler."""

from dataclasses import dataclass, field
from pathlib import Path

from autoscaler.scale import ScalePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalerSettings:
    """What the autoscaler is told at its start."""

    certs: Path
    """Folder with `autoscaler.key`, `autoscaler.crt` and `ca.crt`."""

    podhost_sockets: Path
    """Folder of the pod hosts' Unix sockets, `podhost-<generation>.sock`: one host as a rule, and
    more while new code replaces old."""

    control_address: str
    """host:port of control."""

    storage_address: str
    """host:port of storage, as pods are to dial it."""

    listen_host: str = "127.0.0.1"
    listen_port: int = 0
    """0 takes a free one."""

    metrics_port: int = 0
    """0 takes a free one; served on `listen_host`."""

    warm_pods: int = 2
    """Unstamped pods kept ready, at the least."""

    warm_pods_max: int = 16
    """As many at the most, when many tenants wake."""

    warm_age_seconds: float = 3600.0
    """Unstamped pods older than this are replaced."""

    pods_max: int = 256
    """Pods of all tenants, warm ones included."""

    pods_per_tenant_min: int = 0
    """Pods of a tenant that has no number of its own, even without a session."""

    pods_per_tenant_max: int = 4
    """At the most, of a tenant that has no number of its own: each can use a core."""

    scale: ScalePolicy = field(default_factory=ScalePolicy)
    """The constants of how many pods a load needs; docs/autoscaler.md weighs them."""

    idle_timeout_seconds: float = 300.0
    """Without a statement for so long a tenant sleeps, unless it has a time of its own."""

    drain_seconds: float = 600.0
    """How long a pod that is not needed any more waits for its last session to move or to end."""

    replacements_max: int = 4
    """Tenants whose pods of older code are replaced at a time."""

    refills_max: int = 1
    """Pods started at once while no tenant waits: they must not starve who is running."""

    wake_timeout_seconds: float = 15.0
    """From the call until a wake fails, over all its attempts."""

    stamp_timeout_seconds: float = 3.0
    """Until a pod that does not answer its stamp is replaced by another."""

    wakes_max: int = 1000
    """Tenants that may be waking at once; more are turned away."""

    ready_timeout_seconds: float = 20.0
    """How long to wait for a full warm pool before answering without one."""
