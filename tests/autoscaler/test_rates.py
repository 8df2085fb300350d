"""A counter's growth, from readings that come when they come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.rates import SMOOTHING_SECONDS, Rate


def test_the_latest_rate_is_that_of_the_last_two_readings() -> None:
    rate = Rate()
    rate.add(10.0, 100.0)
    assert (rate.latest, rate.smooth) == (0.0, 0.0)
    rate.add(12.0, 101.0)
    assert rate.latest == 0.5
    rate.add(15.0, 101.0)
    assert rate.latest == 0.0


def test_a_late_reading_is_left_out_and_a_smaller_one_begins_anew() -> None:
    rate = Rate()
    rate.add(10.0, 100.0)
    rate.add(11.0, 101.0)
    rate.add(11.0, 500.0)
    rate.add(10.5, 500.0)
    assert rate.latest == 1.0
    rate.add(12.0, 0.0)  # another process by the same name
    assert rate.latest == 1.0
    rate.add(13.0, 0.25)
    assert rate.latest == 0.25


def test_a_change_shows_by_two_thirds_after_the_smoothing_time() -> None:
    rate = Rate()
    for second in range(int(SMOOTHING_SECONDS) + 1):
        rate.add(float(second), float(second))
    assert rate.smooth == pytest.approx(0.632, abs=0.001)


@given(
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=30),
    st.lists(st.floats(0.0, 5.0), min_size=1, max_size=30),
)
def test_the_smooth_rate_lies_between_the_rates_there_were(
    steps: list[float], rates: list[float]
) -> None:
    rate = Rate()
    at = value = 0.0
    rate.add(at, value)
    for step, each in zip(steps, rates, strict=False):
        at, value = at + step, value + step * each
        rate.add(at, value)
    assert -1e-6 <= rate.smooth <= max(rates) + 1e-6
