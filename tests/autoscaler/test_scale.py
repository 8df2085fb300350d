"""The scaling rule: what it answers, a twin that keeps every sample, and what must always hold."""

import math
import random
from collections.abc import Hashable, Mapping
from dataclasses import replace
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.scale import SAMPLE_SECONDS_MIN, ScalePolicy, TenantLoad, Wanted, pods_wanted

POLICY = ScalePolicy(peak_seconds=5.0, saturated_seconds=3.0, quiet_seconds=60.0)
WINDOW = int(POLICY.window_seconds)


def _load(
    *stretches: tuple[int, float], pods: int = 1, sessions: int = 100, policy: ScalePolicy = POLICY
) -> TenantLoad:
    """A load after `seconds` at `cores` each (shared by `pods`), one stretch after the other."""
    load, at = TenantLoad(policy), 0.0
    load.add(at, {}, sessions=0)
    for seconds, cores in stretches:
        for _ in range(seconds):
            at += 1.0
            load.add(at, dict.fromkeys(range(pods), cores / pods), sessions=sessions)
    return load


def _wanted(
    load: TenantLoad,
    pods_now: int,
    *,
    pods_min: int = 0,
    pods_max: int = 64,
    active: bool = True,
    later: float = 0.0,
) -> Wanted:
    now = load.sampled_at + later
    return pods_wanted(
        load, pods_now=pods_now, pods_min=pods_min, pods_max=pods_max, active=active, now=now
    )


class TestRule:
    def test_a_steady_load_gets_four_times_its_average(self) -> None:
        wanted = _wanted(_load((WINDOW, 0.7)), 1)
        assert wanted.pods == 3  # 2.8
        assert wanted.reason == "4 × the average of 0.70 cores"

    def test_a_burst_gets_a_third_more_than_its_peak(self) -> None:
        wanted = _wanted(_load((WINDOW, 0.0), (5, 2.8), (100, 0.0), pods=4), 1)
        assert wanted.pods == 4  # 3.72
        assert wanted.reason == "1.33 × the peak of 2.80 cores"

    def test_a_second_of_work_is_no_peak(self) -> None:
        wanted = _wanted(_load((WINDOW, 0.05), (1, 1.0), (10, 0.05)), 1)
        assert (wanted.pods, wanted.reason) == (1, "enough")

    def test_a_young_load_is_averaged_over_the_whole_window(self) -> None:
        load = _load((4, 0.6))
        assert load.average == pytest.approx(4 * 0.6 / WINDOW)
        assert _wanted(load, 1).pods == 1

    def test_what_a_pod_can_use_divides(self) -> None:
        halves = replace(POLICY, cores_per_pod=0.5)
        assert _wanted(_load((WINDOW, 0.35), policy=halves), 1).pods == 3

    def test_the_inputs_are_told(self) -> None:
        inputs = _wanted(_load((WINDOW, 0.7), sessions=7), 2).inputs
        assert inputs == {
            "average_cores": "0.700",
            "peak_cores": "0.700",
            "demand_pods": "2.80",
            "held_pods": "2.80",
            "saturated_seconds": "0",
            "sessions": "7",
            "pods": "2",
        }


class TestBounds:
    def test_idle_wants_none(self) -> None:
        wanted = _wanted(_load((WINDOW, 0.7)), 3, active=False)
        assert (wanted.pods, wanted.reason) == (0, "idle")

    def test_idle_with_a_least_number_keeps_it(self) -> None:
        assert _wanted(_load((WINDOW, 0.7)), 3, active=False, pods_min=2).pods == 2

    def test_active_wants_one_at_least(self) -> None:
        wanted = _wanted(_load((WINDOW, 0.0)), 0)
        assert (wanted.pods, wanted.reason) == (1, "at the least 1")

    def test_the_most_wins_over_the_least(self) -> None:
        assert _wanted(_load((WINDOW, 0.0)), 1, pods_min=5, pods_max=3).pods == 3

    def test_the_most_is_said_beside_what_would_be_wanted(self) -> None:
        wanted = _wanted(_load((WINDOW, 0.7)), 1, pods_max=2)
        assert (wanted.pods, wanted.reason) == (2, "at the most 2; 4 × the average of 0.70 cores")

    def test_more_pods_than_sessions_would_wait(self) -> None:
        assert _wanted(_load((WINDOW, 1.0), sessions=2), 1).pods == 2
        assert _wanted(_load((WINDOW, 1.0), sessions=1), 1).pods == 1
        assert _wanted(_load((WINDOW, 1.0), sessions=1), 3).pods == 1


