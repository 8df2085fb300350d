"""The balance: sessions even out, never wander, and a heavy one is not passed on and on."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.ids import PodId
from proxy.balance import BAND, BAND_MIN, PodLoad, Shift, pick, plan

UNBOUNDED = 10_000


def pods(*sessions: int, cpu: tuple[int, ...] = ()) -> list[PodLoad]:
    return [
        PodLoad(PodId(n), count, cpu[n] if n < len(cpu) else 0) for n, count in enumerate(sessions)
    ]


def alone(loads: list[PodLoad]) -> dict[PodId, int]:
    """One proxy has all the sessions."""
    return {pod.pod: pod.sessions for pod in loads}


def shifted(loads: list[PodLoad], shifts: list[Shift]) -> list[PodLoad]:
    """The loads once the sessions have moved, with their part of the CPU."""
    sessions = {pod.pod: pod.sessions for pod in loads}
    cpu = {pod.pod: float(pod.cpu_permille) for pod in loads}
    each = {pod.pod: pod.cpu_permille / max(pod.sessions, 1) for pod in loads}
    for shift in shifts:
        sessions[shift.source] -= shift.sessions
        sessions[shift.target] += shift.sessions
        cpu[shift.source] -= each[shift.source] * shift.sessions
        cpu[shift.target] += each[shift.source] * shift.sessions
    return [PodLoad(pod.pod, sessions[pod.pod], round(cpu[pod.pod])) for pod in loads]


# A new session


def test_a_new_session_goes_where_there_are_fewest() -> None:
    assert pick([]) is None
    chosen = pick(pods(4, 1, 8))
    assert chosen is not None
    assert chosen.pod == 1


def test_a_busy_pod_counts_for_more_than_its_sessions() -> None:
    chosen = pick(pods(10, 12, cpu=(900, 100)))
    assert chosen is not None
    assert chosen.pod == 1


# A round


@pytest.mark.parametrize(
    "loads",
    [
        pods(),
        pods(50),
        pods(10, 10),
        pods(9, 11),
        pods(2, 1),
        pods(1, 0),
        pods(0, 0),
        pods(110, 90),
    ],
)
def test_what_is_even_enough_is_left_alone(loads: list[PodLoad]) -> None:
    assert plan(loads, alone(loads), sessions_max=100, dice=0.99) == []


def test_a_pod_that_joins_gets_half_of_what_it_should_have_at_once() -> None:
    loads = pods(60, 0)
    assert plan(loads, alone(loads), sessions_max=100, dice=0.0) == [Shift(PodId(0), PodId(1), 15)]


def test_one_heavy_session_stays_where_it_is() -> None:
    loads = pods(1, 0, cpu=(1000, 0))
    assert plan(loads, alone(loads), sessions_max=100, dice=0.99) == []


def test_a_hot_pod_sheds_sessions_to_a_colder_one_with_as_many() -> None:
    loads = pods(10, 10, cpu=(1000, 100))
    (shift,) = plan(loads, alone(loads), sessions_max=100, dice=0.0)
    assert (shift.source, shift.target) == (0, 1)


def test_each_of_several_proxies_moves_its_part() -> None:
    loads = pods(60, 0)
    dice = random.Random(1)
    moved = [
        sum(
            shift.sessions
            for shift in plan(loads, {PodId(0): 6}, sessions_max=UNBOUNDED, dice=dice.random())
        )
        for _ in range(10)  # proxies
    ]
    assert set(moved) <= {1, 2}
    assert 10 <= sum(moved) <= 20


loads = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 1000)), min_size=2, max_size=8).map(
    lambda given: [PodLoad(PodId(n), *pair) for n, pair in enumerate(given)]
)


def squares(pods: list[PodLoad]) -> float:
    return sum(pod.load**2 for pod in pods)


@given(loads, st.floats(0, 0.999), st.integers(0, 50))
def test_no_round_moves_more_than_is_needed(
    before: list[PodLoad], dice: float, sessions_max: int
) -> None:
    shifts = plan(before, alone(before), sessions_max=sessions_max, dice=dice)
    assert sum(shift.sessions for shift in shifts) <= sessions_max
    mean = sum(pod.load for pod in before) / len(before)
    by_pod = {pod.pod: pod for pod in before}
    for shift in shifts:
        assert by_pod[shift.source].load > mean + max(mean * BAND, BAND_MIN)
        assert by_pod[shift.target].load < by_pod[shift.source].load
    assert {shift.source for shift in shifts}.isdisjoint({shift.target for shift in shifts})
    after = {pod.pod: pod for pod in shifted(before, shifts)}
    for shift in shifts:
        # the one it leaves is still the fuller one, but for a rounded permille
        assert after[shift.source].load >= after[shift.target].load - 0.1


@given(loads, st.integers(0, 2**32))
def test_rounds_come_to_an_end_and_no_session_comes_back(before: list[PodLoad], seed: int) -> None:
    dice = random.Random(seed)
    now = [PodLoad(pod.pod, pod.sessions) for pod in before]  # idle: the loads are whole numbers
    gave: set[PodId] = set()
    took: set[PodId] = set()
    for _ in range(200):
        shifts = plan(now, alone(now), sessions_max=UNBOUNDED, dice=dice.random())
        gave |= {shift.source for shift in shifts}
        took |= {shift.target for shift in shifts}
        after = shifted(now, shifts)
        assert not shifts or squares(after) < squares(now)
        now = after
    assert plan(now, alone(now), sessions_max=UNBOUNDED, dice=0.999) == []
    assert gave.isdisjoint(took)
