"""Sums of statements and roles: nothing is lost, nothing counts twice, and memory has a bound."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse.base.ids import PodId, TenantId
from dormouse.base.units import units_of
from proto.control_pb2 import StatementReport, UsageAck
from proto.pod_pb2 import Usage
from sqlnode.kv.usage import COUNTED_APART, KvUsage, counted_apart
from sqlnode.parse import parse
from sqlnode.statements.costs import ENTRIES_MAX, StatementCosts
from sqlnode.statements.identity import identify
from sqlnode.statements.meter import Meter, rows_of
from sqlnode.statements.reports import STATEMENTS_MAX, StatementReports
from sqlnode.statements.sums import Entry, Sums
from tests.sqlnode.test_metering import _AWAY


@dataclass
class Wire:
    """A connection that has produced so much."""

    produced_bytes: int = 0


@dataclass
class Clock:
    """Nanoseconds, turned by hand."""

    ns: int = 1

    def __call__(self) -> int:
        return self.ns


@dataclass
class Pod:
    """Costs and a session of a role, driven by hand."""

    clock: Clock = field(default_factory=Clock)
    wire: Wire = field(default_factory=Wire)

    def __post_init__(self) -> None:
        self.costs = StatementCosts(lambda: self.clock.ns // 1000, self.clock)

    def meter(self, role: str = "ann") -> Meter:
        return Meter(self.costs, role, self.wire)

    def costs_of(self, text: str, role: str = "ann") -> Entry:
        return self.costs.role(role).entries[identify(text).query_id]

    def run(self, meter: Meter, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run(meter.drive(work))


def _raw(text: str) -> Any:
    return parse(text)[0]


def test_use_belongs_to_the_statement_that_runs() -> None:
    pod = Pod()
    meter = pod.meter()

    async def session() -> None:
        meter.cut()
        pod.clock.ns += 5  # parsed, and not named yet
        meter.name(_raw("SELECT 1"))
        pod.clock.ns += 10
        meter.kv.read_batches, meter.kv.read_requests = 1, 4
        pod.wire.produced_bytes += 100
        meter.ran("SELECT 1", 12)
        meter.name(_raw("COMMIT"))
        meter.kv.write_batches = 1
        pod.clock.ns += 3
        meter.ran("COMMIT", 3)
        meter.pause()
        pod.clock.ns += 7  # between two statements
        pod.wire.produced_bytes += 9
        meter.pause()

    pod.run(meter, session())
    one, other = pod.costs_of("SELECT 1"), pod.costs_of("COMMIT")
    rest = pod.costs.role("ann").rest
    assert (one.loop_ns, one.read_requests, one.egress_bytes, one.rows) == (15, 4, 100, 1)
    assert (one.calls, one.elapsed_ns) == (1, 12)
    assert (other.loop_ns, other.write_batches, other.egress_bytes) == (3, 1, 0)
    assert (rest.loop_ns, rest.egress_bytes) == (7, 9)
    pod.costs.share_cpu(2500)
    assert (one.cpu_ns, other.cpu_ns, rest.cpu_ns) == (1500, 300, 700)


def test_waiting_is_not_paid_for() -> None:
    pod = Pod()
    meter = pod.meter()

    async def session() -> None:
        meter.name(_raw("SELECT 1"))
        pod.clock.ns += 10
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(_later, pod, turn)
        assert await turn == "done"
        pod.clock.ns += 1
        with pytest.raises(asyncio.CancelledError):
            await _cancelled()
        pod.clock.ns += 1
        meter.pause()

    pod.run(meter, session())
    assert pod.costs_of("SELECT 1").loop_ns == 12


def _later(pod: Pod, turn: "asyncio.Future[str]") -> None:
    pod.clock.ns += 1000
    turn.set_result("done")


async def _cancelled() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        task.uncancel()


def test_an_error_leaves_a_session_as_it_would_without_a_meter() -> None:
    pod = Pod()

    async def session() -> None:
        await asyncio.sleep(0)
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        pod.run(pod.meter(), session())
    assert not pod.costs.meters


def test_storage_counts_once_for_the_session_and_for_explain() -> None:
    outer = KvUsage()
    token = COUNTED_APART.set(outer)
    with counted_apart() as inner:
        apart = COUNTED_APART.get()
        assert apart is inner
        inner.read_batches += 2
    COUNTED_APART.reset(token)
    assert outer.read_batches == 2


def test_a_statement_that_runs_on_pays_for_the_second_it_ran_in() -> None:
    pod = Pod()
    long, short = pod.meter(), pod.meter("bob")

    async def body() -> None:
        done = asyncio.Event()

        async def working() -> None:
            long.name(_raw("SELECT 1"))
            pod.clock.ns += 30
            await done.wait()

        async def brief() -> None:
            short.name(_raw("SELECT 1"))
            pod.clock.ns += 10
            short.pause()

        task = asyncio.ensure_future(long.drive(working()))  # noqa: TID251
        await asyncio.sleep(0)
        await short.drive(brief())
        pod.costs.share_cpu(400)
        assert pod.costs_of("SELECT 1").cpu_ns == 300
        assert pod.costs_of("SELECT 1", "bob").cpu_ns == 100
        done.set()
        await task

    asyncio.run(body())


def test_a_second_without_statements_waits_for_the_next() -> None:
    pod = Pod()
    pod.costs.share_cpu(100)
    entry = pod.costs.entry(pod.costs.role("ann"), identify("SELECT 1"))
    entry.loop_ns = 5
    pod.costs.ran.append(entry)
    pod.costs.share_cpu(11)
    assert entry.cpu_ns == 111


@given(st.lists(st.tuples(st.integers(0, 10**7), st.lists(st.integers(1, 10**7), max_size=5))))
def test_shares_of_cpu_add_up(seconds: list[tuple[int, list[int]]]) -> None:
    costs = StatementCosts(lambda: 0)
    role = costs.role("ann")
    entries = [costs.entry(role, identify(f"SELECT a{number}")) for number in range(5)]
    spent = 0
    for cpu, times in seconds:
        for entry, loop_ns in zip(entries, times, strict=False):
            entry.loop_ns = loop_ns
            costs.ran.append(entry)
        costs.share_cpu(cpu)
        spent += cpu
    given = sum(entry.cpu_ns for entry in entries)
    assert spent - given < len(entries) or not any(times for _, times in seconds[-1:])
    assert given <= spent


def test_the_cheapest_go_and_their_role_keeps_what_they_cost() -> None:
    pod = Pod()
    role = pod.costs.role("ann")
    for number in range(ENTRIES_MAX):
        entry = pod.costs.entry(role, identify(f"SELECT a{number}"))
        entry.egress_bytes = 1024 * (number + 1)
        entry.calls = 1
    before = role.total().micro_units
    first = identify("SELECT a0").query_id
    pod.costs.entry(role, identify("SELECT another"))
    assert len(pod.costs) == ENTRIES_MAX - ENTRIES_MAX // 20 + 1
    assert first not in role.entries
    assert identify(f"SELECT a{ENTRIES_MAX - 1}").query_id in role.entries
    assert pod.costs.dropped == 1
    assert role.total().micro_units == before
    assert role.calls_total == ENTRIES_MAX
    again = pod.costs.entry(role, identify("SELECT a0"))
    assert again.number > ENTRIES_MAX


def test_a_reset_keeps_what_roles_cost() -> None:
    pod = Pod()
    meter = pod.meter()

    async def session() -> None:
        meter.name(_raw("SELECT 1"))
        meter.kv.write_batches = 3
        pod.clock.ns += 40
        pod.costs.reset()
        meter.kv.write_batches = 2
        pod.clock.ns += 2
        meter.pause()

    pod.run(meter, session())
    role = pod.costs.role("ann")
    assert not role.entries
    assert role.rest.write_batches == 5
    pod.costs.share_cpu(84)
    assert role.rest.cpu_ns == 84


def test_a_reset_of_one_statement_or_role() -> None:
    pod = Pod()
    for role in ("ann", "bob"):
        for text in ("SELECT a", "SELECT b"):
            pod.costs.entry(pod.costs.role(role), identify(text))
    pod.costs.reset("ann", identify("SELECT a").query_id)
    assert len(pod.costs) == 3
    pod.costs.reset("bob")
    assert [entry.identity.text for entry in pod.costs.entries()] == ["SELECT b"]


def test_the_counts_of_command_tags() -> None:
    tags = {"SELECT 12": 12, "INSERT 0 3": 3, "COPY 7": 7, "BEGIN": 0, "CREATE TABLE": 0, "": 0}
    assert {tag: rows_of(tag) for tag in tags} == tags


def test_times_have_the_deviation_of_a_population() -> None:
    entry = Entry()
    for number in (2, 4, 4, 4, 5, 5, 7, 9):
        entry.called(1, number)
    assert (entry.elapsed_ns_min, entry.elapsed_ns_max, entry.elapsed_ns_mean) == (2, 9, 5.0)
    assert entry.elapsed_ns_deviation == 2.0


@settings(max_examples=30)
@given(st.builds(Sums, *[st.integers(0, 10**9)] * 8))
def test_the_rough_cost_is_the_cost_to_a_few_millionths(sums: Sums) -> None:
    assert abs(sums.roughly - sums.micro_units) <= 340  # a microsecond of CPU is 333


# --- reports --------------------------------------------------------------------------------------


@dataclass
class Control:
    """Hears reports, or is away."""

    away: bool = False
    heard: list[StatementReport] = field(default_factory=list)

    async def hear(self, report: StatementReport) -> UsageAck:
        if self.away:
            raise _AWAY
        self.heard.append(report)
        return UsageAck(sequence=report.sequence)


def _reports(pod: Pod, control: Control, usage: Usage) -> StatementReports:
    tenant, number = TenantId(7), PodId(2**64 - 1)
    return StatementReports(pod.costs, lambda: usage, control.hear, tenant=tenant, pod=number)


def test_a_report_has_what_has_grown_and_roles_that_add_up() -> None:
    async def body() -> None:
        pod, control = Pod(), Control()
        role = pod.costs.role("ann")
        entry = pod.costs.entry(role, identify("SELECT 1"))
        entry.write_batches, entry.calls = 3, 1
        usage = Usage(write_batches=5, at_unix_ms=9)
        reports = _reports(pod, control, usage)
        assert await reports.tell()
        [report] = control.heard
        assert (report.tenant_id, report.pod_id, report.sequence) == (7, 2**64 - 1, 1)
        [statement] = report.statements
        assert (statement.query, statement.calls, statement.micro_units) == (
            "SELECT $1",
            1,
            3_000_000,
        )
        costs = [(each.role, each.micro_units) for each in report.roles]
        assert costs == [("ann", 3_000_000), ("", 2_000_000)]
        assert sum(cost for _, cost in costs) == units_of(usage).total
        assert await reports.tell()
        assert len(control.heard) == 1  # nothing is new
        entry.calls += 1
        assert await reports.tell()
        assert [each.calls for each in control.heard[1].statements] == [2]

    asyncio.run(body())


def test_what_was_not_heard_is_told_again() -> None:
    async def body() -> None:
        pod, control = Pod(), Control(away=True)
        role = pod.costs.role("ann")
        for number in range(STATEMENTS_MAX + 10):
            entry = pod.costs.entry(role, identify(f"SELECT a{number}"))
            entry.egress_bytes, entry.calls = number * 1000, 1
        reports = _reports(pod, control, Usage(egress_bytes=1))
        assert not await reports.tell()
        control.away = False
        assert await reports.close(5.0)
        assert control.heard[0].last
        assert len(control.heard[0].statements) == STATEMENTS_MAX
        assert control.heard[0].statements[0].query == f"SELECT a{STATEMENTS_MAX + 9}"
        assert await reports.tell()  # the others' turn
        assert len(control.heard[1].statements) == 10
        told = {each.query for report in control.heard for each in report.statements}
        assert len(told) == STATEMENTS_MAX + 10

    asyncio.run(body())
