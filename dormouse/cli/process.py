"""One run of one role: started, ready, ended.

A role inherits the listening sockets it was given, writes one JSON line to a pipe when it answers
(dormouse.base.role), and logs to another pipe. It is in a session of its own, so that Ctrl-C in
the terminal reaches the supervisor alone, and the kernel kills it when the supervisor dies.

A role that is started *held* imports everything and waits for the word to go on: a successor that
stands by while its predecessor still runs.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dormouse.base import tasks
from dormouse.cli.logfile import LogFile

_PR_SET_PDEATHSIG = 1
_READY_LINE_BYTES_MAX = 64 << 10
_LIBC = ctypes.CDLL(None, use_errno=True)


class NotReady(Exception):
    """The role ended, or took too long, before it answered."""


class RoleProcess:
    """A running role; made by `start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        ready_pipe: tuple[asyncio.StreamReader, asyncio.BaseTransport],
        copying: asyncio.Task[None],
        log_transport: asyncio.BaseTransport,
        hold_fd: int | None,
    ) -> None:
        self._process = process
        self._hold_fd = hold_fd
        self._has_answered = False
        self._ready, self._ready_transport = ready_pipe
        self._copying = copying
        self._log_transport = log_transport

    @classmethod
    async def start(
        cls,
        module: str,
        config: Path,
        *,
        pass_fds: Sequence[int],
        log: LogFile,
        cwd: Path,
        arguments: Sequence[str] = (),
        held: bool = False,
    ) -> "RoleProcess":
        """Start `python -m module`; raises OSError where that is impossible."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            ready_read, ready_write = _pipe(ours, theirs)
            log_read, log_write = _pipe(ours, theirs)
            hold_write = None
            fds = [*pass_fds, ready_write]
            words = ["--config", str(config), "--ready-fd", str(ready_write), *arguments]
            if held:
                hold_read, hold_write = _pipe(theirs, ours)
                fds.append(hold_read)
                words += ["--hold-fd", str(hold_read)]
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a folder `storage` where the user happens to be is not ours
                *("-m", module, *words),
                stdin=subprocess.DEVNULL,
                stdout=log_write,
                stderr=log_write,
                pass_fds=fds,
                start_new_session=True,
                cwd=cwd,
                preexec_fn=_die_with(os.getpid()),
            )
            ours.pop_all()
        log_stream, log_transport = await _reader(log_read)
        copying = tasks.spawn(log.copy(log_stream), name=f"log of {module}")
        return cls(process, await _reader(ready_read), copying, log_transport, hold_write)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def standby(self, timeout_seconds: float) -> None:
        """Wait until a held role has nothing left to do but to serve. Raises NotReady."""
        await self._line(timeout_seconds)

    def go_on(self) -> None:
        """Let a held role serve."""
        if self._hold_fd is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended, as `ready` will tell
                os.write(self._hold_fd, b"g")
            self._let_go()

    async def ready(self, timeout_seconds: float) -> dict[str, Any]:
        """Wait until the role answers; what it reported. Raises NotReady."""
        try:
            report = await self._line(timeout_seconds)
        finally:
            self._ready_transport.close()
        self._has_answered = True
        return report

    async def _line(self, timeout_seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(timeout_seconds):
                line = await self._ready.readline()
        except TimeoutError:
            raise NotReady(f"did not answer within {timeout_seconds:g} s") from None
        if not line.endswith(b"\n"):
            raise NotReady("ended before it answered")
        report: dict[str, Any] = json.loads(line)
        return report

    async def ended(self) -> int:
        """Wait for the end; the exit code, or minus the signal number."""
        code = await self._process.wait()
        # What is left in the pipe is the reason. Orphans of the role may still hold it open.
        done, _ = await asyncio.wait({self._copying}, timeout=0.5)
        if not done:
            await tasks.cancel(self._copying)
        self._log_transport.close()
        self._ready_transport.close()
        self._let_go()
        return code

    async def stop(self, grace_seconds: float) -> None:
        """Have it end now, and SIGKILL it if it has not in time.

        SIGINT ends every role at once, where SIGTERM may mean to finish the work first; one that
        has not come so far as to handle signals is ended by SIGTERM without a trace in its log.
        """
        self.signal(signal.SIGINT if self._has_answered else signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                await self._process.wait()
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the role has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    def _let_go(self) -> None:
        if self._hold_fd is not None:
            os.close(self._hold_fd)
            self._hold_fd = None


def _die_with(parent: int) -> Any:
    """Run in the child before its program: the kernel kills it with its parent."""

    def arrange() -> None:
        if sys.platform == "linux":
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it died in between
                os._exit(1)

    return arrange


def _pipe(of_reader: contextlib.ExitStack, of_writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe, whose two ends are closed with the stacks."""
    reader, writer = os.pipe()
    of_reader.callback(os.close, reader)
    of_writer.callback(os.close, writer)
    return reader, writer


async def _reader(descriptor: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    stream = asyncio.StreamReader(limit=_READY_LINE_BYTES_MAX)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", buffering=0)
    )
    return stream, transport
