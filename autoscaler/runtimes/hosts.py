"""The picture of a machine's pod hosts, and what is told of it. No I/O.

    SEEN ──hello──▶ GREETED ──connection ends──▶ CUT ──hello──▶ GREETED
     │ given up        │                          │
     ▼                 └──────── gone ◀───────────┘
    SILENT

A host whose connection was cut may live on, and so may its pods: they stay in the picture until it
is known to be gone. `Connected` is the whole picture or nothing, so the first one waits until every
host that was seen has said what it has or was given up: a pod that nobody knows of would be made a
second time.
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from autoscaler.pods import PodKey
from autoscaler.runtimes.base import Connected, Ended, Living, Lost, RuntimeEvent, Started


class HostState(Enum):
    """How far a host is known."""

    SEEN = auto()
    """Its socket is there; it has said nothing yet."""
    GREETED = auto()
    CUT = auto()
    SILENT = auto()
    """It was seen long enough ago: nobody waits for its word any more."""


@dataclass(slots=True)
class Host:
    """One pod host."""

    generation: int
    state: HostState = HostState.SEEN
    retired: bool = False
    living: dict[PodKey, str] = field(default_factory=dict)
    """Control addresses."""


class Hosts:
    """All hosts that were found, by their generation."""

    def __init__(self) -> None:
        self._hosts: dict[int, Host] = {}
        self._told = False
        """Whether somebody believes in the picture: a Connected was told, and no Lost since."""

    def __repr__(self) -> str:
        hosts = sorted(self._hosts.items())
        states = [f"{number}:{host.state.name}+{len(host.living)}" for number, host in hosts]
        return f"<Hosts {' '.join(states)}>"

    @property
    def newest(self) -> int | None:
        """The generation that forks: of a host that answers, or was cut off just now."""
        states = (HostState.GREETED, HostState.CUT)
        return max((n for n, host in self._hosts.items() if host.state in states), default=None)

    def outdated(self) -> list[int]:
        """The answering hosts that are yet to be retired."""
        answering = self._answering()
        newest = max(answering, default=0)
        return [n for n in answering if n < newest and not self._hosts[n].retired]

    def of(self, pod: PodKey) -> int | None:
        """The generation of the pod's host."""
        return next((n for n, host in self._hosts.items() if pod in host.living), None)

    def pods(self) -> list[PodKey]:
        """Every pod of the picture."""
        return [pod for host in self._hosts.values() for pod in host.living]

    # What happened; each returns what is to be told of it.

    def seen(self, generation: int) -> None:
        """A socket was found."""
        self._hosts.setdefault(generation, Host(generation))

    def greeted(
        self, generation: int, living: dict[PodKey, str], retired: bool
    ) -> list[RuntimeEvent]:
        """A host said what it has."""
        host = self._hosts.setdefault(generation, Host(generation))
        known = self._told and host.state is HostState.GREETED and host.living == living
        host.state, host.living, host.retired = HostState.GREETED, dict(living), retired
        return [] if known else self._picture()

    def given_up(self, generation: int) -> list[RuntimeEvent]:
        """A host was seen and says nothing."""
        host = self._hosts.get(generation)
        if host is None or host.state is not HostState.SEEN:
            return []
        host.state = HostState.SILENT
        return self._picture()

    def cut(self, generation: int) -> list[RuntimeEvent]:
        """The connection to a host has ended."""
        host = self._hosts.get(generation)
        if host is None or host.state is not HostState.GREETED:
            return []
        host.state = HostState.CUT
        return self._lost()

    def gone(self, generation: int) -> list[RuntimeEvent]:
        """A host is no more, nor are its pods."""
        host = self._hosts.pop(generation, None)
        if host is None or host.state is HostState.SILENT:
            return []
        return self._picture()

    def started(
        self, generation: int, ticket: int, pod: PodKey, control_address: str
    ) -> list[RuntimeEvent]:
        """A host's pod answers."""
        self._hosts[generation].living[pod] = control_address
        event = Started(ticket, pod, control_address, generation)
        return [event] if self._told else []

    def ended(self, generation: int, pod: PodKey, status: int) -> list[RuntimeEvent]:
        """A host's pod is no more."""
        self._hosts[generation].living.pop(pod, None)
        return [Ended(pod, status)] if self._told else []

    def _answering(self) -> list[int]:
        return [n for n, host in self._hosts.items() if host.state is HostState.GREETED]

    def _lost(self) -> list[RuntimeEvent]:
        if self._answering() or not self._told:
            return []
        self._told = False
        return [Lost()]

    def _picture(self) -> list[RuntimeEvent]:
        newest = self.newest
        if newest is None or not self._answering():
            return self._lost()
        seen = any(host.state is HostState.SEEN for host in self._hosts.values())
        if seen and not self._told:
            return []
        self._told = True
        living = {
            pod: Living(address, host.generation)
            for host in self._hosts.values()
            for pod, address in host.living.items()
        }
        return [Connected(living, newest)]
