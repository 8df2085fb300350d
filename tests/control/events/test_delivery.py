"""Deliveries over the loopback, to receivers that are as bad as they come."""

import asyncio
import ipaddress
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from prometheus_client import generate_latest
from standardwebhooks.webhooks import Webhook as Reference

from control.actor import OrganisationId
from control.events import Event, EventKind
from control.metrics import WEBHOOK_ATTEMPTS
from control.sealing import Sealing
from control.webhooks.addresses import Address
from control.webhooks.deliveries import Delivery
from control.webhooks.fanout import GIVE_UP_SECONDS
from control.webhooks.names import NoSuchName
from control.webhooks.sender import Sender
from control.webhooks.store import PREVIOUS_SECRET_SECONDS, Webhook, changed_terms
from control.webhooks.verdict import Disabled, Outcome, Status
from dormouse.base.clock import ManualClock, SystemClock
from dormouse.base.metrics import REGISTRY
from tests.control.events.receiver import CA_FILE, OK, receiver, status, tls_of
from tests.control.events.support import created_event, rig_at, sending


def _all(wanted: Status, count: int = 1) -> Callable[[list[Delivery]], bool]:
    return lambda found: [each.status for each in found] == [wanted] * count


def _tried(times: int) -> Callable[[list[Delivery]], bool]:
    return lambda found: bool(found) and found[0].attempts >= times


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_event_arrives_over_tls_signed(tmp_path: Path, run: Callable[..., None]) -> None:
    async def check() -> None:
        # The reference refuses what is more than five minutes off.
        clock = ManualClock(SystemClock().wall_ns())
        async with (
            receiver(tls_of(tmp_path)) as to,
            rig_at(tmp_path, clock) as rig,
            sending(rig, ca_file=tmp_path / CA_FILE),
        ):
            webhook, secret = await rig.webhook(to.url)
            number = await rig.record(created_event("shop"))
            (delivery,) = await rig.settled(webhook, _all(Status.DELIVERED))
            assert (delivery.attempts, delivery.response_status, delivery.error) == (1, 204, None)
            (request,) = to.requests
            assert request.path == "/hook"
            assert request.headers["host"] == to.url.split("/")[2]
            assert request.headers["content-type"] == "application/json"
            document = Reference(secret).verify(request.body, request.headers)
            assert document == {
                "id": request.headers["webhook-id"],
                "type": "tenant.created",
                "timestamp": document["timestamp"],
                "organisation": 7,
                "tenant": 1,
                "data": {"name": "shop"},
            }
            assert document["id"].split("_")[:2] == ["evt", str(number)]
            tampered = request.body.replace(b"shop", b"shoe")
            with pytest.raises(Exception, match="No matching signature"):
                Reference(secret).verify(tampered, request.headers)

    run(check())


def test_a_server_that_cannot_prove_its_name_gets_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            receiver(tls_of(tmp_path)) as to,
            rig_at(tmp_path) as rig,
            sending(rig),  # which does not know the receiver's authority
        ):
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            (delivery,) = await rig.settled(webhook, _tried(1))
            assert delivery.error is not None
            assert "certificate" in delivery.error.lower()
            assert to.requests == []

    asyncio.run(run())


def test_the_same_message_is_sent_until_it_arrives(tmp_path: Path) -> None:
    async def run() -> None:
        async with receiver(answer=status(500)) as to, rig_at(tmp_path) as rig, sending(rig):
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            for attempt in range(1, 5):
                (delivery,) = await rig.settled(webhook, _tried(attempt))
                assert delivery.status is Status.WAITING
                assert delivery.error == "it answered (500)"
                assert delivery.due_ns is not None
                pause = (delivery.due_ns - rig.clock.wall_ns()) / 1e9
                assert pause == 5.0 * 3 ** (attempt - 1)
                assert (await rig.read(webhook)).health.failures == attempt
                rig.advance(max(pause, 60))
            to.answer = OK
            rig.advance(10**4)
            await rig.settled(webhook, _all(Status.DELIVERED))
            assert (await rig.read(webhook)).health.failures == 0
            assert len(set(to.ids())) == 1
            assert len({each.body for each in to.requests}) == 1
            times = [int(each.headers["webhook-timestamp"]) for each in to.requests]
            assert times == sorted(set(times))

    asyncio.run(run())


