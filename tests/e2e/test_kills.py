"""What a client saw committed is there, whatever was killed with -9 meanwhile.

Clients move money between accounts and write a history row with a mark of their own; a mark counts
as acknowledged once COMMIT has returned. Afterwards every acknowledged mark must be in the history,
its sequence must have given no number twice, and the sums of accounts, tellers, branches and
history must agree (nothing half-applied).
"""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.gateway import OwnGateway
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e

_ACCOUNTS, _TELLERS, _BRANCHES = 400, 20, 4
_CLIENTS = 8


@dataclass
class Bank:
    """The clients and what they saw."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """What the sequence of the history gave, also to transactions that did not commit."""
    refused: list[str] = field(default_factory=list)
    unexpected: list[BaseException] = field(default_factory=list)

    def create(self) -> None:
        """Empty accounts."""
        with psycopg.connect(self.url) as connection:
            for table, count in (
                ("accounts", _ACCOUNTS),
                ("tellers", _TELLERS),
                ("branches", _BRANCHES),
            ):
                connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, balance bigint)")
                connection.execute(
                    f"INSERT INTO {table} SELECT n, 0 FROM generate_series(1, {count}) n"
                )
            connection.execute("CREATE TABLE history (mark text, delta bigint, number bigserial)")

    def work(self, client: int) -> None:
        """One client: transfers until told to stop, reconnecting whenever it must."""
        chance = random.Random(client)
        number = 0
        while not self.stop.is_set():
            try:
                with psycopg.connect(self.url, connect_timeout=20) as connection:
                    while not self.stop.is_set():
                        number += 1
                        self._transfer(connection, f"{client}-{number}", chance)
            except psycopg.Error as error:
                self.refused.append(error.sqlstate or type(error).__name__)
            except BaseException as error:
                self.unexpected.append(error)
                raise

    def _transfer(
        self, connection: psycopg.Connection[Any], mark: str, chance: random.Random
    ) -> None:
        delta = chance.randint(-5000, 5000)
        try:
            with connection.transaction():
                for table, count in (
                    ("accounts", _ACCOUNTS),
                    ("tellers", _TELLERS),
                    ("branches", _BRANCHES),
                ):
                    update = f"UPDATE {table} SET balance = balance + %s WHERE id = %s"
                    cursor = connection.execute(update, [delta, chance.randint(1, count)])
                    assert cursor.rowcount == 1
                insert = "INSERT INTO history (mark, delta) VALUES (%s, %s) RETURNING number"
                row = connection.execute(insert, [mark, delta]).fetchone()
                self.numbers.append(row[0] if row else 0)
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected) as error:
            self.refused.append(error.sqlstate or "")
            return
        self.acknowledged.append(mark)

    def check(self) -> None:
        """Every acknowledged mark once, no number twice, and all sums equal."""
        assert len(self.numbers) == len(set(self.numbers))
        with psycopg.connect(self.url) as connection:
            marks = [row[0] for row in connection.execute("SELECT mark FROM history")]
            assert len(marks) == len(set(marks))
            assert set(self.acknowledged) <= set(marks)
            count = "SELECT count(number) - count(DISTINCT number) FROM history"
            assert connection.execute(count).fetchone() == (0,)
            sums = [
                connection.execute(f"SELECT sum({column}) FROM {table}").fetchone()
                for table, column in (
                    ("history", "delta"),
                    ("accounts", "balance"),
                    ("tellers", "balance"),
                    ("branches", "balance"),
                )
            ]
            assert len(set(sums)) == 1, sums


def _run(running: OwnGateway, name: str, disturb: Callable[[Bank], None]) -> Bank:
    bank = Bank(running.create_tenant(name)["connection_url"])
    bank.create()
    clients = [
        threading.Thread(target=bank.work, args=[number], name=f"client {number}")
        for number in range(_CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        disturb(bank)
    finally:
        bank.stop.set()
        for client in clients:
            client.join(60)
    assert not any(client.is_alive() for client in clients)
    assert bank.unexpected == []
    bank.check()
    return bank


def _wait_for_more(bank: Bank, more: int) -> None:
    """Let the clients get `more` commits further, so that each kill hits a running load."""
    target = len(bank.acknowledged) + more
    waiting = threading.Event()
    for _ in range(600):
        if len(bank.acknowledged) >= target:
            return
        waiting.wait(0.1)
    raise AssertionError(f"no progress: {bank.refused[-5:]}")


def test_ten_kills_of_storage_lose_no_acknowledged_commit(tmp_path: Path) -> None:
    def kill_storage(bank: Bank) -> None:
        for _ in range(10):
            _wait_for_more(bank, 40)
            running.kill_role("storage")
        _wait_for_more(bank, 40)

    with gateway(tmp_path) as running:
        bank = _run(running, "bank", kill_storage)
    assert len(bank.acknowledged) >= 400


def test_kills_of_the_other_roles_lose_nothing_either(tmp_path: Path) -> None:
    def kill_others(bank: Bank) -> None:
        for role in ("autoscaler", "control", "proxy", "podhost"):
            _wait_for_more(bank, 20)
            running.kill_role(role)
        _wait_for_more(bank, 20)

    with gateway(tmp_path) as running:
        _run(running, "bank", kill_others)


def test_a_statement_that_reads_outlives_storage(tmp_path: Path) -> None:
    with gateway(tmp_path, warm_pods=1) as running:
        tenant = running.create_tenant("reader")
        with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
            connection.execute("CREATE TABLE t (id int PRIMARY KEY, s text)")
            connection.execute(
                "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n"
            )
            counts: list[object] = []
            errors: list[psycopg.Error] = []

            def count() -> None:
                try:
                    while len(counts) < 200 and not done.is_set():
                        counts.append(connection.execute("SELECT count(*) FROM t").fetchone())
                except psycopg.Error as error:
                    errors.append(error)

            done = threading.Event()
            counting = threading.Thread(target=count)
            counting.start()
            for _ in range(3):
                running.kill_role("storage")
            done.set()
            counting.join(60)
            assert not errors
            assert set(counts) == {(20000,)}
