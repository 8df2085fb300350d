"""Spend limits at work: restarts, silence, the turn of the month, and what comes by the clock."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from control.actor import DEFAULT_ORGANISATION
from control.amounts import Amounts
from control.database import open_database
from control.ledger import Ledger, Report
from control.months import month_of
from control.prices import PriceBook, Version
from control.services import Stores
from control.spending import service
from control.spending.leaves import State
from control.spending.limits import Limit
from control.spending.months import Months
from control.spending.notices import Notices
from control.spending.room import stand_of
from control.spending.service import Spending, StreamCut
from control.storage_sampling import StorageLevels
from control.usage import UsageReader
from dormouse.base.clock import ManualClock
from dormouse.base.ids import TenantId
from dormouse.base.tasks import cancel, spawn
from dormouse.base.units import MICRO
from proto.control_pb2 import SpendLeave
from tests.support.waiting import until


@dataclass
class _Control:
    """Control's part, over a registry with two tenants."""

    stores: Stores
    clock: ManualClock
    spending: Spending
    ledger: Ledger
    levels: StorageLevels
    reports: int = 0

    async def report(self, pod: int, units: int, *, tenant: int = 1) -> None:
        """A pod has used so many units, and milliseconds of time, since its stamp."""
        self.reports += 1
        # Above what the control before this one was told.
        number = int(self.clock.monotonic() * 1000) + self.reports
        total = Amounts(write_batches=units, pod_millis=units)
        await self.ledger.add(Report(tenant_id=tenant, pod_id=pod, sequence=number, total=total))
        await self.spending.work()

    async def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            await self.spending.tick()
            await self.spending.work()

    async def limit(self, account: int = 1, **limit: object) -> None:
        wanted = Limit(**limit)  # type: ignore[arg-type]
        await self.spending.put(account, wanted, organisation=DEFAULT_ORGANISATION)

    async def leave(self, pod: int, tenant: int = 1) -> SpendLeave:
        return await self.spending.first_leave((tenant, pod))

    def has_a_listener(self) -> bool:
        """The tenant's pod is told of every leave from now on."""
        pod = self.spending._pods.get((1, 1))
        return pod is not None and pod.stream is not None

    async def kinds(self) -> list[str]:
        rows = await self.stores.database.read("SELECT kind FROM events ORDER BY id")
        return [kind for (kind,) in rows if kind.startswith("spend.")]


@asynccontextmanager
async def _control(
    folder: Path, clock: ManualClock, book: PriceBook | None = None
) -> AsyncIterator[_Control]:
    async with open_database(folder / "r.sqlite") as database:
        stores = Stores.over(database, clock)
        counts = await stores.registry.counts()
        for number in range(counts.registered, 2):
            await stores.registry.add(
                name=f"t{number}", owner="o", database="d", scram_verifier="v", connections_max=9
            )
        levels = StorageLevels(database, clock)
        usage = UsageReader(database, levels, book or PriceBook(), clock)
        spending = Spending.over(stores, usage, clock)
        await spending.start()
        ledger = Ledger(database, clock, spending.booked)
        yield _Control(stores, clock, spending, ledger, levels)


def test_a_control_after_this_one_knows_what_pods_may_spend(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock) as control:
            await control.limit(monthly_units=1000)
            assert (await control.leave(1)).ceiling_micro_units == 500 * MICRO
            await control.report(1, 100)
        clock.advance(5)
        async with _control(tmp_path, clock) as control:
            await control.report(1, 200)  # it has not asked for its leave again
            second = await control.leave(2)
            assert second.ceiling_micro_units == 250 * MICRO, "300 of 800 are not to be had"
            await control.report(2, 250)
            await control.report(1, 500)
            standing = await control.spending.standing(1)
            assert standing.position.micro_units == 750 * MICRO

    asyncio.run(body())


def test_what_a_silent_pod_has_left_goes_to_the_others(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock) as control:
            await control.limit(monthly_units=1000)
            await control.leave(1)
            other = await control.leave(2)
            assert other.ceiling_micro_units <= 500 * MICRO
            await control.pass_seconds(21)
            third = await control.leave(3)
            assert third.ceiling_micro_units == 500 * MICRO
            await control.report(1, 400)  # it was not dead: what it spent is known now
            fourth = await control.leave(4)
            assert fourth.ceiling_micro_units <= 100 * MICRO

    asyncio.run(body())


