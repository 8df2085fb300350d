"""Gives what a session uses to the statement it is for.

    message ──▶ cut ──▶ parse, plan ──▶ name ──▶ run, commit ──▶ pause ──▶ waits for the client
                 └──────── waits to be named ─────┘ │                └─ settled: this statement's
                                                    └─ settled here where the name changes

A statement pays for reading and planning its text, for running, for its rows on the wire, and for
the commit of its implicit transaction. The commit of a transaction block is COMMIT's: which of the
block's statements wrote what is not asked again. What is used between two statements of a session
and by no statement is its role's.

Time is that of the session's task on the event loop: a generator stands between the two and looks
at the clock whenever the session is woken and when it waits again. Nothing is measured per row, and
nothing per statement but a look at the clock and into a few counters.
"""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol

from sqlnode.kv.usage import COUNTED_APART, KvUsage
from sqlnode.parse import RawStatement
from sqlnode.statements.costs import StatementCosts
from sqlnode.statements.sums import Entry, Sums

_NOT_CALLS = frozenset({"PREPARE", "DEALLOCATE", "DEALLOCATE ALL"})
"""They say how another statement is called, which is counted itself when it runs."""


class Wire(Protocol):
    """The connection of a session."""

    @property
    def produced_bytes(self) -> int:
        """Bytes for the client so far, sent or waiting to be."""
        ...


class Meter:
    """What one session has used, and for which statement it is doing it now."""

    __slots__ = (
        "_costs", "_last", "_named", "_paid_egress", "_paid_ns", "_role", "_since_ns", "_spent_ns",
        "_wire", "current", "kv", "now_ns",
    )  # fmt: skip

    def __init__(self, costs: StatementCosts, role: str, wire: Wire) -> None:
        self.kv = KvUsage()
        """What was asked of storage and is not given to anybody yet."""
        self.current: Entry | None = None
        """The statement that pays; None: whoever is named next, or at last the role."""
        self._costs = costs
        self._role = costs.role(role)
        self._wire = wire
        self._named: RawStatement | None = None
        self._last: Entry | None = None
        """The entry of the statement that was named last."""
        self.now_ns = costs.now_ns
        """The clock that statements' times are taken with."""
        self._spent_ns = 0
        self._since_ns = 0
        self._paid_ns = 0
        self._paid_egress = 0

    async def drive(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a session to its end, metered."""
        COUNTED_APART.set(self.kv)
        self._costs.meters.add(self)
        self._pay(self._role.rest)  # the login
        try:
            await self._on_loop(work)
        finally:
            self._pay(self.current or self._role.rest)
            self.current = None
            self._costs.meters.discard(self)

    # --- whose it is -------------------------------------------------------------------------

    def cut(self) -> None:
        """What comes now is no longer the statement's that ran before."""
        if self.current is not None:
            self._pay(self.current)
            self.current = None

    def name(self, raw: RawStatement) -> None:
        """What is not settled, and what comes now, is for this statement."""
        current = self.current
        if raw is self._named and current is not None:
            return
        entry = self._last
        if raw is not self._named or entry is None or entry.gone:
            costs = self._costs
            identity = costs.identities.get(raw.text) or costs.identities.find(raw.text)
            entry = self._role.entries.get(identity.query_id) or costs.entry(self._role, identity)
            self._named, self._last = raw, entry
        if entry is not current:
            if current is not None:
                self._pay(current)
            self.current = entry

    def ran(self, tag: str, elapsed_ns: int) -> None:
        """The statement has run to its end, with this command tag."""
        if self.current is not None and tag not in _NOT_CALLS:
            self.current.called(rows_of(tag), elapsed_ns)

    def pause(self) -> None:
        """The session waits for its client now."""
        if self.current is not None:
            self._pay(self.current)
            self.current = None
        else:
            self._pay(self._role.rest)

    def settle(self) -> None:
        """Give what was used so far to the statement that is running, if one is."""
        if self.current is not None:
            self._pay(self.current)

    def _pay(self, payer: Sums) -> None:
        ns = self._spent_ns
        if self._since_ns:
            ns += self.now_ns() - self._since_ns
        if ns > self._paid_ns:
            if not payer.loop_ns:
                self._costs.ran.append(payer)
            payer.loop_ns += ns - self._paid_ns
            self._paid_ns = ns
        egress = self._wire.produced_bytes
        if egress > self._paid_egress:
            payer.egress_bytes += egress - self._paid_egress
            self._paid_egress = egress
        kv = self.kv
        if kv.read_batches or kv.write_batches:
            payer.take(kv)

    # --- the time on the event loop ----------------------------------------------------------

    @types.coroutine
    def _on_loop(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Await `work`, with a look at the clock whenever it goes on and whenever it waits."""
        now_ns = self.now_ns
        step: Callable[[Any], Any] = work.send
        value: Any = None
        while True:
            self._since_ns = now_ns()
            try:
                waited_for = step(value)
            except StopIteration:
                return
            finally:
                self._spent_ns += now_ns() - self._since_ns
                self._since_ns = 0
            try:
                value = yield waited_for
                step = work.send
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the session's
                value, step = error, work.throw


def rows_of(tag: str) -> int:
    """The count at the end of a command tag, 0 if it has none."""
    count = tag[tag.rfind(" ") + 1 :]
    return int(count) if count.isdigit() else 0
