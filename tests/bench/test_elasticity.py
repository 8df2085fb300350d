"""The benchmarks of elasticity: their arithmetic, and their clients against PostgreSQL."""

import argparse
import asyncio
import os
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from bench import memory
from bench.__main__ import BENCHMARKS
from bench.breakdown import DoesNotAddUp, breakdown
from bench.connect import ConnectFailed, connected
from bench.idle import _holding
from bench.postgres import postgres, restart
from bench.scrape import Reading, Sample, read_histograms, read_samples, total
from bench.steady import Steady, Window
from bench.step import Trace
from tests.support.waiting import until

_PAGE = b"""\
# HELP moves_total Moves.
# TYPE moves_total counter
moves_total{outcome="moved",purpose="move"} 3.0
moves_total{outcome="refused",purpose="move"} 1.0
# HELP stall_seconds Stalls.
# TYPE stall_seconds histogram
stall_seconds_bucket{cause="move",le="+Inf"} 3.0
stall_seconds_count{cause="move"} 3.0
stall_seconds_sum{cause="move"} 0.5
"""


_PARTS = {
    ("proxy", "dormouse_proxy_handshake_seconds"): 0.004,
    ("proxy", "dormouse_proxy_wake_seconds{resolve}"): 0.001,
    ("proxy", "dormouse_proxy_wake_seconds{wake}"): 0.030,
    ("proxy", "dormouse_proxy_wake_seconds{dial}"): 0.003,
    ("proxy", "dormouse_proxy_wake_seconds{login}"): 0.009,
    ("proxy", "dormouse_proxy_wake_seconds{first_row}"): 0.002,
    ("autoscaler", "dormouse_wake_seconds{claim}"): 0.001,
    ("autoscaler", "dormouse_wake_seconds{issue}"): 0.004,
    ("autoscaler", "dormouse_wake_seconds{stamp}"): 0.021,
}


class TestBreakdown:
    def _readings(self, wakes: int) -> tuple[Reading, Reading]:
        before = {(*key, "sum"): 10.0 for key in _PARTS}
        after = {(*key, "sum"): 10.0 + wakes * each for key, each in _PARTS.items()}
        return before, after

    def test_parts_follow_each_other_and_add_up(self) -> None:
        found = breakdown(*self._readings(20), client_ms=50.0, wakes=20)
        assert found.parts_ms["stamp"] == pytest.approx(21.0)
        assert found.parts_ms["wake, the way there and back"] == pytest.approx(4.0)
        assert sum(found.parts_ms.values()) == pytest.approx(49.0)
        assert found.unexplained_ms == pytest.approx(1.0)
        found.check(tolerance_percent=5.0)

    @pytest.mark.parametrize("client_ms", [70.0, 40.0])
    def test_too_little_and_too_much_are_found(self, client_ms: float) -> None:
        found = breakdown(*self._readings(20), client_ms=client_ms, wakes=20)
        with pytest.raises(DoesNotAddUp, match="49"):
            found.check(tolerance_percent=10.0)

    def test_a_part_that_is_not_measured_is_missed(self) -> None:
        with pytest.raises(DoesNotAddUp):
            breakdown({}, {}, client_ms=50.0, wakes=20).check(tolerance_percent=20.0)


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(_PAGE)

    def log_message(self, format: str, *_args: object) -> None:  # noqa: A002
        """Be quiet."""


@pytest.fixture
def metrics_page() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/metrics"
        finally:
            server.shutdown()
            serving.join()


class TestScrape:
    def test_samples_are_summed_by_their_labels(self) -> None:
        samples = [
            Sample("proxy", "moves", {"purpose": "move", "outcome": "moved"}, 3.0),
            Sample("proxy", "moves", {"purpose": "park", "outcome": "moved"}, 4.0),
            Sample("pod", "moves", {"purpose": "move", "outcome": "moved"}, 50.0),
        ]
        assert total(samples, "proxy", "moves", purpose="move") == 3.0
        assert total(samples, "proxy", "moves", outcome="moved") == 7.0
        assert total(samples, "proxy", "others") == 0.0

    def test_predecessors_count_and_the_dead_do_not(self, metrics_page: str) -> None:
        gone = {"metrics": "http://127.0.0.1:9/metrics"}
        roles = {"proxy": {"metrics": metrics_page, "retiring": [{"metrics": metrics_page}, gone]}}
        assert total(read_samples(roles), "proxy", "moves_total", outcome="moved") == 6.0
        assert read_histograms(roles) == {
            ("proxy", "stall_seconds{move}", "count"): 6.0,
            ("proxy", "stall_seconds{move}", "sum"): 1.0,
        }

    def test_a_role_without_a_page_is_left_out(self) -> None:
        assert read_samples({"podhost": {"metrics": None}}) == []


