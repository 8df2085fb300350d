"""Clients that append to lists and read them, through the gateway, while things are killed.

tests/e2e/listappend/test_kills.py     a short run of each level, in the suite
make soak                              a long one: python -m tests.e2e.listappend.load --help
"""

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench.gateway import OwnGateway
from tests.e2e.listappend.checker import Append, Fate, Level, Read, Transaction, problems
from tests.support.gateway import gateway

_CLIENTS = 6
_KEYS = 5
_VALUES_PER_KEY = 80
"""Then the key is left, and another takes its place: lists stay short, histories long."""
_PROGRESS_SECONDS = 120.0
_DECIDED = {"40001", "40P01", "57014", "25P02", "55P03"}
"""SQLSTATEs that say that the transaction has not happened."""


@dataclass
class Load:
    """The clients, what they did, and what they were told."""

    url: str
    level: Level
    seed: int
    history: list[Transaction] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    crashed: list[BaseException] = field(default_factory=list)
    _values: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _appended: "itertools.count[int]" = field(default_factory=itertools.count)
    _first_key: int = 0

    def prepare(self) -> None:
        """The table, empty."""
        with psycopg.connect(self.url) as connection:
            connection.execute("CREATE TABLE lists (k int PRIMARY KEY, v text NOT NULL)")

    def committed(self) -> int:
        """How many transactions were acknowledged so far."""
        return sum(each.fate is Fate.COMMITTED for each in self.history)

    def run(self, disturb: Callable[["Load"], None]) -> list[str]:
        """Let the clients work while `disturb` does its worst; what the checker finds."""
        clients = [
            threading.Thread(target=self._client, args=[number], name=f"client {number}")
            for number in range(_CLIENTS)
        ]
        for client in clients:
            client.start()
        try:
            disturb(self)
        finally:
            self.stop.set()
            for client in clients:
                client.join(_PROGRESS_SECONDS)
        if self.crashed or any(client.is_alive() for client in clients):
            raise AssertionError(f"clients that did not end well: {self.crashed}")
        self.history.append(self._final())
        return problems(self.history, self.level)

    def wait_for_more(self, more: int) -> None:
        """Until so many further transactions were acknowledged."""
        goal, end = self.committed() + more, time.monotonic() + _PROGRESS_SECONDS
        while self.committed() < goal:
            if time.monotonic() > end or self.crashed:
                raise AssertionError(f"no progress: {self.crashed}")
            time.sleep(0.05)

    def _client(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        try:
            while not self.stop.is_set():
                self._connection(chance)
        except BaseException as error:
            self.crashed.append(error)
            raise

    def _connection(self, chance: random.Random) -> None:
        """Transactions over one connection, to its end."""
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=20) as connection:
                while not self.stop.is_set() and not connection.broken:
                    self._transaction(connection, chance)
        except psycopg.OperationalError:
            time.sleep(chance.uniform(0, 0.05))

    def _transaction(self, connection: psycopg.Connection[Any], chance: random.Random) -> None:
        transaction = Transaction()
        self.history.append(transaction)
        committing = False
        try:
            connection.execute(f"BEGIN ISOLATION LEVEL {self.level.value}")
            for _ in range(chance.randint(1, 4)):
                self._operation(connection, transaction, chance)
            committing = True
            connection.execute("COMMIT")
            transaction.fate = Fate.COMMITTED
        except psycopg.Error as error:
            if error.sqlstate in _DECIDED or not committing:
                transaction.fate = Fate.FAILED
            if not connection.broken:
                connection.execute("ROLLBACK")

    def _operation(
        self,
        connection: psycopg.Connection[Any],
        transaction: Transaction,
        chance: random.Random,
    ) -> None:
        first = self._first_key
        key = first + chance.randrange(_KEYS)
        what = chance.random()
        if what < 0.5:
            value = next(self._values)
            transaction.operations.append(Append(key, value))
            connection.execute(
                "INSERT INTO lists VALUES (%s, %s)"
                " ON CONFLICT (k) DO UPDATE SET v = lists.v || excluded.v",
                [key, f" {value}"],
            )
            if next(self._appended) % (_VALUES_PER_KEY) == _VALUES_PER_KEY - 1:
                self._first_key += 1
        elif what < 0.8:
            rows = connection.execute("SELECT v FROM lists WHERE k = %s", [key]).fetchall()
            transaction.operations.append(Read(key, _values(rows[0][0] if rows else "")))
        else:
            cursor = connection.execute(
                "SELECT k, v FROM lists WHERE k BETWEEN %s AND %s", [first, first + _KEYS - 1]
            )
            found = dict(cursor.fetchall())
            for each in range(first, first + _KEYS):
                transaction.operations.append(Read(each, _values(found.get(each, ""))))

    def _final(self) -> Transaction:
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT k, v FROM lists").fetchall()
        return Transaction(Fate.COMMITTED, [Read(key, _values(text)) for key, text in rows])


def _values(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def _kill_pod(running: OwnGateway, chance: random.Random) -> None:
    """Any pod; most are the tenant's, some are warm."""
    host = psutil.Process(int(running.roles()["podhost"]["pid"]))
    if pods := host.children():
        pod = chance.choice(pods)
        pod.kill()
        psutil.wait_procs([pod], timeout=10)


def disturbance(
    running: OwnGateway, *, kills: int, seed: int, between: int
) -> Callable[[Load], None]:
    """Kill -9 storage, pods and the proxy by chance, with some work in between."""
    chance = random.Random(seed)

    def disturb(load: Load) -> None:
        for number in range(kills):
            load.wait_for_more(between)
            victim = chance.choices(["storage", "pod", "proxy"], [4, 4, 1])[0]
            if victim == "pod":
                _kill_pod(running, chance)
            else:
                running.kill_role(victim)
            if sys.stderr.isatty():
                done = f"{number + 1} of {kills} kills, {load.committed()} commits"
                sys.stderr.write(f"\r{done}, last: {victim}   ")
        load.wait_for_more(between)

    return disturb


def measure(folder: Path, level: Level, *, kills: int, seed: int, between: int) -> Load:
    """A gateway, a load and its kills. Raises AssertionError where the checker finds anything."""
    with gateway(folder) as running:
        tenant = running.create_tenant("lists")
        running.change(tenant["id"], pods_min=2, pods_max=2)
        load = Load(tenant["connection_url"], level, seed)
        load.prepare()
        disturb = disturbance(running, kills=kills, seed=seed, between=between)
        found = load.run(disturb)
    if found:
        raise AssertionError(f"seed {seed}, {level.value}:\n" + "\n".join(found[:20]))
    return load


def main() -> None:
    """The long run; the exit code is 0 when nothing was found."""
    parser = argparse.ArgumentParser(description="List appends under kills, at every level.")
    parser.add_argument("--kills", type=int, default=34, help="of each level (default: 34)")
    parser.add_argument("--between", type=int, default=60, help="commits between kills")
    parser.add_argument("--seed", type=int, default=random.randrange(100_000))
    options = parser.parse_args()
    for level in Level:
        with tempfile.TemporaryDirectory(prefix="dormouse-soak-") as folder:
            load = measure(
                Path(folder),
                level,
                kills=options.kills,
                seed=options.seed,
                between=options.between,
            )
        fates = [each.fate.value for each in load.history]
        counts = ", ".join(f"{fates.count(fate.value)} {fate.value}" for fate in Fate)
        sys.stdout.write(
            f"{level.value}: {options.kills} kills, {counts}; nothing found (seed {options.seed})\n"
        )


if __name__ == "__main__":
    main()