def test_what_never_arrives_is_given_up_and_can_be_asked_for_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with receiver(answer=status(503)) as to, rig_at(tmp_path) as rig, sending(rig):
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            attempt = 0
            while True:
                attempt += 1
                (delivery,) = await rig.settled(webhook, _tried(attempt))
                if delivery.due_ns is None:
                    break
                rig.advance(max((delivery.due_ns - rig.clock.wall_ns()) / 1e9, 60))
            assert delivery.status is Status.DEAD
            assert 15 <= attempt <= 25
            rig.advance(GIVE_UP_SECONDS)
            to.answer = OK
            again = await rig.stores.deliveries.again(webhook, delivery.id)
            assert again is not None
            assert (again.status, again.attempts) == (Status.WAITING, 0)
            await rig.settled(webhook, _all(Status.DELIVERED))
            assert len(set(to.ids())) == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (status(302, "Location: http://localhost:1/elsewhere"), "redirects"),
        (status(404), "answered (404)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "HTTP"),
        (b"", "HTTP"),
    ],
)
def test_other_answers_are_failures(tmp_path: Path, answer: bytes, word: str) -> None:
    async def run() -> None:
        async with (
            receiver(answer=answer, hangs_up=True) as to,
            rig_at(tmp_path) as rig,
            sending(rig),
        ):
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            (delivery,) = await rig.settled(webhook, _tried(1))
            assert delivery.status is Status.WAITING
            assert word in (delivery.error or "")
            assert len(to.requests) == 1  # nobody went elsewhere

    asyncio.run(run())


def test_one_that_hangs_holds_up_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.webhooks.transport.ATTEMPT_SECONDS", 1.0)

    async def run() -> None:
        async with (
            receiver(answer=None) as hanging,
            receiver() as fine,
            rig_at(tmp_path) as rig,
            sending(rig),
        ):
            slow, _ = await rig.webhook(hanging.url)
            other, _ = await rig.webhook(fine.url)
            for _ in range(30):
                await rig.record()
            await rig.settled(other, _all(Status.DELIVERED, 30))
            found = await rig.settled(slow, _tried(1))
            assert found[0].error == "no answer within 1 seconds"
            # It was asked once, not thirty times: its endpoint is left alone for a while.
            assert [each.attempts for each in found] == [1] + [0] * 29
            assert hanging.connections == 1

    asyncio.run(run())


def test_of_a_long_answer_the_beginning_is_read(tmp_path: Path) -> None:
    async def run() -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n"
        async with (
            receiver(answer=head, floods=True) as to,
            rig_at(tmp_path) as rig,
            sending(rig),
        ):
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            await rig.record()
            await rig.settled(webhook, _all(Status.DELIVERED, 2))
            # The connection was not waited for and not used again; buffers took the rest.
            assert to.connections == 2
            assert to.flooded < 20_000_000

    asyncio.run(run())


@pytest.mark.parametrize("hangs_up", [True, False])
def test_the_status_decides_whatever_becomes_of_the_body(tmp_path: Path, hangs_up: bool) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"

    async def run() -> None:
        async with (
            receiver(answer=half, hangs_up=hangs_up) as to,
            rig_at(tmp_path) as rig,
            sending(rig),
        ):
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            await rig.record()
            await rig.settled(webhook, _all(Status.DELIVERED, 2))
            assert to.connections == 2

    asyncio.run(run())


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with receiver() as to, rig_at(tmp_path) as rig, sending(rig):
            webhook, _ = await rig.webhook(to.url)
            for _ in range(50):
                await rig.record()
            await rig.settled(webhook, _all(Status.DELIVERED, 50))
            assert to.connections == 1
            assert len(set(to.ids())) == 50

    asyncio.run(run())


