"""CPU samples: the window slides, odd samples are left out, the peak is the busiest interval."""

from hypothesis import given
from hypothesis import strategies as st

from autoscaler.samples import SAMPLES_MAX, WINDOW_SECONDS, CpuSamples


def test_average_and_peak() -> None:
    samples = CpuSamples()
    for at, micros in [(0.0, 0), (1.0, 100_000), (2.0, 1_000_000), (3.0, 1_200_000)]:
        samples.add(at, micros)
    assert round(samples.average_cores(), 3) == 0.4
    assert round(samples.peak_cores(), 3) == 0.9


def test_one_sample_says_nothing() -> None:
    samples = CpuSamples()
    samples.add(5.0, 1_000_000)
    assert (samples.average_cores(), samples.peak_cores()) == (0.0, 0.0)


def test_the_past_beyond_the_window_does_not_count() -> None:
    samples = CpuSamples()
    samples.add(0.0, 0)
    samples.add(1.0, 1_000_000)
    samples.add(WINDOW_SECONDS + 1.0, 1_000_000)
    assert samples.peak_cores() == 0.0


@given(st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 10**9)), max_size=1000))
def test_any_samples_are_bounded_and_never_negative(given_samples: list[tuple[float, int]]) -> None:
    samples = CpuSamples()
    for at, micros in given_samples:
        samples.add(at, micros)
    assert 0.0 <= samples.average_cores() <= samples.peak_cores() * (1 + 1e-9)
    assert len(samples) <= SAMPLES_MAX
