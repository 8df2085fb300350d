"""Memory of a gateway's processes, as the kernel counts it.

*Unique* memory (USS) is what would be free if the process ended. *Proportional* memory (PSS) shares
out what several processes have in common, copy-on-write pages of forked pods above all, so that
the sum over all of them is what they really take.
"""

import gc
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from bench.gateway import Gateway

SETTLE_SECONDS = 3.0
_KIB = 1024


def processes(gateway: Gateway, *, only: Iterable[str] = ()) -> list[psutil.Process]:
    """The roles' processes with their children, those that are being replaced among them; of the
    roles named in `only`, or of all."""
    wanted = set(only)
    found: dict[int, psutil.Process] = {}
    for name, role in gateway.roles().items():
        lives = [role, *role.get("retiring", [])]
        for pid in (life["pid"] for life in lives if not wanted or name in wanted):
            for each in _family(pid):
                found[each.pid] = each
    return list(found.values())


def pods(gateway: Gateway) -> list[psutil.Process]:
    """The SQL pods, warm ones among them."""
    hosts = {int(gateway.roles()["podhost"]["pid"])}
    hosts |= {int(each["pid"]) for each in gateway.roles()["podhost"].get("retiring", [])}
    return [each for each in processes(gateway, only=["podhost"]) if each.pid not in hosts]


def usage(gateway: Gateway) -> dict[str, int]:
    """Processes of the whole gateway, and their unique memory in bytes, once it has settled."""
    gc.collect()
    time.sleep(SETTLE_SECONDS)
    alive = processes(gateway)
    return {"processes": len(alive), "uss": sum(uss(each) for each in alive)}


def uss(process: psutil.Process) -> int:
    """Unique bytes; 0 of a process that has ended."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.NoSuchProcess:
        return 0


def pss(process: psutil.Process) -> int:
    """Proportional bytes; 0 of a process that has ended."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) * _KIB for line in text.splitlines() if line[:4] == "Pss:")


def _family(pid: int | None) -> list[psutil.Process]:
    if pid is None:
        return []
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
