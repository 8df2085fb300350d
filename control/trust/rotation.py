"""From one authority to the next without a moment in which somebody is not trusted. Pure.

               begun         settled,      settled,     clients'      settled
                             pods know     pods know    time is over
    phase       ───▶ introduced ──▶ reissued ──▶ retired ──▶ shown ──▶ none
    roles, pods        old            new          new        new       new    have certificates of
    inside             old + new      old + new    new        new       new    is trusted
    gateway            old            old          old        new       new    shows clients
    ca.crt             old + new      old + new    old + new  old + new new    of clients has

A phase is entered when its files are durable. It is left when every role has had the time to read
them (*settled*) and every pod that lives has been told since, so whoever speaks to whom, each
trusts what the other shows. Clients have copies of `ca.crt` that nobody replaces for them: they get
a time of their own, in which the copy with both can be fetched.
"""

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How far a rotation is."""

    INTRODUCED = "introduced"
    REISSUED = "reissued"
    RETIRED = "retired"
    SHOWN = "shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A rotation under way; authorities by the names of their files."""

    old: str
    new: str
    phase: Phase
    phase_ns: int
    """When the phase was entered."""

    clients_ns: int
    """From then on clients are shown certificates of the new authority."""

    operation: int


@dataclass(frozen=True, slots=True)
class Rights:
    """Which authority does what; the first one of several is the one that issues or will."""

    issues: str
    """Certificates of roles and pods."""
    issues_for_clients: str
    """Those that the gateway shows to clients."""
    trusted: tuple[str, ...]
    """Inside the installation."""
    trusted_by_clients: tuple[str, ...]


def rights(current: str, rotation: Rotation | None) -> Rights:
    """See the table above; `current` is the only one where nothing is under way."""
    if rotation is None:
        return Rights(current, current, (current,), (current,))
    old, new = rotation.old, rotation.new
    match rotation.phase:
        case Phase.INTRODUCED:
            return Rights(old, old, (old, new), (old, new))
        case Phase.REISSUED:
            return Rights(new, old, (new, old), (old, new))
        case Phase.RETIRED:
            return Rights(new, old, (new,), (old, new))
        case Phase.SHOWN:
            return Rights(new, new, (new,), (old, new))


def is_over(rotation: Rotation, *, now_ns: int, settle_ns: int, pods_know: bool) -> bool:
    """Whether the phase may be left; `pods_know`: every pod was told since it was entered."""
    if not pods_know or now_ns < rotation.phase_ns + settle_ns:
        return False
    return rotation.phase is not Phase.RETIRED or now_ns >= rotation.clients_ns


def following(phase: Phase) -> Phase | None:
    """The phase after this one; None: the rotation is over."""
    phases = list(Phase)
    place = phases.index(phase) + 1
    return phases[place] if place < len(phases) else None