def test_a_receiver_may_ask_for_time(tmp_path: Path) -> None:
    async def run() -> None:
        busy = status(429, "Retry-After: 1800")
        async with receiver(answer=busy) as to, rig_at(tmp_path) as rig, sending(rig):
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            (delivery,) = await rig.settled(webhook, _tried(1))
            assert delivery.due_ns == rig.clock.wall_ns() + 1800 * 10**9

    asyncio.run(run())


def test_one_that_fails_for_days_is_disabled_and_others_hear_of_it(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            receiver(answer=status(500)) as broken,
            receiver() as fine,
            rig_at(tmp_path) as rig,
            sending(rig, disable_seconds=3600),
        ):
            webhook, _ = await rig.webhook(broken.url)
            watching, _ = await rig.webhook(fine.url, "webhook.disabled")
            await rig.record()
            for attempt in range(1, 11):
                assert (await rig.read(webhook)).terms.enabled
                await rig.settled(webhook, _tried(attempt))
                rig.advance(7 * 3600)
            assert (await rig.read(webhook)).disabled is Disabled.FAILING
            await rig.settled(watching, _all(Status.DELIVERED))
            document = json.loads(fine.requests[0].body)
            assert document["type"] == "webhook.disabled"
            assert document["data"]["webhook"] == webhook.id
            assert document["data"]["origin"] == broken.url.removesuffix("/hook")
            # Nothing is made for it any more; what waits goes out when it is enabled again.
            await rig.record()
            (waiting,) = await rig.deliveries(webhook)
            assert waiting.status is Status.WAITING
            broken.answer = OK
            enabled = await rig.stores.webhooks.change(
                webhook.id, lambda terms: changed_terms(terms, enabled=True)
            )
            assert enabled is not None
            assert enabled.health.failures == 0
            rig.advance(0)
            await rig.settled(webhook, _all(Status.DELIVERED))

    asyncio.run(run())


def test_one_that_is_gone_is_disabled_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with receiver(answer=status(410)) as to, rig_at(tmp_path) as rig, sending(rig):
            webhook, _ = await rig.webhook(to.url, "tenant.*")
            await rig.record()
            await rig.settled(webhook, _tried(1))
            assert (await rig.read(webhook)).disabled is Disabled.GONE

    asyncio.run(run())


def test_after_a_rotation_both_secrets_sign_for_a_day(tmp_path: Path) -> None:
    async def run() -> None:
        clock = ManualClock(SystemClock().wall_ns() - PREVIOUS_SECRET_SECONDS * 10**9)
        async with receiver() as to, rig_at(tmp_path, clock) as rig, sending(rig):
            webhook, old = await rig.webhook(to.url)
            rotated = await rig.stores.webhooks.rotate_secret(webhook.id)
            assert rotated is not None
            _, new = rotated
            rig.advance(PREVIOUS_SECRET_SECONDS - 60)
            await rig.record()
            await rig.settled(webhook, _all(Status.DELIVERED))
            (first,) = to.requests
            for secret in (old, new):
                Reference(secret).verify(first.body, first.headers)
            rig.advance(60)
            assert await rig.stores.webhooks.forget_previous_secrets() == 1
            await rig.record()
            await rig.settled(webhook, _all(Status.DELIVERED, 2))
            second = to.requests[1]
            Reference(new).verify(second.body, second.headers)
            with pytest.raises(Exception, match="No matching signature"):
                Reference(old).verify(second.body, second.headers)

    asyncio.run(run())


