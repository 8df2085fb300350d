"""Settings of the pod host."""

from dataclasses import dataclass
from pathlib import Path

from sqlnode.config import PodSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class PodHostSettings:
    """What the pod host is told at its start."""

    sockets: Path
    """Folder of the Unix socket the autoscaler connects to, `podhost-<generation>.sock`; it is made
    with mode 0600. Any length is fine. It belongs to pod hosts alone of one installation, which
    have different generations while new code replaces old."""

    pod: PodSettings
    """Handed to every pod as it is."""

    pods_max: int = 256
    """Living pods; a fork beyond it is refused."""

    start_timeout_seconds: float = 15.0
    """From the fork until the pod's control port answers; a slower pod is killed."""

    stop_timeout_seconds: float = 10.0
    """From SIGTERM until the pods that still live are killed."""

    warm_nice: int = 10
    """How much nicer a pod is until it is stamped, so that filling the pool takes nothing from
    tenants that run. Only where a process may take that back; 0: not at all."""

    oom_score: int = 500
    """Pods are killed before other roles when the machine has no memory left (oom_score_adj)."""

    pods_cgroup: Path | None = None
    """Where groups of pods can be made (see `sqlnode.cgroups`). None: pods are not limited."""

    pod_cpu_max_cores: float | None = None
    """Cores' worth of time that one pod may use."""

    pod_memory_max_bytes: int | None = None
    """Beyond it a pod is killed by the kernel."""
