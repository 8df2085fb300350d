"""What the machine grants a pod: its control group, its priority, its turn when memory runs out."""

import logging
from dataclasses import dataclass
from pathlib import Path

from sqlnode import priority
from sqlnode.cgroups import KernelFiles, Limits, PodGroups
from sqlnode.podhost_config import PodHostSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Confinement:
    """Opened before a fork, entered by the child, closed when the child has ended."""

    groups: PodGroups | None = None
    nice: int = 0
    oom_score: int = 0

    def open(self) -> Path | None:
        """Make the group of the next pod."""
        return self.groups.open() if self.groups is not None else None

    def enter(self, group: Path | None, *, urgent: bool) -> None:
        """Be confined; in the child. An urgent one keeps its priority: somebody waits for it."""
        if self.groups is not None and group is not None:
            self.groups.enter(group)
        priority.die_early(self.oom_score)
        if not urgent:
            priority.OWN.lower(self.nice)

    def close(self, group: Path | None) -> None:
        """The pod has ended."""
        if self.groups is not None and group is not None:
            self.groups.close(group)


def confinement(settings: PodHostSettings, host: int) -> Confinement:
    """What the settings ask for, as far as this process may have it; what it may not is logged."""
    nice = settings.warm_nice if priority.may_return_from(settings.warm_nice) else 0
    if nice != settings.warm_nice:
        reason = "this user may not raise a priority again"
        _log.info("warm pods have the priority of others", extra={"reason": reason})
    return Confinement(_groups(settings, host), nice, settings.oom_score)


def _groups(settings: PodHostSettings, host: int) -> PodGroups | None:
    if settings.pods_cgroup is None:
        return None
    limits = Limits(settings.pod_cpu_max_cores, settings.pod_memory_max_bytes)
    groups = PodGroups(KernelFiles(), settings.pods_cgroup, limits, host)
    try:
        groups.sweep()
    except OSError as error:
        _log.warning("pods are not limited", extra={"reason": str(error)})
        return None
    return groups