class TestSaturation:
    def test_all_saturated_double(self) -> None:
        load = _load((4, 3.0), pods=3)
        wanted = _wanted(load, 3)
        assert (wanted.pods, wanted.reason) == (6, "saturated for 3 s")

    def test_a_moment_is_not_enough(self) -> None:
        assert _wanted(_load((3, 0.95)), 1).pods == 1

    def test_it_begins_anew_after_a_rest(self) -> None:
        assert _wanted(_load((3, 0.92), (1, 0.0), (3, 0.92)), 1).pods == 1

    def test_it_counts_from_time_zero(self) -> None:
        load = TenantLoad(POLICY)
        for second in range(4):
            load.add(float(second), {0: 0.95}, sessions=2)
        assert (load.saturated_seconds(3.0), load.helpers) == (3.0, 1)

    def test_the_one_that_is_coming_is_not_asked_for_again(self) -> None:
        assert _wanted(_load((60, 1.0)), 2).pods == 2

    def test_a_new_pod_is_given_time_to_take_its_share(self) -> None:
        load = _load((10, 1.0))
        assert load.helpers == 1
        for second in range(3):
            load.add(11.0 + second, {0: 1.0, 1: 1.0}, sessions=100)
            assert load.helpers == 0
        load.add(14.0, {0: 1.0, 1: 1.0}, sessions=100)
        assert (load.helpers, _wanted(load, 2).pods) == (2, 4)

    def test_a_helper_that_idles_is_enough(self) -> None:
        load = TenantLoad(POLICY)
        for second in range(60):
            load.add(float(second), {"busy": 1.0, "idle": 0.05}, sessions=100)
        assert load.helpers == 0
        assert _wanted(load, 2).pods == 2

    def test_a_helper_without_room_is_not(self) -> None:
        load = TenantLoad(POLICY)
        for second in range(10):
            load.add(float(second), {"busy": 1.0, "busy too": 0.6}, sessions=100)
        assert _wanted(load, 2).pods == 3

    def test_one_session_needs_no_helper(self) -> None:
        assert _wanted(_load((60, 1.0), sessions=1), 1).pods == 1

    def test_the_helper_stays_for_the_quiet_period(self) -> None:
        low = replace(POLICY, average_factor=0.0, peak_factor=0.1)
        load = _load((WINDOW, 0.1), (5, 1.0), (55, 0.1), policy=low)
        assert (_wanted(load, 2).pods, _wanted(load, 2).reason) == (2, "needed a moment ago")
        load = _load((WINDOW, 0.1), (5, 1.0), (65, 0.1), policy=low)
        assert (_wanted(load, 2).pods, _wanted(load, 2).reason) == (1, "1 were enough for 60 s")