def test_the_turn_of_the_month_lets_go_within_a_tick(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock) as control:
            await control.limit(monthly_units=100)
            heard: list[SpendLeave] = []

            async def listen() -> None:
                async for leave in control.spending.watch((1, 1)):
                    heard.append(leave)  # noqa: PERF401 - as they come

            listening = spawn(listen(), name="a pod")
            await until(control.has_a_listener)
            await control.report(1, 100)
            await until(lambda: heard and heard[-1].state == SpendLeave.STOPPED)
            _, end = month_of("UTC", clock.wall_ns() // 10**9)
            clock.advance(end - clock.wall_ns() // 10**9 - 2)
            await control.report(1, 100)
            await control.pass_seconds(1)
            await asyncio.sleep(0.001)
            assert heard[-1].state == SpendLeave.STOPPED
            await control.pass_seconds(1)
            await until(
                lambda: heard and (heard[-1].state, heard[-1].percent) == (SpendLeave.OPEN, 0)
            )
            assert (await control.kinds())[-2:] == ["spend.limit_reached", "spend.restored"]
            await cancel(listening)

    asyncio.run(body())


def test_a_sleeping_tenants_month_turns_too(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock) as control:
            await control.limit(monthly_units=100)
            await control.report(1, 100)
            clock.advance(32 * 86_400)
            await control.pass_seconds(1)
            assert (await control.kinds())[-1] == "spend.restored"
            assert (await control.leave(2)).state == SpendLeave.OPEN

    asyncio.run(body())


def test_a_plan_by_time_is_stopped_by_time(tmp_path: Path) -> None:
    """Ten thousandths of the currency for a thousand seconds: a cent is a thousand seconds."""
    version = Version(
        effective_from=date(1970, 1, 1), basis="pod_seconds", per_thousand_pod_seconds=10_000
    )

    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock, PriceBook(versions=(version,))) as control:
            await control.limit(monthly_cents=1)
            await control.report(1, 999_000)
            assert (await control.spending.standing(1)).state is State.OPEN
            clock.advance(5)
            await control.report(1, 1_004_000)
            standing = await control.spending.standing(1)
            assert (standing.state, standing.position.cost_micros) == (State.STOPPED, 10_040)

    asyncio.run(body())


def test_what_a_sleeping_tenant_stores_reaches_its_limit(tmp_path: Path) -> None:
    version = Version(
        effective_from=date(1970, 1, 1), per_thousand_gib_hours=10_000_000, free_gib_hours=0
    )

    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock, PriceBook(versions=(version,))) as control:
            await control.limit(monthly_cents=1)
            await control.levels.take({1: 1 << 30})
            clock.advance(3601)
            await control.pass_seconds(1)
            standing = await control.spending.standing(1)
            assert (standing.state, standing.limited_by) == (State.STOPPED, "tenant")
            assert [each.percent for each in standing.notices] == [50, 75, 90, 100]

    asyncio.run(body())


def test_a_month_that_was_followed_is_the_month_that_is_read(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock) as control:
            await control.limit(monthly_units=10**9)
            await control.limit(-1, monthly_cents=10**9)
            for second in range(1, 30):
                clock.advance(1)
                for tenant in (1, 2):
                    await control.report(tenant, second * tenant, tenant=tenant)
            followed = [(await control.spending.standing(each)).position for each in (1, -1)]
        async with _control(tmp_path, clock) as control:
            read = [(await control.spending.standing(each)).position for each in (1, -1)]
        assert followed == read
        assert followed[0].micro_units == 29 * MICRO
        assert followed[1].micro_units == 87 * MICRO

    asyncio.run(body())


