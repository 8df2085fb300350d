"""What a client is told of notifications, and when: over the wire, and against a dumb twin."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from dormouse.base.tasks import spawn
from pgwire.frontend import Query, Sync
from pgwire.notices import parse
from proto import kv_pb2 as kv
from sqlnode.errors import SqlError
from sqlnode.kv.channels import Channels
from sqlnode.session import notifications as module
from sqlnode.session.notifications import Notifications
from tests.sqlnode.session.test_giving_away import call
from tests.support.linked import Linked, pods_running
from tests.support.pod import PodForTest


def with_pods(folder: Path, body: Callable[[PodForTest, PodForTest], Awaitable[None]]) -> None:
    async def run() -> None:
        async with pods_running(folder, 2) as (here, there):
            await body(here, there)

    uvloop.run(run())


def told(body: bytes) -> tuple[int, str, str]:
    channel, payload, _ = body[4:].decode().split("\0")
    return struct.unpack(">I", body[:4])[0], channel, payload


async def no_answer(_request: kv.Request) -> kv.Reply:
    return kv.Reply()


def listener(**more: Any) -> Notifications:
    channels = Channels(lambda request: spawn(no_answer(request), name="no answer"), lambda _: None)
    given_more = {"wake": lambda: None, "overflow": lambda: None, **more}
    return Notifications(channels, 7, **given_more)


def test_an_idle_client_is_told_at_once_and_one_that_notifies_itself_before_it_is_ready(
    tmp_path: Path,
) -> None:
    async def body(here: PodForTest, there: PodForTest) -> None:
        ear, mouth = await Linked.open(here), await Linked.open(there)
        await ear.query("LISTEN x")
        await mouth.query("NOTIFY x, 'one'")
        found = await ear.next()
        assert found is not None
        assert (found[0], told(found[1])) == ("A", (mouth.pid, "x", "one"))
        ear.send(Query("NOTIFY x, 'two'"))
        kinds = [kind for kind, _ in await ear.until("Z") if kind != "M"]
        assert kinds == ["C", "A", "Z"]
        ear.send(*call("SELECT 1"))
        witness = await Linked.open(here)
        await witness.query("LISTEN x")
        await mouth.query("NOTIFY x, 'in a pipeline'")
        assert await witness.next() is not None  # so the pod knows
        ear.send(Sync())
        kinds = [kind for kind, _ in await ear.until("Z") if kind != "M"]
        assert kinds == ["1", "2", "D", "C", "A", "Z"]

    with_pods(tmp_path, body)


def test_a_client_is_warned_of_what_it_may_have_missed(tmp_path: Path) -> None:
    async def body(here: PodForTest, _there: PodForTest) -> None:
        ear, other = await Linked.open(here), await Linked.open(here)
        await ear.query("LISTEN x")
        here.tenant.kv.channels.stream_broke()
        here.tenant.kv.channels.greeted()
        found = await ear.next()
        assert found is not None
        assert (found[0], parse(found[1]).sqlstate) == ("N", "01000")
        assert [kind for kind, _ in await other.query("SELECT 1") if kind == "N"] == []

    with_pods(tmp_path, body)


def test_a_client_that_takes_nothing_is_disconnected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INBOX_BYTES_MAX", 100_000)

    async def body(here: PodForTest, there: PodForTest) -> None:
        ear, mouth = await Linked.open(here), await Linked.open(there)
        await ear.query("LISTEN x")
        await ear.query("BEGIN")
        much = "SELECT pg_notify('x', repeat(i::text, 5000)) FROM generate_series({}) i"
        await mouth.query(much.format("1, 9"))
        await ear.query("SELECT 1")
        await mouth.query(much.format("0, 9"))
        await mouth.query(much.format("1, 9"))
        found = await ear.until("E")
        error = parse(found[-1][1])
        assert (error.severity, error.sqlstate) == ("FATAL", "53400")
        assert there.tenant.kv.channels.names == here.tenant.kv.channels.names == []

    with_pods(tmp_path, body)


def test_what_a_transaction_says_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAID_BYTES_MAX", 1000)
    notifications = listener()
    notifications.notify("x", "a" * 600)
    with pytest.raises(SqlError) as error:
        notifications.notify("x", "b" * 600)
    assert error.value.sqlstate == "54000"
    notifications.notify("x", "a" * 600)
    notifications.ended(committed=False)
    notifications.notify("x", "b" * 600)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["say", "say", "listen", "unlisten", "all", "savepoint", "back"]),
            st.sampled_from("abc"),
        ),
        max_size=30,
    ),
    committed=st.booleans(),
)
def test_savepoints_agree_with_a_dumb_twin(steps: list[tuple[str, str]], committed: bool) -> None:
    notifications = listener()
    said: list[str] = []
    listening: set[str] = set()
    marks: list[tuple[Any, list[str], set[str]]] = []
    for action, name in steps:
        if action == "say":
            notifications.notify(name, name)
            said += [name] if name not in said else []
        elif action == "savepoint":
            marks.append((notifications.mark(), list(said), set(listening)))
        elif action == "back":
            if marks:
                mark, said, listening = marks[-1][0], list(marks[-1][1]), set(marks[-1][2])
                notifications.restore(mark)
        elif action == "all":
            notifications.unlisten_all()
            listening = set()
        else:
            (notifications.listen if action == "listen" else notifications.unlisten)(name)
            listening = listening | {name} if action == "listen" else listening - {name}
    assert [each.channel for each in notifications.said] == said

    async def end() -> None:
        await notifications.prepare()
        notifications.ended(committed=committed)

    asyncio.run(end())
    assert set(notifications.listening) == (listening if committed else set())
    assert notifications.said == []
