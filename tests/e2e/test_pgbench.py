"""pgbench, unmodified: its tables, its three scripts in its three protocols, and its money."""

import os
import subprocess

import psycopg
import pytest

from bench.gateway import OwnGateway

pytestmark = pytest.mark.e2e


def _pgbench(url: str, *arguments: str) -> str:
    done = subprocess.run(
        ["pgbench", *arguments, url],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PGCONNECT_TIMEOUT": "20"},
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower(), done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bank_url(shared_gateway: OwnGateway) -> str:
    url: str = shared_gateway.create_tenant("pgbench")["connection_url"]
    _pgbench(url, "-i", "-s", "1", "--quiet")
    return url


def test_initialising_makes_pgbench_s_tables(bank_url: str) -> None:
    with psycopg.connect(bank_url) as connection:
        counts = [
            connection.execute(f"SELECT count(*) FROM pgbench_{table}").fetchone()
            for table in ("accounts", "tellers", "branches", "history")
        ]
        keys = connection.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'p' ORDER BY conname"
        ).fetchall()
    assert counts == [(100_000,), (10,), (1,), (0,)]
    assert keys == [
        ("pgbench_accounts_pkey",),
        ("pgbench_branches_pkey",),
        ("pgbench_tellers_pkey",),
    ]


@pytest.mark.parametrize("protocol", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["tpcb-like", "simple-update", "select-only"])
def test_every_script_in_every_protocol(bank_url: str, script: str, protocol: str) -> None:
    options = ("-b", script, "-M", protocol, "-c", "4", "-t", "25", "-n")
    out = _pgbench(bank_url, *options)
    assert "number of transactions actually processed: 100/100" in out
    assert "number of failed transactions: 0 " in out


def test_the_sums_agree_after_tpc_b(bank_url: str) -> None:
    with psycopg.connect(bank_url, autocommit=True) as connection:
        before = connection.execute("SELECT count(*) FROM pgbench_history").fetchone()
        assert before is not None
        # simple-update writes history without tellers and branches: start from agreeing sums.
        for table, column in (
            ("accounts", "abalance"),
            ("tellers", "tbalance"),
            ("branches", "bbalance"),
        ):
            connection.execute(f"UPDATE pgbench_{table} SET {column} = 0 WHERE {column} <> 0")
        connection.execute("TRUNCATE pgbench_history")
    _pgbench(bank_url, "-c", "8", "-t", "50", "-M", "prepared", "-n")
    with psycopg.connect(bank_url) as connection:
        sums = {
            connection.execute(f"SELECT sum({column}) FROM pgbench_{table}").fetchone()
            for table, column in (
                ("accounts", "abalance"),
                ("tellers", "tbalance"),
                ("branches", "bbalance"),
                ("history", "delta"),
            )
        }
        rows = connection.execute("SELECT count(*) FROM pgbench_history").fetchone()
    assert len(sums) == 1, sums
    assert rows == (400,)