def test_two_that_find_a_percentage_reached_give_one_notice(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock) as control:
            await control.limit(monthly_units=10**6)
            await control.report(1, 950)
            stores = control.stores
            position = (await control.spending.standing(1)).position
            stand = stand_of(position, Limit(monthly_units=1000))
            # Two processes, neither of which has heard of the other.
            both = [Notices(stores.database, clock, stores.events) for _ in range(2)]
            await asyncio.gather(
                *(each.settle(1, DEFAULT_ORGANISATION, position, stand) for each in both)
            )
            assert await control.kinds() == ["spend.notice"] * 3

    asyncio.run(body())


def test_without_its_organisations_limit_a_tenant_has_its_own(tmp_path: Path) -> None:
    async def body() -> None:
        async with _control(tmp_path, ManualClock()) as control:
            await control.limit(monthly_units=1000)
            await control.limit(-1, monthly_units=0)
            heard: list[SpendLeave] = []

            async def listen() -> None:
                async for leave in control.spending.watch((1, 1)):
                    heard.append(leave)  # noqa: PERF401 - as they come

            listening = spawn(listen(), name="a pod")
            await until(control.has_a_listener)
            await control.spending.work()
            await until(lambda: heard and heard[-1].state == SpendLeave.STOPPED)
            await control.limit(-1)
            await control.spending.work()
            own = (SpendLeave.OPEN, "1000 request units a month")
            await until(lambda: heard and (heard[-1].state, heard[-1].limit) == own)
            await control.limit()
            await until(lambda: heard and heard[-1].state == SpendLeave.FREE)
            await cancel(listening)

    asyncio.run(body())


def test_a_pod_that_says_absurd_things_hurts_nobody_else(tmp_path: Path) -> None:
    version = Version(
        effective_from=date(1970, 1, 1), basis="pod_seconds", per_thousand_pod_seconds=1
    )

    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock, PriceBook(versions=(version,))) as control:
            for tenant in (1, 2):
                await control.limit(tenant, monthly_cents=10**12)
                await control.leave(tenant, tenant=tenant)
            clock.advance(1)
            await control.report(1, 1 << 50)
            absurd = await control.leave(1)
            assert (absurd.state, absurd.ceiling_micro_units) == (SpendLeave.OPEN, 1 << 62)
            assert (await control.leave(4, tenant=2)).ceiling_micro_units < 1 << 62

    asyncio.run(body())


def test_a_fault_with_one_account_leaves_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        async with _control(tmp_path, ManualClock()) as control:
            for tenant in (1, 2):
                await control.limit(tenant, monthly_units=1000)
            ensure = Months.ensure

            async def fail(self: Months, accounts: Iterable[int]) -> None:
                if 2 in (wanted := list(accounts)):
                    raise ValueError("of the second tenant")
                await ensure(self, wanted)

            monkeypatch.setattr(Months, "ensure", fail)
            for tenant in (1, 2, 1):
                await control.report(tenant, 600, tenant=tenant)
            assert await control.kinds() == ["spend.notice"]

    asyncio.run(body())
    assert "a spend limit could not be decided" in caplog.text


def test_listeners_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STREAMS_PER_TENANT_MAX", 2)

    async def body() -> None:
        async with _control(tmp_path, ManualClock()) as control:
            streams = [control.spending.watch((1, pod)) for pod in (1, 2, 3)]
            for stream in streams[:2]:
                assert (await anext(stream)).state == SpendLeave.FREE
            with pytest.raises(StreamCut, match="too many"):
                await anext(streams[2])
            elsewhere = control.spending.watch((2, 1))
            assert (await anext(elsewhere)).state == SpendLeave.FREE
            control.spending.close()
            with pytest.raises(StreamCut, match="ends"):
                await anext(elsewhere)

    asyncio.run(body())


def test_nothing_is_left_of_a_purged_tenants_limit(tmp_path: Path) -> None:
    async def body() -> None:
        clock = ManualClock()
        async with _control(tmp_path, clock) as control:
            await control.limit(monthly_units=100)
            await control.stores.registry.mark_deleted(TenantId(1))
            await control.pass_seconds(61)
            assert (await control.spending.standing(1)).limit.exists, "it may be restored"
            await control.stores.registry.mark_purged(TenantId(1))
            await control.pass_seconds(61)
            assert not (await control.spending.standing(1)).limit.exists

    asyncio.run(body())
