"""What makes and ends pods: processes on one machine, or whatever a cluster has.

A runtime knows nothing of tenants. It owns its connection and makes it anew by itself; asking for
something while it is cut off does nothing, and the next `Connected` tells what lives then.

While new code replaces old, pods of several *generations* live side by side. A generation is a
number that grows: a pod of a smaller one than the runtime's runs older code, and new pods are
always of the runtime's own.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from autoscaler.pods import PodKey


@dataclass(frozen=True, slots=True)
class Living:
    """A pod whose control port answers."""

    control_address: str
    generation: int
    """Of the code it runs."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The runtime answers, or another part of it does: the whole picture, which replaces what was
    known. Sent again whenever a part comes or goes. Forks asked for before are forgotten."""

    living: dict[PodKey, Living]
    """Every living pod."""
    generation: int
    """The newest: what forks asked for from now on will be."""


@dataclass(frozen=True, slots=True)
class Lost:
    """No part of the runtime answers; its pods may or may not live on."""


@dataclass(frozen=True, slots=True)
class Started:
    """A pod's control port answers. `ticket` is 0 where this connection did not ask for it."""

    ticket: int
    pod: PodKey
    control_address: str
    generation: int


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The pod asked for will not come."""

    ticket: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A pod is no more: exit status, or minus the signal."""

    pod: PodKey
    status: int


RuntimeEvent = Connected | Lost | Started | StartFailed | Ended


class PodRuntime(Protocol):
    """Starts and ends pods; one user at a time."""

    def start(self, ticket: int, *, urgent: bool) -> None:
        """Ask for a pod; `ticket` comes back in Started or StartFailed.

        One that is not urgent is not to take from running pods what they can use.
        """
        ...

    def kill(self, pod: PodKey) -> None:
        """End a pod at once; Ended follows. Does nothing for a pod that has ended."""
        ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Connect, and tell what happens, without end. To be iterated once."""
        ...
