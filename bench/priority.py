"""Which of a benchmark's processes go first where they share cores with what is measured."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FIRST = os.sched_param(1)


@contextmanager
def going_first() -> Iterator[bool]:
    """The threads that this process has now go before everybody else's as they wake (SCHED_RR);
    not those it makes, nor its children. For a client whose machine would be another one: it must
    not wait here for what it measures.

    False, and nothing has changed, without the privilege for it (CAP_SYS_NICE).
    """
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    threads = [int(thread.name) for thread in Path("/proc/self/task").iterdir()]
    granted = _schedule(threads, os.SCHED_RR | os.SCHED_RESET_ON_FORK, _FIRST)
    try:
        yield granted
    finally:
        if granted:
            _schedule(threads, *usual)


def giving_way() -> None:
    """The calling thread, and what it makes from now on, only has what others leave over
    (SCHED_IDLE), and pushes nobody aside as it wakes. For noise, whose machines would be others."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _schedule(threads: list[int], policy: int, param: os.sched_param) -> bool:
    for thread in threads:
        with suppress(ProcessLookupError):  # it has ended
            try:
                os.sched_setscheduler(thread, policy, param)
            except PermissionError:
                return False
    return True
