"""The size of the warm pool: what it answers, a twin that replays all claims, what always holds."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.pool import (
    BURST_MAX,
    COVER,
    FORK_SECONDS,
    HOURLY_SECONDS,
    RATE_SECONDS,
    RECENT_SECONDS,
    WakeRate,
    warm_wanted,
)

LOW, HIGH = 2, 64


def _rate(*claims: float) -> WakeRate:
    rate = WakeRate()
    for at in claims:
        rate.note(at)
    return rate


def _wanted(rate: WakeRate, now: float) -> int:
    return warm_wanted(rate, now=now, low=LOW, high=HIGH)


def test_without_claims_it_is_as_small_as_may_be() -> None:
    assert _wanted(WakeRate(), 0.0) == LOW


def test_a_claim_now_and_then_needs_no_more() -> None:
    assert _wanted(_rate(*range(0, 36_000, 60)), 36_000.0) == LOW


def test_a_burst_is_covered_when_it_comes_again() -> None:
    rate = _rate(*[10.0] * 20)
    assert _wanted(rate, 10.0) == 20
    assert _wanted(rate, 10.0 + RECENT_SECONDS) == 10
    assert _wanted(rate, 10.0 + 10 * RECENT_SECONDS) == LOW


def test_a_burst_by_the_clock_is_covered_a_minute_before() -> None:
    hour = 3600.0
    rate = _rate(*[10 * 60.0 + 5] * 20)
    assert _wanted(rate, hour + 8 * 60.0) == LOW
    assert _wanted(rate, hour + 9 * 60.0) == 19  # 20, an hour ago
    assert _wanted(rate, hour + 10 * 60.0 + 59) == 19
    assert _wanted(rate, hour + 11 * 60.0) == LOW
    assert _wanted(rate, 12 * hour + 9.5 * 60.0) == 10
    assert _wanted(rate, 72 * hour + 9.5 * 60.0) == LOW


def test_a_flood_is_not_remembered_for_longer_than_a_burst() -> None:
    rate = _rate(*[10.0] * 10_000)
    assert rate.enough(10.0) == BURST_MAX
    assert _wanted(rate, 10.0 + 10 * RECENT_SECONDS) == LOW


def test_claims_that_forks_can_follow_are_no_burst() -> None:
    spaced = [number * 2 * FORK_SECONDS for number in range(20)]
    assert _rate(*spaced).enough(spaced[-1]) == pytest.approx(1.0, abs=0.05)


def test_claims_faster_than_forks_want_all_there_may_be() -> None:
    rate = _rate(*[number * FORK_SECONDS / 2 for number in range(2_000)])
    assert _wanted(rate, 1_000 * FORK_SECONDS) == HIGH


def test_slow_forks_need_a_larger_pool() -> None:
    rate = _rate(*range(0, 3_600, 2))
    fast = _wanted(rate, 3_600.0)
    for _ in range(50):
        rate.forked(1.5)
    assert rate.fork_seconds == pytest.approx(1.5, rel=0.01)
    assert _wanted(rate, 3_600.0) > fast


def test_a_fork_that_took_no_time_does_not_divide_by_zero() -> None:
    rate = WakeRate()
    for _ in range(1_000):
        rate.forked(0.0)
    rate.note(1.0)
    assert rate.fork_seconds > 0
    assert _wanted(rate, 1.0) == LOW


class Twin:
    """All claims by heart; the queue of forks replayed one by one, the rate as its definition."""

    def __init__(self) -> None:
        self.claims: list[float] = []

    def per_second(self, now: float) -> float:
        return sum(math.exp((at - now) / RATE_SECONDS) for at in self.claims) / RATE_SECONDS

    def enough(self, now: float) -> float:
        ready, most = float("-inf"), 0.0
        for at in self.claims:
            ready = max(ready, at) + FORK_SECONDS  # when the replacement of this one is there
            burst = min((ready - at) / FORK_SECONDS, BURST_MAX)
            most = max(most, burst * 0.5 ** ((now - at) / RECENT_SECONDS))
            if any(int(at / 60) % 60 == int(then / 60) % 60 for then in (now, now + 60)):
                most = max(most, burst * 0.5 ** ((now - at) / HOURLY_SECONDS))
        return most

    def expected(self, now: float) -> int:
        per_fork = self.per_second(now) * FORK_SECONDS
        for pods in range(HIGH):
            mean = per_fork * (pods + 1)
            chances = (math.exp(-mean) * mean**n / math.factorial(n) for n in range(pods + 1))
            if sum(chances) >= COVER and per_fork < 1:
                return pods
        return HIGH


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_the_size_is_that_of_its_twin(seed: int) -> None:
    dice = random.Random(seed)
    rate, twin, now, pace = WakeRate(), Twin(), 0.0, 1.0
    for _ in range(300):
        if dice.random() < 0.05:
            pace = dice.choice([0.05, 0.2, 1.0, 60.0, 1_000.0])
        now += dice.expovariate(1 / pace)
        rate.note(now)
        twin.claims.append(now)
        later = now + dice.choice([0.0, 0.0, 30.0, 3600.0])
        assert rate.per_second(later) == pytest.approx(twin.per_second(later))
        assert rate.enough(later) == pytest.approx(twin.enough(later))
        seen = math.ceil(twin.enough(later) - 0.5)
        assert _wanted(rate, later) == min(max(LOW, seen, twin.expected(later)), HIGH)


_CLAIMS = st.lists(st.floats(0, 5_000), max_size=200).map(sorted)


@given(_CLAIMS, st.floats(0, 10_000), st.integers(0, 10), st.integers(0, 50))
def test_it_stays_within_its_bounds(claims: list[float], later: float, low: int, more: int) -> None:
    wanted = warm_wanted(_rate(*claims), now=5_000.0 + later, low=low, high=low + more)
    assert low <= wanted <= low + more


@given(_CLAIMS, st.lists(st.floats(0, 1e6), min_size=2, max_size=20).map(sorted))
def test_without_claims_it_only_shrinks(claims: list[float], later: list[float]) -> None:
    """Seen at the same minute of the hour; other minutes remember other things."""
    rate = _rate(*claims)
    sizes = [_wanted(rate, 5_000.0 + 3_600.0 * (seconds // 3_600)) for seconds in later]
    assert sizes == sorted(sizes, reverse=True)


@given(_CLAIMS)
def test_a_week_later_nothing_is_remembered(claims: list[float]) -> None:
    assert _wanted(_rate(*claims), 7 * 86_400.0) == LOW


@given(_CLAIMS, st.floats(0, 5_000))
def test_another_claim_never_shrinks_it(claims: list[float], extra: float) -> None:
    less, more = _rate(*claims), _rate(*sorted([*claims, extra]))
    assert _wanted(less, 5_000.0) <= _wanted(more, 5_000.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.05, 0.3, 1.0, 2.0]))
def test_steady_wakes_find_a_pod(seed: int, per_second: float) -> None:
    """A pool of that size, refilled one at a time, misses few claims of a Poisson process."""
    dice = random.Random(seed)
    rate, now = WakeRate(), 0.0
    ready: list[float] = []  # when each replacement is there; the rest of the pool is warm
    misses = 0
    for number in range(2_000):
        now += dice.expovariate(per_second)
        ready = [at for at in ready if at > now]
        misses += number >= 200 and len(ready) >= _wanted(rate, now)
        ready.append(max([now, *ready]) + FORK_SECONDS)
        rate.note(now)
    assert misses <= 1_800 * 3 * (1 - COVER)
