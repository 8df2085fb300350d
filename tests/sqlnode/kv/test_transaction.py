"""Transactions over real storage: what they see, wait for, refuse, stage and undo."""

import asyncio
from collections.abc import Sequence

import pytest

from dormouse.base import keys
from dormouse.base.errors import DormouseError
from sqlnode.kv import stager
from sqlnode.kv import transaction as module
from sqlnode.kv.api import Isolation, Page
from sqlnode.kv.client import KvClient
from sqlnode.kv.transaction import KvTransaction
from tests.support.tenant import TENANT, with_tenant

_PREFIX = keys.index_prefix(TENANT, 100, 1)
_END = keys.prefix_end(_PREFIX)


def _key(number: int) -> bytes:
    return keys.key_encoder(_PREFIX, [keys.KeyColumn("int")])((number,))


async def _write(client: KvClient, rows: dict[int, bytes]) -> int:
    txn = client.begin()
    await txn.insert([_key(n) for n in rows], list(rows.values()), unique=[False] * len(rows))
    return await txn.commit()


async def _all(
    txn: KvTransaction, *, reverse: bool = False, rows_hint: int = 0
) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    async for page in txn.scan(_PREFIX, _END, reverse=reverse, rows_hint=rows_hint):
        found += zip(page.keys, page.values, strict=True)
    return found


def _state(error: pytest.ExceptionInfo[DormouseError]) -> str:
    return error.value.sqlstate


def test_each_statement_sees_commits_and_earlier_writes_but_not_its_own() -> None:
    async def body(client: KvClient) -> None:
        await _write(client, {1: b"one"})
        txn = client.begin()
        await txn.begin_statement()
        assert await txn.get([_key(1), _key(2)]) == [b"one", None]
        await _write(client, {2: b"two"})
        assert await txn.get([_key(2)]) == [None]
        txn.put(_key(3), b"mine")
        assert await txn.get([_key(3)]) == [None]
        assert [row[1] for row in await _all(txn)] == [b"one"]
        await txn.begin_statement()
        assert [row[1] for row in await _all(txn)] == [b"one", b"two", b"mine"]
        assert [row[1] for row in await _all(txn, reverse=True, rows_hint=1)] == [
            b"mine",
            b"two",
            b"one",
        ]
        txn.delete(_key(1))
        await txn.begin_statement()
        assert await txn.get([_key(1), _key(3)]) == [None, b"mine"]
        assert await txn.commit() > 0

    with_tenant(body)


def test_repeatable_read_keeps_its_snapshot_and_refuses_lost_updates() -> None:
    async def body(client: KvClient) -> None:
        await _write(client, {1: b"one"})
        txn = client.begin(isolation=Isolation.REPEATABLE_READ)
        await txn.begin_statement()
        assert await txn.get([_key(1)]) == [b"one"]
        await _write(client, {1: b"uno", 2: b"dos"})
        await txn.begin_statement()
        assert await _all(txn) == [(_key(1), b"one")]
        with pytest.raises(DormouseError) as error:
            await txn.lock([_key(1)])
        assert _state(error) == "40001"
        txn.rollback()

    with_tenant(body)


def test_locks_tell_whether_the_row_changed_and_are_asked_for_once() -> None:
    async def body(client: KvClient) -> None:
        await _write(client, {1: b"one"})
        txn = client.begin()
        [fresh] = await txn.lock([_key(1)])
        assert (fresh.value, fresh.changed) == (b"one", False)
        other = client.begin()
        assert await other.get([_key(1)]) == [b"one"]
        waiting = asyncio.get_running_loop().create_task(other.lock([_key(1)]))
        txn.put(_key(1), b"uno")
        calls = len(client._calls)
        [own] = await txn.lock([_key(1)])
        assert own.value == b"uno"
        assert len(client._calls) == calls
        await txn.commit()
        [locked] = await waiting
        assert (locked.value, locked.changed) == (b"uno", True)
        with pytest.raises(DormouseError) as error:
            await client.begin().lock([_key(1)], wait="nowait")
        assert _state(error) == "55P03"
        [skipped] = await client.begin().lock([_key(1)], wait="skip_locked")
        assert not skipped.locked
        other.rollback()

    with_tenant(body)