class TestTrace:
    def test_what_a_step_shows(self) -> None:
        trace = Trace(up_at=10.0, down_at=70.0)
        counts = [1] * 12 + [2] * 4 + [5] * 60 + [6] * 5 + [2] * 15 + [1] * 10
        trace.pods = [(float(second), pods, pods) for second, pods in enumerate(counts)]
        for second in range(106):
            busy = 10 <= second < 70
            trace.tps[second] = 100.0 if not busy else 300.0 if second < 30 else 900.0
        figures = trace.figures()
        assert figures == {
            "pods_max": 5,
            "second_pod_after_s": 2.0,
            "all_pods_after_s": 6.0,
            "back_to_one_after_s": 25.0,
            "tps_before": 100.0,
            "tps_first_10_s": 300.0,
            "tps_last_20_s": 900.0,
        }
        assert trace.rows()[20] == {"second": 20.0, "pods": 5, "wanted": 5, "tps": 300.0}

    def test_pods_that_stay_are_not_back(self) -> None:
        trace = Trace(up_at=1.0, down_at=2.0)
        trace.pods = [(0.0, 1, 1), (1.5, 3, 3), (9.0, 2, 1)]
        assert trace.figures()["back_to_one_after_s"] is None


class TestMemory:
    def test_a_process_shares_some_and_has_some_of_its_own(self) -> None:
        me = psutil.Process(os.getpid())
        assert 0 < memory.uss(me) <= memory.pss(me) * 1.1

    def test_who_has_ended_takes_nothing(self) -> None:
        child = psutil.Popen(["true"])
        child.wait()
        assert (memory.pss(child), memory.uss(child)) == (0, 0)


def test_a_window_tells_the_longest_wait_of_each_session() -> None:
    window = Window(3, latencies_ms=[1.0, 2.0, 50.0], worst_ms={0: 2.0, 1: 50.0}, dropped=["cut"])
    summary = window.summary()
    assert (summary["dropped"], summary["queries"], summary["max_ms"]) == (1, 3, 50.0)
    assert summary["worst_of_a_session_p99_ms"] == 50.0
    assert Window(3).summary()["p99_ms"] == 0.0


def test_flags_of_all_benchmarks_go_together() -> None:
    parser = argparse.ArgumentParser()
    for benchmark in BENCHMARKS.values():
        benchmark.add_options(parser)  # a flag that two of them claim would be refused
    assert {"simulate", "density", "move", "step", "idle"} <= set(BENCHMARKS)


async def _watch_a_restart(url: str, folder: Path) -> tuple[Window, Window]:
    async with Steady(url, 5, 0.05) as sessions:
        calm = sessions.begin()
        await until(lambda: len(calm.latencies_ms) >= 20)
        storm = sessions.begin()
        await asyncio.to_thread(restart, folder)
        await until(lambda: not sessions.alive)
    return calm, storm


def test_steady_sessions_notice_a_restart_of_postgresql() -> None:
    with tempfile.TemporaryDirectory(prefix="dormouse-test-") as name:
        folder = Path(name)
        with postgres(folder, settings={"max_connections": "20"}) as url:
            calm, storm = asyncio.run(_watch_a_restart(url, folder))
            assert (calm.dropped, calm.wrong, len(calm.worst_ms)) == ([], 0, 5)
            assert len(storm.dropped) == 5

            with _holding({"id": 1, "connection_url": url}, 5) as holder:
                asked, slowest_ms = holder.ask(2)
                assert asked == 2
                assert slowest_ms > 0
            with (
                pytest.raises(ConnectFailed, match="nobody"),
                _holding({"id": 1, "connection_url": url.replace("postgres@", "nobody@")}, 1),
            ):
                pass
            connected(url).finish()
