"""Months are closed once, in order, whatever happens; and all that was booked is invoiced once."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from control.actor import EVERYTHING, OrganisationId
from control.invoices.document import FORMAT, Invoice, UnknownFormat, pack, unpack
from control.invoices.drafts import Buyer
from control.invoices.lines import CAUSES, Kind
from control.months import UTC_CALENDAR, Calendar, first_day, month_number
from control.prices import PriceBook, Version
from control.rollups import Used, of_organisation
from control.steps.invoices import STEP
from dormouse.base import tasks
from dormouse.base.clock import ManualClock
from dormouse.base.units import units_of
from tests.control.invoices.world import DAY, World, at, open_world, world_at

_BOOK = PriceBook(
    "EUR",
    (
        Version(effective_from=date(1970, 1, 1), per_million_units=1_000_000, free_units=100),
        Version(
            effective_from=date(2026, 5, 11),
            per_million_units=3_000_001,
            per_thousand_gib_hours=7_000_003,
            free_units=10,
            free_gib_hours=1,
        ),
    ),
)


def _with_world(
    folder: Path, body: Callable[[World], Awaitable[None]], start: str = "2026-03-10"
) -> None:
    async def run() -> None:
        async with world_at(folder, start, book=_BOOK) as world:
            await body(world)

    asyncio.run(run())


def test_a_month_becomes_an_invoice(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        acme = await world.organisation("acme", "Asia/Tokyo")
        shop, blog = await world.tenant("shop", acme), await world.tenant("blog", acme)
        await world.use(shop, write_requests=300)
        await world.use(blog, write_requests=100, system_write_requests=50)
        await world.levels.take({shop: 1 << 30})
        draft = await world.drafts.current(await _buyer(world, acme))
        assert (draft.id, draft.month_name, draft.total) == (None, "2026-03", 300)
        world.go_to("2026-03-31T15:59:59")  # April has begun in Tokyo, and nothing has settled
        assert await world.closing.close_due() == 0
        world.go_to("2026-03-31T16:00:01")
        assert await world.closing.close_due() == 1
        assert await world.closing.close_due() == 0
        [invoice] = await world.invoices(acme)
        assert (invoice.id, invoice.number, invoice.total) == (1, "DM-000001", 300)
        assert (invoice.start, invoice.end) == (at("2026-02-28T15:00"), at("2026-03-31T15:00"))
        lines = [
            (invoice.names[line.tenant_id], line.kind, line.quantity, line.free, line.amount)
            for _, line in invoice.lines()
            if line.kind is not Kind.STORAGE
        ]
        assert lines == [
            ("shop", Kind.WRITES, 300_000_000, 75_000_000, 225),
            ("blog", Kind.WRITES, 100_000_000, 25_000_000, 75),
        ]
        [stored] = [line for _, line in invoice.lines() if line.kind is Kind.STORAGE]
        assert (
            stored.quantity
            == stored.free
            == (1 << 20) * (at("2026-03-31T15:00") - at("2026-03-10"))
        )
        [entry] = [
            each
            for each in await world.stores.journal.page(
                after=0, limit=100, reach=EVERYTHING, organisation=OrganisationId(acme)
            )
            if each.note.action == "invoice.close"
        ]
        assert entry.note.changes["number"] == (None, "DM-000001")
        [event] = [
            each.event
            for each in await world.stores.events.page(after=0, limit=99, reach=EVERYTHING)
            if each.event.kind == "invoice.closed"
        ]
        assert event.organisation == acme
        assert event.data["number"] == "DM-000001"
        assert event.data["total_cents"] == 0
        assert event.data["period_end"] == "2026-03-31T15:00:00Z"

    _with_world(tmp_path, body)


def test_a_closed_invoice_stays_as_it_was(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        acme = await world.organisation("acme")
        shop = await world.tenant("shop", acme)
        await world.use(shop, write_requests=300)
        world.go_to("2026-04-02")
        await world.closing.close_due()
        await world.stores.registry.mark_deleted(shop)  # type: ignore[arg-type]
        await world.stores.registry.mark_purged(shop)  # type: ignore[arg-type]
        await world.stores.organisations.change(OrganisationId(acme), name="other")
        [invoice] = await world.invoices(acme)
        assert (invoice.organisation, invoice.names) == ("acme", {shop: "shop"})
        for statement in ("UPDATE invoices SET total_micros = 0", "DELETE FROM invoices"):
            with pytest.raises(sqlite3.IntegrityError, match="a closed invoice"):
                await world.database.write(statement)
        assert unpack(1, "DM-000001", FORMAT, pack(invoice)) == invoice
        with pytest.raises(UnknownFormat):
            unpack(1, "DM-000001", FORMAT + 1, pack(invoice))

    _with_world(tmp_path, body)


def test_use_that_is_booked_later_is_in_the_next_invoice(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        acme = await world.organisation("acme")
        shop, blog = await world.tenant("shop", acme), await world.tenant("blog", acme)
        await world.use(shop, write_requests=300)
        world.go_to("2026-04-02")
        await world.closing.close_due()
        await world.use(blog, at_second=at("2026-03-31"), write_requests=40)
        await world.use(shop, write_requests=150)
        [april] = await world.drafts.open_ones(await _buyer(world, acme))
        draft = await world.drafts.current(await _buyer(world, acme))
        assert (april.total, draft.total, draft.late) == (90, 90, 40)
        world.go_to("2026-05-02")
        await world.closing.close_due()
        march, april = await world.invoices(acme)
        assert (march.total, april.total, april.late) == (200, 90, 40)
        assert [(s.month - march.month, s.amount) for s in april.sections] == [(1, 50), (0, 40)]
        late = april.sections[1]
        assert [(line.tenant_id, line.quantity) for line in late.lines] == [(blog, 40_000_000)]
        assert await world.sums.late(acme, 0, at("2027-01-01")) == []
        world.go_to("2026-06-02")  # nothing more in May, and none of March again
        await world.closing.close_due()
        assert len(await world.invoices(acme)) == 2
        # A month without an invoice of its own may have late use as well.
        await world.use(shop, pod=7, at_second=at("2026-05-31T12:00"), write_requests=130)
        world.go_to("2026-07-02")
        await world.closing.close_due()
        june = (await world.invoices(acme))[-1]
        assert (june.month_name, june.total, june.late) == ("2026-06", 90, 90)

    _with_world(tmp_path, body)


def test_months_of_an_absence_are_closed_one_by_one(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=at("2026-03-10") * 10**9)

    async def before() -> None:
        async with open_world(tmp_path, clock, book=_BOOK) as world:
            acme = await world.organisation("acme", "Europe/Berlin")
            await world.levels.take({await world.tenant("shop", acme): 1 << 40})

    async def after() -> None:
        async with open_world(tmp_path, clock, book=_BOOK) as world:
            await world.closing.close_due()
            found = await world.invoices(2)
            names = [invoice.month_name for invoice in found]
            assert names == ["2026-03", "2026-04", "2026-05", "2026-06"]
            assert [invoice.id for invoice in found] == [1, 2, 3, 4]
            stored = sum(
                line.quantity
                for invoice in found
                for _, line in invoice.lines()
                if line.kind is Kind.STORAGE
            )
            berlin = Calendar.of("Europe/Berlin")
            end = berlin.border(month_number(date(2026, 7, 1)))
            assert stored == (1 << 30) * (end - at("2026-03-10"))
            await world.levels.take({1: 0})
            used = await world.month(2, month_number(date(2026, 7, 1)))
            assert used.storage_kib_seconds == (1 << 30) * (at("2026-07-15") - end)
            assert await world.closing.close_due() == 0

    asyncio.run(before())
    clock.advance(at("2026-07-15") - at("2026-03-10"))
    asyncio.run(after())


def test_numbers_have_no_gap_and_the_idle_get_none(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        organisations = [await world.organisation(f"org-{n}") for n in range(130)]
        users = organisations[::40]
        for each in users:
            await world.use(await world.tenant(f"t-{each}", each), read_batches=1)
        world.go_to("2026-05-20")
        assert await world.closing.close_due() == len(users)
        found = [invoice for each in organisations for invoice in await world.invoices(each)]
        assert sorted(invoice.id or 0 for invoice in found) == list(range(1, len(users) + 1))
        due = await world.database.read(
            "SELECT DISTINCT month FROM invoice_states WHERE organisation_id > 1"
        )
        assert due == [(month_number(date(2026, 5, 1)),)]

    _with_world(tmp_path, body)


def test_sums_that_contradict_each_other_are_not_invoiced(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        acme, other = await world.organisation("acme"), await world.organisation("other")
        shop = await world.tenant("shop", acme)
        await world.use(shop, write_requests=300)
        await world.use(await world.tenant("theirs", other), write_requests=300)
        await world.database.write(
            "UPDATE usage_rollups SET write_requests = 299 WHERE tenant_id = ?", (shop,)
        )
        world.go_to("2026-04-02")
        assert await world.closing.close_due() == 1
        assert (await world.invoices(acme), len(await world.invoices(other))) == ([], 1)
        await world.database.write(
            "UPDATE usage_rollups SET write_requests = 300 WHERE tenant_id = ?", (shop,)
        )
        world.clock.advance(3601)
        assert await world.closing.close_due() == 1

    _with_world(tmp_path, body)


def test_a_report_that_comes_while_the_invoice_is_drawn_up_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(world: World) -> None:
        acme = await world.organisation("acme")
        shop = await world.tenant("shop", acme)
        await world.use(shop, write_requests=300)
        world.go_to("2026-04-02")
        draw_up, times = world.drafts.draw_up, 0

        async def slow(*args: object, **more: object) -> object:
            nonlocal times
            basis = await draw_up(*args, **more)  # type: ignore[arg-type]
            times += 1
            if times == 1:
                await world.use(shop, at_second=at("2026-03-31"), write_requests=7)
            return basis

        monkeypatch.setattr(world.drafts, "draw_up", slow)
        assert await world.closing.close_due() == 1
        assert (times, (await world.invoices(acme))[0].total) == (2, 207)

    _with_world(tmp_path, body)


def test_a_change_of_the_time_zone_leaves_no_second_out(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        acme = await world.organisation("acme", "Asia/Tokyo")
        await world.levels.take({await world.tenant("shop", acme): 1 << 40})
        await world.stores.organisations.change(
            OrganisationId(acme), time_zone="America/Los_Angeles"
        )
        world.go_to("2026-06-10")
        await world.closing.close_due()
        found = await world.invoices(acme)
        assert [invoice.time_zone for invoice in found] == [
            "Asia/Tokyo", "America/Los_Angeles", "America/Los_Angeles",
        ]  # fmt: skip
        assert [a.end for a in found[:-1]] == [b.start for b in found[1:]]

    _with_world(tmp_path, body)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), st.integers(0, 3), st.integers(0, 9 * DAY)),
        st.tuples(st.just("store"), st.integers(0, 3), st.integers(0, 10**12)),
        st.tuples(st.just("wait"), st.integers(0, 40 * DAY), st.just(0)),
        st.tuples(st.just("close"), st.just(0), st.just(0)),
        st.tuples(st.just("move"), st.integers(0, 1), st.integers(0, 2)),
    ),
    max_size=25,
)
_ZONES = ("Asia/Tokyo", "America/St_Johns", "Pacific/Kiritimati")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS)
def test_all_that_was_booked_is_invoiced_once(steps: list[tuple[str, int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _with_world(Path(folder), lambda world: _run(world, steps))


async def _run(world: World, steps: list[tuple[str, int, int]]) -> None:
    owners = [await world.organisation("acme", "Asia/Kolkata"), await world.organisation("other")]
    tenants = [await world.tenant(f"t-{n}", owners[n % 2]) for n in range(4)]
    for count, (step, which, number) in enumerate(steps):
        match step:
            case "use":  # of a pod that nobody has heard of, up to nine days late
                when = max(world.clock.wall_ns() // 10**9 - number, at("2026-03-10"))
                await world.use(
                    tenants[which], pod=count + 1, at_second=when, write_requests=17,
                    read_bytes=number * 1001, sql_cpu_micros=number, pod_millis=number,
                )  # fmt: skip
            case "store":
                await world.levels.take({tenants[which]: number})
            case "wait":
                world.clock.advance(which)
            case "close":
                await world.closing.close_due()
            case "move":
                await world.stores.organisations.change(
                    OrganisationId(owners[which]), time_zone=_ZONES[number]
                )
    world.clock.advance(70 * DAY)
    await world.levels.take(dict.fromkeys(tenants, 0))
    await world.closing.close_due()
    # What was booked to a month that was closed just now is for another invoice.
    world.clock.advance(40 * DAY)
    await world.closing.close_due()
    for owner in owners:
        await _check(world, owner)


async def _check(world: World, owner: int) -> None:
    invoices = await world.invoices(owner)
    by_month: dict[int, list[Invoice]] = {}
    for invoice in invoices:
        for section in invoice.sections:
            by_month.setdefault(section.month, []).append(invoice)
    state = await world.drafts.invoices.state(owner)
    assert state is not None
    for number in range(month_number(date(2026, 3, 1)), state.month):
        sections = [s for each in invoices for s in each.sections if s.month == number]
        lines = [line for section in sections for line in section.lines]
        used = await world.month(owner, number)
        found = sum((u for s in sections for u in s.uses.values()), Used())
        assert found == used or not lines
        stored = sum(line.quantity for line in lines if line.kind is Kind.STORAGE)
        assert stored == used.storage_kib_seconds
        usage = await world.usage.read(
            first_day(number), first_day(number + 1), account=of_organisation(owner)
        )
        assert sum(line.amount for line in lines) == usage.whole.cost.total
        starts = {section.start for section in sections}
        if len(starts) == 1:
            units = sum(line.quantity for line in lines if line.kind in CAUSES)
            assert units == units_of(used.amounts).total


async def _buyer(world: World, organisation: int) -> Buyer:
    buyer = await world.drafts.buyer(organisation)
    assert buyer is not None
    return buyer


_PLAN = PriceBook(
    "EUR",
    (
        Version(
            effective_from=date(1970, 1, 1),
            basis="pod_seconds",
            per_thousand_pod_seconds=11_000,
            monthly_fee=5_000_000,
        ),
    ),
)


def test_a_draft_is_what_usage_says_before_anything_is_booked(tmp_path: Path) -> None:
    async def run() -> None:
        async with world_at(tmp_path, "2026-03-10", book=_PLAN) as world:
            acme = await world.organisation("acme", "Asia/Tokyo")
            shop, blog = await world.tenant("shop", acme), await world.tenant("blog", acme)
            await world.tenant("idle", acme)
            await world.use(shop, pod_millis=10**9)
            await world.levels.take({blog: 1 << 44})
            world.clock.advance(3600)  # of storage, nothing is booked within a day
            buyer = await _buyer(world, acme)
            first, number = date(2026, 3, 1), month_number(date(2026, 3, 1))
            total = 0
            for moment in ("2026-03-10T02:00", "2026-03-31T15:20", "2026-04-20"):
                world.go_to(moment)
                usage = await world.usage.read(
                    first, first_day(number + 1), account=of_organisation(acme)
                )
                drafts = {each.month: each for each in await world.drafts.open_ones(buyer)}
                assert drafts[number].total == usage.whole.cost.total
                assert usage.whole.cost.fee == 2 * 5_000_000
                current = await world.drafts.current(buyer)
                assert current.total == drafts[current.month].total
                total = usage.whole.cost.total
            await world.closing.close_due()
            [invoice] = await world.invoices(acme)
            assert invoice.total == total > 10_000_000

    asyncio.run(run())


def test_months_of_before_invoices_are_not_invoiced(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        acme = await world.organisation("acme")
        shop = await world.tenant("shop", acme)
        await world.use(shop, write_requests=300)
        await world.database.write("DELETE FROM invoice_states")
        await world.database.write(STEP[-1])  # as when the registry was upgraded, today
        state = await world.drafts.invoices.state(acme)
        assert state is not None
        today = datetime.now(UTC).date()
        assert state.month == month_number(today)
        assert state.since == UTC_CALENDAR.border(state.month)
        world.clock.advance(state.since + 10 * DAY - world.clock.wall_ns() // 10**9)
        await world.use(shop, write_requests=150)
        world.clock.advance(35 * DAY)
        assert await world.closing.close_due() == 1
        [invoice] = await world.invoices(acme)
        assert (invoice.month, invoice.late) == (state.month, 0)
        assert sum(line.quantity for _, line in invoice.lines()) == 150_000_000

    _with_world(tmp_path, body)


def test_the_task_goes_on_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def body(world: World) -> None:
        acme = await world.organisation("acme")
        await world.use(await world.tenant("shop", acme), write_requests=300)
        world.go_to("2026-04-02")
        close_due, times, done = world.closing.close_due, 0, asyncio.Event()

        async def full_at_first() -> int:
            nonlocal times
            times += 1
            if times == 1:
                raise sqlite3.OperationalError("database or disk is full")
            made = await close_due()
            done.set()
            return made

        monkeypatch.setattr(world.closing, "close_due", full_at_first)
        task = tasks.spawn(world.closing.close_forever(0.01), name="close invoices")
        async with asyncio.timeout(30):
            await done.wait()
        await tasks.cancel(task)
        assert len(await world.invoices(acme)) == 1
        assert "invoices could not be closed" in caplog.text

    _with_world(tmp_path, body)
