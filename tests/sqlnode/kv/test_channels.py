"""Listening over streams that break: the next one listens on, and who may have missed is told."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dormouse.base.errors import DormouseError
from dormouse.base.ids import PodId
from dormouse.base.tls import Identity
from proto import kv_pb2 as kv
from sqlnode.kv.client import KvClient
from storage import notifications
from tests.support.cutter import Cutter, cutting
from tests.support.kv import storage_running
from tests.support.tenant import TENANT, tenant_client


@dataclass(eq=False)
class Ear:
    got: list[str] = field(default_factory=list)

    def heard(self, notification: kv.Notification) -> None:
        self.got.append(notification.payload)

    def missed(self) -> None:
        self.got.append("?")


async def _say(client: KvClient, payload: str) -> None:
    txn = client.begin()
    txn.notifications = [kv.Notification(channel="x", payload=payload, pid=1)]
    await txn.commit()


def _with_cutter(body: Callable[[KvClient, Cutter, KvClient], Awaitable[None]]) -> None:
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


def test_the_next_stream_listens_on_and_says_what_may_be_missing() -> None:
    async def body(client: KvClient, cutter: Cutter, direct: KvClient) -> None:
        ear, late, gone = Ear(), Ear(), Ear()
        for each in (ear, gone):
            await client.channels.listen(each, ["x"])
        await _say(direct, "one")
        await client.current_catalog_version()
        cutter.cut()
        client.channels.unlisten(gone, ["x"])
        await client.current_catalog_version()
        await client.channels.listen(late, ["x"])
        await _say(direct, "two")
        await client.current_catalog_version()
        assert (ear.got, late.got, gone.got) == (["one", "?", "two"], ["two"], ["one"])
        client.channels.unlisten(ear, ["x"])
        client.channels.unlisten(late, ["x"])
        await _say(direct, "three")
        await client.current_catalog_version()
        assert client.channels.names == []
        assert late.got == ["two"]

    _with_cutter(body)


def test_a_channel_too_many_is_refused_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "CHANNELS_MAX", 2)

    async def body(client: KvClient, _cutter: Cutter, _direct: KvClient) -> None:
        ear = Ear()
        await client.channels.listen(ear, ["a", "b"])
        with pytest.raises(DormouseError) as error:
            await client.channels.listen(ear, ["b", "c"])
        assert error.value.sqlstate == "54000"
        assert client.channels.names == ["a", "b"]

    _with_cutter(body)
