"""What a fleet's day comes to under one rule, in figures that can be compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

from bench.simulation.life import Life, Sleep, ideal_pod_seconds, live
from bench.simulation.policies import RuleMaker
from bench.simulation.traces import DAY, Trace


@dataclass(slots=True)
class Total:
    """All tenants together; times in seconds."""

    tenants: int = 0
    days: float = 0.0
    requests: float = 0.0
    ideal_pod_seconds: float = 0.0
    wakes: int = 0
    pod_seconds: float = 0.0
    awake_seconds: float = 0.0
    busy_seconds: float = 0.0
    saturated_seconds: float = 0.0
    work: float = 0.0
    held_back: float = 0.0
    changes: int = 0
    claims: list[float] = field(default_factory=list)
    """Times when warm pods were taken, in order."""

    @property
    def figures(self) -> dict[str, float]:
        """By name, rounded for people; see `HEADINGS`."""
        return {
            "cold_per_tenant_day": round(self.wakes / self.tenants / self.days, 2),
            "cold_per_million_requests": round(self.wakes / max(self.requests, 1) * 1e6, 1),
            "pods_awake": round(self.pod_seconds / max(self.awake_seconds, 1), 3),
            "paid_to_ideal": round(self.pod_seconds / max(self.ideal_pod_seconds, 1), 2),
            "saturated_percent": round(100 * self.saturated_seconds / max(self.busy_seconds, 1), 3),
            "held_back_percent": round(100 * self.held_back / max(self.work, 1), 3),
            "changes_per_hour": round(3600 * self.changes / max(self.awake_seconds, 1), 2),
        }


HEADINGS = {
    "cold_per_tenant_day": "cold starts per tenant and day",
    "cold_per_million_requests": "per million requests",
    "pods_awake": "pods while awake",
    "paid_to_ideal": "paid to ideal",
    "saturated_percent": "saturated, % of busy time",
    "held_back_percent": "work held back, %",
    "changes_per_hour": "changes per awake hour",
}

_SUMMED = {each.name for each in fields(Life)} & {each.name for each in fields(Total)} - {"claims"}


def simulate(traces: Sequence[Trace], days: float, make_rule: RuleMaker, sleep: Sleep) -> Total:
    """Let all of them live their days under the rule."""
    total = Total(
        tenants=len(traces),
        days=days,
        requests=sum(trace.requests for trace in traces),
        ideal_pod_seconds=sum(map(ideal_pod_seconds, traces)),
    )
    _add(total, (live(trace, make_rule, sleep, days * DAY) for trace in traces))
    return total


def _add(total: Total, lives: Iterable[Life]) -> None:
    for life in lives:
        for name in _SUMMED:
            setattr(total, name, getattr(total, name) + getattr(life, name))
        total.claims += life.claims
    total.claims.sort()