def test_webhooks_get_what_they_want_and_what_is_theirs(tmp_path: Path) -> None:
    async def run() -> None:
        async with receiver() as to, rig_at(tmp_path) as rig:
            mine, theirs = OrganisationId(7), OrganisationId(8)
            every, _ = await rig.webhook(to.url, "*")
            family, _ = await rig.webhook(to.url, "tenant.*", "spend.notice")
            other_kind, _ = await rig.webhook(to.url, "key.created")
            both, _ = await rig.webhook(to.url, "*", "tenant.*", "tenant.created")
            strangers, _ = await rig.webhook(to.url, "*", organisation=theirs)
            operators, _ = await rig.webhook(to.url, "*", organisation=None)
            own = await rig.record(created_event(organisation=mine))
            installation = await rig.record(
                Event(
                    kind=EventKind.KEY_REVOKED,
                    data={"key": 1, "label": "a", "scope": "admin", "access": "read"},
                )
            )

            async def got(webhook: Webhook) -> list[int]:
                return [each.event.id for each in await rig.deliveries(webhook)]

            assert await got(every) == await got(family) == await got(both) == [own]
            assert await got(other_kind) == await got(strangers) == []
            assert await got(operators) == [own, installation]

    asyncio.run(run())


def test_what_is_deleted_or_disabled_hears_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with receiver() as to, rig_at(tmp_path) as rig:
            webhooks = rig.stores.webhooks
            deleted, _ = await rig.webhook(to.url)
            disabled, _ = await rig.webhook(to.url)
            last, _ = await rig.webhook(to.url)
            await rig.record()
            await webhooks.delete(deleted.id)
            await webhooks.change(disabled.id, lambda terms: changed_terms(terms, enabled=False))
            await rig.record()
            async with sending(rig):
                await rig.settled(last, _all(Status.DELIVERED, 2))
                assert len(to.requests) == 2
                (waiting,) = await rig.deliveries(disabled)
                assert (waiting.status, waiting.attempts) == (Status.WAITING, 0)
                # It is given up when its time is over.
                rig.advance(GIVE_UP_SECONDS + 3600)
                assert await rig.stores.deliveries.give_up() == 2
                (dead,) = await rig.deliveries(disabled)
                assert (dead.status, dead.error) == (
                    Status.DEAD,
                    "no time was left for another attempt",
                )

    asyncio.run(run())


def test_of_too_many_that_wait_the_oldest_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control.webhooks.deliveries.WAITING_MAX", 3)

    async def run() -> None:
        async with rig_at(tmp_path) as rig:
            webhook, _ = await rig.webhook("https://example.com/")
            for _ in range(5):
                await rig.record()
            assert await rig.stores.deliveries.give_up() == 2
            found = [each.status for each in await rig.deliveries(webhook)]
            assert found == [Status.DEAD] * 2 + [Status.WAITING] * 3

    asyncio.run(run())


def test_an_address_is_checked_where_the_connection_is_made(tmp_path: Path) -> None:
    """A name that answered well once (rebinding) and one with several addresses."""

    async def run() -> None:
        answers: list[list[str]] = [["10.0.0.1"], ["10.0.0.1", "127.0.0.1"], ["169.254.169.254"]]
        asked: list[str] = []

        async def resolve(host: str) -> list[Address]:
            asked.append(host)
            return [ipaddress.ip_address(text) for text in answers.pop(0)]

        async with (
            receiver() as to,
            rig_at(tmp_path) as rig,
            sending(rig, resolve=resolve) as sender,
        ):
            url = to.url.replace("localhost", "hook.test")

            async def post() -> str | None:
                to.answer = status(204, "Connection: close")
                return (await _post(sender, url)).error

            refused = "its name leads to an address that this gateway does not send to"
            assert await post() == refused
            assert to.connections == 0
            assert await post() is None
            assert to.requests[0].headers["host"] == url.split("/")[2]
            assert await post() == refused
            assert asked == ["hook.test"] * 3
            assert to.connections == 1

    asyncio.run(run())


