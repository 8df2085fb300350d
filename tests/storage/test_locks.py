"""The lock table beside a dumb twin, and the named situations."""

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from storage.locks import (
    KEY_SHARE,
    NO_KEY_UPDATE,
    SHARE,
    UPDATE,
    LockTable,
    Outcome,
    Ticket,
)

# PostgreSQL manual, table 13.3, by name and not by arithmetic.
CONFLICTS = {
    KEY_SHARE: {UPDATE},
    SHARE: {NO_KEY_UPDATE, UPDATE},
    NO_KEY_UPDATE: {SHARE, NO_KEY_UPDATE, UPDATE},
    UPDATE: {KEY_SHARE, SHARE, NO_KEY_UPDATE, UPDATE},
}


@dataclass(eq=False)
class Request:
    owner: str
    key: bytes
    mode: int
    upgrade: bool = False


@dataclass
class DumbTable:
    """The rules read out loud: lists, and everything worked out again at every step."""

    held: list[tuple[str, bytes, int]] = field(default_factory=list)
    queue: list[Request] = field(default_factory=list)
    party: dict[str, str] = field(default_factory=dict)

    def blockers(self, request: Request) -> set[str]:
        holders = {
            owner
            for owner, key, mode in self.held
            if key == request.key and owner != request.owner and mode in CONFLICTS[request.mode]
        }
        ahead = self.queue[: self.queue.index(request)] if request in self.queue else self.queue
        earlier = {
            other.owner
            for other in ahead
            if other.key == request.key
            and other.owner != request.owner
            and other.mode in CONFLICTS[request.mode]
            and (other.upgrade or not request.upgrade)
        }
        return holders | earlier

    def acquire(self, request: Request, *, wait: bool) -> str:
        mine = [m for o, k, m in self.held if (o, k) == (request.owner, request.key)]
        if any(mode >= request.mode for mode in mine):
            return "granted"
        request.upgrade = bool(mine)
        if not self.blockers(request):
            self.held.append((request.owner, request.key, request.mode))
            return "granted"
        if not wait:
            return "not available"
        self.enqueue(request)
        if self.circle(request.owner):
            self.queue.remove(request)
            return "deadlock"
        return "waits"

    def enqueue(self, request: Request) -> None:
        behind = [
            number
            for number, other in enumerate(self.queue)
            if other.key == request.key and request.upgrade and not other.upgrade
        ]
        self.queue.insert(behind[0] if behind else len(self.queue), request)

    def node(self, owner: str) -> str:
        return self.party.get(owner, owner)

    def circle(self, owner: str) -> bool:
        start, reached = self.node(owner), set[str]()
        while True:
            edges = {
                self.node(blocker)
                for request in self.queue
                if self.node(request.owner) in reached | {start}
                for blocker in self.blockers(request)
            }
            if edges <= reached:
                return start in reached
            reached |= edges

    def lower(self, owner: str, key: bytes, mode: int) -> None:
        mine = [hold for hold in self.held if hold[:2] == (owner, key)]
        if max((m for _, _, m in mine), default=0) > mode:
            self.held = [hold for hold in self.held if hold not in mine]
            self.held += [(owner, key, mode)] if mode else []
            self.grant()

    def release(self, owner: str) -> None:
        self.held = [hold for hold in self.held if hold[0] != owner]
        self.queue = [request for request in self.queue if request.owner != owner]
        self.party.pop(owner, None)
        self.grant()

    def grant(self) -> None:
        for request in list(self.queue):
            if not self.blockers(request):
                self.queue.remove(request)
                self.held.append((request.owner, request.key, request.mode))


PARTIES = "PQ"
OWNERS = "ABCDE" + PARTIES
KEYS = (b"x", b"y", b"z")
steps = st.lists(
    st.tuples(
        st.sampled_from(["acquire"] * 7 + ["try", "release", "cancel", "lower", "free", "join"]),
        st.sampled_from(OWNERS),
        st.sampled_from(KEYS),
        st.sampled_from([KEY_SHARE, SHARE, NO_KEY_UPDATE, UPDATE]),
    ),
    max_size=40,
)


@given(steps=steps)
@settings(max_examples=1500, deadline=None)
def test_agrees_with_the_dumb_twin(steps: list[tuple[str, str, bytes, int]]) -> None:
    table, twin = LockTable(), DumbTable()
    waiting: list[tuple[Ticket, Request]] = []
    granted: list[int] = []
    names = {
        Outcome.GRANTED: "granted",
        Outcome.NOT_AVAILABLE: "not available",
        Outcome.DEADLOCK: "deadlock",
    }
    for number, (action, owner, key, mode) in enumerate(steps):
        if action == "release":
            table.release(owner)
            twin.release(owner)
        elif action in ("lower", "free"):
            weaker = mode - 1 if action == "lower" else 0
            table.lower(owner, key, weaker)
            twin.lower(owner, key, weaker)
        elif action == "join":
            if owner not in PARTIES:
                table.join(owner, PARTIES[mode % 2])
                twin.party.setdefault(owner, PARTIES[mode % 2])
        elif action == "cancel":
            mine = [pair for pair in waiting if pair[0].owner == owner and pair[1] in twin.queue]
            if mine:
                table.cancel(mine[0][0])
                twin.queue.remove(mine[0][1])
                twin.grant()
        else:
            request = Request(owner, key, mode)
            wait = action == "acquire"
            expected = twin.acquire(request, wait=wait)
            call = (lambda number=number: granted.append(number)) if wait else None
            outcome = table.acquire(owner, key, mode, call)
            if isinstance(outcome, Ticket):
                assert expected == "waits"
                waiting.append((outcome, request))
            else:
                assert expected == names[outcome]
        for who in OWNERS:
            for what in KEYS:
                modes = [m for o, k, m in twin.held if (o, k) == (who, what)]
                assert table.mode_held(who, what) == max(modes, default=0)
            assert set(table.held(who)) == {k for o, k, _ in twin.held if o == who}
    for owner in OWNERS:
        table.release(owner)
    assert repr(table) == "<LockTable 0 keys, 0 owners, 0 waiting>"
    assert len(set(granted)) == len(granted)


