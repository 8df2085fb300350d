"""The checker finds what is wrong, and only that."""

import random
from itertools import pairwise

import pytest

from tests.e2e.listappend.checker import (
    Append,
    Fate,
    Level,
    Operation,
    Read,
    Torn,
    Transaction,
    circles,
    problems,
)

RC, RR, SER = Level.READ_COMMITTED, Level.REPEATABLE_READ, Level.SERIALIZABLE


def done(*operations: Operation, fate: Fate = Fate.COMMITTED) -> Transaction:
    return Transaction(fate, list(operations))


def final(**lists: tuple[int, ...]) -> Transaction:
    return done(*[Read(int(key[1:]), values) for key, values in lists.items()])


def kinds(level: Level, *history: Transaction) -> set[str]:
    return {each.partition(":")[0] for each in problems(history, level)}


def test_a_serial_history_is_fine_at_every_level() -> None:
    rng = random.Random(7)
    lists: dict[int, tuple[int, ...]] = {}
    history = []
    for value in range(300):
        operations: list[Operation] = []
        for step in range(rng.randrange(1, 4)):
            key = rng.randrange(5)
            if rng.random() < 0.5:
                lists[key] = (*lists.get(key, ()), value * 10 + step)
                operations.append(Append(key, value * 10 + step))
            else:
                operations.append(Read(key, lists.get(key, ())))
        history.append(done(*operations))
    history.append(done(*[Read(key, values) for key, values in lists.items()]))
    for level in Level:
        assert problems(history, level) == []


def test_write_skew_is_wrong_under_serializable_only() -> None:
    skew = [
        done(Read(1, ()), Append(2, 20)),
        done(Read(2, ()), Append(1, 10)),
        final(k1=(10,), k2=(20,)),
    ]
    assert kinds(SER, *skew) == {"G2"}
    assert kinds(RR, *skew) == kinds(RC, *skew) == set()


def test_read_skew_is_wrong_from_repeatable_read_on() -> None:
    skew = [
        done(Read(1, ()), Read(2, (20,))),
        done(Append(1, 10), Append(2, 20)),
        final(k1=(10,), k2=(20,)),
    ]
    assert kinds(RC, *skew) == set()
    assert kinds(RR, *skew) == {"G-single"}
    assert kinds(SER, *skew) == {"G2"}


def test_lost_updates_and_circles_of_information() -> None:
    lost = [
        done(Read(1, ()), Append(1, 10)),
        done(Read(1, ()), Append(1, 11)),
        final(k1=(10, 11)),
    ]
    assert kinds(RR, *lost) == {"G-single"}
    flow = [
        done(Append(1, 10), Read(2, (20,))),
        done(Append(2, 20), Read(1, (10,))),
        final(k1=(10,), k2=(20,)),
    ]
    assert kinds(RC, *flow) == {"G1c"}
    dirty = [done(Append(1, 10), Append(2, 20)), done(Append(1, 11), Append(2, 21))]
    assert "G0" in kinds(RC, *dirty, final(k1=(10, 11), k2=(21, 20)))


@pytest.mark.parametrize(
    ("history", "text"),
    [
        ([done(Append(1, 10)), final(k1=())], "acknowledged and is gone"),
        ([done(Append(1, 10), fate=Fate.FAILED), final(k1=(10,))], "G1a"),
        ([done(Append(1, 10), Append(1, 11)), done(Read(1, (10,))), final(k1=(10, 11))], "G1b"),
        ([done(Append(1, 10)), final(k1=(10, 10))], "twice"),
        ([done(Append(1, 1)), done(Append(1, 2)), final(k1=(1, 2)), final(k1=(2, 1))], "beginning"),
        ([done(Append(1, 10), Read(1, ())), final(k1=(10,))], "its own"),
        ([done(Torn(1, "half of it"), fate=Fate.FAILED), final(k1=())], "half of it"),
    ],
)
def test_what_is_wrong_without_a_circle(history: list[Transaction], text: str) -> None:
    assert any(text in each for each in problems(history, RC))


def test_who_does_not_know_may_have_done_it_or_not() -> None:
    for seen in ((), (10,)):
        assert problems([done(Append(1, 10), fate=Fate.UNKNOWN), final(k1=seen)], SER) == []


def test_who_does_not_know_and_has_not_done_it_stands_before_nobody() -> None:
    history = [
        done(Append(1, 10), Read(1, (10,)), Read(2, ()), fate=Fate.UNKNOWN),
        done(Append(2, 20)),
        final(k1=(), k2=(20,)),
    ]
    assert problems(history, SER) == []


@pytest.mark.parametrize("fate", [Fate.COMMITTED, Fate.UNKNOWN])
def test_what_was_read_and_is_gone_is_found(fate: Fate) -> None:
    seen = [done(Append(1, 10), fate=fate), done(Read(1, (10,))), final(k1=())]
    assert any("no beginning" in each for each in problems(seen, RC))
    half = [done(Append(1, 10), Append(2, 20), fate=fate), final(k1=(), k2=(20,))]
    assert any("is gone" in each for each in problems(half, RC))
    own = [done(Append(1, 10), Read(1, (10,))), final(k1=())]
    assert any("is gone" in each for each in problems(own, RC))


def test_circles_are_found_where_they_are() -> None:
    rng = random.Random(3)
    for _ in range(200):
        edges = {n: {rng.randrange(8) for _ in range(rng.randrange(3))} - {n} for n in range(8)}
        reach = {n: set(after) for n, after in edges.items()}
        for _ in range(8):
            for after in reach.values():
                after.update(*[reach[each] for each in list(after)])
        has_circle = any(n in after for n, after in reach.items())
        found = list(circles(edges))
        assert bool(found) == has_circle
        for circle in found:
            assert circle[0] == circle[-1]
            assert all(b in edges[a] for a, b in pairwise(circle))
