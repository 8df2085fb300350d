"""Whom the machine serves first: warm pods wait behind tenants' pods, and pods die before storage.

A warm pod that is being born, or rehearses, takes whole milliseconds of a core. Behind a *nice*
value it takes only what running tenants leave. It must get out of it the moment it is stamped,
which needs a privilege that nobody can be asked for: root's, CAP_SYS_NICE in the first name space,
or a limit (RLIMIT_NICE) that allows it. So the pod host tries it out in a child; where it fails,
priorities are left alone.

Nice values are weighed among the processes of one session only, where the kernel groups sessions
(`sched_autogroup_enabled`). A host and its pods are one session, and nothing else is in it.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path

_ROUNDS_MAX = 3
_TASKS = Path("/proc/self/task")
_OOM_SCORE = Path("/proc/self/oom_score_adj")

_log = logging.getLogger(__name__)


def may_return_from(nice: int) -> bool:
    """Whether a process may become nicer by `nice` and take that back. Forks for a moment."""
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(OSError):
            normal = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, 0, normal + nice)
            os.setpriority(os.PRIO_PROCESS, 0, normal)
            status = 0
        os._exit(status)
    _, status = os.waitpid(child, 0)
    return status == 0


class Priority:
    """What a process had before it was lowered, so that it can be given back."""

    def __init__(self) -> None:
        self._normal: int | None = None

    def __repr__(self) -> str:
        return f"<Priority {'lowered' if self._normal is not None else 'normal'}>"

    def lower(self, nice: int) -> None:
        """Be nicer by `nice`, with every thread that is started from now on."""
        if nice and self._normal is None:
            self._normal = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, 0, self._normal + nice)

    def restore(self) -> None:
        """Be as before `lower`, with every thread; nothing where that never happened."""
        normal, self._normal = self._normal, None
        if normal is None:
            return
        # The value is each thread's own. A thread that is born meanwhile may have the old one.
        done: set[int] = set()
        for _ in range(_ROUNDS_MAX):
            fresh = {int(each.name) for each in _TASKS.iterdir()} - done
            for thread in fresh:
                with suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, thread, normal)
            done |= fresh
            if not fresh:
                return


OWN = Priority()
"""This process's."""


def die_early(score: int) -> None:
    """Be killed before others when memory runs out: 0 as everybody, 1000 first of all."""
    try:
        if int(_OOM_SCORE.read_text(encoding="ascii")) < score:
            _OOM_SCORE.write_text(f"{score}\n", encoding="ascii")
    except (OSError, ValueError) as error:
        _log.debug("no score for the end of memory", exc_info=error)
