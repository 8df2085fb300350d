"""The lock table beside a dumb twin, and the named situations."""

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import lockmodes
from storage.lockmodes import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    EXCLUSIVE,
    KEY_SHARE,
    NO_KEY_UPDATE,
    ROW_EXCLUSIVE,
    ROW_SHARE,
    SHARE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    TABLE_SHARE,
    UPDATE,
)
from storage.locks import LockTable, Outcome, Ticket

# PostgreSQL manual, tables 13.2 and 13.3, by name and not by arithmetic.
ROW_CONFLICTS = {
    KEY_SHARE: {UPDATE},
    SHARE: {NO_KEY_UPDATE, UPDATE},
    NO_KEY_UPDATE: {SHARE, NO_KEY_UPDATE, UPDATE},
    UPDATE: {KEY_SHARE, SHARE, NO_KEY_UPDATE, UPDATE},
}
TABLE_CONFLICTS = {
    ACCESS_SHARE: {ACCESS_EXCLUSIVE},
    ROW_SHARE: {EXCLUSIVE, ACCESS_EXCLUSIVE},
    ROW_EXCLUSIVE: {TABLE_SHARE, SHARE_ROW_EXCLUSIVE, EXCLUSIVE, ACCESS_EXCLUSIVE},
    SHARE_UPDATE_EXCLUSIVE: {
        SHARE_UPDATE_EXCLUSIVE,
        TABLE_SHARE,
        SHARE_ROW_EXCLUSIVE,
        EXCLUSIVE,
        ACCESS_EXCLUSIVE,
    },
    TABLE_SHARE: {
        ROW_EXCLUSIVE,
        SHARE_UPDATE_EXCLUSIVE,
        SHARE_ROW_EXCLUSIVE,
        EXCLUSIVE,
        ACCESS_EXCLUSIVE,
    },
    SHARE_ROW_EXCLUSIVE: {
        ROW_EXCLUSIVE,
        SHARE_UPDATE_EXCLUSIVE,
        TABLE_SHARE,
        SHARE_ROW_EXCLUSIVE,
        EXCLUSIVE,
        ACCESS_EXCLUSIVE,
    },
    EXCLUSIVE: {
        ROW_SHARE,
        ROW_EXCLUSIVE,
        SHARE_UPDATE_EXCLUSIVE,
        TABLE_SHARE,
        SHARE_ROW_EXCLUSIVE,
        EXCLUSIVE,
        ACCESS_EXCLUSIVE,
    },
}
TABLE_CONFLICTS[ACCESS_EXCLUSIVE] = {*TABLE_CONFLICTS, ACCESS_EXCLUSIVE}
CONFLICTS = ROW_CONFLICTS | TABLE_CONFLICTS


@dataclass(eq=False)
class Request:
    owner: str
    key: bytes
    mode: int


@dataclass
class DumbTable:
    """The rules read out loud: lists, and everything worked out again at every step."""

    held: list[tuple[str, bytes, int]] = field(default_factory=list)
    queue: list[Request] = field(default_factory=list)
    party: dict[str, str] = field(default_factory=dict)

    def held_by(self, owner: str, key: bytes) -> set[int]:
        """Of a row the strongest mode alone, of a table all modes."""
        modes = {m for o, k, m in self.held if (o, k) == (owner, key)}
        return modes if modes <= TABLE_CONFLICTS.keys() else {max(modes)}

    def blockers(self, request: Request) -> set[str]:
        ahead = self.queue[: self.queue.index(request)]
        return {
            owner
            for owner, key, mode in [
                *self.held,
                *((other.owner, other.key, other.mode) for other in ahead),
            ]
            if key == request.key and owner != request.owner and mode in CONFLICTS[request.mode]
        }

    def acquire(self, request: Request, *, wait: bool) -> str:
        mine = self.held_by(request.owner, request.key)
        if request.mode in mine or (
            request.mode in ROW_CONFLICTS and any(mode > request.mode for mode in mine)
        ):
            return "granted"
        self.enqueue(request, mine)
        if not self.blockers(request):
            self.queue.remove(request)
            self.held.append((request.owner, request.key, request.mode))
            return "granted"
        if not wait or self.circle(request.owner):
            self.queue.remove(request)
            return "deadlock" if wait else "not available"
        return "waits"

    def enqueue(self, request: Request, mine: set[int]) -> None:
        """In front of the first that waits for its owner."""
        behind = [
            number
            for number, other in enumerate(self.queue)
            if other.key == request.key
            and other.owner != request.owner
            and CONFLICTS[other.mode] & mine
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

    def lower(self, owner: str, key: bytes, kept: set[int]) -> None:
        mine = self.held_by(owner, key)
        if sum(mine) > sum(kept):
            self.held = [hold for hold in self.held if hold[:2] != (owner, key)]
            self.held += [(owner, key, mode) for mode in kept]
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


HISTORIES = 16_000
PARTIES = "PQ"
OWNERS = "ABCDE" + PARTIES
ROWS, TABLES = (b"row x", b"row y"), (b"table t", b"table u")
ACTIONS = ["acquire"] * 7 + ["try", "release", "cancel", "lower", "free", "join", "take", "sweep"]
MODES = {key: tuple(ROW_CONFLICTS) for key in ROWS} | {
    key: tuple(TABLE_CONFLICTS) for key in TABLES
}
Step = tuple[str, str, bytes, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS),
        st.sampled_from(OWNERS),
        st.sampled_from(ROWS + TABLES),
        st.integers(min_value=0, max_value=7),
    ),
    max_size=40,
)


