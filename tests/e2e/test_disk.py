"""What a client of the database is told when the disk under storage fails."""

import errno
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from bench.gateway import OwnGateway
from tests.support.diskfaults import BadDisk, damage, pages_with
from tests.support.gateway import gateway

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> BadDisk:
    folder = tmp_path_factory.mktemp("disk")
    return BadDisk(folder, folder / "gateway" / "storage")


@pytest.fixture(scope="module")
def running(disk: BadDisk) -> Iterator[OwnGateway]:
    allowed = [
        "the engine failed",
        "garbage collection failed",
        "cannot go on",
        "could not be measured",
        r"role \w+ died",
    ]
    with gateway(disk.folder.parents[1], environment=disk.environment, allowed=allowed) as own:
        yield own


@pytest.fixture
def connection(running: OwnGateway, disk: BadDisk) -> Iterator[psycopg.Connection]:
    tenant = running.create_tenant("shop")
    with psycopg.connect(tenant["connection_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)")
        connection.execute("INSERT INTO orders VALUES (1, 'first')")
        yield connection
        disk.heals()
    running.delete(tenant["id"])


def count(connection: psycopg.Connection) -> int:
    [(number,)] = connection.execute("SELECT count(*) FROM orders").fetchall()
    return int(number)


def test_a_full_disk_is_an_error_of_writes_only(
    connection: psycopg.Connection, running: OwnGateway, disk: BadDisk
) -> None:
    disk.full()
    large = "INSERT INTO orders SELECT g, repeat('x', 900) FROM generate_series(2, 3000) g"
    with pytest.raises(errors.DiskFull) as caught:
        connection.execute(large)
    assert caught.value.diag.message_primary == (
        "could not extend the database: No space left on device"
    )
    assert "once there is room" in (caught.value.diag.message_hint or "")
    assert count(connection) == 1
    disk.fails("write", errno.ENOSPC)
    with pytest.raises(errors.DiskFull), connection.transaction():
        connection.execute(large)
    [warning] = running.call("GET", "/v1/status")["warnings"]
    assert warning.startswith("the disk of storage is full")
    disk.heals()
    connection.execute(large)
    assert count(connection) == 3000
    assert running.call("GET", "/v1/status")["warnings"] == []


def test_a_disk_that_takes_no_writes_is_an_io_error(
    connection: psycopg.Connection, disk: BadDisk
) -> None:
    disk.fails("write", errno.EROFS)
    with pytest.raises(errors.IoError) as caught:
        connection.execute("INSERT INTO orders VALUES (2, '')")
    assert str(disk.folder) not in str(caught.value)
    assert count(connection) == 1
    disk.heals()
    connection.execute("INSERT INTO orders VALUES (2, '')")


def test_a_commit_that_was_not_synced_is_settled_by_the_next_process(
    connection: psycopg.Connection, running: OwnGateway, disk: BadDisk
) -> None:
    before = running.pid("storage")
    disk.fails("sync", errno.EIO, times=1, suffix="-wal")
    wanted = 1
    try:
        connection.execute("INSERT INTO orders VALUES (2, '')")
        wanted += 1
    except errors.SerializationFailure:
        pass  # it is not there, and may be tried again
    assert running.pid("storage") != before
    assert count(connection) == wanted


def test_damaged_rows_are_no_answer(
    connection: psycopg.Connection, running: OwnGateway, disk: BadDisk
) -> None:
    connection.execute(
        "INSERT INTO orders SELECT g, repeat('damaged' || g, 30) FROM generate_series(2, 300) g"
    )
    connection.execute("CREATE TABLE others (a int)")
    connection.execute("INSERT INTO others VALUES (1)")
    running.kill_role("storage", signal.SIGTERM)  # so that nothing is left in its log
    file: Path = disk.folder / "storage.sqlite"
    with damage(file, *pages_with(file, b"damaged150damaged150")):
        running.kill_role("storage")  # so that nothing is left in its memory
        with pytest.raises(errors.DataCorrupted) as caught:
            count(connection)
        assert "restored from a backup" in (caught.value.diag.message_hint or "")
        assert connection.execute("SELECT a FROM others").fetchall() == [(1,)]
