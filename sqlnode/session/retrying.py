"""When a statement is begun anew that met 40001 and of which its client has heard nothing.

a conflict with others' rows   after a random pause: those that met should not meet again
storage's stream is lost       after a pause that doubles, for storage may be starting

The pause after a conflict is measured in attempts, as on an Ethernet it is in slots: one that is
short beside what an attempt takes spreads nobody, and on a slow machine an attempt takes long.
"""

import random
import time
from collections.abc import Callable

from prometheus_client import Counter

from dormouse.base.errors import Blame
from dormouse.base.metrics import REGISTRY
from sqlnode.errors import SqlError
from sqlnode.sqlstate import SERIALIZATION_FAILURE

CONFLICTS_MAX = 20
LOST_MAX = 5
_ATTEMPT_SECONDS_MIN, _ATTEMPT_SECONDS_MAX = 0.001, 0.05
"""What an attempt counts for: what takes longer has waited for others, who are gone now. A pause is
random, of one attempt for each conflict at most: of a second, where all of them take long."""
_LOST_SECONDS = 0.1
"""The first time."""

STATEMENT_RETRIES = Counter(
    "dormouse_pod_statement_retries_total",
    "Statements begun anew because of a conflict that their client was not told of.",
    registry=REGISTRY,
)
STATEMENTS_OVERTAKEN = Counter(
    "dormouse_pod_statements_overtaken_total",
    "Statements planned anew because the schema had changed since.",
    registry=REGISTRY,
)


class Retries:
    """How often one statement was begun anew so far. `now` gives seconds."""

    __slots__ = ("_begun", "_conflicts", "_lost", "_now")

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._conflicts = self._lost = 0
        self._now = now
        self._begun = now()

    def pause(self, error: SqlError) -> float:
        """Seconds to wait before the next time. Raises `error` where there is none."""
        if not error.retryable or error.sqlstate != SERIALIZATION_FAILURE:
            raise error
        now = self._now()
        if error.blame is Blame.STORAGE:
            self._lost += 1
            seconds = _LOST_SECONDS * 2.0 ** (self._lost - 1)
        else:
            self._conflicts += 1
            took = min(max(now - self._begun, _ATTEMPT_SECONDS_MIN), _ATTEMPT_SECONDS_MAX)
            seconds = random.uniform(0, self._conflicts * took)
        if self._lost > LOST_MAX or self._conflicts > CONFLICTS_MAX:
            raise error
        STATEMENT_RETRIES.inc()
        self._begun = now + seconds
        return seconds
