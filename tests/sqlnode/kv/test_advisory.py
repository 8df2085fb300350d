"""Advisory locks of sessions beside a dumb twin, and over streams that break."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base import keys
from dormouse.base.errors import DormouseError
from dormouse.base.ids import PodId
from dormouse.base.tls import Identity
from sqlnode.kv.advisory import EXCLUSIVE, SHARED, AdvisoryLocks, big_key, key_parts, pair_key
from sqlnode.kv.client import KvClient
from sqlnode.kv.transaction import KvTransaction
from tests.support.cutter import Cutter, cutting
from tests.support.kv import storage_running
from tests.support.tenant import TENANT, tenant_client

Lost = list[str]
_ROW = keys.index_prefix(TENANT, 100, 1) + b"row"
Body = Callable[[KvClient, KvClient], Awaitable[None]]


def locks_of(
    client: KvClient, pid: int, lost: Lost | None = None, txn: KvTransaction | None = None
) -> AdvisoryLocks:
    told = [] if lost is None else lost
    return AdvisoryLocks(
        client, pid, transaction=lambda: txn, lost=lambda: told.append(f"session {pid}")
    )


def with_two(body: Body) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
                tenant_client(storage) as one,
                tenant_client(storage) as two,
            ):
                await body(one, two)

    asyncio.run(run())


class Twin:
    """Two sessions' locks, counted by hand."""

    def __init__(self) -> None:
        self.lasting: list[Counter[tuple[int, int]]] = [Counter(), Counter()]
        self.here: list[list[tuple[int, int]]] = [[], []]

    def modes(self, who: int, key: int) -> set[int]:
        held = [*self.lasting[who].elements(), *self.here[who]]
        return {mode for each, mode in held if each == key}

    def can(self, who: int, key: int, mode: int) -> bool:
        others = self.modes(1 - who, key)
        return not others or (mode == SHARED and others == {SHARED})


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["lock", "lock", "here", "unlock", "unlock", "all", "end"]),
            st.integers(0, 1),
            st.integers(1, 2),
            st.sampled_from([SHARED, EXCLUSIVE]),
        ),
        max_size=25,
    )
)
@settings(max_examples=15, deadline=None)
def test_counts_agree_with_a_dumb_twin(steps: list[tuple[str, int, int, int]]) -> None:
    async def body(one: KvClient, two: KvClient) -> None:
        twin, clients = Twin(), (one, two)
        sessions = [locks_of(client, 4711) for client in clients]
        for action, who, key, mode in steps:
            locks, held = sessions[who], (key, mode)
            if action in ("lock", "here"):
                lasts = action == "lock"
                got = await locks.lock(big_key(key), mode, wait=False, lasts=lasts)
                assert got == twin.can(who, key, mode)
                if got and lasts:
                    twin.lasting[who][held] += 1
                elif got:
                    twin.here[who].append(held)
            elif action == "unlock":
                warning = locks.unlock(big_key(key), mode)
                assert (warning is None) == (twin.lasting[who][held] > 0)
                twin.lasting[who] -= Counter([held])
            elif action == "all":
                locks.unlock_all()
                twin.lasting[who].clear()
            else:
                locks.restore(0)
                twin.here[who].clear()
            await clients[who].settled(4711)
            assert locks.held == bool(twin.lasting[who])

    with_two(body)


def test_back_at_a_savepoint_and_the_end_of_the_session() -> None:
    async def body(one: KvClient, two: KvClient) -> None:
        locks, other = locks_of(one, 1), locks_of(two, 1)
        key, late = big_key(1), pair_key(1, 2)
        await locks.lock(key, SHARED, wait=True, lasts=False)
        mark = locks.mark()
        await locks.lock(key, EXCLUSIVE, wait=True, lasts=False)
        await locks.lock(late, EXCLUSIVE, wait=True, lasts=False)
        locks.restore(mark)
        await one.settled(1)
        assert not await other.lock(key, EXCLUSIVE, wait=False, lasts=True)
        assert await other.lock(key, SHARED, wait=False, lasts=True)
        assert await other.lock(late, EXCLUSIVE, wait=False, lasts=True)
        other.close()
        assert not two.holders
        await two.current_catalog_version()
        assert await locks.lock(key, EXCLUSIVE, wait=False, lasts=True)

    with_two(body)


