"""Clients that append to lists and read them, through the gateway, while its nemesis is at work.

tests/e2e/listappend/test_kills.py     a short run of each level, in the suite
make soak                              a long one: python -m tests.e2e.listappend.load --help
"""

import argparse
import itertools
import random
import shutil
import signal
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
from tests.e2e.listappend import payload
from tests.e2e.listappend.checker import Append, Fate, Level, Read, Torn, Transaction, problems
from tests.e2e.listappend.nemeses import Fault, Met, Moment, haunted, plan

_CLIENTS = 6
_READERS = 1
"""Further clients, which only read the list whose payload was written last: they go on while the
others wait for a large commit, and see it on its way."""
_READER_PAUSES_SECONDS = 0.02, 0.2
"""While a large commit may be on its way, and else."""
_LARGE_SECONDS = 0.4
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
    met: Met = field(default_factory=Met)
    """How storage's processes have found large transactions, in the end."""
    _values: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _appended: "itertools.count[int]" = field(default_factory=itertools.count)
    _first_key: int = 0
    _payload: tuple[int, float] = (0, 0.0)
    """The list whose payload was written last, and when."""

    def prepare(self) -> None:
        """The tables, empty."""
        with wait_for(self._connected, seconds=_PROGRESS_SECONDS, what="the tenant") as connection:
            connection.execute("CREATE TABLE lists (k int PRIMARY KEY, v text NOT NULL)")
            connection.execute(payload.TABLE)

    def _connected(self) -> psycopg.Connection[Any] | None:
        try:
            return psycopg.connect(self.url, connect_timeout=20)
        except psycopg.OperationalError:
            return None

    def committed(self) -> int:
        """How many transactions that append were acknowledged so far."""
        return self._acknowledged(lambda value: True)

    def large(self) -> int:
        """How many of them were staged."""
        return self._acknowledged(payload.has_payload)

    def _acknowledged(self, chosen: Callable[[int], bool]) -> int:
        """Transactions that append such a value."""
        return sum(
            any(isinstance(did, Append) and chosen(did.value) for did in each.operations)
            for each in self.history
            if each.fate is Fate.COMMITTED
        )

    def run(self, disturb: Callable[["Load"], None]) -> list[str]:
        """Let the clients work while `disturb` does its worst; what the checker finds."""
        works = [self._works] * _CLIENTS + [self._reads] * _READERS
        clients = [
            threading.Thread(target=self._client, args=[number, does], name=f"client {number}")
            for number, does in enumerate(works)
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
        self._wait_for(self.committed, self.committed() + more)

    def wait_for_large(self, large: int) -> None:
        """Until so many staged ones were acknowledged in all."""
        self._wait_for(self.large, large)

    def _wait_for(self, count: Callable[[], int], goal: int) -> None:
        end = time.monotonic() + _PROGRESS_SECONDS
        while count() < goal:
            if time.monotonic() > end or self.crashed:
                raise AssertionError(f"no progress, {count()} of {goal}: {self.crashed}")
            time.sleep(0.05)

    def _client(self, number: int, does: "Doing") -> None:
        chance = random.Random(self.seed * 1000 + number)
        try:
            while not self.stop.is_set():
                self._connection(chance, does)
        except BaseException as error:
            self.crashed.append(error)
            raise

    def _connection(self, chance: random.Random, does: "Doing") -> None:
        """Transactions over one connection, to its end."""
        try:
            with psycopg.connect(self.url, autocommit=True, connect_timeout=20) as connection:
                while not self.stop.is_set() and not connection.broken:
                    self._transaction(connection, chance, does)
        except psycopg.OperationalError:
            time.sleep(chance.uniform(0, 0.05))

    def _transaction(
        self, connection: psycopg.Connection[Any], chance: random.Random, does: "Doing"
    ) -> None:
        transaction = Transaction()
        self.history.append(transaction)
        committing = False
        try:
            connection.execute(f"BEGIN ISOLATION LEVEL {self.level.value}")
            does(connection, transaction, chance)
            committing = True
            connection.execute("COMMIT")
            transaction.fate = Fate.COMMITTED
        except psycopg.Error as error:
            if error.sqlstate in _DECIDED or not committing:
                transaction.fate = Fate.FAILED
            if not connection.broken:
                connection.execute("ROLLBACK")

    def _works(
        self,
        connection: psycopg.Connection[Any],
        transaction: Transaction,
        chance: random.Random,
    ) -> None:
        """A transaction that appends and reads."""
        for _ in range(chance.randint(1, 4)):
            first = self._first_key
            key = first + chance.randrange(_KEYS)
            what = chance.random()
            if what < 0.5:
                self._append(connection, transaction, key)
            elif what < 0.75:
                rows = connection.execute("SELECT v FROM lists WHERE k = %s", [key]).fetchall()
                transaction.operations.append(Read(key, _values(rows[0][0] if rows else "")))
            elif what < 0.8:
                _read_with_payload(connection, transaction, key)
            else:
                cursor = connection.execute(
                    "SELECT k, v FROM lists WHERE k BETWEEN %s AND %s", [first, first + _KEYS - 1]
                )
                found = dict(cursor.fetchall())
                for each in range(first, first + _KEYS):
                    transaction.operations.append(Read(each, _values(found.get(each, ""))))

    def _append(
        self, connection: psycopg.Connection[Any], transaction: Transaction, key: int
    ) -> None:
        value = next(self._values)
        transaction.operations.append(Append(key, value))
        connection.execute(
            "INSERT INTO lists VALUES (%s, %s)"
            " ON CONFLICT (k) DO UPDATE SET v = lists.v || excluded.v",
            [key, f" {value}"],
        )
        if payload.has_payload(value):
            self._payload = key, time.monotonic()
            payload.write(connection, key, value)
            self._payload = key, time.monotonic()
        if next(self._appended) % (_VALUES_PER_KEY) == _VALUES_PER_KEY - 1:
            self._first_key += 1

    def _reads(
        self,
        connection: psycopg.Connection[Any],
        transaction: Transaction,
        _chance: random.Random,
    ) -> None:
        """A transaction that only reads."""
        key, since = self._payload
        often, seldom = _READER_PAUSES_SECONDS
        self.stop.wait(often if time.monotonic() - since < _LARGE_SECONDS else seldom)
        _read_with_payload(connection, transaction, key)

    def _final(self) -> Transaction:
        transaction = Transaction(Fate.COMMITTED)
        with wait_for(self._connected, seconds=_PROGRESS_SECONDS, what="the tenant") as connection:
            # One state: a commit that nobody waits for any more may still be on its way.
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for (key,) in connection.execute("SELECT k FROM lists").fetchall():
                _read_with_payload(connection, transaction, key)
            strange = payload.without_list(connection)
        transaction.operations += [Torn(key, "there is no such list") for key in strange]
        return transaction


Doing = Callable[[psycopg.Connection[Any], Transaction, random.Random], None]
"""What a client does in a transaction."""


def _read_with_payload(
    connection: psycopg.Connection[Any], transaction: Transaction, key: int
) -> None:
    text, rows = payload.read(connection, key)
    values = _values(text)
    transaction.operations.append(Read(key, values))
    if (what := payload.wrong(values, rows)) is not None:
        transaction.operations.append(Torn(key, what))


def _values(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))


