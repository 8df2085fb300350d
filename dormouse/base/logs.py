"""Structured logs: one JSON object a line, with the role and whatever ids the caller binds.

Secrets never come this far: a value logged under a name that sounds like one is masked as a second
line of defence.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_bound: ContextVar[dict[str, Any] | None] = ContextVar("log_fields", default=None)
_PLAIN = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {
    "message",
    "taskName",
}
_SECRET = ("password", "secret", "token", "api_key", "private_key", "session_key", "verifier")


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add `fields` (tenant, session …) to every line logged inside the block by this task."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self._role,
            "event": record.getMessage(),
            "logger": record.name,
            **(_bound.get() or {}),
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps({name: _masked(name, value) for name, value in line.items()}, default=str)


def _masked(name: str, value: Any) -> Any:
    return "***" if any(word in name.lower() for word in _SECRET) else value


def configure(role: str, level: str = "info") -> None:
    """Send this process's logs to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(role))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # At debug it writes every statement with its parameters, secrets among them.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