async def _post(sender: Sender, url: str) -> Outcome:
    return await sender.transport.post(url, {"webhook-id": "x"}, b"{}")


def test_without_leave_loopback_gets_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        async with receiver() as to, rig_at(tmp_path) as rig, sending(rig, allowed=()) as sender:
            before = WEBHOOK_ATTEMPTS.labels("not_allowed")._value.get()
            webhook, _ = await rig.webhook(to.url)
            await rig.record()
            (delivery,) = await rig.settled(webhook, _tried(1))
            assert "does not send to" in (delivery.error or "")
            for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
                outcome = await _post(sender, to.url.replace("localhost", host))
                assert outcome.kind == "not_allowed", host
            assert to.connections == 0
            assert WEBHOOK_ATTEMPTS.labels("not_allowed")._value.get() == before + 1
            assert b"dormouse_control_webhook_attempts_total" in generate_latest(REGISTRY)

    asyncio.run(run())


def test_names_that_do_not_resolve_and_ports_that_are_closed(tmp_path: Path) -> None:
    async def run() -> None:
        async def resolve(host: str) -> list[Address]:
            if host == "nowhere.test":
                raise NoSuchName("its name does not resolve (so)")
            return [ipaddress.ip_address("127.0.0.1")]

        async with receiver() as to, rig_at(tmp_path) as rig:
            port = to.url.split(":")[2].split("/")[0]
            async with sending(rig, resolve=resolve) as sender:
                outcome = await _post(sender, "http://nowhere.test/")
                assert outcome.kind == "unreachable"
                assert "does not resolve" in (outcome.error or "")
        async with sending(rig, resolve=resolve) as sender:
            outcome = await _post(sender, f"http://localhost:{port}/")  # nobody there any more
            assert outcome.kind == "unreachable"

    asyncio.run(run())


def test_secrets_outlive_the_key_that_sealed_them(tmp_path: Path) -> None:
    async def run() -> None:
        async with rig_at(tmp_path) as rig:
            webhook, _ = await rig.webhook("https://example.com/")
            never_rotated, _ = await rig.webhook("https://example.com/")
            await rig.stores.webhooks.rotate_secret(webhook.id)
            before = await rig.stores.webhooks.secrets(webhook.id)
            assert len(before) == 2
            sealing = Sealing(rig.database)
            assert await sealing.rotate() >= 3
            for _ in range(2):
                await sealing.look()
            assert len(rig.database.vault.key_ids) == 1
            assert await rig.stores.webhooks.secrets(webhook.id) == before
            assert len(await rig.stores.webhooks.secrets(never_rotated.id)) == 1

    asyncio.run(run())


def test_trouble_on_this_side_is_no_storm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A delivery whose outcome cannot be written down is made again, but not at once."""

    async def run() -> None:
        async with receiver() as to, rig_at(tmp_path) as rig, sending(rig):
            webhook, _ = await rig.webhook(to.url)
            other, _ = await rig.webhook(to.url)
            note = rig.stores.webhooks.note_health

            async def fail(connection: Any, which: Webhook, *rest: Any) -> None:
                if which.id == webhook.id:
                    raise sqlite3.OperationalError("database or disk is full")
                await note(connection, which, *rest)

            monkeypatch.setattr(type(rig.stores.webhooks), "note_health", _method(fail))
            await rig.record()
            await rig.settled(other, _all(Status.DELIVERED))
            await rig.record()
            await rig.settled(other, _all(Status.DELIVERED, 2))
            await rig.settled(webhook, lambda _: "a delivery could not be made" in caplog.text)
            (first, _) = await rig.deliveries(webhook)
            assert (first.status, first.attempts) == (Status.WAITING, 0)
            assert len(to.requests) == 3

    asyncio.run(run())


def _method(function: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def call(_: object, *arguments: Any) -> None:
        await function(*arguments)

    return call