def test_a_statement_that_begins_anew_counts_once() -> None:
    async def body(one: KvClient, two: KvClient) -> None:
        locks, other, key = locks_of(one, 1), locks_of(two, 1), big_key(1)
        await locks.lock(key, SHARED, wait=True, lasts=True)
        locks.next_statement()
        await locks.lock(key, EXCLUSIVE, wait=True, lasts=True)
        locks.take_back_statement()
        await one.settled(1)
        assert await other.lock(key, SHARED, wait=False, lasts=True)
        assert locks.unlock(key, EXCLUSIVE)
        assert locks.unlock(key, SHARED) is None

    with_two(body)


def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    async def body(one: KvClient, two: KvClient) -> None:
        locks, other, third = locks_of(one, 1), locks_of(two, 1), locks_of(one, 2)
        key = big_key(5)
        for round_trips in range(4):
            await locks.lock(key, EXCLUSIVE, wait=True, lasts=True)
            waiting = asyncio.get_running_loop().create_task(
                other.lock(key, EXCLUSIVE, wait=True, lasts=True)
            )
            for _ in range(3):
                await two.current_catalog_version()
            locks.unlock(key, EXCLUSIVE)
            for _ in range(round_trips):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
            await one.settled(1)
            await two.settled(1)
            if waiting.cancelled():
                assert await third.lock(key, EXCLUSIVE, wait=False, lasts=True)
                third.unlock_all()
            other.unlock_all()
            await one.settled(2)
            await two.settled(1)

    with_two(body)


def test_what_is_written_under_a_lock_is_committed_where_the_lock_is() -> None:
    async def body(client: KvClient, _two: KvClient) -> None:
        for locked in (False, True):
            txn = client.begin()
            txn.session = 1
            locks = locks_of(client, 1, txn=txn)
            if locked:
                await locks.lock(big_key(1), EXCLUSIVE, wait=True, lasts=True)
            txn.put(_ROW, b"v")
            locks.check()
            client.epoch += 1  # the stream breaks before the commit is sent
            if locked:
                with pytest.raises(DormouseError) as error:
                    await txn.commit()
                assert error.value.sqlstate == "40001"
            else:
                assert await txn.commit() > 0

    with_two(body)


def test_keys_as_pg_locks_shows_them() -> None:
    assert key_parts(big_key(1)) == (0, 1, 1)
    assert key_parts(big_key(-1)) == (2**32 - 1, 2**32 - 1, 1)
    assert key_parts(pair_key(-1, 7)) == (2**32 - 1, 7, 2)


def test_a_lost_stream_ends_what_held_locks() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        lost: Lost = []
        holder, idle = locks_of(client, 1, lost), locks_of(client, 2, lost)
        await holder.lock(big_key(1), EXCLUSIVE, wait=True, lasts=True)
        await idle.lock(big_key(2), EXCLUSIVE, wait=True, lasts=True)
        idle.unlock_all()
        txn: KvTransaction = client.begin()
        txn.session = 3
        bound = AdvisoryLocks(client, 3, transaction=lambda: txn, lost=lambda: lost.append("no"))
        await bound.lock(big_key(3), EXCLUSIVE, wait=True, lasts=False)
        bound.check()
        cutter.cut()
        await client.current_catalog_version()
        assert lost == ["session 1"]
        others = locks_of(direct, 1)
        for number in (1, 2, 3):
            assert await others.lock(big_key(number), EXCLUSIVE, wait=False, lasts=True)
        for action in (bound.check, bound._follow_stream):
            with pytest.raises(DormouseError) as error:
                action()
            assert error.value.sqlstate == "40001"
        bound.restore(0)
        bound.check()

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine="memory") as storage,
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