def test_a_cancelled_wait_frees_its_place_and_a_deadlock_has_a_victim() -> None:
    async def body(client: KvClient) -> None:
        a, b = client.begin(), client.begin()
        await a.lock([_key(1)])
        await b.lock([_key(2)])
        waiting = asyncio.get_running_loop().create_task(b.lock([_key(1)]))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        waiting = asyncio.get_running_loop().create_task(b.lock([_key(1)]))
        await asyncio.sleep(0)
        with pytest.raises(DormouseError) as error:
            await a.lock([_key(2)])
        assert _state(error) == "40P01"
        a.rollback()
        await waiting
        b.rollback()

    with_tenant(body)


def test_unique_keys_are_checked_against_storage_buffer_and_batch() -> None:
    async def body(client: KvClient) -> None:
        await _write(client, {1: b"one"})
        txn = client.begin()

        async def insert(numbers: Sequence[int]) -> int | None:
            return await txn.insert(
                [_key(n) for n in numbers], [b"v"] * len(numbers), unique=[True] * len(numbers)
            )

        assert await insert([5, 1, 6]) == 1
        assert await insert([5, 6, 5]) == 2
        assert await insert([5, 6]) is None
        assert await insert([7, 6]) == 1
        await txn.lock([_key(1)])
        txn.delete(_key(1))
        assert await insert([1]) is None
        await txn.commit()
        assert await client.begin().get([_key(n) for n in (1, 5, 6, 7)]) == [b"v"] * 3 + [None]

    with_tenant(body)


@pytest.mark.parametrize("existing", [True, False])
def test_savepoints_over_staged_writes(monkeypatch: pytest.MonkeyPatch, existing: bool) -> None:
    monkeypatch.setattr(module, "STAGE_BYTES", 200)
    monkeypatch.setattr(stager, "STAGE_BYTES", 200)

    async def body(client: KvClient) -> None:
        start = {n: b"v%d" % n for n in range(1, 40 if existing else 3)}
        await _write(client, start)
        txn = client.begin()
        await txn.lock([_key(n) for n in start])
        txn.put(_key(1), b"uno")
        level = txn.savepoint()
        for number in range(1, 40):
            txn.put(_key(number), b"later")
            await txn.flush()
        await txn.begin_statement()
        assert len(await _all(txn)) == 39
        await txn.rollback_to(level)
        wanted = {**start, 1: b"uno"}
        assert await _all(txn) == [(_key(n), value) for n, value in wanted.items()]
        txn.put(_key(50), b"kept")
        await txn.commit()
        wanted[50] = b"kept"
        assert await _all(client.begin()) == [(_key(n), value) for n, value in wanted.items()]

    with_tenant(body)


def test_pages_and_own_writes_are_merged_both_ways() -> None:
    async def body(client: KvClient) -> None:
        await _write(client, {n: b"%d" % n for n in range(0, 20_000, 2)})
        txn = client.begin()
        for number in range(1, 20_000, 100):
            txn.put(_key(number), b"own")
        txn.delete(_key(10_000))
        await txn.begin_statement()
        forward = await _all(txn)
        assert len(forward) == 10_000 + 200 - 1
        assert forward == sorted(forward)
        assert await _all(txn, reverse=True) == forward[::-1]
        assert await _all(txn, reverse=True, rows_hint=10) == forward[::-1]
        pages: list[Page] = [
            page async for page in txn.scan(_PREFIX, _END, keys=False, strip=len(_PREFIX))
        ]
        assert [v for page in pages for v in page.values] == [v for _, v in forward]
        txn.rollback()

    with_tenant(body)


def test_row_ids_ascend_and_read_only_refuses() -> None:
    async def body(client: KvClient) -> None:
        txn = client.begin(read_only=True)
        given = [n for _ in range(200) for n in await txn.row_ids(3)]
        assert given == sorted(set(given))
        with pytest.raises(DormouseError) as error:
            txn.put(_key(1), b"")
        assert _state(error) == "25006"

    with_tenant(body)
