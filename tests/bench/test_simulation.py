"""The simulation: its traces and its book-keeping, and the relations that its tables show."""

import argparse
import math
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import simulate
from bench.simulation import constants, report, warmpool
from bench.simulation.life import LEAVE_SECONDS, Life, Sleep, ideal_pod_seconds, live, spread
from bench.simulation.policies import (
    STEP_SECONDS_MAX,
    OnePod,
    PeakOnly,
    Reactive,
    Rule,
    TargetTracking,
)
from bench.simulation.traces import DAY, KINDS, Stretch, Trace, fleet

_FLEET = fleet(50, 0.5, seed=7)


@pytest.fixture(scope="module")
def totals() -> Mapping[str, report.Total]:
    return {
        name: report.simulate(_FLEET, 0.5, make_rule, sleep)
        for name, (make_rule, sleep) in constants.RULES.items()
    }


def _trace(*stretches: Stretch, connected: bool = False, skew: float = 0.0) -> Trace:
    return Trace("made", stretches, connected, skew)


class TestTraces:
    def test_a_seed_gives_the_same_fleet_and_another_does_not(self) -> None:
        assert fleet(20, 0.2, seed=3) == fleet(20, 0.2, seed=3)
        assert fleet(20, 0.2, seed=3) != fleet(20, 0.2, seed=4)

    def test_a_larger_fleet_begins_with_the_smaller(self) -> None:
        assert fleet(30, 0.2, seed=3)[:10] == fleet(10, 0.2, seed=3)

    def test_kinds_come_by_their_shares(self) -> None:
        assert math.isclose(sum(kind.share for kind in KINDS.values()), 1.0)
        kinds = Counter(trace.kind for trace in fleet(100, 0.01, seed=1))
        assert kinds == {name: round(100 * kind.share) for name, kind in KINDS.items()}

    @pytest.mark.parametrize("kind", KINDS)
    def test_stretches_follow_each_other(self, kind: str) -> None:
        traces = [trace for trace in fleet(100, 2.0, seed=5) if trace.kind == kind]
        assert any(trace.stretches for trace in traces)
        for trace in traces:
            ends = [0.0, *(each.end for each in trace.stretches)]
            assert all(each.start >= end for each, end in zip(trace.stretches, ends, strict=False))
            assert all(each.start < each.end <= 2 * DAY for each in trace.stretches)
            assert all(0.0 < each.cores <= each.sessions for each in trace.stretches)


class TestLife:
    @given(st.floats(0.01, 20), st.integers(1, 30), st.integers(1, 60), st.floats(0, 0.5))
    def test_work_is_spread_whole(
        self, cores: float, pods: int, sessions: int, skew: float
    ) -> None:
        shares = spread(cores, pods, sessions, skew)
        assert len(shares) == pods
        assert math.isclose(sum(shares), cores)
        assert shares[0] == pytest.approx(max(shares))
        assert sum(share > 0 for share in shares) <= max(sessions, 1)

    def test_a_tenant_sleeps_after_its_time(self) -> None:
        trace = _trace(Stretch(100, 110, 0.1, 1), Stretch(300, 310, 0.1, 1))
        apart = live(trace, OnePod, Sleep(60.0), 1000.0)
        assert (apart.wakes, apart.pod_seconds, apart.claims) == (2, 140.0, [100, 300])
        together = live(trace, OnePod, Sleep(300.0), 1000.0)
        assert (together.wakes, together.pod_seconds) == (1, 510.0)

    def test_the_day_ends(self) -> None:
        assert live(_trace(Stretch(100, 110, 0.1, 1)), OnePod, Sleep(60.0), 120.0).pod_seconds == 20

    def test_connections_keep_awake_where_they_may(self) -> None:
        trace = _trace(Stretch(0, 10, 0.1, 1), connected=True)
        assert live(trace, OnePod, Sleep(60.0), 1000.0).pod_seconds == 70.0
        awake = Sleep(60.0, while_connected=False)
        assert live(trace, OnePod, awake, 1000.0).pod_seconds == 1000.0

    def test_what_no_pod_has_room_for_is_held_back(self) -> None:
        life = live(_trace(Stretch(0, 10, 3.0, 8)), OnePod, Sleep(), 1000.0)
        assert (life.work, life.held_back, life.saturated_seconds) == (30.0, 20.0, 10.0)

    def test_pods_come_a_moment_later_and_are_paid_for_a_moment_longer(self) -> None:
        class TwoForWork(OnePod):
            def pods(
                self, now: float, cores_by_pod: Mapping[int, float], coming: int, sessions: int
            ) -> int:
                return 2 if sum(cores_by_pod.values()) else 1

        life = live(_trace(Stretch(0, 100, 1.5, 8)), TwoForWork, Sleep(60.0), 1000.0)
        assert life.changes == 2
        assert life.saturated_seconds == 3.0  # seen after one, there after another one and a half
        working, resting = 1 + 2 * 99, 2 * STEP_SECONDS_MAX + (60 - STEP_SECONDS_MAX)
        assert life.pod_seconds == pytest.approx(working + resting + LEAVE_SECONDS)

    def test_the_ideal_pays_for_what_is_needed(self) -> None:
        assert ideal_pod_seconds(_trace(Stretch(0, 10, 0.1, 1), Stretch(20, 30, 2.5, 8))) == 40.0

    def test_books_balance(self) -> None:
        for trace in _FLEET:
            life = live(trace, constants.RULES["dormouse"][0], Sleep(), 0.5 * DAY)
            _check_books(trace, life)


