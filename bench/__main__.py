"""`python -m bench NAME [--json FILE]`: measure a gateway, in figures that can be compared.

Each benchmark starts a gateway of its own in a temporary folder, unless `--ready-file` names a
running one, and says which machine it ran on.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import (
    cold_start,
    control,
    density,
    idle,
    invoices,
    machine,
    move,
    pgbench,
    simulate,
    step,
    storage,
    tenants,
)
from bench.breakdown import DoesNotAddUp
from bench.connect import ConnectFailed
from bench.gateway import Gateway, GatewayError, own_gateway
from bench.pgbench import PgbenchFailed
from bench.postgres import PostgresMissing

_FAILURES = (ConnectFailed, DoesNotAddUp, GatewayError, PgbenchFailed, PostgresMissing)


Start = Callable[[Path], AbstractContextManager[Gateway]]
"""Starts a gateway with its data in a folder."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark of a running gateway."""

    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Gateway, argparse.Namespace], dict[str, Any]]
    start: Start = own_gateway

    def measure(self, options: argparse.Namespace) -> dict[str, Any]:
        """The figures."""
        with _gateway(options.ready_file, self.start) as gateway:
            return self.run(gateway, options)


@dataclass(frozen=True, slots=True)
class Simulation:
    """A benchmark that needs no gateway."""

    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], dict[str, Any]]

    def measure(self, options: argparse.Namespace) -> dict[str, Any]:
        """The figures."""
        return self.run(options)


BENCHMARKS: dict[str, Benchmark | Simulation] = {
    "cold_start": Benchmark(
        "first row of a sleeping tenant: p50, p90, p99", cold_start.add_options, cold_start.run
    ),
    "control": Benchmark(
        "creating tenants, and every call with 100 and with 100,000 of them",
        control.add_options,
        control.run,
    ),
    "density": Benchmark(
        "memory of tenants asleep and awake, and crowds that wake", density.add_options, density.run
    ),
    "idle": Benchmark(
        "ten thousand idle clients of one proxy: memory of each",
        idle.add_options,
        idle.run,
        start=idle.start,
    ),
    "invoices": Simulation(
        "a month of 1,000 and of 10,000 tenants: seconds to close, and whether it adds up",
        invoices.add_options,
        invoices.run,
    ),
    "move": Benchmark(
        "sessions over drained pods, a replaced proxy and an upgrade", move.add_options, move.run
    ),
    "pgbench": Benchmark(
        "select-only and TPC-B against PostgreSQL 15", pgbench.add_options, pgbench.run
    ),
    "simulate": Simulation(
        "the scaling rule and the warm pool over thousands of made-up tenants",
        simulate.add_options,
        simulate.run,
    ),
    "step": Benchmark(
        "from 1 to 60 busy clients and back: pods and throughput", step.add_options, step.run
    ),
    "storage": Simulation(
        "storage beside its bare engine, and a quiet tenant beside a noisy one",
        storage.add_options,
        storage.run,
    ),
    "tenants": Benchmark("what 10,000 idle tenants cost", tenants.add_options, tenants.run),
}


def main() -> int:
    """Run the benchmarks; the exit code."""
    options = _parser().parse_args()
    # As Ctrl-C does, this ends what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = list(BENCHMARKS) if options.name == "all" else [options.name]
    report: dict[str, Any] = {"machine": machine.describe(), "results": {}}
    print(", ".join(f"{name}: {value}" for name, value in report["machine"].items()))
    for name in names:
        print(f"\n== {name}\n", flush=True)
        try:
            report["results"][name] = BENCHMARKS[name].measure(options)
        except _FAILURES as error:
            print(f"bench {name}: {error}", file=sys.stderr)
            return 1
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure a gateway.")
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True, title="benchmarks")
    for name, benchmark in BENCHMARKS.items():
        one = names.add_parser(name, help=benchmark.help, description=benchmark.help)
        _add_common(one)
        benchmark.add_options(one)
    everything = names.add_parser("all", help="all of them, one after the other")
    _add_common(everything)
    for benchmark in BENCHMARKS.values():
        benchmark.add_options(everything)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="draw traces there (needs matplotlib)"
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="FILE", help="measure the running gateway that wrote it"
    )


@contextmanager
def _gateway(ready_file: Path | None, start: Start) -> Iterator[Gateway]:
    if ready_file is not None:
        with Gateway(json.loads(ready_file.read_text(encoding="utf-8"))) as running:
            yield running
        return
    with (
        tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder,
        start(Path(folder)) as own,
    ):
        yield own


if __name__ == "__main__":
    sys.exit(main())
