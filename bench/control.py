"""What control does, and that it costs the same with 100 tenants and with 100,000.

Creating goes through the API as anybody's does: one client after the other, sixteen at a time, and
up to the first row of the new tenant through the gateway, beside PostgreSQL's `CREATE DATABASE` and
`initdb`. Then every call is taken with few tenants and, the registry filled, with many, on the same
gateway; the ratio of the two is the figure.
"""

import argparse
import itertools
import secrets
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench import memory
from bench.apicalls import Caller
from bench.connect import connect_and_select
from bench.fill import GROUPS, fill
from bench.gateway import Gateway, GatewayError, OwnGateway
from bench.postgres import postgres
from bench.roles_asked import reports_per_second, resolve_ms
from bench.stats import percentile, summary, table

_FEW = 100
_CLIENTS = 16
_REFILL_SECONDS = 0.5
_PAGE = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """Flags of this benchmark."""
    parser.add_argument(
        "--registered",
        type=int,
        default=100_000,
        metavar="N",
        help="tenants in the full registry (default: 100000)",
    )
    parser.add_argument(
        "--calls", type=int, default=200, metavar="N", help="of each kind (default: 200)"
    )
    parser.add_argument(
        "--first-rows", type=int, default=20, metavar="N", help="new tenants used (default: 20)"
    )
    parser.add_argument(
        "--reports-for", type=float, default=10.0, metavar="SECONDS", help="(default: 10)"
    )


def run(gateway: Gateway, options: argparse.Namespace) -> dict[str, Any]:
    """Measure. Raises GatewayError for a gateway whose registry is not the benchmark's to fill."""
    if not isinstance(gateway, OwnGateway):
        raise GatewayError("this benchmark fills the registry: it wants a gateway of its own")
    names = (f"bench-{secrets.token_hex(4)}-{number}" for number in itertools.count())
    pattern = gateway.call(
        "POST", "/v1/tenants", json={"name": next(names), "labels": {"stage": "test"}}
    )
    registry = gateway.folder / "control" / "registry.sqlite"
    fill(registry, pattern["id"], _FEW - 1)
    few = _measure(gateway, names, options)
    creating = _creating(gateway, names, options)
    usable = _usable(gateway, names, options.first_rows)
    present = gateway.call("GET", "/v1/status")["tenants"]["registered"]
    fill(registry, pattern["id"], options.registered - present)
    many = _measure(gateway, names, options)
    result = {
        "creating": {**creating, "first_row_ms": usable},
        "postgresql": _postgresql(options.first_rows),
        "with_few": few,
        "with_many": many,
        "registered": {"few": _FEW, "many": options.registered},
        "ratio": {name: round(many[name] / few[name], 2) for name in few},
        "reports_per_second": round(_reports(gateway, options)),
    }
    _print(result)
    return result


@dataclass(frozen=True, slots=True)
class _Known:
    """A tenant to be asked for."""

    id: int
    name: str


def _measure(
    gateway: OwnGateway, names: Iterator[str], options: argparse.Namespace
) -> dict[str, float]:
    """The median of each call in milliseconds, and control's memory in MiB."""
    with Caller(gateway) as caller:
        page = caller.call("GET", f"/v1/tenants?limit={_PAGE}")["tenants"]
        known = [_Known(each["id"], each["name"]) for each in page if "group" in each["labels"]]
        middle = gateway.call("GET", "/v1/status")["tenants"]["ever"] // 2
        some = list(itertools.islice(itertools.cycle(known), options.calls))
        paths = {
            "read a tenant": [f"/v1/tenants/{each.id}" for each in some],
            "first page": [f"/v1/tenants?limit={_PAGE}"] * options.calls,
            "page in the middle": [f"/v1/tenants?limit={_PAGE}&after={middle}"] * options.calls,
            "by name": [f"/v1/tenants?name={each.name}" for each in some],
            "by a common label": [f"/v1/tenants?label=stage%3Dtest&limit={_PAGE}"] * options.calls,
            "by a rare label": [
                f"/v1/tenants?label=group%3Dg{each.id % GROUPS}&limit=1" for each in some
            ],
            "asleep": [f"/v1/tenants?state=asleep&limit={_PAGE}"] * options.calls,
        }
        bodies = [{"name": next(names)} for _ in range(options.calls)]
        times = {"create": [caller.timed("POST", "/v1/tenants", body)[0] for body in bodies]}
        for name, asked in paths.items():
            times[name] = [caller.timed("GET", path)[0] for path in asked]
    times["resolve (rpc)"] = resolve_ms(gateway, [(each.id, each.name) for each in some])
    times["wake, first row"] = _wakes(gateway, names, options.first_rows)
    medians = {name: percentile(values, 50) for name, values in times.items()}
    time.sleep(memory.SETTLE_SECONDS)
    (control,) = memory.processes(gateway, only=["control"])
    medians["memory of control, MiB"] = memory.uss(control) / 2**20
    return {name: round(value, 3) for name, value in medians.items()}


