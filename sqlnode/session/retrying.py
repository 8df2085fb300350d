"""When a statement is begun anew that met 40001 and of which its client has heard nothing.

a conflict with others' rows   after a short random pause: those that met should not meet again
storage's stream is lost       after a pause that doubles, for storage may be starting
"""

import random

from prometheus_client import Counter

from dormouse.base.errors import Blame
from dormouse.base.metrics import REGISTRY
from sqlnode.errors import SqlError
from sqlnode.sqlstate import SERIALIZATION_FAILURE

CONFLICTS_MAX = 20
LOST_MAX = 5
_CONFLICT_SECONDS = 0.001
"""For each time before; the pause itself is random."""
_LOST_SECONDS = 0.1
"""The first time."""

STATEMENT_RETRIES = Counter(
    "dormouse_pod_statement_retries_total",
    "Statements begun anew because of a conflict that their client was not told of.",
    registry=REGISTRY,
)


class Retries:
    """How often one statement was begun anew so far."""

    __slots__ = ("_conflicts", "_lost")

    def __init__(self) -> None:
        self._conflicts = self._lost = 0

    def pause(self, error: SqlError) -> float:
        """Seconds to wait before the next time. Raises `error` where there is none."""
        if not error.retryable or error.sqlstate != SERIALIZATION_FAILURE:
            raise error
        if error.blame is Blame.STORAGE:
            self._lost += 1
            seconds = _LOST_SECONDS * 2.0 ** (self._lost - 1)
        else:
            self._conflicts += 1
            seconds = random.uniform(0, self._conflicts * _CONFLICT_SECONDS)
        if self._lost > LOST_MAX or self._conflicts > CONFLICTS_MAX:
            raise error
        STATEMENT_RETRIES.inc()
        return seconds
