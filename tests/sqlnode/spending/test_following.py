"""How a pod hears of its leave, what it does when it does not, and what clients hear at login."""

import pytest

from pgwire.link import Purpose
from pgwire.notices import Notice, parse
from proto.control_pb2 import SpendLeave
from sqlnode.spending.leave import State
from tests.sqlnode.spending.fakecontrol import (
    LIMIT,
    LimitedPod,
    free,
    open_up_to,
    stopped,
    throttled,
    with_limits,
)
from tests.sqlnode.spending.test_states import TABLE, refused, went
from tests.support.linked import Linked, Replies, error, kinds


def notices(replies: Replies) -> list[Notice]:
    return [parse(body) for kind, body in replies if kind == "N"]


class Listening(Linked):
    """Keeps what it is told when it logs in."""

    welcome: Replies

    async def until(self, last: str = "Z") -> Replies:
        """See Linked."""
        replies = await super().until(last)
        if not hasattr(self, "welcome"):
            self.welcome = replies
        return replies


async def told_at_login(pod: LimitedPod, client_min_messages: str = "notice") -> list[Notice]:
    client = await Listening.open(pod, client_min_messages=client_min_messages)
    assert kinds(client.welcome).endswith("Z")
    await client.close()
    return notices(client.welcome)


def test_the_stamp_brings_the_first_leave() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await refused(client, TABLE)

    with_limits(body, leave=stopped())


def test_reports_tell_the_leave_they_go_by_and_come_before_the_stream() -> None:
    async def body(pod: LimitedPod) -> None:
        control = pod.control
        client = await Linked.open(pod)
        await pod.until(lambda: control.watches)
        assert (control.watches[0].tenant_id, control.watches[0].pod_id) == (
            7,
            (await pod.pod.status()).pod_id,
        )
        assert control.heard
        await pod.told(open_up_to(1_000_000))
        await went(client, TABLE)
        await pod.until(lambda: control.heard[-1].leave == control.leave.number)
        reports = len(control.heard)
        control.leave_them()
        await pod.until(lambda: pod.spending._keeper._unheard_since is not None)
        control.away = False
        await pod.until(lambda: len(control.watches) == 2)
        assert len(control.heard) > reports

    with_limits(body, leave=free(number=4))


def test_without_control_a_ceiling_grows_and_a_restart_of_it_is_noticed() -> None:
    async def body(pod: LimitedPod) -> None:
        control = pod.control
        client = await Linked.open(pod)
        await went(client, TABLE)
        await pod.told(open_up_to(0, rate_micro_units=20_000_000_000))
        await refused(client, "INSERT INTO t VALUES (1)")
        control.leave_them()
        replies = await client.query("INSERT INTO t VALUES (1)")
        while "E" in kinds(replies):
            assert error(replies).sqlstate == "53400"
            replies = await client.query("INSERT INTO t VALUES (1)")
        control.away = False
        control.tell(free())
        await pod.until(lambda: pod.spending.leave.state is State.FREE)
        await went(client, "INSERT INTO t VALUES (2)")

    with_limits(body)


def test_a_stopped_pod_stays_so_without_control_until_the_month_turns() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        for resets_at in (2**33, 1):
            await pod.told(stopped(100_000, resets_at_unix=resets_at))
            await refused(client, "INSERT INTO t VALUES (1)")
            pod.control.leave_them()
            await pod.until(lambda: pod.spending._keeper._unheard_since is not None)
            if resets_at > 1:
                await refused(client, "INSERT INTO t VALUES (1)")
                pod.control.away = False
                await pod.until(lambda: pod.spending._keeper._unheard_since is None)
        billed = (await pod.pod.status()).usage.write_requests
        replies = await client.query("INSERT INTO t VALUES (1)")
        while "E" in kinds(replies):
            assert error(replies).sqlstate == "53400"
            replies = await client.query("INSERT INTO t VALUES (1)")
        assert (await pod.pod.status()).usage.write_requests == billed + 1

    with_limits(body)


def test_what_is_used_while_stopped_is_the_systems() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        await went(client, TABLE)
        await went(client, "INSERT INTO t SELECT g FROM generate_series(1, 100) g")
        await pod.told(stopped(100_000))
        before = (await pod.pod.status()).usage
        await went(client, "SELECT * FROM t")
        await went(client, "DELETE FROM t WHERE a <= 50")
        during = (await pod.pod.status()).usage
        for name in ("read_batches", "read_bytes", "write_requests", "egress_bytes", "pod_millis"):
            assert getattr(during, name) == getattr(before, name), name
        assert during.system_write_requests - before.system_write_requests == 50
        assert during.system_read_bytes > before.system_read_bytes
        assert during.system_cpu_micros > before.system_cpu_micros
        assert during.sql_cpu_micros == before.sql_cpu_micros
        await pod.told(free())
        await went(client, "DELETE FROM t")
        after = (await pod.pod.status()).usage
        assert after.write_requests - during.write_requests == 50
        assert after.system_write_requests == during.system_write_requests

    with_limits(body)


@pytest.mark.parametrize(
    ("leave", "message"),
    [
        (open_up_to(10**6, percent=50), "50% of the spend limit is used"),
        (open_up_to(10**6, percent=90), "90% of the spend limit is used"),
        (free(percent=75), "75% of the spend limit is used"),
        (free(percent=100), "spend limit reached"),
        (throttled(1000), "spend limit reached: statements are slowed down"),
        (stopped(), "spend limit reached: data can be read and deleted, slowly"),
    ],
)
def test_a_client_is_told_at_login(leave: SpendLeave, message: str) -> None:
    async def body(pod: LimitedPod) -> None:
        [notice] = await told_at_login(pod)
        assert (notice.severity, notice.sqlstate, notice.message) == ("NOTICE", "00000", message)
        assert (notice.detail or "").startswith(f"The limit is {LIMIT}; the next month begins")
        assert "dormouse limit set" in (notice.hint or "")
        assert await told_at_login(pod, client_min_messages="warning") == []

    with_limits(body, leave=leave)


@pytest.mark.parametrize("leave", [free(), open_up_to(1000)])
def test_there_is_nothing_to_tell_below_half(leave: SpendLeave) -> None:
    async def body(pod: LimitedPod) -> None:
        assert await told_at_login(pod) == []

    with_limits(body, leave=leave)


def test_a_session_that_moves_is_told_nothing() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Listening.open(pod)
        assert notices(client.welcome)
        given = await client.give_away(Purpose.MOVE)
        await client.close()
        assert client.link is not None
        again = await Listening.resume(pod, client.link, given.sealed)  # type: ignore[union-attr]
        assert notices(again.welcome) == []

    with_limits(body, leave=free(percent=75))


def test_the_organisations_limit_is_raised_elsewhere() -> None:
    async def body(pod: LimitedPod) -> None:
        client = await Linked.open(pod)
        notice = await refused(client, TABLE)
        assert "the organisation's $20.00 a month" in (notice.detail or "")
        assert "PUT /v1/organisations/{id}/spend-limit" in (notice.hint or "")

    with_limits(body, leave=stopped(limit="the organisation's $20.00 a month"))
