"""How much memory a pod costs, where pages are shared by copy-on-write.

The resident size of a forked pod counts every page of its host as its own. The kernel's
*proportional set size* divides each page by the number of processes that map it, so the sum over
all of them is what the machine really gives; the *private* size is what would come back if this
one pod ended.
"""

from dataclasses import dataclass
from pathlib import Path

_KIB = 1024


@dataclass(frozen=True, slots=True)
class PodMemory:
    """Bytes."""

    pss: int
    """Proportional set size."""
    private: int
    """Pages that nobody else maps."""


def memory_of(pid: int, proc: Path = Path("/proc")) -> PodMemory | None:
    """What a process uses just now; None where it has ended or may not be looked into.

    The kernel walks the process's page tables: about a millisecond for a pod, during which the
    pod cannot map memory. Meant for questions, not for every tick.
    """
    try:
        text = (proc / str(pid) / "smaps_rollup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    kib = dict(_numbers(text))
    if "Pss" not in kib:  # a zombie has no pages
        return None
    private = kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0)
    return PodMemory(pss=kib["Pss"] * _KIB, private=private * _KIB)


def _numbers(text: str) -> list[tuple[str, int]]:
    lines = (line.split() for line in text.splitlines())
    return [(w[0].rstrip(":"), int(w[1])) for w in lines if len(w) == 3 and w[2] == "kB"]
