"""The fork, and the first microseconds of a pod's life.

What a child must not keep from its parent: open descriptors (a pod that held the host's listening
socket would answer for it), signal handlers and the wake-up descriptor, the state of `random`, the
process group (Ctrl-C in a terminal is the supervisor's business), and life itself once the host is
dead. Signals stay blocked from before the fork until the child has its own handlers, so that a
SIGTERM meant for the host never runs the host's handler in a pod.
"""

import ctypes
import gc
import logging
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from dormouse.base import logs

RunPod = Callable[[Callable[[str], None]], None]
"""Runs a pod to its end; calls its argument with `host:port` once the control port answers."""

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_RESET = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_libc = ctypes.CDLL(None, use_errno=True)


def freeze() -> None:
    """Make this process fit to fork. Raises RuntimeError where an import has started a thread."""
    if threading.active_count() > 1:
        raise RuntimeError(f"threads before the first fork: {threading.enumerate()}")
    gc.collect()
    gc.disable()  # a collection between forks would unshare what it walks over
    gc.freeze()


def fork_pod(
    run_pod: RunPod, close_inherited: Callable[[], None], confine: Callable[[], None]
) -> tuple[int, int]:
    """Fork a pod; returns its pid and the descriptor its address can be read from.

    `confine` runs first of all in the child, so that limits and priorities hold from the start.
    `close_inherited` runs in the child and closes the objects that own descriptors; closing bare
    numbers behind their backs would let a late destructor close one of the pod's own sockets.
    Raises OSError where the machine refuses.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    host = os.getpid()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _RESET)
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise
    if pid == 0:
        _be_pod(run_pod, close_inherited, confine, host, writer)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.close(writer)
    os.set_blocking(reader, False)
    return pid, reader


def _be_pod(
    run_pod: RunPod,
    close_inherited: Callable[[], None],
    confine: Callable[[], None],
    host: int,
    writer: int,
) -> NoReturn:
    status = 1
    try:
        confine()
        _die_with(host)
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        close_inherited()
        _close_all_but(writer)
        random.seed()
        gc.enable()
        logs.configure("pod", os.environ.get("DORMOUSE_LOG_LEVEL", "info"))

        def report(address: str) -> None:
            os.write(writer, address.encode("ascii") + b"\n")
            os.close(writer)

        run_pod(report)
        status = 0
    except BaseException:  # noqa: BLE001 - the last frame of the process: logged, and status 1
        _log.exception("pod died")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not sys.exit: the host's frames and exit handlers are below and are not the pod's.
        os._exit(status)


def _die_with(host: int) -> None:
    if sys.platform == "linux" and _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != host:  # it died before the call
        os._exit(1)


def _close_all_but(kept: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))
