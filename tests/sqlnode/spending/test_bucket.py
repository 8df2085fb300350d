"""The bucket against what it promises."""

import math

from hypothesis import given
from hypothesis import strategies as st

from sqlnode.spending.bucket import BURST_SECONDS, DEBT_SECONDS_MAX, Bucket

_RATE = 10_000_000
_STEPS = st.lists(
    st.tuples(st.floats(0, 30, allow_nan=False), st.integers(0, 20 * _RATE)), max_size=60
)


@given(_STEPS)
def test_over_any_time_no_more_is_let_through_than_the_rate_and_a_burst(
    steps: list[tuple[float, int]],
) -> None:
    """Each step: whoever asks is made to wait as told, and then uses that much, or what the debt
    allows."""
    bucket = Bucket(_RATE, now=0.0, used=0)
    now, used = 0.0, 0
    for idle, wanted in steps:
        now += idle
        seconds = bucket.wait(now, used)
        assert 0 <= seconds <= DEBT_SECONDS_MAX + 0.001
        now += seconds
        assert bucket.wait(now, used) == 0 or seconds == 0
        cost = min(wanted, int(DEBT_SECONDS_MAX * _RATE))
        used += cost
        # All but the last one's cost fits into what had come.
        assert used - cost <= (now + BURST_SECONDS) * _RATE + 1


@given(_STEPS)
def test_nobody_waits_longer_than_the_debt_however_much_was_used(
    steps: list[tuple[float, int]],
) -> None:
    bucket = Bucket(_RATE, now=0.0, used=0)
    now, used = 0.0, 0
    for idle, cost in steps:
        now += idle
        used += 100 * cost
        assert bucket.wait(now, used) <= DEBT_SECONDS_MAX + 0.001


def test_a_bucket_that_nothing_comes_into() -> None:
    bucket = Bucket(0, now=0.0, used=0)
    assert bucket.wait(1e9, 0) == math.inf


def test_an_estimate_that_falls_gives_nothing_back() -> None:
    bucket = Bucket(_RATE, now=0.0, used=0)
    bucket.settle(0.0, 100 * _RATE)
    before = bucket.wait(0.0, 100 * _RATE)
    assert bucket.wait(0.0, 90 * _RATE) == before
    assert bucket.wait(0.0, 100 * _RATE) == before


def test_another_rate_counts_from_then_on() -> None:
    bucket = Bucket(_RATE, now=0.0, used=0)
    bucket.settle(0.0, 30 * _RATE)
    assert round(bucket.wait(0.0, 30 * _RATE)) == 20
    bucket.set_rate(2 * _RATE, now=10.0, used=30 * _RATE)
    assert round(bucket.wait(10.0, 30 * _RATE)) == 5
