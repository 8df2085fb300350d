"""A session's side of its link to the proxy (pgwire.link): checkpoints ahead, give-aways on demand.

    … CommandComplete │ checkpoint │ ReadyForQuery(I)          only where something has changed
    … anything        │ refused    │ …                         wherever a give-away was found
    … ReadyForQuery(I)│ given away │ end of connection         nothing open, nothing waiting

Whether anything has changed is asked before every ReadyForQuery outside a transaction, so it is a
comparison of three counters; only when one differs is the state itself compared, and only when that
differs is it written and sealed. A checkpoint is made anew, too, when half its validity is over.
"""

import logging
from collections.abc import Mapping

from pgwire.link import (
    SEALED_BYTES_MAX,
    Checkpoint,
    GivenAway,
    Held,
    Link,
    Purpose,
    Refused,
)
from pgwire.states import State
from sqlnode.session import moving
from sqlnode.session.session import Session

_BUSY: Mapping[State, str] = {
    State.EXTENDED: "a pipeline is open",
    State.SKIPPING: "a pipeline has failed and waits for its end",
    State.COPY_IN: "a COPY is running",
    State.COPY_IN_EXTENDED: "a COPY is running",
}

_log = logging.getLogger(__name__)


class LinkedSession:
    """Speaks to the proxy on behalf of one session."""

    def __init__(self, session: Session, link: Link) -> None:
        self._session = session
        self._link = link
        self._missing = moving.missing_reason(session)
        self._generation = -1
        self._changes = -1
        self._lasting = ""
        self._changed: Mapping[str, str] = {}
        self._renew_micros = 0
        self._told: str | None = None
        """The reason of the last `held`, empty after a checkpoint, None before the first of both.
        """

    # --- checkpoints -------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Push what has changed since the last push, if anything: between transactions only."""
        session = self._session
        if (
            session.settings.generation == self._generation
            and session.statements.changes == self._changes
            and moving.lasting_reason(session) == self._lasting
            and session.context.statement_micros() < self._renew_micros
        ):
            return
        self._look()

    def _look(self) -> None:
        session = self._session
        settings, statements = session.settings, session.statements
        changed, now = settings.changed(), session.context.clock_micros()
        outdated = now >= self._renew_micros
        if outdated:
            self._renew_micros = now + int(session.tenant.limits.park_seconds * 500_000)
        same = (
            self._told == ""
            and statements.changes == self._changes
            and changed == self._changed
            and not outdated
        )
        self._generation, self._changes = settings.generation, statements.changes
        self._lasting, self._changed = moving.lasting_reason(session), changed
        reason = self._missing or self._lasting
        if not reason and not same:
            reason = self._push()
        if reason and reason != self._told:
            self._told = reason
            session.connection.send_private(Held(reason).build())

    def _push(self) -> str:
        """Send a checkpoint; why not, where there can be none."""
        session = self._session
        bytes_max = session.tenant.limits.checkpoint_bytes_max
        sealed = moving.seal(session, None, bytes_max=bytes_max)
        if sealed is None:
            return moving.TOO_MUCH
        self._told = ""
        session.connection.send_private(Checkpoint(sealed).build())
        return ""

    # --- give-aways --------------------------------------------------------------------------

    def give_away(self, body: bytes, state: State) -> bool:
        """Answer a give-away frame at once. True: the session is no longer this pod's.

        Raises ProtocolViolation where the frame does not show the link's secret.
        """
        purpose = self._link.purpose_of(body)
        answer = self._given(purpose, state)
        self._session.connection.send_private(answer.build())
        self._session.connection.flush()
        if isinstance(answer, Refused):
            _log.info("session kept", extra={"purpose": purpose.name, "reason": answer.reason})
            return False
        _log.info("session given away", extra={"purpose": purpose.name, "sealed": repr(answer)})
        return True

    def _given(self, purpose: Purpose, state: State) -> GivenAway | Refused:
        session = self._session
        reason = _BUSY.get(state, "")
        if not reason and session.transactions.active:
            reason = "a transaction is open"
        reason = reason or self._missing or moving.lasting_reason(session)
        if not reason and session.connection.buffered:
            # They would be lost: a proxy holds them back until it has the answer.
            reason = "messages wait behind the question"
        if reason:
            return Refused(reason)
        if session.busy:  # the question came with the last statement: the client waits from now on
            session.waits_since = session.tenant.clock.monotonic()
        sealed = moving.seal(session, purpose, bytes_max=SEALED_BYTES_MAX)
        return Refused(moving.TOO_MUCH) if sealed is None else GivenAway(sealed)
