"""Sliding windows against twins that keep everything and look through all of it."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.windows import SlidingMax, SlidingSum

_STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 1.1, 7.0, 40.0]), st.integers(0, 9)), max_size=400
)


@given(_STEPS, st.sampled_from([1.0, 5.0, 30.0]))
def test_the_sum_is_that_of_the_window(steps: list[tuple[float, int]], seconds: float) -> None:
    window, kept, now = SlidingSum(seconds, 1000), list[tuple[float, int]](), 0.0
    for later, amount in steps:
        now += later
        window.add(now, amount)
        kept.append((now, amount))
        young = [each for at, each in kept if at > now - seconds]
        assert (window.total, len(window)) == (sum(young), len(young))


@given(_STEPS, st.sampled_from([1.0, 5.0, 30.0]))
def test_the_largest_is_that_of_the_window(steps: list[tuple[float, int]], seconds: float) -> None:
    window, kept, now = SlidingMax(seconds), list[tuple[float, int]](), 0.0
    for later, value in steps:
        now += later
        window.add(now, float(value))
        kept.append((now, value))
        assert window.largest == max(each for at, each in kept if at > now - seconds)
        window.expire(now + 0.4)
        young = [each for at, each in kept if at > now + 0.4 - seconds]
        assert window.largest == max(young, default=0.0)


def test_a_full_ring_loses_its_oldest() -> None:
    window = SlidingSum(100.0, 3)
    for at, amount in enumerate([1, 10, 100, 1000]):
        window.add(float(at), amount)
    assert (window.total, len(window)) == (1110, 3)


def test_a_rising_series_is_kept_as_one_number() -> None:
    window = SlidingMax(1e9)
    for at in range(1000):
        window.add(float(at), float(at))
    assert len(window) == 1
    assert window.largest == 999.0


def test_nothing_is_as_large_as_zero() -> None:
    window = SlidingMax(1.0)
    window.add(0.0, 3.0)
    window.expire(10.0)
    assert (window.largest, len(window)) == (0.0, 0)
