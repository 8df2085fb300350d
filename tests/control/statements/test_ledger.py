"""What statements cost: differences of reports, by day and role, whatever the wire does to them."""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control import statements as module
from control.actor import DEFAULT_ORGANISATION
from control.database import Database, open_database
from control.services import Stores
from control.statement_messages import read_report
from control.statements import (
    STATEMENTS_MAX,
    Cost,
    RoleSum,
    StatementLedger,
    StatementReport,
    StatementSum,
)
from dormouse.base.clock import ManualClock
from proto import control_pb2

DAY = 86_400
POD = 2**64 - 1


@dataclass
class World:
    """A registry with one tenant and its statements."""

    database: Database
    ledger: StatementLedger
    clock: ManualClock
    tenant: int
    sequence: int = 0

    @property
    def second(self) -> int:
        return self.clock.wall_ns() // 10**9

    @property
    def today(self) -> tuple[int, int]:
        start = self.second - self.second % DAY
        return start, start + DAY

    async def tell(
        self,
        *sums: StatementSum,
        pod: int = POD,
        roles: Sequence[RoleSum] = (),
        last: bool = False,
    ) -> StatementReport:
        """Report sums of statements and roles, as a pod does."""
        self.sequence += 1
        report = StatementReport(
            tenant_id=self.tenant,
            pod_id=pod,
            sequence=self.sequence,
            at_ms=self.clock.wall_ns() // 10**6,
            statements=sums,
            roles=roles,
            last=last,
        )
        assert await self.ledger.add(report) == self.sequence
        return report

    async def lines(
        self, order: str = "request_units", period: tuple[int, int] | None = None
    ) -> list[tuple[str, str, Cost]]:
        start, end = period or self.today
        found = await self.ledger.statements(self.tenant, start, end, order=order, limit=10)
        return [(line.role, line.query, line.cost) for line in found.lines]


def summed(query: int, cost: Cost, *, number: int = 1, role: str = "ann") -> StatementSum:
    return StatementSum(role, query, f"query {query}", number, cost)


