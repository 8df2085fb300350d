"""Asking for a session in any state: agreed between transactions only, refused at once elsewhere,
and either way the client's conversation goes on as if nobody had asked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from pgwire import frontend
from pgwire.backend import message
from pgwire.client import LoginClient
from pgwire.frontend import CopyData, CopyDone, CopyFail, Query, Sync
from pgwire.link import GivenAway, Link, Purpose, Refused
from tests.support.linked import Linked, error, kinds, pods_running, rows_of
from tests.support.pod import DATABASE, PASSWORD, USER, PodForTest

Message = frontend.FrontendMessage


def with_pod(folder: Path, body: Callable[[PodForTest], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with pods_running(folder, 1, **options) as (pod,):
            await body(pod)

    uvloop.run(run())


def ask(client: Linked, purpose: Purpose = Purpose.MOVE) -> bytes:
    assert client.link is not None
    return client.link.give_away(purpose)


async def with_table(pod: PodForTest) -> Linked:
    client = await Linked.open(pod)
    await client.query("CREATE TABLE t (a int)")
    return client


def call(text: str, *, sync: bool = False) -> list[Message]:
    pipeline: list[Message] = [
        frontend.Parse("", text, ()),
        frontend.Bind("", "", (), (), ()),
        frontend.Execute("", 0),
    ]
    return [*pipeline, Sync()] if sync else pipeline


PARSE = frontend.Parse("", "SELECT 1", ())
COPY = Query("COPY t FROM STDIN")


@pytest.mark.parametrize(
    ("before", "reason", "after", "answers"),
    [
        ([Query("BEGIN")], "a transaction is open", [Query("COMMIT")], "CZCZ"),
        (
            [Query("BEGIN"), Query("SELECT nonsense")],
            "a transaction is open",
            [Query("ROLLBACK")],
            "CZEZCZ",
        ),
        ([PARSE], "a pipeline is open", [Sync()], "1Z"),
        ([frontend.Close("S", "x")], "a pipeline is open", [Sync()], "3Z"),
        (call("SELECT 1"), "a pipeline is open", [Sync()], "12DCZ"),
        (
            call("SELECT nonsense"),
            "a pipeline has failed and waits for its end",
            [PARSE, Sync()],
            "EZ",
        ),
        ([COPY, CopyData(b"1\n")], "a COPY is running", [CopyData(b"2\n"), CopyDone()], "GCZ"),
        ([COPY], "a COPY is running", [CopyFail("enough")], "GEZ"),
        (
            [*call("COPY t FROM STDIN"), CopyData(b"1\n")],
            "a COPY is running",
            [CopyDone(), Sync()],
            "12GCZ",
        ),
        (
            [Query("DECLARE c CURSOR WITH HOLD FOR SELECT 1")],
            "a cursor WITH HOLD is open",
            [Query("FETCH c")],
            "CZTDCZ",
        ),
        (
            [Query("LISTEN news")],
            "it listens to notifications",
            [Query("NOTIFY news"), Query("UNLISTEN *")],
            "CZCAZCZ",
        ),
        (
            [Query("SELECT pg_advisory_lock(1)")],
            "it holds advisory locks",
            [Query("SELECT pg_advisory_unlock(1)")],
            "TDCZTDCZ",
        ),
    ],
)
@pytest.mark.parametrize("pieces", [1, 2], ids=["in one piece", "one by one"])
def test_where_a_session_stays(
    tmp_path: Path,
    before: list[Message],
    reason: str,
    after: list[Message],
    answers: str,
    pieces: int,
) -> None:
    async def body(pod: PodForTest) -> None:
        client = await with_table(pod)
        client.frames.clear()
        if pieces == 1:
            client.send(*before, ask(client), *after)
        else:
            for each in (*before, ask(client)):
                client.send(each)
                await asyncio.sleep(0.001)
        seen = ""
        while not (client.frames and isinstance(client.frames[-1], Refused)):
            found = await client.next()
            assert found is not None
            seen += found[0].replace("M", "")
        assert client.frames[-1] == Refused(reason)
        if pieces != 1:
            client.send(*after)
        while len(seen) < len(answers):
            found = await client.next()
            assert found is not None
            seen += found[0].replace("M", "")
        assert seen == answers
        await client.query("CLOSE ALL")
        assert isinstance(await client.give_away(), GivenAway)

    with_pod(tmp_path, body)


def test_what_was_sent_before_is_answered_before(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod)
        client.send(Query("SELECT 1"), Query("SELECT 2"), ask(client))
        first, second = await client.until(), await client.until()
        assert (rows_of(first), rows_of(second)) == ([("1",)], [("2",)])
        assert isinstance(await client.answer(), GivenAway)
        assert await client.next() is None

    with_pod(tmp_path, body)


def test_a_session_with_messages_behind_the_question_stays(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod)
        client.send(ask(client), Query("SELECT 1"))
        assert await client.answer() == Refused("messages wait behind the question")
        assert rows_of(await client.until()) == [("1",)]
        client.send(ask(client), b"Q\0\0")
        assert await client.answer() == Refused("messages wait behind the question")
        client.send(b"\0\x0dSELECT 2\0")
        assert rows_of(await client.until()) == [("2",)]

    with_pod(tmp_path, body)


def test_a_statement_that_waits_is_finished_first(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client, holder = await with_table(pod), await Linked.open(pod)
        await client.query("CREATE TABLE k (a int PRIMARY KEY)")
        await client.query("INSERT INTO k VALUES (1)")
        await holder.query("BEGIN; DELETE FROM k WHERE a = 1")
        client.send(Query("DELETE FROM k WHERE a = 1"), ask(client))
        while not pod.tenant.active:  # noqa: ASYNC110 - it begins in a moment
            await asyncio.sleep(0)
        assert pod.tenant.idle_seconds == 0
        await holder.query("ROLLBACK")
        assert kinds(await client.until()) == "CZ"
        assert isinstance(await client.answer(), GivenAway)

    with_pod(tmp_path, body)


@pytest.mark.parametrize("linked", [True, False], ids=["wrong secret", "no link"])
@pytest.mark.parametrize("state", ["ready", "skipping", "copy"])
def test_whoever_does_not_know_the_secret_sent_an_unknown_message(
    tmp_path: Path, linked: bool, state: str
) -> None:
    async def answers(pod: PodForTest, strange: bytes) -> tuple[str, str, str, str]:
        client = Linked(await pod.dial())
        client.link = Link.new(9) if linked else None
        await client._log_in({}, {})
        preludes: dict[str, list[Message]] = {"skipping": call("x"), "copy": [COPY]}
        prelude = preludes.get(state, [])
        client.send(*prelude, strange, CopyDone())
        replies = await client.until("\0" if state != "copy" else "Z")
        notice = error([each for each in replies if each[0] == "E"][-1:])
        return notice.severity, notice.sqlstate, notice.message, kinds(replies)

    async def body(pod: PodForTest) -> None:
        await with_table(pod)
        asked = await answers(pod, Link.new(9).give_away(Purpose.MOVE))
        unknown = await answers(pod, message(b"m", b"x" * 17))
        assert asked[1] == "08P01"
        assert asked == tuple(each.replace("109", "77").replace("6D", "4D") for each in unknown)

    with_pod(tmp_path, body)


def test_a_pod_without_a_key_keeps_its_sessions(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod)
        assert client.checkpoint is None
        assert await client.give_away() == Refused("its pod has no session key")
        await client.query("SET work_mem = '8MB'")
        assert len(client.frames) == 2  # the reason is said once

    with_pod(tmp_path, body, session_key=b"")


def test_asking_is_no_activity_and_no_time_out_begins_anew(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod, options="-c idle_session_timeout=200")
        await client.query("DECLARE c CURSOR WITH HOLD FOR SELECT 1")
        before = pod.tenant.idle_since
        loop = asyncio.get_running_loop()
        began = loop.time()
        with suppress(ConnectionError):
            while loop.time() - began < 30:
                await client.give_away()
                await asyncio.sleep(0.01)
        assert pod.tenant.idle_since == before
        assert not pod.tenant.sessions

    with_pod(tmp_path, body)


# --- any order of messages ---------------------------------------------------------------------

STEPS: tuple[tuple[Message, ...], ...] = (
    (Query("SELECT 1"),),
    (Query("SELECT 1; SELECT nonsense"),),
    (Query("BEGIN"),),
    (Query("COMMIT"),),
    (Query("ROLLBACK"),),
    (Query("INSERT INTO t VALUES (1)"),),
    (Query("SELECT count(*) FROM t"),),
    (Query("SET LOCAL work_mem = '1MB'"),),
    (Query("SET work_mem = '2MB'"),),
    (Query("DECLARE c CURSOR WITH HOLD FOR SELECT 1"),),
    (Query("CLOSE ALL"),),
    (frontend.Parse("s", "SELECT $1::int", ()),),
    (frontend.Bind("", "s", (), (b"7",), ()),),
    (frontend.Execute("", 0),),
    (frontend.Describe("S", "s"),),
    (frontend.Close("S", "s"),),
    (frontend.Parse("", "SELECT 5", ()), Sync()),
    (frontend.Parse("s", "SELECT $1::int8", ()), Sync()),
    (frontend.Bind("", "", (), (), ()), frontend.Execute("", 0), Sync()),
    (frontend.Bind("", "s", (), (b"6",), ()), frontend.Execute("", 0), Sync()),
    (Query("DISCARD ALL"),),
    tuple(call("SELECT 2")),
    tuple(call("SELECT nonsense")),
    tuple(call("INSERT INTO t VALUES (2)")),
    (frontend.Flush(),),
    (Sync(),),
    (COPY, CopyData(b"3\n"), CopyData(b"4\n"), CopyDone()),
    (COPY, CopyData(b"x\n"), CopyDone()),
    (COPY, CopyFail("no")),
)
"""Parts of a conversation; the messages of one are never torn by the end of the conversation."""


class Ask(Enum):
    """A question for the session, in the middle of a conversation."""

    PATIENT = "what the client sends is held back until it is answered"
    RUSHED = "the client's next message comes with it"


Script = Sequence[Message | Ask]
LAST = (CopyFail("end"), Sync(), Query("ROLLBACK"), Query("SELECT 'the end'"))


async def play(pods: Sequence[PodForTest], script: Script) -> list[tuple[str, bytes]]:
    """The answers to a conversation. A session that is given away goes on on the next pod."""
    proxy = _Proxy(await Linked.open(pods[0], Link.new(99)))
    await proxy.client.query("DELETE FROM t")
    rushed = b""
    for each in (*script, *LAST):
        if each is Ask.RUSHED:
            rushed += ask(proxy.client)
            proxy.asked += 1
        elif each is not Ask.PATIENT:
            proxy.client.send(rushed, each)
            rushed = b""
        elif not rushed:
            await proxy.ask(pods)
    await proxy.collect()
    await proxy.client.close()
    return proxy.got


async def make_table(pods: Sequence[PodForTest]) -> None:
    """A table that both pods know."""
    for pod in pods:
        client = await Linked.open(pod)
        await client.query("CREATE TABLE IF NOT EXISTS t (a int)")
        assert await client.rows("SELECT a FROM t") == []
        await client.close()


class _Proxy:
    def __init__(self, client: Linked) -> None:
        self.client = client
        self.got: list[tuple[str, bytes]] = []
        self.asked = self.moves = 0

    async def ask(self, pods: Sequence[PodForTest]) -> None:
        self.client.send(ask(self.client))
        self.asked += 1
        while len(answers := self._answers()) < self.asked:
            await self._next()
        if isinstance(answers[-1], GivenAway) and self.client.link is not None:
            assert await self.client.next() is None
            await self.client.close()
            self.moves += 1
            pod = pods[self.moves % 2]
            self.client = await Linked.resume(pod, self.client.link, answers[-1].sealed)
            self.asked = 0

    async def collect(self) -> None:
        """Read to the end of the conversation."""
        while ("D", b"\0\x01\0\0\0\x07the end") not in self.got[-3:]:
            await self._next()
        assert len(self._answers()) == self.asked

    async def _next(self) -> None:
        found = await self.client.next()
        assert found is not None
        if found[0] != "M":
            self.got.append(found)

    def _answers(self) -> list[GivenAway | Refused]:
        return [each for each in self.client.frames if isinstance(each, GivenAway | Refused)]


def test_questions_never_disturb_the_answers(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()
        pods = runner.run(stack.enter_async_context(pods_running(tmp_path, 2)))

        runner.run(make_table(pods))

        @settings(max_examples=200, deadline=None)
        @given(st.data())
        def check(data: st.DataObject) -> None:
            steps = data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=12))
            plain: list[Message | Ask] = [each for step in steps for each in step]
            places = data.draw(st.lists(st.integers(0, len(plain)), min_size=1, max_size=8))
            asked = list(plain)
            for place in sorted(places, reverse=True):
                asked.insert(place, data.draw(st.sampled_from(Ask)))
            assert runner.run(play(pods, asked)) == runner.run(play(pods, plain))

        try:
            check()
        finally:
            runner.run(stack.aclose())


def test_the_client_of_these_tests_logs_in_like_any(tmp_path: Path) -> None:
    """What `Linked` leaves out of the replies is the link's frames and nothing else."""

    async def body(pod: PodForTest) -> None:
        reader, writer = await asyncio.open_connection(pod.host, pod.port)
        login = LoginClient(USER, PASSWORD, b"n" * 18, DATABASE)
        writer.write(login.start())
        while not login.ready:
            writer.write(login.feed(await reader.read(65536)))
        client = await Linked.open(pod)
        assert client.settings == login.settings
        writer.close()

    with_pod(tmp_path, body)