class TestDown:
    def test_after_the_peak_has_left_the_window_and_a_quiet_period(self) -> None:
        quiet = int(POLICY.quiet_seconds)
        burst = ((WINDOW, 0.1), (20, 2.0))
        assert _wanted(_load(*burst, (WINDOW + quiet - 10, 0.1), pods=3), 3).pods == 3
        assert _wanted(_load(*burst, (WINDOW + quiet + 10, 0.1), pods=3), 3).pods == 1

    def test_a_swing_within_the_dead_band_changes_nothing(self) -> None:
        load = _load((WINDOW, 0.49))  # 1.96 pods: fewer than 2 would be enough, but barely
        assert _wanted(load, 3).pods == 3
        assert _wanted(_load((WINDOW, 0.47)), 3).pods == 2

    def test_a_load_that_was_not_watched_says_nothing(self) -> None:
        wanted = _wanted(_load((WINDOW - 1, 0.1)), 5)
        assert (wanted.pods, wanted.reason) == (5, "watched for too short a time for fewer")

    def test_without_samples_nothing_changes(self) -> None:
        load = _load((2 * WINDOW, 0.1))
        assert _wanted(load, 5, later=POLICY.stale_seconds).pods == 1
        wanted = _wanted(load, 5, later=POLICY.stale_seconds + 0.1)
        assert (wanted.pods, wanted.reason) == (5, "no samples: what is there stays")
        assert _wanted(TenantLoad(POLICY), 5, later=0.0).pods == 5


class TestSamples:
    def test_a_late_sample_and_a_hasty_one_are_left_out(self) -> None:
        load = _load((10, 0.5))
        before = repr(load)
        load.add(8.0, {0: 1.0}, sessions=1)
        load.add(10.0 + SAMPLE_SECONDS_MIN / 2, {0: 1.0}, sessions=1)
        assert repr(load) == before

    def test_a_gap_is_not_taken_for_work(self) -> None:
        load = _load((10, 0.0))
        load.add(200.0, {0: 1.0}, sessions=1)
        assert load.average == pytest.approx(POLICY.sample_seconds_max / WINDOW)

    def test_draining_pods_are_load_but_ask_for_nobody(self) -> None:
        load = TenantLoad(POLICY)
        for second in range(60):
            load.add(float(second), {0: 0.1}, sessions=10, leaving_cores=1.0)
        assert load.peak == pytest.approx(1.1)
        assert load.helpers == 0


class Twin:
    """The same load, remembered whole and computed anew by its definition each time."""

    def __init__(self, policy: ScalePolicy) -> None:
        self.policy = policy
        self.samples: list[tuple[float, float, float]] = []
        """(at, seconds, cores)"""
        self.sessions_seen: list[tuple[float, float]] = []
        self.means: list[tuple[float, float]] = []
        self.asked: list[tuple[float, float]] = []
        self.history: list[Mapping[Hashable, float]] = []
        self.times: list[float] = []

    def add(self, at: float, cores_by_pod: Mapping[Hashable, float], sessions: int) -> None:
        last = self.samples[-1][0] if self.samples else None
        if last is not None and at - last < SAMPLE_SECONDS_MIN:
            return
        seconds = 0.0 if last is None else min(at - last, self.policy.sample_seconds_max)
        self.samples.append((at, seconds, sum(cores_by_pod.values())))
        self.sessions_seen.append((at, float(sessions)))
        self.history.append(cores_by_pod)
        self.times.append(at)
        self.means.append((at, self._latest_mean()))
        self.asked.append((at, max(self.demand(), self.helped())))

    def _latest_mean(self) -> float:
        work, seconds = 0.0, 0.0
        for _, each, cores in reversed(self.samples):
            if round(seconds, 6) >= self.policy.peak_seconds:
                break
            seconds, work = seconds + each, work + each * cores
        return work / max(seconds, self.policy.peak_seconds)

    def _young(self, series: list[tuple[float, float]], seconds: float) -> float:
        start = self.times[-1] - seconds
        return max(each for _, each in takewhile(lambda one: one[0] > start, reversed(series)))

    def average(self) -> float:
        start = self.times[-1] - self.policy.window_seconds
        young = takewhile(lambda sample: sample[0] > start, reversed(self.samples))
        work = sum(seconds * cores for _, seconds, cores in young)
        return work / self.policy.window_seconds

    def peak(self) -> float:
        return self._young(self.means, self.policy.window_seconds)

    def sessions(self) -> float:
        return max(self._young(self.sessions_seen, self.policy.window_seconds), 1.0)

    def demand(self) -> float:
        by_average = self.policy.average_factor * self.average()
        cores = max(by_average, self.policy.peak_factor * self.peak())
        return min(cores / self.policy.cores_per_pod, self.sessions())

    def held(self) -> float:
        return self._young(self.asked, self.policy.quiet_seconds)

    def helped(self) -> float:
        helpers = self.helpers()
        return min(len(self.history[-1]) + helpers, self.sessions()) if helpers else 0.0

    def helpers(self) -> int:
        line = self.policy.saturated_at * self.policy.cores_per_pod
        ripe = sum(self._saturated(pod) for pod in self.history[-1])
        room = sum(line - cores for cores in self.history[-1].values() if cores < line)
        return max(ripe - round(room / line), 0)

    def _saturated(self, pod: Hashable) -> bool:
        """Has it been above the line for long enough, and nobody joined meanwhile?"""
        line = self.policy.saturated_at * self.policy.cores_per_pod
        begun = None
        for index in range(len(self.history) - 1, -1, -1):
            if self.history[index].get(pod, 0.0) < line:
                break
            begun = self.times[index]
            if index and set(self.history[index]) - set(self.history[index - 1]):
                break
        return begun is not None and begun <= self.times[-1] - self.policy.saturated_seconds


