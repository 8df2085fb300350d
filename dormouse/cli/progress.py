"""A line that says how far a long command is: on a terminal alone, on standard error."""

import sys
import time
from types import TracebackType
from typing import Self

_EVERY_SECONDS = 0.2
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(size: float) -> str:
    """`12.3 MiB`."""
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} {_UNITS[-1]}"


class Progress:
    """Bytes of something; `total` where it is known."""

    def __init__(self, what: str, *, total: int | None = None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._began = self._shown = time.monotonic()
        self._is_seen = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_seen:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def add(self, size: int) -> None:
        """So many bytes more."""
        self._done += size
        now = time.monotonic()
        if not self._is_seen or now - self._shown < _EVERY_SECONDS:
            return
        self._shown = now
        rate = size_text(self._done / max(now - self._began, 0.001))
        part = f" of {size_text(self._total)}" if self._total is not None else ""
        sys.stderr.write(f"\r\033[K{self._what}: {size_text(self._done)}{part}, {rate}/s")
        sys.stderr.flush()
