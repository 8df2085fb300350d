"""Clients that append to lists and read them, through the gateway, while its nemesis is at work.

tests/e2e/listappend/test_kills.py     a short run of each level, in the suite
make soak                              a long one: python -m tests.e2e.listappend.load --help
"""

import argparse
import itertools
import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from bench.gateway import wait_for
from tests.e2e.listappend.checker import Append, Fate, Level, Read, Transaction, problems
from tests.e2e.listappend.nemeses import haunted, plan

_CLIENTS = 6
_KEYS = 5
_VALUES_PER_KEY = 80
"""Then the key is left, and another takes its place: lists stay short, histories long."""
_PROGRESS_SECONDS = 120.0
_DECIDED = {"40001", "40P01", "57014", "25P02", "55P03", "53100", "58030"}
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
        with wait_for(self._connected, seconds=_PROGRESS_SECONDS, what="the tenant") as connection:
            connection.execute("CREATE TABLE lists (k int PRIMARY KEY, v text NOT NULL)")

    def _connected(self) -> psycopg.Connection[Any] | None:
        try:
            return psycopg.connect(self.url, connect_timeout=20)
        except psycopg.OperationalError:
            return None

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
        with wait_for(self._connected, seconds=_PROGRESS_SECONDS, what="the tenant") as connection:
            rows = connection.execute("SELECT k, v FROM lists").fetchall()
        return Transaction(Fate.COMMITTED, [Read(key, _values(text)) for key, text in rows])


def _values(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def measure(folder: Path, level: Level, *, planned: Sequence[str], seed: int, between: int) -> Load:
    """A gateway, a load and what is planned for them, with so many commits in between. Raises
    AssertionError where the checker finds anything."""
    with haunted(folder, seed) as (running, nemesis):
        tenant = running.create_tenant("lists")
        running.change(tenant["id"], pods_min=2, pods_max=2)
        load = Load(tenant["connection_url"], level, seed)
        load.prepare()

        def disturb(load: Load) -> None:
            for number, what in enumerate(planned):
                load.wait_for_more(between)
                _say(f"{number} of {len(planned)}, {load.committed()} commits, next: {what}")
                nemesis.let(what)
            load.wait_for_more(between)

        found = load.run(disturb)
    if found:
        raise AssertionError(f"seed {seed}, {level.value}:\n" + "\n".join(found[:20]))
    return load


def _say(text: str) -> None:
    sys.stderr.write(f"\r{text}\x1b[K" if sys.stderr.isatty() else f"{text}\n")


def main() -> None:
    """The long run; the exit code is 0 when nothing was found. Otherwise the folder of the gateway
    stays, with its logs."""
    parser = argparse.ArgumentParser(description="List appends under faults, at every level.")
    parser.add_argument("--kills", type=int, default=34, help="of each level (default: 34)")
    parser.add_argument("--between", type=int, default=60, help="commits between two faults")
    parser.add_argument("--seed", type=int, default=random.randrange(100_000))
    options = parser.parse_args()
    planned = plan(kills=options.kills, seed=options.seed)
    for level in Level:
        folder = Path(tempfile.mkdtemp(prefix="dormouse-soak-"))
        _say(f"{level.value}: seed {options.seed}, in {folder}")
        load = measure(folder, level, planned=planned, seed=options.seed, between=options.between)
        shutil.rmtree(folder)
        fates = [each.fate.value for each in load.history]
        counts = ", ".join(f"{fates.count(fate.value)} {fate.value}" for fate in Fate)
        faults = f"{options.kills} kills and {len(planned) - options.kills} other faults"
        sys.stdout.write(
            f"{level.value}: {faults}, {counts}; nothing found (seed {options.seed})\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
