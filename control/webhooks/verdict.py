"""What an attempt means: for the delivery, and for the webhook it went to. Pure.

delivery   waiting ──2xx──▶ delivered
             │ ▲
        else │ └─ pause (backoff.py)
             └──── no time left ────▶ dead, until somebody asks for it again

webhook    failing since … ──2xx──▶ healthy
             └── days of nothing else, or 410 Gone ──▶ disabled, and an event says so
"""

from dataclasses import dataclass
from enum import StrEnum

from control.webhooks.backoff import endpoint_pause_seconds, pause_seconds

_FAILURES_MIN = 10
"""A webhook with fewer failures in a row is not disabled, however long they took."""

_GONE = 410


class Status(StrEnum):
    """How far a delivery is."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


class Disabled(StrEnum):
    """Why a webhook is disabled."""

    BY_REQUEST = "by_request"
    FAILING = "failing"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an attempt."""

    kind: str
    """A word for the metric: `delivered`, `refused`, `timeout`, `unreachable`, `not_allowed`,
    `broken`."""

    status: int | None = None
    """The HTTP status, if there was an answer."""

    error: str | None = None
    """A sentence for the webhook's owner; None: it arrived."""

    retry_after_seconds: float = 0.0
    seconds: float = 0.0

    @property
    def arrived(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class Health:
    """How a webhook has been doing."""

    failures: int = 0
    """In a row."""

    failing_since_ns: int | None = None
    """The first of them."""

    paused_until_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of both."""

    status: Status
    due_ns: int | None
    """The next attempt of a delivery that waits."""

    health: Health
    disabled: Disabled | None = None
    """The webhook is to be disabled, for this."""


def judge(
    outcome: Outcome,
    *,
    attempts: int,
    give_up_ns: int,
    health: Health,
    now_ns: int,
    disable_seconds: float,
    random: float,
) -> Verdict:
    """The verdict on an attempt, the `attempts`-th of its delivery, that ended now."""
    if outcome.arrived:
        return Verdict(status=Status.DELIVERED, due_ns=None, health=Health())
    pause = pause_seconds(attempts, random, retry_after=outcome.retry_after_seconds)
    due_ns = now_ns + int(pause * 1e9)
    after = _after_failure(health, now_ns)
    disabled = _disabling(outcome, after, now_ns, disable_seconds)
    if due_ns > give_up_ns:
        return Verdict(status=Status.DEAD, due_ns=None, health=after, disabled=disabled)
    return Verdict(status=Status.WAITING, due_ns=due_ns, health=after, disabled=disabled)


def _after_failure(health: Health, now_ns: int) -> Health:
    failures = health.failures + 1
    since_ns = health.failing_since_ns if health.failing_since_ns is not None else now_ns
    return Health(failures, since_ns, now_ns + int(endpoint_pause_seconds(failures) * 1e9))


def _disabling(
    outcome: Outcome, health: Health, now_ns: int, disable_seconds: float
) -> Disabled | None:
    if outcome.status == _GONE:
        return Disabled.GONE
    since_ns = health.failing_since_ns
    long_enough = since_ns is not None and now_ns - since_ns >= disable_seconds * 1e9
    if long_enough and health.failures >= _FAILURES_MIN:
        return Disabled.FAILING
    return None
