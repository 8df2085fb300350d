"""What a broken stream does to reads, to transactions, and to commits in doubt."""

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from dormouse.base import keys
from dormouse.base.errors import DormouseError
from dormouse.base.ids import PodId
from dormouse.base.tasks import spawn
from dormouse.base.tls import Identity
from proto import kv_pb2 as kv
from sqlnode.kv import client as module
from sqlnode.kv.client import KvClient
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.tables import ACCESS_SHARE, ROW_EXCLUSIVE
from tests.support.cutter import Cutter, cutting
from tests.support.kv import storage_running
from tests.support.tenant import TENANT, tenant_client

_PREFIX = keys.index_prefix(TENANT, 100, 1)
_TABLE = 1000
_ONE, _TWO = _PREFIX + b"1", _PREFIX + b"2"

Body = Callable[[KvClient, Cutter, KvClient], Awaitable[None]]


def _with_cutter(body: Body) -> None:
    """`body(client through the cutter, cutter, client of another pod past it)`."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="sqlite") as storage,
                cutting(storage.address) as cutter,
                tenant_client(storage) as direct,
            ):
                credentials = storage.authority.credentials(Identity(tenant=TENANT))
                client = KvClient(cutter.address, credentials, tenant=TENANT, pod=PodId(99))
                client.start()
                try:
                    await body(client, cutter, direct)
                finally:
                    await client.close()

    asyncio.run(run())


async def _put(client: KvClient, key: bytes, value: bytes) -> int:
    txn = client.begin()
    txn.put(key, value)
    return await txn.commit()


async def _get(client: KvClient, key: bytes) -> bytes | None:
    return (await client.begin().get([key]))[0]


def test_reads_are_sent_again_and_idle_transactions_do_not_notice() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        await _put(direct, _ONE, b"one")
        idle = client.begin()
        assert await idle.get([_ONE]) == [b"one"]
        cutter.lose_replies = True
        reading = spawn(_get(client, _ONE), name="reader")
        await asyncio.sleep(0.05)
        cutter.cut()
        assert await reading == b"one"
        await idle.begin_statement()
        assert await idle.get([_ONE]) == [b"one"]
        idle.put(_TWO, b"two")
        assert await idle.commit() > 0

    _with_cutter(body)


@pytest.mark.parametrize("changed", [False, True])
def test_a_read_that_is_sent_again_proves_the_catalog_for_its_tables_are_free(
    changed: bool,
) -> None:
    async def change(client: KvClient) -> int:
        txn = client.begin()
        txn.change_catalog()
        return await txn.commit()

    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        reader = client.begin(catalog_version=await change(direct))
        await reader.lock_tables([(_TABLE, ACCESS_SHARE)])
        cutter.lose_replies = True
        reading = spawn(reader.get([_ONE]), name="reader")
        await asyncio.sleep(0.05)
        if changed:
            await change(direct)
        cutter.cut()
        if changed:
            with pytest.raises(CatalogStale):
                await reading
        else:
            assert await reading == [None]
        with pytest.raises(DormouseError) as error:
            await reader.begin_statement()
        assert error.value.sqlstate == "40001"

    _with_cutter(body)


def test_a_transaction_with_locks_ends_with_the_stream() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        await _put(direct, _ONE, b"one")
        txn = client.begin()
        await txn.lock([_ONE])
        txn.put(_ONE, b"uno")
        epoch = client.epoch
        cutter.cut()
        assert await _get(client, _ONE) == b"one"
        assert client.epoch > epoch
        for action in (txn.lock([_TWO]), txn.commit()):
            with pytest.raises(DormouseError) as error:
                await action
            assert error.value.sqlstate == "40001"
        [free] = await direct.begin().lock([_ONE])
        assert free.value == b"one"

    _with_cutter(body)


def test_a_transaction_with_noted_tables_does_not_go_on_without_its_stream() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        await _get(client, _ONE)
        writer, reader = client.begin(), client.begin()
        assert writer.hold_tables([(_TABLE, ROW_EXCLUSIVE)])
        assert reader.hold_tables([(_TABLE, ACCESS_SHARE)])
        writer.put(_ONE, b"one")
        cutter.cut()
        builder = direct.begin()
        await builder.lock_tables([(_TABLE, kv.ACCESS_EXCLUSIVE)])
        assert await _get(client, _ONE) is None
        for action in (writer.commit(), reader.begin_statement()):
            with pytest.raises(DormouseError) as error:
                await action
            assert error.value.sqlstate == "40001"
        reader.rollback()
        late = client.begin()
        assert not late.hold_tables([(_TABLE, ACCESS_SHARE)])
        waiting = spawn(late.lock_tables([(_TABLE, ACCESS_SHARE)]), name="late reader")
        assert await _get(client, _ONE) is None
        assert not waiting.done()
        builder.rollback()
        await waiting
        late.rollback()

    _with_cutter(body)


def test_while_there_is_no_stream_tables_are_waited_for() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        await _get(client, _ONE)
        cutter.cut()
        while client.tables.ready:
            await _get(direct, _ONE)
        txn = client.begin()
        assert not txn.hold_tables([(_TABLE, ROW_EXCLUSIVE)])
        await txn.lock_tables([(_TABLE, ROW_EXCLUSIVE)])
        txn.put(_ONE, b"one")
        await txn.commit()
        assert await _get(direct, _ONE) == b"one"

    _with_cutter(body)


def test_a_commit_in_flight_when_its_stream_breaks_is_there_for_who_builds() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        await _get(client, _ONE)
        for number in range(20):
            key = _PREFIX + b"row %d" % number
            while not client.tables.ready:
                await _get(client, _ONE)
            txn, builder = client.begin(), direct.begin()
            assert txn.hold_tables([(_TABLE + number, ROW_EXCLUSIVE)])
            txn.put(key, b"row")
            committing = spawn(_outcome(txn.commit()), name="commit")
            await asyncio.sleep(number * 0.0003)
            cutter.cut()
            await builder.lock_tables([(_TABLE + number, kv.TABLE_SHARE)])
            [seen] = await builder.get([key])
            builder.rollback()
            assert (await committing == "00000") == (seen is not None)

    _with_cutter(body)


async def _outcome(commit: Awaitable[int]) -> str:
    try:
        await commit
    except DormouseError as error:
        return error.sqlstate
    return "00000"


def test_a_commit_whose_answer_was_lost_is_found_out() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        await _get(client, _ONE)
        cutter.lose_replies = True
        committing = spawn(_put(client, _ONE, b"one"), name="committer")
        while await _get(direct, _ONE) is None:
            assert not committing.done()
        assert not committing.done()
        cutter.cut()
        assert await committing > 0

    _with_cutter(body)


def test_a_commit_that_never_arrived_is_reported_as_failed() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        await _get(client, _ONE)
        cutter.lose_requests = True
        committing = spawn(_put_quietly(client), name="committer")
        await asyncio.sleep(0.05)
        cutter.cut()
        assert await committing == "40001"
        assert await _get(direct, _ONE) is None

    _with_cutter(body)


def test_an_outcome_nobody_tells_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESOLVE_SECONDS", 0.2)

    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        del direct
        await _get(client, _ONE)
        cutter.lose_requests = True
        committing = spawn(_put_quietly(client), name="committer")
        await asyncio.sleep(0.05)
        cutter.cut()
        cutter.lose_replies = True
        assert await committing == "08007"

    _with_cutter(body)


def test_storage_that_stays_away_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNAVAILABLE_SECONDS", 0.2)

    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        del direct
        await _get(client, _ONE)
        cutter._target = ("127.0.0.1", 1)
        cutter.cut()
        with pytest.raises(DormouseError) as error:
            await _get_until_refused(client)
        assert error.value.sqlstate == "57P03"

    _with_cutter(body)


async def _get_until_refused(client: KvClient) -> None:
    while True:
        await _get(client, _ONE)


async def _put_quietly(client: KvClient) -> str:
    """The SQLSTATE a commit ends with."""
    return await _outcome(_put(client, _ONE, b"one"))


def test_who_waits_for_a_tenant_that_cannot_be_read_is_told_so_and_served_once_it_can() -> None:
    """Not that storage does not answer, ten seconds later."""

    async def run(folder: Path) -> None:
        file = folder / "data" / "storage.sqlite"
        async with (
            storage_running(folder, engine="sqlite") as storage,
            tenant_client(storage) as client,
        ):
            await _put(client, _ONE, b"one")
        await asyncio.to_thread(_sql, file, "INSERT INTO kv VALUES (?, zeroblob(8), x'00')")
        async with (
            storage_running(folder, engine="sqlite") as storage,
            tenant_client(storage) as client,
        ):
            with pytest.raises(DormouseError, match="invalid page") as caught:
                await _get(client, _ONE)
            assert caught.value.sqlstate == "XX001"
            await asyncio.to_thread(_sql, file, "DELETE FROM kv WHERE k = ?")
            await client.greeted.wait()
            assert await _get(client, _ONE) == b"one"

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(run(Path(name)))


def _sql(file: Path, statement: str) -> None:
    """About where the tenant's catalog version lies."""
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, [b"v" + TENANT.to_bytes(8, "big")])
