"""What a pod reports of its use, and when."""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import grpc
import grpc.aio
import pytest

from dormouse.base.clock import ManualClock
from dormouse.base.ids import PodId, TenantId
from dormouse.base.rpc import Access, make_server
from dormouse.base.tasks import spawn
from dormouse.base.tls import Identity, Role
from proto.control_pb2 import UsageAck, UsageReport
from proto.control_pb2_grpc import ControlServicer, add_ControlServicer_to_server
from proto.pod_pb2 import DrainRequest
from sqlnode.accounts import Accounts
from sqlnode.kv.usage import IS_SYSTEM_WORK, KvUsage, system_work
from sqlnode.metering import BORDERS_MAX, Metering
from tests.support.bornpod import Pod, with_pod
from tests.support.linked import Linked

_AWAY = grpc.aio.AioRpcError(
    grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "away", None
)
_HOUR = 3600


@dataclass
class _Bench:
    """A pod's counters, turned by hand, and a control that may be away."""

    kv: KvUsage = field(default_factory=KvUsage)
    system_kv: KvUsage = field(default_factory=KvUsage)
    egress_bytes: int = 0
    is_active: bool = False
    cpu_ns: int = 0
    away: bool = False
    heard: list[UsageReport] = field(default_factory=list)
    clock: ManualClock = field(default_factory=ManualClock)

    def accounts(self) -> Accounts:
        return Accounts(self, self.clock, cpu_ns=lambda: self.cpu_ns)

    def metering(self) -> Metering:
        return Metering(
            self.accounts(), self.send, self.clock, tenant=TenantId(7), pod=PodId(2**64 - 1)
        )

    async def send(self, report: UsageReport) -> UsageAck:
        if self.away:
            raise _AWAY
        self.heard.append(report)
        return UsageAck(sequence=report.sequence)


def test_cpu_belongs_to_whoever_used_the_pod() -> None:
    bench = _Bench()
    accounts = bench.accounts()
    bench.cpu_ns += 5_000_000
    usage = accounts.usage()
    assert (usage.sql_cpu_micros, usage.system_cpu_micros) == (0, 5000)
    for use in ("egress", "statement", "read"):
        before = accounts.usage()
        bench.cpu_ns += 3_000_000
        bench.egress_bytes += use == "egress"
        bench.is_active = use == "statement"
        bench.kv.read_batches += use == "read"
        after = accounts.usage()
        assert after.sql_cpu_micros - before.sql_cpu_micros == 3000
        assert after.system_cpu_micros == 5000
        bench.is_active = False
    bench.cpu_ns += 999
    assert accounts.usage().sql_cpu_micros == 9000
    bench.cpu_ns += 1
    assert accounts.usage().system_cpu_micros == 5001  # what is rounded off is not lost


def test_answers_are_numbered_and_carry_the_time() -> None:
    bench = _Bench()
    accounts = bench.accounts()
    first = accounts.usage()
    bench.clock.advance(2.5)
    second = accounts.usage()
    assert (first.sequence, second.sequence) == (1, 2)
    assert second.pod_millis - first.pod_millis == second.at_unix_ms - first.at_unix_ms == 2500


def test_a_used_pod_reports_each_second_and_an_unused_one_now_and_then() -> None:
    async def body() -> None:
        bench = _Bench()
        metering = bench.metering()
        assert metering.due()
        await metering.tell()
        seconds = []
        for second in range(1, 12):
            bench.clock.advance(1)
            bench.kv.read_batches += second in (2, 3)
            metering.look()
            if metering.due():
                seconds.append(second)
                await metering.tell()
        assert seconds == [2, 3, 8]
        assert bench.heard[-1].read_batches == 2
        assert bench.heard[-1].pod_id == 2**64 - 1

    asyncio.run(body())


def test_another_leave_to_spend_is_named_at_once() -> None:
    async def body() -> None:
        bench, leave = _Bench(), 1
        tenant, pod = TenantId(7), PodId(1)
        metering = Metering(
            bench.accounts(), bench.send, bench.clock, tenant=tenant, pod=pod, leave=lambda: leave
        )
        assert await metering.tell()
        assert not metering.due()
        leave = 2
        assert metering.due(), "what it lets go is another pod's when control knows"
        assert await metering.tell()
        assert [report.leave for report in bench.heard] == [1, 2]
        assert not metering.due()

    asyncio.run(body())


