"""What a pod's statements cost since its stamp, by role and statement.

    session ──settle──▶ entry (role, query id) ◀──share of the second's CPU── accounts
                            │
       dropped or reset ────┴──▶ rest of the role      role = rest + its entries

Everything a session uses is given to the statement that is running in it (`meter.py`), and what
belongs to no statement (a login, a text that does not parse) to its role. So the roles' sums are
the pod's, but for what came back from storage after its session had ended.

CPU time is measured for the whole process, once a second or so, and never per statement
(sqlnode/accounts.py). What was measured is shared among the statements that ran meanwhile by the
time each had the event loop to itself, so that the shares add up to it to the nanosecond. A second
in which nobody had the loop waits for the next.

At most ENTRIES_MAX entries are kept; for one more, a twentieth of them goes, those that cost least.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sqlnode.statements.identity import Identities, Identity
from sqlnode.statements.sums import Entry, Sums

if TYPE_CHECKING:
    from sqlnode.statements.meter import Meter

ENTRIES_MAX = 1000
"""As pg_stat_statements.max; PostgreSQL's default is 5000 for a whole server."""
_DROPPED = ENTRIES_MAX // 20


class RoleSums:
    """What one role has used: its entries, and the rest."""

    __slots__ = ("calls", "entries", "name", "rest")

    def __init__(self, name: str) -> None:
        self.name = name
        self.rest = Sums()
        self.calls = 0
        """Of entries that are gone."""
        self.entries: dict[int, Entry] = {}
        """By query id."""

    def total(self) -> Sums:
        """All of it."""
        total = Sums()
        total.add(self.rest)
        for entry in self.entries.values():
            total.add(entry)
        return total

    @property
    def calls_total(self) -> int:
        """Statements that ran to their end."""
        return self.calls + sum(entry.calls for entry in self.entries.values())


class StatementCosts:
    """The sums of one pod."""

    def __init__(
        self,
        clock_micros: Callable[[], int],
        now_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """`clock_micros`: the time, as timestamps have it; `now_ns`: a clock that only goes on."""
        self.now_ns = now_ns
        self._clock_micros = clock_micros
        self.since_micros = clock_micros()
        """Since when all of it is counted (pg_stat_statements_info.stats_reset)."""
        self.identities = Identities()
        self.meters: set[Meter] = set()
        """Of the sessions there are."""
        self.dropped = 0
        """How often entries had to go for others (pg_stat_statements_info.dealloc)."""
        self.ran: list[Sums] = []
        """Those with `loop_ns`."""
        self._roles: dict[str, RoleSums] = {}
        self._count = 0
        self._numbers = 0
        self._unshared_ns = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<StatementCosts {self._count} of {len(self._roles)} roles>"

    def role(self, name: str) -> RoleSums:
        """The sums of a role, made if need be."""
        found = self._roles.get(name)
        if found is None:
            found = self._roles[name] = RoleSums(name)
        return found

    def entry(self, role: RoleSums, identity: Identity) -> Entry:
        """The sums of a statement, made if need be."""
        found = role.entries.get(identity.query_id)
        if found is None:
            if self._count >= ENTRIES_MAX:
                self._drop_cheapest()
            self._numbers += 1
            found = Entry(role=role.name, identity=identity, number=self._numbers)
            role.entries[identity.query_id] = found
            self._count += 1
        return found

    def roles(self) -> list[RoleSums]:
        """All of them."""
        return list(self._roles.values())

    def entries(self) -> Iterator[Entry]:
        """All of them, in no order."""
        for role in self._roles.values():
            yield from role.entries.values()

    def share_cpu(self, spent_ns: int) -> None:
        """The pod has spent this CPU time on its sessions since the last call."""
        self.settle()
        spent_ns += self._unshared_ns
        total = sum(each.loop_ns for each in self.ran)
        if not total:
            self._unshared_ns = spent_ns
            return
        given = 0
        for each in self.ran:
            part = spent_ns * each.loop_ns // total
            each.cpu_ns += part
            given += part
            each.loop_ns = 0
        self.ran.clear()
        self._unshared_ns = spent_ns - given

    def settle(self) -> None:
        """Give what the sessions have used so far to the statements they are running."""
        for meter in self.meters:
            meter.settle()

    def reset(self, role: str | None = None, query_id: int | None = None) -> None:
        """Forget statements: of a role, of a number, of both, or all. What they cost stays with
        their roles."""
        self.settle()
        for entry in list(self.entries()):
            if role in (None, entry.role) and query_id in (None, entry.identity.query_id):
                self._drop(entry)
        for meter in self.meters:
            if meter.current is not None and meter.current.gone:
                meter.current = None
        if role is None and query_id is None:
            self.dropped = 0
            self.since_micros = self._clock_micros()

    def _drop_cheapest(self) -> None:
        running = {meter.current for meter in self.meters}
        idle = [entry for entry in self.entries() if entry not in running]
        idle.sort(key=lambda entry: (entry.roughly, entry.loop_ns))
        for entry in idle[:_DROPPED]:
            self._drop(entry)
        self.dropped += 1

    def _drop(self, entry: Entry) -> None:
        role = self._roles[entry.role]
        del role.entries[entry.identity.query_id]
        entry.gone = True
        self._count -= 1
        role.rest.add(entry)
        role.calls += entry.calls
        if entry.loop_ns:
            # What it ran since the last measurement is the role's to pay.
            if not role.rest.loop_ns:
                self.ran.append(role.rest)
            role.rest.loop_ns += entry.loop_ns
            entry.loop_ns = 0
            self.ran.remove(entry)
