"""How much memory a pod costs, where pages are shared by copy-on-write.

The resident size of a forked pod counts every page of its host as its own. The kernel's
*proportional set size* divides each page by the number of processes that map it, so the sum over
all of them is what the machine really gives; the *private* size is what would come back if this
one pod ended.

The kernel walks the process's page tables to answer: measured 1.7 ms for a process of 140 MB,
which cannot map memory meanwhile. So nobody asks for all pods at once: `MemorySums` asks one at a
time.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Gauge

from autoscaler.pods import PodKey
from dormouse.base.metrics import REGISTRY

PSS = Gauge(
    "dormouse_autoscaler_pods_pss_bytes",
    "Memory of the pods on this machine, shared pages divided among those that share them.",
    registry=REGISTRY,
)
PRIVATE = Gauge(
    "dormouse_autoscaler_pods_private_bytes",
    "Memory of the pods on this machine that nobody shares.",
    registry=REGISTRY,
)
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

    Costs a millisecond or two: meant for questions, not for every tick.
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


class MemorySums:
    """The memory of all pods, refreshed by one question at a time; shown as metrics."""

    def __init__(self, ask: Callable[[PodKey], PodMemory | None]) -> None:
        self._ask = ask
        self._known: dict[PodKey, PodMemory] = {}
        self._turn: deque[PodKey] = deque()

    def __repr__(self) -> str:
        return f"<MemorySums pods={len(self._known)}>"

    def refresh(self, living: Iterable[PodKey]) -> None:
        """Ask the pod whose answer is oldest, forget those that are gone, and show the sums."""
        alive = set(living)
        known = {pod: size for pod, size in self._known.items() if pod in alive}
        turn = [pod for pod in self._turn if pod in alive]
        self._turn = deque([*sorted(alive - set(turn)), *turn])  # the new ones first
        if self._turn:
            pod = self._turn.popleft()
            self._turn.append(pod)
            if (size := self._ask(pod)) is not None:
                known[pod] = size
        self._known = known
        PSS.set(sum(size.pss for size in known.values()))
        PRIVATE.set(sum(size.private for size in known.values()))


def _numbers(text: str) -> list[tuple[str, int]]:
    lines = (line.split() for line in text.splitlines())
    return [(w[0].rstrip(":"), int(w[1])) for w in lines if len(w) == 3 and w[2] == "kB"]