@asynccontextmanager
async def world_at(folder: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_database(folder / "registry.sqlite") as database:
        stores = Stores.over(database, clock)
        tenant = await stores.registry.add(
            name="shop", owner="ann", database="shop", scram_verifier="v", connections_max=1
        )
        assert tenant.organisation == DEFAULT_ORGANISATION
        yield World(database, StatementLedger(database, clock), clock, tenant.id)


def _run(folder: Path, body: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with world_at(folder) as world:
            await body(world)

    asyncio.run(whole())


def test_sums_become_days_and_nothing_counts_twice(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.tell(summed(1, Cost(2, 20, 200, 2000)))
        again = await world.tell(summed(1, Cost(5, 50, 500, 5000)), summed(2, Cost(1, 0, 9, 7)))
        assert await world.ledger.add(again) == again.sequence
        old = StatementReport(
            tenant_id=world.tenant,
            pod_id=POD,
            sequence=1,
            at_ms=0,
            statements=[summed(1, Cost(90, 90, 90, 90))],
            roles=[],
        )
        assert await world.ledger.add(old) == again.sequence
        assert await world.lines() == [
            ("ann", "query 1", Cost(5, 50, 500, 5000)),
            ("ann", "query 2", Cost(1, 0, 9, 7)),
        ]
        await world.tell(summed(1, Cost(6, 50, 500, 5500)), pod=3)  # another pod's own sums
        assert (await world.lines())[0][2] == Cost(11, 100, 1000, 10500)

    _run(tmp_path, body)


def test_a_statement_that_a_pod_counts_anew_is_added_in_full(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.tell(summed(1, Cost(9, 9, 9, 900), number=4))
        await world.tell(summed(1, Cost(10, 9, 9, 1000), number=8))
        assert (await world.lines())[0][2].micro_units == 1900

    _run(tmp_path, body)


def test_a_pods_last_report_ends_it(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.tell(summed(1, Cost(1, 1, 1, 10)), roles=[RoleSum("ann", 1, 10)])
        await world.tell(summed(1, Cost(3, 1, 1, 30)), roles=[RoleSum("ann", 3, 30)], last=True)
        # Its answer was lost, so it comes again, under a number of its own.
        await world.tell(summed(1, Cost(3, 1, 1, 30)), roles=[RoleSum("ann", 3, 30)], last=True)
        assert await world.lines() == [("ann", "query 1", Cost(3, 1, 1, 30))]
        assert await world.ledger.roles(world.tenant, *world.today) == [RoleSum("ann", 3, 30)]
        assert await world.database.read("SELECT * FROM statement_known") == []

    _run(tmp_path, body)


def test_each_day_has_its_own(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.tell(summed(1, Cost(1, 1, 1, 10)), roles=[RoleSum("ann", 1, 10)])
        first = world.today
        world.clock.advance(DAY)
        await world.tell(summed(1, Cost(3, 3, 3, 50)), roles=[RoleSum("ann", 3, 50)])
        assert (await world.lines())[0][2] == Cost(2, 2, 2, 40)
        assert (await world.lines(period=first))[0][2] == Cost(1, 1, 1, 10)
        both = (first[0], world.today[1])
        assert (await world.lines(period=both))[0][2] == Cost(3, 3, 3, 50)
        assert await world.ledger.roles(world.tenant, *world.today) == [RoleSum("ann", 2, 40)]
        assert await world.ledger.roles(world.tenant, *both) == [RoleSum("ann", 3, 50)]

    _run(tmp_path, body)


def test_what_belonged_to_nobody_may_be_given_to_a_role_later(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.tell(roles=[RoleSum("ann", 1, 10), RoleSum("", 0, 30)])
        await world.tell(roles=[RoleSum("ann", 1, 35), RoleSum("", 0, 5)])
        roles = await world.ledger.roles(world.tenant, *world.today)
        assert roles == [RoleSum("ann", 1, 35), RoleSum("", 0, 5)]

    _run(tmp_path, body)


@pytest.mark.parametrize(
    ("order", "expected"),
    [("request_units", [3, 2, 1]), ("calls", [1, 2, 3]), ("elapsed", [2, 3, 1])],
)
def test_the_order_and_the_others(tmp_path: Path, order: str, expected: list[int]) -> None:
    async def body(world: World) -> None:
        await world.tell(
            summed(1, Cost(30, 1, 1, 1)),
            summed(2, Cost(20, 1, 9, 2)),
            summed(3, Cost(10, 1, 5, 3)),
        )
        lines = await world.lines(order=order)
        assert [query for _, query, _ in lines] == [f"query {number}" for number in expected]
        found = await world.ledger.statements(world.tenant, *world.today, order=order, limit=1)
        assert [line.query_id for line in found.lines] == expected[:1]
        rest = sum((cost for _, _, cost in lines[1:]), Cost())
        assert found.others == rest

    _run(tmp_path, body)


def test_a_day_keeps_the_dearest_and_the_sum_of_the_others(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        many = 2 * STATEMENTS_MAX + 50
        for start in range(0, many, 50):
            costs = range(start + 1, start + 51)
            await world.tell(*(summed(number, Cost(1, 1, 1, number * 10)) for number in costs))
        [(rows,)] = await world.database.read("SELECT count(*) FROM statement_days")
        assert rows <= 2 * STATEMENTS_MAX
        found = await world.ledger.statements(
            world.tenant, *world.today, order="request_units", limit=STATEMENTS_MAX
        )
        assert [line.cost.micro_units for line in found.lines] == [
            10 * number for number in range(many, many - STATEMENTS_MAX, -1)
        ]
        total = sum((line.cost for line in found.lines), found.others)
        assert total == Cost(many, many, many, 10 * many * (many + 1) // 2)

    _run(tmp_path, body)


def test_what_is_kept_of_a_pod_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN_MAX", 20)

    async def body(world: World) -> None:
        for number in range(1, 60):
            world.clock.advance(1)
            await world.tell(summed(number, Cost(1, 1, 1, 1)), roles=[RoleSum("ann", number, 1)])
        [(rows,)] = await world.database.read("SELECT count(*) FROM statement_known")
        assert rows == 21  # and the role

    _run(tmp_path, body)


def test_old_days_and_their_texts_go(tmp_path: Path) -> None:
    async def body(world: World) -> None:
        await world.tell(summed(1, Cost(1, 1, 1, 1)), roles=[RoleSum("ann", 1, 1)])
        world.clock.advance(50 * DAY)
        await world.tell(summed(2, Cost(1, 1, 1, 1)), pod=3)
        await world.ledger.compact(days=10)
        tables = ("statement_days", "statement_texts", "statement_pods", "statement_known")
        for table in tables:
            [(rows,)] = await world.database.read(f"SELECT count(*) FROM {table}")
            assert rows == 1, table
        [(rows,)] = await world.database.read("SELECT count(*) FROM role_days")
        assert rows == 0

    _run(tmp_path, body)


# --- a pod, its reports, and a wire that loses and repeats them -----------------------------------


@dataclass
class _Pod:
    """A pod's true sums."""

    costs: dict[int, Cost] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)

    def call(self, query: int, units: int) -> None:
        self.costs[query] = self.costs.get(query, Cost()) + Cost(1, 2, 3, units)
        self.numbers.setdefault(query, len(self.numbers) * 1000 + query + 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_lost_and_repeated_reports_change_no_sum(seed: int) -> None:
    chance = random.Random(seed)

    async def body(world: World) -> None:
        pod = _Pod()
        heard: list[StatementReport] = []
        for sequence in range(1, 21):
            for _ in range(chance.randrange(4)):
                pod.call(chance.randrange(1, 5), chance.randrange(100))
            report = StatementReport(
                tenant_id=world.tenant,
                pod_id=POD,
                sequence=sequence,
                at_ms=0,
                statements=[
                    summed(query, cost, number=pod.numbers[query])
                    for query, cost in pod.costs.items()
                ],
                roles=[],
            )
            if chance.random() < 0.7:
                await world.ledger.add(report)
                heard.append(report)
            if heard and chance.random() < 0.3:
                await world.ledger.add(chance.choice(heard))
        found = await world.ledger.statements(world.tenant, *world.today, order="calls", limit=10)
        newest = heard[-1].statements if heard else ()
        assert sum((line.cost for line in found.lines), found.others) == sum(
            (each.cost for each in newest), Cost()
        )

    with tempfile.TemporaryDirectory() as folder:
        _run(Path(folder), body)


# --- messages -------------------------------------------------------------------------------------


def _message(**changes: object) -> control_pb2.StatementReport:
    statement = control_pb2.StatementCost(
        query_id=2**64 - 1, query="select $1", role="ann", calls=1, micro_units=5, number=3
    )
    values = {"tenant_id": 7, "pod_id": 9, "sequence": 1, "statements": [statement], **changes}
    return control_pb2.StatementReport(**values)  # type: ignore[arg-type]


def test_a_message_is_read() -> None:
    report = read_report(_message(roles=[control_pb2.RoleCost(role="ann", calls=1)]))
    assert report.statements == [StatementSum("ann", -1, "select $1", 3, Cost(1, 0, 0, 5))]
    assert report.roles == [RoleSum("ann", 1, 0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant_id": 0},
        {"sequence": 2**63},
        {"statements": [control_pb2.StatementCost(query_id=1)] * 101},
        {"statements": [control_pb2.StatementCost(query_id=0)]},
        {"statements": [control_pb2.StatementCost(query_id=1, query="é" * 1025)]},
        {"statements": [control_pb2.StatementCost(query_id=1, role="r" * 257)]},
        {"statements": [control_pb2.StatementCost(query_id=1, micro_units=2**63)]},
        {"roles": [control_pb2.RoleCost(role="r")] * 102},
    ],
)
def test_what_no_pod_sends_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_report(_message(**changes))
