"""What a thread asks of Linux's scheduler, beside other threads of its own process and machine.

A role answers from one event loop, and works in threads beside it. A thread that works without a
stop has its core for a slice (1.4 ms on two cores) before one that wakes on it may go on, and the
kernel seldom moves either of them in such a short time, though another core has nothing to do:

    core 0   loop ─▶ writes a commit ────────────── 1 ms ──────▶ loop: a millisecond late
    core 1        ─▶ (idle) ───────────────────────────────────▶

So who answers asks for short slices, which lets it go before who has a longer one (EEVDF, Linux
6.12; before that the kernel does not listen). And who works has long ones and, unless somebody
waits for just this work, says what it is (SCHED_BATCH): then its waking pushes nobody aside. None
of it takes a privilege. Slices are about who is next: how much time each has in the end stays the
same, but for who is nicer.
"""

import ctypes
import os
import platform
import struct

ANSWERING_SECONDS = 0.0001
"""The shortest slice that there is."""
WORKING_SECONDS = 0.003

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""glibc knows of the call from 2.41 on."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""`struct sched_attr` of sched_setattr(2)."""
_NICEST = 19


def answer() -> bool:
    """Short slices for the calling thread, and for threads and processes it makes from now on.

    False where the system grants none, and all is as it was.
    """
    return _ask(os.SCHED_OTHER, ANSWERING_SECONDS)


def work(*, urgent: bool = False, nicer: int = 0) -> bool:
    """Long slices for the calling thread alone, which pushes nobody aside as it wakes unless it is
    `urgent`; by `nicer` more niceness than it has.

    False where the system grants none, and all is as it was.
    """
    policy = os.SCHED_OTHER if urgent else os.SCHED_BATCH
    return _ask(policy, WORKING_SECONDS, nicer=nicer)


def _ask(policy: int, seconds: float, *, nicer: int = 0) -> bool:
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    nice = min(os.getpriority(os.PRIO_PROCESS, 0) + nicer, _NICEST)
    nanoseconds = int(seconds * 1e9)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, nice, 0, nanoseconds, 0, 0)
    # A container may forbid it.
    return bool(ctypes.CDLL(None).syscall(number, 0, attributes, 0) == 0)
