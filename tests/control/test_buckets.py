"""Token buckets against a twin that only counts."""

from hypothesis import given
from hypothesis import strategies as st

from control.buckets import Allowance, Buckets

_STEPS = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 5)), max_size=200)


@given(steps=_STEPS)
def test_nobody_gets_more_than_the_burst_and_the_rate(steps: list[tuple[int, float]]) -> None:
    buckets = Buckets(Allowance(rate=2.0, burst=5.0))
    now = 0.0
    taken: dict[int, list[float]] = {}
    for who, pause in steps:
        now += pause
        wait = buckets.take(who, now)
        assert wait >= 0
        if wait:
            assert buckets.wait(who, now + wait + 1e-6) == 0
            continue
        times = taken.setdefault(who, [])
        times.append(now)
        for first in range(len(times)):
            assert len(times) - first <= 5 + 2 * (now - times[first]) + 1e-6


def test_the_table_is_bounded() -> None:
    buckets = Buckets(Allowance(rate=1.0, burst=1.0), size_max=3)
    for who in range(100):
        assert buckets.take(who, 0.0) == 0
        assert len(buckets) <= 3
    assert buckets.take(99, 0.0) == 1.0
    assert buckets.take(0, 0.0) == 0
