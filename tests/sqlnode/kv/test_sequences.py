"""What a session asks storage for, what it gives back, and what of it is billed."""

from dataclasses import replace

import pytest

from proto import kv_pb2 as kv
from sqlnode.catalog.catalog import Catalog
from sqlnode.catalog.descriptors import NumberSequence
from sqlnode.catalog.store import sequence_key
from sqlnode.errors import SqlError
from sqlnode.kv.client import KvClient
from sqlnode.kv.sequences import AHEAD_MAX, SessionSequences
from tests.sqlnode.kv.test_usage import used
from tests.support.tenant import TENANT, with_tenant

OID = 20_000
KEY_BYTES = len(sequence_key(TENANT, 1))


class Session:
    """A session with one sequence, whose catalog tests change."""

    def __init__(self, client: KvClient, **shape: int) -> None:
        made = replace(NumberSequence(OID, "s", "public", 1), **shape)  # type: ignore[arg-type]
        self.catalog = Catalog(sequences={("public", "s"): made})
        self.reloaded: list[int] = []
        self.read_only = False
        self.sequences = SessionSequences(
            client,
            session=1,
            catalog=lambda: self.catalog,
            reload=self._reload,
            read_only=lambda: self.read_only,
        )

    async def _reload(self, version: int) -> None:
        self.reloaded.append(version)
        self.catalog = replace(self.catalog, version=version)

    async def take(self, count: int) -> list[int]:
        found = []
        for _ in range(count):
            ready = self.sequences.ready(OID)
            found.append(await self.sequences.nextval(OID) if ready is None else ready)
        return found


def test_each_question_is_for_twice_as_many_and_the_rest_goes_back() -> None:
    async def body(client: KvClient) -> None:
        session, other = Session(client), Session(client)
        assert await session.take(20) == list(range(1, 21))
        assert used(client) == (0, 0, 0, 5, 5, 5 * KEY_BYTES)  # 1, 2, 4, 8, 16
        session.sequences.settle()
        assert await other.take(1) == [21]
        used(client)
        await session.take(3 * AHEAD_MAX)
        assert used(client)[3] == 13  # 1, 2, … 1024, 1024, 1024
        session.sequences.settle()
        assert used(client) == (0, 0, 0, 0, 0, 0)  # giving back is not billed
        look = await session.sequences.look(session.catalog.sequences["public", "s"])
        assert look[0] == 21 + 3 * AHEAD_MAX
        assert used(client) == (1, 1, KEY_BYTES, 0, 0, 0)

    with_tenant(body)


def test_a_batch_that_will_be_worked_through_is_one_question() -> None:
    async def body(client: KvClient) -> None:
        session = Session(client)
        for rows in (1000, 3):
            session.sequences.expect(rows)
            await session.take(rows)
            assert used(client)[3] == 1
        # A row may take more than one after all.
        session.sequences.expect(10)
        await session.take(13)
        session.sequences.settle()
        assert await session.take(1) == [1017]

    with_tenant(body)


def test_cache_is_kept_and_asked_for_in_multiples() -> None:
    async def body(client: KvClient) -> None:
        session, other = Session(client, cache=10), Session(client, cache=10)
        assert await session.take(3) == [1, 2, 3]
        session.sequences.settle()
        assert await other.take(1) == [11]
        session.sequences.expect(25)
        # As in PostgreSQL: what is cached first, then as many caches as are needed.
        assert await session.take(25) == [*range(4, 11), *range(21, 39)]
        session.sequences.settle()
        assert await session.take(3) == [39, 40, 41]
        assert await other.take(10) == [*range(12, 21), 51]

    with_tenant(body)


def test_what_others_took_meanwhile_is_not_taken_back() -> None:
    async def body(client: KvClient) -> None:
        session, other = Session(client), Session(client)
        session.sequences.expect(100)
        await session.take(1)
        assert await other.take(1) == [101]
        session.sequences.settle()
        assert await session.take(1) == [102]

    with_tenant(body)


def test_an_outdated_catalog_is_read_again_in_passing() -> None:
    async def body(client: KvClient) -> None:
        session = Session(client)
        changing = client.begin()
        changing.change_catalog()
        changing.put(sequence_key(TENANT, 99), b"")
        version = await changing.commit()
        session.catalog = replace(session.catalog, version=version - 1)
        assert await session.take(1) == [1]
        assert session.reloaded == [version]

    with_tenant(body)


def test_another_sequence_of_the_same_oid_begins_anew() -> None:
    async def body(client: KvClient) -> None:
        session = Session(client, cache=10)
        assert await session.take(2) == [1, 2]
        anew = replace(session.catalog.sequences["public", "s"], generation=2, first=50)
        session.catalog = session.catalog.edited(put=[anew])
        assert await session.take(1) == [50]
        session.catalog = session.catalog.edited(drop=[("public", "s")])
        with pytest.raises(SqlError, match="could not open relation"):
            await session.take(1)
        # A snapshot may still see it.
        assert await session.sequences.look(anew) == (69, 32, True)
        session.sequences.rolled_back()
        session.catalog = session.catalog.edited(put=[anew])
        with pytest.raises(SqlError, match="not yet defined"):
            session.sequences.currval(OID)

    with_tenant(body)


def test_numbers_that_are_ready_are_not_given_in_a_read_only_transaction() -> None:
    async def body(client: KvClient) -> None:
        session = Session(client, cache=10)
        await session.take(1)
        session.read_only = True
        with pytest.raises(SqlError, match=r"cannot execute nextval\(\) in a read-only"):
            await session.take(1)
        assert session.sequences.currval(OID) == 1

    with_tenant(body)


def test_a_sequence_of_another_tenant_is_out_of_reach() -> None:
    async def body(client: KvClient) -> None:
        take = kv.Sequence.Take(count=1, start=1, increment=1, min=1, max=9)
        key = sequence_key(TENANT + 1, 1)
        with pytest.raises(Exception, match="OUTSIDE_TENANT"):
            await client.call(kv.Request(sequence=kv.Sequence(key=key, take=take)))

    with_tenant(body)
