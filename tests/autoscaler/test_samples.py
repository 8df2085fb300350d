"""CPU samples of one pod: odd ones are left out, and only the last seconds are kept."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.samples import RECENT_SECONDS, SAMPLES_MAX, CpuSamples


def test_the_last_interval_and_the_last_seconds() -> None:
    samples = CpuSamples()
    for at, micros in [(0.0, 0), (1.0, 100_000), (2.0, 1_000_000), (3.0, 1_200_000)]:
        samples.add(at, micros)
    assert round(samples.cores, 3) == 0.2
    assert round(samples.recent_cores, 3) == 0.4


def test_one_sample_says_nothing() -> None:
    samples = CpuSamples()
    samples.add(5.0, 1_000_000)
    assert (samples.cores, samples.recent_cores) == (0.0, 0.0)


def test_what_is_long_ago_does_not_count() -> None:
    samples = CpuSamples()
    for at in range(10):
        samples.add(float(at), 1_000_000 * at)
    for at in range(10, 20):
        samples.add(float(at), 9_000_000)
    assert samples.recent_cores == 0.0


def test_after_a_gap_the_use_is_spread_over_it() -> None:
    samples = CpuSamples()
    samples.add(0.0, 0)
    samples.add(10 * RECENT_SECONDS, 5_000_000)
    assert samples.cores == samples.recent_cores == 0.1


@given(st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 10**9)), max_size=1000))
def test_any_samples_are_bounded_and_never_negative(given_samples: list[tuple[float, int]]) -> None:
    samples = CpuSamples()
    for at, micros in given_samples:
        samples.add(at, micros)
    assert samples.cores >= 0.0
    assert samples.recent_cores >= 0.0
    assert len(samples) <= SAMPLES_MAX
