"""How many connections the HTTP API holds, and which of them goes when there is no room. Pure.

    a newcomer ── room? ────────────────────────────────▶ let in
                    │ no: of this address, or in all
                    ├─ an idle one (of this address) ───▶ let in, and the longest idle goes
                    └─ all of them have a request ──────▶ turned away

Idle is whoever has no request in work: between two of them, or before the head of the first is
complete. So a crowd that says nothing, or says it slowly, pushes itself out and not those who work.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Full(StrEnum):
    """Why a newcomer is turned away, or another one goes for it."""

    ALL = "full"
    ADDRESS = "address_full"


@dataclass(frozen=True, slots=True)
class Admission(Generic[T]):
    """What becomes of a newcomer."""

    is_let_in: bool
    evicted: T | None = None
    """Goes for it; it is off the table already."""
    full: Full | None = None
    """Which bound was met; None where there was room."""


class Connections(Generic[T]):
    """The open connections, each of an address (see `gate.address_group`)."""

    def __init__(self, *, total_max: int, per_address_max: int) -> None:
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._addresses: dict[T, str] = {}
        self._counts: Counter[str] = Counter()
        self._idle: dict[T, None] = {}
        """The longest idle first."""

    def __len__(self) -> int:
        return len(self._addresses)

    def __repr__(self) -> str:
        return f"<Connections {len(self._addresses)} idle={len(self._idle)}>"

    def admit(self, who: T, address: str) -> Admission[T]:
        """Let a newcomer in, idle, if there is room or can be made."""
        full, evicted = self._bound(address), None
        if full is not None:
            mates = (each for each in self._idle if self._addresses[each] == address)
            evicted = next(mates if full is Full.ADDRESS else iter(self._idle), None)
            if evicted is None:
                return Admission(is_let_in=False, full=full)
            self.leave(evicted)
        self._addresses[who] = address
        self._counts[address] += 1
        self._idle[who] = None
        return Admission(is_let_in=True, evicted=evicted, full=full)

    def busy(self, who: T) -> None:
        """It has a request in work."""
        self._idle.pop(who, None)

    def idle(self, who: T) -> None:
        """It has none any more."""
        if who in self._addresses and who not in self._idle:
            self._idle[who] = None

    def leave(self, who: T) -> None:
        """It is no more; nothing happens if that is known."""
        self._idle.pop(who, None)
        address = self._addresses.pop(who, None)
        if address is not None:
            self._counts[address] -= 1
            if not self._counts[address]:
                del self._counts[address]

    def _bound(self, address: str) -> Full | None:
        if self._counts[address] >= self._per_address_max:
            return Full.ADDRESS
        return Full.ALL if len(self._addresses) >= self._total_max else None