def test_the_matrix_is_postgresqls() -> None:
    for held, conflicting in CONFLICTS.items():
        for mode in CONFLICTS:
            table = LockTable()
            table.acquire("A", b"k", held)
            refused = table.acquire("B", b"k", mode) is Outcome.NOT_AVAILABLE
            assert refused == (mode in conflicting), (held, mode)


def test_nobody_overtakes_a_waiting_writer() -> None:
    table = LockTable()
    order: list[str] = []
    table.acquire("reader", b"k", SHARE)
    table.acquire("writer", b"k", UPDATE, lambda: order.append("writer"))
    late = table.acquire("late reader", b"k", SHARE, lambda: order.append("late reader"))
    assert isinstance(late, Ticket)
    table.release("reader")
    assert order == ["writer"]
    table.release("writer")
    assert order == ["writer", "late reader"]


def test_two_upgrades_of_one_key_are_a_deadlock() -> None:
    table = LockTable()
    table.acquire("A", b"k", SHARE)
    table.acquire("B", b"k", SHARE)
    assert isinstance(table.acquire("A", b"k", UPDATE, lambda: None), Ticket)
    assert table.acquire("B", b"k", UPDATE, lambda: None) is Outcome.DEADLOCK
    table.release("B")
    assert table.mode_held("A", b"k") == UPDATE


def test_an_upgrade_that_overtakes_a_waiter_sees_the_circle_it_closes() -> None:
    table = LockTable()
    for owner, key, mode in [
        ("A", b"k", KEY_SHARE),
        ("X", b"k", KEY_SHARE),
        ("Y", b"k", SHARE),
        ("C", b"other", UPDATE),
    ]:
        assert table.acquire(owner, key, mode) is Outcome.GRANTED
    assert isinstance(table.acquire("C", b"k", NO_KEY_UPDATE, lambda: None), Ticket)
    assert isinstance(table.acquire("X", b"other", UPDATE, lambda: None), Ticket)
    assert table.acquire("A", b"k", UPDATE, lambda: None) is Outcome.DEADLOCK


def test_an_upgrade_closes_a_circle_through_another_wait_of_its_owner() -> None:
    table = LockTable()
    table.acquire("B", b"y", NO_KEY_UPDATE)
    table.acquire("D", b"x", KEY_SHARE)
    table.acquire("A", b"y", KEY_SHARE)
    assert isinstance(table.acquire("A", b"x", UPDATE, lambda: None), Ticket)
    assert isinstance(table.acquire("D", b"y", NO_KEY_UPDATE, lambda: None), Ticket)
    assert table.acquire("A", b"y", SHARE, lambda: None) is Outcome.DEADLOCK


def test_a_ring_of_any_length_has_exactly_one_victim() -> None:
    for size in range(2, 20):
        table = LockTable()
        order = list(range(size))
        random.Random(size).shuffle(order)
        for owner in range(size):
            table.acquire(owner, b"%d" % owner, UPDATE)
        outcomes = [
            table.acquire(owner, b"%d" % ((owner + 1) % size), UPDATE, lambda: None)
            for owner in order
        ]
        assert outcomes[-1] is Outcome.DEADLOCK
        assert all(isinstance(outcome, Ticket) for outcome in outcomes[:-1])


def test_a_circle_through_a_session_and_its_transactions() -> None:
    table = LockTable()
    for name in ("one", "two"):
        table.acquire(f"transaction {name}", b"row of " + name.encode(), UPDATE)
        table.acquire(f"session {name}", b"advisory of " + name.encode(), UPDATE)
        table.join(f"transaction {name}", f"session {name}")
    row, advisory = b"row of two", b"advisory of one"
    assert isinstance(table.acquire("transaction one", row, SHARE, lambda: None), Ticket)
    assert table.acquire("session two", advisory, UPDATE, lambda: None) is Outcome.DEADLOCK
    table.release("transaction two")
    assert isinstance(table.acquire("session two", advisory, UPDATE, lambda: None), Ticket)
    assert sorted(table.contended()) == [
        (advisory, "session one", UPDATE, True),
        (advisory, "session two", UPDATE, False),
    ]


def test_free_keys_are_taken_in_one_go_and_the_others_answered() -> None:
    table = LockTable()
    table.acquire("A", b"a", SHARE)
    table.acquire("B", b"b", KEY_SHARE)
    assert table.acquire_free("B", [b"a", b"b", b"c", b"c"], UPDATE) == [b"a", b"b", b"c"]
    assert [table.mode_held("B", key) for key in (b"a", b"b", b"c")] == [0, KEY_SHARE, UPDATE]
    assert table.acquire_free("C", [b"a"], UPDATE) == [b"a"]
    table.release("A")
    table.release("B")
    assert repr(table) == "<LockTable 0 keys, 0 owners, 0 waiting>"
