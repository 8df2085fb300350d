"""The pod host's loop: one thread, one selector, no asyncio, no gRPC object: it may fork.

    wake-up descriptor ──▶ SIGTERM: end the pods, then itself    SIGCHLD: reap
    listener           ──▶ a new autoscaler replaces the old one and gets the hello
    link               ──▶ ForkPod, KillPod, Retire
    report descriptors ──▶ a pod's address: PodStarted

A host that has retired forks no more, and ends when its last pod has. It says so in a hello, which
is the acknowledgement, and again to every new autoscaler.

A pod that ends before it reported is a failed fork; one that ends later is a PodEnded. Tickets
belong to a connection: when a new one comes, the pods still being born lose theirs.
"""

import functools
import logging
import os
import selectors
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dormouse.base.clock import Clock
from proto.podhost_pb2 import (
    ForkFailed,
    ForkPod,
    HostCommand,
    HostEvent,
    HostHello,
    PodEnded,
    PodStarted,
)
from sqlnode.confinement import Confinement
from sqlnode.podhost_child import RunPod, fork_pod
from sqlnode.podhost_link import Link

PROTOCOL_VERSION = 1
_REPORT_BYTES_MAX = 256

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Child:
    pid: int
    ticket: int
    report_fd: int | None
    deadline: float
    report: bytes = b""
    address: str | None = None
    group: Path | None = None

    def started(self, ticket: int) -> PodStarted:
        return PodStarted(ticket=ticket, pid=self.pid, control_address=self.address or "")


