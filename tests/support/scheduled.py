"""What the kernel says of how a thread is scheduled."""

import ctypes
import os
import platform
import struct
from typing import NamedTuple

_SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}


class Found(NamedTuple):
    """What it goes by."""

    policy: int
    nice: int
    slice: int
    """Nanoseconds; 0 where the kernel knows of none."""
    cores: frozenset[int]
    """Where it may run."""


def found(thread: int = 0) -> Found:
    """Of a thread, or a process's first one; 0: of this one."""
    buffer = ctypes.create_string_buffer(48)
    number = _SCHED_GETATTR[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, thread, buffer, len(buffer), 0) == 0
    _, policy, _, nice, _, nanoseconds, _, _ = struct.unpack("=IIQiIQQQ", buffer.raw)
    return Found(policy, nice, nanoseconds, frozenset(os.sched_getaffinity(thread)))