def _walk(dice: random.Random, steps: int) -> list[tuple[float, dict[Hashable, float], int]]:
    """A made-up life: pods come and go, the load rests, works and storms, the clock hiccups."""
    at, mood, pods = 0.0, 0.5, list[Hashable]([0])
    walk: list[tuple[float, dict[Hashable, float], int]] = []
    for step in range(steps):
        at += dice.choice([1.0, 1.0, 1.0, 0.9, 1.2, 0.1, 3.0])
        if dice.random() < 0.01:
            at += dice.choice([20.0, 200.0, 400.0])
        if dice.random() < 0.05:
            mood = dice.choice([0.0, 0.02, 0.3, 0.95, 1.0])
        if dice.random() < 0.03:
            pods = [*pods, step + 1] if dice.random() < 0.6 else pods[1:]
        cores = (min(max(dice.gauss(mood, 0.05), 0.0), 1.0) for _ in pods)
        walk.append((at, dict(zip(pods, cores, strict=True)), dice.randrange(0, 20)))
    return walk


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([20.0, 60.0, 300.0]), st.sampled_from([1.0, 5.0]))
def test_the_load_is_that_of_its_twin(seed: int, window: float, peak: float) -> None:
    policy = replace(POLICY, window_seconds=window, peak_seconds=peak, quiet_seconds=window / 3)
    load, twin = TenantLoad(policy), Twin(policy)
    for at, cores_by_pod, sessions in _walk(random.Random(seed), 500):
        load.add(at, cores_by_pod, sessions=sessions)
        twin.add(at, cores_by_pod, sessions)
        got = (load.average, load.peak, load.demand, load.held)
        same = (twin.average(), twin.peak(), twin.demand(), twin.held())
        assert got == pytest.approx(same, rel=1e-5, abs=1e-5)  # it counts in whole microseconds
        assert (load.helpers, load.helped, load.sessions) == (
            twin.helpers(),
            twin.helped(),
            twin.sessions(),
        )


_SEEDS = st.integers(0, 2**32)
_LOADS = st.builds(lambda seed: _walked(seed, 400), _SEEDS)


def _walked(seed: int, steps: int) -> TenantLoad:
    load = TenantLoad(POLICY)
    for at, cores_by_pod, sessions in _walk(random.Random(seed), steps):
        load.add(at, cores_by_pod, sessions=sessions)
    return load


