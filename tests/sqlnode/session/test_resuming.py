"""Taking up a session: only an honest, fresh seal of this tenant's opens the door."""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from pgwire import frontend, link
from pgwire.link import GivenAway, Link, Purpose
from pgwire.startup import StartupMessage
from sqlnode.config import PodLimits
from sqlnode.session.moving import State
from sqlnode.session.seals import Seals
from tests.support.linked import SESSION_KEY, Linked, Refusal, error, kinds, pods_running
from tests.support.pod import DATABASE, USER, PodForTest
from tests.support.tenant import TENANT

REFUSED = "FATAL 28000: the session cannot be resumed"


def with_pod(folder: Path, body: Callable[[PodForTest], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        async with pods_running(folder, 1, **options) as (pod,):
            await body(pod)

    uvloop.run(run())


def state(**changes: Any) -> State:
    """A state that a pod would take up."""
    facts: dict[str, Any] = {
        "user": USER,
        "database": DATABASE,
        "pid": 5,
        "purpose": "move",
        "expires_ns": 2**63,
        "waits_since_ns": 2**63,
        "start": {},
        "changed": {},
        "told": {},
        "statements": {},
    }
    return State(**{**facts, **changes})


async def refused(pod: PodForTest, sealed: bytes, user: str = USER) -> str:
    with pytest.raises(Refusal) as caught:
        await Linked.resume(pod, Link.new(5), sealed, user=user)
    assert not pod.tenant.sessions
    return str(caught.value)


OURS = Seals(SESSION_KEY, TENANT)


@pytest.mark.parametrize(
    ("sealed", "cause"),
    [
        (b"", "too short"),
        (b"\1" * 44, "too short"),
        (b"\1" * 45, "changed, or sealed under another key or for another tenant"),
        (b"\2" * 100, "unknown version 2"),
        (
            Seals(bytes(32), TENANT).seal(state().encode()),
            "changed, or sealed under another key or for another tenant",
        ),
        (
            Seals(SESSION_KEY, TenantId(TENANT + 1)).seal(state().encode()),
            "changed, or sealed under another key or for another tenant",
        ),
        (OURS.seal(state(expires_ns=1).encode()), "expired"),
        (OURS.seal(state(database="other").encode()), "of another database"),
        (OURS.seal(state(user="other").encode()), "of another user"),
        (OURS.seal(b'{"format":2}'), "of another format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_seals(
    tmp_path: Path, sealed: bytes, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(pod: PodForTest) -> None:
        with caplog.at_level(logging.WARNING, "sqlnode.session.resuming"):
            assert await refused(pod, sealed) == REFUSED
        assert [record.__dict__["cause"] for record in caplog.records] == [cause]
        fine = await Linked.resume(pod, Link.new(5), OURS.seal(state().encode()))
        assert await fine.rows("SELECT pg_backend_pid()") == [("5",)]

    with_pod(tmp_path, body)


def test_a_user_that_is_no_more(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        sealed = OURS.seal(state(user="left").encode())
        assert await refused(pod, sealed, user="left") == REFUSED

    with_pod(tmp_path, body)


def test_a_pod_without_a_key_resumes_nobody(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        assert await refused(pod, OURS.seal(state().encode())) == REFUSED

    with_pod(tmp_path, body, session_key=b"")


@pytest.mark.parametrize(
    ("purpose", "seconds"),
    [(Purpose.MOVE, 60), (Purpose.PARK, 30 * 86400), (None, 30 * 86400)],
)
def test_how_long_a_seal_is_good(tmp_path: Path, purpose: Purpose | None, seconds: int) -> None:
    clock = ManualClock()

    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod)
        sealed = client.checkpoint
        if purpose is not None:
            given = await client.give_away(purpose)
            assert isinstance(given, GivenAway)
            sealed = given.sealed
        assert client.link is not None
        assert sealed is not None
        clock.advance(seconds - 1)
        resumed = await Linked.resume(pod, client.link, sealed)
        await resumed.close()
        clock.advance(1)
        with pytest.raises(Refusal, match=REFUSED):
            await Linked.resume(pod, client.link, sealed)

    with_pod(tmp_path, body, clock=clock)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_silence_is_counted_on_while_a_session_is_away(tmp_path: Path, purpose: Purpose) -> None:
    clock = ManualClock()

    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod, options="-c idle_session_timeout=50s")
        await client.query("SELECT 1")
        clock.advance(20)
        given = await client.give_away(purpose)
        assert isinstance(given, GivenAway)
        assert client.link is not None
        clock.advance(29)
        resumed = await Linked.resume(pod, client.link, given.sealed)
        given = await resumed.give_away(purpose)
        assert isinstance(given, GivenAway)
        clock.advance(1)
        with pytest.raises(Refusal, match="FATAL 57P05: terminating connection due to idle-sess"):
            await Linked.resume(pod, client.link, given.sealed)

    with_pod(tmp_path, body, clock=clock)


def test_after_the_death_of_a_pod_silence_begins_anew(tmp_path: Path) -> None:
    clock = ManualClock()

    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod, options="-c idle_session_timeout=50s")
        clock.advance(3600)
        assert client.link is not None
        assert client.checkpoint is not None
        resumed = await Linked.resume(pod, client.link, client.checkpoint)
        assert await resumed.rows("SHOW idle_session_timeout") == [("50s",)]

    with_pod(tmp_path, body, clock=clock)


def test_a_setting_of_another_version_is_left_out(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        later = {"a_later_setting": "x", "work_mem": "8MB", "my.own": "kept"}
        sealed = OURS.seal(state(start=later, changed=later).encode())
        resumed = await Linked.resume(pod, Link.new(5), sealed)
        assert await resumed.rows("SHOW work_mem") == [("8MB",)]
        assert await resumed.rows("SHOW my.own") == [("kept",)]
        assert error(await resumed.query("SHOW a_later_setting")).sqlstate == "42704"

    with_pod(tmp_path, body)


def test_a_draining_pod_takes_up_nobody_but_answers_who_is_there(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod)
        pod.tenant.draining = True
        sealed = OURS.seal(state().encode())
        with pytest.raises(Refusal, match="FATAL 57P03: the database system is shutting down"):
            await Linked.resume(pod, Link.new(5), sealed)
        newcomer = Linked(await pod.dial())
        with pytest.raises(Refusal, match="57P03"):
            await newcomer._log_in({}, {})
        assert await client.rows("SELECT 1") == [("1",)]
        assert isinstance(await client.give_away(), GivenAway)

    with_pod(tmp_path, body)


async def answers(pod: PodForTest, options: dict[str, str], then: bytes) -> tuple[str, str]:
    client = Linked(await pod.dial())
    names = {"user": USER, "database": DATABASE}
    client.writer.write(StartupMessage(names, 0, options).build() + then)
    replies = await client.until("\0")
    notice = error(replies)
    return kinds(replies), f"{notice.severity} {notice.sqlstate}"


RESUME = {link.LINK_OPTION: Link.new(5).option(), link.RESUME_OPTION: "on"}


@pytest.mark.parametrize(
    ("options", "then"),
    [
        ({link.RESUME_OPTION: "on"}, b""),
        ({**RESUME, link.RESUME_OPTION: "off"}, b""),
        ({link.LINK_OPTION: "nonsense"}, b""),
        (RESUME, frontend.build(frontend.Query("SELECT 1"))),
        (RESUME, b"M" + (link.SEALED_BYTES_MAX + 5).to_bytes(4, "big")),
    ],
)
def test_what_is_against_the_protocol(tmp_path: Path, options: dict[str, str], then: bytes) -> None:
    async def body(pod: PodForTest) -> None:
        assert await answers(pod, options, then) == ("E", "FATAL 08P01")

    with_pod(tmp_path, body)


def test_a_frame_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = Linked(await pod.dial())
        names = {"user": USER, "database": DATABASE}
        client.writer.write(StartupMessage(names, 0, RESUME).build() + b"M\0\0\1\0abc")
        assert await client.until("\0") == []

    with_pod(tmp_path, body, limits=PodLimits(startup_seconds=0.1))


def test_private_options_are_no_news_and_others_are_negotiated(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        silent = Linked(await pod.dial())
        names = {"user": USER, "database": DATABASE}
        option = {link.LINK_OPTION: Link.new(6).option()}
        silent.writer.write(StartupMessage(names, 0, option).build())
        assert (await silent.next() or ("", b""))[0] == "R"
        other = Linked(await pod.dial())
        other.writer.write(StartupMessage(names, 0, {**option, "_pq_.magic": "on"}).build())
        assert await other.next() == ("v", b"\0\0\0\0\0\0\0\1_pq_.magic\0")

    with_pod(tmp_path, body)


def test_a_long_state_is_read_whole(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod)
        text = "SELECT 1 -- " + "x" * 100_000
        for number in range(30):
            client.send(frontend.Parse(f"s{number}", text, ()))
        client.send(frontend.Sync())
        await client.until()
        moved = await client.moved(pod)
        given = await moved.give_away()
        assert isinstance(given, GivenAway)
        assert len(given.sealed) > 3_000_000

    with_pod(tmp_path, body)


def test_more_than_can_be_sealed_stays(tmp_path: Path) -> None:
    async def body(pod: PodForTest) -> None:
        client = await Linked.open(pod)
        for number in range(3):
            text = f"SELECT {number} -- " + "x" * 1_500_000
            client.send(frontend.Parse(f"s{number}", text, ()))
        client.send(frontend.Sync())
        await client.until()
        assert await client.give_away() == link.Refused("it has too much state to move")

    with_pod(tmp_path, body)
