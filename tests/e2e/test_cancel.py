"""A cancel request finds its statement, at whichever proxy it arrives."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from bench.gateway import OwnGateway
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e


def roll_the_proxy(running: OwnGateway) -> None:
    """From now on another proxy accepts; the one before lives on for its sessions."""
    command = [sys.executable, "-m", "dormouse.cli.main", "upgrade", "--json", "--role", "proxy"]
    done = subprocess.run(
        [*command, "--data", str(running.folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"]


def cancelled(connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    """Whether a statement that waits for a lock is cancelled when it is asked to be."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.3):  # more than once: the statement may not have begun yet
            connection.cancel_safe(timeout=20.0)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        connection.execute("UPDATE t SET id = 1")
    except psycopg.errors.QueryCanceled:
        return True
    finally:
        over.set()
        asking.join()
    return False


def test_a_session_of_the_proxy_before_can_be_cancelled_through_the_next(tmp_path: Path) -> None:
    with gateway(tmp_path) as running:
        url = running.create_tenant("shop")["connection_url"]
        with (
            psycopg.connect(url, autocommit=True) as holder,
            psycopg.connect(url, autocommit=True) as old,
        ):
            holder.execute("CREATE TABLE t (id int)")
            holder.execute("INSERT INTO t VALUES (1)")
            holder.execute("BEGIN")
            holder.execute("UPDATE t SET id = 1")
            assert cancelled(old)
            pid = old.info.backend_pid
            roll_the_proxy(running)
            with psycopg.connect(url, autocommit=True) as new:
                assert new.info.backend_pid >> 20 != pid >> 20
                assert cancelled(old)
                assert cancelled(new)
                assert old.execute("SELECT pg_backend_pid()").fetchone() == (pid,)
