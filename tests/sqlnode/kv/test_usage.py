"""What a pod has asked of storage is counted as it is billed."""

import pytest

from dormouse.base import keys
from dormouse.base.keys import KeyColumn
from sqlnode.kv.client import KvClient
from sqlnode.kv.errors import CatalogStale
from sqlnode.kv.usage import KvUsage
from tests.support.tenant import TENANT, with_tenant

_key = keys.key_encoder(keys.index_prefix(TENANT, 100, 1), [KeyColumn("int")])
KEYS = [_key((number,)) for number in range(5)]
SIZE = len(KEYS[0])


def used(client: KvClient) -> tuple[int, ...]:
    """Read batches, requests, bytes; write batches, requests, bytes; since the last time."""
    now = client.usage
    counted = (
        now.read_batches,
        now.read_requests,
        now.read_bytes,
        now.write_batches,
        now.write_requests,
        now.write_bytes,
    )
    now.clear()
    return counted


def test_reads_and_writes() -> None:
    async def body(client: KvClient) -> None:
        assert client.usage == KvUsage()
        writing = client.begin()
        for key in KEYS:
            writing.put(key, b"value")
        await writing.commit()
        assert used(client) == (0, 0, 0, 1, 5, 5 * (SIZE + 5))
        reading = client.begin()
        await reading.get([*KEYS[:3], _key((99,))])
        assert used(client) == (1, 4, 15, 0, 0, 0)
        start, end = keys.index_span(TENANT, 100, 1)
        async for _page in client.begin().scan(start, end):
            pass
        assert used(client) == (1, 1, 5 * (SIZE + 5), 0, 0, 0)
        removing = client.begin()
        removing.delete(KEYS[0])
        removing.retire(_key((50,)), _key((60,)))
        await removing.commit()
        assert used(client) == (0, 0, 0, 1, 2, SIZE)
        locking = client.begin()
        await locking.lock(KEYS[:2])
        assert used(client) == (1, 2, 5, 0, 0, 0)
        locking.rollback()

    with_tenant(body)


def test_what_storage_refuses_costs_nothing() -> None:
    async def body(client: KvClient) -> None:
        await client.current_catalog_version()
        used(client)
        stale = client.begin(catalog_version=12345)
        with pytest.raises(CatalogStale):
            await stale.get(KEYS[:1])
        assert used(client) == (0, 0, 0, 0, 0, 0)

    with_tenant(body)