def measure(
    folder: Path,
    level: Level,
    *,
    planned: Sequence[Fault],
    seed: int,
    between: int,
    large: int = 0,
) -> Load:
    """A gateway, a load and what is planned for them, with so many commits in between, and in the
    end so many staged ones: all of a short run may be a bad time for them. Raises AssertionError
    where the checker finds anything."""
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
            load.wait_for_large(large)

        found = load.run(disturb)
        load.met = nemesis.met()
    if found:
        lines = [f"{number} {each}\n" for number, each in enumerate(load.history)]
        (folder / "history").write_text("".join(lines), encoding="utf-8")
        raise AssertionError(f"seed {seed}, {level.value}:\n" + "\n".join(found[:20]))
    return load


def _say(text: str) -> None:
    sys.stderr.write(f"\r{text}\x1b[K" if sys.stderr.isatty() else f"{text}\n")


def main() -> None:
    """The long run; the exit code is 0 when nothing was found. Otherwise the folder of the gateway
    stays, with its logs, and beside it the history."""
    parser = argparse.ArgumentParser(description="List appends under faults, at every level.")
    parser.add_argument("--kills", type=int, default=34, help="of each level (default: 34)")
    parser.add_argument("--between", type=int, default=60, help="commits between two faults")
    parser.add_argument("--seed", type=int, default=random.randrange(100_000))
    parser.add_argument("--level", type=Level, help="READ COMMITTED, … (default: all, in turn)")
    options = parser.parse_args()
    # As Ctrl-C does, this ends the gateway.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    planned = plan(kills=options.kills, seed=options.seed)
    for level in [options.level] if options.level else Level:
        folder = Path(tempfile.mkdtemp(prefix="dormouse-soak-"))
        _say(f"{level.value}: seed {options.seed}, in {folder}")
        load = measure(folder, level, planned=planned, seed=options.seed, between=options.between)
        shutil.rmtree(folder)
        fates = [each.fate.value for each in load.history]
        counts = ", ".join(f"{fates.count(fate.value)} {fate.value}" for fate in Fate)
        aimed = sum(each.moment is not Moment.ANY for each in planned)
        faults = (
            f"{options.kills} kills and {len(planned) - options.kills} other faults,"
            f" {aimed} of all while a large transaction was staged or on its way"
        )
        large = (
            f"{load.large()} of the committed staged; storage died with {load.met.rolling} of them"
            f" rolled forward in part and with {load.met.staged} others staged"
        )
        sys.stdout.write(
            f"{level.value}: {faults}, {counts}; {large}; nothing found (seed {options.seed})\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
