"""Failures of the engine, for those who can do something about them: the operator's side of it.

    apply, read ──fails──▶ counted ──▶ logged, once in a while for each kind
          └─────works────▶ if writes failed before: said so

What clients are told is in storage/refusals.py. A disk that is full fails every write until
somebody makes room, thousands in a second; so each kind is logged once in ten seconds, and so is
that writes go through again.
"""

import logging

from dormouse.base.clock import Clock
from storage.engines.interface import EngineDamaged, EngineError
from storage.metrics import ENGINE_ERRORS, WRITES_FAILING

_log = logging.getLogger(__name__)
_LOG_SECONDS = 10.0


class Failures:
    """What has failed of one engine."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: EngineError | None = None
        self._logged: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}
        self.writes = ""
        """Why writes fail (`EngineError.kind`), if one has since the last commit."""

    def __repr__(self) -> str:
        return f"<Failures writes={self.writes!r} logged={list(self._logged)}>"

    def failed(self, error: EngineError) -> None:
        """A call of the engine has ended with this. Told again by everybody it was handed on to, it
        counts once."""
        if error is self._last:
            return
        self._last = error
        ENGINE_ERRORS.labels(error.kind).inc()
        if self._may_log(error.kind):
            more = self._unlogged.pop(error.kind, 0)
            extra = {"kind": error.kind, "more": more}
            _log.error("the engine failed", exc_info=error, extra=extra)
        else:
            self._unlogged[error.kind] = self._unlogged.get(error.kind, 0) + 1

    def write_failed(self, error: EngineError) -> None:
        """Likewise, and it was a write. Damage is in one place and says nothing of other writes."""
        self.failed(error)
        if self.writes != error.kind and not isinstance(error, EngineDamaged):
            self._set_writes(error.kind)

    def wrote(self) -> None:
        """A commit is durable."""
        if self.writes:
            if self._may_log("well"):
                _log.warning("writes go through again", extra={"kind": self.writes})
            self._set_writes("")

    def _may_log(self, what: str) -> bool:
        now = self._clock.monotonic()
        if now - self._logged.get(what, -_LOG_SECONDS) < _LOG_SECONDS:
            return False
        self._logged[what] = now
        return True

    def _set_writes(self, kind: str) -> None:
        if self.writes:
            WRITES_FAILING.labels(self.writes).set(0)
        if kind:
            WRITES_FAILING.labels(kind).set(1)
        self.writes = kind