class PodHost:
    """Forks pods on command and says what becomes of them. `serve` runs it to its end."""

    def __init__(
        self,
        listener: socket.socket,
        run_pod: RunPod,
        clock: Clock,
        confinement: Confinement,
        *,
        generation: int,
        pods_max: int,
        start_timeout_seconds: float,
        stop_timeout_seconds: float,
    ) -> None:
        self._listener = listener
        self._run_pod = run_pod
        self._clock = clock
        self._confinement = confinement
        self._generation = generation
        self._pods_max = pods_max
        self._start_timeout = start_timeout_seconds
        self._stop_timeout = stop_timeout_seconds
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._signals = socket.socketpair()
        self._children: dict[int, _Child] = {}
        self._link: Link | None = None
        self._retired = False
        self._stop_deadline: float | None = None

    def __repr__(self) -> str:
        born = sum(child.address is not None for child in self._children.values())
        state = f"pods={born} starting={len(self._children) - born} link={self._link}"
        return f"<PodHost {self._generation} {'retired ' if self._retired else ''}{state}>"

    def serve(self, ready: Callable[[], None]) -> None:
        """Run until SIGTERM, SIGINT or Retire, and the end of every pod."""
        self._watch_signals()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        ready()
        while self._children or not self._is_ending:
            for key, _mask in self._selector.select(self._patience()):
                # An earlier callback of the same round may have closed this one.
                if self._selector.get_map().get(key.fd) is key:
                    key.data()
            self._kill_late_pods()
        self._close()

    @property
    def _is_ending(self) -> bool:
        return self._retired or self._stop_deadline is not None

    def _watch_signals(self) -> None:
        for end in (self._wakeup, self._signals):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._on_signal)
        signal.set_wakeup_fd(self._signals.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, _noted_by_wakeup_fd)

    def _on_signal(self) -> None:
        numbers = self._wakeup.recv(4096)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._stop()
        self._reap()

    def _stop(self) -> None:
        if self._stop_deadline is not None:
            return
        _log.info("ending", extra={"pods": len(self._children)})
        self._stop_deadline = self._clock.monotonic() + self._stop_timeout
        for pid in self._children:
            os.kill(pid, signal.SIGTERM)

    def _patience(self) -> float | None:
        deadlines = [child.deadline for child in self._children.values() if child.address is None]
        if self._stop_deadline is not None:
            deadlines.append(self._stop_deadline)
        if not deadlines:
            return None
        return max(0.0, min(deadlines) - self._clock.monotonic())

    def _kill_late_pods(self) -> None:
        now = self._clock.monotonic()
        stopping = self._stop_deadline is not None and now >= self._stop_deadline
        for child in self._children.values():
            if stopping or (child.address is None and now >= child.deadline):
                # Not reaped yet, so the pid is still its own. Asked again in a second if need be.
                os.kill(child.pid, signal.SIGKILL)
                child.deadline = now + 1.0
        if stopping:
            self._stop_deadline = now + 1.0

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        self._drop_link()
        self._link = Link(peer)
        self._selector.register(peer, selectors.EVENT_READ, self._on_link)
        for child in self._children.values():
            child.ticket = 0
        self._greet()

    def _greet(self) -> None:
        living = [each.started(0) for each in self._children.values() if each.address is not None]
        hello = HostHello(
            protocol_version=PROTOCOL_VERSION,
            generation=self._generation,
            retired=self._retired,
            living=living,
        )
        self._send(HostEvent(hello=hello))

    def _on_link(self) -> None:
        link = self._link
        if link is None:
            return
        commands = link.receive() if link.flush() else None
        if commands is None:
            self._drop_link()
            return
        for command in commands:
            self._obey(command)
        self._watch_link()

    def _obey(self, command: HostCommand) -> None:
        if command.HasField("fork"):
            self._fork(command.fork)
        elif command.HasField("kill") and command.kill.pid in self._children:
            os.kill(command.kill.pid, signal.SIGKILL)
        elif command.HasField("retire"):
            self._retire()

    def _retire(self) -> None:
        if not self._retired:
            _log.info("retired", extra={"pods": len(self._children)})
        self._retired = True
        self._greet()

    def _fork(self, command: ForkPod) -> None:
        ticket = command.ticket
        if self._is_ending or len(self._children) >= self._pods_max:
            reason = "host is ending" if self._is_ending else "pod limit reached"
            self._send(HostEvent(failed=ForkFailed(ticket=ticket, reason=reason)))
            return
        group = self._confinement.open()
        confine = functools.partial(self._confinement.enter, group, urgent=command.urgent)
        try:
            pid, report_fd = fork_pod(self._run_pod, self._close, confine)
        except OSError as error:
            self._confinement.close(group)
            _log.warning("fork refused", exc_info=error)
            self._send(HostEvent(failed=ForkFailed(ticket=ticket, reason=str(error))))
            return
        deadline = self._clock.monotonic() + self._start_timeout
        child = self._children[pid] = _Child(pid, ticket, report_fd, deadline, group=group)
        self._selector.register(report_fd, selectors.EVENT_READ, lambda: self._on_report(child))

    def _on_report(self, child: _Child) -> None:
        if not self._read_report(child):
            return
        self._end_report(child)
        if child.address is None:
            os.kill(child.pid, signal.SIGKILL)  # reaping tells the rest
        else:
            self._send(HostEvent(started=child.started(child.ticket)))

    def _read_report(self, child: _Child) -> bool:
        """Whether all has been read; `child.address` is then set, or the report is none."""
        if child.report_fd is None:
            return False
        data = os.read(child.report_fd, _REPORT_BYTES_MAX)
        child.report += data
        address, newline, _ = child.report.partition(b"\n")
        if newline:
            child.address = address.decode("ascii", "replace")
        return bool(newline) or not data or len(child.report) > _REPORT_BYTES_MAX

    def _end_report(self, child: _Child) -> None:
        if child.report_fd is not None:
            self._selector.unregister(child.report_fd)
            os.close(child.report_fd)
            child.report_fd = None

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: _Child, status: int) -> None:
        reported_last = child.address is None and self._read_report(child)
        if reported_last and child.address is not None:  # and died in the same moment
            self._send(HostEvent(started=child.started(child.ticket)))
        self._end_report(child)
        del self._children[child.pid]
        self._confinement.close(child.group)
        _log.info("pod ended", extra={"pid": child.pid, "status": status})
        if child.address is not None:
            self._send(HostEvent(ended=PodEnded(pid=child.pid, status=status)))
        elif child.ticket:
            reason = f"ended with status {status} before it answered"
            self._send(HostEvent(failed=ForkFailed(ticket=child.ticket, reason=reason)))

    def _send(self, event: HostEvent) -> None:
        if self._link is not None and not self._link.send(event):
            self._drop_link()
        self._watch_link()

    def _watch_link(self) -> None:
        if self._link is not None:
            events = selectors.EVENT_READ
            if self._link.has_unsent:
                events |= selectors.EVENT_WRITE
            self._selector.modify(self._link.socket, events, self._on_link)

    def _drop_link(self) -> None:
        if self._link is not None:
            self._selector.unregister(self._link.socket)
            self._link.close()
            self._link = None

    def _close(self) -> None:
        """Close everything the host has open; also what a fresh child does first."""
        self._selector.close()
        self._listener.close()
        self._wakeup.close()
        self._signals.close()
        if self._link is not None:
            self._link.close()
        for child in self._children.values():
            if child.report_fd is not None:
                os.close(child.report_fd)
                child.report_fd = None


def _noted_by_wakeup_fd(_number: int, _frame: FrameType | None) -> None:
    """Python writes the signal's number to the wake-up descriptor; the loop does the rest."""
