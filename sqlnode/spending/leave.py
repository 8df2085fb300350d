"""What a pod may use without asking, as control has told it, and the kinds of statements.

Amounts are millionths of a request unit; see proto/control.proto, SpendLeave.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum

from proto.control_pb2 import SpendLeave


class State(IntEnum):
    """What the pod's statements may do; the numbers are those of the message."""

    FREE = 0
    OPEN = 1
    THROTTLED = 2
    STOPPED = 3


class Kind(Enum):
    """What a statement does, as far as a spend limit cares."""

    SESSION = "session"
    """Its own session and transaction only: SET, BEGIN, COMMIT, DEALLOCATE, CLOSE."""
    READ = "read"
    REMOVE = "remove"
    """DELETE, TRUNCATE, DROP."""
    WRITE = "write"
    """Whatever else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """A leave to spend."""

    state: State = State.FREE
    ceiling: int = 0
    """Of OPEN: a sum since the pod's stamp."""
    per_second: int = 0
    limit: str = ""
    """For people."""
    resets_at: int = 0
    """Unix seconds; 0: not told."""
    percent: int = 0
    number: int = 0
    slows: bool = False
    """Of OPEN: statements wait at the ceiling instead of being refused."""

    @classmethod
    def of_message(cls, message: SpendLeave) -> "Leave":
        """A state this version does not know is an open one: the ceiling still holds."""
        known = message.state in list(map(int, State))
        return cls(
            state=State(message.state) if known else State.OPEN,
            ceiling=message.ceiling_micro_units,
            per_second=message.rate_micro_units,
            limit=message.limit,
            resets_at=message.resets_at_unix,
            percent=message.percent,
            number=message.number,
            slows=message.slows,
        )


FREE = Leave()
