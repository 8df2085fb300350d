"""Who hears what: channels beside a dumb twin, and streams that are told or cut."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.ids import TenantId
from proto import kv_pb2 as kv
from storage import session as sessions
from storage.notifications import CHANNELS_MAX, Channels
from storage.refusals import Refusal
from tests.support.kv import KvClient, KvError, StorageForTest, storage_running

TENANT = TenantId(7)


def note(channel: str, payload: str = "") -> kv.Notification:
    return kv.Notification(channel=channel, payload=payload, pid=1)


def running(
    body: Callable[[StorageForTest, KvClient], Awaitable[None]], engine: str = "memory"
) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with (
                storage_running(Path(folder), engine=engine) as storage,
                storage.session(TENANT) as client,
            ):
                await body(storage, client)

    uvloop.run(whole())


async def listen(client: KvClient, *channels: str, gone: tuple[str, ...] = ()) -> None:
    await client.send(listen=kv.Listen(channels=channels, gone=gone))


@dataclass(eq=False)
class Twin:
    """A listener, and what it ought to hear."""

    wanted: set[str] = field(default_factory=set)
    heard: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def tell_notification(self, notification: kv.Notification) -> None:
        self.heard.append(notification.channel)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["listen", "unlisten", "left", "deliver", "deliver"]),
            st.integers(0, 2),
            st.sets(st.sampled_from("abc")),
        ),
        max_size=30,
    )
)
def test_channels_agree_with_a_dumb_twin(steps: list[tuple[str, int, set[str]]]) -> None:
    channels, listeners = Channels(), [Twin(), Twin(), Twin()]
    for action, number, names in steps:
        twin = listeners[number]
        if action == "listen":
            channels.listen(twin, names)
            twin.wanted |= names
        elif action == "unlisten":
            channels.unlisten(twin, names)
            twin.wanted -= names
        elif action == "left":
            channels.left(twin)
            twin.wanted = set()
        else:
            said = sorted(names)
            channels.deliver([note(name) for name in said])
            for each in listeners:
                each.expected += [name for name in said if name in each.wanted]
        assert [each.heard for each in listeners] == [each.expected for each in listeners]
    for twin in listeners:
        channels.left(twin)
    assert repr(channels) == "<Channels 0, 0 listeners>"


def test_a_stream_listens_to_a_bounded_number_of_channels() -> None:
    channels, twin = Channels(), Twin()
    channels.listen(twin, map(str, range(CHANNELS_MAX)))
    with pytest.raises(Refusal) as refused:
        channels.listen(twin, ["one more"])
    assert refused.value.code == kv.Error.TOO_LARGE
    channels.deliver([note("one more"), note("1")])
    assert twin.heard == ["1"]


def test_notifications_come_before_the_reply_and_in_the_order_of_commits() -> None:
    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as other, storage.session(TenantId(8)) as stranger:
            await listen(client, "x", "y")
            await listen(other, "y")
            await listen(stranger, "x", "y")
            for number in range(20):
                said = [note("x", str(number)), note("y", str(number))]
                await client.commit(client.txn(), {b"k": b"%d" % number}, notifications=said)
                assert client.heard[-1] == ("y", str(number))
            await other.commit(other.txn(), {}, notifications=[note("y", "no writes")])
            assert other.heard == [("y", str(n)) for n in range(20)] + [("y", "no writes")]
            many = [note("x", str(number).rjust(7000)) for number in range(400)]
            await client.commit(client.txn(), {}, notifications=many)
            assert [payload for _, payload in client.heard[-400:]] == [n.payload for n in many]
            await client.commit(client.txn(), {}, notifications=[note("y", "no writes")])
            await listen(client, gone=("x",))
            assert client.heard[:4] == [("x", "0"), ("y", "0"), ("x", "1"), ("y", "1")]
            await client.commit(client.txn(), {}, notifications=[note("x", "not heard")])
            assert client.heard[-1] == ("y", "no writes")
            assert stranger.heard == []

    running(body, "sqlite")


def test_a_commit_that_is_refused_notifies_nobody() -> None:
    async def body(_storage: StorageForTest, client: KvClient) -> None:
        await listen(client, "x")
        await client.put({b"k": b"there"})
        with pytest.raises(KvError):
            await client.commit(1, {b"k": b"v"}, absent=[b"k"], notifications=[note("x")])
        for wrong in (note(""), note("c" * 64), note("x", "p" * 8000)):
            with pytest.raises(KvError) as error:
                await client.commit(client.txn(), {}, notifications=[wrong])
            assert error.value.name == "BAD_REQUEST"
        assert client.heard == []

    running(body)


async def _reads_on(client: KvClient) -> None:
    while True:
        await client.get(b"k")
        await asyncio.sleep(0.01)


def test_a_stream_that_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_NOTIFICATION_BYTES_MAX", 1 << 20)

    async def body(storage: StorageForTest, client: KvClient) -> None:
        async with storage.session(TENANT) as other:
            await listen(client, "x")
            client.reading.clear()
            for number in range(60):
                said = [note("x", f"{number}/{n}".ljust(7000)) for n in range(100)]
                await other.commit(other.txn(), {}, notifications=said)
            client.reading.set()
            with pytest.raises(ConnectionError):
                await _reads_on(client)
            assert len(client.heard) < 6000
            assert await other.get(b"k") == [None]

    running(body)
