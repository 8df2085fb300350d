"""The benchmarks' own arithmetic, and their measuring of PostgreSQL, which is always there."""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import pgbench
from bench.connect import PHASES, ConnectFailed, connect_and_select
from bench.postgres import PostgresMissing, binary, postgres
from bench.scrape import means
from bench.stats import percentile, summary, table

_MILLISECONDS = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)


def _installed() -> bool:
    try:
        return bool(binary("pgbench"))
    except PostgresMissing:
        return False


@given(_MILLISECONDS, st.floats(0.1, 100))
def test_a_percentile_is_the_least_value_that_covers_it(values: list[float], at: float) -> None:
    found = percentile(values, at)
    assert found in values
    assert sum(value <= found for value in values) >= at / 100 * len(values) - 1e-9
    assert sum(value < found for value in values) < max(at / 100 * len(values), 1)


@given(_MILLISECONDS)
def test_a_summary_rises(values: list[float]) -> None:
    figures = list(summary(values).values())
    assert figures == sorted(figures)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_tables_align() -> None:
    assert table(("", "p50"), [("a", 1.234), ("bcd", 100)]) == "      p50\na    1.23\nbcd   100"


def test_only_what_was_observed_between_two_readings_counts() -> None:
    name = "wake_seconds{stamp}"
    before = {("autoscaler", name, "sum"): 10.0, ("autoscaler", name, "count"): 100.0}
    after = {("autoscaler", name, "sum"): 11.0, ("autoscaler", name, "count"): 110.0}
    ((role, histogram, count, mean),) = means(before, after)
    assert (role, histogram, count) == ("autoscaler", name, 10)
    assert mean == pytest.approx(100.0)
    assert means(after, after) == []


@pytest.mark.skipif(not _installed(), reason="PostgreSQL 15 is not installed")
def test_postgresql_is_measured() -> None:
    options = argparse.Namespace(clients=2, seconds=1, scale=1, mode="prepared", script=None)
    with (
        tempfile.TemporaryDirectory(prefix="dormouse-test-") as folder,
        postgres(Path(folder)) as url,
    ):
        timing = connect_and_select(url)
        assert list(timing.phases_ms) == list(PHASES)
        assert sum(timing.phases_ms.values()) == pytest.approx(timing.total_ms, rel=0.5)
        measured: dict[str, Any] = pgbench._measure(url, options)
        assert set(measured) == {"select-only", "tpc-b"}
        assert all(each["tps"] > 0 for each in measured.values())
        with pytest.raises(ConnectFailed, match="nobody"):
            connect_and_select(url.replace("postgres@", "nobody@"))
        with pytest.raises(pgbench.PgbenchFailed):
            pgbench._pgbench(url.replace("/postgres?", "/nothing?"), ["-S"], seconds=60)
