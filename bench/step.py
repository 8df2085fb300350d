"""A load that steps from one busy client to many and back, and the pods that follow it.

pgbench is the load: one client for the whole time, and many more for a while, all of one tenant.
Their queries compute, which is work for the pod and for nobody else.
Once a second the tenant's pods are looked up through the API. The same step on a tenant that may
have one pod only shows what the pods are worth.
"""

import argparse
import re
import secrets
import subprocess
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.connect import connect_and_select
from bench.gateway import Gateway, GatewayError
from bench.pgbench import PgbenchFailed
from bench.postgres import binary
from bench.stats import percentile, table

_PROGRESS = re.compile(r"^progress: ([0-9.]+) s, ([0-9.]+) tps", re.MULTILINE)
_SCRIPT = "SELECT count(*), sum(n * n) FROM generate_series(1, {rows}) AS n WHERE n % 7 <> 3;\n"
_CALM_SECONDS = 10.0
_LOOK_SECONDS = 1.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--busy", type=int, default=60, metavar="N", help="clients at the top (default: 60)"
    )
    parser.add_argument(
        "--busy-seconds", type=int, default=60, metavar="N", help="at the top (default: 60)"
    )
    parser.add_argument(
        "--rows", type=int, default=2000, metavar="N", help="that a query adds up (default: 2000)"
    )
    parser.add_argument(
        "--after-seconds",
        type=int,
        default=480,
        metavar="N",
        help="how long to wait until the pods have gone (default: 480)",
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure; returns the trace and what it shows."""
    with tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder:
        script = Path(folder) / "sums.sql"
        script.write_text(_SCRIPT.format(rows=options.rows), encoding="ascii")
        single = _step(gateway, script, options, pods_max=1, after_seconds=0)
        scaled = _step(gateway, script, options, pods_max=None, after_seconds=options.after_seconds)
    result = {
        "clients": options.busy,
        "scaled": scaled.figures(),
        "one_pod": single.figures(),
        "trace": scaled.rows(),
    }
    _print(result)
    if options.pictures is not None:
        _draw(options.pictures / "step.svg", scaled, options.busy)
    return result


@dataclass(slots=True)
class Trace:
    """What happened, by seconds since the start."""

    up_at: float = 0.0
    down_at: float = 0.0
    pods: list[tuple[float, int, int]] = field(default_factory=list)
    """(when, there, wanted)"""
    tps: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Transactions of each second."""

    def figures(self) -> dict[str, Any]:
        """What the trace shows; seconds count from the step."""
        busy = [pods for at, pods, _ in self.pods if self.up_at <= at < self.down_at]
        most = max(busy, default=0)
        top = self._tps(self.up_at + 2, self.down_at - 2)
        late = self._tps(self.down_at - 20, self.down_at - 2)
        before = self._tps(2, self.up_at)
        return {
            "pods_max": most,
            "second_pod_after_s": self._first(lambda pods: pods > 1),
            "all_pods_after_s": self._first(lambda pods: pods == most),
            "back_to_one_after_s": self._back(),
            "tps_before": _median(before),
            "tps_first_10_s": _median(top[:10]),
            "tps_last_20_s": _median(late),
        }

    def rows(self) -> list[dict[str, float]]:
        """By the second, for the JSON report."""
        return [
            {"second": round(at, 1), "pods": pods, "wanted": wanted, "tps": self.tps[int(at)]}
            for at, pods, wanted in self.pods
        ]

    def _tps(self, start: float, end: float) -> list[float]:
        return [n for second, n in self.tps.items() if start <= second < end]

    def _first(self, meets: Callable[[int], bool]) -> float | None:
        later = (at - self.up_at for at, pods, _ in self.pods if at >= self.up_at and meets(pods))
        return next((round(seconds, 1) for seconds in later), None)

    def _back(self) -> float | None:
        """From the step down until one pod is left, for good; None if that did not come."""
        many = [at for at, pods, _ in self.pods if pods > 1]
        if not many or self.pods[-1][1] > 1:
            return None
        return round(max(many[-1] - self.down_at, 0.0), 1)


def _median(values: list[float]) -> float:
    return round(percentile(values, 50), 1) if values else 0.0


def _step(
    gateway: Gateway,
    script: Path,
    options: argparse.Namespace,
    *,
    pods_max: int | None,
    after_seconds: int,
) -> Trace:
    """One client of a tenant of its own, then many more for a while, then one."""
    tenant = gateway.create_tenant(f"step-{secrets.token_hex(4)}")
    gateway.change(tenant["id"], pods_max=pods_max, connections_max=options.busy + 20)
    url, trace = tenant["connection_url"], Trace()
    connect_and_select(url)  # awake when the clocks start
    started = time.monotonic()
    end = threading.Event()
    longest = int(2 * _CALM_SECONDS + options.busy_seconds + after_seconds + 30)
    with (
        _watched(gateway, int(tenant["id"]), trace, started, end),
        _load(url, script, 1, longest, trace, started, end),
    ):
        time.sleep(_CALM_SECONDS)
        trace.up_at = time.monotonic() - started
        with _load(url, script, options.busy - 1, options.busy_seconds, trace, started, None):
            pass
        trace.down_at = time.monotonic() - started
        until = time.monotonic() + after_seconds
        while time.monotonic() < until and trace.pods[-1][1] > 1:
            time.sleep(_LOOK_SECONDS)
        time.sleep(_CALM_SECONDS)
        end.set()
    gateway.delete(tenant["id"])
    return trace


@contextmanager
def _watched(
    gateway: Gateway, tenant: int, trace: Trace, started: float, end: threading.Event
) -> Iterator[None]:
    """Look at the tenant once a second until the end of the block."""

    def watch() -> None:
        while not end.wait(_LOOK_SECONDS):
            view = gateway.tenant(tenant)
            if view["pods"] is not None:
                seen = (time.monotonic() - started, view["pods"], view["pods_wanted"])
                trace.pods.append(seen)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        end.set()
        watching.join()


@contextmanager
def _load(
    url: str,
    script: Path,
    clients: int,
    seconds: int,
    trace: Trace,
    started: float,
    end: threading.Event | None,
) -> Iterator[None]:
    """pgbench with so many clients for `seconds`, or until `end`; it has ended after the block."""
    command = [
        *(binary("pgbench"), "-n", "-f", str(script), "-M", "prepared", "-P", "1", "-j", "1"),
        *("-c", str(clients), "-T", str(seconds), url),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, bufsize=1
    )
    errors: list[str] = []
    reading = threading.Thread(target=_read, args=(process, trace, started, errors))
    reading.start()
    try:
        yield
    finally:
        if end is not None:
            process.terminate()
        process.wait()
        reading.join()
    if errors or (end is None and process.returncode != 0):
        raise PgbenchFailed(f"{clients} clients, exit code {process.returncode}: {errors[:3]}")


def _read(
    process: "subprocess.Popen[str]", trace: Trace, started: float, errors: list[str]
) -> None:
    if process.stderr is None:
        raise GatewayError("pgbench has no stderr")
    for line in process.stderr:
        if found := _PROGRESS.match(line):
            trace.tps[int(time.monotonic() - started)] += float(found[2])
        elif "ERROR" in line or "error" in line:
            errors.append(line.strip())


def _draw(path: Path, trace: Trace, clients: int) -> None:
    from bench.plots import picture

    times = [at for at, _, _ in trace.pods]
    with picture(path, rows=2) as (upper, lower):
        upper.step(times, [pods for _, pods, _ in trace.pods], where="post", label="pods")
        wanted = [wanted for _, _, wanted in trace.pods]
        upper.step(times, wanted, where="post", linestyle=":", label="pods wanted")
        upper.set_ylim(bottom=0)
        upper.set_title(f"From 1 to {clients} busy clients and back")
        upper.legend()
        seconds = sorted(trace.tps)
        lower.plot(seconds, [trace.tps[second] for second in seconds], linewidth=0.8)
        lower.set_ylim(bottom=0)
        lower.set_ylabel("transactions per second")
        lower.set_xlabel("seconds")
        for axes in (upper, lower):
            axes.axvspan(trace.up_at, trace.down_at, alpha=0.1)


def _print(result: dict[str, Any]) -> None:
    scaled, single = result["scaled"], result["one_pod"]
    rows = [(name, _cell(scaled[name]), _cell(single[name])) for name in scaled]
    print(table((f"1 to {result['clients']} clients and back", "scaled", "one pod"), rows))
    if single["tps_last_20_s"]:
        ratio = scaled["tps_last_20_s"] / single["tps_last_20_s"]
        print(f"\nthroughput at the top, to that of one pod: {ratio:.2f}")


def _cell(value: float | None) -> float | str:
    return "-" if value is None else value
