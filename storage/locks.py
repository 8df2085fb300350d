"""The lock table: PostgreSQL's locks of rows and tables as a pure, synchronous state machine.

Modes are bits (`storage.lockmodes`, with the matrix of conflicts). Rows, tables and advisory locks
are keys of one table, and the search for deadlocks goes over all of them.

    key ──▶ holders {A: SHARE, B: SHARE}   queue [C: UPDATE, D: SHARE]
                                                  ▲ waits for A, B  ▲ waits for C: no overtaking

Fairness: a request waits behind every conflicting request that came before it, not only behind
conflicting holders. Who holds the key already in another mode is queued in front of the first that
waits for it, since that one could not go on before it anyway (ProcSleep in PostgreSQL's
src/backend/storage/lmgr/proc.c).

Deadlocks are looked for at the moment of waiting, on the graph "waits for": who closes a circle is
the victim and is not queued. As nothing else adds edges except a grant ahead in the queue to an
owner the graph already knew as blocker, no later check is needed.

Owners may act for a *party*: a transaction for its session, which holds advisory locks of its own.
They never contend for the same keys, but in the graph they are one, for while one of them waits the
others do not go on.

    transaction of S ──row──▶ transaction of R        S and R are the nodes: a circle
              session S ◀──advisory── session R

Almost every lock is held by one owner with nobody waiting; such a key costs one dict slot, for all
keys that an owner holds alone in one mode share one entry.

Who holds two million keys lets go of them in one moment all the same. The shared entry is made to
say that nobody holds it, whoever waits for one of the keys is found from the side of those who
wait, and the slots go later, some at a time (`sweep`); until then they count as free.

    before   k1 ─┐                         after   k1 ─┐
             k2 ─┼─▶ A: UPDATE                     k2 ─┼─▶ A: 0     as if they were not there
             k3 ─▶ {A: UPDATE}, B waits            k3 ─▶ B: UPDATE
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice, takewhile

from storage.lockmodes import CONFLICTS, NO_KEY_UPDATE, covers, joined

Owner = Hashable

KEYS_AT_ONCE = 1000
"""Of so many keys an owner lets go at once, of more later; also how many a `sweep` takes."""


class Outcome(Enum):
    """What became of a request at once. (A request that waits is a `Ticket` instead.)"""

    GRANTED = auto()
    NOT_AVAILABLE = auto()
    DEADLOCK = auto()


@dataclass(eq=False, slots=True)
class Ticket:
    """A request in a queue; `on_grant` is called once if it gets the lock."""

    owner: Owner
    key: bytes
    mode: int
    on_grant: Callable[[], None]


@dataclass(eq=False, slots=True)
class _Sole:
    owner: Owner
    modes: int
    """0: nobody holds it any more."""


class _Held:
    """What one owner holds: its keys, and one entry per set of modes for those it holds alone."""

    __slots__ = ("_soles", "gone", "keys", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._soles: dict[int, _Sole] = {}
        self.keys: dict[bytes, None] = {}
        self.gone = False
        """The owner has let go of all of it."""

    def sole(self, modes: int) -> _Sole:
        """How a key is entered that this owner alone holds in these modes."""
        sole = self._soles.get(modes)
        if sole is None:
            sole = self._soles[modes] = _Sole(self.owner, modes)
        return sole

    def let_go(self) -> None:
        """Hold nothing of it, in one moment."""
        self.gone = True
        for sole in self._soles.values():
            sole.modes = 0


@dataclass(slots=True)
class _Shared:
    holders: dict[_Held, int]
    """Those that are gone count as not there."""
    queue: deque[Ticket] = field(default_factory=deque)


class LockTable:
    """All locks of a shard. Owners are any hashable objects; keys are byte strings."""

    def __init__(self, *, keys_at_once: int = KEYS_AT_ONCE) -> None:
        self._keys_at_once = keys_at_once
        self._keys: dict[bytes, _Sole | _Shared] = {}
        self._held: dict[Owner, _Held] = {}
        self._count = 0
        self._waiting: dict[Owner, dict[Ticket, None]] = {}
        self._queued: dict[bytes, None] = {}
        """Keys that somebody waits for."""
        self._gone: deque[_Held] = deque()
        """What is to be swept."""
        self._party: dict[Owner, Owner] = {}
        self._members: dict[Owner, set[Owner]] = {}

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<LockTable {len(self._keys)} keys, {len(self._held)} owners, {waiting} waiting>"

    @property
    def total(self) -> int:
        """How many keys are held, each as often as somebody holds it."""
        return self._count

    def acquire(
        self,
        owner: Owner,
        key: bytes,
        mode: int,
        on_grant: Callable[[], None] | None = None,
    ) -> Outcome | Ticket:
        """Take `key` in `mode` for `owner`; without `on_grant` it is now or never.

        A ticket means the request waits: `on_grant` is called from within the call that makes way
        for it, and must not call the table itself.
        """
        entry = self._keys.get(key)
        if entry is None:
            self._hold_alone(owner, key, mode)
            return Outcome.GRANTED
        if isinstance(entry, _Sole):
            if entry.owner == owner or not entry.modes:
                if not covers(entry.modes, mode):
                    self._hold_alone(owner, key, joined(entry.modes, mode))
                return Outcome.GRANTED
            entry = _Shared({self._held[entry.owner]: entry.modes})
            self._keys[key] = entry
        return self._acquire_shared(owner, key, mode, entry, on_grant)

    def acquire_free(self, owner: Owner, keys: Iterable[bytes], mode: int) -> list[bytes]:
        """Take those of `keys` that nobody holds, in one go; answers the others."""
        taken = self._held.get(owner) or _Held(owner)
        before = len(taken.keys)
        sole, table, others = taken.sole(mode), self._keys, []
        for key in keys:
            entry = table.get(key)
            if entry is not None and not (isinstance(entry, _Sole) and not entry.modes):
                others.append(key)
            else:
                table[key] = sole
                taken.keys[key] = None
        if taken.keys:
            self._held[owner] = taken
        self._count += len(taken.keys) - before
        return others

    def mode_held(self, owner: Owner, key: bytes) -> int:
        """The mode in which `owner` holds a row, all its modes or-ed of a table; 0 if none."""
        entry = self._keys.get(key)
        if entry is None:
            return 0
        if isinstance(entry, _Sole):
            return entry.modes if entry.owner == owner else 0
        held = self._held.get(owner)
        return 0 if held is None else entry.holders.get(held, 0)

    def writer(self, key: bytes) -> Owner | None:
        """Who alone may write a row now: the holder of NO_KEY_UPDATE or UPDATE, if there is one."""
        entry = self._keys.get(key)
        if entry is None:
            return None
        if isinstance(entry, _Sole):
            return entry.owner if entry.modes >= NO_KEY_UPDATE else None
        for held, modes in entry.holders.items():
            if modes >= NO_KEY_UPDATE and not held.gone:
                return held.owner
        return None

    def contended(self) -> Iterator[tuple[bytes, Owner, int, bool]]:
        """(key, owner, modes, whether they are held) of all who hold or wait for a key that
        somebody waits for."""
        for key in self._queued:
            entry = self._keys[key]
            if isinstance(entry, _Shared):
                for held, modes in entry.holders.items():
                    yield key, held.owner, modes, True
                for ticket in entry.queue:
                    yield key, ticket.owner, ticket.mode, False

    def held(self, owner: Owner) -> list[bytes]:
        """The keys `owner` holds, in the order it got them."""
        held = self._held.get(owner)
        return [] if held is None else list(held.keys)

    def count(self, owner: Owner) -> int:
        """How many keys `owner` holds."""
        held = self._held.get(owner)
        return 0 if held is None else len(held.keys)

    def join(self, owner: Owner, party: Owner) -> None:
        """`owner` acts for `party`, an owner too: who waits for the one may wait for the other.
        Neither may be waiting now. Lasts until `owner` is released."""
        if owner not in self._party:
            self._party[owner] = party
            self._members.setdefault(party, set()).add(owner)

    def lower(self, owner: Owner, key: bytes, mode: int) -> None:
        """Keep a weaker mode of a row that is held, fewer modes of a table, or (0) nothing; grant
        what that makes way for. Nothing happens where no more is held anyway."""
        if self.mode_held(owner, key) <= mode:
            return
        entry, held = self._keys[key], self._held[owner]
        if isinstance(entry, _Shared) and mode:
            entry.holders[held] = mode
        elif isinstance(entry, _Shared):
            del entry.holders[held]
        elif mode:
            self._hold_alone(owner, key, mode)
        else:
            del self._keys[key]
        if not mode:
            del held.keys[key]
            self._count -= 1
            if not held.keys:
                del self._held[owner]
        if isinstance(entry, _Shared):
            self._settle(key, entry)

    def cancel(self, ticket: Ticket) -> None:
        """Take a waiting request out of its queue; a granted one stays held."""
        waiting = self._waiting.get(ticket.owner)
        if waiting is None or ticket not in waiting:
            return
        self._forget_waiting(ticket)
        entry = self._keys[ticket.key]
        if isinstance(entry, _Sole):
            raise TypeError("a ticket waits on a key that has no queue")
        entry.queue.remove(ticket)
        self._settle(ticket.key, entry)

    def release(self, owner: Owner) -> None:
        """Drop all that `owner` holds and waits for, and grant what that makes way for. Where that
        is much, `sweep` has to follow."""
        for ticket in list(self._waiting.get(owner, ())):
            self.cancel(ticket)
        self._part(owner)
        held = self._held.pop(owner, None)
        if held is None:
            return
        self._count -= len(held.keys)
        held.let_go()
        if len(held.keys) <= self._keys_at_once:
            for key in held.keys:
                self._forget(held, key)
            return
        self._gone.append(held)
        for key in [key for key in self._queued if key in held.keys]:
            self._forget(held, key)

    @property
    def unswept(self) -> bool:
        """Whether there is something to sweep."""
        return bool(self._gone)

    def sweep(self) -> None:
        """Forget some of the keys that were let go of."""
        left = self._keys_at_once or 1
        while self._gone and left:
            held = self._gone[0]
            while held.keys and left:
                self._forget(held, held.keys.popitem()[0])
                left -= 1
            if not held.keys:
                self._gone.popleft()

    def _forget(self, held: _Held, key: bytes) -> None:
        """A key that was let go of, where that is still to be seen."""
        entry = self._keys.get(key)
        if isinstance(entry, _Sole):
            if not entry.modes:
                del self._keys[key]
        elif entry is not None and entry.holders.pop(held, 0):
            self._settle(key, entry)

    def _part(self, owner: Owner) -> None:
        party = self._party.pop(owner, None)
        if party is not None:
            members = self._members[party]
            members.discard(owner)
            if not members:
                del self._members[party]

    def _hold_alone(self, owner: Owner, key: bytes, modes: int) -> None:
        self._keys[key] = self._holding(owner, key).sole(modes)

    def _holding(self, owner: Owner, key: bytes) -> _Held:
        held = self._held.get(owner)
        if held is None:
            held = self._held[owner] = _Held(owner)
        self._count += key not in held.keys
        held.keys[key] = None
        return held

    def _acquire_shared(
        self,
        owner: Owner,
        key: bytes,
        mode: int,
        entry: _Shared,
        on_grant: Callable[[], None] | None,
    ) -> Outcome | Ticket:
        held = self.mode_held(owner, key)
        if covers(held, mode):
            return Outcome.GRANTED
        ticket = Ticket(owner, key, mode, on_grant or _nobody)
        place = _place(entry.queue, ticket, held)
        outcome: Outcome | Ticket = ticket
        if not any(_blockers(entry.holders, islice(entry.queue, place), ticket)):
            entry.holders[self._holding(owner, key)] = joined(held, mode)
            return Outcome.GRANTED
        if on_grant is None:
            outcome = Outcome.NOT_AVAILABLE
        else:
            # Queued before the search: who overtakes makes others wait for it.
            entry.queue.insert(place, ticket)
            self._queued[key] = None
            self._waiting.setdefault(owner, {})[ticket] = None
            if self._closes_circle(ticket):
                entry.queue.remove(ticket)
                self._forget_waiting(ticket)
                outcome = Outcome.DEADLOCK
        self._settle(key, entry)
        return outcome

    def _closes_circle(self, ticket: Ticket) -> bool:
        # From all the waits of the party, not only the new one: a request that overtakes others
        # makes these wait for its owner, which may have been waiting for them elsewhere.
        pending: list[Owner] = []
        seen: set[Owner] = set()
        start = party = self._party.get(ticket.owner, ticket.owner)
        while True:
            for owner in (party, *self._members.get(party, ())):
                for other in self._waiting.get(owner, ()):
                    pending += [self._party.get(each, each) for each in self._waits_for(other)]
            seen.add(party)
            if start in pending:
                return True
            pending = [each for each in pending if each not in seen]
            if not pending:
                return False
            party = pending.pop()

    def _waits_for(self, ticket: Ticket) -> Iterator[Owner]:
        entry = self._keys[ticket.key]
        if isinstance(entry, _Shared):
            ahead = takewhile(lambda other: other is not ticket, entry.queue)
            for (owner,) in _blockers(entry.holders, ahead, ticket):
                yield owner

    def _settle(self, key: bytes, entry: _Shared) -> None:
        """Grant what can be granted on `key`, then store it in its smallest form."""
        for gone in [held for held in entry.holders if held.gone]:
            del entry.holders[gone]
        granted: list[Ticket] = []
        kept: deque[Ticket] = deque()
        for ticket in entry.queue:
            if any(_blockers(entry.holders, kept, ticket)):
                kept.append(ticket)
                continue
            self._forget_waiting(ticket)
            holder = self._holding(ticket.owner, key)
            modes = entry.holders.get(holder, 0)
            if not covers(modes, ticket.mode):
                entry.holders[holder] = joined(modes, ticket.mode)
            granted.append(ticket)
        entry.queue = kept
        if not kept:
            self._queued.pop(key, None)
            if len(entry.holders) <= 1:
                del self._keys[key]
                for holder, modes in entry.holders.items():
                    self._hold_alone(holder.owner, key, modes)
        for ticket in granted:
            ticket.on_grant()

    def _forget_waiting(self, ticket: Ticket) -> None:
        waiting = self._waiting[ticket.owner]
        del waiting[ticket]
        if not waiting:
            del self._waiting[ticket.owner]


def _nobody() -> None:
    """What a request that does not wait is told."""


def _place(queue: Sequence[Ticket], ticket: Ticket, held: int) -> int:
    """Where in the queue a request of an owner stands that holds `held` of the key already."""
    if held:
        for place, other in enumerate(queue):
            if CONFLICTS[other.mode] & held and other.owner != ticket.owner:
                return place
    return len(queue)


def _blockers(
    holders: Mapping[_Held, int], ahead: Iterable[Ticket], ticket: Ticket
) -> Iterator[tuple[Owner]]:
    """The owners a request waits for (in tuples, so that `any` does not judge the owner)."""
    conflicting = CONFLICTS[ticket.mode]
    for held, modes in holders.items():
        if modes & conflicting and not held.gone and held.owner != ticket.owner:
            yield (held.owner,)
    for other in ahead:
        if other.mode & conflicting and other.owner != ticket.owner:
            yield (other.owner,)
