"""Spend limits against a dumb twin: pods, a wire, kills, restarts, moving limits, turning months.

The twin's pods spend whatever the leave they have taken lets them. What the ledger has booked in a
month, with what living pods have not reported yet, may never pass a limit.
"""

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from control.actor import OrganisationId
from control.amounts import Amounts
from control.database import Database, open_database
from control.ledger import Ledger, Report, pod_key
from control.months import month_of
from control.periods import Span
from control.prices import PriceBook
from control.rollups import read as read_sums
from control.services import Stores
from control.spending.leaves import State
from control.spending.limits import Limit
from control.spending.service import Spending, StreamCut
from control.storage_sampling import StorageLevels
from control.usage import UsageReader
from dormouse.base.clock import ManualClock
from dormouse.base.tasks import spawn
from dormouse.base.units import MICRO, units_of
from proto.control_pb2 import SpendLeave
from tests.support.waiting import GUARD_SECONDS

_ORGANISATION = OrganisationId(1)
_TENANTS = 2
_HEARD_SECONDS_MAX = 10


@dataclass
class _Pod:
    """The truth about a pod."""

    tenant: int
    number: int
    leave: SpendLeave
    used: int = 0
    """Microseconds of CPU: a unit is 3000 of them."""
    reported: int = 0
    """What was in the newest report that was booked."""
    booked_sequence: int = 0
    sequence: int = 0
    heard_at: float = 0.0
    inbox: list[SpendLeave] = field(default_factory=list)
    listening: asyncio.Task[None] | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """It has its first leave since it has listened."""

    def take(self, count: int) -> None:
        taken, self.inbox = self.inbox[:count], self.inbox[count:]
        for leave in taken:
            if leave.number > self.leave.number:
                self.leave = leave

    def spend(self, wanted: int) -> None:
        if self.leave.state == SpendLeave.FREE:
            self.used += wanted
        elif self.leave.state == SpendLeave.OPEN:
            most = _cpu_micros(self.leave.ceiling_micro_units)
            self.used += max(min(wanted, most - self.used), 0)

    @property
    def may_reach(self) -> int:
        """By any leave it has or that is under way."""
        open_ones = [
            _cpu_micros(each.ceiling_micro_units)
            for each in (self.leave, *self.inbox)
            if each.state == SpendLeave.OPEN
        ]
        return max([self.used, *open_ones])

    def report(self, now_ms: int) -> Report:
        self.sequence += 1
        return Report(
            tenant_id=self.tenant,
            pod_id=self.number,
            sequence=self.sequence,
            at_ms=now_ms,
            total=Amounts(sql_cpu_micros=self.used),
            leave=self.leave.number,
        )