def _wakes(gateway: OwnGateway, names: Iterator[str], count: int) -> list[float]:
    tenant = gateway.create_tenant(next(names))
    found = []
    for number in range(count + 1):
        time.sleep(_REFILL_SECONDS)
        taken = connect_and_select(tenant["connection_url"]).total_ms
        if number:  # the first wake also makes the tenant's catalog
            found.append(taken)
        gateway.suspend(tenant["id"])
    return found


def _creating(
    gateway: OwnGateway, names: Iterator[str], options: argparse.Namespace
) -> dict[str, Any]:
    """Tenants a second and how long each took, by one client and by several."""
    found: dict[str, Any] = {}
    for clients in (1, _CLIENTS):
        each = [[next(names) for _ in range(max(options.calls // 2, 1))] for _ in range(clients)]
        started = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            times = list(pool.map(lambda mine: _create(gateway, mine), each))
        taken = list(itertools.chain.from_iterable(times))
        elapsed = time.perf_counter() - started
        found[f"{clients} at a time"] = {
            "per_second": round(len(taken) / elapsed, 1),
            "ms": summary(taken),
        }
    return found


def _create(gateway: OwnGateway, names: list[str]) -> list[float]:
    with Caller(gateway) as caller:
        return [caller.timed("POST", "/v1/tenants", {"name": name})[0] for name in names]


def _usable(gateway: OwnGateway, names: Iterator[str], count: int) -> dict[str, float]:
    """From the beginning of the call that creates a tenant to the first row of it."""
    found = []
    for _ in range(count):
        time.sleep(_REFILL_SECONDS)
        started = time.perf_counter()
        tenant = gateway.create_tenant(next(names))
        connect_and_select(tenant["connection_url"])
        found.append((time.perf_counter() - started) * 1000)
        gateway.suspend(tenant["id"])
    return summary(found)


def _postgresql(count: int) -> dict[str, Any]:
    """The same of PostgreSQL: a database in a server that runs, and a server of one's own."""
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory(prefix="dormouse-bench-") as folder,
        postgres(Path(folder)) as url,
    ):
        server_ms = (time.perf_counter() - started) * 1000
        databases = [_database_ms(url, f"bench_{number}") for number in range(count)]
    return {"create_database_first_row_ms": summary(databases), "initdb_start_ms": round(server_ms)}


def _database_ms(url: str, name: str) -> float:
    started = time.perf_counter()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    connect_and_select(url.replace("/postgres?", f"/{name}?"))
    return (time.perf_counter() - started) * 1000


def _reports(gateway: OwnGateway, options: argparse.Namespace) -> float:
    page = gateway.call("GET", f"/v1/tenants?limit={_PAGE}")["tenants"]
    tenants = [each["id"] for each in page]
    return reports_per_second(gateway, tenants, pods=_PAGE, seconds=options.reports_for)


def _print(result: dict[str, Any]) -> None:
    creating, postgresql = result["creating"], result["postgresql"]
    columns = ("p50", "p90", "p99", "max")
    rows: list[tuple[object, ...]] = [
        (f"create, {name}", *each["ms"].values(), each["per_second"])
        for name, each in creating.items()
        if name != "first_row_ms"
    ]
    rows.append(("create to first row", *creating["first_row_ms"].values(), "-"))
    database = postgresql["create_database_first_row_ms"]
    rows.append(("PostgreSQL: CREATE DATABASE to first row", *database.values(), "-"))
    print(table(("ms", *columns, "per second"), rows), end="\n\n")
    print(
        f"PostgreSQL: initdb and start of a server of one's own {postgresql['initdb_start_ms']} ms"
    )
    ratio = creating["first_row_ms"]["p50"] / database["p50"]
    print(f"create to first row, ratio to CREATE DATABASE: {ratio:.2f}", end="\n\n")
    few, many, registered = result["with_few"], result["with_many"], result["registered"]
    print(
        table(
            ("p50, ms", f"{registered['few']} tenants", f"{registered['many']} tenants", "ratio"),
            [(name, few[name], many[name], result["ratio"][name]) for name in few],
        ),
        end="\n\n",
    )
    print(f"{result['reports_per_second']} usage reports made durable per second")
