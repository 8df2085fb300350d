"""What clients are told of a spend limit: errors in PostgreSQL's style, and the notice at login."""

import math
from datetime import UTC, datetime

from dormouse.base.errors import Blame
from dormouse.base.ids import TenantId
from pgwire.notices import Notice
from sqlnode.errors import SqlError
from sqlnode.spending.leave import Leave, State

SQLSTATE = "53400"
"""configuration_limit_exceeded"""
TOLD_FROM_PERCENT = 50
_OF_ORGANISATION = "the organisation's "
_REACHED = {
    State.STOPPED: "spend limit reached: data can be read and deleted, slowly",
    State.THROTTLED: "spend limit reached: statements are slowed down",
}


def stopped(leave: Leave, tenant: TenantId) -> SqlError:
    """A statement that neither reads nor deletes, while the pod is stopped."""
    hint = (
        f"{_how_to_raise(leave, tenant)} SELECT, COPY TO, DELETE, TRUNCATE and DROP go on slowly."
    )
    return _error("spend limit reached", _the_limit(leave), hint)


def trickled(leave: Leave, tenant: TenantId, seconds: float) -> SqlError:
    """One that may go on, but for which there is nothing in the bucket now."""
    whole = math.ceil(min(seconds, 3600.0))
    when = "later" if seconds == math.inf else f"in {whole} second{'s' * (whole != 1)}"
    hint = f"Try again {when}: data are read and deleted slowly now. {_how_to_raise(leave, tenant)}"
    return _error("spend limit reached", _the_limit(leave), hint)


def used_up(leave: Leave, tenant: TenantId) -> SqlError:
    """One that finds the ceiling reached: all that this pod was given is used."""
    detail = f"{_the_limit(leave)} What was left of it is used, or set aside for other pods."
    return _error("spend limit reached", detail, _how_to_raise(leave, tenant))


def at_login(leave: Leave, tenant: TenantId) -> Notice | None:
    """What a client is told when it logs in; None where there is nothing to tell."""
    if leave.percent < TOLD_FROM_PERCENT:
        return None
    text = _REACHED.get(leave.state)
    if text is None:
        reached = leave.percent >= 100
        text = "spend limit reached" if reached else f"{leave.percent}% of the spend limit is used"
    return Notice("NOTICE", "00000", text, _the_limit(leave), _how_to_raise(leave, tenant))


def _error(message: str, detail: str, hint: str) -> SqlError:
    error = SqlError(SQLSTATE, message, detail=detail, hint=hint)
    error.blame = Blame.LIMIT
    return error


def _the_limit(leave: Leave) -> str:
    text = f"The limit is {leave.limit}"
    if leave.resets_at:
        at = datetime.fromtimestamp(leave.resets_at, UTC)
        text += f"; the next month begins at {at:%Y-%m-%d %H:%M:%S}+00"
    return f"{text}."


def _how_to_raise(leave: Leave, tenant: TenantId) -> str:
    owner = f"tenants/{tenant}"
    if leave.limit.startswith(_OF_ORGANISATION):
        owner = "organisations/{id}"
    return f'Raise it with "dormouse limit set" or PUT /v1/{owner}/spend-limit.'
