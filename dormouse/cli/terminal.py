"""A terminal taken over for a while: a screen of its own, keys one by one, given back on any exit.

                 ┌── keys                                    leaves by: the end of the block,
    take ─▶ wait ┼── a change of size      ─▶ draw ─▶ wait   an exception, Ctrl-C, SIGTERM,
                 └── `wake` of any thread                    SIGHUP, Ctrl-Z (and comes back)

Plain ANSI and the standard library; what is asked of the terminal every emulator of the last
thirty years can do.
"""

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

# A screen of our own, no cursor, and no wrapping: a line that is too long is cut, not two lines.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_KEYS = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1bOH": "home",
    b"\x1b[1~": "home",
    b"\x1b[F": "end",
    b"\x1bOF": "end",
    b"\x1b[4~": "end",
}
_READ_BYTES = 64
ENDED = "ended"
"""The key that stands for the end of the terminal itself."""


def is_fit() -> bool:
    """Whether standard output is a terminal that can be drawn on."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Terminal:
    """Standard output, and standard input if that is a terminal too. A context manager.

    Only the main thread may enter it, and one at a time: it handles signals.
    """

    def __init__(self) -> None:
        self._out = sys.stdout.buffer
        self._in = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._saved: list[Any] = []
        self._handlers: dict[signal.Signals, Any] = {}
        self._woken, self._waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._is_open = True
        # A signal may come while this thread holds it, and its handler wakes too.
        self._lock = threading.RLock()

    def __enter__(self) -> "Terminal":
        if self._in is not None:
            self._saved = termios.tcgetattr(self._in)
        for number, handler in (
            (signal.SIGWINCH, self._on_resize),
            (signal.SIGINT, signal.default_int_handler),
            (signal.SIGTERM, self._on_end),
            (signal.SIGHUP, self._on_end),
            (signal.SIGTSTP, self._on_stop),
        ):
            self._handlers[number] = signal.signal(number, handler)
        try:
            self._take()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for number in self._handlers:  # nothing may come between
            signal.signal(number, signal.SIG_IGN)
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        with self._lock:
            self._is_open = False
            os.close(self._woken)
            os.close(self._waking)

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        with contextlib.suppress(OSError):
            found = os.get_terminal_size(self._out.fileno())
            if found.columns and found.lines:
                return found.columns, found.lines
        return 80, 24

    def draw(self, lines: Sequence[str]) -> None:
        """Replace what is on the screen; in one write, so that nothing flickers."""
        text = "\x1b[H" + "\r\n".join(f"{line}\x1b[0m\x1b[K" for line in lines) + "\x1b[J"
        self._write(text)

    def wake(self) -> None:
        """Let `wait` return; any thread may call it."""
        # A full pipe wakes as well.
        with self._lock, contextlib.suppress(BlockingIOError):
            if self._is_open:
                os.write(self._waking, b"!")

    def wait(self, seconds: float | None = None) -> list[str]:
        """The keys pressed, as soon as there are any; none after `seconds`, or when woken."""
        sources = [self._woken] if self._in is None else [self._woken, self._in]
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, _READ_BYTES)
        if self._in is None or self._in not in ready:
            return []
        try:
            data = os.read(self._in, _READ_BYTES)
        except OSError:
            data = b""
        return list(split_keys(data)) if data else [ENDED]

    def _take(self) -> None:
        if self._in is not None:
            # Keys at once and unseen; Ctrl-C and Ctrl-Z stay signals.
            tty.setcbreak(self._in, termios.TCSADRAIN)
        self._write(_ENTER)

    def _give_back(self) -> None:
        # The terminal may be gone.
        with contextlib.suppress(OSError):
            self._write(_LEAVE)
        if self._in is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._in, termios.TCSADRAIN, self._saved)

    def _write(self, text: str) -> None:
        self._out.write(text.encode(sys.stdout.encoding or "utf-8", "replace"))
        self._out.flush()

    def _on_resize(self, _number: int, _frame: FrameType | None) -> None:
        self.wake()

    def _on_end(self, number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    def _on_stop(self, number: int, _frame: FrameType | None) -> None:
        self._give_back()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here it goes on in the foreground, perhaps much later and in another size.
        signal.signal(number, self._on_stop)
        self._take()
        self.wake()


def split_keys(data: bytes) -> Iterator[str]:
    """What was pressed: the names of known keys, single characters; other sequences are nothing."""
    while data:
        if name := next((name for name in _KEYS if data.startswith(name)), None):
            yield _KEYS[name]
            data = data[len(name) :]
        elif data[:1] == b"\x1b":
            return
        else:
            yield chr(data[0])
            data = data[1:]