def test_hours_without_control_lose_nothing() -> None:
    async def body() -> None:
        bench = _Bench(away=True)
        metering = bench.metering()
        for _ in range(3 * _HOUR):
            bench.clock.advance(1)
            bench.kv.write_requests += 1
            bench.kv.write_batches += 1
            metering.look()
            if metering.due():
                assert not await metering.tell()
        bench.away = False
        bench.clock.advance(10)
        assert metering.due()
        assert await metering.tell()
        hours = [report.at_unix_ms // (_HOUR * 1000) for report in bench.heard]
        assert hours == list(range(hours[0], hours[0] + 4))
        counts = [report.write_requests for report in bench.heard]
        assert [b - a for a, b in pairwise(counts[1:-1])] == [_HOUR]
        assert counts[-1] == 3 * _HOUR
        assert [report.sequence for report in bench.heard] == sorted(
            {report.sequence for report in bench.heard}
        )

    asyncio.run(body())


def test_what_is_kept_without_control_is_bounded() -> None:
    async def body() -> None:
        bench = _Bench(away=True)
        metering = bench.metering()
        for _ in range(BORDERS_MAX + 50):
            bench.clock.advance(_HOUR)
            bench.egress_bytes += 1
            metering.look()
        bench.away = False
        assert await metering.tell()
        assert len(bench.heard) == BORDERS_MAX + 1
        assert bench.heard[-1].egress_bytes == BORDERS_MAX + 50

    asyncio.run(body())


def test_an_answer_that_is_lost_makes_no_difference() -> None:
    async def body() -> None:
        bench = _Bench()
        metering = bench.metering()
        bench.kv.read_bytes, bench.kv.read_batches = 10, 1

        async def deaf(report: UsageReport) -> UsageAck:
            bench.heard.append(report)
            raise _AWAY

        metering._send = deaf
        assert not await metering.tell()
        assert not metering.due()  # not at once
        bench.clock.advance(10)
        metering._send = bench.send
        assert metering.due()
        assert await metering.tell()
        assert [report.read_bytes for report in bench.heard] == [10, 10]

    asyncio.run(body())


def test_the_last_report_is_tried_for_a_while() -> None:
    async def body() -> None:
        bench = _Bench(away=True)
        metering = bench.metering()
        metering.start()
        bench.egress_bytes = 3
        assert not await metering.close(0.05)
        bench.away = False
        assert await metering.close(0.05)
        assert bench.heard[-1].egress_bytes == 3

    asyncio.run(body())


class _Control(ControlServicer):
    def __init__(self) -> None:
        self.heard: list[UsageReport] = []
        self.called = asyncio.Event()

    async def ReportUsage(  # noqa: N802
        self, request: UsageReport, context: object
    ) -> UsageAck:
        self.heard.append(request)
        self.called.set()
        return UsageAck(sequence=request.sequence)

    ResolveTenant = IssuePod = RenewPod = WatchTenants = ReportUsage  # type: ignore[assignment]
    WatchSpending = ReportStatements = RenewPod = ReportUsage  # type: ignore[assignment]


def test_a_pod_tells_control_all_of_it_before_it_ends() -> None:
    async def body(pod: Pod) -> None:
        control = _Control()
        method = "/dormouse.control.v1.Control/ReportUsage"
        server = make_server({method: Access(tenant_field="tenant_id")})
        add_ControlServicer_to_server(control, server)
        credentials = pod.authority.credentials(Identity(role=Role.CONTROL))
        port = server.add_secure_port("127.0.0.1:0", credentials.for_grpc_server())
        await server.start()
        await pod.stamp(control_address=f"127.0.0.1:{port}")
        client = await Linked.open(pod)
        await client.query("CREATE TABLE t (a int PRIMARY KEY)")
        await control.called.wait()
        await client.query("INSERT INTO t VALUES (1), (2)")
        told = (await pod.status()).usage
        assert told.system_read_batches > 0  # the catalog, read again after its change
        await client.close()
        await pod.stub.Drain(DrainRequest())
        await pod.service.ended.wait()
        await pod.service.close()
        last = control.heard[-1]
        assert last.write_requests == told.write_requests
        assert last.egress_bytes >= told.egress_bytes
        assert last.sequence > told.sequence
        assert last.pod_millis > 0
        numbers = [report.sequence for report in control.heard]
        assert numbers == sorted(set(numbers))
        await server.stop(None)

    with_pod(body)


def test_work_of_the_system_is_known_by_where_it_was_begun() -> None:
    async def body() -> None:
        async def look() -> bool:
            await asyncio.sleep(0)
            return IS_SYSTEM_WORK.get()

        with system_work():
            inside = spawn(look(), name="inside")
        outside = spawn(look(), name="outside")
        assert (await inside, await outside) == (True, False)

    asyncio.run(body())


def test_a_wait_for_control_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        monkeypatch.setattr("sqlnode.metering.SEND_SECONDS", 0.01)
        bench = _Bench()
        metering = bench.metering()

        async def never(report: UsageReport) -> UsageAck:
            await asyncio.Event().wait()
            raise AssertionError

        metering._send = never
        assert not await metering.tell()

    asyncio.run(body())


def _units_told(rows: list[tuple[str | None, ...]]) -> float:
    [line] = [row[0] for row in rows if row[0] and row[0].startswith("Request Units: ")]
    return float(line.removeprefix("Request Units: "))


def test_explain_analyze_tells_what_a_statement_costs() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        client = await Linked.open(pod)
        await client.query("CREATE TABLE t (a int PRIMARY KEY, b text)")
        insert = "EXPLAIN ANALYZE INSERT INTO t VALUES (1, repeat('x', 2048)), (2, 'y')"
        before = (await pod.status()).usage
        wrote = _units_told(await client.rows(insert))
        after = (await pod.status()).usage
        size = after.write_bytes - before.write_bytes
        # a batch, two keys, 1 unit a KiB; and whatever CPU it took
        assert 3 + size / 1024 <= wrote < 3 + size / 1024 + 200
        assert after.write_requests - before.write_requests == 2
        read = _units_told(await client.rows("EXPLAIN ANALYZE SELECT b FROM t WHERE a = 1"))
        nothing = _units_told(await client.rows("EXPLAIN ANALYZE SELECT 1"))
        assert read >= 0.5 + 0.125
        assert nothing >= 0
        plain = await client.rows("EXPLAIN SELECT b FROM t")
        assert not any("Units" in (row[0] or "") for row in plain)

    with_pod(body)


def test_reading_a_table_to_build_an_index_is_the_systems_work() -> None:
    async def body(pod: Pod) -> None:
        await pod.stamp()
        client = await Linked.open(pod)
        await client.query("CREATE TABLE t (a int PRIMARY KEY, b text)")
        await client.query(
            "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 500) g"
        )
        before = (await pod.status()).usage
        await client.query("CREATE INDEX ON t (b)")
        after = (await pod.status()).usage
        assert after.system_read_bytes - before.system_read_bytes > 500 * 99
        assert after.read_bytes - before.read_bytes < 500 * 99
        assert after.write_requests - before.write_requests >= 500  # what it stores is its owner's

    with_pod(body)