def _check_books(trace: Trace, life: Life) -> None:
    assert life.pod_seconds >= life.awake_seconds >= life.busy_seconds - 1e-6
    assert 0 <= life.held_back <= life.work
    assert life.saturated_seconds <= life.busy_seconds + 1e-6
    assert len(life.claims) >= life.wakes
    assert life.claims == sorted(life.claims)
    assert bool(life.wakes) == bool(trace.stretches)


class TestRules:
    @pytest.mark.parametrize("rule", [TargetTracking(), PeakOnly(), Reactive()])
    def test_each_follows_its_load_up_and_down(self, rule: Rule) -> None:
        pods = 1
        for second in range(120):
            pods = rule.pods(second, dict.fromkeys(range(pods), min(3.0 / pods, 1.0)), 0, 50)
        assert 3 <= pods <= 6
        for second in range(120, 900):
            pods = rule.pods(second, dict.fromkeys(range(pods), 0.1 / pods), 0, 50)
        assert pods == 1


class TestTables:
    def test_the_rule_holds_back_less_than_simpler_ones(
        self, totals: Mapping[str, report.Total]
    ) -> None:
        ours = totals["dormouse"]
        for name in ("target tracking, 80 %", "reactive, 90 % and 50 %", "one pod"):
            assert ours.held_back < 0.7 * totals[name].held_back, name
            assert ours.saturated_seconds < totals[name].saturated_seconds, name
        assert ours.held_back < 0.05 * ours.work

    def test_it_pays_more_for_it(self, totals: Mapping[str, report.Total]) -> None:
        ours = totals["dormouse"].pod_seconds
        assert totals["one pod"].pod_seconds == totals["one pod"].awake_seconds < ours
        assert ours < 2.5 * totals["one pod"].pod_seconds

    def test_parking_saves_what_connections_cost(self, totals: Mapping[str, report.Total]) -> None:
        parked, held = totals["one pod"], totals["one pod, awake while connected"]
        assert parked.pod_seconds < 0.7 * held.pod_seconds
        assert parked.wakes > held.wakes

    def test_whom_the_rule_serves_has_no_say_in_when_they_sleep(
        self, totals: Mapping[str, report.Total]
    ) -> None:
        assert totals["dormouse"].wakes == totals["one pod"].wakes
        assert totals["dormouse"].awake_seconds == pytest.approx(totals["one pod"].awake_seconds)

    def test_a_longer_timeout_is_dearer_and_wakes_less(self) -> None:
        short, long = (
            report.simulate(_FLEET, 0.5, OnePod, Sleep(seconds)) for seconds in (60.0, 900.0)
        )
        assert short.wakes > 2 * long.wakes
        assert short.pod_seconds < 0.8 * long.pod_seconds

    def test_more_headroom_is_dearer_and_holds_back_less(self) -> None:
        low, high = (
            report.simulate(_FLEET, 0.5, constants.turned("peak_factor", factor), Sleep())
            for factor in (1.0, 2.0)
        )
        assert low.pod_seconds < high.pod_seconds
        assert low.held_back > high.held_back


class TestPool:
    _claims = sorted(
        [hour * 3600 + job / 40 for hour in range(24) for job in range(30)]
        + [67.0 * number for number in range(1200)]
    )

    def _play(self, size: warmpool.Size) -> warmpool.PoolDay:
        return warmpool.play(self._claims, size, DAY)

    def test_a_pool_that_follows_knows_the_hour(self) -> None:
        following, same = self._play(warmpool.following(2, 32)), self._play(warmpool.fixed(8))
        assert following.pod_seconds < same.pod_seconds
        assert following.misses < 0.2 * same.misses

    def test_a_larger_pool_misses_less_and_costs_more(self) -> None:
        days = [self._play(warmpool.fixed(pods)) for pods in (0, 2, 8, 32)]
        assert [day.misses for day in days] == sorted((day.misses for day in days), reverse=True)
        assert days[0].misses == days[0].claims == len(self._claims)
        assert days[-1].misses == 0
        assert [day.pod_seconds for day in days] == sorted(day.pod_seconds for day in days)

    def test_who_misses_waits_for_a_fork_at_least(self) -> None:
        day = warmpool.play([10.0] * 5, warmpool.fixed(2), 100.0)
        forks = [warmpool.FORK_SECONDS * number for number in (1, 2, 3)]
        assert (day.claims, day.misses) == (5, 3)
        assert day.waits == pytest.approx(forks)


def test_the_command_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    simulate.add_options(parser)
    options = parser.parse_args(["--fleet", "12", "--days", "0.1", "--sweep-fleet", "6"])
    options.pictures = None
    result = simulate.run(options)
    printed = capsys.readouterr().out
    assert set(result["rules"]) == set(constants.RULES)
    assert sum("as shipped" in name for name in result["constants"]) == len(constants.SWEPT)
    assert all(name in printed for name in (*result["rules"], *result["pool"], "900 s"))
    assert simulate.run(options) == result