@settings(deadline=None)
@given(_LOADS, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_the_answer_is_within_its_bounds(
    load: TenantLoad, pods_now: int, pods_min: int, pods_max: int, active: bool
) -> None:
    wanted = _wanted(load, pods_now, pods_min=pods_min, pods_max=pods_max, active=active)
    assert wanted.pods <= pods_max
    assert wanted.pods >= min(pods_min, pods_max)
    if active and pods_max:
        assert wanted.pods >= 1
    if not active:
        assert wanted.pods == min(pods_min, pods_max)


@settings(deadline=None)
@given(_LOADS, st.integers(0, 9))
def test_more_pods_now_never_mean_fewer_wanted(load: TenantLoad, pods_now: int) -> None:
    assert _wanted(load, pods_now).pods <= _wanted(load, pods_now + 1).pods


@settings(deadline=None)
@given(_SEEDS, st.floats(1.0, 3.0))
def test_more_work_never_means_fewer_wanted(seed: int, factor: float) -> None:
    light, heavy = TenantLoad(POLICY), TenantLoad(POLICY)
    for at, cores_by_pod, sessions in _walk(random.Random(seed), 400):
        # As one pod: how the work is spread over several decides who asks for a helper.
        cores = sum(cores_by_pod.values())
        light.add(at, {0: cores}, sessions=sessions)
        heavy.add(at, {0: cores * factor}, sessions=sessions)
    for pods_now in range(6):
        assert _wanted(light, pods_now).pods <= _wanted(heavy, pods_now).pods


@settings(deadline=None)
@given(_LOADS, st.integers(1, 9))
def test_having_what_is_wanted_is_to_rest(load: TenantLoad, pods_now: int) -> None:
    """Asked again with its own answer, and no news, the rule changes nothing."""
    wanted = _wanted(load, pods_now).pods
    assert _wanted(load, wanted).pods == wanted


def _follow(seconds: int, cores_at: list[float]) -> list[int]:
    """The number of pods each second, if the rule is obeyed at once and the load is spread."""
    load, pods, trace = TenantLoad(POLICY), 1, []
    for second in range(seconds):
        cores = cores_at[second % len(cores_at)]
        share = min(cores / pods, POLICY.cores_per_pod)
        load.add(float(second), dict.fromkeys(range(pods), share), sessions=100)
        wanted = pods_wanted(
            load, pods_now=pods, pods_min=0, pods_max=50, active=True, now=float(second)
        )
        pods = wanted.pods
        trace.append(pods)
    return trace


@settings(max_examples=40, deadline=None)
@given(_SEEDS)
def test_pods_do_not_come_and_go(seed: int) -> None:
    """Whatever the load does: no pod goes within the quiet period after one has come."""
    dice = random.Random(seed)
    cores = [dice.choice([0.0, 0.2, 1.0, 3.0, 8.0]) for _ in range(12)]
    trace = _follow(900, [each for each in cores for _ in range(75)])
    rises = [at for at in range(1, 900) if trace[at] > trace[at - 1]]
    falls = [at for at in range(1, 900) if trace[at] < trace[at - 1]]
    gaps = [fall - rise for fall in falls for rise in rises if rise < fall]
    assert min(gaps, default=POLICY.quiet_seconds) >= POLICY.quiet_seconds - 1


@settings(max_examples=40, deadline=None)
@given(_SEEDS, st.floats(0.1, 5.0))
def test_noise_around_any_level_settles(seed: int, level: float) -> None:
    """A load that only flickers has one number of pods from the second window on."""
    dice = random.Random(seed)
    noise = 0.01 / level
    trace = _follow(1200, [level * dice.uniform(1 - noise, 1 + noise) for _ in range(1200)])
    changes = sum(trace[at] != trace[at - 1] for at in range(2 * WINDOW, 1200))
    assert changes <= 1


def test_sixty_clients_are_followed_within_seconds() -> None:
    trace = _follow(600, [0.1] * 300 + [12.0] * 300)
    assert trace[299] == 1
    served = next(second for second, pods in enumerate(trace) if pods >= 12)
    assert served - 300 <= 20  # four doublings
    assert math.ceil(12 * 1.33) <= max(trace) <= 48
