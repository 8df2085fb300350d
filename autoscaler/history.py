"""What was decided lately, and on what grounds: kept for a while, also of tenants that sleep.

Bounded twice: so many decisions of a tenant, so many tenants. The tenant whose last decision is the
oldest is forgotten first. Each decision is also one line of the log.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.actions import Why
from autoscaler.metrics import DECISIONS
from autoscaler.pods import Pod
from dormouse.base.clock import Clock
from dormouse.base.ids import TenantId

DECISIONS_MAX = 32
TENANTS_MAX = 5000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about one tenant."""

    at_unix_ms: int
    action: str
    reason: str
    """For people."""
    inputs: Mapping[str, str]


class History:
    """The latest decisions by tenant."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tenants: OrderedDict[TenantId, deque[Decision]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<History tenants={len(self._tenants)}>"

    def note(
        self,
        tenant: TenantId,
        action: str,
        reason: str,
        inputs: Mapping[str, str] | None = None,
    ) -> None:
        """`action` was decided on; it labels a metric, so there are only so many words for it."""
        known = dict(inputs or {})
        at = self._clock.wall_ns() // 1_000_000
        ring = self._tenants.setdefault(tenant, deque(maxlen=DECISIONS_MAX))
        ring.append(Decision(at, action, reason, known))
        self._tenants.move_to_end(tenant)
        if len(self._tenants) > TENANTS_MAX:
            self._tenants.popitem(last=False)
        DECISIONS.labels(action).inc()
        fields = {"tenant": tenant, "action": action, "reason": reason, "inputs": known}
        _log.info("decision", extra=fields)

    def explain(
        self, tenant: TenantId | None, action: str, why: Why, pod: Pod | None = None
    ) -> None:
        """Note a decision about a tenant's pod, or all of them; nobody's pods have no history."""
        if tenant is not None:
            inputs = {**why.inputs, "pod": pod.key} if pod is not None else why.inputs
            self.note(tenant, action, why.reason, inputs)

    def of(self, tenant: TenantId, most: int = 0) -> list[Decision]:
        """The tenant's decisions, newest first; `most` of them, or all for 0."""
        ring = list(reversed(self._tenants.get(tenant, ())))
        return ring[:most] if most else ring