class _World:
    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
        self.clock = ManualClock()
        self.random = random.Random(seed)
        self.pods: list[_Pod] = []
        self.born = 0
        self.wire: list[tuple[_Pod, Report]] = []
        self.limits = {1: 2000, 2: 500, -1: 2200}
        self.bounds: dict[int, int] = {}
        """Millionths of a unit."""
        self.spending: Spending
        self.ledger: Ledger

    async def begin(self) -> None:
        """A control of its own life."""
        stores = Stores.over(self.database, self.clock)
        levels = StorageLevels(self.database, self.clock)
        usage = UsageReader(self.database, levels, PriceBook(), self.clock)
        self.spending = Spending.over(stores, usage, self.clock)
        await self.spending.start()
        self.ledger = Ledger(self.database, self.clock, self.spending.booked)
        for pod in self.pods:
            if self.random.random() < 0.5:  # the others take their time
                self.listen(pod)
        await self.quiet()

    async def end(self) -> None:
        self.spending.close()
        for pod in self.pods:
            await self.deafen(pod)

    def listen(self, pod: _Pod) -> None:
        begun = pod.begun = asyncio.Event()

        async def hear() -> None:
            try:
                async for leave in self.spending.watch(pod_key(pod.tenant, pod.number)):
                    pod.inbox.append(leave)
                    begun.set()
            except StreamCut:
                pass
            finally:
                begun.set()

        pod.listening = spawn(hear(), name="a pod that listens")

    async def deafen(self, pod: _Pod) -> None:
        if pod.listening is not None:
            pod.listening.cancel()
            await asyncio.gather(pod.listening, return_exceptions=True)

    async def quiet(self) -> None:
        """Let everything that is under way here come to rest."""
        async with asyncio.timeout(GUARD_SECONDS):
            await self.spending.work()
            while self.spending._dirty or any(self.is_to_hear(pod) for pod in self.pods):
                await asyncio.sleep(0.001)
                await self.spending.work()

    def is_to_hear(self, pod: _Pod) -> bool:
        """Whether it listens, and a leave is on its way to it."""
        if pod.listening is None or pod.listening.done():
            return False
        known = self.spending._pods.get(pod_key(pod.tenant, pod.number))
        if not pod.begun.is_set() or known is None:
            return True  # its first leave comes from the disk
        heard = max(each.number for each in (pod.leave, *pod.inbox))
        return known.told is not None and known.told.number > heard

    async def step(self, step: str) -> None:
        match step:
            case "stamp" if len(self.pods) < 6:
                await self.stamp()
            case "second":
                self.second(1)
                await self.hear_the_forgotten()
            case "deliver":
                await self.deliver()
            case "tell":
                for pod in self.pods:
                    pod.take(self.random.randint(0, len(pod.inbox)))
            case "kill" if self.pods:
                pod = self.pods.pop(self.random.randrange(len(self.pods)))
                await self.deafen(pod)
                self.wire = [each for each in self.wire if each[0] is not pod]
            case "deaf" if self.pods:  # its stream breaks, and it asks again
                pod = self.random.choice(self.pods)
                await self.deafen(pod)
                pod.inbox.clear()
                self.listen(pod)
            case "restart":
                await self.end()
                self.second(self.random.randint(1, 5))
                await self.begin()
            case "limit":
                account = self.random.choice(list(self.limits))
                await self.limit(account, self.random.choice([0, 300, 1000, 2000, 4000]))
            case "turn":
                await self.turn()
        await self.spending.tick()
        await self.quiet()
        await self.check()

    async def stamp(self) -> None:
        self.born += 1
        tenant, number = self.random.randint(1, _TENANTS), 2**64 - self.born
        leave = await self.spending.first_leave(pod_key(tenant, number))
        pod = _Pod(tenant, number, leave, heard_at=self.clock.monotonic())
        self.pods.append(pod)
        self.listen(pod)

    def second(self, seconds: int) -> None:
        self.clock.advance(seconds)
        for pod in self.pods:
            pod.spend(3000 * self.random.choice([0, 0, 1, 9, 60, 400]) // 2)
            self.send(pod)

    def send(self, pod: _Pod) -> None:
        fate, report = self.random.random(), pod.report(self.now_ms)
        if fate > 0.3:
            self.wire += [(pod, report)] * (2 if fate > 0.8 else 1)

    async def deliver(self) -> None:
        self.random.shuffle(self.wire)
        late = [each for each in self.wire if self.random.random() < 0.2]
        arriving = [each for each in self.wire if each not in late]
        self.wire = late
        await asyncio.gather(*(self.hear(pod, report) for pod, report in arriving))

    async def hear(self, pod: _Pod, report: Report) -> None:
        await self.ledger.add(report)
        pod.heard_at = self.clock.monotonic()
        if report.sequence > pod.booked_sequence:
            pod.booked_sequence, pod.reported = report.sequence, report.total.sql_cpu_micros

    async def hear_the_forgotten(self) -> None:
        """A living pod is heard before it counts as silent."""
        for pod in self.pods:
            if self.clock.monotonic() - pod.heard_at >= _HEARD_SECONDS_MAX:
                await self.hear(pod, pod.report(self.now_ms))

    async def limit(self, account: int, units: int) -> None:
        # What pods had leave for before a limit was lowered they may still spend.
        booked = await self.booked(account)
        self.limits[account] = units
        self.bounds[account] = max(units * MICRO, booked + self.out(account))
        limit = Limit(monthly_units=units)
        await self.spending.put(account, limit, organisation=_ORGANISATION)

    async def turn(self) -> None:
        """The last second of a month, and the first of the next one."""
        _, end = _month(self.clock)
        self.clock.advance(end - self.clock.wall_ns() // 10**9 - 1)
        for pod in self.pods:  # all this time they were heard
            await self.hear(pod, pod.report(self.now_ms))
        await self.spending.tick()
        await self.quiet()
        self.second(2)
        for account, units in self.limits.items():
            self.bounds[account] = max(units * MICRO, self.out(account))

    async def booked(self, account: int) -> int:
        start, end = _month(self.clock)
        sums = await read_sums(self.database, Span.DAY, start, end, tenant_id=account)
        return sum(units_of(used.amounts).total for used in sums.values())

    def out(self, account: int) -> int:
        """What pods may use before they take another leave, with what is not booked yet."""
        return sum(_micro_units(pod.may_reach - pod.reported) for pod in self.of(account))

    def of(self, account: int) -> list[_Pod]:
        return [pod for pod in self.pods if account in (pod.tenant, -_ORGANISATION)]

    async def check(self) -> None:
        for account, bound in self.bounds.items():
            pods = self.of(account)
            unreported = sum(_micro_units(pod.used - pod.reported) for pod in pods)
            rounding = 10 * (self.born + 1)
            assert await self.booked(account) + unreported <= bound + rounding, account

    @property
    def now_ms(self) -> int:
        return self.clock.wall_ns() // 1_000_000


def _micro_units(cpu_micros: int) -> int:
    return cpu_micros * MICRO // 3000


def _cpu_micros(micro_units: int) -> int:
    return micro_units * 3000 // MICRO


def _month(clock: ManualClock) -> tuple[int, int]:
    return month_of("UTC", clock.wall_ns() // 10**9)


_STEPS = {
    "second": 30,
    "deliver": 25,
    "tell": 20,
    "stamp": 5,
    "deaf": 5,
    "kill": 2,
    "restart": 3,
    "limit": 2,
    "turn": 1,
}
"""How often what happens."""


async def _run(folder: Path, steps: list[str], seed: int, check: Any = None) -> None:
    async with open_database(folder / "r.sqlite") as database:
        world = _World(database, seed)
        for number in range(_TENANTS):
            await Stores.over(database, world.clock).registry.add(
                name=f"t{number}",
                owner="owner",
                database="d",
                scram_verifier="v",
                connections_max=9,
            )
        await world.begin()
        for account, units in list(world.limits.items()):
            await world.limit(account, units)
        for step in ["stamp", "stamp", *steps]:
            await world.step(step)
        if check is not None:
            await check(world)
        await world.end()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
@example(1053)  # two in which a control restarts while ceilings are lower than they were once
@example(33072)
def test_no_limit_is_passed_whatever_happens(seed: int) -> None:
    chance = random.Random(seed)
    steps = chance.choices(list(_STEPS), list(_STEPS.values()), k=chance.randint(20, 150))
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder), steps, seed))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_all_of_a_limit_can_be_used(seed: int) -> None:
    """Several pods that want more than there is come to the very end of it."""

    async def use_all(world: _World) -> None:
        for tenant in (1, 2):
            await world.limit(tenant, 10**6)
        for _ in range(60):
            for step in ("second", "deliver", "tell"):
                await world.step(step)
            for pod in world.pods:
                pod.take(len(pod.inbox))
        standing = await world.spending.standing(-1)
        assert standing.state is State.STOPPED
        assert [each.percent for each in standing.notices] == [50, 75, 90, 100]
        assert await world.booked(-1) >= 2199 * MICRO

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_run(Path(folder), ["stamp", "stamp"], seed, use_all))