class Pair:
    """The table and its twin, which are told the same."""

    def __init__(self, keys_at_once: int) -> None:
        self.table, self.twin = LockTable(keys_at_once=keys_at_once), DumbTable()
        self.waiting: list[tuple[Ticket, Request]] = []
        self.granted: list[int] = []

    def step(self, number: int, step: Step) -> None:
        action, owner, key, choice = step
        mode = MODES[key][choice % len(MODES[key])]
        if action == "release":
            self.table.release(owner)
            self.twin.release(owner)
        elif action in ("lower", "free"):
            self.lower(owner, key, mode if action == "lower" else 0)
        elif action == "join":
            if owner not in PARTIES:
                self.table.join(owner, PARTIES[choice % 2])
                self.twin.party.setdefault(owner, PARTIES[choice % 2])
        elif action == "cancel":
            self.cancel(owner)
        elif action == "take":
            self.take_free(number, owner)
        elif action == "sweep":
            self.table.sweep()
        else:
            self.acquire(number, Request(owner, key, mode), wait=action == "acquire")

    def lower(self, owner: str, key: bytes, mode: int) -> None:
        """Of a row keep a weaker mode, of a table all but one."""
        if key in TABLES and mode:
            kept = self.twin.held_by(owner, key) - {mode}
        else:
            kept = {mode // 2} - {0}
        self.table.lower(owner, key, sum(kept))
        self.twin.lower(owner, key, kept)

    def cancel(self, owner: str) -> None:
        mine = [
            pair for pair in self.waiting if pair[0].owner == owner and pair[1] in self.twin.queue
        ]
        if mine:
            self.table.cancel(mine[0][0])
            self.twin.queue.remove(mine[0][1])
            self.twin.grant()

    def take_free(self, number: int, owner: str) -> None:
        """All rows, as a staged piece does; what is left of what nobody holds any more may still
        count as held."""
        others = self.table.acquire_free(owner, ROWS, UPDATE)
        for row in ROWS:
            if row not in others:
                assert self.twin.acquire(Request(owner, row, UPDATE), wait=False) == "granted"

    def acquire(self, number: int, request: Request, *, wait: bool) -> None:
        expected = self.twin.acquire(request, wait=wait)
        call = (lambda: self.granted.append(number)) if wait else None
        outcome = self.table.acquire(request.owner, request.key, request.mode, call)
        if isinstance(outcome, Ticket):
            assert expected == "waits"
            self.waiting.append((outcome, request))
        else:
            assert expected == outcome.name.lower().replace("_", " ")

    def check(self) -> None:
        for who in OWNERS:
            for what in MODES:
                assert self.table.mode_held(who, what) == sum(self.twin.held_by(who, what))
            assert set(self.table.held(who)) == {k for o, k, _ in self.twin.held if o == who}
        for what in ROWS:
            writers = [o for o, k, mode in self.twin.held if k == what and mode >= NO_KEY_UPDATE]
            assert self.table.writer(what) == next(iter(writers), None)
        waiting = Counter[object]((each.key, each.owner, each.mode) for each in self.twin.queue)
        contended = list(self.table.contended())
        assert Counter(each[:3] for each in contended if not each[3]) == waiting
        for key, holder, modes, holds in contended:
            assert not holds or modes == sum(self.twin.held_by(str(holder), key))
        assert self.table.total == sum(map(self.table.count, OWNERS))

    def finish(self) -> None:
        for owner in OWNERS:
            self.table.release(owner)
            self.twin.release(owner)
            self.check()
        while self.table.unswept:
            self.table.sweep()
        assert repr(self.table) == "<LockTable 0 keys, 0 owners, 0 waiting>"
        assert len(set(self.granted)) == len(self.granted)


KEYS_AT_ONCE = [0, 1, 1000]
"""Of so many keys an owner lets go at once, of more later."""


@given(steps=steps, keys_at_once=st.sampled_from(KEYS_AT_ONCE))
@settings(max_examples=500, deadline=None)
def test_agrees_with_the_dumb_twin(steps: list[Step], keys_at_once: int) -> None:
    pair = Pair(keys_at_once)
    for number, step in enumerate(steps):
        pair.step(number, step)
        pair.check()
    pair.finish()


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_the_dumb_twin_over_thousands_of_histories(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(HISTORIES // 8):
        pair, keys = (
            Pair(chance.choice(KEYS_AT_ONCE)),
            chance.sample(list(MODES), chance.randint(1, 3)),
        )
        owners = chance.sample(OWNERS, chance.randint(2, len(OWNERS)))
        for number in range(chance.randint(1, 20)):
            choices = chance.choice(ACTIONS), chance.choice(owners), chance.choice(keys)
            pair.step(number, (*choices, chance.randrange(8)))
        pair.check()
        pair.finish()


def test_the_matrix_is_postgresqls() -> None:
    for modes in (ROW_CONFLICTS, TABLE_CONFLICTS):
        for held, conflicting in modes.items():
            assert lockmodes.CONFLICTS[held] == sum(conflicting)
            for mode in modes:
                table = LockTable()
                table.acquire("A", b"k", held)
                refused = table.acquire("B", b"k", mode) is Outcome.NOT_AVAILABLE
                assert refused == (mode in conflicting), (held, mode)


def test_numbers_of_the_protocol() -> None:
    assert [lockmodes.row_mode(number) for number in range(5)] == [0, *ROW_CONFLICTS]
    assert [lockmodes.row_number(mode) for mode in (0, *ROW_CONFLICTS)] == [0, 1, 2, 3, 4]
    assert [lockmodes.table_mode(number) for number in range(1, 9)] == list(TABLE_CONFLICTS)
    assert list(lockmodes.table_numbers(ACCESS_SHARE | EXCLUSIVE)) == [1, 7]


def test_an_owner_holds_several_modes_of_a_table() -> None:
    table = LockTable()
    table.acquire("A", b"t", TABLE_SHARE)
    assert table.acquire("B", b"t", TABLE_SHARE) is Outcome.GRANTED
    assert table.acquire("A", b"t", SHARE_UPDATE_EXCLUSIVE) is Outcome.NOT_AVAILABLE
    table.release("B")
    assert table.acquire("A", b"t", SHARE_UPDATE_EXCLUSIVE) is Outcome.GRANTED
    assert table.mode_held("A", b"t") == TABLE_SHARE | SHARE_UPDATE_EXCLUSIVE
    assert table.acquire("B", b"t", TABLE_SHARE) is Outcome.NOT_AVAILABLE
    table.lower("A", b"t", TABLE_SHARE)
    assert table.acquire("B", b"t", TABLE_SHARE) is Outcome.GRANTED


def test_who_holds_a_table_passes_only_those_that_wait_for_it() -> None:
    table = LockTable()
    order: list[str] = []
    table.acquire("A", b"t", ACCESS_SHARE)
    table.acquire("B", b"t", ROW_EXCLUSIVE)
    table.acquire("C", b"t", TABLE_SHARE, lambda: order.append("C"))
    late = table.acquire("A", b"t", ROW_EXCLUSIVE, lambda: order.append("A"))
    assert isinstance(late, Ticket)  # C does not wait for A's ACCESS SHARE
    assert table.acquire("B", b"t", EXCLUSIVE) is Outcome.GRANTED  # but for B
    table.release("B")
    assert order == ["C"]
    table.release("C")
    assert order == ["C", "A"]


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
        ("A", b"k", SHARE),
        ("X", b"k", KEY_SHARE),
        ("Y", b"k", SHARE),
        ("C", b"other", UPDATE),
    ]:
        assert table.acquire(owner, key, mode) is Outcome.GRANTED
    assert isinstance(table.acquire("C", b"k", NO_KEY_UPDATE, lambda: None), Ticket)
    assert isinstance(table.acquire("X", b"other", UPDATE, lambda: None), Ticket)
    assert table.acquire("A", b"k", UPDATE, lambda: None) is Outcome.DEADLOCK


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


def test_whoever_waits_for_one_of_very_many_keys_is_next_at_once() -> None:
    table, order = LockTable(keys_at_once=10), list[str]()
    keys = [b"%06d" % number for number in range(1000)]
    table.acquire_free("large", keys, UPDATE)
    table.acquire("shared", keys[500], KEY_SHARE, lambda: order.append("shared"))
    for waiting, key in (("B", keys[7]), ("A", keys[3]), ("C", keys[7])):
        ticket = table.acquire(waiting, key, UPDATE, partial(order.append, waiting))
        assert isinstance(ticket, Ticket)
    table.release("large")
    assert order == ["shared", "B", "A"]
    assert [table.mode_held("B", keys[7]), table.total, table.count("large")] == [UPDATE, 3, 0]
    assert table.held("large") == []


def test_what_was_let_go_of_counts_as_free_before_it_is_swept() -> None:
    table = LockTable(keys_at_once=10)
    keys = [b"%06d" % number for number in range(100)]
    table.acquire_free("large", keys, UPDATE)
    table.release("large")
    assert table.acquire_free("next", keys[:50], UPDATE) == []
    assert table.acquire("large", keys[60], SHARE) is Outcome.GRANTED
    assert table.acquire("other", keys[60], SHARE) is Outcome.GRANTED
    assert table.writer(keys[70]) is None
    sweeps = 0
    while table.unswept:
        table.sweep()
        sweeps += 1
    assert sweeps == 10
    assert table.held("next") == keys[:50]
    assert all(table.mode_held("next", key) == UPDATE for key in keys[:50])
    assert table.mode_held("large", keys[60]) == table.mode_held("other", keys[60]) == SHARE
    assert repr(table) == "<LockTable 51 keys, 3 owners, 0 waiting>"
