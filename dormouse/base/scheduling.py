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

Work that somebody waits for has to push others aside as it wakes, and that would be the loop that
has just handed it over: woken where it last ran, it goes first there, and again the other core is
idle. So who answers may have a core of its own in its process (`reserve_core`, `stay`). The kernel
then moves strangers off that core, where it has others; what it cannot do any more is to move the
loop. That is why only storage asks for it, which is the only one on its machine. What takes frames
from the network for the loop is made before it stays there: on the same core a frame would lie
unread until the loop has nothing to do.
"""

import ctypes
import os
import platform
import random
import struct

ANSWERING_SECONDS = 0.0001
"""The shortest slice that there is."""
WORKING_SECONDS = 0.003

_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""glibc knows of the call from 2.41 on."""
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
"""`struct sched_attr` of sched_setattr(2)."""
_NICEST = 19

_own_core: set[int] = set()
"""Where this process answers; empty: wherever the kernel likes."""
_cores: set[int] = set()
"""All that it had before."""


def answer() -> bool:
    """Short slices for the calling thread, and for threads and processes it makes from now on.

    False where the system grants none, and all is as it was.
    """
    return _ask(os.SCHED_OTHER, ANSWERING_SECONDS)


def reserve_core() -> bool:
    """Choose a core, any one of those the calling thread may use, for who will `stay` there: of the
    process's threads those whose `work` is urgent are off it from now on.

    False where there is only one.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        return False
    _own_core.add(random.choice([*cores]))  # not the same one for all such processes
    _cores.update(cores)
    return True


def stay() -> bool:
    """Keep the calling thread, and what it makes from now on unless that is to `work`, on the
    core that was reserved.

    False where none was, or the system forbids it, and all is as it was.
    """
    return bool(_own_core) and _stay_on(_own_core)


def work(*, urgent: bool = False, nicer: int = 0) -> bool:
    """Long slices for the calling thread alone, which pushes nobody aside as it wakes unless it is
    `urgent`; by `nicer` more niceness than it has.

    False where the system grants none, and all is as it was.
    """
    if _own_core:
        _stay_on(_cores - _own_core if urgent else _cores)
    policy = os.SCHED_OTHER if urgent else os.SCHED_BATCH
    return _ask(policy, WORKING_SECONDS, nicer=nicer)


def _stay_on(cores: set[int]) -> bool:
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        return False
    return True


def _ask(policy: int, seconds: float, *, nicer: int = 0) -> bool:
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    nice = min(os.getpriority(os.PRIO_PROCESS, 0) + nicer, _NICEST)
    nanoseconds = int(seconds * 1e9)
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, nice, 0, nanoseconds, 0, 0)
    # A container may forbid it.
    return bool(ctypes.CDLL(None).syscall(number, 0, attributes, 0) == 0)
